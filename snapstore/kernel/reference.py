"""The definition of what the kernel does, in plain Python: slow, clear, and equal to the native one in every result.

Names are NUL-terminated runs, records are those of `snapstore.kernel.records`. Trouble with one file is a value in its
record; an exception means that the call was wrong (TypeError, ValueError, BufferError) or that the directory itself
cannot be used (OSError). Nothing here syncs: durability belongs to the caller.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from snapstore.kernel.arguments import integer, open_directory, split_names, view
from snapstore.kernel.linux import set_mtime, statx
from snapstore.kernel.records import (
    ATTRIBUTES,
    CHATTR_FLAGS,
    ENTRY,
    KEEP_ID,
    LARGEST_XATTR_LIST,
    RESULT,
    SEGMENT,
    SPARSE_CHECK_SIZE,
    WRITE,
    WRITTEN,
    Status,
    Step,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from _typeshed import ReadableBuffer, WriteableBuffer

NAME: Final = "reference"

SMALLEST_CHUNK: Final = 64
LARGEST_CHUNK: Final = 1 << 30
GEAR_SIZE: Final = 2048
WORD: Final = (1 << 64) - 1
NANOSECONDS: Final = 1_000_000_000


# --- cut_points


def cut_points(data: ReadableBuffer, gear: ReadableBuffer, minimum: int, average: int, maximum: int) -> list[int]:
    """The increasing ends of the chunks of `data`; the last is its length, and empty data has none.

    FastCDC with normalised chunking, level 2 (Xia et al., USENIX ATC 2016). `gear` is 256 little-endian 64-bit numbers.
    No chunk but the last is shorter than `minimum`, none is longer than `maximum`, and most are about `average`.
    The fingerprint starts anew with each chunk, after its first `minimum` bytes, so that cuts depend on nothing
    before it.
    ValueError unless 64 ≤ minimum ≤ average ≤ maximum ≤ 2^30 and `average` is a power of two.
    """
    minimum = integer(minimum, "minimum", SMALLEST_CHUNK, LARGEST_CHUNK)
    average = integer(average, "average", SMALLEST_CHUNK, LARGEST_CHUNK)
    maximum = integer(maximum, "maximum", SMALLEST_CHUNK, LARGEST_CHUNK)
    if not minimum <= average <= maximum:
        raise ValueError("minimum, average and maximum must not decrease")
    if average & (average - 1):
        raise ValueError("average must be a power of two")
    packed = bytes(view(gear))
    if len(packed) != GEAR_SIZE:
        raise ValueError("gear must hold 256 numbers of 8 bytes")
    numbers = [int.from_bytes(packed[at : at + 8], "little") for at in range(0, GEAR_SIZE, 8)]
    bits = average.bit_length() - 1
    strict, loose = _high_bits(bits + 2), _high_bits(bits - 2)

    content = view(data)
    cuts: list[int] = []
    start = 0
    while start < len(content):
        rest = len(content) - start
        cut = min(rest, maximum)
        fingerprint = 0
        for i in range(minimum, cut):
            fingerprint = ((fingerprint << 1) + numbers[content[start + i]]) & WORD
            if fingerprint & (strict if i < average else loose) == 0:
                cut = i + 1
                break
        start += cut
        cuts.append(start)
    return cuts


def _high_bits(count: int) -> int:
    return WORD ^ (WORD >> count)


# --- scan_directory


def scan_directory(fd: int) -> tuple[bytes, bytes, tuple[int, ...], int]:
    """(names, ENTRY records in the same order, devices, newest time) of the directory open as `fd`.

    Sorted by the bytes of the names; without `.` and `..`. The descriptor stays open, its read offset is used.
    `devices[0]` is the directory's own device, further ones follow in the order of the entries that lie on them.
    A name that vanishes before it is examined is left out; one that cannot be examined has an errno and else zeros.
    Directories have size and link count 0, because those depend on the file system and not on what the user did.
    The newest mtime or ctime is in nanoseconds since the epoch, 0 where no entry has any.
    A directory that was removed while open is empty; OSError where one cannot be read.
    getdents64(2), and statx(2) without following links or mounting.
    """
    fd = open_directory(fd)
    os.lseek(fd, 0, os.SEEK_SET)
    found = sorted({os.fsencode(name) for name in os.listdir(fd)})
    names, records = bytearray(), bytearray()
    devices = [statx(fd, b"").device]
    times: list[int] = []
    for name in found:
        try:
            seen = statx(fd, name)
        except FileNotFoundError:
            continue
        except OSError as error:
            names += name + b"\0"
            records += ENTRY.pack(*[0] * 13, error.errno, 0)
            continue
        if seen.device not in devices:
            devices.append(seen.device)
        directory = stat.S_ISDIR(seen.mode)
        names += name + b"\0"
        records += ENTRY.pack(
            seen.ino,
            0 if directory else seen.size,
            seen.rdev,
            seen.mtime[0],
            seen.ctime[0],
            seen.mtime[1],
            seen.ctime[1],
            seen.mode,
            seen.uid,
            seen.gid,
            0 if directory else seen.nlink,
            devices.index(seen.device),
            seen.attributes & ATTRIBUTES,
            0,
            0,
        )
        times += [seconds * NANOSECONDS + nanoseconds for seconds, nanoseconds in (seen.mtime, seen.ctime)]
    return bytes(names), bytes(records), tuple(devices), max(times, default=0)


# --- read_files


def read_files(fd: int, names: ReadableBuffer, expected: ReadableBuffer, buffer: WriteableBuffer, offset: int) -> bytes:
    """One RESULT for each file read, in order; the contents lie back to back in `buffer` from `offset` on.

    `names` are in the directory open as `fd`, `expected` are their ENTRY records from `scan_directory`. Stops before
    the first file whose expected size does not fit in what is left of `buffer`; what lies there beyond the contents
    reported may have been written to. The access time is left alone where the kernel allows that.

    OK           read completely, and the file is as expected: inode, size, times, mode
    ERROR        could not be opened or read, errno says why (ELOOP: it became a symbolic link); length 0
    CHANGED      read, but not as expected; at most the expected size of it is there
    SPARSE       expected to have `SPARSE_CHECK_SIZE` bytes or more, and has fewer blocks than bytes: not read
    NOT_REGULAR  not expected to be a regular file (then it was not even opened), or is none any more; length 0

    What became a FIFO, a terminal or a socket does not block and loses no byte. From what became a disk, or another
    device that can be read at an offset, as many bytes as the file was expected to have may be read and thrown away.

    Flags and size of the attribute list are given for OK, CHANGED and SPARSE, 0 where the file system has none.
    ValueError for lengths that do not match, an offset outside of `buffer`, and names that are no plain names.
    """
    fd = open_directory(fd)
    listed = split_names(names)
    records, room = view(expected), view(buffer, writable=True)
    if len(records) != len(listed) * ENTRY.size:
        raise ValueError("expected must hold one ENTRY for each name")
    offset = integer(offset, "offset", 0, len(room))
    results = bytearray()
    for name, entry in zip(listed, ENTRY.iter_unpack(records), strict=True):
        size = entry[1]
        if size > len(room) - offset:
            break
        outcome = _read_one(fd, name, entry, room[offset : offset + size])
        results += RESULT.pack(
            offset, outcome.length, outcome.status, outcome.error, outcome.flags & CHATTR_FLAGS, outcome.xattrs
        )
        offset += outcome.length
    return bytes(results)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    """What reading one file came to."""

    status: Status
    length: int = 0
    error: int = 0
    flags: int = 0
    xattrs: int = 0


def _read_one(directory: int, name: bytes, entry: tuple[int, ...], room: memoryview) -> _Outcome:
    if not stat.S_ISREG(entry[7]):
        return _Outcome(status=Status.NOT_REGULAR)
    try:
        fd = _open_file(directory, name)
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket, or a device without a driver
            return _Outcome(status=Status.NOT_REGULAR)
        return _Outcome(status=Status.ERROR, error=error.errno or errno.EIO)
    try:
        return _read_open(fd, entry, room)
    except OSError as error:
        return _Outcome(status=Status.ERROR, error=error.errno or errno.EIO)
    finally:
        os.close(fd)


def _open_file(directory: int, name: bytes) -> int:
    # O_NONBLOCK: opening a FIFO must not wait for a writer.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    try:
        return os.open(name, flags | os.O_NOATIME, dir_fd=directory)
    except PermissionError as error:
        if error.errno != errno.EPERM:
            raise
        # O_NOATIME is for the owner and root; others leave a newer atime behind.
        return os.open(name, flags, dir_fd=directory)


def _read_open(fd: int, entry: tuple[int, ...], room: memoryview) -> _Outcome:
    size = entry[1]
    if size >= SPARSE_CHECK_SIZE:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            return _Outcome(status=Status.NOT_REGULAR)
        if status.st_blocks * 512 < status.st_size:
            return _Outcome(status=Status.SPARSE, flags=_flags(fd), xattrs=_xattrs(fd))
    try:
        length, more = _read_content(fd, room)
    except OSError:
        if stat.S_ISREG(os.fstat(fd).st_mode):
            raise
        return _Outcome(status=Status.NOT_REGULAR)
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        return _Outcome(status=Status.NOT_REGULAR)
    flags, xattrs = _flags(fd), _xattrs(fd)
    same = (
        length == size
        and not more
        and status.st_ino == entry[0]
        and status.st_size == size
        and divmod(status.st_mtime_ns, NANOSECONDS) == (entry[3], entry[5])
        and divmod(status.st_ctime_ns, NANOSECONDS) == (entry[4], entry[6])
        and status.st_mode == entry[7]
    )
    return _Outcome(status=Status.OK if same else Status.CHANGED, length=length, flags=flags, xattrs=xattrs)


def _read_content(fd: int, room: memoryview) -> tuple[int, bool]:
    """How much of `room` was filled, and whether the file has more than that."""
    probe = bytearray(1)
    length = 0
    while True:
        got = os.preadv(fd, [room[length:], probe], length)
        if got > len(room) - length:
            return len(room), True
        length += got
        if got == 0 or length == len(room):
            return length, False


_FS_IOC_GETFLAGS = (2 << 30) | (ctypes.sizeof(ctypes.c_long) << 16) | (ord("f") << 8) | 1
_UNSUPPORTED = (
    errno.ENOTTY,
    errno.EOPNOTSUPP,
    errno.EINVAL,
    errno.EPERM,
    errno.EACCES,
    errno.ENOSYS,
)


def _flags(fd: int) -> int:
    """The inode flags of an open file, 0 where its file system has none; ioctl_iflags(2)."""
    try:
        answer: bytes = fcntl.ioctl(fd, _FS_IOC_GETFLAGS, bytes(8))
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            return 0
        raise
    return int.from_bytes(answer[:4], "little")


def _xattrs(fd: int) -> int:
    """The size in bytes of the list of extended attributes of an open file; listxattr(2)."""
    try:
        return sum(len(os.fsencode(name)) + 1 for name in os.listxattr(fd))
    except OSError as error:
        if error.errno == errno.E2BIG:
            return LARGEST_XATTR_LIST
        if error.errno in _UNSUPPORTED:
            return 0
        raise


# --- write_files


def write_files(
    fd: int,
    names: ReadableBuffer,
    specs: ReadableBuffer,
    segments: ReadableBuffer,
    buffers: Sequence[ReadableBuffer],
) -> bytes:
    """One WRITTEN for each name: the step that failed first and its errno, both 0 where all went well.

    Each file is created anew in the directory open as `fd`, never through a link and never over anything: content, then
    owner, then mode, then modification time (the access time is left to the kernel). `specs` are WRITE records, whose
    segments are taken from `segments` (SEGMENT records), which point into `buffers`.

    Where OPEN, WRITE or CLOSE fails, no file of ours is left; these outrank the others, for content is missing. Where
    CHOWN, CHMOD or TIMES fails the file stays, and the later steps are done nevertheless; but without the owner they
    were meant for, set-user-id and set-group-id bits are not set.
    ValueError, before any file is touched, for anything out of range and for names that are no plain names.
    """
    fd = open_directory(fd)
    listed = split_names(names)
    views = [view(buffer) for buffer in buffers]
    parts = _segments(view(segments), views)
    plans = _specs(view(specs), files=len(listed), segments=len(parts))
    written = bytearray()
    for name, spec in zip(listed, plans, strict=True):
        content = parts[spec.first : spec.first + spec.count]
        written += WRITTEN.pack(*_write_one(fd, name, spec, content))
    return bytes(written)


@dataclass(frozen=True, slots=True)
class _Spec:
    """A WRITE record, in its order."""

    mtime_s: int
    mtime_ns: int
    mode: int
    uid: int
    gid: int
    first: int
    count: int


def _segments(records: memoryview, views: list[memoryview]) -> list[memoryview]:
    if len(records) % SEGMENT.size:
        raise ValueError("segments must hold whole SEGMENT records")
    parts: list[memoryview] = []
    for index, offset, length in SEGMENT.iter_unpack(records):
        if index >= len(views):
            raise ValueError(f"segment {len(parts)} names a buffer that is not there")
        if offset + length > len(views[index]):
            raise ValueError(f"segment {len(parts)} reaches beyond its buffer")
        parts.append(views[index][offset : offset + length])
    return parts


def _specs(records: memoryview, *, files: int, segments: int) -> list[_Spec]:
    if len(records) != files * WRITE.size:
        raise ValueError("specs must hold one WRITE for each name")
    specs = [_Spec(*fields) for fields in WRITE.iter_unpack(records)]
    for i, spec in enumerate(specs):
        if spec.mtime_ns >= NANOSECONDS:
            raise ValueError(f"file {i} has more than 999999999 nanoseconds")
        if spec.mode > 0o7777:
            raise ValueError(f"file {i} has mode bits beyond 07777")
        if spec.first + spec.count > segments:
            raise ValueError(f"file {i} names segments that are not there")
    return specs


def _write_one(directory: int, name: bytes, spec: _Spec, content: list[memoryview]) -> tuple[int, int]:
    """The failed step and its errno."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(name, flags, 0o600, dir_fd=directory)
    except OSError as error:
        return Step.OPEN, error.errno or errno.EIO
    failures: list[tuple[int, int]] = []
    try:
        _write_content(fd, content)
    except OSError as error:
        failures.append((Step.WRITE, error.errno or errno.EIO))
    else:
        failures += _set_metadata(fd, spec)
    try:
        os.close(fd)
    except OSError as error:
        # Linux frees the descriptor whatever close says; network file systems report lost writes here.
        if error.errno != errno.EINTR and not (failures and failures[0][0] == Step.WRITE):
            failures.insert(0, (Step.CLOSE, error.errno or errno.EIO))
    if not failures:
        return Step.DONE, 0
    if failures[0][0] in (Step.WRITE, Step.CLOSE):
        with contextlib.suppress(OSError):  # the failure reported is the one that counts
            os.unlink(name, dir_fd=directory)
    return failures[0]


def _write_content(fd: int, content: list[memoryview]) -> None:
    at = 0
    for part in content:
        rest = part
        while rest:
            count = os.pwrite(fd, rest, at)
            if count == 0:
                raise OSError(errno.EIO, "the file takes no more bytes")
            at += count
            rest = rest[count:]


def _set_metadata(fd: int, spec: _Spec) -> list[tuple[int, int]]:
    """What failed of owner, mode and time, in that order."""
    failures: list[tuple[int, int]] = []
    mode = spec.mode
    if (spec.uid, spec.gid) != (KEEP_ID, KEEP_ID):
        try:
            os.fchown(fd, *(-1 if number == KEEP_ID else number for number in (spec.uid, spec.gid)))
        except OSError as error:
            failures.append((Step.CHOWN, error.errno or errno.EIO))
            # Set-id bits were meant for that owner; for any other they would hand out rights nobody gave.
            mode &= ~(stat.S_ISUID | stat.S_ISGID)
    try:
        os.fchmod(fd, mode)
    except OSError as error:
        failures.append((Step.CHMOD, error.errno or errno.EIO))
    try:
        set_mtime(fd, spec.mtime_s, spec.mtime_ns)
    except OSError as error:
        failures.append((Step.TIMES, error.errno or errno.EIO))
    return failures
