"""Micro-benchmarks of the format: what a chunk, a block, an index look-up and a tree entry cost."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from bench.corpora import SEED
from bench.words import Words
from snapstore.format.chunker import Chunker, ChunkerParameters
from snapstore.format.codec import Codec, compress, decompress
from snapstore.format.ids import chunk_id
from snapstore.format.index import Index, IndexedPack, PackContents, write_index
from snapstore.format.pack import PackBuilder
from snapstore.format.seal import Header, ObjectType, Sealer
from snapstore.format.tree import TreeWriter, entry_element, owner_attributes, plain_file_element, read_tree
from snapstore.model import ChunkId, Entry, Kind, SessionId

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

_SESSION = SessionId(bytes(range(16)))
_STORE = bytes(16)
_BLOCK = 1 << 20
_PER_BLOCK = 100


@pytest.fixture(scope="module")
def text() -> bytes:
    """4 MiB of source-like text."""
    return Words(SEED).text(random.Random(SEED), size=4 << 20)


@pytest.fixture(scope="module")
def index_bytes() -> tuple[bytes, list[ChunkId]]:
    """An index over 100,000 chunks, and their ids."""
    chooser = random.Random(SEED)
    ids = [ChunkId(chooser.randbytes(32)) for _ in range(100_000)]
    builder = PackBuilder(ObjectType.DATA_PACK, session=_SESSION, store=_STORE)
    for start in range(0, len(ids), _PER_BLOCK):
        names = b"".join(ids[start : start + _PER_BLOCK])
        builder.add(Codec.RAW, b"", raw_length=0, lengths=[0] * _PER_BLOCK, ids=names)
    pack = IndexedPack(bytes(32), _SESSION, builder.size, ObjectType.DATA_PACK)
    return write_index([PackContents(pack, builder.blocks)], session=_SESSION, store=_STORE), ids


@pytest.fixture(scope="module")
def entries() -> list[Entry]:
    """A directory of 1,000 ordinary files of one chunk each."""
    chooser = random.Random(SEED)
    return [
        Entry(
            name=b"module_%06d.py" % number,
            kind=Kind.FILE,
            mode=0o644,
            uid=1000,
            gid=1000,
            user="somebody",
            group="somebody",
            mtime=(1_600_000_000 + number, 123_456_789),
            size=4096,
            chunks=(ChunkId(chooser.randbytes(32)),),
        )
        for number in range(1000)
    ]


def test_cut_4_mib(benchmark: BenchmarkFixture, text: bytes) -> None:
    """Finding all cuts of 4 MiB."""
    ends = benchmark(Chunker(ChunkerParameters()).cut, text)
    assert ends[-1] == len(text)


@pytest.mark.parametrize("size", [4 << 10, 64 << 10])
def test_chunk_id(benchmark: BenchmarkFixture, text: bytes, size: int) -> None:
    """Hashing one chunk."""
    assert len(benchmark(chunk_id, text[:size])) == 32


def test_compress_block(benchmark: BenchmarkFixture, text: bytes) -> None:
    """Compressing 1 MiB of text."""
    codec, payload = benchmark(compress, text[:_BLOCK])
    assert codec is Codec.ZSTD
    assert len(payload) < _BLOCK


def test_decompress_block(benchmark: BenchmarkFixture, text: bytes) -> None:
    """Decompressing 1 MiB of text with its guards."""
    codec, payload = compress(text[:_BLOCK])
    raw = benchmark(decompress, codec, payload, raw_length=_BLOCK, name="block")
    assert raw == text[:_BLOCK]


def test_seal_and_open_block(benchmark: BenchmarkFixture, text: bytes) -> None:
    """Tagging 1 MiB and checking the tag."""
    sealer = Sealer(Header(ObjectType.DATA_PACK, _SESSION).pack(), _STORE)

    def both() -> memoryview:
        section = b"".join(sealer.seal(text[:_BLOCK], slot=0, codec=Codec.RAW, raw_length=_BLOCK))
        return sealer.open(section, slot=0, codec=Codec.RAW, raw_length=_BLOCK, name="block")

    assert len(benchmark(both)) == _BLOCK


def test_open_index_of_100k_chunks(benchmark: BenchmarkFixture, index_bytes: tuple[bytes, list[ChunkId]]) -> None:
    """Checking an index before its use."""
    data, ids = index_bytes
    index = benchmark(Index, data, store=_STORE, name="index")
    assert index.chunks == len(ids)


def test_find_1000_chunks_of_100k(benchmark: BenchmarkFixture, index_bytes: tuple[bytes, list[ChunkId]]) -> None:
    """A thousand look-ups."""
    data, ids = index_bytes
    index = Index(data, store=_STORE, name="index")
    wanted = ids[:1000]
    found = benchmark(lambda: [index.find(chunk) for chunk in wanted])
    assert [None if place is None else place.block for place in found] == [n // _PER_BLOCK for n in range(1000)]


def test_write_tree_of_1000_entries(benchmark: BenchmarkFixture, entries: list[Entry]) -> None:
    """Writing a directory the general way."""

    def write() -> ChunkId:
        writer = TreeWriter(chunk_id)
        for entry in entries:
            writer.add(entry.name, entry_element(entry))
        return writer.finish()

    assert len(benchmark(write)) == 32


def test_write_1000_plain_file_elements(benchmark: BenchmarkFixture, entries: list[Entry]) -> None:
    """Writing ordinary files the short way."""
    owner = owner_attributes(1000, 1000, "somebody", "somebody")
    rows = [(entry.name, entry.size, entry.mtime, entry.mode, [entry.chunks[0].hex()]) for entry in entries]

    def write() -> list[bytes]:
        return [
            plain_file_element(name, size, mtime, mode, owner, chunks=chunks)
            for name, size, mtime, mode, chunks in rows
        ]

    assert benchmark(write) == [entry_element(entry) for entry in entries]


def test_read_tree_of_1000_entries(benchmark: BenchmarkFixture, entries: list[Entry]) -> None:
    """Parsing and checking a directory."""
    documents: dict[ChunkId, bytes] = {}

    def put(document: bytes) -> ChunkId:
        documents[chunk_id(document)] = document
        return chunk_id(document)

    writer = TreeWriter(put)
    for entry in entries:
        writer.add(entry.name, entry_element(entry))
    writer.finish()
    largest = max(documents.values(), key=len)
    read = benchmark(read_tree, largest, name="tree")
    assert set(read) <= set(entries)
