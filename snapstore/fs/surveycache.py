"""What the last survey of a root saw, so that the next one looks only at what changed.

One file per root. A record stands for one directory: its fingerprint (XXH3-128, seeded, of stat records, names and the
context it was judged in), what came of it (opaque to this module), and one 8-byte hash for each file in it whose
content was found to be what its package ships. The first two hold only while nothing else has changed that verdicts
depend on, which the file's tag stands for; the hashes hold for ever, because they cover the file's stat record, all
that it was compared with, and the release that did so.
"""

from __future__ import annotations

import mmap
import struct
from typing import NamedTuple

import xxhash

from snapstore.fs.cachefile import HEADER_SIZE, CacheFileWriter, new_seed, open_cache_file

_MAGIC = b"SNAPSURV"
_VERSION = 4
_RECORD = struct.Struct("<16s16sII")
UNTRUSTED = bytes(16)
"""The fingerprint of a directory that has to be looked at again, whatever it looks like."""


class SurveyedDirectory(NamedTuple):
    """One directory as it was; `verified` are the hashes, joined, `raw` the whole record."""

    fingerprint: bytes
    payload: bytes
    verified: bytes
    raw: bytes


class SurveyCache:
    """The cache of one root, opened for reading. An empty one answers None to everything.

    `current` is whether the tag is the one that was asked for: only then do fingerprints and payloads count.
    """

    def __init__(self, data: mmap.mmap | bytes, *, seed: int, current: bool, end: int) -> None:
        self._data = data
        self._end = end
        self._offsets: dict[bytes, int] | None = None
        self.seed = seed
        self.current = current

    def get(self, path: bytes) -> SurveyedDirectory | None:
        """The directory at that path in the root, or None."""
        offsets = self._offsets
        if offsets is None:
            offsets = self._offsets = self._scan()
        at = offsets.get(xxhash.xxh3_128_digest(path))
        if at is None:
            return None
        _, fingerprint, length, hashes = _RECORD.unpack_from(self._data, at)
        first = at + _RECORD.size
        end = first + length + 8 * hashes
        data = self._data
        return SurveyedDirectory(fingerprint, data[first : first + length], data[first + length : end], data[at:end])

    def _scan(self) -> dict[bytes, int]:
        offsets = {}
        at, data, end = HEADER_SIZE, self._data, self._end
        while at < end:
            key, _, length, hashes = _RECORD.unpack_from(data, at)
            offsets[key] = at
            at += _RECORD.size + length + 8 * hashes
        return offsets


def empty_survey() -> SurveyCache:
    """A cache that knows nothing, with a fresh seed."""
    return SurveyCache(b"", seed=new_seed(), current=False, end=HEADER_SIZE)


def open_survey(path: bytes, *, key: bytes, tag: bytes) -> SurveyCache:
    """The cache at that path, or an empty one.

    `key` is 32 bytes that name the root, `tag` 16 that stand for everything that verdicts hang on.
    """
    file = open_cache_file(path, magic=_MAGIC, version=_VERSION, key=key)
    if file is None:
        return empty_survey()
    return SurveyCache(file.data, seed=file.seed, current=file.tag == tag, end=file.end)


class SurveyCacheWriter:
    """Collects the records of a survey. Nothing reaches the disk before `save`."""

    def __init__(self, *, seed: int) -> None:
        self._file = CacheFileWriter(magic=_MAGIC, version=_VERSION, seed=seed)

    def add(self, path: bytes, fingerprint: bytes, payload: bytes, verified: bytes) -> None:
        """Takes what came of one directory."""
        head = _RECORD.pack(xxhash.xxh3_128_digest(path), fingerprint, len(payload), len(verified) // 8)
        self._file.add(b"".join((head, payload, verified)))

    def carry(self, directory: SurveyedDirectory) -> None:
        """Takes over what is as it was."""
        self._file.add(directory.raw)

    def save(self, path: bytes, *, key: bytes, tag: bytes) -> None:
        """Replaces the cache at that path. Not durable, and trouble is of no consequence: the next run is slow."""
        self._file.save(path, key=key, tag=tag)
