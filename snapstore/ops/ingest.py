"""File contents into chunks: many small files at a time, large files and streams piece by piece."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from blake3 import blake3

from snapstore import kernel
from snapstore.flow import BufferPool, Cancellation, Lease
from snapstore.format.chunker import Chunker
from snapstore.format.chunklist import INLINE_LIMIT, ChunkListWriter
from snapstore.format.tree import HOLES_LIMIT
from snapstore.fs.metadata import data_extents, read_flags
from snapstore.fs.opening import is_same, open_for_reading
from snapstore.kernel import ENTRY, RESULT, Status
from snapstore.model import ChunkId
from snapstore.ops.progress import Progress

ARENA_SIZE = 4 << 20
ARENA_COUNT = 12
SMALL_LIMIT = 1 << 20
"""Files up to this size are read in batches; a larger one is read by itself."""
_BATCH = 512


class Sink(Protocol):
    """Where chunks go: a write session, or something that only counts."""

    def add(self, chunk: ChunkId, lease: Lease, start: int, end: int) -> bool:
        """Takes one chunk of contents."""

    def put_manifest(self, document: bytes) -> ChunkId:
        """Takes one manifest document."""

    def detach(self) -> None:
        """Lets go of leased buffers."""


class Content(NamedTuple):
    """What reading one file gave. `unread` is a symbolic errno; `vanished` means that there is no file any more.

    `flags` are its chattr flags as FS_IOC_GETFLAGS gives them, `xattrs` whether it has extended attributes,
    `changed` whether it was not the same before and after.
    """

    size: int
    chunks: tuple[ChunkId, ...] = ()
    chunk_list: ChunkId | None = None
    holes: tuple[tuple[int, int], ...] = ()
    flags: int = 0
    xattrs: bool = False
    changed: str = ""
    unread: str = ""
    vanished: bool = False


def errno_name(code: int) -> str:
    """The symbolic name of an errno, such as EACCES."""
    return errno.errorcode.get(code, "EUNKNOWN")


class ChunkCollector:
    """The chunks of one file: a few are kept, more go to a list document as they come."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._first: list[tuple[ChunkId, int]] = []
        self._writer: ChunkListWriter | None = None

    def add(self, chunk: ChunkId, length: int) -> None:
        """Takes the next chunk."""
        if self._writer is not None:
            self._writer.take(chunk, length)
            return
        self._first.append((chunk, length))
        if len(self._first) > INLINE_LIMIT:
            self._writer = ChunkListWriter(self._sink.put_manifest)
            for each in self._first:
                self._writer.take(*each)

    def finish(self) -> tuple[tuple[ChunkId, ...], ChunkId | None]:
        """(chunks, None), or (none, the id of their list)."""
        if self._writer is not None:
            return (), self._writer.finish()
        return tuple(chunk for chunk, _ in self._first), None


class Ingest:
    """Reads files into leased buffers, cuts and hashes, and hands the chunks to a sink. One thread uses it.

    `tick` is called between the pieces of long contents; it may commit what has been stored so far.
    """

    def __init__(
        self, sink: Sink, chunker: Chunker, *, progress: Progress, cancellation: Cancellation,
        tick: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        self.sink = sink
        self._tick = tick
        self._chunker = chunker
        self._progress = progress
        self._cancellation = cancellation
        # Half an arena always has to hold a whole chunk, or a stream of long chunks would never get on.
        self._pool = BufferPool(size=max(ARENA_SIZE, 2 * chunker.parameters.maximum), count=ARENA_COUNT)
        self._lease = self._pool.lease()
        self._fill = 0

    def _next_arena(self, carry: memoryview | None = None) -> None:
        """Goes on in an empty buffer that begins with a copy of `carry`."""
        lease = self._pool.try_lease()
        if lease is None:
            # The block being filled may be what holds the others.
            self.sink.detach()
            lease = self._pool.lease()
        self._fill = 0
        if carry is not None:
            self._fill = len(carry)
            lease.buffer[: self._fill] = carry
        self._lease.release()
        self._lease = lease

    def small(self, directory: int, names: Sequence[bytes], records: Sequence[bytes]) -> Iterator[Content]:
        """The contents of regular files in an open directory, in order; their records say at most SMALL_LIMIT bytes."""
        for first in range(0, len(names), _BATCH):
            yield from self._small_batch(directory, names[first : first + _BATCH], records[first : first + _BATCH])

    def _small_batch(self, directory: int, names: Sequence[bytes], records: Sequence[bytes]) -> Iterator[Content]:
        done = 0
        while done < len(names):
            self._cancellation.check()
            lease, buffer = self._lease, self._lease.buffer
            results = kernel.read_files(
                directory, b"\0".join(names[done:]) + b"\0", b"".join(records[done:]), buffer, self._fill
            )
            if not results:
                self._next_arena()
                continue
            chunk_up_to = self._chunker.parameters.minimum
            add = self.sink.add
            read = 0
            for offset, length, status, code, flags, xattrs in RESULT.iter_unpack(results):
                number = done
                done += 1
                read += length
                if status in (Status.OK, Status.CHANGED):
                    if length == 0:
                        chunks: tuple[ChunkId, ...] = ()
                    elif length <= chunk_up_to:
                        end = offset + length
                        chunk = ChunkId(blake3(buffer[offset:end]).digest())
                        add(chunk, lease, offset, end)
                        chunks = (chunk,)
                    else:
                        chunks = self._cut(lease, offset, offset + length)
                    changed = "it changed while it was read" if status else ""
                    yield Content(length, chunks, None, (), flags, bool(xattrs), changed)
                elif status == Status.SPARSE:
                    self._fill = self._used(results, self._fill)
                    yield self.large(directory, names[number], records[number])
                    break
                elif status == Status.NOT_REGULAR:
                    yield Content(0, changed="it is no regular file any more", vanished=True)
                else:
                    yield _failure(code)
            else:
                self._fill = self._used(results, self._fill)
            self._progress.advance(size=read)

    @staticmethod
    def _used(results: bytes, fill: int) -> int:
        offset, length, *_ = RESULT.unpack_from(results, len(results) - RESULT.size)
        used: int = max(fill, offset + length)
        return used

    def _cut(self, lease: Lease, start: int, end: int) -> tuple[ChunkId, ...]:
        chunks = []
        data = lease.buffer[start:end]
        begin = 0
        add = self.sink.add
        for cut in self._chunker.cut(data):
            chunk = ChunkId(blake3(data[begin:cut]).digest())
            add(chunk, lease, start + begin, start + cut)
            chunks.append(chunk)
            begin = cut
        return tuple(chunks)

    def large(self, directory: int, name: bytes, record: bytes) -> Content:
        """The content of one regular file in an open directory, read piece by piece around its holes."""
        try:
            fd = open_for_reading(directory, name)
        except OSError as error:
            return _failure(error.errno or 0)
        try:
            return self._large(fd, record)
        except OSError as error:
            return _failure(error.errno or 0)
        finally:
            os.close(fd)

    def _large(self, fd: int, record: bytes) -> Content:
        status = os.fstat(fd)
        _, size, *_ = ENTRY.unpack(record)
        holes: tuple[tuple[int, int], ...] = ()
        ranges = [(0, size)]
        if status.st_blocks * 512 < size:
            holes, ranges = _longest_holes(*data_extents(fd, size), size=size)
        reader = _RangeReader(fd, ranges)
        chunks, chunk_list = self.stream(reader.read_into)
        changed = ""
        if reader.ended_at is not None:
            size = reader.ended_at
            holes = tuple((at, min(length, size - at)) for at, length in holes if at < size)
            changed = "it shrank while it was read"
        elif not is_same(os.fstat(fd), record):
            changed = "it changed while it was read"
        flags, xattrs = _flags_and_xattrs(fd)
        return Content(size, chunks, chunk_list, holes, flags, xattrs, changed)

    def stream(self, read_into: Callable[[memoryview], int]) -> tuple[tuple[ChunkId, ...], ChunkId | None]:
        """The chunks of whatever `read_into` delivers until it delivers nothing: (chunks, None) or (none, list).

        `read_into` fills the start of the buffer it is given and says how many bytes that were; 0 is the end.
        """
        collector = ChunkCollector(self.sink)
        if self._fill:
            self._next_arena()
        ended = False
        while not ended:
            self._cancellation.check()
            self._tick()
            lease = self._lease
            while self._fill < len(lease.buffer):
                count = read_into(lease.buffer[self._fill :])
                if count == 0:
                    ended = True
                    break
                self._fill += count
                self._progress.advance(size=count)
            data = lease.buffer[: self._fill]
            cuts = self._chunker.cut(data)
            # The last chunk of a piece may go on in the next one.
            final = cuts if ended else cuts[:-1]
            begin = 0
            for cut in final:
                chunk = ChunkId(blake3(data[begin:cut]).digest())
                self.sink.add(chunk, lease, begin, cut)
                collector.add(chunk, cut - begin)
                begin = cut
            if not ended:
                self._next_arena(data[begin:])
        return collector.finish()


def _longest_holes(
    holes: tuple[tuple[int, int], ...], ranges: list[tuple[int, int]], *, size: int
) -> tuple[tuple[tuple[int, int], ...], list[tuple[int, int]]]:
    """The holes and data of a file, with no more holes than the format allows: the others are read, as zeros."""
    if len(holes) <= HOLES_LIMIT:
        return holes, ranges
    longest = sorted(sorted(holes, key=lambda hole: (-hole[1], hole[0]))[:HOLES_LIMIT])
    ends = [0, *(offset + length for offset, length in longest)]
    starts = [*(offset for offset, _ in longest), size]
    return tuple(longest), [(at, end - at) for at, end in zip(ends, starts, strict=True) if end > at]


class _RangeReader:
    """Reads the given (offset, length) ranges of a file one after the other."""

    def __init__(self, fd: int, ranges: Iterable[tuple[int, int]]) -> None:
        self._fd = fd
        self._ranges = iter(ranges)
        self._at = self._end = 0
        self.ended_at: int | None = None

    def read_into(self, buffer: memoryview) -> int:
        while self._at >= self._end:
            following = next(self._ranges, None)
            if following is None or self.ended_at is not None:
                return 0
            self._at, self._end = following[0], following[0] + following[1]
        count: int = os.preadv(self._fd, [buffer[: self._end - self._at]], self._at)
        if count == 0:
            self.ended_at = self._at
        self._at += count
        return count


def _flags_and_xattrs(fd: int) -> tuple[int, bool]:
    try:
        flags = read_flags(fd) & kernel.CHATTR_FLAGS
    except OSError:
        flags = 0
    try:
        return flags, bool(os.listxattr(fd))
    except OSError:
        return flags, False


def _failure(code: int) -> Content:
    if code in (errno.ENOENT, errno.ESTALE):
        return Content(0, changed="it vanished before it was read", vanished=True)
    if code == errno.ELOOP:
        return Content(0, changed="it is no regular file any more", vanished=True)
    return Content(0, unread=errno_name(code))
