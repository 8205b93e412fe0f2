"""Micro-benchmarks of the kernel: `pytest bench/test_micro_kernel.py --benchmark-only`."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest

from snapstore import kernel
from snapstore.kernel import KEEP_ID, SEGMENT, WRITE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_benchmark.fixture import BenchmarkFixture

FILES = 1000
CONTENT = random.Random(1).randbytes(4096)
NAMES = b"".join(b"file-%05d\0" % i for i in range(FILES))
SEGMENTS = SEGMENT.pack(0, 0, len(CONTENT)) * FILES
SPECS = b"".join(WRITE.pack(10**9, 0, 0o644, KEEP_ID, KEEP_ID, i, 1) for i in range(FILES))


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    """An empty directory, open."""
    fd = os.open(tmp_path, os.O_RDONLY)
    yield fd
    os.close(fd)


@pytest.mark.parametrize("sizes", [(4096, 16384, 65536), (16384, 65536, 262144), (262144, 1048576, 4194304)])
def test_cut_points(benchmark: BenchmarkFixture, sizes: tuple[int, int, int]) -> None:
    """8 MiB: 1 ms is 8.4 GB/s."""
    rng = random.Random(2)
    gear, data = rng.randbytes(2048), rng.randbytes(8 << 20)
    assert benchmark(kernel.cut_points, data, gear, *sizes)[-1] == len(data)


def test_scan_directory(benchmark: BenchmarkFixture, directory: int) -> None:
    """1000 files: 1 ms is 1 µs a file."""
    kernel.write_files(directory, NAMES, SPECS, SEGMENTS, [CONTENT])
    assert benchmark(kernel.scan_directory, directory)[0] == NAMES


def test_read_files(benchmark: BenchmarkFixture, directory: int) -> None:
    """1000 files of 4 KiB."""
    kernel.write_files(directory, NAMES, SPECS, SEGMENTS, [CONTENT])
    names, records, _, _ = kernel.scan_directory(directory)
    buffer = bytearray(FILES * len(CONTENT))
    benchmark(kernel.read_files, directory, names, records, buffer, 0)
    assert buffer == CONTENT * FILES


def test_write_files(benchmark: BenchmarkFixture, directory: int) -> None:
    """1000 files of 4 KiB."""

    def empty() -> None:
        for name in os.listdir(directory):
            os.unlink(name, dir_fd=directory)

    def write() -> bytes:
        return kernel.write_files(directory, NAMES, SPECS, SEGMENTS, [CONTENT])

    assert not any(benchmark.pedantic(write, setup=empty, rounds=10))  # type: ignore[no-untyped-call]
