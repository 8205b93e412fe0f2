"""Opens files to read them as what they were when their directory was scanned."""

from __future__ import annotations

import os

from snapstore.kernel import ENTRY


def open_for_reading(directory: int, name: bytes) -> int:
    """A descriptor of a file in an open directory, no link followed, its access time left alone where that is allowed.

    OSError; ELOOP for a link. What became a FIFO or a device does not block.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.open(name, flags | os.O_NOATIME, dir_fd=directory)
    except PermissionError:
        # O_NOATIME is for the owner and root only.
        return os.open(name, flags, dir_fd=directory)


def is_same(status: os.stat_result, record: bytes) -> bool:
    """Whether a file is still the one of an ENTRY record: inode, size, times and mode."""
    inode, size, _, mtime, ctime, mtime_ns, ctime_ns, mode, *_ = ENTRY.unpack(record)
    return (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_mode) == (
        inode,
        size,
        mtime * 1_000_000_000 + mtime_ns,
        ctime * 1_000_000_000 + ctime_ns,
        mode,
    )
