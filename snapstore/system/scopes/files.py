"""Scope `files`: every path that is not exactly as its package ships it, with the class it is in and the reason.

Scope `completeness`: how much of what is on disk is in which class. Together they account for every path.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import NamedTuple

from snapstore.model import Kind
from snapstore.system.record import Field, Scope, Table, Type


class Class(enum.StrEnum):
    """What a path is. Every path is in exactly one class."""

    PRISTINE = "pristine"  # owned, all attributes as packaged
    CHANGED = "changed"  # owned, and different from what the package holds
    MISSING = "missing"  # owned, and not on disk
    GENERATED = "generated"  # made by a package's scripts or at run time, by a rule
    UNMANAGED = "unmanaged"  # nobody's
    EXCLUDED = "excluded"  # left out by a rule


CHANGES = (
    "type", "content", "mode", "owner", "target", "capabilities", "attributes", "device", "obsolete", "unverified",
)  # fmt: skip
"""What can differ. `attributes` are extended attributes, ACLs and chattr flags, of which packages have none.

`obsolete`: left behind by a package that is gone, or that no longer ships it, so that no package brings it back.
`unverified`: nothing is known to differ, but there was nothing to compare it with, or it could not be read.
"""


class FileRow(NamedTuple):
    """One path, or (`tree`) a directory and everything below it that has no row of its own.

    `kind` is what it is on disk (of a missing path: what it should be). `size` is in bytes, of a tree of all files it
    stands for; `files`, `directories` (itself included) and `others` count what a tree stands for, and are 0 for a
    single path. `contents`: the tree stands for what is below the directory alone, as far as `rule` covers it; the
    directory itself is what it is. `package` names the owners, several joined by blanks. `config`: a configuration
    file of its package. `changes` are of CHANGES; of what changed, the found and the packaged value are stated where
    they are known, owners as `user:group`. `rule` is the id of the rule that decided. `omitted`: it is not stored in
    the snapshot.
    """

    path: bytes
    cls: Class
    kind: str = ""
    size: int = 0
    package: str = ""
    config: bool = False
    changes: tuple[str, ...] = ()
    packaged_kind: str = ""
    packaged_digest: str = ""
    mode: int | None = None
    packaged_mode: int | None = None
    owner: str = ""
    packaged_owner: str = ""
    target: bytes = b""
    packaged_target: bytes = b""
    capabilities: str = ""
    packaged_capabilities: str = ""
    rule: str = ""
    omitted: bool = False
    tree: bool = False
    contents: bool = False
    files: int = 0
    directories: int = 0
    others: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassTotal:
    """All paths of one class: numbers of files, directories (the top included) and others, bytes of the files."""

    cls: str
    files: int = 0
    directories: int = 0
    others: int = 0
    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleTotal:
    """What one rule decided about, and why it does."""

    rule: str
    cls: str
    reason: str = ""
    source: str = ""
    files: int = 0
    directories: int = 0
    others: int = 0
    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How the list was made, by name.

    `skip-packaged` and `all-file-systems` are "yes" or "no", `managers` the package managers found, `rules-refused` a
    number, and each `not-entered N` one mount point.
    """

    name: str
    value: str = ""


_KINDS = tuple(kind.value for kind in Kind)
_LISTED = tuple(cls.value for cls in Class if cls is not Class.PRISTINE)
_ALL = tuple(cls.value for cls in Class)
_COUNTS = (
    Field("files", Type.NUMBER),
    Field("directories", Type.NUMBER),
    Field("others", Type.NUMBER),
)


def order_of(row: FileRow) -> tuple[list[bytes], bytes, str, str]:
    """What the list is sorted by: the directory, component by component, then the name.

    So a directory's entries stand together, before those of the directories below it; first what stands for several.
    """
    if row.contents:
        return row.path.rstrip(b"/").split(b"/"), b"", row.cls, row.rule
    parent, _, name = row.path.rpartition(b"/")
    return parent.split(b"/"), name or b"/", row.cls, row.rule


FILES = Scope(
    "files",
    Table(
        "path",
        FileRow,
        (
            Field("path", Type.RAW, key=True),
            Field("class", Type.WORD, key=True, choices=_LISTED),
            Field("kind", Type.WORD, choices=_KINDS),
            Field("size", Type.NUMBER),
            Field("package"),
            Field("config", Type.FLAG),
            Field("changes", Type.WORDS),
            Field("packaged-kind", Type.WORD, choices=_KINDS),
            Field("packaged-digest"),
            Field("mode", Type.MODE),
            Field("packaged-mode", Type.MODE),
            Field("owner"),
            Field("packaged-owner"),
            Field("target", Type.RAW),
            Field("packaged-target", Type.RAW),
            Field("capabilities"),
            Field("packaged-capabilities"),
            Field("rule"),
            Field("omitted", Type.FLAG),
            Field("tree", Type.FLAG),
            Field("contents", Type.FLAG),
            *_COUNTS,
        ),
        order=order_of,
    ),
)

COMPLETENESS = Scope(
    "completeness",
    Table(
        "class",
        ClassTotal,
        (Field("class", Type.WORD, key=True, choices=_ALL), *_COUNTS, Field("size", Type.NUMBER)),
    ),
    Table(
        "rule",
        RuleTotal,
        (
            Field("rule", key=True),
            Field("class", Type.WORD, key=True, choices=_ALL),
            Field("reason"),
            Field("source"),
            *_COUNTS,
            Field("size", Type.NUMBER),
        ),
    ),
    Table("policy", Policy, (Field("name", key=True), Field("value"))),
)
