"""Compares what two snapshots know of their systems, by meaning: packages up and down, units, users, repositories."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from snapstore.model import Snapshot
from snapstore.ops.scopes import scope_rows
from snapstore.store.reader import Reader
from snapstore.system.record import Row, Scope
from snapstore.system.schema import SCOPES
from snapstore.system.scopes.files import COMPLETENESS, FILES
from snapstore.system.versions import compare_versions

_IDENTITIES = {
    "setting": ("name",),
    "package": ("manager", "name", "arch"),
    "diversion": ("path",),
    "override": ("path",),
    "alternative": ("name", "link"),
    "lock": ("manager", "package", "file"),
    "repo": ("file", "kind", "name", "uris", "number"),
    "key": ("file", "fingerprint"),
    "user": ("name",),
    "group": ("name",),
    "subid": ("kind", "owner", "start"),
    "sudo": ("file", "rule"),
    "unit": ("name",),
    "port": ("protocol", "address", "port"),
    "path": ("path", "contents"),
}
"""What makes a row of a table the same thing in two snapshots, whatever else is said of it."""


class RowChange(enum.StrEnum):
    """What happened to one thing of a scope; UP and DOWN are of package versions."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class ScopeChange:
    """One thing that is not the same in both: its rows, None where it is not, and the fields in which they differ."""

    scope: Scope
    tag: str
    kind: RowChange
    before: Row | None
    after: Row | None
    fields: tuple[str, ...] = ()


def compare_scopes(reader: Reader, a: Snapshot, b: Snapshot, *, second: Reader | None = None) -> Iterator[ScopeChange]:
    """The changes of every scope that both snapshots have, but for files and completeness, in the order of the scopes.

    `second` reads what `b` names, if that is another reader.
    """
    for scope in SCOPES:
        if scope not in (FILES, COMPLETENESS) and _has(a, scope) and _has(b, scope):
            yield from compare_rows(scope, scope_rows(reader, a, scope), scope_rows(second or reader, b, scope))


def _has(snapshot: Snapshot, scope: Scope) -> bool:
    return any(name == scope.name for name, _ in snapshot.scopes)


def compare_rows(scope: Scope, before: Iterable[Row], after: Iterable[Row]) -> Iterator[ScopeChange]:
    """The changes between two lists of rows of a scope, in the order of its tables and of what is the same thing."""
    old, new = _by_identity(scope, before), _by_identity(scope, after)
    tags = [table.tag for table in scope.tables]
    for identity in sorted(old.keys() | new.keys(), key=lambda each: (tags.index(str(each[0])), each[1:])):
        olds, news = old.get(identity, []), new.get(identity, [])
        kept = set(olds).intersection(news)
        olds = [row for row in olds if row not in kept]
        news = [row for row in news if row not in kept]
        tag = str(identity[0])
        for one, two in zip(olds, news, strict=False):
            yield _changed(scope, tag, one, two)
        for row in olds[len(news) :]:
            yield ScopeChange(scope, tag, RowChange.REMOVED, row, None)
        for row in news[len(olds) :]:
            yield ScopeChange(scope, tag, RowChange.ADDED, None, row)


def _by_identity(scope: Scope, rows: Iterable[Row]) -> dict[tuple[object, ...], list[Row]]:
    found: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        tag = scope.table_of(row).tag
        identity = (tag, *(getattr(row, name) for name in _IDENTITIES[tag]))
        found.setdefault(identity, []).append(row)
    return found


def _changed(scope: Scope, tag: str, before: Row, after: Row) -> ScopeChange:
    names = [field.attribute for field in scope.table_of(before).fields]
    fields = tuple(name for name in names if getattr(before, name) != getattr(after, name))
    kind = RowChange.CHANGED
    if tag == "package" and "version" in fields:
        order = compare_versions(before.manager, before.version, after.version)
        kind = RowChange.UP if order < 0 else RowChange.DOWN if order > 0 else RowChange.CHANGED
    return ScopeChange(scope, tag, kind, before, after, fields)
