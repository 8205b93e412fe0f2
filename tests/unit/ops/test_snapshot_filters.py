"""What is left out of a snapshot: by rule, by size, by mount, by tag, and always: the store and our own state."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from snapstore import kernel
from snapstore.backends import LocalBackend
from snapstore.errors import RequestError
from snapstore.flow import Cancellation
from snapstore.fs.filters import CACHE_SIGNATURE, FilterRules, include_line
from snapstore.ops.progress import Silent
from snapstore.ops.snapshot import SnapshotOptions, preview_snapshot, take_snapshot
from tests.drive import Machine, entries, machine, tree_of
from tests.mounts import mounted_tmpfs
from tests.stores import objects


def write(path: bytes, content: bytes = b"x") -> bytes:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)
    return path


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    monkeypatch.setattr("snapstore.ops.running.SETTLED_NANOSECONDS", -(1 << 70))
    return os.fsencode(tmp_path)


def names(client: Machine, root: bytes, rules: FilterRules | None = None) -> set[bytes]:
    """What is in the snapshot, three times over: without a cache, with one, and with one that has to be looked into."""
    options = SnapshotOptions(rules=rules or FilterRules())
    first = client.take(root, options=options)
    second = client.take(root, options=options)
    assert tree_of(first) == tree_of(second)
    os.utime(root, ns=(0, 5))
    third = client.take(root, options=options)
    assert tree_of(first) == tree_of(third)
    assert first.snapshot.totals.files == second.snapshot.totals.files
    return set(entries(client, tree_of(first)))


def test_patterns(base: bytes) -> None:
    root = base + b"/tree"
    for name in (b"/a.o", b"/keep.o", b"/d/b.o", b"/d/c", b"/build/x", b"/d/build", b"/e/only.o"):
        write(root + name)
    client = machine(base + b"/machine")
    rules = FilterRules(excludes=("*.o", include_line("keep.o"), "build/"))
    assert names(client, root, rules) == {b"keep.o", b"d", b"d/c", b"d/build", b"e"}
    assert b"a.o" in names(client, root)
    absolute = FilterRules(excludes=(os.fsdecode(root) + "/d",))
    assert names(client, root, absolute) == {b"a.o", b"keep.o", b"build", b"build/x", b"e", b"e/only.o"}
    taken = client.take(root, options=SnapshotOptions(rules=rules))
    assert taken.excluded == 4
    assert taken.snapshot.totals.files == 3


def test_rules_that_change_between_runs(base: bytes) -> None:
    root = base + b"/tree"
    write(root + b"/d/a", b"1" * 100)
    write(root + b"/d/b", b"2")
    client = machine(base + b"/machine")
    for rules, expected in (
        (FilterRules(), {b"d", b"d/a", b"d/b"}),
        (FilterRules(excludes=("a",)), {b"d", b"d/b"}),
        (FilterRules(larger_than=99), {b"d", b"d/b"}),
        (FilterRules(larger_than=100), {b"d", b"d/a", b"d/b"}),
        (FilterRules(excludes=("/d",)), set()),
        (FilterRules(), {b"d", b"d/a", b"d/b"}),
    ):
        assert names(client, root, rules) == expected


def test_cache_directories(base: bytes) -> None:
    root = base + b"/tree"
    write(root + b"/c/CACHEDIR.TAG", CACHE_SIGNATURE + b"\n# more")
    write(root + b"/c/big")
    write(root + b"/c/deep/er")
    write(root + b"/fake/CACHEDIR.TAG", b"Signature: something else")
    write(root + b"/fake/kept")
    client = machine(base + b"/machine")
    rules = FilterRules(exclude_caches=True)
    expected = {b"c", b"c/CACHEDIR.TAG", b"fake", b"fake/CACHEDIR.TAG", b"fake/kept"}
    assert names(client, root, rules) == expected
    os.unlink(root + b"/c/CACHEDIR.TAG")
    assert names(client, root, rules) == expected - {b"c/CACHEDIR.TAG"} | {b"c/big", b"c/deep", b"c/deep/er"}


def test_a_tag_that_appears_after_the_listing(base: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    root = base + b"/tree"
    write(root + b"/c/file")
    client = machine(base + b"/machine")
    scan = kernel.scan_directory

    def scanned(fd: int) -> tuple[bytes, bytes, tuple[int, ...], int]:
        found = scan(fd)
        if found[0] == b"file\0":
            write(root + b"/c/CACHEDIR.TAG", CACHE_SIGNATURE)
        return found

    options = SnapshotOptions(rules=FilterRules(exclude_caches=True))
    with monkeypatch.context() as patch:
        patch.setattr(kernel, "scan_directory", scanned)
        taken = client.take(root, options=options)
    assert set(entries(client, tree_of(taken))) == {b"c", b"c/file"}
    taken = client.take(root, options=options)
    assert set(entries(client, tree_of(taken))) == {b"c", b"c/CACHEDIR.TAG"}


def test_the_store_and_our_own_state_are_left_out(base: bytes) -> None:
    root = base + b"/home"
    write(root + b"/file")
    backend = LocalBackend(root + b"/.local/store")
    client = machine(root + b"/.machine", backend)
    assert names(client, root) == {b"file", b".local", b".machine"}
    assert names(client, root) == {b"file", b".local", b".machine"}
    inner = client.take(root + b"/.local")
    assert entries(client, tree_of(inner)) == {}
    os.symlink(root + b"/.local/store/refs", root + b"/refs")
    final = b"/.local/store/refs/" + inner.snapshot.session.hex().encode() + b".final"
    inside = (b"/.local/store/packs", b"/.local/store/config", final, b"/refs")
    for own in (b"/.local/store", b"/.machine/cache", b"/.machine/state", *inside):
        for verb in (take_snapshot, preview_snapshot):
            with pytest.raises(RequestError, match="inside the store"):
                verb(
                    client.store, [root + own], options=SnapshotOptions(), local=client.local,
                    progress=Silent(), cancellation=Cancellation(),
                )  # fmt: skip


def test_a_preview_writes_nothing_anywhere(base: bytes) -> None:
    write(base + b"/tree/file")
    client = machine(base + b"/machine")
    before = objects(client.store.backend)
    result = preview_snapshot(
        client.store, [base + b"/tree"], options=SnapshotOptions(), local=client.local,
        progress=Silent(), cancellation=Cancellation(),
    )  # fmt: skip
    assert result.snapshot.totals.files == 1
    assert os.listdir(base + b"/machine") == []
    assert objects(client.store.backend) == before


@pytest.fixture
def mounted(base: bytes) -> Iterator[bytes]:
    """A tree with a file system of its own at `mnt`."""
    root = base + b"/tree"
    write(root + b"/own")
    os.mkdir(root + b"/mnt")
    with mounted_tmpfs(root + b"/mnt", size="1m"):
        write(root + b"/mnt/inside/deep")
        yield root


@pytest.mark.root
def test_one_file_system(base: bytes, mounted: bytes) -> None:
    client = machine(base + b"/machine")
    everything = {b"own", b"mnt", b"mnt/inside", b"mnt/inside/deep"}
    one = FilterRules(one_file_system=True)
    assert names(client, mounted, one) == {b"own", b"mnt"}
    assert names(client, mounted) == everything
    assert names(client, mounted, one) == {b"own", b"mnt"}
    # The root may be the mount itself.
    assert names(client, mounted + b"/mnt", one) == {b"inside", b"inside/deep"}
    subprocess.run(["umount", mounted + b"/mnt"], check=True)
    write(mounted + b"/mnt/below")
    assert names(client, mounted, one) == {b"own", b"mnt", b"mnt/below"}
    subprocess.run(["mount", "-t", "tmpfs", "none", mounted + b"/mnt"], check=True)
