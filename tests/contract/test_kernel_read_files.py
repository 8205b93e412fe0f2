"""read_files, of both kernels: contents, and everything that can happen to a file between scan and read."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import random
import signal
import socket
import stat
from typing import TYPE_CHECKING, NamedTuple

import pytest

from snapstore import kernel
from snapstore.kernel import ENTRY, RESULT, Kernel, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

FS_IOC_GETFLAGS = 0x80086601
FS_IOC_SETFLAGS = 0x40086602
NODUMP = 0x40
NOBODY = 65534


class Result(NamedTuple):
    offset: int
    length: int
    status: int
    error: int
    flags: int
    xattrs: int


class Files:
    """A real directory, scanned before whatever a test then does to it."""

    def __init__(self, chosen: Kernel, path: bytes) -> None:
        self.kernel = chosen
        self.path = path
        self.fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        self.names = self.records = b""

    def at(self, name: bytes) -> bytes:
        return os.path.join(self.path, name)

    def put(self, name: bytes, content: bytes) -> None:
        fd = os.open(name, os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=self.fd)
        assert os.write(fd, content) == len(content)
        os.close(fd)

    def scan(self) -> None:
        self.names, self.records, _, _ = self.kernel.scan_directory(self.fd)

    def read(self, buffer: bytearray | memoryview, offset: int = 0) -> list[Result]:
        results = self.kernel.read_files(self.fd, self.names, self.records, buffer, offset)
        return [Result(*fields) for fields in RESULT.iter_unpack(results)]

    def read_one(self, room: int = 100_000) -> tuple[Result, bytes]:
        buffer = bytearray(room)
        (result,) = self.read(buffer)
        return result, bytes(buffer[result.offset : result.offset + result.length])


@pytest.fixture(params=["native", "reference"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Files]:
    made = Files(kernel.load(request.param), bytes(tmp_path))
    yield made
    os.close(made.fd)


@contextlib.contextmanager
def without_root() -> Iterator[None]:
    before = os.geteuid()
    if before == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(before)


def set_nodump(path: bytes) -> None:
    """What `chattr +d` does; skips where the file system has no such thing."""
    fd = os.open(path, os.O_RDONLY)
    try:
        flags: bytes = fcntl.ioctl(fd, FS_IOC_GETFLAGS, bytes(8))
        fcntl.ioctl(fd, FS_IOC_SETFLAGS, bytes([flags[0] | NODUMP]) + flags[1:])
    except OSError as error:
        if error.errno not in (errno.ENOTTY, errno.EOPNOTSUPP):
            raise
        pytest.skip("the file system of the temporary directory has no inode flags")
    finally:
        os.close(fd)


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_contents_lie_back_to_back_from_the_offset_on(files: Files) -> None:
    contents = {b"a": b"first", b"b": b"", b"c": b"third!", b"line\nbreak": b"\0\xff", b"\xff" * 255: b"last"}
    for name, content in contents.items():
        files.put(name, content)
    files.scan()
    buffer = bytearray(b"." * 30)
    results = files.read(buffer, 3)
    assert [(result.offset, result.length) for result in results] == [(3, 5), (8, 0), (8, 6), (14, 2), (16, 4)]
    assert {(result.status, result.error, result.flags & ~kernel.CHATTR_FLAGS) for result in results} == {(0, 0, 0)}
    assert buffer == b"...first" + b"third!" + b"\0\xff" + b"last" + b"." * 10


def test_no_names_no_results(files: Files) -> None:
    assert files.read(bytearray()) == []


def test_it_stops_before_the_first_file_without_room(files: Files) -> None:
    for name, size in ((b"a", 10), (b"b", 10), (b"c", 1), (b"d", 10)):
        files.put(name, name * size)
    files.scan()
    assert len(files.read(bytearray(31))) == 4
    assert len(files.read(bytearray(30))) == 3
    assert len(files.read(bytearray(21), 0)) == 3
    assert len(files.read(bytearray(20))) == 2
    assert len(files.read(bytearray(19))) == 1
    assert files.read(bytearray(9)) == []
    assert files.read(bytearray(100), 100) == []


def test_an_exactly_full_buffer_needs_no_room_for_the_probe(files: Files) -> None:
    files.put(b"a", b"x" * 4096)
    files.scan()
    room = bytearray(b"." * 4100)
    (result,) = files.read(memoryview(room)[:4096])
    assert (result.status, result.length) == (Status.OK, 4096)
    assert room == b"x" * 4096 + b"...."


@pytest.mark.parametrize("size", [65535, 65536, 65537, 3_000_000])
def test_large_files(files: Files, size: int) -> None:
    content = random.Random(size).randbytes(size)
    files.put(b"large", content)
    files.scan()
    assert files.read_one(size) == (Result(0, size, Status.OK, 0, *files.read_one(size)[0][4:]), content)


def test_a_file_that_vanished(files: Files) -> None:
    files.put(b"gone", b"content")
    files.scan()
    os.unlink(files.at(b"gone"))
    assert files.read_one() == (Result(0, 0, Status.ERROR, errno.ENOENT, 0, 0), b"")


def grow(path: bytes) -> None:
    with open(path, "ab") as file:
        file.write(b"and more")


def shrink(path: bytes) -> None:
    os.truncate(path, 3)


def rewrite(path: bytes) -> None:
    with open(path, "r+b") as file:
        file.write(b"OTHER")
    os.utime(path, ns=(0, 1))


def replace(path: bytes) -> None:
    with open(path + b".new", "wb") as file:
        file.write(b"OTHER")
    os.rename(path + b".new", path)


def change_mode(path: bytes) -> None:
    os.chmod(path, 0o640)


def touch(path: bytes) -> None:
    os.utime(path, ns=(0, 1))


@pytest.mark.parametrize(
    ("change", "content"),
    [
        (grow, b"right"),
        (shrink, b"rig"),
        (rewrite, b"OTHER"),
        (replace, b"OTHER"),
        (change_mode, b"right"),
        (touch, b"right"),
    ],
)
def test_a_file_that_changed_is_said_to_have(files: Files, change: Callable[[bytes], None], content: bytes) -> None:
    files.put(b"file", b"right")
    files.scan()
    change(files.at(b"file"))
    result, found = files.read_one()
    assert (result.status, result.error, found) == (Status.CHANGED, 0, content)


@pytest.mark.parametrize("field", [0, 3, 4, 5, 6, 7])
def test_every_field_that_is_compared_counts(files: Files, field: int) -> None:
    files.put(b"file", b"content")
    files.scan()
    entry = list(ENTRY.unpack(files.records))
    entry[field] ^= 1
    files.records = ENTRY.pack(*entry)
    result, content = files.read_one()
    assert (result.status, content) == (Status.CHANGED, b"content")


def test_a_large_file_that_grew_keeps_to_its_room(files: Files) -> None:
    files.put(b"a", b"a" * 70_000)
    files.put(b"b", b"b" * 10)
    files.scan()
    with open(files.at(b"a"), "ab") as file:
        file.write(b"A" * 500_000)
    buffer = bytearray(70_010)
    results = files.read(buffer)
    assert [(result.offset, result.length, result.status) for result in results] == [
        (0, 70_000, Status.CHANGED),
        (70_000, 10, Status.OK),
    ]
    assert buffer == b"a" * 70_000 + b"b" * 10


def test_the_next_file_follows_one_that_shrank(files: Files) -> None:
    files.put(b"a", b"a" * 100)
    files.put(b"b", b"b" * 10)
    files.scan()
    os.truncate(files.at(b"a"), 40)
    buffer = bytearray(200)
    assert [(result.offset, result.length) for result in files.read(buffer)] == [(0, 40), (40, 10)]
    assert buffer[:50] == b"a" * 40 + b"b" * 10


def test_a_file_that_became_a_symlink_is_not_followed(files: Files) -> None:
    files.put(b"file", b"content")
    files.scan()
    os.unlink(files.at(b"file"))
    os.symlink(b"/etc/passwd", files.at(b"file"))
    assert files.read_one() == (Result(0, 0, Status.ERROR, errno.ELOOP, 0, 0), b"")


@pytest.mark.parametrize("size", [0, 7, 70_000])
def test_a_file_that_became_a_fifo_neither_blocks_nor_loses_a_byte(files: Files, size: int) -> None:
    files.put(b"file", b"x" * size)
    files.scan()
    os.unlink(files.at(b"file"))
    os.mkfifo(files.at(b"file"))
    assert files.read_one() == (Result(0, 0, Status.NOT_REGULAR, 0, 0, 0), b"")
    both_ends = os.open(files.at(b"file"), os.O_RDWR | os.O_NONBLOCK)
    os.write(both_ends, b"waiting")
    assert files.read_one()[0].status == Status.NOT_REGULAR
    assert os.read(both_ends, 100) == b"waiting"
    os.close(both_ends)


@pytest.mark.parametrize("size", [0, 7, 70_000])
def test_a_file_that_became_a_directory_or_a_socket(files: Files, size: int) -> None:
    files.put(b"dir", b"x" * size)
    files.put(b"socket", b"content")
    files.scan()
    os.unlink(files.at(b"dir"))
    os.mkdir(files.at(b"dir"))
    os.unlink(files.at(b"socket"))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"/proc/self/fd/{files.fd}/socket")
        results = files.read(bytearray(100_000))
    assert results == [Result(0, 0, Status.NOT_REGULAR, 0, 0, 0)] * 2


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make devices")
@pytest.mark.parametrize("size", [0, 7, 70_000])
def test_a_file_that_became_a_device_has_no_content(files: Files, size: int) -> None:
    files.put(b"file", b"x" * size)
    files.scan()
    os.unlink(files.at(b"file"))
    os.mknod(files.at(b"file"), stat.S_IFCHR | 0o600, os.makedev(1, 5))  # /dev/zero, which would give any amount
    assert files.read_one() == (Result(0, 0, Status.NOT_REGULAR, 0, 0, 0), b"")


def test_what_was_no_file_when_scanned_is_not_opened(files: Files) -> None:
    os.mkfifo(files.at(b"fifo"))
    os.symlink(b"fifo", files.at(b"link"))
    os.mkdir(files.at(b"dir"))
    files.scan()
    results = files.read(bytearray(100))
    assert [result.status for result in results] == [Status.NOT_REGULAR] * 3


def test_an_unreadable_file_and_one_of_another_owner(files: Files) -> None:
    files.put(b"closed", b"secret")
    files.put(b"open", b"public")
    os.chmod(files.path, 0o755)
    os.chmod(files.at(b"closed"), 0o000)
    os.chmod(files.at(b"open"), 0o644)
    files.scan()
    buffer = bytearray(100)
    with without_root():
        closed, public = files.read(buffer)
    assert closed == Result(0, 0, Status.ERROR, errno.EACCES, 0, 0)
    assert public.status == Status.OK
    assert buffer[:6] == b"public"


def test_the_access_time_is_left_alone(files: Files) -> None:
    files.put(b"file", b"content")
    os.utime(files.at(b"file"), ns=(5, 10**18))
    files.scan()
    assert files.read_one()[0].status == Status.OK
    assert os.stat(files.at(b"file")).st_atime_ns == 5


@pytest.mark.parametrize(("size", "status"), [(65_535, Status.OK), (65_536, Status.SPARSE), (1 << 20, Status.SPARSE)])
def test_holes_are_seen_from_64_kib_on(files: Files, size: int, status: Status) -> None:
    files.put(b"holes", b"start")
    os.truncate(files.at(b"holes"), size)
    files.scan()
    buffer = bytearray(b"." * size)
    (result,) = files.read(buffer)
    assert (result.status, result.error, result.length) == (status, 0, size if status == Status.OK else 0)
    assert buffer == (b"start" + bytes(size - 5) if status == Status.OK else b"." * size)


def test_a_file_too_large_for_any_buffer_gives_no_result(files: Files) -> None:
    files.put(b"huge", b"")
    os.truncate(files.at(b"huge"), 1 << 40)
    files.scan()
    assert files.read(bytearray(100)) == []


def test_flags_are_those_that_chattr_sets(files: Files) -> None:
    files.put(b"file", b"content")
    set_nodump(files.at(b"file"))
    files.scan()
    result, _ = files.read_one()
    assert (result.status, result.flags) == (Status.OK, NODUMP)


def test_the_size_of_the_list_of_extended_attributes(files: Files) -> None:
    files.put(b"file", b"content")
    try:
        os.setxattr(files.at(b"file"), b"user.one", b"1")
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        pytest.skip("the file system of the temporary directory has no extended attributes")
    os.setxattr(files.at(b"file"), "user.zwölf", b"12")
    files.scan()
    result, _ = files.read_one()
    listed = os.listxattr(files.at(b"file"))
    assert result.xattrs == sum(len(os.fsencode(name)) + 1 for name in listed) >= len(b"user.one\0user.zw\xc3\xb6lf\0")


def test_a_file_with_more_than_it_says_has_changed_though_no_field_did(files: Files) -> None:
    with contextlib.ExitStack() as stack:
        stack.enter_context(open("/proc/self/limits", "rb"))  # keeps the inode, and with it the times
        fd = os.open("/proc/self", os.O_RDONLY | os.O_DIRECTORY)
        stack.callback(os.close, fd)
        names, records, _, _ = files.kernel.scan_directory(fd)
        index = names.split(b"\0").index(b"limits")
        entry = records[index * ENTRY.size : (index + 1) * ENTRY.size]
        assert ENTRY.unpack(entry)[1] == 0
        packed = files.kernel.read_files(fd, b"limits\0", entry, bytearray(10), 0)
    result = Result(*RESULT.unpack(packed))
    assert (result.status, result.length, result.error) == (Status.CHANGED, 0, 0)


def test_thousands_of_files_and_no_descriptor_is_left_open(files: Files) -> None:
    for i in range(3000):
        files.put(b"%04d" % i, b"%d" % i)
    os.mkfifo(files.at(b"9999"))
    files.scan()
    os.unlink(files.at(b"0007"))
    before = open_descriptors()
    buffer = bytearray(20_000)
    results = files.read(buffer)
    assert open_descriptors() == before
    assert len(results) == 3001
    for i, result in enumerate(results[:3000]):
        expected = b"" if i == 7 else b"%d" % i
        assert buffer[result.offset : result.offset + result.length] == expected


def test_signals_do_not_disturb_a_long_read(files: Files) -> None:
    content = random.Random(5).randbytes(1 << 20) * 24
    files.put(b"large", content)
    for i in range(500):
        files.put(b"small-%03d" % i, b"%d" % i)
    files.scan()
    seen: list[int] = []
    buffer = bytearray(len(content) + 5000)
    before = signal.signal(signal.SIGALRM, lambda number, _: seen.append(number))
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        for _ in range(5):
            results = files.read(buffer)
            assert {(result.status, result.error) for result in results} == {(Status.OK, 0)}
            assert len(results) == 501
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert seen
    assert buffer[: len(content)] == content


def test_wrong_arguments_are_refused(files: Files) -> None:
    files.put(b"file", b"content")
    files.scan()
    read, fd, names, records = files.kernel.read_files, files.fd, files.names, files.records
    room = bytearray(100)
    for wrong in (records[:-1], records * 2, b""):
        with pytest.raises(ValueError, match="expected"):
            read(fd, names, wrong, room, 0)
    for offset in (-1, 101, 1 << 70):
        with pytest.raises(ValueError, match="offset"):
            read(fd, names, records, room, offset)
    for wrong in (b"file", b"\0", b"..\0", b".\0", b"a/b\0", b"/file\0"):
        with pytest.raises(ValueError, match="name"):
            read(fd, wrong, records, room, 0)
    with pytest.raises(BufferError):
        read(fd, names, records, b"read-only", 0)
    with pytest.raises(BufferError):
        read(fd, names, records, memoryview(room)[::2], 0)
    with pytest.raises(TypeError):
        read(fd, "file\0", records, room, 0)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        read(fd, names, records, room, 0.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="fd"):
        read(-1, names, records, room, 0)
    room.append(0)  # no view of it is held any more


def test_a_closed_descriptor_is_refused(files: Files) -> None:
    closed = os.dup(files.fd)
    os.close(closed)
    with pytest.raises(OSError, match="Bad file descriptor"):
        files.kernel.read_files(closed, b"", b"", bytearray(), 0)
