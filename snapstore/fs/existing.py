"""What is in the way of a restore: names checked, inodes looked at without following links, trees removed.

Every function works on a name in an open directory and touches nothing outside of it, whatever others do to the
directory meanwhile: an inode is pinned by an O_PATH descriptor before it is asked or changed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING

from snapstore.errors import TargetError
from snapstore.fs.metadata import BLOCKING_FLAGS, read_flags, write_flags
from snapstore.model import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

TEMPORARY_PREFIX = b".snapstore-"

_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_KINDS = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFDIR: Kind.DIRECTORY,
    stat.S_IFLNK: Kind.SYMLINK,
    stat.S_IFCHR: Kind.CHARACTER_DEVICE,
    stat.S_IFBLK: Kind.BLOCK_DEVICE,
    stat.S_IFIFO: Kind.FIFO,
    stat.S_IFSOCK: Kind.SOCKET,
}


def check_name(name: bytes) -> bytes:
    """The name itself; TargetError unless it is one plain component. Trees are checked when parsed, and again here."""
    if name in (b"", b".", b"..") or b"/" in name or b"\0" in name:
        raise TargetError(
            f"refusing to write a file named {name!r}", advice="the snapshot's tree is damaged or hostile"
        )
    return name


def temporary_name() -> bytes:
    """A fresh name for what is not complete: `.snapstore-` and 16 hexadecimal digits."""
    return TEMPORARY_PREFIX + os.urandom(8).hex().encode()


def kind_of(status: os.stat_result) -> Kind:
    """What a stat result describes."""
    return _KINDS[stat.S_IFMT(status.st_mode)]


@contextlib.contextmanager
def pinned(directory: int, name: bytes) -> Iterator[tuple[os.stat_result, bytes]]:
    """The status of a name, not followed, and a place that stays that inode whatever the name becomes. OSError."""
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        yield os.fstat(fd), b"/proc/self/fd/%d" % fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def opened(directory: int, name: bytes) -> Iterator[tuple[os.stat_result, int]]:
    """The status and a reading descriptor of a regular file or directory; OSError(EINVAL) if it is neither.

    Never opens a device or FIFO. An own inode whose mode forbids reading is opened all the same where the process may
    change its mode, which then gains the owner's read permission (and, for a directory, all of the owner's).
    """
    with pinned(directory, name) as (status, where):
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            raise OSError(errno.EINVAL, "neither a file nor a directory")
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            fd = os.open(where, flags)
        except PermissionError:
            more = stat.S_IRWXU if stat.S_ISDIR(status.st_mode) else stat.S_IRUSR
            os.chmod(where, stat.S_IMODE(status.st_mode) | more)
            fd = os.open(where, flags)
    try:
        yield status, fd
    finally:
        os.close(fd)


def discard(directory: int, name: bytes) -> None:
    """Remove a temporary name, which may be gone already."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=directory)


def unblock(fd: int) -> int:
    """The immutable and append-only flags that an open inode had, now cleared; 0 if it had none or cannot have any."""
    try:
        value = read_flags(fd)
        if value & BLOCKING_FLAGS:
            write_flags(fd, value & ~BLOCKING_FLAGS)
    except OSError:
        return 0
    return value & BLOCKING_FLAGS


def make_writable(fd: int) -> None:
    """Let entries be made in a directory that gets its own mode and flags later; what the owner cannot do is left."""
    unblock(fd)
    mode = stat.S_IMODE(os.fstat(fd).st_mode)
    if mode & stat.S_IRWXU != stat.S_IRWXU:
        with contextlib.suppress(PermissionError):
            os.chmod(fd, mode | stat.S_IRWXU)


def unblock_name(directory: int, name: bytes) -> bool:
    """Whether the name was a file or directory with blocking flags, which are cleared now."""
    try:
        with opened(directory, name) as (_, fd):
            return bool(unblock(fd))
    except OSError:
        return False


def open_directory(directory: int, name: bytes) -> int:
    """A descriptor of a real subdirectory, never through a link; OSError. The owner's own mode is no obstacle."""
    try:
        return os.open(name, _OPEN_DIRECTORY, dir_fd=directory)
    except PermissionError:
        with opened(directory, name) as (_, fd):
            return os.open(b"/proc/self/fd/%d" % fd, _OPEN_DIRECTORY & ~os.O_NOFOLLOW)


def remove(directory: int, name: bytes) -> int:
    """The number of names removed: a file's, or a whole tree's. OSError at the first that cannot be.

    Links are removed, never followed. A directory of another file system than its parent's is not entered
    (OSError(EXDEV)). Immutable and append-only flags inside the tree are lifted.
    """
    status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    if not stat.S_ISDIR(status.st_mode):
        _drop(directory, name, folder=False)
        return 1
    return _remove_tree(directory, name)


def _remove_tree(directory: int, name: bytes) -> int:
    removed = 0
    device = os.fstat(directory).st_dev
    # Each level: its descriptor, its name above, the names in it still to go.
    levels: list[tuple[int, bytes, list[bytes]]] = []

    def enter(parent: int, child: bytes) -> None:
        fd = open_directory(parent, child)
        levels.append((fd, child, []))
        if os.fstat(fd).st_dev != device:
            raise OSError(errno.EXDEV, "another file system is mounted there")
        unblock(fd)
        levels[-1][2].extend(os.fsencode(each) for each in os.listdir(fd))

    try:
        enter(directory, name)
        while levels:
            fd, child, pending = levels[-1]
            if pending:
                each = pending.pop()
                if stat.S_ISDIR(os.stat(each, dir_fd=fd, follow_symlinks=False).st_mode):
                    enter(fd, each)
                    continue
                _drop(fd, each, folder=False)
            else:
                levels.pop()
                os.close(fd)
                _drop(levels[-1][0] if levels else directory, child, folder=True)
            removed += 1
    finally:
        for fd, _, _ in levels:
            os.close(fd)
    return removed


def _drop(directory: int, name: bytes, *, folder: bool) -> None:
    take = os.rmdir if folder else os.unlink
    try:
        take(name, dir_fd=directory)
    except PermissionError:
        if not unblock_name(directory, name):
            raise
        take(name, dir_fd=directory)
