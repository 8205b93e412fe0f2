"""A copy of a live tree made by reading it plainly and writing it through a `Target`: no store between."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from snapstore.fs.metadata import OwnerNames, data_extents, read_extras
from snapstore.fs.place import Directory, SmallFile, Target
from snapstore.model import Entry, Kind
from tests.oddities import allow_depth

if TYPE_CHECKING:
    from collections.abc import Iterable

KINDS = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFDIR: Kind.DIRECTORY,
    stat.S_IFLNK: Kind.SYMLINK,
    stat.S_IFCHR: Kind.CHARACTER_DEVICE,
    stat.S_IFBLK: Kind.BLOCK_DEVICE,
    stat.S_IFIFO: Kind.FIFO,
    stat.S_IFSOCK: Kind.SOCKET,
}
SMALL = 200_000
OWNERS = OwnerNames()


def describe(directory: int, name: bytes) -> Entry:
    """The entry of one name in an open directory."""
    status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    kind = KINDS[stat.S_IFMT(status.st_mode)]
    extras = read_extras(directory, OWNERS, name=name, kind=kind)
    assert extras.troubles == ()
    holes: tuple[tuple[int, int], ...] = ()
    if kind is Kind.FILE:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=directory)
        holes, _ = data_extents(fd, status.st_size)
        os.close(fd)
    device = kind in (Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE)
    return Entry(
        name=name,
        kind=kind,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        user=OWNERS.user(status.st_uid),
        group=OWNERS.group(status.st_gid),
        mtime=divmod(status.st_mtime_ns, 10**9),
        size=status.st_size if kind is Kind.FILE else 0,
        links=status.st_nlink if kind is not Kind.DIRECTORY else 1,
        rdev=(os.major(status.st_rdev), os.minor(status.st_rdev)) if device else (0, 0),
        target=os.readlink(name, dir_fd=directory) if kind is Kind.SYMLINK else b"",
        flags=extras.flags,
        acl=extras.acl,
        default_acl=extras.default_acl,
        xattrs=extras.xattrs,
        holes=holes,
    )


@dataclass(slots=True)
class _Level:
    fd: int
    directory: Directory
    parts: tuple[bytes, ...]
    pending: list[bytes]


def copy(source: bytes, target: Target, *, name: bytes = b".") -> None:
    """Write all of `source` into the target's root, which gets the source's own metadata too."""
    allow_depth()
    top = os.open(source, os.O_RDONLY | os.O_DIRECTORY)
    target.root.adopt(describe(top, name))
    first_names: dict[int, tuple[bytes, ...]] = {}
    levels = [_level(top, target.root.hold(), (), target, first_names)]
    while levels:
        level = levels[-1]
        if not level.pending:
            levels.pop()
            level.directory.release()
            os.close(level.fd)
            continue
        child = level.pending.pop()
        entered = level.directory.enter(describe(level.fd, child))
        if entered is not None:
            fd = os.open(child, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=level.fd)
            levels.append(_level(fd, entered, (*level.parts, child), target, first_names))


def _level(
    fd: int, directory: Directory, parts: tuple[bytes, ...], target: Target, first_names: dict[int, tuple[bytes, ...]]
) -> _Level:
    """The level with all but its subdirectories written."""
    names = sorted(os.fsencode(each) for each in os.listdir(fd))
    folders = [name for name in names if stat.S_ISDIR(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode)]
    small: list[SmallFile] = []
    buffers: list[bytes] = []
    later: list[tuple[Entry, tuple[bytes, ...]]] = []
    for name in sorted(set(names) - set(folders)):
        entry = describe(fd, name)
        if entry.links > 1:
            inode = os.stat(name, dir_fd=fd, follow_symlinks=False).st_ino
            first = first_names.setdefault(inode, (*parts, name))
            if first != (*parts, name):
                later.append((entry, first))
                continue
        if directory.keep(entry):
            continue
        if entry.kind is not Kind.FILE:
            directory.place_special(entry)
        elif entry.size <= SMALL:
            pieces = [piece for _, piece in _content(fd, name, entry.size)]
            start = len(buffers)
            buffers += pieces
            small.append(SmallFile(entry, [(start + i, 0, len(piece)) for i, piece in enumerate(pieces)]))
        else:
            large = directory.begin_large(entry)
            assert large is not None
            for offset, piece in _content(fd, name, entry.size):
                large.write_at(offset, piece)
            assert large.finish()
    directory.write_small(small, buffers)
    for entry, first in later:
        assert directory.link(entry, first), target.report.troubles
    return _Level(fd, directory, parts, folders)


def _content(directory: int, name: bytes, size: int) -> Iterable[tuple[int, bytes]]:
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=directory)
    for offset, length in data_extents(fd, size)[1]:
        yield offset, os.pread(fd, length, offset)
    os.close(fd)
