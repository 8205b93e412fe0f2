"""Whatever links a tree is made of, a path leads where chroot(2) would have led, and never out."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from snapstore.system.root import Root, RootError

NAMES = ("a", "b", "c")
PARTS = st.sampled_from([*NAMES, "..", "."])
PATHS = st.builds(
    lambda parts, absolute: "/" * absolute + "/".join(parts), st.lists(PARTS, min_size=1, max_size=5), st.booleans()
)
TREES = st.dictionaries(
    st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join),
    st.one_of(st.just(None), st.just(b"file"), PATHS),
    max_size=9,
)


def build(top: Path, tree: dict[str, str | bytes | None]) -> None:
    """Nothing; the tree is there, as far as its paths do not need two things at one place."""
    for path, what in sorted(tree.items()):
        place = top / path
        if any(parent.is_symlink() or parent.is_file() for parent in place.parents if parent != top.parent):
            continue
        if place.is_symlink() or place.exists():
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        if what is None:
            place.mkdir()
        elif isinstance(what, bytes):
            place.write_bytes(path.encode())
        else:
            place.symlink_to(what)


ASK = """
import os, sys
os.chroot(sys.argv[1])
os.chdir("/")
for line in sys.stdin:
    path = line[:-1]
    try:
        os.stat("/" + path)
        print(os.path.relpath(os.path.realpath("/" + path, strict=True), "/"), os.path.isfile("/" + path))
    except OSError:
        print("-")
"""


def ours(root: Root, path: str) -> str:
    raw = os.fsencode(path)
    status = root.status(raw, follow=True)
    if status is None:
        return "-"
    return f"{os.path.relpath(os.fsdecode(root.resolve(raw)), '/')} {stat.S_ISREG(status.st_mode)}"


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="asks chroot(2), which needs root")
@settings(max_examples=25, deadline=None)
@given(TREES, st.lists(PATHS, min_size=1, max_size=20))
def test_like_chroot(tree: dict[str, str | bytes | None], paths: list[str]) -> None:
    with tempfile.TemporaryDirectory() as base:
        top = Path(base) / "top"
        top.mkdir()
        build(top, tree)
        answer = subprocess.run(
            [sys.executable, "-SEc", ASK, top],
            input="".join(f"{path}\n" for path in paths), capture_output=True, text=True, check=True,
        )  # fmt: skip
        with Root(os.fsencode(top)) as root:
            for path, line in zip(paths, answer.stdout.splitlines(), strict=True):
                # `..` and `.` may here pass what is no directory, which the kernel refuses; both stay inside.
                if line != "-":
                    assert ours(root, path) == line


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(TREES, st.lists(PATHS, min_size=1, max_size=10))
def test_nothing_leads_out(tree: dict[str, str | bytes | None], paths: list[str]) -> None:
    with tempfile.TemporaryDirectory() as base:
        top = Path(base) / "top"
        top.mkdir()
        for name in NAMES:
            (Path(base) / name).write_bytes(b"outside")
        build(top, tree)
        with Root(os.fsencode(top)) as root, Root(os.fsencode(top)) as fresh:
            for path in map(os.fsencode, paths):
                try:
                    data = root.read(path)
                except RootError as error:
                    assert error.strerror == "it is no regular file"  # noqa: PT017 - the only one there is reason for
                    data = None
                    assert stat.S_ISDIR(os.stat(os.fsencode(top) + root.resolve(path)).st_mode)
                assert data != b"outside"
                try:
                    place = root.resolve(path)
                except RootError:
                    assert data is None
                    continue
                assert place == fresh.resolve(path)  # what is remembered changes nothing
                assert place.startswith(b"/")
                assert b".." not in place.split(b"/")
                assert fresh.resolve(place) == place


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=40))
def test_any_bytes_are_a_path(path: bytes) -> None:
    with tempfile.TemporaryDirectory() as base, Root(os.fsencode(base)) as root:
        if root.resolve(path) == b"/":
            assert root.list(path) == []
            assert root.status(path) is not None
        else:
            assert root.read(path) is None
            assert root.status(path, follow=True) is None
            assert root.readlink(path) is None
