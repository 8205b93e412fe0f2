"""The content of a file in a snapshot."""

from __future__ import annotations

import os
from collections.abc import Iterator

from snapstore.errors import CorruptObjectError, RequestError
from snapstore.model import Buffer, Entry, Kind
from snapstore.store import trees
from snapstore.store.reader import Reader

_PIECE = 1 << 20
_ZEROS = memoryview(bytes(_PIECE))


def read_file(reader: Reader, entry: Entry) -> Iterator[Buffer]:
    """The bytes of a file, in order, holes as zeros; pieces of at most 16 MiB, those of holes at most 1 MiB.

    Each piece is valid until the next is taken. Raises RequestError, when called and not later, for what is no file
    and for a file that could not be read when the snapshot was taken; MissingObjectError or CorruptObjectError where
    the store cannot give every byte, and CorruptObjectError at the end if they do not add up to the entry's size.
    """
    if entry.kind is not Kind.FILE:
        raise RequestError(f"{os.fsdecode(entry.name)!r} is no file but a {entry.kind.value}")
    if entry.unread:
        raise RequestError(
            f"{os.fsdecode(entry.name)!r} could not be read when the snapshot was taken ({entry.unread})",
            advice="choose another snapshot",
        )
    return _pieces(reader, entry)


def _pieces(reader: Reader, entry: Entry) -> Iterator[Buffer]:
    # Chunks hold the bytes between the holes, joined: a chunk may reach across one.
    holes = iter([*entry.holes, (entry.size, 0)])
    hole, gap = next(holes)
    at = 0
    for chunk in trees.chunks(reader, entry):
        data = reader.read(chunk)
        while data:
            while at == hole and gap:
                yield from _zeros(gap)
                at += gap
                hole, gap = next(holes)
            piece = data[: hole - at]
            if not piece:
                raise _mismatch(entry, "more")
            yield piece
            at += len(piece)
            data = data[len(piece) :]
    while at == hole and gap:
        yield from _zeros(gap)
        at += gap
        hole, gap = next(holes)
    if at != entry.size:
        raise _mismatch(entry, "fewer")


def _mismatch(entry: Entry, how: str) -> CorruptObjectError:
    return CorruptObjectError(
        f"file {os.fsdecode(entry.name)!r}", f"its chunks hold {how} bytes than the {entry.size} of its size"
    )


def _zeros(count: int) -> Iterator[Buffer]:
    while count > 0:
        yield _ZEROS[: min(count, _PIECE)]
        count -= _PIECE
