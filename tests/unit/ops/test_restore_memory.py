"""What a restore holds in memory is bounded, however its files are spread over blocks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from snapstore.fs.place import Policy
from snapstore.model import ChunkId
from snapstore.ops import pieces
from snapstore.ops import restore as restores
from snapstore.store import session as sessions
from tests.compare import compare
from tests.drive import machine
from tests.oddities import noise, write

HELD = 4096


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A block for each chunk, a small limit for what is held of them, and how much was held at each step."""
    sizes: list[int] = []
    segment = pieces.Blocks.segment

    def watched(self: pieces.Blocks, chunk: ChunkId) -> tuple[int, int, int]:
        found = segment(self, chunk)
        assert self.size == sum(map(len, self.buffers))
        sizes.append(self.size)
        return found

    monkeypatch.setattr(sessions, "DATA_BLOCK", 1)
    monkeypatch.setattr(restores, "HELD", HELD)
    monkeypatch.setattr(pieces.Blocks, "segment", watched)
    return sizes


def test_many_small_files_in_as_many_blocks(tmp_path: Path, held: list[int]) -> None:
    base = os.fsencode(tmp_path)
    root, out = base + b"/tree", base + b"/out"
    for number in range(1024):
        folder = root + b"/%d" % (number % 3)
        os.makedirs(folder, exist_ok=True)
        write(folder + b"/%d" % number, noise(100 + number % 7, number))
    client = machine(base + b"/machine")
    taken = client.take(root)
    result = client.restore(taken.snapshot, out, strip=root)
    assert (result.files, result.warned) == (1024, 0)
    assert len(held) == 1024
    assert HELD // 2 < max(held) < HELD + 200
    assert compare(root, out) == []


@pytest.mark.parametrize("overwrite", [None, Policy.NEVER, Policy.ALWAYS])
def test_files_of_many_blocks(tmp_path: Path, held: list[int], overwrite: Policy | None) -> None:
    base = os.fsencode(tmp_path)
    root, out = base + b"/tree", base + b"/out"
    os.mkdir(root)
    write(root + b"/before", b"before")
    write(root + b"/small", noise(2 << 20, 1))
    write(root + b"/sparse", noise(1 << 20, 2))
    os.truncate(root + b"/sparse", 3 << 20)
    write(root + b"/tiny", b"after")
    write(root + b"/zlarge", noise(9 << 20, 3))
    client = machine(base + b"/machine")
    taken = client.take(root)
    if overwrite is not None:
        os.mkdir(out)
        write(out + b"/small", b"mine")
    client.restore(taken.snapshot, out, strip=root, overwrite=overwrite)
    # One chunk is more than the limit, so no more than one is held at a time.
    assert max(held) <= client.store.config.parameters.maximum + HELD
    if overwrite is Policy.NEVER:
        assert os.stat(out + b"/small").st_size == 4
    else:
        assert compare(root, out) == []


def test_warnings_are_counted_beyond_those_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = os.fsencode(tmp_path)
    root, out = base + b"/tree", base + b"/out"
    os.mkdir(root)
    os.mkdir(out)
    for number in range(9):
        os.mkdir(root + b"/%d" % number)
        write(out + b"/%d" % number)
    client = machine(base + b"/machine")
    taken = client.take(root)
    monkeypatch.setattr(restores, "WARNING_LIMIT", 4)
    result = client.restore(taken.snapshot, out, strip=root, overwrite=Policy.NEVER)
    assert (len(result.warnings), result.warned) == (4, 9)
