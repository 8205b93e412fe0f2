"""The reading verbs over a snapshot of everything that a file system can hold."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from snapstore.backends import MemoryBackend
from snapstore.flow import Cancellation
from snapstore.model import Kind, Snapshot
from snapstore.ops.browse import children, find_path, walk
from snapstore.ops.check import check
from snapstore.ops.content import read_file
from snapstore.ops.diff import Change, ChangeKind, compare
from snapstore.ops.find import find
from snapstore.ops.progress import Silent
from snapstore.ops.snapshot import LocalState, SnapshotOptions, take_snapshot
from snapstore.ops.stats import snapshot_stats, store_stats
from snapstore.store.repository import Store, create_store, open_store
from tests.oddities import allow_depth, build, unbuild, write


def taken(store: Store, base: bytes, path: bytes) -> Snapshot:
    local = LocalState(cache=base + b"/cache", state=base + b"/state")
    return take_snapshot(
        store, [path], options=SnapshotOptions(), local=local, progress=Silent(), cancellation=Cancellation()
    ).snapshot


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, bytes, Snapshot]]:
    base = os.fsencode(tmp_path_factory.mktemp("odd"))
    allow_depth()
    build(base + b"/tree")
    backend = MemoryBackend()
    create_store(backend)
    store = open_store(backend)
    try:
        yield store, base, taken(store, base, base + b"/tree")
    finally:
        unbuild(base + b"/tree")


def test_every_path_is_walked_and_every_file_is_whole(odd: tuple[Store, bytes, Snapshot]) -> None:
    store, base, snapshot = odd
    reader = store.view().reader
    found = dict(walk(reader, snapshot))
    assert len(found) == snapshot.totals.files + snapshot.totals.directories + snapshot.totals.others
    files = 0
    for path, entry in found.items():
        if len(path) > 4000:
            continue  # Longer than a system call takes in one piece; the restore tests compare these.
        status = os.lstat(path)
        assert stat.S_IMODE(status.st_mode) == entry.mode
        if entry.kind is Kind.FILE and not entry.unread and status.st_size < 1 << 28:
            files += 1
            assert b"".join(read_file(reader, entry)) == Path(os.fsdecode(path)).read_bytes()
    assert files > 3000
    deepest = max(found, key=lambda path: path.count(b"/"))
    assert find_path(reader, snapshot, deepest)[1] == found[deepest]
    assert [path for path, _ in children(reader, snapshot, base)] == [base + b"/tree"]


def test_nothing_is_wrong_with_it_and_the_numbers_add_up(odd: tuple[Store, bytes, Snapshot]) -> None:
    store, _, snapshot = odd
    result = check(store, read_data=True, progress=Silent(), cancellation=Cancellation())
    assert result.findings == ()
    view = store.view()
    one, whole = snapshot_stats(view.reader, snapshot), store_stats(store, view)
    totals = snapshot.totals
    assert (one.files, one.directories, one.others) == (totals.files, totals.directories, totals.others)
    assert (one.raw, one.unique, one.manifest) == (totals.size, totals.new_data, totals.new_manifest)
    assert (whole.stored, whole.manifest_stored) == (totals.stored_data, totals.stored_manifest)


def test_names_of_any_bytes_are_found(odd: tuple[Store, bytes, Snapshot]) -> None:
    store, _, snapshot = odd
    reader = store.view().reader
    odd_names = {
        entry.name: path for path, entry in walk(reader, snapshot) if re.search(rb"[^A-Za-z0-9._]", entry.name)
    }
    assert len(odd_names) > 50
    literals = [re.sub(rb"([*?\[\\])", rb"\\\1", name) for name in odd_names]
    hits = {hit.path for hit in find(reader, [snapshot], literals)}
    assert set(odd_names.values()) <= hits
    assert {os.path.basename(path) for path in hits} == set(odd_names)


def test_one_changed_file_is_one_change(odd: tuple[Store, bytes, Snapshot]) -> None:
    store, base, before = odd
    path = write(base + b"/tree/new file", b"new")
    try:
        after = taken(store, base, base + b"/tree")
        changes: list[Change] = list(compare(store.view().reader, before, after))
    finally:
        os.unlink(path)
    assert [(change.path, change.kind) for change in changes] == [
        (base + b"/tree", ChangeKind.METADATA),
        (path, ChangeKind.ADDED),
    ]
