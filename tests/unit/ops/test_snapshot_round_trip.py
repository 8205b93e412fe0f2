"""Whatever was snapshot comes back as it was: every oddity, real trees, random trees, on both kernels."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from snapstore import kernel
from snapstore.backends import LocalBackend
from tests.compare import compare
from tests.drive import Machine, machine, tree_of
from tests.oddities import FEATURES, build, noise, unbuild

KERNELS = ("native", "reference")
FUNCTIONS = ("cut_points", "scan_directory", "read_files", "write_files")


@pytest.fixture(params=KERNELS)
def each_kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    name = str(request.param)
    for function in FUNCTIONS:
        monkeypatch.setattr(kernel, function, getattr(kernel.load(name), function))
    return name


@pytest.fixture
def base(tmp_path: Path) -> Iterator[bytes]:
    path = os.fsencode(tmp_path)
    yield path
    for name in os.listdir(path):
        unbuild(os.path.join(path, name))


def local(base: bytes) -> Machine:
    return machine(base, LocalBackend(base + b"/store"))


@pytest.mark.slow
def test_every_oddity_comes_back(base: bytes, each_kernel: str) -> None:
    made = build(base + b"/tree")
    assert len(made) > len(FEATURES) / 2
    client = local(base)
    first = client.take(base + b"/tree")
    assert first.warnings == ()
    result = client.restore(first.snapshot, base + b"/out", strip=base + b"/tree")
    assert result.warnings == ()
    assert compare(base + b"/tree", base + b"/out", ignore={"socket"}) == []
    assert client.verify(first.snapshot, base + b"/out", strip=base + b"/tree") == ()


@pytest.mark.slow
def test_oddities_unchanged_store_nothing_new(base: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    build(base + b"/tree")
    client = local(base)
    first = client.take(base + b"/tree")
    cold = Machine(client.store, base + b"/other").take(base + b"/tree")
    monkeypatch.setattr("snapstore.ops.running.SETTLED_NANOSECONDS", -(1 << 70))
    for _ in range(3):
        again = client.take(base + b"/tree")
        assert tree_of(again) == tree_of(first) == tree_of(cold)
        assert again.snapshot.totals.new_chunks == 0
        assert again.snapshot.indexes == ()
        counted = (again.snapshot.totals.files, again.snapshot.totals.directories, again.snapshot.totals.others)
        assert counted == (
            first.snapshot.totals.files, first.snapshot.totals.directories, first.snapshot.totals.others
        )  # fmt: skip
        assert again.snapshot.totals.size == first.snapshot.totals.size
    assert again.unchanged == again.snapshot.totals.files


@pytest.mark.slow
@pytest.mark.parametrize("source", ["/usr/include", os.path.join(sys.base_prefix, "lib/python3.11/asyncio")])
def test_real_trees_come_back(base: bytes, source: str) -> None:
    root = os.fsencode(source)
    if not os.path.isdir(root):
        pytest.skip(f"{source} is not on this machine")
    client = local(base)
    taken = client.take(root)
    again = Machine(client.store, base + b"/other").take(root)
    assert tree_of(again) == tree_of(taken)
    assert again.snapshot.totals.new_chunks == 0
    client.restore(taken.snapshot, base + b"/out", strip=root)
    assert compare(root, base + b"/out") == []
    if shutil.which("rsync") is None:
        pytest.skip("rsync, the second opinion, is not on this machine")
    second = subprocess.run(
        ["rsync", "-aHAXn", "--checksum", "--delete", "-i", root + b"/", base + b"/out/"],
        check=True,
        capture_output=True,
    )
    assert second.stdout == b""


# -- random trees ------------------------------------------------------------------------------------------------------

NAMES = st.one_of(
    st.sampled_from([b"a", b"b", b"c", b"d.txt", b"\xff", b"<&>\"'", b"a\nb", b" ", b"\xc3\xa9", b"e\xcc\x81"]),
    st.binary(min_size=1, max_size=12).filter(lambda n: b"/" not in n and b"\0" not in n and n not in (b".", b"..")),
)
SIZES = st.sampled_from([0, 1, 100, 16383, 16384, 16385, 65535, 65536, 65537, 262143, 262144, 262145, 1048576, 1048577])
CONTENTS = st.tuples(SIZES, st.integers(0, 3), st.booleans())
META = st.tuples(
    st.sampled_from([0o644, 0o755, 0o000, 0o4711, 0o7777, 0o400]),
    st.one_of(st.integers(-(1 << 31), 1 << 33), st.just(-1)).flatmap(
        lambda s: st.integers(0, 999_999_999).map(lambda n: s * 1_000_000_000 + n)
    ),
)
FILE = st.tuples(st.just("file"), CONTENTS, META)
LINK = st.tuples(st.just("symlink"), st.sampled_from([b"x", b"/", b"..", b"\xff\n"]), META)
HARD = st.tuples(st.just("hard"), st.integers(0, 9), META)
SPARSE = st.tuples(st.just("sparse"), st.lists(st.booleans(), min_size=1, max_size=8), META)
TREES = st.recursive(
    st.one_of(FILE, LINK, HARD, SPARSE),
    lambda inner: st.tuples(st.just("dir"), st.dictionaries(NAMES, inner, max_size=5), META),
    max_leaves=12,
)


def lay(path: bytes, shape: tuple[str, object, tuple[int, int]], files: list[bytes]) -> None:
    """The shape, made at the path; hard links go to files made before."""
    kind, what, (mode, mtime) = shape
    if kind == "dir":
        assert isinstance(what, dict)
        os.mkdir(path)
        for name, inner in what.items():
            lay(path + b"/" + name, inner, files)
        os.chmod(path, mode | 0o700)
    elif kind == "symlink":
        assert isinstance(what, bytes)
        os.symlink(what, path)
    elif kind == "hard" and files:
        assert isinstance(what, int)
        os.link(files[what % len(files)], path)
        return
    else:
        with open(path, "wb") as file:
            if isinstance(what, tuple):
                size, seed, zeros = what
                file.write(bytes(size) if zeros else noise(size, seed))
            elif isinstance(what, list):
                for number, there in enumerate(what):
                    if there:
                        file.seek(number * 65536)
                        file.write(noise(65536, number))
                file.truncate(len(what) * 65536 + 17)
        os.chmod(path, mode)
        files.append(path)
    os.utime(path, ns=(0, mtime), follow_symlinks=False)
    if os.lstat(path).st_mtime_ns != mtime:
        os.utime(path, ns=(0, 0), follow_symlinks=False)  # beyond what this file system keeps


@pytest.mark.slow
@pytest.mark.parametrize("name", KERNELS)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(shape=st.dictionaries(NAMES, TREES, max_size=5))
def test_any_tree_comes_back(name: str, shape: dict[bytes, tuple[str, object, tuple[int, int]]]) -> None:
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as directory:
        for function in FUNCTIONS:
            patch.setattr(kernel, function, getattr(kernel.load(name), function))
        base = os.fsencode(directory)
        lay(base + b"/tree", ("dir", shape, (0o755, 5)), [])
        client = machine(base + b"/machine")
        taken = client.take(base + b"/tree")
        assert taken.warnings == ()
        client.restore(taken.snapshot, base + b"/out", strip=base + b"/tree")
        assert compare(base + b"/tree", base + b"/out") == []
        assert client.verify(taken.snapshot, base + b"/out", strip=base + b"/tree") == ()
        again = client.take(base + b"/tree")
        assert tree_of(again) == tree_of(taken)
        assert again.snapshot.totals.new_chunks == 0
        back = Machine(client.store, base + b"/elsewhere").take(base + b"/out")
        assert tree_of(back) == tree_of(taken)
        for folder, _, _ in os.walk(base):
            os.chmod(folder, stat.S_IRWXU)
