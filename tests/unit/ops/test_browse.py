from __future__ import annotations

import os

import pytest

from snapstore.errors import UnknownPathError
from snapstore.model import Entry, Kind, Snapshot
from snapstore.ops.browse import children, find_path, is_synthetic, normal_path, walk
from snapstore.store.reader import Reader
from tests.stores import Node, Writer, file, link, memory_store

TREE: dict[bytes, Node] = {
    b"a": {b"x": b"1", b"y": {}},
    b"a-b": b"2",
    b"a.d": {b"deep": {b"deeper": b"3"}},
    b"link": link(b"a"),
    b"locked": Entry(name=b"", kind=Kind.DIRECTORY, mode=0o700, uid=1, gid=1, unread="EACCES"),
    b"z\xff\n": b"4",
}


def opened(roots: dict[bytes, Node]) -> tuple[Reader, Snapshot]:
    store = memory_store()
    snapshot = Writer(store).commit(roots)
    return store.view().reader, snapshot


def paths(reader: Reader, snapshot: Snapshot, path: bytes) -> list[bytes]:
    return [each for each, _ in children(reader, snapshot, path)]


def test_a_path_leads_to_its_root_and_entry() -> None:
    reader, snapshot = opened({b"/data/one": TREE, b"/etc/motd": b"hello"})
    root, entry = find_path(reader, snapshot, b"/data/one/a.d/deep/deeper")
    assert (root.path, entry.name, entry.size) == (b"/data/one", b"deeper", 1)
    assert find_path(reader, snapshot, b"/data/one")[1].kind is Kind.DIRECTORY
    assert find_path(reader, snapshot, b"/etc/motd")[1].size == 5
    assert find_path(reader, snapshot, b"//data//one/./a/")[1].name == b"a"
    assert find_path(reader, snapshot, b"/data/one/z\xff\n")[1].size == 1


def test_below_a_root_that_is_the_root_directory() -> None:
    reader, snapshot = opened({b"/": TREE})
    assert find_path(reader, snapshot, b"/")[1].name == b"root"
    assert find_path(reader, snapshot, b"/a/x")[1].size == 1
    assert paths(reader, snapshot, b"/a") == [b"/a/x", b"/a/y"]
    assert [path for path, _ in walk(reader, snapshot)][:3] == [b"/", b"/a", b"/a/x"]


@pytest.mark.parametrize(
    ("path", "phrase"),
    [
        (b"/", "does not hold '/'"),
        (b"/data", "does not hold '/data'"),
        (b"/data/ones", "does not hold"),
        (b"/data/one/b", "'/data/one' holds no 'b'"),
        (b"/data/one/a/x/no", "'/data/one/a/x' is not a directory"),
        (b"/data/one/link/x", "'/data/one/link' is not a directory"),
        (b"/data/one/locked/x", "could not be read when the snapshot was taken (EACCES)"),
        (b"data/one", "no absolute path"),
        (b"", "no absolute path"),
    ],
)
def test_what_is_not_in_the_snapshot_is_said_so(path: bytes, phrase: str) -> None:
    reader, snapshot = opened({b"/data/one": TREE})
    with pytest.raises(UnknownPathError) as caught:
        find_path(reader, snapshot, path)
    assert phrase in caught.value.message


def test_children_are_told_apart_from_what_they_hold() -> None:
    reader, snapshot = opened({b"/data/one": TREE})
    expected = [b"a", b"a-b", b"a.d", b"link", b"locked", b"z\xff\n"]
    assert paths(reader, snapshot, b"/data/one/") == [b"/data/one/" + name for name in expected]
    assert paths(reader, snapshot, b"/data/one/a/y") == []
    assert paths(reader, snapshot, b"/data/one/locked") == []
    assert paths(reader, snapshot, b"/data/one/a-b") == [b"/data/one/a-b"]


def test_directories_above_the_roots_lead_to_them() -> None:
    reader, snapshot = opened({b"/data/one": TREE, b"/data/two/x": b"", b"/etc": {}})
    assert paths(reader, snapshot, b"/") == [b"/data", b"/etc"]
    shown = dict(children(reader, snapshot, b"/data"))
    assert list(shown) == [b"/data/one", b"/data/two"]
    assert not is_synthetic(shown[b"/data/one"])
    assert is_synthetic(shown[b"/data/two"])
    with pytest.raises(UnknownPathError):
        children(reader, snapshot, b"/dat")


def test_a_walk_goes_depth_first_in_the_order_of_raw_names() -> None:
    reader, snapshot = opened({b"/data": {b"a": {b"x": b""}}, b"/data-b": {}, b"/top/c": {b"d": b""}})
    assert [path for path, _ in walk(reader, snapshot)] == [b"/data", b"/data/a", b"/data/a/x", b"/data-b", b"/top/c",
                                                             b"/top/c/d"]  # fmt: skip
    assert [path for path, _ in walk(reader, snapshot, b"/top")] == [b"/top/c", b"/top/c/d"]
    assert [path for path, _ in walk(reader, snapshot, b"/data/a/x")] == [b"/data/a/x"]
    with pytest.raises(UnknownPathError):
        walk(reader, snapshot, b"/nothing")


def test_roots_are_walked_component_by_component() -> None:
    reader, snapshot = opened({b"/a/b": {}, b"/a-c": {}})
    assert [path for path, _ in walk(reader, snapshot)] == [b"/a/b", b"/a-c"]


def test_a_walk_is_not_stopped_by_depth() -> None:
    node: dict[bytes, Node] = {}
    store = memory_store()
    writer = Writer(store)
    for _ in range(200):
        node = {b"d": node}
    tree = writer.commit({b"/r": node}).roots[0].entry.tree
    # Deeper than the interpreter's stack: each commit hangs what is there below twenty new levels.
    for _ in range(200):
        node = {b"d": Entry(name=b"", kind=Kind.DIRECTORY, mode=0o755, uid=0, gid=0, tree=tree)}
        for _ in range(19):
            node = {b"d": node}
        snapshot = writer.commit({b"/r": node})
        tree = snapshot.roots[0].entry.tree
    reader = store.view().reader
    last = b""
    count = 0
    for path, _ in walk(reader, snapshot):
        count += 1
        last = path
    assert count == 200 + 200 * 20 + 1
    assert find_path(reader, snapshot, last)[1].kind is Kind.DIRECTORY


def test_a_sharded_directory_is_listed_and_looked_up_whole() -> None:
    names = [b"%06d" % number for number in range(3000)]
    crowd: dict[bytes, Node] = {name: file() for name in names}
    reader, snapshot = opened({b"/r": crowd})
    assert [os.path.basename(path) for path in paths(reader, snapshot, b"/r")] == names
    for name in (names[0], names[1499], names[-1]):
        assert find_path(reader, snapshot, b"/r/" + name)[1].name == name
    for name in (b"!", b"001499x", b"~"):
        with pytest.raises(UnknownPathError):
            find_path(reader, snapshot, b"/r/" + name)


def test_normal_paths() -> None:
    assert [normal_path(path) for path in (b"/", b"//", b"/a/", b"///a//b/../c/.")] == [b"/", b"/", b"/a", b"/a/c"]
