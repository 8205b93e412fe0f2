"""What changed in the files of a system, told by what packages know of them."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from snapstore.errors import RequestError, UnknownPathError
from snapstore.flow import Cancellation
from snapstore.fs.filters import FilterRules
from snapstore.model import Snapshot
from snapstore.ops.filediff import FileChange, compare_files
from snapstore.ops.inspection import SystemOptions
from snapstore.ops.live import look
from snapstore.ops.running import SnapshotOptions
from snapstore.ops.snapshot import snapshot_stream
from snapstore.ops.systemsnapshot import snapshot_system
from snapstore.system.managers.pacman import Pacman
from tests.drive import Machine, Recorded, machine
from tests.tinysystem import TinySystem, tiny_system


@dataclass
class Stand:
    """A system and a machine that takes snapshots of it."""

    system: TinySystem
    machine: Machine

    def options(self, **values: Any) -> SystemOptions:
        return SystemOptions(root=os.fsencode(self.system.root), managers=(Pacman(),), **values)

    def take(self, **values: Any) -> Snapshot:
        return snapshot_system(
            self.machine.store, self.options(**values), options=SnapshotOptions(), local=self.machine.local,
            progress=Recorded(), cancellation=Cancellation(),
        ).snapshot  # fmt: skip

    def told(self, a: Snapshot, b: Snapshot, path: bytes = b"/") -> dict[bytes, tuple[str, str]]:
        return read(compare_files(self.machine.store.view().reader, a, b, path=path))

    def live(self, a: Snapshot, path: bytes = b"/") -> dict[bytes, tuple[str, str]]:
        store = self.machine.store
        now = look(
            store, store.view(), a, system=self.options(), local=self.machine.local, progress=Recorded(),
            cancellation=Cancellation(),
        )  # fmt: skip
        return read(compare_files(now.reader, a, now.snapshot, path=path))


def read(changes: Any) -> dict[bytes, tuple[str, str]]:
    """What is told of each path, the package manager's own aside; none is told of twice."""
    found: dict[bytes, tuple[str, str]] = {}
    each: FileChange
    for each in changes:
        assert each.change.path not in found
        if each.change.path.startswith(b"/var/lib/pacman/"):
            continue
        words = [f"{name} {getattr(each, name)}" for name in ("pristine", "missing", "excluded") if getattr(each, name)]
        found[each.change.path] = str(each.change.kind.name), " ".join(words)
    return found


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    made = machine(os.fsencode(tmp_path / "machine"))
    os.makedirs(made.local.cache)
    return Stand(tiny_system(tmp_path), made)


def test_nothing_changed_is_nothing_told(stand: Stand) -> None:
    assert stand.told(stand.take(), stand.take()) == {}


def test_what_packages_bring_back_is_no_news(stand: Stand) -> None:
    first = stand.take()
    stand.system.install("library", "2.6-1", {"/usr/lib/library.so": b"new"})
    stand.system.install("extra", "1-1", {"/usr/lib/extra.so": b"extra"})
    assert stand.told(first, stand.take()) == {}


def test_packaged_files_are_told_by_their_packages(stand: Stand) -> None:
    tool, conf = b"/usr/bin/tool", b"/etc/tool.conf"
    first = stand.take()
    stand.system.write(tool, b"altered")
    os.unlink(stand.system.path(conf))
    second = stand.take()
    assert stand.told(first, second) == {
        tool: ("CONTENT", "pristine before"), conf: ("REMOVED", "missing after"),
    }  # fmt: skip
    assert stand.told(second, first) == {
        tool: ("CONTENT", "pristine after"), conf: ("ADDED", "missing before"),
    }  # fmt: skip


def test_what_was_missing_and_is_there_again_is_told_once(stand: Stand) -> None:
    conf = b"/etc/tool.conf"
    os.unlink(stand.system.path(conf))
    first = stand.take()
    stand.system.write(conf, b"by hand")
    second = stand.take()
    assert stand.told(first, second) == {conf: ("ADDED", "missing before")}
    assert stand.told(second, first) == {conf: ("REMOVED", "missing after")}


def test_what_goes_with_its_package_is_not_as_packaged(stand: Stand) -> None:
    """Nor is it there again, if it was missing."""
    lib = b"/usr/lib/library.so"
    stand.system.write(lib, b"altered")
    os.unlink(stand.system.path("/etc/tool.conf"))
    first = stand.take()
    for name in ("library-2.5-3", "tool-1.0-1"):
        shutil.rmtree(stand.system.local / name)
    shutil.rmtree(stand.system.root / "usr")
    second = stand.take()
    assert stand.told(first, second) == {lib: ("REMOVED", "")}
    # Another way round: it comes with its package, and has been altered since.
    found = stand.told(second, first)
    assert found.pop(b"/etc/tool.conf") == ("REMOVED", "missing after")
    assert found == {lib: ("ADDED", "")}


def test_what_is_left_out_now_is_not_gone(stand: Stand) -> None:
    first = stand.take()
    second = stand.take(filters=FilterRules(excludes=("/srv/data", "tool.conf")))
    found = stand.told(first, second)
    assert set(found) == {b"/srv/data", b"/srv/data/one", b"/srv/data/two"}
    assert set(found.values()) == {("REMOVED", "excluded after")}
    assert set(stand.told(second, first).values()) == {("ADDED", "excluded before")}


def test_a_snapshot_of_everything_is_compared_with_one_that_leaves_packages_out(stand: Stand) -> None:
    whole = stand.take(skip_packaged=False)
    part = stand.take()
    assert stand.told(whole, part) == {}
    assert stand.told(part, whole) == {}
    stand.system.write("/usr/bin/tool", b"altered")
    stand.system.write("/srv/data/three", b"3")
    part = stand.take()
    assert stand.told(whole, part) == {b"/usr/bin/tool": ("CONTENT|METADATA", ""), b"/srv/data/three": ("ADDED", "")}
    stand.system.install("extra", "1-1", {"/usr/lib/extra.so": b"extra"})
    assert stand.told(whole, stand.take(skip_packaged=False))[b"/usr/lib/extra.so"] == ("ADDED", "")


def test_the_present_is_looked_at_as_the_snapshot_was(stand: Stand) -> None:
    whole = stand.take(skip_packaged=False, enter_mounts=True)
    assert stand.live(whole) == {}
    stand.system.write("/usr/bin/tool", b"altered")
    assert set(stand.live(whole)) == {b"/usr/bin/tool"}
    assert set(stand.live(stand.take())) == set()


def test_a_path_that_only_the_records_know_can_be_asked_for(stand: Stand) -> None:
    first = stand.take()
    os.unlink(stand.system.path("/usr/bin/tool"))
    second = stand.take()
    for path in (b"/usr/bin/tool", b"/usr/bin", b"/usr", b"/usr/bin//tool/"):
        assert stand.told(first, second, path) == {b"/usr/bin/tool": ("REMOVED", "missing after")}
        assert stand.live(first, path) == {b"/usr/bin/tool": ("REMOVED", "missing after")}
    assert stand.told(first, second, b"/srv") == {}
    with pytest.raises(UnknownPathError):
        stand.told(first, second, b"/usr/bin/too")


def test_a_directory_that_becomes_a_link_and_back(stand: Stand) -> None:
    first = stand.take()
    place = stand.system.path("/srv/data")
    os.rename(place, place + b"-")
    os.symlink("data-", place)
    second = stand.take()
    assert stand.told(first, second)[b"/srv/data"] == ("TYPE", "")
    assert stand.told(second, first)[b"/srv/data/one"] == ("ADDED", "")


def test_rules_that_cover_things_at_the_top_hide_nothing_and_invent_nothing(stand: Stand) -> None:
    """What a rule leaves out in a directory says nothing about the directories beside it."""
    for name in ("one.bak", "two.bak", "srv/one.bak"):
        stand.system.write("/" + name, b"x")
    rules = FilterRules(excludes=("*.bak",))
    first = stand.take(filters=rules)
    stand.system.write("/usr/lib/library.so", b"altered")
    second = stand.take(filters=rules)
    assert stand.told(first, second) == {b"/usr/lib/library.so": ("CONTENT", "pristine before")}


def test_what_is_gone_or_was_a_stream_cannot_be_looked_at(stand: Stand, tmp_path: Path) -> None:
    store, local = stand.machine.store, stand.machine.local
    (tmp_path / "tree").mkdir()
    tree = stand.machine.take(os.fsencode(tmp_path / "tree")).snapshot
    (tmp_path / "tree").rmdir()
    stream = snapshot_stream(
        store, lambda _buffer: 0, path=b"/no/such/stream", options=SnapshotOptions(), local=local,
        progress=Recorded(), cancellation=Cancellation(),
    ).snapshot  # fmt: skip
    for snapshot in (tree, stream):
        with pytest.raises(RequestError, match="cannot be read"):
            stand.live(snapshot)
