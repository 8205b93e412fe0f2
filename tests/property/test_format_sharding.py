"""Long manifests are cut by content: the same entries give the same documents, one change touches few of them."""

from __future__ import annotations

import itertools
import random

import pytest
import xxhash
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from snapstore.format.chunklist import ChunkListWriter
from snapstore.format.tree import TreeWriter, entry_element
from snapstore.format.xml import text_attribute
from snapstore.model import ChunkId, Entry, Kind
from tests.property.format_values import names
from tests.vectors.hostile_xml import DECLARATION, tree

Elements = dict[bytes, bytes]


def element(name: bytes, filler: int = 0) -> bytes:
    chunks = tuple(ChunkId(blake3(name + bytes([i])).digest()) for i in range(filler))
    return entry_element(Entry(name=name, kind=Kind.FILE, mode=0o644, uid=0, gid=0, size=filler, chunks=chunks))


def written(elements: Elements) -> tuple[ChunkId, set[bytes]]:
    """(id of the directory's tree, all documents of it)."""
    documents: set[bytes] = set()

    def put(document: bytes) -> ChunkId:
        documents.add(document)
        return ChunkId(blake3(document).digest())

    writer = TreeWriter(put)
    for name in sorted(elements):
        writer.add(name, elements[name])
    return writer.finish(), documents


def by_the_law(elements: Elements) -> bytes:
    """The id of a directory's tree, by the words of the format: runs first, then documents, level by level."""
    items = [(name, 1, elements[name]) for name in sorted(elements)]
    while True:
        runs: list[list[tuple[bytes, int, bytes]]] = [[]]
        total = 0
        for item in items:
            runs[-1].append(item)
            total += len(item[2])
            if total >= 256 << 10 or (total >= 32 << 10 and xxhash.xxh3_64_intdigest(item[0], seed=0) & 127 == 0):
                runs.append([])
                total = 0
        runs = [run for run in runs if run] or [[]]
        documents = [
            tree(*(item[2] for item in run)) if run else DECLARATION + b'<tree xmlns="urn:snapstore:tree:1"/>\n'
            for run in runs
        ]
        ids = [blake3(document).digest() for document in documents]
        if len(runs) == 1:
            return ids[0]
        items = []
        for run, name in zip(runs, ids, strict=True):
            count = sum(item[1] for item in run)
            first = text_attribute(b"first", run[0][0])
            items.append((run[0][0], count, b'<shard%b entries="%d" id="%b"/>\n' % (first, count, name.hex().encode())))


@settings(max_examples=25, deadline=None)
@given(st.sets(names, max_size=40), st.integers(0, 4000), st.integers(0, 64), st.integers(0, 1 << 32))
def test_documents_are_cut_by_the_law(odd: set[bytes], count: int, filler: int, seed: int) -> None:
    rng = random.Random(seed)
    elements = {b"%x" % rng.getrandbits(60): b"" for _ in range(count if filler < 8 else count // 20)}
    elements = {name: element(name, filler) for name in elements} | {name: element(name) for name in odd}
    assert written(elements)[0] == by_the_law(elements)


def test_shards_of_shards() -> None:
    # Long names at which a run may end: eight big entries fill a run, and seventy-odd shards a list of shards.
    candidates = (b"\xff" * 240 + b"%06d" % number for number in range(1 << 20))
    hits = itertools.islice((name for name in candidates if not xxhash.xxh3_64_intdigest(name) & 127), 1600)
    elements = {name: element(name, 64) for name in hits}
    top, documents = written(elements)
    assert top == by_the_law(elements)
    assert len([document for document in documents if b"<shard " in document]) > 2


@pytest.mark.parametrize("seed", range(4))
def test_one_change_touches_few_documents(seed: int) -> None:
    rng = random.Random(seed)
    elements = {name: element(name, 1) for name in (b"%x" % rng.getrandbits(64) for _ in range(20_000))}
    _, before = written(elements)
    assert len(before) > 15
    for _ in range(8):
        name = rng.choice(sorted(elements))
        if rng.randrange(3) == 0:
            del elements[name]
        elif rng.randrange(2):
            elements[name] = element(name, 2 + rng.randrange(5))
        else:
            elements[b"%x" % rng.getrandbits(64)] = element(b"new", 1)
        _, after = written(elements)
        # The document of the run, perhaps its neighbour where a cut came or went, and the list of shards.
        assert len(after - before) <= 4
        before = after


def listed(ids: list[ChunkId]) -> tuple[ChunkId, set[bytes]]:
    """(id of a chunk list of chunks of seven bytes, all documents of it)."""
    documents: set[bytes] = set()

    def put(document: bytes) -> ChunkId:
        documents.add(document)
        return ChunkId(blake3(document).digest())

    writer = ChunkListWriter(put)
    for chunk in ids:
        writer.take(chunk, 7)
    return writer.finish(), documents


def listed_by_the_law(ids: list[ChunkId]) -> tuple[ChunkId, set[bytes]]:
    """The same by the words of the format."""
    documents: set[bytes] = set()
    items = [(chunk, 1, b'<c id="%b"/>\n' % chunk.hex().encode()) for chunk in ids]
    while True:
        runs: list[list[tuple[ChunkId, int, bytes]]] = [[]]
        for item in items:
            runs[-1].append(item)
            if len(runs[-1]) >= 2048 or (len(runs[-1]) >= 128 and item[0][-1] == 0):
                runs.append([])
        items = []
        for run in filter(None, runs):
            lines = b"".join(line for _, _, line in run)
            document = DECLARATION + b'<chunks xmlns="urn:snapstore:chunks:1">\n' + lines + b"</chunks>\n"
            documents.add(document)
            name = ChunkId(blake3(document).digest())
            count = sum(chunks for _, chunks, _ in run)
            line = b'<shard id="%b" chunks="%d" size="%d"/>\n' % (name.hex().encode(), count, 7 * count)
            items.append((name, count, line))
        if len(items) == 1:
            return items[0][0], documents


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 9000), st.integers(0, 1 << 32), st.sampled_from([1, 256]))
def test_chunk_lists_are_cut_by_the_law(count: int, seed: int, ends: int) -> None:
    rng = random.Random(seed)
    # With one possible end, no id ends in zero and there is never a natural cut.
    ids = [ChunkId(rng.randbytes(31) + bytes([255 - rng.randrange(ends)])) for _ in range(count)]
    assert listed(ids) == listed_by_the_law(ids)


def test_chunk_lists_of_lists() -> None:
    rng = random.Random(2)  # one of those whose shards end in zero often enough
    ends = bytes([1] * 127 + [0]) * 600
    ids = [ChunkId(rng.randbytes(31) + bytes([end])) for end in ends]
    top, documents = listed(ids)
    assert (top, documents) == listed_by_the_law(ids)
    assert len([document for document in documents if b"<shard " in document]) > 2
