"""From what the kernel and the system calls say of one entry to its element in a tree."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from typing import NamedTuple

from snapstore.format.chunklist import INLINE_LIMIT
from snapstore.format.tree import ELEMENT_LIMIT, entry_element, owner_attributes, plain_file_element
from snapstore.fs.metadata import Extras, OwnerNames, flags_text, read_extras
from snapstore.model import KIND_OF_TYPE, ChunkId, Entry, Kind
from snapstore.ops.ingest import Content
from snapstore.ops.progress import Progress

_NO_EXTRAS = Extras()


class Stat(NamedTuple):
    """One ENTRY record of the kernel, taken apart."""

    ino: int
    size: int
    rdev: int
    mtime: int
    ctime: int
    mtime_ns: int
    ctime_ns: int
    mode: int
    uid: int
    gid: int
    nlink: int
    device: int
    attributes: int
    error: int
    reserved: int


class Elements:
    """Makes elements; reads what stat does not tell where there is a sign of it."""

    def __init__(self, owners: OwnerNames, progress: Progress) -> None:
        self._owners = owners
        self._progress = progress
        self._owner_text: dict[tuple[int, int], bytes] = {}

    def _owner(self, uid: int, gid: int) -> bytes:
        text = self._owner_text.get((uid, gid))
        if text is None:
            text = owner_attributes(uid, gid, self._owners.user(uid), self._owners.group(gid))
            self._owner_text[uid, gid] = text
        return text

    def _warned(self, path: bytes, extras: Extras) -> Extras:
        for trouble in extras.troubles:
            self._progress.warn(path, trouble)
        return extras

    def _bounded(self, path: bytes, entry: Entry) -> bytes:
        element = entry_element(entry)
        if len(element) > ELEMENT_LIMIT:
            self._progress.warn(path, "its extended attributes are more than a manifest can hold, and left out")
            element = entry_element(replace(entry, xattrs=()))
        return element

    def file(self, fd: int, path: bytes, name: bytes, info: Stat, content: Content, *, hardlink: bytes) -> bytes:
        """The element of a regular file in the open directory; `path` is for warnings."""
        plain = not (content.flags or content.xattrs or content.holes or content.chunk_list or content.unread)
        if plain and info.nlink == 1 and len(content.chunks) <= INLINE_LIMIT:
            return plain_file_element(
                name,
                content.size,
                (info.mtime, info.mtime_ns),
                info.mode & 0o7777,
                self._owner(info.uid, info.gid),
                chunks=[chunk.hex() for chunk in content.chunks],
            )
        extras = _NO_EXTRAS
        if content.xattrs:
            extras = self._warned(path, read_extras(fd, self._owners, name=name, kind=Kind.FILE, flags=False))
        return self._bounded(
            path,
            Entry(
                name=name, kind=Kind.FILE, mode=info.mode & 0o7777, uid=info.uid, gid=info.gid,
                user=self._owners.user(info.uid), group=self._owners.group(info.gid),
                mtime=(info.mtime, info.mtime_ns), acl=extras.acl, xattrs=extras.xattrs,
                flags=flags_text(content.flags), size=info.size if content.unread else content.size,
                links=info.nlink, hardlink=hardlink, holes=content.holes, chunks=content.chunks,
                chunk_list=content.chunk_list, unread=content.unread,
            ),
        )  # fmt: skip

    def special(self, fd: int, path: bytes, name: bytes, info: Stat, *, hardlink: bytes, target: bytes) -> bytes:
        """The element of a link (to `target`), device, FIFO or socket in the open directory."""
        kind = KIND_OF_TYPE[stat.S_IFMT(info.mode)]
        extras = self._warned(path, read_extras(fd, self._owners, name=name, kind=kind))
        return self._bounded(
            path,
            Entry(
                name=name, kind=kind, mode=info.mode & 0o7777, uid=info.uid, gid=info.gid,
                user=self._owners.user(info.uid), group=self._owners.group(info.gid),
                mtime=(info.mtime, info.mtime_ns), acl=extras.acl, xattrs=extras.xattrs, links=info.nlink,
                hardlink=hardlink, target=target, rdev=(os.major(info.rdev), os.minor(info.rdev)),
            ),
        )  # fmt: skip

    def directory(
        self, path: bytes, name: bytes, info: Stat, *, child: int, tree: ChunkId | None, unread: str
    ) -> bytes:
        """The element of a subdirectory that is open as `child` (-1 if it could not be opened)."""
        extras = _NO_EXTRAS
        if child >= 0:
            extras = self._warned(path, read_extras(child, self._owners, kind=Kind.DIRECTORY))
        return self._bounded(
            path,
            Entry(
                name=name, kind=Kind.DIRECTORY, mode=info.mode & 0o7777, uid=info.uid, gid=info.gid,
                user=self._owners.user(info.uid), group=self._owners.group(info.gid),
                mtime=(info.mtime, info.mtime_ns), acl=extras.acl, default_acl=extras.default_acl,
                xattrs=extras.xattrs, flags=extras.flags, tree=None if unread else tree, unread=unread,
            ),
        )  # fmt: skip


def with_tree(element: bytes, tree: ChunkId) -> bytes:
    """A directory's element from an earlier snapshot, with the id of its tree as it is now."""
    at = element.rindex(b' tree="', 0, element.index(b">\n")) + 7
    return element[:at] + tree.hex().encode() + element[at + 64 :]
