"""Documents have one byte form: what is written is read back, and what is read would be written the same."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from snapstore.errors import CorruptObjectError, StoreError
from snapstore.format import chunklist, xml
from snapstore.format.snapshot import read_final, write_snapshot
from snapstore.format.tree import (
    TreeShard,
    define_tree,
    entry_element,
    owner_attributes,
    plain_file_element,
    read_tree,
)
from snapstore.format.xml import text_attribute
from snapstore.model import Entry, Kind, Snapshot
from tests.property.format_values import entries, plain_files, records
from tests.vectors import golden
from tests.vectors.hostile_xml import tree


def by_both(data: bytes) -> list[Entry] | list[TreeShard]:
    """What a tree means, by the fast reader and by the definition, which have to agree on everything."""
    outcomes: list[list[Entry] | list[TreeShard] | StoreError] = []
    for read in (read_tree, define_tree):
        try:
            outcomes.append(read(data, name="tree"))
        except StoreError as error:
            outcomes.append(error)
    fast, defined = outcomes
    if isinstance(defined, StoreError):
        assert isinstance(fast, CorruptObjectError)
        raise defined
    assert fast == defined
    return defined


def rewritten(data: bytes) -> bytes:
    """The tree that a reader understood, written again."""
    lines = []
    for item in by_both(data):
        if isinstance(item, TreeShard):
            first = text_attribute(b"first", item.first)
            lines.append(b'<shard%b entries="%d" id="%b"/>\n' % (first, item.entries, item.id.hex().encode()))
        else:
            lines.append(entry_element(item))
    return tree(*lines)


@settings(max_examples=400)
@given(entries())
def test_any_entry_round_trips(entry: Entry) -> None:
    document = tree(entry_element(entry))
    assert read_tree(document, name="tree") == [entry]
    assert rewritten(document) == document


@settings(max_examples=60)
@given(st.lists(entries(), min_size=1, max_size=8, unique_by=lambda entry: entry.name))
def test_any_directory_round_trips(found: list[Entry]) -> None:
    found.sort(key=lambda entry: entry.name)
    document = tree(*map(entry_element, found))
    assert read_tree(document, name="tree") == found
    assert rewritten(document) == document


def test_every_byte_can_be_a_name() -> None:
    allowed = [bytes([byte]) for byte in range(256) if bytes([byte]) not in (b"\0", b".", b"/")]
    found = [Entry(name=name, kind=Kind.FIFO, mode=0, uid=0, gid=0) for name in allowed]
    assert read_tree(tree(*map(entry_element, found)), name="tree") == found
    for byte in range(1, 256):
        target = Entry(name=b"x", kind=Kind.SYMLINK, mode=0o777, uid=0, gid=0, target=bytes([byte]))
        assert read_tree(tree(entry_element(target)), name="tree") == [target]


@settings(max_examples=200)
@given(plain_files)
@example(Entry(name=b"\xff", kind=Kind.FILE, mode=0, uid=1, gid=2, user="\udcff"))
def test_the_fast_writer_of_plain_files_writes_the_same(entry: Entry) -> None:
    owner = owner_attributes(entry.uid, entry.gid, entry.user, entry.group)
    chunks = [chunk.hex() for chunk in entry.chunks]
    fast = plain_file_element(entry.name, entry.size, entry.mtime, entry.mode, owner, chunks=chunks)
    assert fast == entry_element(entry)


@settings(max_examples=150)
@given(records())
def test_any_commit_record_round_trips(record: Snapshot) -> None:
    document = write_snapshot(record)
    assert read_final(document, name="record") == record


TREE = golden.tree_documents(golden.every_entry())[-1]
RECORD = write_snapshot(golden.snapshot_record())
PIECES = sorted({
    *re.findall(rb' [a-z0-9-]+="[^"]*"', TREE + RECORD), *re.findall(rb"<[^\n]*\n", TREE + RECORD),
    b"\n", b" ", b'"', b"'", b"&amp;", b"&#65;", b"0", b"=", b"/>", b"</file>", b"\xff", b"\0", b"<!", b"-b64", b"+",
})  # fmt: skip
EDITS = st.lists(
    st.tuples(st.integers(0, max(len(TREE), len(RECORD))), st.integers(0, 80), st.sampled_from([b"", *PIECES])),
    min_size=1,
    max_size=3,
)


def edited(data: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    """The document with pieces of it cut out and others put in."""
    for at, length, piece in edits:
        place = at % (len(data) + 1)
        data = data[:place] + piece + data[place + length :]
    return data


@settings(max_examples=600)
@given(EDITS)
def test_a_tree_that_is_accepted_is_canonical(edits: list[tuple[int, int, bytes]]) -> None:
    document = edited(TREE, edits)
    try:
        again = rewritten(document)
    except StoreError:
        return
    assert again == document


@settings(max_examples=600)
@given(EDITS)
def test_a_commit_record_that_is_accepted_is_canonical(edits: list[tuple[int, int, bytes]]) -> None:
    document = edited(RECORD, edits)
    try:
        record = read_final(document, name="record")
    except StoreError:
        return
    assert record is not None
    assert write_snapshot(record) == document


PLAIN = tree(*map(entry_element, golden.plain_entries(4)))
PLAIN_EDITS = st.lists(
    st.tuples(st.integers(0, len(PLAIN)), st.integers(0, 80), st.sampled_from([b"", *PIECES])), min_size=1, max_size=2
)


@settings(max_examples=600)
@given(PLAIN_EDITS)
@example([(PLAIN.index(b"</tree>"), 0, b"<!")])
def test_a_plain_tree_that_is_accepted_is_canonical(edits: list[tuple[int, int, bytes]]) -> None:
    document = edited(PLAIN, edits)
    try:
        again = rewritten(document)
    except StoreError:
        return
    assert again == document


@pytest.mark.parametrize("data", [TREE, PLAIN], ids=["every kind", "plain"])
def test_a_piece_put_in_anywhere_is_refused_or_canonical(data: bytes) -> None:
    for piece in (b"\n", b" ", b"0", b"x", b"<!", b"\xff", b"&"):
        for at in range(data.index(b"<tree"), len(data) + 1, 1 if data is PLAIN else 5):
            document = data[:at] + piece + data[at:]
            try:
                again = rewritten(document)
            except StoreError:
                continue
            assert again == document


LINES = TREE.split(b"\n")


@pytest.mark.parametrize("number", range(2, len(LINES) - 2))
def test_attributes_cannot_be_moved_or_left_out(number: int) -> None:
    """Every pair of neighbours in a line swapped, every attribute left out: refused, or canonical again."""
    line = LINES[number]
    attributes = re.findall(rb' [a-z0-9-]+="[^"]*"', line)
    variants = [line.replace(each, b"") for each in attributes]
    variants += [line.replace(a + b, b + a) for a, b in pairwise(attributes)]
    for variant in variants:
        document = b"\n".join([*LINES[:number], variant, *LINES[number + 1 :]])
        try:
            again = rewritten(document)
        except StoreError:
            continue
        assert again == document


@given(st.lists(st.binary(min_size=32, max_size=32), max_size=20), st.binary(max_size=3), st.integers(0, 2000))
def test_plain_chunk_lists_read_as_the_definition_says(ids: list[bytes], junk: bytes, at: int) -> None:
    lines = [b'<c id="%b"/>\n' % each.hex().encode() for each in ids]
    data = xml.document(b"chunks", chunklist.NAMESPACE.encode(), lines)
    data = data[: at % len(data)] + junk + data[at % len(data) + len(junk) :]

    def outcome(read: Callable[..., object]) -> object:
        try:
            return read(data, name="list")
        except CorruptObjectError as error:
            return str(error)

    assert outcome(chunklist.read_chunk_list) == outcome(chunklist.define_chunk_list)
