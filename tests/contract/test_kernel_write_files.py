"""write_files, of both kernels: contents out of segments, metadata, and what is left after every kind of failure."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import random
import resource
import stat
import time
from typing import TYPE_CHECKING, NamedTuple

import pytest

from snapstore import kernel
from snapstore.kernel import KEEP_ID, SEGMENT, WRITE, WRITTEN, Kernel, Step

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from _typeshed import ReadableBuffer

NOBODY = 65534
DONE = (Step.DONE, 0)


class File(NamedTuple):
    """A file to write; parts are (buffer, offset, length)."""

    name: bytes
    parts: Sequence[tuple[int, int, int]] = ()
    mode: int = 0o644
    uid: int = KEEP_ID
    gid: int = KEEP_ID
    mtime: tuple[int, int] = (0, 0)


class Place:
    """A real directory to write into."""

    def __init__(self, chosen: Kernel, path: bytes) -> None:
        self.kernel = chosen
        self.path = path
        self.fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)

    def write(self, files: Sequence[File], buffers: Sequence[ReadableBuffer] = ()) -> list[tuple[int, int]]:
        names, specs, segments = bytearray(), bytearray(), bytearray()
        count = 0
        for file in files:
            names += file.name + b"\0"
            specs += WRITE.pack(*file.mtime, file.mode, file.uid, file.gid, count, len(file.parts))
            segments += b"".join(SEGMENT.pack(*part) for part in file.parts)
            count += len(file.parts)
        written = self.kernel.write_files(self.fd, names, specs, segments, buffers)
        return [(step, error) for step, error in WRITTEN.iter_unpack(written)]

    def content(self, name: bytes) -> bytes:
        with open(os.path.join(self.path, name), "rb") as file:
            return file.read()

    def stat(self, name: bytes) -> os.stat_result:
        return os.stat(name, dir_fd=self.fd, follow_symlinks=False)


@pytest.fixture(params=["native", "reference"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    made = Place(kernel.load(request.param), bytes(tmp_path))
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


@contextlib.contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_no_names_nothing_written(place: Place) -> None:
    assert place.write([]) == []
    assert os.listdir(place.path) == []


def test_contents_are_put_together_from_segments(place: Place) -> None:
    one, two = b"0123456789", bytearray(b"abcdef")
    files = [
        File(b"empty"),
        File(b"whole", [(0, 0, 10)]),
        File(b"mixed", [(1, 2, 3), (0, 9, 1), (0, 5, 0), (1, 0, 6), (0, 0, 2)]),
        File(b"nothing", [(0, 10, 0), (1, 6, 0)]),
        File(b"\xff\n" + b"n" * 253, [(1, 0, 1)]),
    ]
    assert place.write(files, [one, two]) == [DONE] * 5
    assert place.content(b"empty") == b""
    assert place.content(b"whole") == b"0123456789"
    assert place.content(b"mixed") == b"cde9abcdef01"
    assert place.content(b"nothing") == b""
    assert place.content(b"\xff\n" + b"n" * 253) == b"a"
    two.append(0)  # no view of it is held any more


@pytest.mark.parametrize("count", [63, 64, 65, 128, 1500])
def test_more_segments_than_one_system_call_takes(place: Place, count: int) -> None:
    rng = random.Random(count)
    data = rng.randbytes(5000)
    parts = [(0, start, rng.choice([0, 1, 7, 5000 - start])) for start in (rng.randrange(5000) for _ in range(count))]
    assert place.write([File(b"file", parts)], [data]) == [DONE]
    assert place.content(b"file") == b"".join(data[start : start + length] for _, start, length in parts)


def test_buffers_of_every_kind(place: Place) -> None:
    with mmap.mmap(-1, 8192) as mapped:
        mapped.write(b"mapped")
        buffers = (b"bytes", bytearray(b"bytearray"), memoryview(b"..view..")[2:6], mapped)
        parts = [(0, 0, 5), (1, 0, 9), (2, 0, 4), (3, 0, 8192)]
        assert place.write([File(b"file", parts)], buffers) == [DONE]
    assert place.content(b"file") == b"bytesbytearrayviewmapped" + bytes(8186)


@pytest.mark.parametrize("mode", [0o000, 0o400, 0o777, 0o1644, 0o2755, 0o4711, 0o7777])
def test_the_mode_is_exact_whatever_the_umask(place: Place, mode: int) -> None:
    before = os.umask(0o077)
    try:
        assert place.write([File(b"file", mode=mode, uid=os.geteuid(), gid=os.getegid())]) == [DONE]
    finally:
        os.umask(before)
    assert stat.S_IMODE(place.stat(b"file").st_mode) == mode
    assert stat.S_ISREG(place.stat(b"file").st_mode)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_owner_and_group_each_may_be_kept(place: Place) -> None:
    owners = [(1234, 2345), (KEEP_ID, 2345), (1234, KEEP_ID), (KEEP_ID, KEEP_ID), (0xFFFFFFFE, 0)]
    files = [File(b"%d" % i, mode=0o6755, uid=uid, gid=gid) for i, (uid, gid) in enumerate(owners)]
    assert place.write(files) == [DONE] * 5
    found = [place.stat(b"%d" % i) for i in range(5)]
    assert [(status.st_uid, status.st_gid) for status in found] == [
        (1234, 2345),
        (0, 2345),
        (1234, 0),
        (0, 0),
        (0xFFFFFFFE, 0),
    ]
    assert {stat.S_IMODE(status.st_mode) for status in found} == {0o6755}


@pytest.mark.parametrize("mtime", [(0, 0), (1_700_000_000, 999_999_999), (-3, 5), (-(2**31), 0), (2**33, 1)])
def test_modification_times_to_the_nanosecond(place: Place, mtime: tuple[int, int]) -> None:
    start = time.time_ns() - 2 * 10**9
    assert place.write([File(b"file", [(0, 0, 4)], mode=0o600, mtime=mtime)], [b"data"]) == [DONE]
    status = place.stat(b"file")
    assert divmod(status.st_mtime_ns, 10**9) == mtime
    assert status.st_atime_ns > start


def test_what_exists_is_never_touched(place: Place) -> None:
    target = os.path.join(place.path, b"target")
    with open(target, "wb") as file:
        file.write(b"precious")
    os.symlink(b"target", os.path.join(place.path, b"link"))
    os.symlink(b"nowhere", os.path.join(place.path, b"dangling"))
    os.mkdir(os.path.join(place.path, b"dir"))
    names = [b"target", b"link", b"dangling", b"dir"]
    written = place.write([File(name, [(0, 0, 3)]) for name in [*names, b"new"]], [b"new"])
    assert written == [(Step.OPEN, errno.EEXIST)] * 4 + [DONE]
    assert place.content(b"target") == b"precious"
    assert sorted(os.listdir(place.path)) == sorted([*names, b"new"])


def test_a_name_too_long_is_its_own_trouble_only(place: Place) -> None:
    written = place.write([File(b"n" * 256), File(b"n" * 255)])
    assert written == [(Step.OPEN, errno.ENAMETOOLONG), DONE]


def test_a_file_that_cannot_be_written_completely_is_not_left(place: Place) -> None:
    data = bytes(range(256)) * 40
    files = [
        File(b"fits", [(0, 0, 5000)]),
        File(b"too-large", [(0, 0, 4000), (0, 0, 4000), (0, 100, 10)]),
        File(b"fits-too", [(0, 0, 4999), (0, 7, 1)]),
    ]
    with files_of_at_most(5000):
        written = place.write(files, [data])
    assert written == [DONE, (Step.WRITE, errno.EFBIG), DONE]
    assert sorted(os.listdir(place.path)) == [b"fits", b"fits-too"]
    assert place.content(b"fits-too") == data[:4999] + data[7:8]


def test_without_the_right_to_give_it_away_a_file_stays_but_loses_set_id_bits(place: Place) -> None:
    os.chmod(place.path, 0o777)
    files = [
        File(b"chown", [(0, 0, 7)], mode=0o6755, uid=0, gid=0, mtime=(77, 7)),
        File(b"kept", [(0, 0, 7)], mode=0o4755, mtime=(77, 7)),
    ]
    with without_root():
        written = place.write(files, [b"content"])
    assert written == [(Step.CHOWN, errno.EPERM), DONE]
    status = place.stat(b"chown")
    assert stat.S_IMODE(status.st_mode) == 0o755
    assert status.st_mtime_ns == 77 * 10**9 + 7
    assert place.content(b"chown") == b"content"
    assert stat.S_IMODE(place.stat(b"kept").st_mode) == 0o4755


def test_a_directory_without_the_right_to_write(place: Place) -> None:
    os.chmod(place.path, 0o555)
    with without_root():
        written = place.write([File(b"a"), File(b"b")])
    os.chmod(place.path, 0o700)
    assert written == [(Step.OPEN, errno.EACCES)] * 2
    assert os.listdir(place.path) == []


def test_a_directory_that_was_removed(place: Place) -> None:
    os.rmdir(place.path)
    assert place.write([File(b"file")]) == [(Step.OPEN, errno.ENOENT)]


def test_thousands_of_files_and_no_descriptor_is_left_open(place: Place) -> None:
    data = b"".join(b"%06d" % i for i in range(3000))
    before = len(os.listdir("/proc/self/fd"))
    written = place.write([File(b"f%d" % i, [(0, 6 * i, 6)]) for i in range(3000)], [data])
    assert len(os.listdir("/proc/self/fd")) == before
    assert written == [DONE] * 3000
    assert [place.content(b"f%d" % i) for i in (0, 1234, 2999)] == [b"000000", b"001234", b"002999"]


GOOD_SPEC = WRITE.pack(0, 0, 0o644, KEEP_ID, KEEP_ID, 0, 1)
GOOD_SEGMENT = SEGMENT.pack(0, 0, 4)


@pytest.mark.parametrize(
    ("names", "specs", "segments"),
    [
        (b"file", GOOD_SPEC, GOOD_SEGMENT),
        (b"\0", GOOD_SPEC, GOOD_SEGMENT),
        (b"..\0", GOOD_SPEC, GOOD_SEGMENT),
        (b"../file\0", GOOD_SPEC, GOOD_SEGMENT),
        (b"good\0/tmp/file\0", GOOD_SPEC * 2, GOOD_SEGMENT),
        (b"file\0", GOOD_SPEC[:-1], GOOD_SEGMENT),
        (b"file\0", GOOD_SPEC * 2, GOOD_SEGMENT),
        (b"file\0", b"", GOOD_SEGMENT),
        (b"file\0", GOOD_SPEC, GOOD_SEGMENT[:-1]),
        (b"file\0", GOOD_SPEC, b""),
        (b"file\0", GOOD_SPEC, SEGMENT.pack(1, 0, 4)),
        (b"file\0", GOOD_SPEC, SEGMENT.pack(0xFFFFFFFF, 0, 0)),
        (b"file\0", GOOD_SPEC, SEGMENT.pack(0, 0, 5)),
        (b"file\0", GOOD_SPEC, SEGMENT.pack(0, 5, 0)),
        (b"file\0", GOOD_SPEC, SEGMENT.pack(0, 2, 2**64 - 1)),
        (b"file\0", GOOD_SPEC, SEGMENT.pack(0, 2**64 - 1, 2)),
        (b"file\0", WRITE.pack(0, 0, 0, 0, 0, 0xFFFFFFFF, 2), GOOD_SEGMENT),
        (b"file\0", WRITE.pack(0, 0, 0, 0, 0, 1, 1), GOOD_SEGMENT),
        (b"file\0", WRITE.pack(0, 0, 0, 0, 0, 2, 0), GOOD_SEGMENT),
        (b"file\0", WRITE.pack(0, 10**9, 0, 0, 0, 0, 1), GOOD_SEGMENT),
        (b"file\0", WRITE.pack(0, 0, 0o10000, 0, 0, 0, 1), GOOD_SEGMENT),
        (b"good\0bad\0", GOOD_SPEC + WRITE.pack(0, 0, 0o100644, 0, 0, 0, 1), GOOD_SEGMENT),
    ],
)
def test_what_is_out_of_range_is_refused_before_any_file_is_made(
    place: Place, names: bytes, specs: bytes, segments: bytes
) -> None:
    with pytest.raises(ValueError):
        place.kernel.write_files(place.fd, names, specs, segments, [b"data"])
    assert os.listdir(place.path) == []


def test_things_of_the_wrong_kind_are_refused(place: Place) -> None:
    write = place.kernel.write_files
    with pytest.raises(TypeError):
        write(place.fd, b"file\0", GOOD_SPEC, GOOD_SEGMENT, ["text"])  # type: ignore[list-item]
    with pytest.raises(TypeError):
        write(place.fd, b"file\0", GOOD_SPEC, GOOD_SEGMENT, 5)  # type: ignore[arg-type]
    with pytest.raises(BufferError):
        write(place.fd, b"file\0", GOOD_SPEC, GOOD_SEGMENT, [b"good", memoryview(b"scattered")[::2]])
    with pytest.raises(NotADirectoryError), open("/dev/null", "rb") as null:
        write(null.fileno(), b"file\0", GOOD_SPEC, GOOD_SEGMENT, [b"data"])
    closed = os.dup(place.fd)
    os.close(closed)
    with pytest.raises(OSError, match="Bad file descriptor"):
        write(closed, b"", b"", b"", [])
    assert os.listdir(place.path) == []
