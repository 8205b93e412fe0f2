"""Solid blocks: neighbouring chunks gathered, compressed together, and proven before they are stored."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

import xxhash

from snapstore.errors import StoreError
from snapstore.flow import Lease
from snapstore.format import codec as codecs
from snapstore.format.ids import ID_SIZE
from snapstore.format.seal import ObjectType
from snapstore.model import Buffer, ChunkId


@dataclass(slots=True)
class OpenBlock:
    """A block that is being filled. Its parts are slices of leased buffers, or bytes of its own.

    `seen` hashes every chunk's bytes as they come in, right after their id was computed from the same memory.
    """

    kind: ObjectType
    ids: list[ChunkId] = field(default_factory=list)
    lengths: array[int] = field(default_factory=lambda: array("I"))
    parts: list[Buffer] = field(default_factory=list)
    leases: list[Lease] = field(default_factory=list)
    size: int = 0
    seen: xxhash.xxh3_128 = field(default_factory=xxhash.xxh3_128)
    _end: int = 0

    def append(self, chunk: ChunkId, data: Buffer) -> None:
        """One chunk whose bytes will stay as they are."""
        self.ids.append(chunk)
        self.lengths.append(len(data))
        self.parts.append(data)
        self.size += len(data)
        self.seen.update(data)
        self._end = -1

    def append_slice(self, chunk: ChunkId, lease: Lease, start: int, end: int) -> None:
        """One chunk in a leased buffer; the lease is held until the block has been stored or detached.

        Chunks that follow each other in the buffer become one part, which saves gathering them later.
        """
        data = lease.buffer[start:end]
        self.ids.append(chunk)
        self.lengths.append(end - start)
        self.size += end - start
        self.seen.update(data)
        if self.leases and self.leases[-1] is lease and self._end == start:
            first = self._end - len(self.parts[-1])
            self.parts[-1] = lease.buffer[first:end]
        else:
            if not self.leases or self.leases[-1] is not lease:
                lease.hold()
                self.leases.append(lease)
            self.parts.append(data)
        self._end = end

    def detach(self) -> None:
        """Copies what lies in leased buffers, so that a block that fills slowly cannot keep all of them."""
        self.parts = [bytes(part) if isinstance(part, memoryview) else part for part in self.parts]
        self.release()
        self._end = -1

    def release(self) -> None:
        """Gives the leases back."""
        for lease in self.leases:
            lease.release()
        self.leases.clear()

    def raw(self) -> Buffer:
        """Its bytes, gathered only if they are not in one piece."""
        return self.parts[0] if len(self.parts) == 1 else b"".join(self.parts)


@dataclass(frozen=True, slots=True)
class ReadyBlock:
    """A block that has been compressed and, unless told otherwise, decompressed and hashed again."""

    block: OpenBlock
    codec: int
    payload: Buffer


def make_ready(block: OpenBlock, *, level: int, read_back: bool) -> ReadyBlock:
    """Compresses a block and proves that what comes out is what went in.

    The payload that will be stored is decompressed and hashed, and compared with the hash that was taken when the bytes
    were first read. So neither a fault of the compressor nor a bit flipped in memory on the way can reach the store:
    StoreError. XXH3-128 is enough against accidents; one call for a whole block, where hashing each chunk by its id
    would fight over the interpreter's lock a hundred thousand times in a snapshot.
    """
    codec, payload = codecs.compress(block.raw(), level=level)
    if read_back:
        raw = codecs.decompress(codec, payload, raw_length=block.size, name="a new block")
        if xxhash.xxh3_128_digest(raw) != block.seen.digest():
            raise StoreError(
                f"the block of chunk {block.ids[0].hex()} came back changed from compression, before it was stored",
                advice="suspect this machine's memory; nothing wrong was written",
            )
    return ReadyBlock(block, codec, payload)


def joined_ids(block: OpenBlock) -> bytes:
    """The ids of a block's chunks, end to end."""
    joined = b"".join(block.ids)
    if len(joined) != len(block.lengths) * ID_SIZE:
        raise StoreError("a block's ids and lengths do not match")
    return joined
