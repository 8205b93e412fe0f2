"""Reads chunks: finds their block, opens, decompresses and checks it, and keeps recent ones in bounded memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from concurrent.futures import Future
from typing import NamedTuple

from snapstore.backends import ReadBackend
from snapstore.errors import CorruptObjectError
from snapstore.format import codec as codecs
from snapstore.format.chunklist import ListShard, read_chunk_list
from snapstore.format.codec import Codec
from snapstore.format.ids import chunk_id
from snapstore.format.index import Index, IndexedBlock
from snapstore.format.seal import Header, Sealer
from snapstore.format.tree import TreeShard, read_tree
from snapstore.model import Buffer, ChunkId, Entry
from snapstore.store.catalog import Catalog

DEFAULT_CACHE = 48 << 20
_DEPTH_LIMIT = 8


class BlockKey(NamedTuple):
    """Names a block of a store: the pack's object name and the slot in it."""

    pack: str
    slot: int


class Reader:
    """Reads from committed snapshots. Safe to use from several threads: each block is decoded once for all of them.

    `cache` bounds the decoded blocks kept, in bytes; blocks being decoded or used by callers come on top.
    """

    def __init__(self, backend: ReadBackend, catalog: Catalog, *, store: bytes, cache: int = DEFAULT_CACHE) -> None:
        self._backend = backend
        self.catalog = catalog
        self._store = store
        self._limit = cache
        self._held = 0
        self._lock = threading.Lock()
        self._blocks: OrderedDict[BlockKey, Future[Buffer]] = OrderedDict()
        self._sealers: OrderedDict[str, Sealer] = OrderedDict()

    def locate(self, chunk: ChunkId) -> tuple[Index, int, int, int]:
        """(index, number of the block in it, offset in the raw block, length); MissingObjectError if unknown."""
        index, location = self.catalog.get(chunk)
        return index, *location

    def read(self, chunk: ChunkId) -> memoryview:
        """The bytes of a chunk, compared with its id.

        Raises MissingObjectError or CorruptObjectError; wrong bytes are never returned.
        """
        index, number, offset, length = self.locate(chunk)
        raw = memoryview(self.block(index, number))
        data = raw[offset : offset + length]
        self.verify(chunk, data, length, index, number)
        return data

    def verify(self, chunk: ChunkId, data: memoryview, length: int, index: Index, number: int) -> None:
        """CorruptObjectError unless `data` is `length` bytes long and has the id `chunk`."""
        if len(data) != length or chunk_id(data) != chunk:
            block = index.block(number)
            raise CorruptObjectError(
                index.packs[block.pack].name, f"block {block.slot} does not hold the chunk {chunk.hex()}"
            )

    def block(self, index: Index, number: int) -> Buffer:
        """The raw bytes of a block; its chunks are not compared with their ids here."""
        block = index.block(number)
        key = BlockKey(index.packs[block.pack].name, block.slot)
        with self._lock:
            future = self._blocks.get(key)
            mine = future is None
            if future is None:
                future = self._blocks[key] = Future()
            else:
                self._blocks.move_to_end(key)
        if not mine:
            return future.result()
        try:
            raw = self._load(index, block, key)
        except BaseException as error:
            with self._lock:
                self._blocks.pop(key, None)
            future.set_exception(error)
            raise
        future.set_result(raw)
        with self._lock:
            self._held += len(raw)
            self._evict()
        return raw

    def _evict(self) -> None:
        for key in list(self._blocks):
            if self._held <= self._limit:
                return
            future = self._blocks[key]
            if future.done():
                del self._blocks[key]
                self._held -= len(future.result())

    def _load(self, index: Index, block: IndexedBlock, key: BlockKey) -> Buffer:
        pack = index.packs[block.pack]
        name = f"block {block.slot} of {key.pack}"
        section = self._backend.get(key.pack, offset=block.offset, length=block.stored_length)
        sealer = self._sealer(key.pack, Header(pack.kind, pack.session).pack())
        payload = sealer.open(section, slot=block.slot, codec=block.codec, raw_length=block.raw_length, name=name)
        bases = self._bases(block, name) if block.codec == Codec.ZSTD_DELTA else None
        return codecs.decompress(block.codec, payload, raw_length=block.raw_length, name=name, bases=bases)

    def _sealer(self, pack: str, header: bytes) -> Sealer:
        # In the plain suite the header follows from type and session, so no pack's first bytes need to be fetched.
        with self._lock:
            sealer = self._sealers.get(pack)
            if sealer is None:
                sealer = self._sealers[pack] = Sealer(header, self._store)
                if len(self._sealers) > 64:
                    self._sealers.popitem(last=False)
            return sealer

    def _bases(self, block: IndexedBlock, name: str) -> bytes:
        parts = []
        for base in block.bases:
            index, number, _, _ = self.locate(base)
            if index.block(number).codec == Codec.ZSTD_DELTA:
                raise CorruptObjectError(name, f"its base {base.hex()} is itself a delta")
            parts.append(self.read(base))
        return b"".join(parts)

    def document(self, chunk: ChunkId) -> bytes:
        """The bytes of a manifest chunk."""
        return bytes(self.read(chunk))

    def tree(self, chunk: ChunkId) -> list[Entry] | list[TreeShard]:
        """The entries or shards of one tree document."""
        return read_tree(self.document(chunk), name=f"tree {chunk.hex()}")

    def chunk_list(self, chunk: ChunkId) -> list[ChunkId] | list[ListShard]:
        """The chunks or shards of one chunk list document."""
        return read_chunk_list(self.document(chunk), name=f"chunk list {chunk.hex()}")
