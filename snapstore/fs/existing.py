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
from snapstore.model import KIND_OF_TYPE, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Protected = frozenset[tuple[int, int]]
    """(device, inode) of directories that nothing may be removed from."""
    Spare = Callable[[bytes, bool], bool]

TEMPORARY_PREFIX = b".snapstore-"
HOLDS_STORE = "it is or holds the store, or snapstore's own state"
MOUNTED = "another file system is mounted there"
SPARED = "it holds what the snapshot's patterns leave out"

_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


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
    return KIND_OF_TYPE[stat.S_IFMT(status.st_mode)]


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


@contextlib.contextmanager
def reached(directory: int, path: Sequence[bytes]) -> Iterator[tuple[int, bytes]]:
    """A descriptor of the directory that holds the last of these names, each below the one before, and that name.

    No link is followed. OSError.
    """
    folder = os.dup(directory)
    try:
        for part in path[:-1]:
            deeper = open_directory(folder, check_name(part))
            os.close(folder)
            folder = deeper
        yield folder, check_name(path[-1])
    finally:
        os.close(folder)


def is_one_of(fd: int, directories: Protected) -> bool:
    """Whether what is open has its (device, inode) among these."""
    if not directories:
        return False
    status = os.fstat(fd)
    return (status.st_dev, status.st_ino) in directories


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


def obstacle(directory: int, name: bytes, *, protected: Protected, spare: Spare | None = None) -> str:
    """Why a name and what is below it must not be removed, empty if it may be. Changes nothing; OSError.

    A tree is not to be removed if it holds a directory of `protected`, or one where another file system is mounted, or
    something of which `spare` (path below `name`, whether it is a directory) says so. What may not be listed is not
    looked at; `remove` looks again.
    """
    if not stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
        return ""
    device = os.fstat(directory).st_dev
    # Each level: its descriptor, its path with a slash, the directories in it still to be looked at.
    levels: list[tuple[int, bytes, list[bytes]]] = []

    def enter(parent: int, child: bytes, prefix: bytes) -> str:
        try:
            status = os.stat(child, dir_fd=parent, follow_symlinks=False)
            why = _refusal(status, device, protected)
            if why:
                return why
            fd = os.open(child, _OPEN_DIRECTORY, dir_fd=parent)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return ""
        folders: list[bytes] = []
        levels.append((fd, prefix, folders))
        with os.scandir(fd) as entries:
            for each in entries:
                below, folder = os.fsencode(each.name), each.is_dir(follow_symlinks=False)
                if spare is not None and spare(prefix + below, folder):
                    return SPARED
                if folder:
                    folders.append(below)
        return ""

    try:
        why = enter(directory, name, b"")
        while levels and not why:
            fd, prefix, folders = levels[-1]
            if folders:
                each = folders.pop()
                why = enter(fd, each, prefix + each + b"/")
            else:
                levels.pop()
                os.close(fd)
    finally:
        for fd, _, _ in levels:
            os.close(fd)
    return why


def _refusal(status: os.stat_result, device: int, protected: Protected) -> str:
    if (status.st_dev, status.st_ino) in protected:
        return HOLDS_STORE
    return MOUNTED if status.st_dev != device else ""


def remove(directory: int, name: bytes, *, protected: Protected = frozenset()) -> int:
    """The number of names removed: a file's, or a whole tree's. OSError at the first that cannot be.

    Links are removed, never followed. A directory of another file system than its parent's is not entered
    (OSError(EXDEV)), nor is one of `protected` (OSError(EBUSY)); ask `obstacle` first, so that what is around it stays
    too. Immutable and append-only flags inside the tree are lifted.
    """
    status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    if not stat.S_ISDIR(status.st_mode):
        _drop(directory, name, folder=False)
        return 1
    return _remove_tree(directory, name, protected)


def _remove_tree(directory: int, name: bytes, protected: Protected) -> int:
    removed = 0
    device = os.fstat(directory).st_dev
    # Each level: its descriptor, its name above, the names in it still to go.
    levels: list[tuple[int, bytes, list[bytes]]] = []

    def enter(parent: int, child: bytes) -> None:
        fd = open_directory(parent, child)
        levels.append((fd, child, []))
        why = _refusal(os.fstat(fd), device, protected)
        if why:
            raise OSError(errno.EXDEV if why == MOUNTED else errno.EBUSY, why)
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
