"""A file of records in the local cache directory: an optimisation that may be deleted, damaged or foreign at any time.

A header, then the body. A file that is not whole, not of the kind and key asked for, or not readable is as good as
none: whoever asks starts anew. `tag` is 16 bytes for the caller's own use.
"""

from __future__ import annotations

import mmap
import os
import struct
from contextlib import suppress
from typing import NamedTuple

import xxhash

from snapstore.atomic import write_atomically

_HEADER = struct.Struct("<8sI4s32sQ16sQ16s")
HEADER_SIZE = _HEADER.size + 8


class CacheFile(NamedTuple):
    """A file that was found whole: its records lie from HEADER_SIZE to `end` in `data`."""

    data: mmap.mmap | bytes
    seed: int
    tag: bytes
    end: int


def new_seed() -> int:
    """A seed for hashes of what others can name, so that nobody can aim for a collision."""
    return int.from_bytes(os.urandom(8), "little")


def open_cache_file(path: bytes, *, magic: bytes, version: int, key: bytes) -> CacheFile | None:
    """The file at that path; None if there is none, or it is damaged, or of another kind.

    `magic` is 8 bytes, `key` 32 that stand for everything that makes old answers wrong.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        size = os.fstat(fd).st_size
        if size < HEADER_SIZE:
            return None
        data = mmap.mmap(fd, size, prot=mmap.PROT_READ)
    except (OSError, ValueError):
        return None
    finally:
        os.close(fd)
    head = data[:HEADER_SIZE]
    found_magic, found_version, _, found_key, seed, tag, length, digest = _HEADER.unpack_from(head, 0)
    with memoryview(data) as view, view[HEADER_SIZE:] as body:
        sound = (
            found_magic == magic
            and found_version == version
            and head[_HEADER.size :] == xxhash.xxh3_64_digest(head[: _HEADER.size])
            and found_key == key
            and length == len(body)
            and xxhash.xxh3_128_digest(body) == digest
        )
    if not sound:
        data.close()
        return None
    return CacheFile(data, seed, tag, size)


class CacheFileWriter:
    """Collects records. Nothing reaches the disk before `save`."""

    def __init__(self, *, magic: bytes, version: int, seed: int) -> None:
        self._magic = magic
        self._version = version
        self._seed = seed
        self._file = bytearray(HEADER_SIZE)

    def add(self, record: bytes) -> None:
        """Takes one record."""
        self._file += record

    def save(self, path: bytes, *, key: bytes, tag: bytes) -> None:
        """Replaces the file at that path. Not durable, and trouble is of no consequence: the next run is slow."""
        with memoryview(self._file) as view, view[HEADER_SIZE:] as body:
            head = _HEADER.pack(
                self._magic, self._version, bytes(4), key, self._seed, tag, len(body), xxhash.xxh3_128_digest(body)
            )
            view[:HEADER_SIZE] = head + xxhash.xxh3_64_digest(head)
        with suppress(OSError):
            write_atomically(path, self._file, durable=False)
