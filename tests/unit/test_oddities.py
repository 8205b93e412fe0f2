"""The builder makes what it says, and the comparer finds each single kind of difference."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from tests.compare import ASPECTS, compare
from tests.oddities import ACL, FEATURES, build, set_flags, unbuild, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="owners and devices need root")


@pytest.fixture
def base(tmp_path: Path) -> Iterator[bytes]:
    path = os.fsencode(tmp_path)
    yield path
    for name in os.listdir(path):
        unbuild(os.path.join(path, name))


def plain(path: bytes) -> None:
    """A small tree, the same each time but for inode numbers."""
    os.mkdir(path)
    os.mkdir(path + b"/dir")
    write(path + b"/file", b"content")
    write(path + b"/other", b"content")
    write(path + b"/dir/inside", b"x" * 100_000)
    os.symlink(b"file", path + b"/link")
    os.mkfifo(path + b"/fifo")
    os.link(path + b"/file", path + b"/dir/hard")
    fd = os.open(path + b"/sparse", os.O_WRONLY | os.O_CREAT)
    os.ftruncate(fd, 1 << 20)
    os.pwrite(fd, b"data", 1 << 19)
    os.close(fd)
    if os.geteuid() == 0:
        os.mknod(path + b"/null", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    settle(path)


def settle(path: bytes) -> None:
    """Give everything the same time again, so that a mutation shows in one aspect only."""
    for where, directories, files in os.walk(path, topdown=False):
        for name in [*directories, *files]:
            os.utime(os.path.join(where, name), ns=(0, 10**18), follow_symlinks=False)
    os.utime(path, ns=(0, 10**18))


def rewrite(path: bytes, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)


def replace(path: bytes, make: Callable[[bytes], object]) -> None:
    os.unlink(path)
    make(path)


def fill(path: bytes) -> None:
    with open(path, "r+b") as file:
        file.write(bytes(1 << 19))


MUTATIONS: list[tuple[str, Callable[[bytes], object]]] = [
    ("names", lambda b: os.unlink(b + b"/other")),
    ("names", lambda b: write(b + b"/extra")),
    ("names", lambda b: os.rename(b + b"/dir/inside", b + b"/dir/Inside")),
    ("kind", lambda b: replace(b + b"/fifo", write)),
    ("size", lambda b: rewrite(b + b"/other", b"content!")),
    ("content", lambda b: rewrite(b + b"/other", b"CONTENT")),
    ("content", lambda b: rewrite(b + b"/dir/inside", b"x" * 99_999 + b"y")),
    ("holes", lambda b: fill(b + b"/sparse")),
    ("mode", lambda b: os.chmod(b + b"/other", 0o755)),
    ("mode", lambda b: os.chmod(b + b"/dir", 0o1777)),
    ("mode", lambda b: os.chmod(b + b"/fifo", 0o600)),
    ("mtime", lambda b: os.utime(b + b"/other", ns=(0, 10**18 + 1))),
    ("mtime", lambda b: os.utime(b + b"/link", ns=(0, 10**18 + 1), follow_symlinks=False)),
    ("mtime", lambda b: os.utime(b + b"/dir", ns=(0, 10**18 + 1))),
    ("mtime", lambda b: os.utime(b, ns=(0, 10**18 + 1))),
    ("target", lambda b: replace(b + b"/link", lambda path: os.symlink(b"other", path))),
    ("xattrs", lambda b: os.setxattr(b + b"/other", b"user.a", b"")),
    ("xattrs", lambda b: os.setxattr(b + b"/dir", b"user.a", b"1")),
    ("flags", lambda b: set_flags(b + b"/other", "d")),
    ("flags", lambda b: set_flags(b + b"/dir", "d")),
    ("hardlinks", lambda b: replace(b + b"/dir/hard", lambda path: write(path, b"content"))),
    ("hardlinks", lambda b: replace(b + b"/other", lambda path: os.link(b + b"/file", path))),
]
ROOT_MUTATIONS: list[tuple[str, Callable[[bytes], object]]] = [
    ("owner", lambda b: os.chown(b + b"/other", 1, 0)),
    ("owner", lambda b: os.chown(b + b"/dir", 0, 1)),
    ("owner", lambda b: os.chown(b + b"/link", 1, 1, follow_symlinks=False)),
    ("rdev", lambda b: replace(b + b"/null", lambda path: os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5)))),
    ("xattrs", lambda b: os.setxattr(b + b"/link", b"trusted.a", b"1", follow_symlinks=False)),
    ("xattrs", lambda b: os.setxattr(b + b"/dir", b"system.posix_acl_default", ACL)),
]
NOT_MUTATED = {"socket", "root"}


def check_mutation(base: bytes, aspect: str, mutate: Callable[[bytes], object]) -> None:
    a, b = base + b"/a", base + b"/b"
    plain(a)
    plain(b)
    assert compare(a, b) == []
    mutate(b)
    if aspect != "mtime":
        settle(b)
    found = compare(a, b)
    assert found
    assert all(f": {aspect}: " in line for line in found), found
    assert compare(a, b, ignore=[aspect]) == []


@pytest.mark.parametrize(("aspect", "mutate"), MUTATIONS)
def test_compare_finds(base: bytes, aspect: str, mutate: Callable[[bytes], object]) -> None:
    check_mutation(base, aspect, mutate)


@root_only
@pytest.mark.root
@pytest.mark.parametrize(("aspect", "mutate"), ROOT_MUTATIONS)
def test_compare_finds_as_root(base: bytes, aspect: str, mutate: Callable[[bytes], object]) -> None:
    check_mutation(base, aspect, mutate)


def test_every_aspect_is_mutated() -> None:
    assert {aspect for aspect, _ in MUTATIONS + ROOT_MUTATIONS} == ASPECTS - NOT_MUTATED


def test_compare_refuses_unknown_aspects(base: bytes) -> None:
    os.mkdir(base + b"/a")
    with pytest.raises(ValueError, match="mtimes"):
        compare(base + b"/a", base + b"/a", ignore=["mtimes"])


def test_compare_leaves_sockets_and_roots_out_when_asked(base: bytes) -> None:
    for side in (b"/a", b"/b"):
        os.mkdir(base + side)
    os.mknod(base + b"/a/socket", stat.S_IFSOCK | 0o600)
    os.chmod(base + b"/b", 0o700)
    assert len(compare(base + b"/a", base + b"/b", ignore=["mtime"])) == 2
    assert compare(base + b"/a", base + b"/b", ignore=["socket", "root"]) == []


def test_build_makes_what_it_says_and_unbuild_removes_it(base: bytes) -> None:
    tree = base + b"/tree"
    made = build(tree)
    assert made <= FEATURES
    assert {os.fsdecode(name) for name in os.listdir(os.fsencode(tree))} == made
    # What any file system of a Linux machine that runs these tests can hold.
    assert {"empty", "symlinks", "hard-links", "fifo", "sparse", "times", "deep", "crowd", "names-bytes"} <= made
    assert compare(tree, tree) == []
    unbuild(tree)
    assert not os.path.lexists(tree)
    unbuild(tree)
