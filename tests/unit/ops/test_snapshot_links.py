"""Files with several names: the first one in walk order is the file, whatever moved and whatever is remembered."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from snapstore.fs.filters import FilterRules
from snapstore.fs.place import Policy
from snapstore.fs.statcache import CachedDirectory, pack_links
from snapstore.model import ChunkId
from snapstore.ops.links import Inode, LinkRegistry, linked
from snapstore.ops.snapshot import SnapshotOptions
from tests.compare import compare
from tests.drive import Machine, entries, machine, tree_of


def write(path: bytes, content: bytes = b"x") -> bytes:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)
    return path


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    # Everything is trusted at once, so that the second snapshot is the incremental one that it is meant to be.
    monkeypatch.setattr("snapstore.ops.running.SETTLED_NANOSECONDS", -(1 << 70))
    return os.fsencode(tmp_path)


def hardlinks(client: Machine, *roots: bytes, options: SnapshotOptions | None = None) -> dict[bytes, bytes]:
    """What the next snapshot states, which is what one without a cache states."""
    taken = client.take(*roots, options=options)
    fresh = Machine(client.store, client.base + b"/fresh-%d" % len(os.listdir(client.base))).take(
        *roots, options=options
    )
    assert tree_of(taken) == tree_of(fresh)
    return {path: entry.hardlink for path, entry in entries(client, tree_of(taken)).items() if entry.links > 1}


def test_the_first_name_in_walk_order_is_the_file(base: bytes) -> None:
    client, root = machine(base + b"/machine"), base + b"/tree"
    first = write(root + b"/d/b")
    for name in (b"/d/c", b"/a", b"/e/a"):
        os.makedirs(os.path.dirname(root + name), exist_ok=True)
        os.link(first, root + name)
    expected = {b"a": b"", b"d/b": b"a", b"d/c": b"a", b"e/a": b"a"}
    assert hardlinks(client, root) == expected
    assert hardlinks(client, root) == expected


@pytest.mark.parametrize("change", ["unlink", "rename", "rename-directory", "move-out", "early-directory"])
def test_first_names_move(base: bytes, change: str) -> None:
    client, root = machine(base + b"/machine"), base + b"/tree"
    first = write(root + b"/m/c")
    os.makedirs(root + b"/m/inner")
    os.makedirs(root + b"/z/deep")
    os.link(first, root + b"/z/deep/x")
    os.link(first, root + b"/z/y")
    os.makedirs(base + b"/outside")
    os.link(first, base + b"/outside/w")
    assert hardlinks(client, root)[b"z/deep/x"] == b"m/c"
    if change == "unlink":
        os.unlink(first)
        expected = {b"z/deep/x": b"", b"z/y": b"z/deep/x"}
    elif change == "rename":
        os.rename(first, root + b"/zz")
        expected = {b"z/deep/x": b"", b"z/y": b"z/deep/x", b"zz": b"z/deep/x"}
    elif change == "rename-directory":
        os.rename(root + b"/z", root + b"/a")
        expected = {b"a/deep/x": b"", b"a/y": b"a/deep/x", b"m/c": b"a/deep/x"}
    elif change == "move-out":
        os.rename(root + b"/m", base + b"/outside/m")
        expected = {b"z/deep/x": b"", b"z/y": b"z/deep/x"}
    else:
        # A new name two levels below an unchanged listing, moved in with its directory: no inode is touched.
        os.makedirs(root + b"/m/a/b")
        os.makedirs(root + b"/m/d/e")
        hardlinks(client, root)
        os.rename(base + b"/outside", root + b"/m/a/b/o")
        expected = {b"m/a/b/o/w": b"", b"m/c": b"m/a/b/o/w", b"z/deep/x": b"m/a/b/o/w", b"z/y": b"m/a/b/o/w"}
    assert hardlinks(client, root) == expected
    assert hardlinks(client, root) == expected


def test_an_excluded_first_name_is_none(base: bytes) -> None:
    client, root = machine(base + b"/machine"), base + b"/tree"
    first = write(root + b"/a")
    os.link(first, root + b"/b")
    os.link(first, root + b"/c")
    assert hardlinks(client, root)[b"c"] == b"a"
    options = SnapshotOptions(rules=FilterRules(excludes=("/a",)))
    assert hardlinks(client, root, options=options) == {b"b": b"", b"c": b"b"}
    assert hardlinks(client, root) == {b"a": b"", b"b": b"a", b"c": b"a"}


def test_device_numbers_may_change_between_runs() -> None:
    registry = LinkRegistry()
    links = pack_links([linked(0, 7, b"d/f"), linked(0, 7, b"d/f")])
    cached = CachedDirectory(bytes(16), ChunkId(bytes(32)), 2, 0, 0, 2, b"", bytes(16), links, b"")
    expected = registry.expect(cached, b"d/", b"f\0g\0", (4711,))
    assert expected is not None
    assert registry.claim(expected)
    assert registry.meet(Inode(4711, 7), b"e/f", names=3, content=None) == b"d/f"


def test_three_thousand_names(base: bytes) -> None:
    client, root = machine(base + b"/machine"), base + b"/tree"
    first = write(root + b"/0", b"content" * 100)
    for number in range(1, 3000):
        folder = root + b"/%d" % (number % 7 + 1)
        os.makedirs(folder, exist_ok=True)
        os.link(first, folder + b"/%d" % number)
    taken = client.take(root)
    assert taken.snapshot.totals.new_data == 700
    again = client.take(root)
    assert tree_of(again) == tree_of(taken)
    assert again.unchanged == 3000
    client.restore(taken.snapshot, base + b"/out", strip=root)
    assert compare(root, base + b"/out") == []


def test_two_roots_with_equal_names_stay_apart(base: bytes) -> None:
    client = machine(base + b"/machine")
    roots = [base + b"/one", base + b"/two"]
    for root in roots:
        os.link(write(root + b"/f", root), root + b"/g")
        os.link(write(root + b"/h", b"large" * 2_000_000 + root), root + b"/i")
    taken = client.take(*roots)
    client.restore(taken.snapshot, base + b"/out")
    for root in roots:
        assert compare(root, base + b"/out" + root) == []


def test_a_part_with_later_names_only(base: bytes) -> None:
    client, root = machine(base + b"/machine"), base + b"/tree"
    os.makedirs(root + b"/sub/deep")
    os.link(write(root + b"/f", b"outside of the part"), root + b"/sub/h")
    os.link(root + b"/f", root + b"/sub/deep/h")
    os.link(write(root + b"/sub/f", b"inside"), root + b"/sub/g")
    taken = client.take(root)
    client.restore(taken.snapshot, base + b"/spread", strip=root + b"/sub")
    assert compare(root + b"/sub", base + b"/spread") == []
    client.restore(taken.snapshot, base + b"/whole", paths=[root + b"/sub"])
    assert compare(root + b"/sub", base + b"/whole" + root + b"/sub") == []
    result = client.restore(taken.snapshot, base + b"/single", paths=[root + b"/sub/h", root + b"/sub/g"])
    assert (result.files, result.links) == (2, 0)
    with open(base + b"/single" + root + b"/sub/h", "rb") as file:
        assert file.read() == b"outside of the part"


def test_other_names_of_something_kept_are_not_names_of_it(base: bytes) -> None:
    client, root = machine(base + b"/machine"), base + b"/tree"
    os.link(write(root + b"/a", b"of the snapshot"), root + b"/b")
    os.link(root + b"/a", root + b"/c")
    taken = client.take(root)
    write(base + b"/out/a", b"of somebody else")
    client.restore(taken.snapshot, base + b"/out", strip=root, overwrite=Policy.NEVER)
    with open(base + b"/out/a", "rb") as kept, open(base + b"/out/b", "rb") as restored:
        assert kept.read() == b"of somebody else"
        assert restored.read() == b"of the snapshot"
    assert os.path.samefile(base + b"/out/b", base + b"/out/c")


def test_a_restore_that_goes_on_links_to_what_it_finds(base: bytes) -> None:
    client, root = machine(base + b"/machine"), base + b"/tree"
    os.link(write(root + b"/a", b"of the snapshot"), root + b"/b")
    taken = client.take(root)
    client.restore(taken.snapshot, base + b"/out", strip=root)
    os.unlink(base + b"/out/b")
    client.restore(taken.snapshot, base + b"/out", strip=root, overwrite=Policy.NEVER)
    assert os.path.samefile(base + b"/out/a", base + b"/out/b")


def test_a_name_that_cannot_be_a_link_is_a_file_of_its_own(base: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    client, root = machine(base + b"/machine"), base + b"/tree"
    os.link(write(root + b"/a", os.urandom(6_000_000)), root + b"/b")
    taken = client.take(root)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(31, "Too many links")

    monkeypatch.setattr(os, "link", refuse)
    result = client.restore(taken.snapshot, base + b"/out", strip=root)
    assert len(result.warnings) == 1
    assert compare(root, base + b"/out", ignore={"hardlinks"}) == []
