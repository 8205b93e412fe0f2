"""Trees as deep as a walk goes, and deeper."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from snapstore.ops import walk
from tests.drive import machine, tree_of
from tests.oddities import unbuild

SHALLOW = 300


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[bytes]:
    monkeypatch.setattr("snapstore.ops.running.SETTLED_NANOSECONDS", -(1 << 70))
    path = os.fsencode(tmp_path)
    yield path
    unbuild(path + b"/tree")


@pytest.fixture
def plain_stack() -> Iterator[None]:
    """A recursion limit as Python has it, put back afterwards."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(1000)
    yield
    sys.setrecursionlimit(before)


def dig(root: bytes, *, levels: int) -> None:
    """A directory with so many below it, one in the other."""
    os.mkdir(root)
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(levels):
        os.mkdir(b"d", dir_fd=fd)
        deeper = os.open(b"d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
        os.close(fd)
        fd = deeper
    os.close(fd)


def check(base: bytes, *, limit: int) -> None:
    """Three runs (without a cache, with one, with one that has to be looked into) save all down to the limit."""
    root = base + b"/tree"
    client = machine(base + b"/machine")
    dig(root, levels=limit)
    whole = client.take(root)
    assert whole.warnings == ()
    assert whole.snapshot.totals.directories == limit + 1
    assert tree_of(client.take(root)) == tree_of(whole)
    unbuild(root)
    dig(root, levels=limit + 3)
    # The first directory below the limit is kept with the reason why nothing is in it, the others cannot be known.
    first = client.take(root)
    os.utime(root, ns=(0, 5))
    for taken in (first, client.take(root), client.take(root)):
        assert [(each.path, each.reason) for each in taken.warnings] == [(root + b"/d" * (limit + 1), "ELOOP")]
        assert taken.snapshot.totals.directories == limit + 2
        assert tree_of(taken) == tree_of(first)


def test_the_recursion_limit_is_raised_by_enough(
    base: bytes, monkeypatch: pytest.MonkeyPatch, plain_stack: None
) -> None:
    monkeypatch.setattr(walk, "DEPTH_LIMIT", SHALLOW)
    check(base, limit=SHALLOW)
    assert sys.getrecursionlimit() == walk.recursion_limit() == 6 * SHALLOW + 1000


def test_four_thousand_levels(base: bytes) -> None:
    check(base, limit=walk.DEPTH_LIMIT)
