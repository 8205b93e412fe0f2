from __future__ import annotations

import pytest
from lxml import etree

from snapstore.errors import CorruptObjectError
from snapstore.format.ids import chunk_id
from snapstore.format.scope import ScopeShard, ScopeWriter, element_lines, namespace, read_scope, shard_ids
from snapstore.model import ChunkId


class Kept:
    """Documents by their ids."""

    def __init__(self) -> None:
        self.documents: dict[ChunkId, bytes] = {}

    def put(self, document: bytes) -> ChunkId:
        chunk = chunk_id(document)
        self.documents[chunk] = document
        return chunk

    def lines(self, record: ChunkId) -> list[bytes]:
        data = self.documents[record]
        shards = shard_ids(data)
        return [line for shard in shards for line in self.lines(shard)] if shards else element_lines(data)


def elements(count: int) -> list[bytes]:
    return [b'<setting name="%06d" value="%b"/>\n' % (number, b"v" * (number % 90)) for number in range(count)]


def written(lines: list[bytes]) -> tuple[ChunkId, Kept]:
    kept = Kept()
    writer = ScopeWriter("os", kept.put)
    for line in lines:
        writer.add(line, line)
    return writer.finish(), kept


def test_an_empty_record_is_one_document() -> None:
    record, kept = written([])
    assert kept.documents[record] == b'<?xml version="1.0" encoding="UTF-8"?>\n<os xmlns="urn:snapstore:os:1"/>\n'
    assert read_scope(kept.documents[record], scope="os", name="it") == []


@pytest.mark.parametrize("count", [1, 50, 5000, 40_000])
def test_what_was_written_is_read_in_order(count: int) -> None:
    lines = elements(count)
    record, kept = written(lines)
    assert kept.lines(record) == lines
    assert bool(shard_ids(kept.documents[record])) == (count >= 5000)
    for document in kept.documents.values():
        read = read_scope(document, scope="os", name="it")
        assert len(read) == len(shard_ids(document) or element_lines(document))


def test_one_more_element_changes_few_documents() -> None:
    lines = elements(20_000)
    _, before = written(lines)
    _, after = written([*lines[:7000], b'<setting name="007000a" value="new"/>\n', *lines[7000:]])
    assert len(after.documents.keys() - before.documents.keys()) <= 3
    assert len(after.documents) > 10


def test_shards_state_how_much_they_stand_for() -> None:
    record, kept = written(elements(5000))
    shards = read_scope(kept.documents[record], scope="os", name="it")
    assert sum(each.elements for each in shards if isinstance(each, ScopeShard)) == 5000


HEAD = b'<?xml version="1.0" encoding="UTF-8"?>\n<os xmlns="urn:snapstore:os:1">\n'
SHARD = b'<shard elements="1" id="%b"/>\n' % (b"0" * 64)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        HEAD,
        HEAD.replace(b"os:1", b"os:2") + b"</os>\n",
        HEAD + SHARD + b'<setting name="a" value="b"/>\n</os>\n',
        HEAD + SHARD.replace(b'"1"', b'"0"') + b"</os>\n",
        HEAD + SHARD.replace(b"0" * 64, b"0" * 63) + b"</os>\n",
        HEAD + SHARD.replace(b"/>", b' more="x"/>') + b"</os>\n",
        HEAD + b'<setting name="a" value="b">\n<inner/>\n</setting>\n</os>\n',
        HEAD + b'<!-- no --><setting name="a" value="b"/>\n</os>\n',
        HEAD.replace(b"\n<os", b'\n<!DOCTYPE os [<!ENTITY a "b">]>\n<os') + b"</os>\n",
    ],
)
def test_what_breaks_the_frame_is_refused(data: bytes) -> None:
    with pytest.raises(CorruptObjectError, match="it is damaged"):
        read_scope(data, scope="os", name="it")


def test_a_record_of_another_scope_is_refused() -> None:
    record, kept = written(elements(1))
    with pytest.raises(CorruptObjectError):
        read_scope(kept.documents[record], scope="users", name="it")
    assert etree.fromstring(kept.documents[record]).nsmap == {None: namespace("os")}
