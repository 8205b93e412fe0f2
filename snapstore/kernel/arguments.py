"""Argument checks of the reference kernel, with the exceptions that the native one raises."""

from __future__ import annotations

import errno
import operator
import os
import stat
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

LARGEST_INT: Final = (1 << 31) - 1


def integer(number: int, what: str, low: int, high: int) -> int:
    """The number, which may be of any type with __index__; ValueError outside of low to high."""
    value = operator.index(number)
    if not low <= value <= high:
        raise ValueError(f"{what} must be between {low} and {high}")
    return value


def open_directory(fd: int) -> int:
    """The descriptor of an open directory; ValueError if negative, OSError if closed or something else."""
    fd = integer(fd, "fd", 0, LARGEST_INT)
    if not stat.S_ISDIR(os.fstat(fd).st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    return fd


def view(buffer: ReadableBuffer, *, writable: bool = False) -> memoryview:
    """The bytes of any contiguous buffer; BufferError if it is scattered, or read-only where it may not be."""
    seen = memoryview(buffer)
    if not seen.c_contiguous:
        raise BufferError("the buffer is not contiguous")
    if writable and seen.readonly:
        raise BufferError("the buffer is read-only")
    return seen.cast("B")


def split_names(names: ReadableBuffer) -> list[bytes]:
    """The names of a NUL-terminated run; ValueError for a missing last NUL and for anything but a plain name."""
    run = bytes(view(names))
    if not run:
        return []
    if not run.endswith(b"\0"):
        raise ValueError("names must end with NUL")
    listed = run[:-1].split(b"\0")
    if any(name in (b"", b".", b"..") or b"/" in name for name in listed):
        raise ValueError("a name is empty, '.', '..' or holds a slash")
    return listed
