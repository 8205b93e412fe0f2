"""The golden vectors: the package's writers give these bytes, and its readers take them for what they are."""

from __future__ import annotations

import json
import os
import struct
from typing import Any

import pytest
import zstandard
from blake3 import blake3

from snapstore.format import codec as codecs
from snapstore.format.chunker import Chunker, ChunkerParameters, plain_gear_table
from snapstore.format.chunklist import ListShard, read_chunk_list
from snapstore.format.config import StoreConfig, read_config, write_config
from snapstore.format.ids import chunk_id
from snapstore.format.index import Index, IndexedPack, PackContents, write_index
from snapstore.format.pack import PackBlock, PackBuilder, parse_pack
from snapstore.format.seal import ObjectType
from snapstore.format.smallobject import read_small, write_small
from snapstore.format.snapshot import read_final
from snapstore.format.tree import TreeShard, read_tree
from snapstore.model import ChunkId, SessionId
from tests.vectors import forge, golden, regenerate
from tests.vectors.readers import read_index, read_metadata_pack, read_pack

SMALL = {
    "config": ObjectType.CONFIG,
    "announcement": ObjectType.ANNOUNCEMENT,
    "snapshot": ObjectType.FINAL,
    "checkpoint": ObjectType.FINAL,
    "fence": ObjectType.FINAL,
    "forgotten": ObjectType.TOMBSTONE,
}
STORES = {"config": bytes(16)}
CONFIG = StoreConfig(id=forge.STORE, created=golden.STARTED)


def stored(file: str) -> bytes:
    with open(os.path.join(regenerate.PLACE, file), "rb") as opened:
        return opened.read()


NUMBERS: dict[str, Any] = json.loads(stored("numbers.json"))


def test_gear_table() -> None:
    gear = plain_gear_table()
    assert blake3(gear).hexdigest() == NUMBERS["gear-table"]["blake3"]
    table = struct.unpack("<256Q", gear)
    assert list(table[:4]) == NUMBERS["gear-table"]["first"]
    assert table[-1] == NUMBERS["gear-table"]["last"]


@pytest.mark.parametrize("cuts", NUMBERS["cut-points"]["sets"], ids=lambda cuts: str(cuts["average"]))
def test_cut_points(cuts: dict[str, Any]) -> None:
    data = golden.cut_buffer()
    assert blake3(data).hexdigest() == NUMBERS["cut-points"]["buffer"]
    ends = Chunker(ChunkerParameters(cuts["minimum"], cuts["average"], cuts["maximum"])).cut(data)
    expected = cuts["ends"]
    assert ends[:20] == expected["first"]
    assert len(ends) == expected["count"]
    assert blake3(b"".join(end.to_bytes(4, "little") for end in ends)).hexdigest() == expected["blake3"]


def test_chunk_ids() -> None:
    # The first is the published BLAKE3 hash of no bytes.
    assert NUMBERS["chunk-ids"][""] == "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
    for text, expected in NUMBERS["chunk-ids"].items():
        assert chunk_id(text.encode()).hex() == expected


@pytest.mark.parametrize("vector", golden.documents(), ids=lambda vector: vector.file)
def test_documents_are_written_byte_for_byte(vector: golden.Vector) -> None:
    assert stored(vector.file) == vector.data


def test_trees_are_read() -> None:
    assert read_tree(stored("tree-every-kind.xml"), name="tree") == golden.every_entry()
    assert read_tree(stored("tree-empty.xml"), name="tree") == []
    documents = golden.tree_documents(golden.plain_entries(1500))
    assert [blake3(each).hexdigest() for each in documents] == NUMBERS["tree-shards"]
    by_id = {blake3(each).digest(): each for each in documents}
    found: list[object] = []
    for shard in read_tree(stored("tree-sharded.xml"), name="tree"):
        assert isinstance(shard, TreeShard)
        entries = read_tree(by_id[shard.id], name="shard")
        assert len(entries) == shard.entries
        found += entries
    assert found == golden.plain_entries(1500)


def test_chunk_lists_are_read() -> None:
    assert read_chunk_list(stored("chunks.xml"), name="list") == [golden.name_of(f"chunk {i}") for i in range(65)]
    documents = golden.list_documents(3000)
    assert [blake3(each).hexdigest() for each in documents] == NUMBERS["chunk-list-shards"]
    by_id = {blake3(each).digest(): each for each in documents}
    found: list[object] = []
    size = 0
    for shard in read_chunk_list(stored("chunks-sharded.xml"), name="list"):
        assert isinstance(shard, ListShard)
        chunks = read_chunk_list(by_id[shard.id], name="shard")
        assert len(chunks) == shard.chunks
        found += chunks
        size += shard.size
    assert found == [golden.name_of(f"chunk {i}") for i in range(3000)]
    assert size == sum(1000 + i for i in range(3000))


def test_records_are_read() -> None:
    assert read_final(stored("snapshot.xml"), name="record") == golden.snapshot_record()
    assert read_final(stored("checkpoint.xml"), name="record") == golden.checkpoint_record()
    assert read_final(stored("fence.xml"), name="record") is None


@pytest.mark.parametrize("form", ["raw", "zstd"])
@pytest.mark.parametrize("stem", SMALL)
def test_small_objects_are_read(stem: str, form: str) -> None:
    store = STORES.get(stem, forge.STORE)
    header, payload = read_small(stored(f"{stem}.{form}.bin"), SMALL[stem], store=store, name=stem)
    assert payload == stored(f"{stem}.xml")
    assert header.session == (bytes(16) if stem == "config" else forge.SESSION)


@pytest.mark.parametrize("form", ["raw", "zstd"])
def test_config_is_read(form: str) -> None:
    assert read_config(stored(f"config.{form}.bin")) == CONFIG


def opened(data: bytes, kind: int, *, session: bytes, store: bytes) -> bytes:
    """The payload of a small object, taken apart by the text of the format and nothing of the package."""
    head, codec, length = data[:96], data[96], int.from_bytes(data[100:104], "little")
    assert head == forge.header(kind, session=session)
    assert data[97:100] == bytes(3)
    payload, tag = data[104:-16], data[-16:]
    assert tag == forge.tag(head, payload, slot=0, codec=codec, raw_length=length, store=store)
    raw = payload if codec == forge.RAW else zstandard.decompress(payload)
    assert codec in (forge.RAW, forge.ZSTD)
    assert len(raw) == length
    return raw


@pytest.mark.parametrize("stem", SMALL)
def test_small_objects_are_written(stem: str) -> None:
    store, session = STORES.get(stem, forge.STORE), bytes(16) if stem == "config" else forge.SESSION
    document = stored(f"{stem}.xml")
    if stem == "config":
        data = write_config(CONFIG)
    else:
        data = write_small(SMALL[stem], document, session=SessionId(session), store=store)
    assert opened(data, SMALL[stem], session=session, store=store) == document


def test_a_small_object_that_does_not_shrink_is_exact() -> None:
    payload = forge.noise(1000, "no frame is shorter")
    data = write_small(ObjectType.FINAL, payload, session=SessionId(forge.SESSION), store=forge.STORE)
    assert data == forge.small(forge.FINAL, payload)


def build(blocks: list[forge.Block], kind: ObjectType) -> tuple[bytes, int]:
    """(a pack made by the package of the same blocks, where its trailer begins)."""
    builder = PackBuilder(kind, session=SessionId(forge.SESSION), store=forge.STORE)
    parts: list[Any] = [builder.header]
    for block in blocks:
        _, sealed = builder.add(
            block.codec,
            block.payload,
            raw_length=block.raw(),
            lengths=block.sizes(),
            ids=b"".join(block.names()),
            bases=b"".join(block.bases),
        )
        parts += sealed
    end = builder.size
    parts += builder.finish()
    data = b"".join(parts)
    assert len(data) == builder.size
    return data, end


@pytest.mark.parametrize(
    ("file", "kind", "blocks"),
    [
        ("data.pack", ObjectType.DATA_PACK, golden.pack_blocks()),
        ("metadata.pack", ObjectType.METADATA_PACK, golden.metadata_blocks()),
    ],
)
def test_packs_are_written(file: str, kind: ObjectType, blocks: list[forge.Block]) -> None:
    data, end = build(blocks, kind)
    assert data[:end] == forge.pack(blocks, kind=kind)[:end]
    if file == "metadata.pack":
        assert data[:end] == stored(file)[:end]
    length, raw_length, codec = struct.unpack("<IIB", data[-16:-7])
    assert data[-7:] == b"\0\0\0PEND"
    assert end + length + 16 == len(data)
    payload, tag = data[end : -16 - 16], data[-32:-16]
    head = forge.header(kind)
    assert tag == forge.tag(head, payload, slot=forge.TRAILER_SLOT, codec=codec, raw_length=raw_length)
    raw = bytes(codecs.decompress(codec, payload, raw_length=raw_length, name="trailer"))
    assert raw == forge.trailer(blocks)


def test_packs_are_read() -> None:
    chunks = [*golden.BASE_CHUNKS, *golden.TEXT_CHUNKS, *golden.DELTA_CHUNKS]
    assert read_pack(stored("data.pack")) == {blake3(chunk).digest(): chunk for chunk in chunks}
    held = [chunk for block in golden.metadata_blocks() for chunk in block.chunks]
    assert read_metadata_pack(stored("metadata.pack")) == {blake3(chunk).digest(): chunk for chunk in held}
    _, blocks = parse_pack(stored("data.pack"), kind=ObjectType.DATA_PACK, store=forge.STORE, name="pack")
    assert [block.codec for block in blocks] == [forge.RAW, forge.ZSTD, forge.DELTA, forge.PADDING]
    assert blocks[2].bases == b"".join(blake3(chunk).digest() for chunk in golden.BASE_CHUNKS)


def contents(count: int) -> list[PackContents]:
    """What the index vectors are about, as a writer holds it."""
    rows, packs = golden.index_rows()
    if count < 2:
        rows, packs = rows[:count], packs[:count]
    made = []
    for number, (row, pack) in enumerate(zip(rows, packs, strict=True)):
        ids = [name for name, place in golden.indexed(count) if place[0] == number]
        lengths = [1] * len(ids)
        blocks = [PackBlock(row.slot, row.offset, row.stored, row.raw, row.codec, lengths, b"".join(ids))]
        if count == 100 and number == 1:
            bases = b"".join(blake3(chunk).digest() for chunk in golden.BASE_CHUNKS)
            blocks.append(PackBlock(4, 320, 116, 100, forge.DELTA, (), b"", bases))
        held = IndexedPack(pack.digest, SessionId(pack.session), pack.size, ObjectType(pack.kind))
        made.append(PackContents(held, blocks))
    return made


@pytest.mark.parametrize("count", [0, 1, 7, 8, 100])
def test_indexes(count: int) -> None:
    data = stored(f"index-{count}.bin")
    assert data[96] == {0: 0, 1: 0, 7: 0, 8: 1, 100: 4}[count]
    assert write_index(contents(count), session=SessionId(forge.SESSION), store=forge.STORE) == data
    assert read_index(data) == dict(golden.indexed(count))
    index = Index(data, store=forge.STORE, name="index")
    assert index.session == forge.SESSION
    assert ChunkId(bytes(32)) not in index
    if count == 100:
        assert index.block(2).bases == tuple(blake3(chunk).digest() for chunk in golden.BASE_CHUNKS)
        assert index.packs[1].size == 500
        assert index.packs[1].kind is ObjectType.METADATA_PACK
