from __future__ import annotations

import fnmatch
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapstore.errors import RequestError
from snapstore.model import ChunkId, Entry, Kind, Snapshot
from snapstore.ops import find as module
from snapstore.ops.browse import walk
from snapstore.ops.find import find
from snapstore.store.reader import Reader
from tests.stores import TIME, Node, Writer, file, link, memory_store

TREE: dict[bytes, Node] = {
    b"README.md": b"r",
    b"readme.txt": b"rr",
    b"src": {b"a.c": b"1", b"a.h": b"22", b"sub": {b"a.c": b"333", b"[x].c": b""}},
    b"\xc3\xa9t\xc3\xa9": link(b"src"),
    b"raw\xff.c": file(mtime=(TIME + 10, 5)),
    b"empty": {},
}


class CountingReader(Reader):
    parsed = 0

    def document(self, chunk: ChunkId) -> bytes:
        self.parsed += 1
        return super().document(chunk)


@pytest.fixture(scope="module")
def opened() -> tuple[Reader, Snapshot]:
    store = memory_store()
    snapshot = Writer(store).commit({b"/data": TREE, b"/etc/motd": b"m"})
    return store.view().reader, snapshot


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.c", ["raw\udcff.c", "src/a.c", "src/sub/[x].c", "src/sub/a.c"]),
        (b"*.c", ["raw\udcff.c", "src/a.c", "src/sub/[x].c", "src/sub/a.c"]),
        ("a.?", ["src/a.c", "src/a.h", "src/sub/a.c"]),
        ("a.[ch]", ["src/a.c", "src/a.h", "src/sub/a.c"]),
        ("a.[!c]", ["src/a.h"]),
        ("[a-e]*", ["", "empty", "src/a.c", "src/a.h", "src/sub/a.c"]),
        ("[[]x].c", ["src/sub/[x].c"]),
        ("[]]x", []),
        ("\\[x].c", ["src/sub/[x].c"]),
        ("[x", []),
        ("raw?.c", ["raw\udcff.c"]),
        (b"raw\xff.c", ["raw\udcff.c"]),
        ("?t?", ["\u00e9t\u00e9"]),
        ("sub/a.c", ["src/sub/a.c"]),
        ("ub/a.c", []),
        ("/data/*/a.c", ["src/a.c"]),
        ("/data/**/a.c", ["src/a.c", "src/sub/a.c"]),
        ("/**/a.c", ["src/a.c", "src/sub/a.c"]),
        ("data/**", ["README.md", "empty", "raw\udcff.c", "readme.txt", "src", "src/a.c", "src/a.h", "src/sub",
                     "src/sub/[x].c", "src/sub/a.c", "\u00e9t\u00e9"]),
        ("src**", ["src"]),
        ("/data", [""]),
        ("data", [""]),
        ("s*b/?.c", ["src/sub/a.c"]),
        ("", []),
        (["a.h", "src"], ["src", "src/a.h"]),
        ([], []),
    ],
)  # fmt: skip
def test_globs(opened: tuple[Reader, Snapshot], pattern: str | bytes | Sequence[str], expected: list[str]) -> None:
    reader, snapshot = opened
    paths = [hit.path.decode("utf-8", "surrogateescape") for hit in find(reader, [snapshot], pattern)]
    assert paths == [f"/data/{path}".rstrip("/") for path in expected]


def test_case_is_ignored_when_asked(opened: tuple[Reader, Snapshot]) -> None:
    reader, snapshot = opened
    assert [hit.path for hit in find(reader, [snapshot], "readme*")] == [b"/data/readme.txt"]
    both = find(reader, [snapshot], "README*", ignore_case=True)
    assert [hit.path for hit in both] == [b"/data/README.md", b"/data/readme.txt"]
    assert [hit.path for hit in find(reader, [snapshot], "\u00c9T*", ignore_case=True)] == [
        "/data/\u00e9t\u00e9".encode()
    ]


def test_single_files_are_roots_too(opened: tuple[Reader, Snapshot]) -> None:
    reader, snapshot = opened
    assert [hit.path for hit in find(reader, [snapshot], "mot?")] == [b"/etc/motd"]
    assert [hit.path for hit in find(reader, [snapshot], "etc/*")] == [b"/etc/motd"]


def test_kinds_sizes_and_times(opened: tuple[Reader, Snapshot]) -> None:
    reader, snapshot = opened

    def paths(**conditions: object) -> list[bytes]:
        return [hit.path for hit in find(reader, [snapshot], "*", **conditions)]  # type: ignore[arg-type]

    assert paths(kinds=[Kind.SYMLINK]) == ["/data/\u00e9t\u00e9".encode()]
    assert paths(kinds=[Kind.DIRECTORY]) == [b"/data", b"/data/empty", b"/data/src", b"/data/src/sub"]
    assert paths(larger=1) == [b"/data/readme.txt", b"/data/src/a.h", b"/data/src/sub/a.c"]
    assert paths(larger=1, smaller=3) == [b"/data/readme.txt", b"/data/src/a.h"]
    assert paths(smaller=1) == [b"/data/raw\xff.c", b"/data/src/sub/[x].c"]
    assert paths(newer_than=TIME * 10**9) == [b"/data/raw\xff.c"]
    assert paths(newer_than=(TIME + 10) * 10**9 + 5) == []
    assert len(paths(older_than=(TIME + 10) * 10**9 + 5)) == len(paths()) - 1
    assert paths(newer_than=TIME * 10**9, older_than=(TIME + 11) * 10**9) == [b"/data/raw\xff.c"]


def test_a_pattern_that_is_none_is_refused_when_asked(opened: tuple[Reader, Snapshot]) -> None:
    with pytest.raises(RequestError, match="is no pattern"):
        find(opened[0], [opened[1]], "[z-a]")


@pytest.mark.parametrize("pattern", ["a.c", "src/a.c", "nothing", "/data/src/**"])
@pytest.mark.parametrize("memory", [200_000, 3])
def test_a_tree_is_parsed_once_for_all_snapshots(pattern: str, memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MEMORY", memory)
    store = memory_store()
    writer = Writer(store)
    snapshots = [writer.commit({b"/data": {**TREE, b"n": b"%d" % n}}) for n in range(5)]
    reader = CountingReader(store.backend, store.view().catalog, store=store.id)
    hits = list(find(reader, snapshots, pattern))
    # Four trees below the root's, and a root of each snapshot's own.
    assert reader.parsed == 3 + 5 or memory == 3
    expected = [
        (snapshot.id, path)
        for snapshot in snapshots
        for path, _ in walk(reader, snapshot)
        if path.endswith(b"/" + pattern.encode()) or ("**" in pattern and path.startswith(b"/data/src/"))
    ]
    assert [(hit.snapshot.id, hit.path) for hit in hits] == expected


def test_the_same_tree_at_two_paths_is_told_apart() -> None:
    store = memory_store()
    tree: dict[bytes, Node] = {b"in": {b"f": b"1"}}
    snapshot = Writer(store).commit({b"/data": {b"a": tree, b"b": tree}})
    reader = store.view().reader
    assert [hit.path for hit in find(reader, [snapshot], "a/in/f")] == [b"/data/a/in/f"]
    assert [hit.path for hit in find(reader, [snapshot], "f")] == [b"/data/a/in/f", b"/data/b/in/f"]


@given(
    name=st.text(st.sampled_from("ab.-\u00e9"), max_size=6),
    pattern=st.text(st.sampled_from("ab.-*?\u00e9"), max_size=6),
)
def test_globs_without_sets_are_those_of_the_shell(name: str, pattern: str) -> None:
    compiled = module._any_of([pattern], ignore_case=False)
    assert compiled is not None
    assert bool(compiled.fullmatch(name)) == fnmatch.fnmatchcase(name, pattern)


def test_a_hit_names_snapshot_and_entry(opened: tuple[Reader, Snapshot]) -> None:
    reader, snapshot = opened
    [hit] = find(reader, [snapshot], "a.h")
    assert hit.snapshot is snapshot
    assert isinstance(hit.entry, Entry)
    assert hit.entry.size == 2
