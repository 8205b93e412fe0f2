"""Which file system something lies on, as far as that can be told without its device number, which changes."""

from __future__ import annotations

import os


def file_system_identity(fd: int) -> bytes:
    """Bytes that are the same whenever the same file system is looked at, and of no use where that cannot be known.

    Most file systems have an identity of their own (statfs(2), f_fsid). What is mounted to be read only may be an
    image, whose inodes and times are what its maker wrote into it: two of them can agree in all of those and in
    their identity, and differ in contents. So they are never the same as anything.
    """
    status = os.fstatvfs(fd)
    if status.f_flag & os.ST_RDONLY:
        return os.urandom(16)
    return b"%d" % status.f_fsid
