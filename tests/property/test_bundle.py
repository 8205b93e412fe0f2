"""The law of bundles: what is exported and imported again is the same, in whatever order it comes."""

from __future__ import annotations

import io
import random
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from snapstore.errors import RequestError
from snapstore.model import Entry, Kind
from snapstore.ops.scopes import BY_NAME
from tests.drive import entries as entries_below
from tests.drive import machine
from tests.exchange import ROWS, bundle, commit, imported
from tests.property.format_values import entries, names
from tests.scoperows import records
from tests.stores import Node, link, memory_store

OTHERS = (Kind.SYMLINK, Kind.FIFO, Kind.SOCKET, Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE)


def _unlinked(entry: Entry) -> Entry:
    return replace(entry, hardlink=b"")


# A file of nothing but holes needs no chunks, one that could not be read has none.
_hollow = st.builds(
    lambda entry, size: replace(
        _unlinked(entry), size=size, holes=((0, size),) if size else (), chunks=(), chunk_list=None, unread=""
    ),
    entries(kinds=st.just(Kind.FILE)),
    st.integers(0, 1 << 40),
)
_unread = st.builds(
    lambda entry: replace(_unlinked(entry), holes=(), size=7, chunks=(), chunk_list=None, unread="EIO"),
    entries(kinds=st.just(Kind.FILE)),
)
leaves: st.SearchStrategy[Node] = st.one_of(
    st.binary(max_size=3000), entries(kinds=st.sampled_from(OTHERS)).map(_unlinked), _hollow, _unread
)
directories: st.SearchStrategy[Mapping[bytes, Any]] = st.recursive(
    st.dictionaries(names, leaves, max_size=3),
    lambda inner: st.dictionaries(names, st.one_of(leaves, inner), max_size=3),
    max_leaves=8,
)
roots = st.one_of(
    st.fixed_dictionaries({b"/": directories}),
    st.dictionaries(st.sampled_from((b"/a", b"/a-b", b"/b/c", b"/b/d\n")), st.one_of(directories, leaves), max_size=3),
)
scopes = st.fixed_dictionaries({}, optional={name: records(scope) for name, scope in BY_NAME.items()})


@settings(max_examples=30, deadline=None)
@given(roots, scopes)
def test_an_imported_bundle_is_the_snapshot(found: Mapping[bytes, Node], rows: dict[str, list[Any]]) -> None:
    store = memory_store()
    in_order = {name: rows[name] for name in BY_NAME if name in rows}
    snapshot = commit(store, found, in_order)
    archive = bundle(store, snapshot)
    assert bundle(store, snapshot) == archive
    result, _ = imported(memory_store(), archive)
    assert result.verified
    assert result.snapshot.roots == snapshot.roots
    assert result.snapshot.scopes == snapshot.scopes


def shuffled(archive: bytes, seed: int) -> bytes:
    """The members in another order, as Python's tar writes them again."""
    out = io.BytesIO()
    options: dict[str, Any] = {"encoding": "utf-8", "errors": "surrogateescape"}
    with (
        tarfile.open(fileobj=io.BytesIO(archive), **options) as source,
        tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT, **options) as target,
    ):
        found = list(source)
        random.Random(seed).shuffle(found)
        for each in sorted(found, key=tarfile.TarInfo.islnk):
            target.addfile(each, source.extractfile(each) if each.isreg() else None)
    return out.getvalue()


def linked_trees() -> Iterator[Mapping[bytes, Node]]:
    yield {b"/r": {b"a": b"1", b"a-b": {b"x": b"2"}, b"a0": {}}}
    yield {b"/": {b"d": {b"e": {b"f": b"3"}}, b"d.x": b""}}


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(list(linked_trees())), st.integers(0, 1000))
def test_members_may_come_in_any_order(found: Mapping[bytes, Node], seed: int) -> None:
    store = memory_store()
    snapshot = commit(store, found)
    result, _ = imported(memory_store(), shuffled(bundle(store, snapshot), seed))
    assert result.snapshot.roots == snapshot.roots


def test_the_first_name_is_found_whatever_the_order(tmp_path: Any) -> None:
    made = machine(bytes(tmp_path))
    source = tmp_path / "source"
    (source / "b").mkdir(parents=True)
    (source / "b" / "one").write_bytes(b"linked")
    for name in ("a", "c", "b/two"):
        (source / name).hardlink_to(source / "b" / "one")
    snapshot = made.take(bytes(source)).snapshot
    archive = bundle(made.store, snapshot)
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        found = {each.name.rpartition("source/")[2]: each for each in tar}
    assert [name for name, each in found.items() if each.islnk()] == ["b/one", "b/two", "c"]
    # As another tar could have it: the first to come is not the first in the order of a walk.
    record, top, first, inner, *_ = found.values()
    last = found["c"]
    last.type, last.size = first.type, first.size
    first.type, first.size, first.linkname = tarfile.LNKTYPE, 0, last.name
    found["b/one"].linkname = first.name
    found["b/two"].linkname = last.name
    out = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar, tarfile.open(fileobj=out, mode="w") as target:
        target.addfile(record, tar.extractfile(record))
        last.pax_headers = first.pax_headers
        last.mtime, last.mode = first.mtime, first.mode
        target.addfile(last, io.BytesIO(b"linked"))
        for each in (found["b/two"], inner, top, first, found["b/one"]):
            target.addfile(each)
    result, _ = imported(made.store, out.getvalue())
    tree = result.snapshot.roots[0].entry.tree
    assert tree is not None
    assert {path: each.hardlink for path, each in entries_below(made, tree).items() if each.kind is Kind.FILE} == {
        b"a": b"", b"b/one": b"a", b"b/two": b"a", b"c": b"a",
    }  # fmt: skip
    assert result.snapshot.roots == snapshot.roots


SMALL = memory_store()
SAMPLE = bundle(SMALL, commit(SMALL, {b"/r": {b"a": b"1" * 600, b"d": {b"l": link(b"a")}}}, {"os": ROWS["os"]}))


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(SAMPLE) - 1), st.integers(0, 255)), min_size=1, max_size=3), st.data())
def test_a_damaged_bundle_is_refused_or_says_the_same(found: list[tuple[int, int]], data: st.DataObject) -> None:
    damaged = bytearray(SAMPLE)
    for at, value in found:
        damaged[at] = value
    if data.draw(st.booleans()):
        # A header with a right checksum, so that what it says is looked at and not only that it is damaged.
        for at, _ in found:
            start = at // 512 * 512
            block = damaged[start : start + 512]
            block[148:156] = b" " * 8
            damaged[start + 148 : start + 156] = b"%06o\0 " % sum(block)
    store = memory_store()
    try:
        result, _ = imported(store, bytes(damaged))
    except RequestError:
        assert store.view().finals.snapshots() == []
        return
    assert [each.id for each in store.view().finals.snapshots()] == [result.snapshot.id]
