"""The pieces that files are put together from: chunks as parts of decoded blocks, and where they go around holes."""

from __future__ import annotations

from collections.abc import Iterator

from snapstore.errors import CorruptObjectError
from snapstore.format.ids import chunk_id
from snapstore.model import Buffer, ChunkId, Entry
from snapstore.store import trees
from snapstore.store.reader import Reader


class Blocks:
    """Decoded blocks: each asked for once, chunks verified and given as segments of them.

    `size` is how many bytes the blocks hold together, in which they are counted whole; `clear` bounds it.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._numbers: dict[tuple[int, int], int] = {}
        self._data: list[memoryview] = []
        self.buffers: list[Buffer] = []
        self.size = 0
        self._last = -1
        self._end = 0

    def clear(self) -> None:
        """Let go of all blocks, and start numbering `buffers` anew."""
        self._numbers.clear()
        self._data.clear()
        self.buffers = []
        self.size = 0
        self._last = -1

    def following(self, chunk: ChunkId, length: int) -> tuple[int, int, int]:
        """As `segment`, for a chunk whose length is known.

        Neighbours were mostly stored one after the other. So the bytes behind the last chunk are tried first: if they
        have the id, they are the chunk, and nothing needs to be looked up.
        """
        number, at = self._last, self._end
        if number >= 0:
            data = self._data[number][at : at + length]
            if len(data) == length and chunk_id(data) == chunk:
                self._end = at + length
                return number, at, length
        return self.segment(chunk)

    def segment(self, chunk: ChunkId) -> tuple[int, int, int]:
        """(buffer, offset, length) of a chunk; StoreError if it is missing or is not what its id says."""
        index, block, offset, length = self._reader.locate(chunk)
        key = (id(index), block)
        number = self._numbers.get(key)
        if number is None:
            raw = self._reader.block(index, block)
            number = self._numbers[key] = len(self.buffers)
            self.buffers.append(raw)
            self._data.append(memoryview(raw))
            self.size += len(raw)
        data = self._data[number][offset : offset + length]
        self._reader.verify(chunk, data, length, index, block)
        self._last, self._end = number, offset + length
        return number, offset, length


def placements(reader: Reader, entry: Entry) -> Iterator[tuple[int, int, int, ChunkId]]:
    """(offset in the file, bytes of the chunk to skip, bytes to write, chunk): where a file's chunks go around holes.

    Raises CorruptObjectError unless chunks and holes make up exactly the file's size.
    """
    extents = []
    at = 0
    for hole, length in (*entry.holes, (entry.size, 0)):
        if hole > at:
            extents.append((at, hole - at))
        at = hole + length
    left = iter(extents)
    offset, room = next(left, (0, 0))
    for chunk in trees.chunks(reader, entry):
        _, _, _, length = reader.locate(chunk)
        skip = 0
        while skip < length:
            if not room:
                offset, room = next(left, (0, 0))
                if not room:
                    raise CorruptObjectError(f"chunk list of {entry.name!r}", "it holds more than the file's size")
            count = min(room, length - skip)
            yield offset, skip, count, chunk
            offset, room, skip = offset + count, room - count, skip + count
    if room or next(left, None) is not None:
        raise CorruptObjectError(f"chunk list of {entry.name!r}", "it holds less than the file's size")
