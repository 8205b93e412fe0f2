"""statx(2) and futimens(3) as the reference kernel needs them; the os module has neither attributes nor UTIME_OMIT."""

from __future__ import annotations

import ctypes
import errno
import os
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Seen:
    """What statx(2) says of one name; times are (seconds, nanoseconds), devices as os.makedev makes them."""

    ino: int
    size: int
    rdev: int
    device: int
    mtime: tuple[int, int]
    ctime: tuple[int, int]
    mode: int
    uid: int
    gid: int
    nlink: int
    attributes: int


class _StatxTime(ctypes.Structure):
    _fields_ = (("sec", ctypes.c_int64), ("nsec", ctypes.c_uint32), ("pad", ctypes.c_int32))


class _Statx(ctypes.Structure):
    """struct statx of <linux/stat.h>; the tail holds what later kernels added."""

    _fields_ = (
        ("mask", ctypes.c_uint32),
        ("blksize", ctypes.c_uint32),
        ("attributes", ctypes.c_uint64),
        ("nlink", ctypes.c_uint32),
        ("uid", ctypes.c_uint32),
        ("gid", ctypes.c_uint32),
        ("mode", ctypes.c_uint16),
        ("pad", ctypes.c_uint16),
        ("ino", ctypes.c_uint64),
        ("size", ctypes.c_uint64),
        ("blocks", ctypes.c_uint64),
        ("attributes_mask", ctypes.c_uint64),
        ("atime", _StatxTime),
        ("btime", _StatxTime),
        ("ctime", _StatxTime),
        ("mtime", _StatxTime),
        ("rdev_major", ctypes.c_uint32),
        ("rdev_minor", ctypes.c_uint32),
        ("dev_major", ctypes.c_uint32),
        ("dev_minor", ctypes.c_uint32),
        ("tail", ctypes.c_uint64 * 14),
    )


AT_SYMLINK_NOFOLLOW: Final = 0x100
AT_NO_AUTOMOUNT: Final = 0x800
AT_EMPTY_PATH: Final = 0x1000
STATX_BASIC_STATS: Final = 0x7FF
_libc = ctypes.CDLL(None, use_errno=True)


def statx(fd: int, name: bytes) -> Seen:
    """What there is under that name, or what `fd` itself is for the empty one; OSError as the system says."""
    found = _Statx()
    flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | (0 if name else AT_EMPTY_PATH)
    while _libc.statx(fd, name, flags, STATX_BASIC_STATS, ctypes.byref(found)) < 0:
        number = ctypes.get_errno()
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number), name)
    return Seen(
        ino=found.ino,
        size=found.size,
        rdev=os.makedev(found.rdev_major, found.rdev_minor),
        device=os.makedev(found.dev_major, found.dev_minor),
        mtime=(found.mtime.sec, found.mtime.nsec),
        ctime=(found.ctime.sec, found.ctime.nsec),
        mode=found.mode,
        uid=found.uid,
        gid=found.gid,
        nlink=found.nlink,
        attributes=found.attributes & found.attributes_mask,
    )


class _Timespec(ctypes.Structure):
    _fields_ = (("sec", ctypes.c_long), ("nsec", ctypes.c_long))


UTIME_OMIT: Final = (1 << 30) - 2


def set_mtime(fd: int, seconds: int, nanoseconds: int) -> None:
    """futimens(3) without the access time, which os.utime cannot leave out."""
    times = (_Timespec * 2)(_Timespec(0, UTIME_OMIT), _Timespec(seconds, nanoseconds))
    while _libc.futimens(fd, times) < 0:
        number = ctypes.get_errno()
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))
