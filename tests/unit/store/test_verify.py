from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import replace

import pytest
from blake3 import blake3

from snapstore.backends import MemoryBackend
from snapstore.errors import CorruptObjectError, MissingObjectError
from snapstore.format.codec import Codec, compress, compress_delta
from snapstore.format.ids import chunk_id
from snapstore.format.index import Index, IndexedPack, PackContents, pack_name, write_index
from snapstore.format.pack import PackBlock, PackBuilder
from snapstore.format.seal import ObjectType
from snapstore.model import Buffer, ChunkId, SessionId
from snapstore.store.verify import (
    IndexComparison,
    PackName,
    PackProof,
    parse_pack_name,
    prove_pack,
    read_trailer,
    rebuild_index,
)
from tests.oddities import noise

STORE = b"S" * 16
SESSION = SessionId(b"s" * 16)
CHUNKS = [noise(size, size) for size in (100, 2000, 300)]

Raw = tuple[Codec, Buffer, Sequence[bytes], bytes]


def packed(*blocks: Raw, session: SessionId = SESSION) -> tuple[MemoryBackend, PackName, list[PackBlock]]:
    """A pack of blocks given as (codec, payload, chunks, bases), in a backend."""
    builder = PackBuilder(ObjectType.DATA_PACK, session=session, store=STORE)
    parts: list[Buffer] = [builder.header]
    for codec, payload, chunks, bases in blocks:
        lengths = array("I", [len(chunk) for chunk in chunks])
        ids = b"".join(chunk_id(chunk) for chunk in chunks)
        raw = len(payload) if codec is Codec.PADDING else sum(lengths)
        _, written = builder.add(codec, payload, raw_length=raw, lengths=lengths, ids=ids, bases=bases)
        parts += written
    parts += builder.finish()
    data = b"".join(parts)
    digest = blake3(data).digest()
    name = PackName(pack_name(digest, SESSION), digest, SESSION)
    return MemoryBackend(objects={name.name: data}), name, builder.blocks


def whole(chunks: Sequence[bytes]) -> Raw:
    codec, payload = compress(b"".join(chunks))
    return codec, payload, chunks, b""


def no_bases(ids: Sequence[ChunkId]) -> bytes:
    raise MissingObjectError(f"chunk {ids[0].hex()}")


def prove(backend: MemoryBackend, name: PackName) -> PackProof:
    return prove_pack(backend, name, kind=None, store=STORE, bases=no_bases)


def indexed(backend: MemoryBackend, name: PackName, blocks: Sequence[PackBlock]) -> Index:
    pack = IndexedPack(name.digest, name.session, backend.size(name.name), ObjectType.DATA_PACK)
    return Index(write_index([PackContents(pack, blocks)], session=SESSION, store=STORE), store=STORE, name="index/x")


def compared(index: Index, blocks: Sequence[PackBlock]) -> list[str]:
    comparison = IndexComparison(index)
    return [fault for fault in (comparison.add(0, blocks), comparison.finish()) if fault]


def test_a_whole_pack_is_proven() -> None:
    backend, name, blocks = packed(whole(CHUNKS[:2]), whole(CHUNKS[2:]), (Codec.PADDING, bytes(50), (), b""))
    assert prove(backend, name) == PackProof(name, backend.size(name.name), 3, ())
    size = backend.size(name.name)
    assert read_trailer(backend, name, size=size, kind=None, store=STORE)[0] is ObjectType.DATA_PACK
    assert compared(indexed(backend, name, blocks), blocks) == []


def test_a_long_trailer_is_read_in_two_pieces() -> None:
    chunks = [b"%05d" % number for number in range(3000)]
    backend, name, blocks = packed(whole(chunks))
    _, read = read_trailer(backend, name, size=backend.size(name.name), kind=ObjectType.DATA_PACK, store=STORE)
    assert [block.ids for block in read] == [block.ids for block in blocks]


def test_chunks_that_are_not_what_their_ids_say_are_found() -> None:
    codec, payload = compress(CHUNKS[0] + CHUNKS[1])
    lie = CHUNKS[1][:-1] + b"?"
    backend, name, _ = packed(whole(CHUNKS[2:]), (codec, payload, (CHUNKS[0], lie), b""))
    proof = prove(backend, name)
    assert proof.faults == ("chunk 1 of block 1 does not have its id",)
    assert (proof.damaged, proof.unusable) == (frozenset({1}), False)


def test_padding_has_to_be_zeros() -> None:
    backend, name, _ = packed(whole(CHUNKS), (Codec.PADDING, b"\0" * 9 + b"x", (), b""))
    assert prove(backend, name).faults == ("the padding in block 1 is not zero",)


def test_deltas_are_proven_with_their_bases() -> None:
    base = CHUNKS[1]
    chunk = base[:1000] + b"changed" + base[1000:]
    delta = compress_delta(chunk, base)
    backend, name, blocks = packed((Codec.ZSTD_DELTA, delta, (chunk,), chunk_id(base)))

    def bases(ids: Sequence[ChunkId]) -> bytes:
        assert list(ids) == [chunk_id(base)]
        return base

    assert prove_pack(backend, name, kind=None, store=STORE, bases=bases).faults == ()
    assert prove(backend, name).faults == (f"chunk {chunk_id(base).hex()} is missing from the store",)
    assert compared(indexed(backend, name, blocks), blocks) == []


@pytest.mark.parametrize("session", [SESSION, SessionId(b"t" * 16)])
def test_names_and_headers_have_to_state_the_same_session(session: SessionId) -> None:
    backend, name, _ = packed(whole(CHUNKS), session=session)
    faults = prove(backend, name).faults
    if session == SESSION:
        assert faults == ()
    else:
        assert faults == ("its header states another session than its name",)
        with pytest.raises(CorruptObjectError, match="another session"):
            read_trailer(backend, name, size=backend.size(name.name), kind=None, store=STORE)


def test_what_is_no_pack_is_said_so() -> None:
    _, name, _ = packed(whole(CHUNKS))
    assert prove(MemoryBackend(objects={name.name: b"SNAP"}), name).faults[-1] == "it is not a pack"
    assert prove(MemoryBackend(objects={name.name: b"SNAP\1\0\4" + bytes(200)}), name).unusable
    assert prove(MemoryBackend(), name).faults == ("is missing from the store",)


def test_an_index_that_disagrees_with_its_pack_is_found() -> None:
    backend, name, blocks = packed(whole(CHUNKS[:2]), whole(CHUNKS[2:]))
    # What the index was made of, and what is wrong with it, against the blocks as they are.
    lies = [
        (blocks[:1], "its block 1 is not in index/x"),
        ([blocks[0], replace(blocks[1], codec=7)], "index/x describes its block 1 otherwise"),
        ([blocks[0], replace(blocks[1], raw_length=301)], "index/x describes its block 1 otherwise"),
        (
            [replace(blocks[0], ids=bytes(64)), blocks[1]],
            f"index/x does not hold its chunk {chunk_id(CHUNKS[0]).hex()}",
        ),
        (
            [replace(blocks[0], lengths=(101, 1999)), blocks[1]],
            f"index/x does not hold its chunk {chunk_id(CHUNKS[0]).hex()}",
        ),
    ]
    for made_of, fault in lies:
        assert compared(indexed(backend, name, made_of), blocks)[0] == fault
    assert compared(indexed(backend, name, blocks), blocks[:1]) == ["it describes 1 blocks that its packs do not hold"]
    misplaced = [replace(blocks[0], ids=blocks[0].ids[32:] + blocks[0].ids[:32], lengths=(2000, 100)), blocks[1]]
    assert compared(indexed(backend, name, misplaced), blocks) == ["it places 2 chunks where no pack has them"]


def test_a_chunk_in_two_places_is_found_at_the_first() -> None:
    backend, name, blocks = packed(whole(CHUNKS[:2]), whole([CHUNKS[2], CHUNKS[0], CHUNKS[2]]))
    assert compared(indexed(backend, name, blocks), blocks) == []


def test_packs_that_could_not_be_read_are_left_out_of_the_comparison() -> None:
    backend, name, blocks = packed(whole(CHUNKS))
    comparison = IndexComparison(indexed(backend, name, blocks))
    comparison.skip(0)
    assert comparison.finish() == ""


def test_an_index_is_rebuilt_from_trailers_alone() -> None:
    backend, name, blocks = packed(whole(CHUNKS[:2]), whole(CHUNKS[2:]))
    size = backend.size(name.name)
    kind, read = read_trailer(backend, name, size=size, kind=None, store=STORE)
    contents = PackContents(IndexedPack(name.digest, SESSION, size, kind), read)
    rebuilt = rebuild_index([contents], session=SESSION, store=STORE)
    assert list(rebuilt) == list(indexed(backend, name, blocks))


@pytest.mark.parametrize(
    "name",
    [
        "packs/ab/" + "ab" * 32,
        "packs/aa/" + "ab" * 32 + "-" + "00" * 16,
        "packs/ab/" + "AB" * 32 + "-" + "00" * 16,
        "packs/ab/" + "ab" * 32 + "-" + "00" * 16 + "x",
        "index/" + "ab" * 32 + "-" + "00" * 16,
    ],
)
def test_what_cannot_be_the_name_of_a_pack(name: str) -> None:
    assert parse_pack_name(name) is None


def test_the_name_of_a_pack() -> None:
    digest, session = bytes.fromhex("ab" * 32), SessionId(bytes.fromhex("0c" * 16))
    name = pack_name(digest, session)
    assert parse_pack_name(name) == PackName(name, digest, session)
