"""Files with several names: which name comes first, and whether what an earlier snapshot said of it still holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from snapstore.fs.statcache import CachedDirectory, Linked
from snapstore.ops.ingest import Content


class Inode(NamedTuple):
    """What makes two names one file."""

    device: int
    number: int


class Expected(NamedTuple):
    """A name that was a file's first one the last time, and the file."""

    path: bytes
    inode: Inode


@dataclass(slots=True)
class _First:
    """The first name: where it was, what is in the file, and how many more names may come (-1: not known)."""

    path: bytes
    left: int
    content: Content | None = None


class LinkRegistry:
    """Remembers the first name, in walk order, of every file with several, for as long as more names may come."""

    def __init__(self) -> None:
        self._first: dict[Inode, _First] = {}

    def content(self, inode: Inode) -> Content | None:
        """What reading the file under its first name gave, if it was read in this run."""
        first = self._first.get(inode)
        return first.content if first is not None else None

    def meet(self, inode: Inode, path: bytes, *, names: int, content: Content | None) -> bytes:
        """The path of the file's first name; `path` itself if this is it. `names` is its link count."""
        first = self._first.get(inode)
        if first is None or first.path == path:
            self._first[inode] = _First(path, names - 1, content)
            return path
        if first.left > 0:
            first.left -= 1
            if not first.left:
                # That was the last name: nothing can refer to the file any more.
                del self._first[inode]
        return first.path

    def expect(
        self, cached: CachedDirectory, prefix: bytes, names: bytes, devices: Sequence[int]
    ) -> list[Expected] | None:
        """The first names in an unchanged directory, in order, to be claimed when the walk gets to them.

        None where a cached tree states a first name that is not certain to be the first any more. The entries' own
        records do not tell: renaming a directory far away moves a first name and touches nothing here. `prefix` is the
        directory's path from the root with a slash behind, or empty; `names` are its NUL-terminated names.
        """
        if not cached.links:
            return []
        own = {prefix + name for name in names.split(b"\0")[:-1]}
        met: dict[Inode, bytes] = {}
        for link in cached.linked():
            if link.device >= len(devices):
                return None
            inode = Inode(devices[link.device], link.inode)
            known = self._first.get(inode)
            first = met.get(inode) if known is None else known.path
            if first is None:
                if link.first not in own:
                    return None
                met[inode] = link.first
            elif first != link.first:
                return None
        return [Expected(path, inode) for inode, path in met.items()]

    def claim(self, expected: list[Expected], *, before: bytes = b"") -> bool:
        """Whether the expected names that come before that path (all, if it is empty) are the first indeed.

        Those are remembered and taken off the list. A subdirectory that comes earlier may hold a new name.
        """
        while expected and (not before or expected[0].path < before):
            path, inode = expected.pop(0)
            if inode in self._first:
                return False
            self._first[inode] = _First(path, -1)
        return True


def linked(device: int, inode: int, first: bytes) -> Linked:
    """The cache's record of an entry with several names.

    `device` is its place among the devices of the directory: their numbers change from boot to boot.
    """
    return Linked(device, inode, first)
