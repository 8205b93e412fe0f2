"""Scope records: what is written is read back, one set of rows has one byte form, and order is part of it."""

from __future__ import annotations

import random

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from snapstore.errors import CorruptObjectError
from snapstore.format import xml
from snapstore.format.scope import ScopeShard, namespace, read_scope, shard_ids
from snapstore.model import ChunkId
from snapstore.system.record import Row, Scope
from snapstore.system.schema import SCOPES
from tests.scoperows import records

every_scope = pytest.mark.parametrize("scope", SCOPES, ids=lambda scope: scope.name)


def written(scope: Scope, rows: list[Row]) -> tuple[ChunkId, dict[ChunkId, bytes]]:
    kept: dict[ChunkId, bytes] = {}

    def put(document: bytes) -> ChunkId:
        chunk = ChunkId(blake3(document).digest())
        kept[chunk] = document
        return chunk

    return scope.write(rows, put), kept


def elements(scope: Scope, top: ChunkId, kept: dict[ChunkId, bytes]) -> list[etree._Element]:
    found: list[etree._Element] = []
    for item in read_scope(kept[top], scope=scope.name, name="test"):
        if isinstance(item, ScopeShard):
            below = elements(scope, item.id, kept)
            assert len(below) == item.elements
            found += below
        else:
            found.append(item)
    return found


@every_scope
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_what_is_written_is_read_back(scope: Scope, data: st.DataObject) -> None:
    rows = data.draw(records(scope))
    top, kept = written(scope, rows)
    back = list(scope.read_all(elements(scope, top, kept)))
    assert back == rows
    assert [type(row) for row in back] == [type(row) for row in rows]
    assert written(scope, back) == (top, kept)


@every_scope
@settings(max_examples=40, deadline=None)
@given(st.data())
def test_another_order_or_a_twin_is_refused(scope: Scope, data: st.DataObject) -> None:
    rows = data.draw(records(scope, minimum=2))
    other = data.draw(st.permutations(rows))
    top, kept = written(scope, list(other))
    if list(other) == rows:
        top, kept = written(scope, [*rows, rows[-1]])
    with pytest.raises(ValueError, match="out of order"):
        list(scope.read_all(elements(scope, top, kept)))


@every_scope
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_one_meaning_has_one_byte_form(scope: Scope, data: st.DataObject) -> None:
    """Whatever a changed line still means, it is refused or it is written the same."""
    line = bytearray(scope.element(data.draw(records(scope, minimum=1))[0]))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(line) - 2))
        line[at : at + data.draw(st.integers(0, 1))] = data.draw(
            st.sampled_from([b"", b" ", b"0", b'"', b"=", b"a", b"\xff"])
        )
    name = scope.name.encode()
    document = xml.document(name, namespace(scope.name).encode(), [bytes(line)])
    try:
        (element,) = read_scope(document, scope=scope.name, name="test")
        if isinstance(element, ScopeShard):
            return
        row = scope.read(element)
    except (CorruptObjectError, ValueError):
        return
    assert scope.element(row) == line


@pytest.mark.parametrize("count", [0, 1, 3000])
def test_large_records_are_sharded(count: int) -> None:
    scope = SCOPES[1]
    package = scope.tables[0].row
    rows = [package(manager="dpkg", name=f"p{number:05}", version="1", arch="all") for number in range(count)]
    top, kept = written(scope, rows)
    assert (len(shard_ids(kept[top])) > 1) is (count > 1000)
    assert list(scope.read_all(elements(scope, top, kept))) == rows
    shuffled = random.Random(1).sample(rows, count)
    assert written(scope, sorted(shuffled, key=scope.order)) == (top, kept)
