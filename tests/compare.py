"""Whether two trees are the same in everything that a restore promises. Shares no code with what it judges."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import stat
import struct
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

ASPECTS = frozenset(
    "names kind size content holes mode owner mtime target rdev xattrs flags hardlinks socket root".split()  # noqa: SIM905
)
CHATTR = 0x6283C4FF  # every flag that chattr(1) can set
_BLOCK = 65536
_PIECE = 1 << 20
_LONG = struct.calcsize("l")
_GETFLAGS = (2 << 30) | (_LONG << 16) | 0x6601


def compare(a: bytes, b: bytes, *, ignore: Collection[str] = ()) -> list[str]:
    """One line per difference, none if `b` is what `a` is. `ignore` names aspects out of `ASPECTS`.

    What this process may not read on either side is a difference too: "PATH: cannot be read".
    "socket" leaves sockets out wherever they are, "root" the metadata of the two top directories.
    """
    unknown = set(ignore) - ASPECTS
    if unknown:
        raise ValueError(f"no such aspects: {sorted(unknown)}")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    comparison = _Comparison(frozenset(ignore))
    comparison.run(a, b)
    return comparison.differences


class _Comparison:
    def __init__(self, ignore: frozenset[str]) -> None:
        self.ignore = ignore
        self.differences: list[str] = []
        # Per side: (device, inode) to the paths of everything that has several names.
        self.names: tuple[dict[tuple[int, int], list[bytes]], ...] = ({}, {})

    def differ(self, path: bytes, aspect: str, ours: object, theirs: object) -> None:
        if aspect not in self.ignore and ours != theirs:
            self.differences.append(f"{shown(path)}: {aspect}: {_short(ours)} != {_short(theirs)}")

    def run(self, a: bytes, b: bytes) -> None:
        fds = tuple(os.open(each, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW) for each in (a, b))
        if "root" not in self.ignore:
            self.metadata(b".", os.fstat(fds[0]), os.fstat(fds[1]), fds, None)
        levels: list[tuple[bytes, tuple[int, ...], Iterator[bytes]]] = [(b"", fds, iter(self.common(b"", fds)))]
        while levels:
            prefix, fds, pending = levels[-1]
            name = next(pending, None)
            if name is None:
                levels.pop()
                for fd in fds:
                    os.close(fd)
                continue
            path = prefix + name
            try:
                if self.one(path, name, fds):
                    deeper = _open_both(name, os.O_DIRECTORY, fds)
                    levels.append((path + b"/", deeper, iter(self.common(path + b"/", deeper))))
            except PermissionError:
                self.differences.append(f"{shown(path)}: cannot be read")
        groups = [{frozenset(paths) for paths in side.values() if len(paths) > 1} for side in self.names]
        self.differ(b".", "hardlinks", groups[0] - groups[1], groups[1] - groups[0])

    def common(self, prefix: bytes, fds: tuple[int, ...]) -> list[bytes]:
        """The names on both sides; names on one side alone are differences."""
        sides = [{os.fsencode(each.name) for each in os.scandir(fd) if not self.is_ignored_socket(each)} for fd in fds]
        for name in sorted(sides[0] ^ sides[1]):
            self.differ(prefix + name, "names", name in sides[0], name in sides[1])
        return sorted(sides[0] & sides[1])

    def is_ignored_socket(self, each: os.DirEntry[str]) -> bool:
        return "socket" in self.ignore and stat.S_ISSOCK(each.stat(follow_symlinks=False).st_mode)

    def one(self, path: bytes, name: bytes, fds: tuple[int, ...]) -> bool:
        """Whether both are directories, to be gone into."""
        ours, theirs = (os.stat(name, dir_fd=fd, follow_symlinks=False) for fd in fds)
        if stat.S_IFMT(ours.st_mode) != stat.S_IFMT(theirs.st_mode):
            self.differ(path, "kind", stat.S_IFMT(ours.st_mode), stat.S_IFMT(theirs.st_mode))
            return False
        kind = stat.S_IFMT(ours.st_mode)
        if kind != stat.S_IFDIR:
            for side, status in zip(self.names, (ours, theirs), strict=True):
                side.setdefault((status.st_dev, status.st_ino), []).append(path)
        if kind == stat.S_IFLNK:
            self.differ(path, "target", *(os.readlink(name, dir_fd=fd) for fd in fds))
        if kind in (stat.S_IFCHR, stat.S_IFBLK):
            self.differ(path, "rdev", ours.st_rdev, theirs.st_rdev)
        if kind in (stat.S_IFREG, stat.S_IFDIR):
            opened = _open_both(name, os.O_NONBLOCK, fds)
            try:
                self.metadata(path, ours, theirs, opened, None)
                if kind == stat.S_IFREG:
                    self.differ(path, "size", ours.st_size, theirs.st_size)
                    self.content(path, min(ours.st_size, theirs.st_size), *opened)
            finally:
                for fd in opened:
                    os.close(fd)
        else:
            self.metadata(path, ours, theirs, fds, name)
        return kind == stat.S_IFDIR

    def metadata(
        self, path: bytes, ours: os.stat_result, theirs: os.stat_result, fds: tuple[int, ...], name: bytes | None
    ) -> None:
        if not stat.S_ISLNK(ours.st_mode):
            self.differ(path, "mode", oct(stat.S_IMODE(ours.st_mode)), oct(stat.S_IMODE(theirs.st_mode)))
        self.differ(path, "owner", (ours.st_uid, ours.st_gid), (theirs.st_uid, theirs.st_gid))
        self.differ(path, "mtime", ours.st_mtime_ns, theirs.st_mtime_ns)
        self.differ(path, "xattrs", *(_xattrs(fd, name) for fd in fds))
        if name is None:
            self.differ(path, "flags", *(_flags(fd) for fd in fds))

    def content(self, path: bytes, size: int, ours: int, theirs: int) -> None:
        """Compare where either side has data; holes are zeros, so what is a hole in both is the same."""
        extents = [_data(fd, size) for fd in (ours, theirs)]
        sums = [sum(end - start for start, end in each) for each in extents]
        if sums[1] > sums[0] + _BLOCK:
            self.differ(path, "holes", sums[0], sums[1])
        for start, end in sorted(extents[0] + extents[1]):
            for at in range(start, end, _PIECE):
                length = min(_PIECE, end - at)
                if os.pread(ours, length, at) != os.pread(theirs, length, at):
                    self.differ(path, "content", f"bytes from {at}", "other bytes")
                    return


def shown(path: bytes) -> str:
    """The path as it stands in a line."""
    return path.decode("utf-8", "backslashreplace")


def _open_both(name: bytes, flags: int, fds: tuple[int, ...]) -> tuple[int, ...]:
    opened: list[int] = []
    try:
        for fd in fds:
            opened.append(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | flags, dir_fd=fd))  # noqa: PERF401 closed below
    except OSError:
        for each in opened:
            os.close(each)
        raise
    return tuple(opened)


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 300 else shown[:300] + "…"


def _data(fd: int, size: int) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    at = 0
    while at < size:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            break
        if start >= size:
            break
        at = min(os.lseek(fd, start, os.SEEK_HOLE), size)
        found.append((start, at))
    return found


def _xattrs(fd: int, name: bytes | None) -> dict[str, bytes]:
    where: int | bytes = fd if name is None else b"/proc/self/fd/%d/%s" % (fd, name)
    follow = name is None
    try:
        names = os.listxattr(where, follow_symlinks=follow)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EPERM):
            return {}
        raise
    return {each: os.getxattr(where, each, follow_symlinks=follow) for each in names}


def _flags(fd: int) -> int:
    answer = bytearray(_LONG)
    try:
        fcntl.ioctl(fd, _GETFLAGS, answer)
    except OSError as error:
        if error.errno in (errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL):
            return 0
        raise
    return int.from_bytes(answer[:4], sys.byteorder) & CHATTR
