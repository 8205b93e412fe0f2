"""Any directory, any records, any segments: both kernels scan, read and write alike."""

from __future__ import annotations

import os
import random
import stat
import tempfile
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from snapstore import kernel
from snapstore.kernel import ENTRY, KEEP_ID, RESULT, SEGMENT, WRITE, Kernel

if TYPE_CHECKING:
    from collections.abc import Callable

NATIVE = kernel.load("native")
REFERENCE = kernel.load("reference")

NAMES = st.binary(min_size=1, max_size=255).filter(lambda name: not set(name) & {0, 47} and name not in (b".", b".."))
KINDS = st.sampled_from(["file", "file", "file", "dir", "link", "fifo", "sparse"])
Directory = dict[bytes, tuple[str, bytes]]
DIRECTORIES = st.dictionaries(NAMES, st.tuples(KINDS, st.binary(max_size=300)), max_size=20)


def create(fd: int, name: bytes, kind: str, content: bytes) -> None:
    if kind == "dir":
        os.mkdir(name, dir_fd=fd)
    elif kind == "link":
        os.symlink(content.replace(b"\0", b"0") or b"empty", name, dir_fd=fd)
    elif kind == "fifo":
        os.mkfifo(name, dir_fd=fd)
    else:
        file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=fd)
        os.write(file, content)
        if kind == "sparse":
            os.ftruncate(file, 100_000)
        os.close(file)


def fill(fd: int, directory: Directory) -> None:
    for name, (kind, content) in directory.items():
        create(fd, name, kind, content)


def remove(fd: int, name: bytes) -> None:
    if stat.S_ISDIR(os.lstat(name, dir_fd=fd).st_mode):
        os.rmdir(name, dir_fd=fd)
    else:
        os.unlink(name, dir_fd=fd)


@settings(max_examples=60, deadline=None)
@given(DIRECTORIES)
def test_scans_are_alike_and_sorted(directory: Directory) -> None:
    with tempfile.TemporaryDirectory() as path:
        fd = os.open(path, os.O_RDONLY)
        try:
            fill(fd, directory)
            scanned = NATIVE.scan_directory(fd)
            assert scanned == REFERENCE.scan_directory(fd)
        finally:
            os.close(fd)
    assert scanned[0] == b"".join(name + b"\0" for name in sorted(directory))
    assert len(scanned[1]) == len(directory) * ENTRY.size


@settings(max_examples=80, deadline=None)
@given(
    DIRECTORIES,
    DIRECTORIES,
    st.integers(0, 2**32),
    st.integers(0, 2_000),
    st.sampled_from([0, 100, 400, 2000, 75_000, 300_000]),
)
def test_reads_are_alike_whatever_happened_since_the_scan(
    before: Directory, after: Directory, seed: int, offset: int, room: int
) -> None:
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as path:
        fd = os.open(path, os.O_RDONLY)
        try:
            fill(fd, before)
            names, records, _, _ = NATIVE.scan_directory(fd)
            entries = [list(entry) for entry in ENTRY.iter_unpack(records)]
            for entry in entries:
                if rng.random() < 0.2:
                    entry[1] = rng.choice([0, 5, 400, 70_000, 2**64 - 1])
                if rng.random() < 0.1:
                    entry[7] = stat.S_IFREG | 0o600
            for name in before:
                if rng.random() < 0.3:
                    remove(fd, name)
            left = set(os.listdir(path))  # listing fd would go on where the scan ended
            fill(fd, {name: made for name, made in after.items() if os.fsdecode(name) not in left})
            for name in rng.sample(list(before), len(before)):
                if rng.random() < 0.5 and os.fsdecode(name) not in left and name not in after:
                    create(fd, name, *rng.choice([("file", b"new"), ("link", b"new"), ("fifo", b""), ("dir", b"")]))
            expected = b"".join(ENTRY.pack(*entry) for entry in entries)
            buffers = bytearray(offset + room), bytearray(offset + room)
            results = [
                chosen.read_files(fd, names, expected, buffer, offset)
                for chosen, buffer in zip((NATIVE, REFERENCE), buffers, strict=True)
            ]
        finally:
            os.close(fd)
    assert results[0] == results[1]
    at = offset
    for start, length, _, _, _, _ in RESULT.iter_unpack(results[0]):
        assert start == at
        assert buffers[0][start : start + length] == buffers[1][start : start + length]
        at += length
    assert at <= offset + room


@st.composite
def jobs(draw: Callable[[st.SearchStrategy[int]], int]) -> tuple[bytes, bytes, bytes, list[bytes]]:
    rng = random.Random(draw(st.integers(0, 2**32)))
    buffers = [rng.randbytes(rng.choice([0, 1, 100, 5000])) for _ in range(draw(st.integers(0, 4)))]
    segments = []
    for _ in range(draw(st.integers(0, 150)) if buffers else 0):
        index = rng.randrange(len(buffers))
        offset = rng.randint(0, len(buffers[index]))
        length = rng.randint(0, len(buffers[index]) - offset)
        segments.append(SEGMENT.pack(index, offset, length))
    names, specs = bytearray(), bytearray()
    for _ in range(draw(st.integers(0, 8))):
        letters = bytes(rng.choice(b"ab\xff\n") for _ in range(rng.choice([1, 1, 2, 10, 256])))
        first = rng.randint(0, len(segments))
        names += letters + b"\0"
        specs += WRITE.pack(
            rng.randint(-(2**31), 2**33),
            rng.randrange(10**9),
            rng.randrange(0o10000),
            rng.choice([KEEP_ID, os.geteuid()]),
            rng.choice([KEEP_ID, os.getegid()]),
            first,
            rng.randint(0, len(segments) - first),
        )
    return bytes(names), bytes(specs), b"".join(segments), buffers


def written(
    chosen: Kernel, job: tuple[bytes, bytes, bytes, list[bytes]]
) -> tuple[bytes, dict[str, tuple[object, ...]]]:
    with tempfile.TemporaryDirectory() as path:
        fd = os.open(path, os.O_RDONLY)
        try:
            report = chosen.write_files(fd, *job)
            found: dict[str, tuple[object, ...]] = {}
            for name in os.listdir(fd):
                status = os.lstat(name, dir_fd=fd)
                os.chmod(os.path.join(path, name), 0o600)
                with open(os.path.join(path, name), "rb") as file:
                    content = file.read()
                found[name] = (
                    status.st_mode,
                    status.st_uid,
                    status.st_gid,
                    status.st_mtime_ns,
                    status.st_size,
                    content,
                )
        finally:
            os.close(fd)
    return report, found


@settings(max_examples=120, deadline=None)
@given(jobs())
def test_writes_are_alike(job: tuple[bytes, bytes, bytes, list[bytes]]) -> None:
    assert written(NATIVE, job) == written(REFERENCE, job)


@settings(max_examples=100, deadline=None)
@given(
    st.binary(max_size=40), st.binary(max_size=100), st.binary(max_size=60), st.lists(st.binary(max_size=9), max_size=3)
)
def test_nonsense_is_refused_alike(names: bytes, specs: bytes, segments: bytes, buffers: list[bytes]) -> None:
    outcomes = []
    for chosen in (NATIVE, REFERENCE):
        with tempfile.TemporaryDirectory() as path:
            fd = os.open(path, os.O_RDONLY)
            try:
                outcomes.append((chosen.write_files(fd, names, specs, segments, buffers), ""))
            except ValueError as error:
                assert os.listdir(fd) == []
                outcomes.append((b"", str(error)))
            finally:
                os.close(fd)
    assert outcomes[0] == outcomes[1]


@settings(max_examples=60, deadline=None)
@given(DIRECTORIES)
def test_what_is_read_can_be_written_and_read_again(directory: Directory) -> None:
    files = {name: content for name, (kind, content) in sorted(directory.items()) if kind == "file"}
    buffer = bytearray(sum(map(len, files.values())))
    with tempfile.TemporaryDirectory() as path:
        fd = os.open(path, os.O_RDONLY)
        try:
            names = b"".join(name + b"\0" for name in files)
            content = b"".join(files.values())
            segments, specs, at = bytearray(), bytearray(), 0
            for i, part in enumerate(files.values()):
                segments += SEGMENT.pack(0, at, len(part))
                specs += WRITE.pack(1_600_000_000 + i, i, 0o600, KEEP_ID, KEEP_ID, i, 1)
                at += len(part)
            assert not any(NATIVE.write_files(fd, names, specs, segments, [content]))
            found, records, _, _ = NATIVE.scan_directory(fd)
            results = NATIVE.read_files(fd, found, records, buffer, 0)
        finally:
            os.close(fd)
    assert found == names
    assert [status for _, _, status, _, _, _ in RESULT.iter_unpack(results)] == [0] * len(files)
    assert buffer == content
