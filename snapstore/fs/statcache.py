"""What the last snapshot of a root saw, so that the next one looks only at what changed.

One file per store and root, in the local cache directory. It is an optimisation and nothing else: deleting it costs
one slow run, and a file that is damaged, foreign or out of date is ignored. It is used only if the snapshot that it
was built from is still in the store, because only then is everything it refers to certain to be there.

For each directory it keeps a fingerprint (XXH3-128, seeded, of all stat records and names), and one 8-byte hash per
entry. Equal fingerprint: no work per file at all. Otherwise the entries' hashes tell which files to look at. An entry
whose mtime or ctime was not safely in the past when it was read is never trusted: a later change in the same tick of
the file system's clock would leave both as they are. The seed is random, so that nobody who can name files can aim for
a collision.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from typing import NamedTuple

import xxhash

from snapstore.fs.cachefile import HEADER_SIZE, CacheFileWriter, new_seed, open_cache_file
from snapstore.model import ChunkId, SessionId

_MAGIC = b"SNAPSTAT"
_VERSION = 1
_RECORD = struct.Struct("<16s16s32sIIIIIIQ")
_LINK = struct.Struct("<QQI")

UNTRUSTED = bytes(16)
"""The fingerprint of a directory that has to be looked at again, whatever it looks like."""

UNTRUSTED_ENTRY = bytes(8)
"""The hash of an entry that has to be read again."""

SETTLED_NANOSECONDS = 2_000_000_000
"""How far in the past a file's times have to be to be trusted: twice the coarsest clock of a file system (FAT's 2 s
is rounded down, so a later write within it is seen by its ctime on anything that has one)."""


class Linked(NamedTuple):
    """An entry with several names: the inode, and the path of its first name from the root."""

    device: int
    inode: int
    first: bytes


class CachedDirectory(NamedTuple):
    """One directory as it was: counts are of its own entries, `size` of its files' bytes.

    `subdirectories` are NUL-terminated names; `hashes` has 8 bytes for each entry of `tree`, in order; `raw` is the
    whole record, to be carried over as it is.
    """

    fingerprint: bytes
    tree: ChunkId
    files: int
    directories: int
    others: int
    size: int
    subdirectories: bytes
    hashes: bytes
    links: bytes
    raw: bytes

    def linked(self) -> Iterator[Linked]:
        """Its entries with several names, in order."""
        at = 0
        while at < len(self.links):
            device, inode, length = _LINK.unpack_from(self.links, at)
            at += _LINK.size
            yield Linked(device, inode, self.links[at : at + length])
            at += length


def pack_links(links: list[Linked]) -> bytes:
    """The `links` of a record."""
    return b"".join([_LINK.pack(link.device, link.inode, len(link.first)) + link.first for link in links])


def path_key(path: bytes) -> bytes:
    """What a directory is found under: a hash of its path from the root."""
    return xxhash.xxh3_128_digest(path)


def pack_record(
    path: bytes,
    fingerprint: bytes,
    tree: ChunkId,
    *,
    files: int,
    directories: int,
    others: int,
    size: int,
    subdirectories: bytes,
    hashes: bytes,
    links: bytes,
) -> bytes:
    """The record of one directory."""
    head = _RECORD.pack(
        path_key(path), fingerprint, tree, files, directories, others,
        len(subdirectories), len(hashes) // 8, len(links), size,
    )  # fmt: skip
    return b"".join((head, subdirectories, hashes, links))


class StatCache:
    """The cache of one root, opened for reading. An empty one answers None to everything."""

    def __init__(self, data: mmap.mmap | bytes, *, seed: int, session: SessionId, end: int) -> None:
        self._data = data
        self._end = end
        self._offsets: dict[bytes, int] | None = None
        self.seed = seed
        self.session = session

    def get(self, path: bytes) -> CachedDirectory | None:
        """The directory at that path from the root, or None."""
        offsets = self._offsets
        if offsets is None:
            offsets = self._offsets = self._scan()
        at = offsets.get(path_key(path))
        if at is None:
            return None
        _, fingerprint, tree, files, directories, others, names, entries, links, size = _RECORD.unpack_from(
            self._data, at
        )
        first = at + _RECORD.size
        second = first + names
        third = second + entries * 8
        end = third + links
        data = self._data
        return CachedDirectory(
            fingerprint, ChunkId(tree), files, directories, others, size,
            data[first:second], data[second:third], data[third:end], data[at:end],
        )  # fmt: skip

    def _scan(self) -> dict[bytes, int]:
        offsets = {}
        at = HEADER_SIZE
        data, end = self._data, self._end
        while at < end:
            key, _, _, _, _, _, names, entries, links, _ = _RECORD.unpack_from(data, at)
            offsets[key] = at
            at += _RECORD.size + names + entries * 8 + links
        return offsets


def empty_cache() -> StatCache:
    """A cache that knows nothing, with a fresh seed."""
    return StatCache(b"", seed=new_seed(), session=SessionId(bytes(16)), end=0)


def open_cache(path: bytes, *, key: bytes) -> StatCache:
    """The cache at that path, or an empty one if there is none, or it is damaged, or `key` differs.

    `key` is 32 bytes that stand for everything that makes old answers wrong: store, root, rules, chunk sizes.
    """
    file = open_cache_file(path, magic=_MAGIC, version=_VERSION, key=key)
    if file is None:
        return empty_cache()
    return StatCache(file.data, seed=file.seed, session=SessionId(file.tag), end=file.end)


class StatCacheWriter:
    """Collects the records of a run. Nothing reaches the disk before `save`."""

    def __init__(self, *, seed: int) -> None:
        self._file = CacheFileWriter(magic=_MAGIC, version=_VERSION, seed=seed)

    def add(self, record: bytes) -> None:
        """Takes the record of one directory."""
        self._file.add(record)

    def save(self, path: bytes, *, key: bytes, session: SessionId) -> None:
        """Replaces the cache at that path. Not durable, and trouble is of no consequence: the next run is slow."""
        self._file.save(path, key=key, tag=session)
