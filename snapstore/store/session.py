"""A session: one writer's run, from its announcement to the one object that decides it (docs/format.md, section 11)."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass, replace

from blake3 import blake3

from snapstore.backends import DeleteBackend, WriteBackend
from snapstore.errors import MissingObjectError, ObjectExistsError, SessionFencedError, StoreError
from snapstore.flow import Background, Lease, OrderedStage, worker_count
from snapstore.format.codec import DEFAULT_LEVEL
from snapstore.format.ids import chunk_id, new_session_id
from snapstore.format.index import Index, PackContents, index_name, write_index
from snapstore.format.seal import ObjectType
from snapstore.format.smallobject import write_small
from snapstore.format.snapshot import announcement_name, final_name, write_announcement, write_fence, write_snapshot
from snapstore.model import ChunkId, IndexRef, SessionId, Snapshot
from snapstore.store.blocks import OpenBlock, ReadyBlock, make_ready
from snapstore.store.catalog import Catalog, Commit
from snapstore.store.packs import PACK_TARGET, PackWriter

DATA_BLOCK = 1 << 20
METADATA_BLOCK = 256 << 10
BLOCK_CHUNKS = 1 << 12
INDEX_CHUNKS = 1 << 18
"""An index is closed at this many chunks: it bounds the memory that building and searching it takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteOptions:
    """How a session writes. `level` is zstd's; `read_back` proves each block before it is stored."""

    level: int = DEFAULT_LEVEL
    read_back: bool = True
    pack_target: int = PACK_TARGET
    workers: int = 0


@dataclass(slots=True)
class Written:
    """What a session has stored so far: chunks that were new, their raw bytes, and the bytes of packs."""

    chunks: int = 0
    data: int = 0
    manifest: int = 0
    stored_data: int = 0
    stored_manifest: int = 0


class WriteSession:
    """Takes chunks, stores those that are new, and commits.

    One thread feeds it. Chunks are deduplicated against what the catalog holds (committed sessions only) and against
    this session's own. Any StoreError ends the session: call `abort`, what was written stays unreferenced.
    """

    def __init__(self, backend: WriteBackend, *, store: bytes, tool: str, options: WriteOptions | None = None) -> None:
        self.id: SessionId = new_session_id()
        self.written = Written()
        self._backend = backend
        self._catalog = Catalog(backend, (), store=store)
        self._store = store
        self._options = options or WriteOptions()
        self._seen: set[ChunkId] = set()
        self._waiting: list[PackContents] = []
        self._waiting_chunks = 0
        self._segments: list[tuple[bytes, Index]] = []
        self._data = OpenBlock(ObjectType.DATA_PACK)
        self._metadata = OpenBlock(ObjectType.METADATA_PACK)
        workers = self._options.workers or worker_count()
        announcement = write_announcement(self.id, host=os.uname().nodename, tool=tool, started=time.time_ns())
        self._put_small(announcement_name(self.id), ObjectType.ANNOUNCEMENT, announcement)
        backend.barrier(["sessions/"])
        self._background = Background(depth=2)
        self._packs = {kind: self._pack_writer(kind) for kind in (ObjectType.DATA_PACK, ObjectType.METADATA_PACK)}
        self._stage: OrderedStage[OpenBlock, ReadyBlock] = OrderedStage(
            self._ready,
            self._store_block,
            workers=workers,
            depth=2 * workers + 2,
            drop=lambda ready: ready.block.release(),
        )

    def _pack_writer(self, kind: ObjectType) -> PackWriter:
        return PackWriter(
            self._backend, kind, session=self.id, store=self._store, background=self._background,
            on_stored=self._pack_stored, target=self._options.pack_target,
        )  # fmt: skip

    def _put_small(self, name: str, kind: ObjectType, payload: bytes) -> bytes:
        stored = write_small(kind, payload, session=self.id, store=self._store)
        self._backend.put(name, [stored])
        return stored

    def deduplicate_against(self, catalog: Catalog) -> None:
        """Nothing; from now on chunks are known that the catalog holds. Read it after the session was announced."""
        self._catalog = catalog

    # -- taking chunks ------------------------------------------------------------------------------------------------

    def contains(self, chunk: ChunkId) -> bool:
        """Whether the chunk need not be stored again: a committed session has it, or this one has taken it."""
        if chunk in self._seen:
            return True
        for _, index in self._segments:
            if index.find(chunk) is not None:
                return True
        return self._catalog.find(chunk) is not None

    def add(self, chunk: ChunkId, lease: Lease, start: int, end: int) -> bool:
        """Takes a chunk of file contents that lies in a leased buffer; False if the store has it already.

        Blocks while the stages behind are full. The bytes must stay as they are until the lease is given back.
        """
        if self.contains(chunk):
            return False
        self._seen.add(chunk)
        self.written.chunks += 1
        self.written.data += end - start
        block = self._data
        block.append_slice(chunk, lease, start, end)
        if block.size >= DATA_BLOCK or len(block.ids) >= BLOCK_CHUNKS:
            self._data = OpenBlock(ObjectType.DATA_PACK)
            self._stage.put(block)
        return True

    def detach(self) -> None:
        """Copies what the open block still holds of leased buffers. Call it before waiting for another buffer."""
        self._data.detach()

    def put_manifest(self, document: bytes) -> ChunkId:
        """The id of a manifest's chunk, stored if it is new."""
        chunk = chunk_id(document)
        if self.contains(chunk):
            return chunk
        self._seen.add(chunk)
        self.written.chunks += 1
        self.written.manifest += len(document)
        block = self._metadata
        block.append(chunk, document)
        if block.size >= METADATA_BLOCK or len(block.ids) >= BLOCK_CHUNKS:
            self._metadata = OpenBlock(ObjectType.METADATA_PACK)
            self._stage.put(block)
        return chunk

    # -- the stages behind --------------------------------------------------------------------------------------------

    def _ready(self, block: OpenBlock) -> ReadyBlock:
        try:
            return make_ready(block, level=self._options.level, read_back=self._options.read_back)
        except BaseException:
            block.release()
            raise

    def _store_block(self, ready: ReadyBlock) -> None:
        try:
            self._packs[ready.block.kind].add(ready)
        finally:
            # Also when storing fails: the thread that reads files may be waiting for these buffers.
            ready.block.release()

    def _pack_stored(self, contents: PackContents) -> None:
        self._waiting.append(contents)
        self._waiting_chunks += sum(len(block.lengths) for block in contents.blocks)
        if self._waiting_chunks >= INDEX_CHUNKS:
            self._close_segment()

    def _close_segment(self) -> None:
        """Turns the packs stored so far into an index; from then on their chunks are found there, not in the set."""
        if not self._waiting:
            return
        stored = write_index(self._waiting, session=self.id, store=self._store)
        index = Index(stored, store=self._store, name=f"new index of session {self.id.hex()}")
        ids = [chunk for contents in self._waiting for block in contents.blocks for chunk in block.chunk_ids()]
        self._segments = [*self._segments, (stored, index)]
        self._seen.difference_update(ids)
        self._waiting = []
        self._waiting_chunks = 0

    # -- the end ------------------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Stores everything taken so far: packs published and durable, index objects not yet. Ends the taking."""
        for block in (self._data, self._metadata):
            if block.ids:
                self._stage.put(block)
        self._data, self._metadata = OpenBlock(ObjectType.DATA_PACK), OpenBlock(ObjectType.METADATA_PACK)
        self._stage.finish()
        for writer in self._packs.values():
            writer.close()
        self._finish_packs()

    def _finish_packs(self) -> None:
        self._background.finish()
        self._close_segment()
        self.written.stored_data = self._packs[ObjectType.DATA_PACK].stored
        self.written.stored_manifest = self._packs[ObjectType.METADATA_PACK].stored

    def commit(self, record: Snapshot) -> Commit:
        """Makes the session a snapshot (or checkpoint) and returns what was written.

        `record` lacks only what the session knows: its id and its indexes. When this returns, the snapshot is durable
        (where the backend's durability is full). SessionFencedError if a collector decided the session first.
        """
        self.flush()
        self._backend.barrier()
        refs = []
        for stored, _ in self._segments:
            digest = blake3(stored).digest()
            self._backend.put(index_name(digest, self.id), [stored])
            refs.append(IndexRef(digest=digest, size=len(stored)))
        if refs:
            self._backend.barrier()
        final = replace(record, session=self.id, indexes=tuple(refs))
        name = final_name(self.id)
        try:
            stored = self._put_small(name, ObjectType.FINAL, write_snapshot(final))
        except ObjectExistsError as error:
            raise SessionFencedError(
                f"session {self.id.hex()} was ended by a collector while it ran", advice="run it again"
            ) from error
        self._backend.barrier()
        # The snapshot is durable; an announcement that stays is harmless, and a collector's business.
        with contextlib.suppress(StoreError):
            self._retract()
        for _, index in self._segments:
            self._catalog.add(index)
        return Commit(final, blake3(stored).digest(), forgotten=False)

    def salvage(self) -> bool:
        """Drops what is not yet in a finished pack, quickly; True if finished packs are left to commit.

        For a run that was stopped: `commit` with a checkpoint record then keeps the finished part.
        """
        self._stage.close()
        for block in (self._data, self._metadata):
            block.release()
        self._data, self._metadata = OpenBlock(ObjectType.DATA_PACK), OpenBlock(ObjectType.METADATA_PACK)
        for writer in self._packs.values():
            writer.discard()
        self._finish_packs()
        return bool(self._segments)

    def abort(self) -> None:
        """Ends the session without a snapshot. What it wrote is garbage; a fence says so where it can be put.

        Raises nothing: it runs when something else has failed already, and that is what the caller reports.
        """
        self._stage.close()
        for writer in self._packs.values():
            writer.discard()
        self._background.close()
        try:
            self._put_small(final_name(self.id), ObjectType.FINAL, write_fence(self.id))
            self._backend.barrier(["refs/"])
            self._retract()
        except StoreError:
            # The announcement stays, and a collector will fence the session when it sees it stand still.
            return

    def _retract(self) -> None:
        # Where a client may not delete, the announcement of a decided session is left for a collector.
        if isinstance(self._backend, DeleteBackend):
            with contextlib.suppress(MissingObjectError):
                self._backend.delete(announcement_name(self.id))
