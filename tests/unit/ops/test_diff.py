from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snapstore.errors import UnknownPathError
from snapstore.model import ChunkId, Entry, Kind, Snapshot, Xattr
from snapstore.ops.browse import walk
from snapstore.ops.diff import Change, ChangeKind, Summary, compare
from snapstore.store.reader import Reader
from tests.stores import TIME, Node, Writer, file, link, memory_store

ADDED, REMOVED, CONTENT, METADATA, TYPE = (
    ChangeKind.ADDED,
    ChangeKind.REMOVED,
    ChangeKind.CONTENT,
    ChangeKind.METADATA,
    ChangeKind.TYPE,
)


class CountingReader(Reader):
    documents: list[ChunkId]

    def document(self, chunk: ChunkId) -> bytes:
        self.documents.append(chunk)
        return super().document(chunk)


def opened(*commits: Mapping[bytes, Node]) -> tuple[CountingReader, list[Snapshot]]:
    store = memory_store()
    writer = Writer(store)
    snapshots = [writer.commit(roots) for roots in commits]
    reader = CountingReader(store.backend, store.view().catalog, store=store.id)
    reader.documents = []
    return reader, snapshots


def changes(
    before: Mapping[bytes, Node], after: Mapping[bytes, Node], path: bytes = b"/"
) -> list[tuple[str, ChangeKind]]:
    reader, [a, b] = opened(before, after)
    return [(change.path.decode(), change.kind) for change in compare(reader, a, b, path=path)]


def test_equal_snapshots_differ_in_nothing_and_are_not_read() -> None:
    tree: dict[bytes, Node] = {b"a": {b"b": b"1"}}
    reader, [a, b] = opened({b"/r": tree}, {b"/r": tree})
    assert list(compare(reader, a, b)) == []
    assert reader.documents == []


def test_each_kind_of_change_is_told() -> None:
    before: dict[bytes, Node] = {
        b"changed": b"1",
        b"gone": {b"in": b"1", b"sub": {}},
        b"kind": b"1",
        b"dir-to-file": {b"x": b"1"},
        b"file-to-dir": b"1",
        b"link": link(b"a"),
        b"touched": file(),
        b"both": b"1",
    }
    after: dict[bytes, Node] = {
        b"changed": b"2",
        b"kind": link(b"x"),
        b"dir-to-file": b"",
        b"file-to-dir": {b"y": b"1"},
        b"link": link(b"b"),
        b"touched": file(mtime=(TIME, 1)),
        b"both": file(b"x", unread="EIO", mode=0o600),
        b"new": {b"in": b"1"},
    }
    assert changes({b"/r": before}, {b"/r": after}) == [
        ("/r/both", CONTENT | METADATA),
        ("/r/changed", CONTENT),
        ("/r/dir-to-file", TYPE),
        ("/r/dir-to-file/x", REMOVED),
        ("/r/file-to-dir", TYPE),
        ("/r/file-to-dir/y", ADDED),
        ("/r/gone", REMOVED),
        ("/r/gone/in", REMOVED),
        ("/r/gone/sub", REMOVED),
        ("/r/kind", TYPE),
        ("/r/link", CONTENT),
        ("/r/new", ADDED),
        ("/r/new/in", ADDED),
        ("/r/touched", METADATA),
    ]


@pytest.mark.parametrize(
    ("field", "value", "kind"),
    [
        ("mode", 0o600, METADATA),
        ("uid", 7, METADATA),
        ("gid", 7, METADATA),
        ("user", "somebody", METADATA),
        ("group", "somebody", METADATA),
        ("mtime", (TIME, 5), METADATA),
        ("links", 2, METADATA),
        ("hardlink", b"other", METADATA),
        ("flags", "i", METADATA),
        ("acl", "user::rw-", METADATA),
        ("default_acl", "user::rw-", METADATA),
        ("xattrs", (Xattr(b"user.x", b"1"),), METADATA),
        ("unread", "EIO", CONTENT),
    ],
)
def test_each_field_of_a_file_counts(field: str, value: object, kind: ChangeKind) -> None:
    before = file()
    after = replace(before, **{field: value})  # type: ignore[arg-type]
    assert changes({b"/r": {b"f": before}}, {b"/r": {b"f": after}}) == [("/r/f", kind)]


def test_a_hole_that_grows_is_a_change_of_content() -> None:
    before, after = file(size=9, holes=((0, 9),)), file(size=8, holes=((0, 8),))
    assert changes({b"/r": {b"f": before}}, {b"/r": {b"f": after}}) == [("/r/f", CONTENT)]


def test_device_numbers_are_content() -> None:
    device = Entry(name=b"", kind=Kind.CHARACTER_DEVICE, mode=0o600, uid=0, gid=0, rdev=(1, 3))
    assert changes({b"/r": {b"d": device}}, {b"/r": {b"d": replace(device, rdev=(1, 5))}}) == [("/r/d", CONTENT)]


def test_a_directory_that_could_not_be_read_has_lost_its_entries() -> None:
    locked = Entry(name=b"", kind=Kind.DIRECTORY, mode=0o755, uid=0, gid=0, mtime=(TIME, 0), unread="EACCES")
    before: dict[bytes, Node] = {b"/r": {b"d": {b"x": b"1"}}}
    assert changes(before, {b"/r": {b"d": locked}}) == [("/r/d", CONTENT), ("/r/d/x", REMOVED)]
    assert changes({b"/r": {b"d": locked}}, before) == [("/r/d", CONTENT), ("/r/d/x", ADDED)]


def test_roots_may_differ() -> None:
    etc: dict[bytes, Node] = {b"passwd": b"1", b"ssh": {b"config": b"2"}}
    assert changes({b"/etc": etc}, {b"/": {b"etc": etc, b"usr": {}}}) == [("/", ADDED), ("/usr", ADDED)]
    assert changes({b"/": {b"etc": etc}}, {b"/etc/ssh": etc[b"ssh"]}) == [
        ("/", REMOVED),
        ("/etc", REMOVED),
        ("/etc/passwd", REMOVED),
    ]
    assert changes({b"/a/x": b"1"}, {b"/b/x": b"1"}) == [("/a/x", REMOVED), ("/b/x", ADDED)]


def test_a_path_narrows_it_down() -> None:
    before: dict[bytes, Node] = {b"/r": {b"a": {b"x": b"1"}, b"b": {b"y": b"1"}}}
    after: dict[bytes, Node] = {b"/r": {b"a": {b"x": b"2"}, b"b": {b"y": b"2"}, b"c": b""}}
    assert changes(before, after, b"/r/a/") == [("/r/a/x", CONTENT)]
    assert changes(before, after, b"/r/a/x") == [("/r/a/x", CONTENT)]
    assert changes(before, after, b"/r/c") == [("/r/c", ADDED)]
    reader, [a, b] = opened(before, after)
    with pytest.raises(UnknownPathError, match="neither snapshot"):
        compare(reader, a, b, path=b"/r/nothing")


def test_of_a_large_directory_only_what_differs_is_read() -> None:
    crowd: dict[bytes, Node] = {b"%06d" % number: file() for number in range(20_000)}
    other = {**crowd, b"010000": file(mode=0o600), b"zzz": file()}
    reader, [a, b] = opened({b"/r": crowd}, {b"/r": other})
    found = list(compare(reader, a, b))
    assert [(change.path, change.kind) for change in found] == [(b"/r/010000", METADATA), (b"/r/zzz", ADDED)]
    read = len(set(reader.documents))
    reader.documents.clear()
    assert len(list(walk(reader, a))) == 20_001
    assert read < len(set(reader.documents)) / 4


def test_the_summary_counts_paths_and_bytes() -> None:
    before: dict[bytes, Node] = {b"gone": b"12345", b"changed": b"123", b"type": b"12", b"meta": file()}
    after: dict[bytes, Node] = {b"new": b"1234567", b"changed": b"1", b"type": link(b"x"), b"meta": file(mode=0o600)}
    reader, [a, b] = opened({b"/r": before}, {b"/r": after})
    summary = Summary()
    for change in compare(reader, a, b):
        summary.add(change)
    assert summary == Summary(
        added=1, removed=1, content=1, metadata=1, type=1, added_size=7, removed_size=7, changed_size=1,
        growth=7 + 1 - 5 - 3 - 2,
    )  # fmt: skip


names = st.sampled_from([b"a", b"a-", b"a.b", b"b", b"c\xff"])
leaves = st.one_of(st.sampled_from([b"", b"1", b"2"]), st.sampled_from([link(b"x"), link(b"y"), file(mode=0o600)]))
trees = st.recursive(leaves, lambda inner: st.dictionaries(names, inner, max_size=4), max_leaves=12)
roots = st.dictionaries(names, trees, max_size=4)


@settings(max_examples=60, deadline=None)
@given(before=roots, after=roots)
def test_changes_turn_one_snapshot_into_the_other(before: dict[bytes, Node], after: dict[bytes, Node]) -> None:
    reader, [a, b] = opened({b"/r": before}, {b"/r": after})
    first, second = dict(walk(reader, a)), dict(walk(reader, b))
    found: list[Change] = list(compare(reader, a, b))
    patched = dict(first)
    for change in found:
        assert patched.get(change.path) == change.before
        if change.after is None:
            del patched[change.path]
        else:
            patched[change.path] = change.after

    def flat(entries: dict[bytes, Entry]) -> dict[bytes, Entry]:
        return {path: replace(entry, tree=None) for path, entry in entries.items()}

    assert flat(patched) == flat(second)
    order = [change.path.split(b"/") for change in found]
    assert order == sorted(order)
    assert len(order) == len({change.path for change in found})
