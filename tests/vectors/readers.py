"""The package's readers under the names that the table of should-fail vectors uses, each going as deep as it can."""

from __future__ import annotations

from collections.abc import Callable

from snapstore.format import codec as codecs
from snapstore.format.chunklist import read_chunk_list
from snapstore.format.config import read_config
from snapstore.format.ids import chunk_id
from snapstore.format.index import Index
from snapstore.format.pack import parse_pack
from snapstore.format.seal import ObjectType, Sealer
from snapstore.format.smallobject import read_small
from snapstore.format.snapshot import read_final
from snapstore.format.tree import define_tree, read_tree
from snapstore.model import ChunkId
from tests.vectors.forge import STORE


def read_object_final(data: bytes) -> object:
    """The commit record in a stored final, None for a fence."""
    _, payload = read_small(data, ObjectType.FINAL, store=STORE, name="final")
    return read_final(payload, name="final")


def read_pack(data: bytes, *, kind: ObjectType = ObjectType.DATA_PACK) -> dict[ChunkId, bytes]:
    """Every chunk of a pack that keeps the bases of its deltas in itself, compared with its id."""
    header, blocks = parse_pack(data, kind=kind, store=STORE, name="pack")
    sealer = Sealer(header.pack(), STORE)
    found: dict[ChunkId, bytes] = {}
    for block in blocks:
        section = data[block.offset : block.offset + block.stored_length]
        payload = sealer.open(
            section, slot=block.slot, codec=block.codec, raw_length=block.raw_length, name=f"block {block.slot}"
        )
        bases = b"".join(found[ChunkId(block.bases[i : i + 32])] for i in range(0, len(block.bases), 32))
        raw = codecs.decompress(
            block.codec, payload, raw_length=block.raw_length, name=f"block {block.slot}", bases=bases or None
        )
        for name, offset, length in zip(block.chunk_ids(), block.offsets(), block.lengths, strict=True):
            chunk = bytes(raw[offset : offset + length])
            assert chunk_id(chunk) == name
            found[name] = chunk
    return found


def read_metadata_pack(data: bytes) -> object:
    """The same for a pack of manifests."""
    return read_pack(data, kind=ObjectType.METADATA_PACK)


def read_index(data: bytes) -> dict[ChunkId, object]:
    """Every chunk of an index with its place, after all of it has been checked."""
    index = Index(data, store=STORE, name="index")
    index.check()
    return {chunk: index.find(chunk) for chunk, _ in index}


READERS: dict[str, Callable[[bytes], object]] = {
    "config": read_config,
    "final": read_object_final,
    "pack": read_pack,
    "metadata pack": read_metadata_pack,
    "index": read_index,
    "tree": lambda data: read_tree(data, name="tree"),
    "tree by definition": lambda data: define_tree(data, name="tree"),
    "chunks": lambda data: read_chunk_list(data, name="chunk list"),
    "record": lambda data: read_final(data, name="record"),
}
