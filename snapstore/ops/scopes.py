"""Scope records in a store: written while a snapshot is taken, read back row by row."""

from __future__ import annotations

from collections.abc import Iterator

from lxml import etree

from snapstore.errors import CorruptObjectError, RequestError
from snapstore.format.scope import ScopeShard, read_scope
from snapstore.model import ChunkId, Snapshot
from snapstore.store.reader import Reader
from snapstore.system.record import Row, Scope
from snapstore.system.schema import SCOPES
from snapstore.system.scopes.files import COMPLETENESS, Policy

_LEVELS = 8
BY_NAME = {scope.name: scope for scope in SCOPES}


def held_scopes(snapshot: Snapshot) -> list[Scope]:
    """The scopes that a snapshot has a record of and this release knows, in the order of the record."""
    return [BY_NAME[name] for name, _ in snapshot.scopes if name in BY_NAME]


def scope_rows(reader: Reader, snapshot: Snapshot, scope: Scope) -> Iterator[Row]:
    """The rows of a snapshot's record of a scope, in order, one document in memory at a time.

    RequestError, when called and not later, if the snapshot has no such record; CorruptObjectError for what breaks the
    format.
    """
    chunk = dict(snapshot.scopes).get(scope.name)
    if chunk is None:
        advice = "only snapshots of a system have it: `snapstore snapshot --system`"
        raise RequestError(f"snapshot {snapshot.id[:8]} has no record of {scope.name}", advice=advice)
    return record_rows(reader, chunk, scope)


def policies(reader: Reader, snapshot: Snapshot) -> dict[str, str]:
    """How a system was looked at, by name; nothing where the snapshot does not say."""
    if COMPLETENESS not in held_scopes(snapshot):
        return {}
    return {row.name: row.value for row in scope_rows(reader, snapshot, COMPLETENESS) if isinstance(row, Policy)}


def record_rows(reader: Reader, record: ChunkId, scope: Scope) -> Iterator[Row]:
    """The rows of a scope's record, by its id."""
    try:
        yield from scope.read_all(_elements(reader, record, scope, level=0))
    except ValueError as error:
        raise CorruptObjectError(f"record {record.hex()} of {scope.name}", str(error)) from error


def _elements(reader: Reader, record: ChunkId, scope: Scope, *, level: int) -> Iterator[etree._Element]:
    name = f"record {record.hex()} of {scope.name}"
    if level > _LEVELS:
        raise CorruptObjectError(name, "its shards are nested too deeply")
    for item in read_scope(reader.document(record), scope=scope.name, name=name):
        if not isinstance(item, ScopeShard):
            yield item
            continue
        count = 0
        for element in _elements(reader, item.id, scope, level=level + 1):
            count += 1
            yield element
        if count != item.elements:
            raise CorruptObjectError(name, f"a shard holds {count} elements where {item.elements} were stated")
