"""Codecs, packs and indexes give back what was put in, and nothing for what was not."""

from __future__ import annotations

import zlib

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from snapstore.errors import CorruptObjectError
from snapstore.format import codec as codecs
from snapstore.format.codec import Codec
from snapstore.format.index import Index, IndexedPack, Location, PackContents, write_index
from snapstore.format.pack import PackBlock, PackBuilder, parse_pack
from snapstore.format.seal import ObjectType
from snapstore.model import Buffer, ChunkId, SessionId
from tests.property.format_values import ids
from tests.vectors.forge import SESSION, STORE, noise
from tests.vectors.readers import read_pack

SID = SessionId(SESSION)
contents = st.one_of(
    st.binary(min_size=1, max_size=300),
    st.builds(lambda piece, times: piece * times, st.binary(min_size=1, max_size=30), st.integers(1, 3000)),
    st.integers(1, 70_000).map(lambda size: noise(size, "content")),
)


@settings(max_examples=80, deadline=None)
@given(st.one_of(st.just(b""), contents), st.integers(1, 19))
def test_any_bytes_survive_any_level(raw: bytes, level: int) -> None:
    codec, payload = codecs.compress(raw, level=level)
    assert len(payload) <= len(raw)
    assert codec in (Codec.RAW, Codec.ZSTD)
    assert bytes(codecs.decompress(codec, payload, raw_length=len(raw), name="x")) == raw


@settings(max_examples=60, deadline=None)
@given(contents, contents, st.integers(1, 19))
def test_deltas_need_their_bases(base: bytes, raw: bytes, level: int) -> None:
    raw = base[: len(base) // 2] + raw + base
    payload = codecs.compress_delta(raw, base, level=level)
    assert bytes(codecs.decompress(2, payload, raw_length=len(raw), name="x", bases=base)) == raw
    try:
        other = codecs.decompress(2, payload, raw_length=len(raw), name="x", bases=bytes(len(base)))
    except CorruptObjectError:
        return
    # Another base may give other bytes, which the chunk's id finds; never more or fewer of them.
    assert len(other) == len(raw)


@pytest.mark.parametrize("level", range(1, 20))
def test_every_level_takes_a_large_block(level: int) -> None:
    raw = (b"a line of text, number %d\n" * 4000 + noise(50_000, "tail"))[: 1 << 18]
    codec, payload = codecs.compress(raw, level=level)
    assert codec is Codec.ZSTD
    assert zlib.crc32(codecs.decompress(codec, payload, raw_length=len(raw), name="x")) == zlib.crc32(raw)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(contents, min_size=1, max_size=5), max_size=6))
def test_packs_round_trip(blocks: list[list[bytes]]) -> None:
    builder = PackBuilder(ObjectType.DATA_PACK, session=SID, store=STORE)
    parts: list[Buffer] = [builder.header]
    for chunks in blocks:
        raw = b"".join(chunks)
        codec, payload = codecs.compress(raw)
        names = b"".join(blake3(chunk).digest() for chunk in chunks)
        _, sealed = builder.add(codec, payload, raw_length=len(raw), lengths=list(map(len, chunks)), ids=names)
        parts += sealed
    parts += builder.finish()
    data = b"".join(parts)
    assert len(data) == builder.size
    header, found = parse_pack(data, kind=ObjectType.DATA_PACK, store=STORE, name="pack")
    assert header.session == SID
    assert [list(block.lengths) for block in found] == [list(map(len, chunks)) for chunks in blocks]
    assert read_pack(data) == {blake3(chunk).digest(): chunk for chunks in blocks for chunk in chunks}


# Ids that crowd into few buckets, differ in their last bytes only, or hold one another across their borders.
crowded = st.builds(
    lambda prefix, end: ChunkId((prefix * 32)[: 32 - len(end)] + end),
    st.sampled_from([b"\0", b"\xff", b"\x7f\xff\xff\xff", b"ab"]),
    st.binary(min_size=0, max_size=3),
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.lists(st.tuples(st.one_of(ids, crowded), st.integers(1, 99)), max_size=40), max_size=5),
    st.lists(st.one_of(ids, crowded), max_size=20),
)
def test_an_index_is_a_dict(blocks: list[list[tuple[ChunkId, int]]], others: list[ChunkId]) -> None:
    model: dict[ChunkId, Location] = {}
    rows = []
    for number, chunks in enumerate(blocks):
        at = 0
        for name, length in chunks:
            model.setdefault(name, Location(number, at, length))
            at += length
        lengths, names = [length for _, length in chunks], b"".join(name for name, _ in chunks)
        rows.append(PackBlock(number, 96 + 100 * number, 100, at, Codec.ZSTD, lengths, names))
    packs = [IndexedPack(bytes([i]) * 32, SID, 96 + 100 * len(blocks), ObjectType.DATA_PACK) for i in range(2)]
    half = len(rows) // 2
    written = write_index(
        [PackContents(packs[0], rows[:half]), PackContents(packs[1], rows[half:])], session=SID, store=STORE
    )
    index = Index(written, store=STORE, name="index")
    index.check()
    assert dict(index) == model
    assert index.chunks == len(model)
    for name in [*model, *others]:
        assert index.find(name) == model.get(name)
        assert (name in index) == (name in model)
        # What lies across the border of two ids is no id.
        shifted = ChunkId(name[1:] + name[:1])
        assert index.find(shifted) == model.get(shifted)
    for number, row in enumerate(rows):
        block = index.block(number)
        assert (block.offset, block.raw_length, block.slot) == (row.offset, row.raw_length, row.slot)
        assert index.packs[block.pack] == packs[number >= half]


@pytest.mark.parametrize("count", [1 << n for n in range(2, 13)])
def test_the_mean_bucket_holds_between_four_and_eight(count: int) -> None:
    for chunks in (count - 1, count, count + 1):
        names = b"".join(blake3(b"%d" % i).digest() for i in range(chunks))
        row = PackBlock(0, 96, 100, chunks, Codec.ZSTD, [1] * chunks, names)
        pack = IndexedPack(bytes(32), SID, 196, ObjectType.DATA_PACK)
        bits = write_index([PackContents(pack, [row])], session=SID, store=STORE)[96]
        assert bits == 0 or 4 <= chunks / (1 << bits) < 8
        assert bits > 0 or chunks < 8
