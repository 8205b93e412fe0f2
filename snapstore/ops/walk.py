"""Walks a live directory tree and turns it into trees of the store, reusing what has not changed."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import xxhash

from snapstore import kernel
from snapstore.flow import Cancellation
from snapstore.format.tree import TreeWriter
from snapstore.fs.filters import CACHE_TAG, Filter, is_cache_directory
from snapstore.fs.limits import allow_many_descriptors
from snapstore.fs.statcache import (
    UNTRUSTED,
    UNTRUSTED_ENTRY,
    CachedDirectory,
    Linked,
    StatCache,
    StatCacheWriter,
    pack_links,
    pack_record,
)
from snapstore.kernel import ENTRY
from snapstore.model import ChunkId
from snapstore.ops.elements import Elements, Stat, with_tree
from snapstore.ops.ingest import SMALL_LIMIT, Content, Ingest, errno_name
from snapstore.ops.links import Expected, Inode, LinkRegistry, linked
from snapstore.ops.oldtree import OldElement, OldTree, element_hardlink
from snapstore.ops.progress import Progress

DEPTH_LIMIT = 4096
BATCH = 4096
"""So many entries of a directory are in hand at a time, which bounds memory for directories of any length."""

_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE)
_NO_NAMES: frozenset[bytes] = frozenset()
_VANISHED = "it vanished before it was read"


@dataclass(slots=True)
class Counts:
    """What a walk has seen; `unchanged` files were taken over from the last snapshot, `excluded` left out by a rule."""

    files: int = 0
    directories: int = 0
    others: int = 0
    size: int = 0
    unchanged: int = 0
    excluded: int = 0


class _Item(NamedTuple):
    """One entry of a batch: its name, record and hash, and the element it had last time if that still holds."""

    name: bytes
    info: Stat
    record: bytes
    hash: bytes
    element: bytes | None


class _Outcome(NamedTuple):
    """What became of one entry: its element (None if it is gone), whether to trust it next time, its kind's count."""

    element: bytes | None
    trusted: bool
    files: int = 0
    size: int = 0


_LOST = _Outcome(None, trusted=False)


class _Level:
    """One directory on its way: where it is, and what has been gathered of it."""

    __slots__ = (
        "depth", "devices", "directories", "fd", "files", "hashes", "known", "links", "others", "prefix", "recent",
        "settled", "size", "subdirectories", "writer",
    )  # fmt: skip

    def __init__(
        self, fd: int, prefix: bytes, *, depth: int, devices: tuple[int, ...], known: dict[bytes, ChunkId],
        writer: TreeWriter, recent: bool,
    ) -> None:  # fmt: skip
        self.fd = fd
        self.prefix = prefix
        self.depth = depth
        self.devices = devices
        self.known = known
        self.writer = writer
        self.recent = recent
        self.hashes = bytearray()
        self.subdirectories: list[bytes] = []
        self.links: list[Linked] = []
        self.files = self.directories = self.others = self.size = 0
        self.settled = not recent


class Walk:
    """One root, walked once.

    `settled` is the time, in nanoseconds since the epoch, before which a change is certain to be seen. `tick` is called
    between batches; it may commit what has been stored so far. `skips` are, by directory (its path from the root), the
    names that are left out because something else brings them back.
    """

    def __init__(
        self, ingest: Ingest, *, cache: StatCache, records: StatCacheWriter, old: OldTree, rules: Filter, settled: int,
        elements: Elements, progress: Progress, cancellation: Cancellation, tick: Callable[[], None],
        skips: Mapping[bytes, frozenset[bytes]] | None = None,
    ) -> None:  # fmt: skip
        self.counts = Counts()
        self._ingest = ingest
        self._cache = cache
        self._records = records
        self._old = old
        self._filter = rules
        self._settled = settled
        self._elements = elements
        self._progress = progress
        self._cancellation = cancellation
        self._tick = tick
        self._skips = skips or {}
        self._links = LinkRegistry()
        # Each level of the tree takes four Python frames (directory, _batch, _subdirectory, _below), none of which uses
        # the C stack; the rest is for what the deepest one calls, and for whoever called us.
        allow_many_descriptors()
        sys.setrecursionlimit(max(sys.getrecursionlimit(), recursion_limit()))

    # -- directories --------------------------------------------------------------------------------------------------

    def directory(self, fd: int, path: bytes, *, depth: int = 0) -> tuple[ChunkId, bool]:
        """(id, same) of the tree of the open directory; `same` if it is the one that the cache has for that path.

        `path` is relative to the root, empty for the root itself. OSError if the directory cannot be listed.
        """
        self._cancellation.check()
        names, records, devices, newest = kernel.scan_directory(fd)
        hasher = xxhash.xxh3_128(records, self._cache.seed)
        hasher.update(names)
        skips = self._skips.get(path, _NO_NAMES)
        if skips:
            hasher.update(b"\0".join(sorted(skips)))
        fingerprint = hasher.digest()
        prefix = path + b"/" if path else b""
        cached = self._cache.get(path)
        known: dict[bytes, ChunkId] = {}
        if cached is not None and cached.fingerprint == fingerprint:
            expected = self._links.expect(cached, prefix, names, devices)
            if expected is not None:
                unchanged, known = self._unchanged(fd, prefix, cached, expected, depth)
                if unchanged:
                    return cached.tree, True
        writer = TreeWriter(self._ingest.sink.put_manifest)
        level = _Level(
            fd, prefix, depth=depth, devices=devices, known=known, writer=writer, recent=newest >= self._settled
        )
        if self._filter.rules.exclude_caches and _has_tag(names) and is_cache_directory(fd):
            self.counts.excluded += 1
            names, records = _only_tag(names, records)
        for batch in self._batches(level, names, records, cached=cached, skips=skips):
            self._tick()
            self._batch(level, batch)
        tree = writer.finish()
        self._finish(level, path, tree, fingerprint)
        return tree, cached is not None and cached.tree == tree

    def _unchanged(
        self, fd: int, prefix: bytes, cached: CachedDirectory, expected: list[Expected], depth: int
    ) -> tuple[bool, dict[bytes, ChunkId]]:
        """Whether all below is as it was too; if not, what the subdirectories have become."""
        below: dict[bytes, ChunkId] = {}
        unchanged = True
        for name in cached.subdirectories.split(b"\0")[:-1]:
            if not self._links.claim(expected, before=prefix + name):
                return False, below
            child = self._enter(fd, name, prefix + name, depth)
            if child is None:
                unchanged = False
            else:
                below[name] = child[0]
                unchanged = unchanged and child[1]
        if not self._links.claim(expected):
            return False, below
        if unchanged:
            self._records.add(cached.raw)
            self._count(cached.files, cached.directories, cached.others, cached.size)
            self.counts.unchanged += cached.files
            self._progress.advance(files=cached.files, size=cached.size)
        return unchanged, below

    def _count(self, files: int, directories: int, others: int, size: int) -> None:
        counts = self.counts
        counts.files += files
        counts.directories += directories
        counts.others += others
        counts.size += size

    def _enter(self, fd: int, name: bytes, path: bytes, depth: int) -> tuple[ChunkId, bool] | None:
        """The tree of a subdirectory, or None where some trouble makes it necessary to look at it by itself."""
        if depth >= DEPTH_LIMIT:
            return None
        try:
            child = os.open(name, _OPEN_DIRECTORY, dir_fd=fd)
        except OSError:
            return None
        try:
            return self.directory(child, path, depth=depth + 1)
        except OSError:
            return None
        finally:
            os.close(child)

    def _finish(self, level: _Level, path: bytes, tree: ChunkId, fingerprint: bytes) -> None:
        self._records.add(
            pack_record(
                path,
                fingerprint if level.settled else UNTRUSTED,
                tree,
                files=level.files,
                directories=level.directories,
                others=level.others,
                size=level.size,
                subdirectories=b"".join([name + b"\0" for name in level.subdirectories]),
                hashes=bytes(level.hashes),
                links=pack_links(level.links),
            )
        )
        self._count(level.files, level.directories, level.others, level.size)

    # -- batches of entries -------------------------------------------------------------------------------------------

    def _batches(
        self, level: _Level, names: bytes, records: bytes, *, cached: CachedDirectory | None, skips: frozenset[bytes]
    ) -> Iterator[list[_Item]]:
        """The entries that are wanted, in order, paired with the elements they had if nothing about them changed."""
        old: Iterator[OldElement] = self._old.elements(cached) if cached is not None else iter(())
        previous = next(old, None)
        seed = self._cache.seed
        size = ENTRY.size
        check = self._filter.active or bool(self._filter.forced)
        batch: list[_Item] = []
        at = 0
        for name in names[:-1].split(b"\0") if names else ():
            record = records[at : at + size]
            at += size
            if name in skips:
                continue
            info = Stat._make(ENTRY.unpack(record))
            if check and not self._wanted(level, name, info):
                continue
            digest = xxhash.xxh3_64_digest(record + name, seed)
            element = None
            while previous is not None and previous.name < name:
                previous = next(old, None)
            if previous is not None and previous.name == name and previous.hash == digest:
                element = previous.element
            batch.append(_Item(name, info, record, digest, element))
            if len(batch) == BATCH:
                yield batch
                batch = []
        if batch:
            yield batch

    def _wanted(self, level: _Level, name: bytes, info: Stat) -> bool:
        directory = stat.S_ISDIR(info.mode)
        rules = self._filter
        if (rules.active and rules.verdict(level.prefix + name, directory=directory, size=info.size)) or (
            directory and rules.is_forced(level.devices[info.device], info.ino)
        ):
            self.counts.excluded += 1
            return False
        return True

    def _batch(self, level: _Level, batch: list[_Item]) -> None:
        """Reads what is new in the batch, walks its subdirectories, and writes its elements in order."""
        self._progress.at(level.prefix)
        contents = self._read(level, batch)
        files = size = 0
        for item in batch:
            mode = item.info.mode
            if item.info.error:
                self._progress.warn(level.prefix + item.name, errno_name(item.info.error))
                outcome = _LOST
            elif stat.S_ISREG(mode):
                outcome = self._regular(level, item, contents.get(item.name))
            elif stat.S_ISDIR(mode):
                outcome = self._subdirectory(level, item)
            else:
                outcome = self._other(level, item)
            element, trusted, counted, length = outcome
            if level.recent and trusted:
                trusted = self._is_settled(item.info)
            if not trusted:
                level.settled = False
            if element is not None:
                level.writer.add(item.name, element)
                level.hashes += item.hash if trusted else UNTRUSTED_ENTRY
                files += counted
                size += length
        level.files += files
        level.size += size
        self._progress.advance(files=files)

    def _is_settled(self, info: Stat) -> bool:
        limit = self._settled
        changed, modified = info.ctime * 1_000_000_000 + info.ctime_ns, info.mtime * 1_000_000_000 + info.mtime_ns
        return changed < limit and modified < limit

    def _read(self, level: _Level, batch: list[_Item]) -> dict[bytes, Content]:
        """The contents of the regular files of the batch that have to be read, by name."""
        small: list[_Item] = []
        large: list[_Item] = []
        contents: dict[bytes, Content] = {}
        reading: dict[Inode, bytes] = {}
        aliases: dict[bytes, bytes] = {}
        unchanged = 0
        for item in batch:
            info = item.info
            if not stat.S_ISREG(info.mode) or info.error:
                continue
            if item.element is not None:
                unchanged += info.size
                continue
            if info.nlink > 1:
                inode = Inode(level.devices[info.device], info.ino)
                content = self._links.content(inode)
                if content is not None:
                    contents[item.name] = content
                    continue
                if reading.setdefault(inode, item.name) != item.name:
                    aliases[item.name] = reading[inode]
                    continue
            (small if info.size <= SMALL_LIMIT else large).append(item)
        if unchanged:
            self._progress.advance(size=unchanged)
        if small:
            read = self._ingest.small(level.fd, [item.name for item in small], [item.record for item in small])
            for item, content in zip(small, read, strict=True):
                contents[item.name] = content
        for item in large:
            self._progress.at(level.prefix + item.name)
            contents[item.name] = self._ingest.large(level.fd, item.name, item.record)
        for name, other in aliases.items():
            contents[name] = contents[other]
        return contents

    # -- one entry ----------------------------------------------------------------------------------------------------

    def _regular(self, level: _Level, item: _Item, content: Content | None) -> _Outcome:
        info = item.info
        element = item.element
        if element is not None and info.nlink == 1:
            self.counts.unchanged += 1
            return _Outcome(element, trusted=True, files=1, size=info.size)
        path = level.prefix + item.name
        trusted = True
        if content is not None:
            trusted = self._sound(path, content)
            if content.vanished:
                return _LOST
        hardlink = self._hardlink(level, item, path, content) if info.nlink > 1 else b""
        if element is not None and element_hardlink(element) == hardlink:
            self.counts.unchanged += 1
            return _Outcome(element, trusted=True, files=1, size=info.size)
        if content is None:
            # Only its first name has moved, but its element has to be written anew.
            content = self._ingest.large(level.fd, item.name, item.record)
            trusted = self._sound(path, content)
            if content.vanished:
                return _LOST
        element = self._elements.file(level.fd, path, item.name, info, content, hardlink=hardlink)
        return _Outcome(element, trusted, files=1, size=content.size)

    def _sound(self, path: bytes, content: Content) -> bool:
        trouble = content.unread or content.changed
        if trouble:
            self._progress.warn(path, trouble)
        return not trouble

    def _hardlink(self, level: _Level, item: _Item, path: bytes, content: Content | None) -> bytes:
        info = item.info
        inode = Inode(level.devices[info.device], info.ino)
        first = self._links.meet(inode, path, names=info.nlink, content=content)
        level.links.append(linked(info.device, info.ino, first))
        return b"" if first == path else first

    def _other(self, level: _Level, item: _Item) -> _Outcome:
        path = level.prefix + item.name
        target = b""
        if stat.S_ISLNK(item.info.mode):
            try:
                target = os.readlink(item.name, dir_fd=level.fd)
            except OSError as error:
                self._progress.warn(path, errno_name(error.errno or 0))
                return _LOST
        hardlink = self._hardlink(level, item, path, None) if item.info.nlink > 1 else b""
        level.others += 1
        element = item.element
        if element is None or (item.info.nlink > 1 and element_hardlink(element) != hardlink):
            element = self._elements.special(level.fd, path, item.name, item.info, hardlink=hardlink, target=target)
        return _Outcome(element, trusted=True)

    def _subdirectory(self, level: _Level, item: _Item) -> _Outcome:
        """A subdirectory, walked unless that has been done."""
        name, element = item.name, item.element
        tree = level.known.get(name)
        path = level.prefix + name
        unread = ""
        child = -1
        if tree is None or element is None:
            try:
                child = os.open(name, _OPEN_DIRECTORY, dir_fd=level.fd)
            except OSError as error:
                if error.errno in _GONE:
                    self._progress.warn(path, _VANISHED)
                    return _LOST
                unread = errno_name(error.errno or 0)
        try:
            if tree is None and not unread:
                tree, unread = self._below(level, item, child, path)
            if unread:
                self._progress.warn(path, unread)
            if element is None or tree is None:
                element = self._elements.directory(path, name, item.info, child=child, tree=tree, unread=unread)
            else:
                element = with_tree(element, tree)
        finally:
            if child >= 0:
                os.close(child)
        level.directories += 1
        if not self._is_foreign(item.info):
            level.subdirectories.append(name)
        return _Outcome(element, trusted=not unread)

    def _is_foreign(self, info: Stat) -> bool:
        """Whether it is the root of another file system, which is not to be entered."""
        return bool(info.device) and self._filter.rules.one_file_system

    def _below(self, level: _Level, item: _Item, child: int, path: bytes) -> tuple[ChunkId | None, str]:
        """(tree, "") of an open subdirectory, or (None, why it could not be read)."""
        if self._is_foreign(item.info):
            self.counts.excluded += 1
            return TreeWriter(self._ingest.sink.put_manifest).finish(), ""
        if level.depth >= DEPTH_LIMIT:
            return None, "ELOOP"
        try:
            return self.directory(child, path, depth=level.depth + 1)[0], ""
        except OSError as error:
            return None, errno_name(error.errno or 0)


def recursion_limit() -> int:
    """So many Python frames let a walk go down to DEPTH_LIMIT."""
    return 6 * DEPTH_LIMIT + 1000


def _has_tag(names: bytes) -> bool:
    """Whether there is a tag among the names; one that appears after they were listed counts the next time."""
    return b"\0" + CACHE_TAG + b"\0" in b"\0" + names


def _only_tag(names: bytes, records: bytes) -> tuple[bytes, bytes]:
    """The listing of a cache directory as it is kept: its tag and nothing else."""
    number = names.split(b"\0").index(CACHE_TAG)
    return CACHE_TAG + b"\0", records[number * ENTRY.size : (number + 1) * ENTRY.size]
