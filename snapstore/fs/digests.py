"""Hashes of files as they are on disk, many files of a directory at a time.

Small files are read in one kernel call into a buffer and hashed from there; large ones piece by piece; both without
the interpreter lock for all that takes time. Trouble with one file is a value.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from snapstore import kernel
from snapstore.fs.opening import is_same, open_for_reading
from snapstore.kernel import ENTRY, RESULT, Status
from snapstore.model import Buffer

BUFFER_SIZE = 4 << 20
SMALL_LIMIT = 1 << 20
"""Files up to this size are read together with others; a larger one is read by itself."""
_PIECE = 1 << 20
_GONE = (errno.ENOENT, errno.ESTALE, errno.ELOOP, errno.ENOTDIR)


class Wanted(NamedTuple):
    """A regular file to hash: raw name, its ENTRY record, and the names of the algorithms (of hashlib)."""

    name: bytes
    record: bytes
    algorithms: tuple[str, ...]


class Hashed(NamedTuple):
    """What one file hashes to, by algorithm. `trouble` says why there are no hashes: a symbolic errno, or "changed".

    `gone`: there is no such regular file any more. `attributes`: it has extended attributes or chattr flags.
    """

    values: dict[str, bytes]
    trouble: str = ""
    gone: bool = False
    attributes: bool = False


def hash_files(directory: int, wanted: Sequence[Wanted], buffer: bytearray) -> Iterator[Hashed]:
    """The hashes of files of an open directory, in order. `buffer` has BUFFER_SIZE bytes; one thread uses it.

    A file that is not the one of its record any more, before or after it was read, has "changed".
    """
    start = 0
    while start < len(wanted):
        if _size(wanted[start]) > SMALL_LIMIT:
            yield _hash_large(directory, wanted[start], buffer)
            start += 1
            continue
        end = start
        while end < len(wanted) and _size(wanted[end]) <= SMALL_LIMIT:
            end += 1
        yield from _hash_small(directory, wanted[start:end], buffer)
        start = end


def _size(wanted: Wanted) -> int:
    size: int = ENTRY.unpack(wanted.record)[1]
    return size


def _hash_small(directory: int, wanted: Sequence[Wanted], buffer: bytearray) -> Iterator[Hashed]:
    done = 0
    with memoryview(buffer) as view:
        while done < len(wanted):
            rest = wanted[done:]
            results = kernel.read_files(
                directory,
                b"".join([each.name + b"\0" for each in rest]),
                b"".join([each.record for each in rest]),
                buffer,
                0,
            )
            for each, result in zip(rest, RESULT.iter_unpack(results), strict=False):
                offset, length, status, code, flags, xattrs = result
                done += 1
                if status == Status.OK:
                    with view[offset : offset + length] as data:
                        yield Hashed(_hashes(each.algorithms, data), attributes=bool(flags or xattrs))
                elif status == Status.SPARSE:
                    yield _hash_large(directory, each, bytearray(_PIECE))
                elif status == Status.CHANGED:
                    yield Hashed({}, "changed")
                elif status == Status.NOT_REGULAR:
                    yield Hashed({}, "changed", gone=True)
                else:
                    yield _failure(code)


def _hashes(algorithms: tuple[str, ...], data: Buffer) -> dict[str, bytes]:
    return {name: hashlib.new(name, data, usedforsecurity=False).digest() for name in algorithms}


def _failure(code: int) -> Hashed:
    return Hashed({}, errno.errorcode.get(code, "EUNKNOWN"), gone=code in _GONE)


def _hash_large(directory: int, wanted: Wanted, buffer: bytearray) -> Hashed:
    try:
        fd = open_for_reading(directory, wanted.name)
    except OSError as error:
        return _failure(error.errno or 0)
    try:
        if not is_same(os.fstat(fd), wanted.record):
            return Hashed({}, "changed")
        states = {name: hashlib.new(name, usedforsecurity=False) for name in wanted.algorithms}
        left = _size(wanted)
        with memoryview(buffer) as view:
            while left >= 0 and (count := os.readv(fd, [view[:_PIECE]])):
                left -= count  # what grows as fast as it is read would have no end
                for state in states.values():
                    state.update(view[:count])
        if not is_same(os.fstat(fd), wanted.record):
            return Hashed({}, "changed")
        return Hashed({name: state.digest() for name, state in states.items()}, attributes=True)
    except OSError as error:
        return _failure(error.errno or 0)
    finally:
        os.close(fd)
