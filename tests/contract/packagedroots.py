"""One little system, as the packages of any dialect have it: the same paths on disk, a database of each kind beside."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from snapstore.model import Kind
from snapstore.system.packages import Owned, Package, PackageManager
from snapstore.system.root import Root

LONG_AGO = time.time_ns() - 7200 * 10**9
UNPACKED = LONG_AGO + 3600 * 10**9
"""When the database was written; links that are younger were made by somebody else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One path of one package, as that lists it; `content` is a file's bytes, or where a link leads."""

    path: bytes
    package: str
    kind: Kind = Kind.FILE
    content: bytes = b""
    mode: int = 0o644
    config: bool = False

    @property
    def place(self) -> bytes:
        """Where the path is in the root, in which /bin is a link to usr/bin."""
        return b"/usr" + self.path if self.path.startswith(b"/bin/") else self.path


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """One package, with what a dialect may or may not know of it. `several`: it is there for two architectures."""

    name: str
    version: str = "1.0"
    epoch: int = 0
    held: bool = False
    automatic: bool = False
    broken: bool = False
    several: bool = False


def _directory(path: str, package: str) -> Item:
    return Item(path=path.encode(), package=package, kind=Kind.DIRECTORY, mode=0o755)


def _file(path: str, package: str, content: bytes, *, mode: int = 0o644, config: bool = False) -> Item:
    return Item(path=path.encode(), package=package, content=content, mode=mode, config=config)


def _link(path: str, package: str, target: bytes) -> Item:
    return Item(path=path.encode(), package=package, kind=Kind.SYMLINK, content=target, mode=0o777)


PACKED = (
    Packed(name="base"),
    Packed(name="half", broken=True),
    Packed(name="library", version="2.5", automatic=True),
    Packed(name="tool", epoch=2, held=True),
    Packed(name="twin", several=True),
)
ITEMS = (
    _directory("/etc", "base"),
    _directory("/usr", "base"),
    _directory("/usr/bin", "base"),
    _directory("/usr/lib", "base"),
    _directory("/usr/share", "base"),
    _directory("/usr/share/doc", "base"),
    _link("/bin", "base", b"usr/bin"),
    _directory("/usr/share/half", "half"),
    _file("/usr/share/half/file", "half", b"unpacked and not configured\n"),
    _file("/usr/lib/library.so.2.5", "library", bytes(range(256)) * 20, mode=0o755),
    _link("/usr/lib/library.so", "library", b"library.so.2.5"),
    _directory("/usr/share/doc/library", "library"),
    _file("/usr/share/doc/library/copyright", "library", b"do as you like\n"),
    _directory("/usr/share/tool", "library"),
    _file("/usr/share/tool/plugin", "library", b"for the tool\n"),
    _file("/etc/tool.conf", "tool", b"level = 1\n", config=True),
    _file("/bin/tool", "tool", b"#!/bin/sh\necho tool\n" * 30, mode=0o755),
    _file("/usr/bin/raise", "tool", b"#!/bin/sh\nid\n", mode=0o4755),
    _link("/usr/bin/t", "tool", b"tool"),
    _directory("/usr/share/tool", "tool"),
    _directory("/usr/share/tool/spare", "tool"),
    _file("/usr/share/tool/empty", "tool", b""),
    _file("/usr/share/tool/help text", "tool", b"help\n" * 10),
    _file("/usr/share/tool/gr\N{LATIN SMALL LETTER U WITH DIAERESIS}n", "tool", b"a name of other letters\n"),
    _directory("/usr/share/twin", "twin"),
    _file("/usr/share/twin/notice", "twin", b"the same for every architecture\n"),
)

Database = dict[str, bytes]
"""The files of a database, by path in the root without a first slash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """What there is to know of one package manager.

    `database` makes its files for some items. `mains` are those that make a root one of its kind. Of the files that
    `required` names something is told whatever is wrong with them; the others may be absent. `tool` is the version of
    the package tool, `twins` how the packages called twin are named without doubt. `directories` are those of the
    database, `checked` the files of it that have checksums of their own. `parents`: every package lists the directories
    that lead to its files. `states`: it knows of packages that are broken. `owners`: it states owners, so that files of
    whoever runs the tests can be as packaged. `slow`: programs are started for every question.
    """

    name: str
    manager: Callable[[], PackageManager]
    database: Callable[[tuple[Item, ...]], Database]
    mains: tuple[str, ...]
    required: tuple[str, ...]
    tool: str
    twins: tuple[str, ...]
    directories: tuple[str, ...]
    parents: bool = True
    checked: tuple[str, ...] = ()
    states: bool = False
    owners: bool = True
    slow: bool = False

    def packages_of(self, item: Item) -> tuple[str, ...]:
        """The packages that own an item, as the manager names them."""
        return self.twins if item.package == "twin" else (item.package,)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Looked:
    """What a manager says of a root; `refused` is the message where it will not read its database."""

    packages: list[Package] = field(default_factory=list)
    decisions: list[object] = field(default_factory=list)
    owned: list[Owned] = field(default_factory=list)
    warned: list[tuple[bytes, str]] = field(default_factory=list)
    refused: str = ""


def look(root: Path, manager: PackageManager) -> Looked:
    """All that it says. PackageDatabaseError."""
    looked = Looked()

    def warn(path: bytes, reason: str) -> None:
        assert "\n" not in reason
        looked.warned.append((path, reason))

    with Root(os.fsencode(root)) as opened:
        looked.packages.extend(manager.packages(opened, warn))
        looked.decisions.extend(manager.decisions(opened, warn))
        looked.owned.extend(manager.owned(opened, warn))
    return looked


def stamp_of(root: Path, manager: PackageManager) -> bytes:
    """The stamp of the database as it is now."""
    with Root(os.fsencode(root)) as opened:
        return manager.stamp(opened)


def on_disk(root: Path, place: bytes) -> bytes:
    """Where a path of the root is on this machine."""
    return os.fsencode(root) + place


def with_parents(items: Sequence[Item], package: str) -> Iterator[Item]:
    """The items of a package, each after every directory that leads to it; the top is not among them."""
    own = {item.path: item for item in items if item.package == package}
    everything: dict[bytes, Item] = {}
    for path, item in own.items():
        parts = path.split(b"/")[1:-1]
        for count in range(1, len(parts) + 1):
            above = b"/" + b"/".join(parts[:count])
            everything.setdefault(above, own.get(above) or _directory(os.fsdecode(above), package))
        everything.setdefault(path, item)
    return iter(everything.values())


def make_tree(root: Path, items: Sequence[Item] = ITEMS) -> None:
    """The paths of all items, and a little that belongs to nobody; the owners are whoever runs the tests."""
    for item in items:
        place = on_disk(root, item.place)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        if item.kind is Kind.DIRECTORY:
            os.makedirs(place, exist_ok=True)
        elif item.kind is Kind.SYMLINK:
            os.symlink(item.content, place)
        else:
            with open(place, "wb") as file:
                file.write(item.content)
    write(
        root,
        {
            "etc/os-release": b'ID=little\nVERSION_ID="1"\n',
            "etc/hostname": b"little\n",
            "etc/passwd": b"root:x:%d:%d::/root:/bin/sh\n" % (os.getuid(), os.getgid()),
            "etc/group": b"root:x:%d:\n" % os.getgid(),
            "etc/shadow": b"root:*:19000::::::\n",
            "srv/data": b"of nobody\n",
        },
    )


def write(root: Path, files: Database) -> None:
    """Files of a root, with the directories above them."""
    for name, data in files.items():
        place = root / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)


def settle(root: Path, items: Sequence[Item], database: Database) -> None:
    """Modes are as packaged, and everything looks as if it had been there for hours."""
    for folder, directories, names in os.walk(os.fsencode(root)):
        os.chmod(folder, 0o755)
        for name in (*directories, *names):
            os.utime(os.path.join(folder, name), ns=(LONG_AGO, LONG_AGO), follow_symlinks=False)
    for item in items:
        if item.kind is Kind.FILE:
            os.chmod(on_disk(root, item.place), item.mode)
    for written in database:
        os.chmod(root / written, 0o644)
        os.utime(root / written, ns=(UNPACKED, UNPACKED))


def make_root(root: Path, *dialects: Dialect, items: tuple[Item, ...] = ITEMS) -> Path:
    """A root with the tree, and the databases of some dialects."""
    root.mkdir(parents=True)
    make_tree(root, items)
    database: Database = {}
    for dialect in dialects:
        database |= dialect.database(items)
    write(root, database)
    settle(root, items, database)
    return root
