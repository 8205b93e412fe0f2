"""scan_directory, of both kernels, on real directories with everything that can lie in one."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
import threading
from typing import TYPE_CHECKING

import pytest

from snapstore import kernel
from snapstore.kernel import ENTRY, Kernel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FS_IOC_GETFLAGS = 0x80086601
FS_IOC_SETFLAGS = 0x40086602
NODUMP = 0x40
NOBODY = 65534
Scanned = tuple[list[bytes], list[tuple[int, ...]], tuple[int, ...], int]


@pytest.fixture(params=["native", "reference"])
def chosen(request: pytest.FixtureRequest) -> Kernel:
    name: str = request.param
    return kernel.load(name)


@contextlib.contextmanager
def opened(path: str | bytes) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def without_root() -> Iterator[None]:
    """Whoever runs the tests, but never root."""
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


def scan(chosen: Kernel, path: str | bytes) -> Scanned:
    with opened(path) as fd:
        names, records, devices, newest = chosen.scan_directory(fd)
    assert names == b"" or names.endswith(b"\0")
    split = names.split(b"\0")[:-1]
    entries = list(ENTRY.iter_unpack(records))
    assert len(split) == len(entries)
    return split, entries, devices, newest


def create(path: bytes, content: bytes = b"") -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    os.write(fd, content)
    os.close(fd)


def check_against_lstat(path: bytes, scanned: Scanned) -> None:
    names, entries, devices, newest = scanned
    assert devices[0] == os.stat(path).st_dev
    assert len(set(devices)) == len(devices)
    times = []
    for name, entry in zip(names, entries, strict=True):
        status = os.lstat(os.path.join(path, name))
        directory = stat.S_ISDIR(status.st_mode)
        assert entry == (
            status.st_ino,
            0 if directory else status.st_size,
            status.st_rdev,
            status.st_mtime_ns // 10**9,
            status.st_ctime_ns // 10**9,
            status.st_mtime_ns % 10**9,
            status.st_ctime_ns % 10**9,
            status.st_mode,
            status.st_uid,
            status.st_gid,
            0 if directory else status.st_nlink,
            devices.index(status.st_dev),
            entry[12],
            0,
            0,
        )
        times += [status.st_mtime_ns, status.st_ctime_ns]
    assert newest == max(times, default=0)


def test_an_empty_directory(chosen: Kernel, tmp_path: Path) -> None:
    assert scan(chosen, bytes(tmp_path)) == ([], [], (os.stat(tmp_path).st_dev,), 0)


def test_every_kind_of_entry(chosen: Kernel, tmp_path: Path) -> None:
    path = bytes(tmp_path)
    create(path + b"/file", b"content")
    os.chmod(path + b"/file", 0o6751)
    os.link(path + b"/file", path + b"/hardlink")
    os.mkdir(path + b"/dir", 0o1777)
    os.symlink(b"/nowhere/at/all", path + b"/symlink")
    os.symlink(b"dir", path + b"/symlink-to-dir")
    os.mkfifo(path + b"/fifo")
    with socket.socket(socket.AF_UNIX) as listener, opened(path) as fd:
        listener.bind(f"/proc/self/fd/{fd}/socket")
        os.utime(path + b"/file", ns=(0, 1_234_567_890_123_456_789))
        os.utime(path + b"/dir", ns=(0, -5_000_000_001))
        scanned = scan(chosen, path)
    assert scanned[0] == [b"dir", b"fifo", b"file", b"hardlink", b"socket", b"symlink", b"symlink-to-dir"]
    check_against_lstat(path, scanned)
    assert scanned[1][0][3:6:2] == (-6, 999_999_999)
    assert scanned[1][2][10] == 2


@pytest.mark.parametrize("path", [b"/dev", b"/", b"/etc"])
def test_what_the_machine_has(chosen: Kernel, path: bytes) -> None:
    scanned = scan(chosen, path)
    assert scanned[0]
    check_against_lstat(path, scanned)


def test_mount_points_have_a_device_of_their_own(chosen: Kernel) -> None:
    names, entries, devices, _ = scan(chosen, b"/")
    device = dict(zip(names, (entry[11] for entry in entries), strict=True))
    assert device[b"proc"] > 0
    assert devices[device[b"proc"]] == os.stat("/proc").st_dev
    assert list(dict.fromkeys([0, *device.values()])) == list(range(len(devices)))


def test_names_of_any_bytes_sorted_as_bytes(chosen: Kernel, tmp_path: Path) -> None:
    names = [bytes([i]) for i in range(1, 256) if bytes([i]) not in (b"/", b".")] + [
        b"a" * 255,
        b"a" * 254,
        b"line\nbreak",
        b"-rf",
        b"\xff\xfe",
        b"...",
        b"abcdefgh",
        b"abcdefgh\x01",
        b"abcdefg",
        b"\xc3\xa9",
    ]
    for name in names:
        create(bytes(tmp_path) + b"/" + name)
    found, entries, _, _ = scan(chosen, bytes(tmp_path))
    assert found == sorted(names)
    assert len({entry[0] for entry in entries}) == len(names)


def test_the_read_offset_of_the_descriptor_does_not_matter(chosen: Kernel, tmp_path: Path) -> None:
    for i in range(50):
        create(bytes(tmp_path) + b"/%d" % i)
    with opened(bytes(tmp_path)) as fd:
        first = chosen.scan_directory(fd)
        assert chosen.scan_directory(fd) == first
        os.listdir(fd)
        assert chosen.scan_directory(fd) == first


def test_seventy_thousand_entries(chosen: Kernel, tmp_path: Path) -> None:
    path = bytes(tmp_path)
    with opened(path) as fd:
        for i in range(70_000):
            os.symlink(b"x", b"%x" % (i * 2654435761 % 2**32), dir_fd=fd)
    names, entries, _, _ = scan(chosen, path)
    assert len(names) == 70_000
    assert names == sorted(names)
    assert all(entry[1] == 1 and stat.S_ISLNK(entry[7]) for entry in entries)


def test_entries_that_cannot_be_examined_carry_the_errno(chosen: Kernel, tmp_path: Path) -> None:
    path = bytes(tmp_path / "closed")
    os.mkdir(path)
    create(path + b"/a")
    create(path + b"/b")
    with opened(path) as fd:
        os.chmod(path, 0o644 if os.geteuid() == 0 else 0o600)
        with without_root():
            names, records, devices, newest = chosen.scan_directory(fd)
        os.chmod(path, 0o700)
    blank = (*[0] * 13, errno.EACCES, 0)
    assert names == b"a\0b\0"
    assert list(ENTRY.iter_unpack(records)) == [blank, blank]
    assert devices == (os.stat(path).st_dev,)
    assert newest == 0


def test_a_flag_set_by_chattr_shows(chosen: Kernel, tmp_path: Path) -> None:
    path = bytes(tmp_path)
    create(path + b"/plain")
    create(path + b"/nodump")
    set_nodump(path + b"/nodump")
    names, entries, _, _ = scan(chosen, path)
    assert [(name, entry[12]) for name, entry in zip(names, entries, strict=True)] == [
        (b"nodump", NODUMP),
        (b"plain", 0),
    ]


def test_a_directory_that_changes_meanwhile_gives_whole_sorted_records(chosen: Kernel, tmp_path: Path) -> None:
    path = bytes(tmp_path)
    for i in range(300):
        create(path + b"/stays-%03d" % i)
    stop = threading.Event()

    def churn() -> None:
        i = 0
        while not stop.is_set():
            name = path + b"/goes-%d" % (i % 40)
            create(name)
            os.rename(name, name + b"-renamed")
            os.unlink(name + b"-renamed")
            i += 1

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(60):
            names, entries, _, _ = scan(chosen, path)
            assert names == sorted(set(names))
            assert [name for name in names if name.startswith(b"stays")] == [b"stays-%03d" % i for i in range(300)]
            assert all(entry[13] == 0 and stat.S_ISREG(entry[7]) for entry in entries)
    finally:
        stop.set()
        thread.join()


def test_descriptors_that_are_no_open_directory_are_refused(chosen: Kernel, tmp_path: Path) -> None:
    path = bytes(tmp_path)
    create(path + b"/file")
    with open(path + b"/file", "rb") as file, pytest.raises(NotADirectoryError):
        chosen.scan_directory(file.fileno())
    reading, writing = os.pipe()
    with pytest.raises(NotADirectoryError):
        chosen.scan_directory(reading)
    os.close(reading)
    os.close(writing)
    with pytest.raises(OSError, match="Bad file descriptor"):
        chosen.scan_directory(reading)
    only_path = os.open(path, os.O_PATH)
    with pytest.raises(OSError, match="Bad file descriptor"):
        chosen.scan_directory(only_path)
    os.close(only_path)
    for bad in (-1, 1 << 31, -(1 << 70), 1 << 70):
        with pytest.raises(ValueError, match="fd"):
            chosen.scan_directory(bad)
    with pytest.raises(TypeError):
        chosen.scan_directory("directory")  # type: ignore[arg-type]


def test_a_directory_that_was_removed_is_empty(chosen: Kernel, tmp_path: Path) -> None:
    path = bytes(tmp_path / "gone")
    os.mkdir(path)
    with opened(path) as fd:
        device = os.fstat(fd).st_dev
        os.rmdir(path)
        assert chosen.scan_directory(fd) == (b"", b"", (device,), 0)
