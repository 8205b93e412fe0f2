"""Snapshots of a system through the verb: what a second run does, and what is taken from where."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

import pytest

from snapstore import kernel
from snapstore.flow import Cancellation
from snapstore.fs import digests
from snapstore.model import Snapshot
from snapstore.ops import ingest
from snapstore.ops.inspection import SystemOptions
from snapstore.ops.running import SnapshotOptions, SnapshotResult
from snapstore.ops.scopes import held_scopes, scope_rows
from snapstore.ops.systemsnapshot import snapshot_system
from snapstore.system.managers.pacman import Pacman
from snapstore.system.schema import SCOPES
from snapstore.system.scopes.files import COMPLETENESS, FILES, ClassTotal
from tests.drive import Machine, Recorded, entries, machine
from tests.surveying import on_disk
from tests.tinysystem import TinySystem, tiny_system


@pytest.fixture
def system(tmp_path: Path) -> TinySystem:
    return tiny_system(tmp_path)


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    # Nothing is taken for recent, so that a second run can rely on what the first one saw.
    monkeypatch.setattr("snapstore.ops.running.SETTLED_NANOSECONDS", -(1 << 70))
    monkeypatch.setattr("snapstore.ops.survey.SETTLED_NANOSECONDS", -(1 << 70))
    place = os.fsencode(tmp_path / "machine")
    result = machine(place)
    os.makedirs(result.local.cache)
    return result


def take(made: Machine, system: TinySystem, *, skip_packaged: bool = True, dry: bool = False) -> SnapshotResult:
    return snapshot_system(
        made.store,
        SystemOptions(root=os.fsencode(system.root), managers=(Pacman(),), skip_packaged=skip_packaged),
        options=SnapshotOptions(),
        local=made.local,
        progress=Recorded(),
        cancellation=Cancellation(),
        dry=dry,
    )


def paths(made: Machine, snapshot: Snapshot) -> set[bytes]:
    tree = snapshot.roots[0].entry.tree
    assert tree is not None
    return set(entries(made, tree))


def test_a_second_run_reads_no_contents(made: Machine, system: TinySystem, monkeypatch: pytest.MonkeyPatch) -> None:
    first = take(made, system)

    def read(*arguments: object) -> NoReturn:
        raise AssertionError(f"a file was read: {arguments}")

    monkeypatch.setattr(kernel, "read_files", read)
    monkeypatch.setattr(digests, "open_for_reading", read)
    monkeypatch.setattr(ingest, "open_for_reading", read)
    second = take(made, system)
    assert second.snapshot.roots[0].entry.tree == first.snapshot.roots[0].entry.tree
    assert second.snapshot.scopes == first.snapshot.scopes
    totals = second.snapshot.totals
    assert (totals.new_chunks, totals.stored_data, totals.stored_manifest) == (0, 0, 0)


def test_one_change_reads_one_file(made: Machine, system: TinySystem, monkeypatch: pytest.MonkeyPatch) -> None:
    take(made, system)
    system.write("/etc/tool.conf", b"level = 7\n")
    read: list[bytes] = []
    original = kernel.read_files

    def counted(fd: int, names: bytes, expected: bytes, buffer: bytearray, offset: int) -> bytes:
        read.extend(bytes(names)[:-1].split(b"\0"))
        return original(fd, names, expected, buffer, offset)

    monkeypatch.setattr(kernel, "read_files", counted)
    second = take(made, system)
    # Its neighbours in /etc are nobody's, and known to the stat cache: only the packaged file is new to both.
    assert set(read) == {b"tool.conf"}
    assert b"etc/tool.conf" in paths(made, second.snapshot)


def test_every_scope_is_recorded_and_read_back(made: Machine, system: TinySystem) -> None:
    snapshot = take(made, system).snapshot
    assert held_scopes(snapshot) == list(SCOPES)
    reader = made.store.view().reader
    for scope in SCOPES:
        rows = list(scope_rows(reader, snapshot, scope))
        assert [scope.element(row) for row in rows] == [scope.element(row) for row in sorted(rows, key=scope.order)]


def test_the_totals_in_the_record_are_what_is_on_disk(made: Machine, system: TinySystem) -> None:
    snapshot = take(made, system).snapshot
    rows = scope_rows(made.store.view().reader, snapshot, COMPLETENESS)
    totals = [row for row in rows if isinstance(row, ClassTotal) and row.cls != "missing"]
    sums = tuple(sum(getattr(each, name) for each in totals) for name in ("files", "directories", "others", "size"))
    assert sums == on_disk(os.fsencode(system.root))


def test_whatever_is_listed_and_not_omitted_is_in_the_tree(made: Machine, system: TinySystem) -> None:
    system.write("/usr/bin/tool", b"changed")
    system.write("/usr/share/tool/extra/deep/file", b"new")
    system.write("/tmp/left/out", b"x")
    os.unlink(system.path("/usr/bin/t"))
    snapshot = take(made, system).snapshot
    held = paths(made, snapshot)
    for row in scope_rows(made.store.view().reader, snapshot, FILES):
        inside = row.path.removeprefix(b"/")
        if row.cls in {"missing", "excluded"} or row.omitted:
            assert inside not in held or row.contents
        elif inside:
            assert inside in held
    assert b"usr/share/tool/extra/deep/file" in held
    assert b"usr/lib" not in held, "it leads to nothing that is stored"


def test_with_everything_stored_only_what_is_excluded_is_not(made: Machine, system: TinySystem) -> None:
    system.write("/tmp/left/out", b"x")
    held = paths(made, take(made, system, skip_packaged=False).snapshot)
    there = set()
    for folder, directories, files in os.walk(os.fsencode(system.root)):
        inside = folder.removeprefix(os.fsencode(system.root)).lstrip(b"/")
        there |= {os.path.join(inside, name) for name in (*directories, *files)}
    assert there - held == {b"tmp/left", b"tmp/left/out"}


def test_a_file_that_becomes_packaged_leaves_the_tree(made: Machine, system: TinySystem) -> None:
    system.write("/usr/share/late", b"late\n")
    assert b"usr/share/late" in paths(made, take(made, system).snapshot)
    system.install("late", "1-1", {"/usr/share/late": b"late\n"})
    assert b"usr/share/late" not in paths(made, take(made, system).snapshot)


def test_a_dry_run_finds_the_same_and_keeps_nothing(made: Machine, system: TinySystem) -> None:
    dry = take(made, system, dry=True)
    assert made.store.view().finals.snapshots() == []
    assert dry.snapshot.roots[0].entry.tree == take(made, system).snapshot.roots[0].entry.tree
