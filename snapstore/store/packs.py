"""Writes packs: blocks are appended as they come, the name is known when the last byte is."""

from __future__ import annotations

from collections.abc import Callable

from blake3 import blake3

from snapstore.backends import Staged, WriteBackend
from snapstore.flow import Background
from snapstore.format.index import IndexedPack, PackContents, pack_name
from snapstore.format.pack import PackBuilder
from snapstore.format.seal import ObjectType
from snapstore.model import SessionId
from snapstore.store.blocks import ReadyBlock, joined_ids

PACK_TARGET = 32 << 20
PACK_CHUNKS = 1 << 17
"""A pack of very small chunks is closed at this many, which bounds the memory for its trailer."""


class PackWriter:
    """Writes the packs of one kind for one session. One thread adds; publishing happens in the background.

    `on_stored` is told of each pack, in the background thread, once the pack's content is durable and its name
    exists; the name is durable after the session's barrier.
    """

    def __init__(
        self,
        backend: WriteBackend,
        kind: ObjectType,
        *,
        session: SessionId,
        store: bytes,
        background: Background,
        on_stored: Callable[[PackContents], None],
        target: int = PACK_TARGET,
    ) -> None:
        self._backend = backend
        self._kind = kind
        self._session = session
        self._store = store
        self._background = background
        self._on_stored = on_stored
        self._target = target
        self._builder: PackBuilder | None = None
        self._staged: Staged | None = None
        self._hasher = blake3()
        self._chunks = 0
        self.stored = 0

    def add(self, ready: ReadyBlock) -> None:
        """Appends a block and gives its buffers back."""
        if self._builder is None:
            self._builder = PackBuilder(self._kind, session=self._session, store=self._store)
            self._staged = self._backend.stage()
            self._hasher = blake3()
            self._chunks = 0
            self._write(self._builder.header)
        block = ready.block
        _, parts = self._builder.add(
            ready.codec, ready.payload, raw_length=block.size, lengths=block.lengths, ids=joined_ids(block)
        )
        for part in parts:
            self._write(part)
        block.release()
        self._chunks += len(block.lengths)
        if self._builder.size >= self._target or self._chunks >= PACK_CHUNKS:
            self.close()

    def _write(self, part: bytes | bytearray | memoryview) -> None:
        self._hasher.update(part)
        if self._staged is not None:
            self._staged.write(part)

    def close(self) -> None:
        """Ends the pack that is open, if there is one, and has it published."""
        builder, staged = self._builder, self._staged
        if builder is None or staged is None:
            return
        for part in builder.finish():
            self._write(part)
        self.stored += builder.size
        digest = self._hasher.digest()
        contents = PackContents(IndexedPack(digest, self._session, builder.size, self._kind), builder.blocks)
        self._builder = self._staged = None
        on_stored, session = self._on_stored, self._session

        def publish() -> None:
            staged.publish(pack_name(digest, session))
            on_stored(contents)

        try:
            self._background.submit(publish)
        except BaseException:
            # An earlier pack could not be published, and this one's turn will not come.
            staged.discard()
            raise

    def discard(self) -> None:
        """Drops the pack that is open."""
        if self._staged is not None:
            self._staged.discard()
        self._builder = self._staged = None
