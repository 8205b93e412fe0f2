"""The fixed-size records that the kernel's functions take and return, little-endian and without padding.

========= ===== ==========================================================================================
record    bytes fields
========= ===== ==========================================================================================
`ENTRY`      80 ino, size, rdev, mtime_s, ctime_s, mtime_ns, ctime_ns, mode, uid, gid, nlink, device,
                attributes, error, 0
`RESULT`     32 offset, length, status (`Status`), errno, flags (within `CHATTR_FLAGS`), xattrs (bytes of list)
`WRITE`      32 mtime_s, mtime_ns, mode (07777), uid, gid (`KEEP_ID` leaves it), first segment, segment count
`SEGMENT`    20 buffer index, offset, length
`WRITTEN`     8 step (`Step`), errno
========= ===== ==========================================================================================

These live in memory and in local caches only; no store holds them.
"""

from __future__ import annotations

import enum
from struct import Struct
from typing import Final

ENTRY: Final = Struct("<QQQqqIIIIIIIIII")
RESULT: Final = Struct("<QQIIII")
WRITE: Final = Struct("<qIIIIII")
SEGMENT: Final = Struct("<IQQ")
WRITTEN: Final = Struct("<II")

KEEP_ID: Final = 0xFFFFFFFF
"""The uid or gid of a WRITE record that leaves the one the file was created with."""

SPARSE_CHECK_SIZE: Final = 65536
"""Files of so many bytes and more are asked for holes before they are read."""

LARGEST_XATTR_LIST: Final = 65536
"""XATTR_LIST_MAX: reported where a file has more attributes than listxattr(2) can list."""

CHATTR_FLAGS: Final = (
    0x00000001  # secure deletion
    | 0x00000002  # undelete
    | 0x00000004  # compress
    | 0x00000008  # synchronous
    | 0x00000010  # immutable
    | 0x00000020  # append only
    | 0x00000040  # no dump
    | 0x00000080  # no atime
    | 0x00000400  # do not compress
    | 0x00004000  # journal data
    | 0x00008000  # no tail merging
    | 0x00010000  # synchronous directory
    | 0x00020000  # top of a directory hierarchy
    | 0x00800000  # no copy-on-write
    | 0x02000000  # direct access
    | 0x20000000  # inherit project
    | 0x40000000  # casefold
)
"""The inode flags that chattr(1) can set. What a file system keeps for itself (extents, verity, …) is not here."""

ATTRIBUTES: Final = 0x00000004 | 0x00000010 | 0x00000020 | 0x00000040
"""STATX_ATTR_COMPRESSED, _IMMUTABLE, _APPEND and _NODUMP: the ones an ENTRY shows."""


class Status(enum.IntEnum):
    """What became of one file that `read_files` was asked for."""

    OK = 0
    ERROR = 1
    CHANGED = 2
    SPARSE = 3
    NOT_REGULAR = 4


class Step(enum.IntEnum):
    """Where `write_files` first failed with one file."""

    DONE = 0
    OPEN = 1
    WRITE = 2
    CHOWN = 3
    CHMOD = 4
    TIMES = 5
    CLOSE = 6
