"""What `delete` leaves alone, and that the preview says so."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from snapstore.backends import LocalBackend
from snapstore.errors import RequestError
from snapstore.fs.filters import FilterRules
from snapstore.fs.place import Policy
from snapstore.model import Snapshot
from snapstore.ops.places import own_places
from snapstore.ops.planned import preview_restore
from snapstore.ops.restore import RestoreOptions, RestoreResult
from snapstore.ops.snapshot import SnapshotOptions
from tests.drive import Machine, machine
from tests.oddities import write

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts")


def inode(path: bytes) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino


def fill(path: bytes, content: bytes = b"x") -> bytes:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    return write(path, content)


class Scene:
    """A tree that was taken with patterns, restored to `out`, where `delete` is to be tried."""

    def __init__(self, base: bytes, *excludes: str) -> None:
        self.base = base
        self.root, self.out = base + b"/tree", base + b"/out"
        fill(self.root + b"/sub/file", b"content")
        os.mkdir(self.root + b"/hollow")
        self.client: Machine = machine(base + b"/machine")
        options = SnapshotOptions(rules=FilterRules(excludes=excludes))
        self.snapshot: Snapshot = self.client.take(self.root, options=options).snapshot
        self.client.restore(self.snapshot, self.out, strip=self.root)

    def delete(self, *protected: bytes, overwrite: Policy = Policy.ALWAYS) -> tuple[RestoreResult, set[bytes]]:
        """The result, and what went; the preview is asked first and has to agree."""
        places = frozenset(inode(path) for path in protected)
        options = RestoreOptions(
            target=self.out, strip=self.root, overwrite=overwrite, delete=True, protected=places
        )  # fmt: skip
        steps = list(preview_restore(self.client.store.view(), self.snapshot, options=options))
        before = self.names()
        result = self.client.restore(
            self.snapshot, self.out, strip=self.root, overwrite=overwrite, delete=True, protected=places
        )
        after = self.names()
        for step in steps:
            if step.action == "delete":
                assert step.path not in after
            elif step.action == "keep":
                assert step.path in after or not step.path
        gone = before - after
        assert {path for path in gone if os.path.dirname(path) not in gone} == {
            step.path for step in steps if step.action == "delete"
        }
        return result, gone

    def names(self) -> set[bytes]:
        return {
            os.path.relpath(os.path.join(folder, name), self.out)
            for folder, folders, names in os.walk(self.out)
            for name in folders + names
        }


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(os.fsencode(tmp_path))


def warned(result: RestoreResult) -> list[tuple[bytes, str]]:
    return [(each.path, each.reason) for each in result.warnings]


# -- the store ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [b"store", b"sub/store", b"mine/deep/store"])
def test_the_store_and_what_holds_it_stay(scene: Scene, place: bytes) -> None:
    store = scene.out + b"/" + place
    fill(store + b"/packs/one")
    fill(scene.out + b"/mine/file")
    fill(scene.out + b"/extra")
    result, gone = scene.delete(store)
    assert os.path.exists(store + b"/packs/one")
    assert b"extra" in gone
    assert (b"mine" in gone) == (place != b"mine/deep/store")
    ((path, reason),) = warned(result)
    assert path in (place, b"mine")
    assert "the store" in reason


def test_without_protection_the_same_directory_goes(scene: Scene) -> None:
    fill(scene.out + b"/store/packs/one")
    result, gone = scene.delete()
    assert gone == {b"store", b"store/packs", b"store/packs/one"}
    assert warned(result) == []


@pytest.mark.parametrize("overwrite", list(Policy))
def test_a_store_where_the_snapshot_has_a_directory_is_not_entered(scene: Scene, overwrite: Policy) -> None:
    store = scene.out + b"/sub"
    os.unlink(store + b"/file")
    fill(store + b"/packs/one")
    mode = os.stat(store).st_mode
    result, gone = scene.delete(store, overwrite=overwrite)
    assert gone == set()
    assert os.listdir(store) == [b"packs"]
    assert os.stat(store).st_mode == mode
    assert [path for path, _ in warned(result)] == [b"sub"]


def test_a_store_where_the_snapshot_has_a_file_stays(scene: Scene) -> None:
    store = scene.out + b"/sub/file"
    os.unlink(store)
    fill(store + b"/packs/one")
    result, gone = scene.delete(store)
    assert gone == set()
    assert [path for path, _ in warned(result)] == [b"sub/file"]


@pytest.mark.parametrize("place", [b"", b"/below", b"/not/yet/there"])
def test_a_target_inside_the_store_is_refused(scene: Scene, place: bytes) -> None:
    store = scene.base + b"/store"
    os.makedirs(store + b"/below")
    os.symlink(store, scene.base + b"/link")
    for target in (store + place, scene.base + b"/link" + place):
        options = RestoreOptions(
            target=target, overwrite=Policy.NEVER, protected=frozenset({inode(store)})
        )  # fmt: skip
        with pytest.raises(RequestError, match="inside the store"):
            next(preview_restore(scene.client.store.view(), scene.snapshot, options=options))
        with pytest.raises(RequestError, match="inside the store"):
            scene.client.restore(
                scene.snapshot, target, overwrite=Policy.NEVER, protected=frozenset({inode(store)})
            )  # fmt: skip
    assert os.listdir(store) == [b"below"]


def test_own_places(tmp_path: Path) -> None:
    base = os.fsencode(tmp_path)
    client = machine(base + b"/machine", LocalBackend(base + b"/store"))
    os.mkdir(base + b"/cache")
    found = own_places(client.store, (base + b"/cache", base + b"/missing"))
    assert found == {inode(base + b"/store"), inode(base + b"/cache")}
    assert not os.path.exists(base + b"/missing")


# -- mounts ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def mounted(scene: Scene) -> Iterator[Scene]:
    """Something mounted where the snapshot has an empty directory, and where it has nothing."""
    places = [scene.out + b"/hollow", scene.out + b"/mine/mounted"]
    for place in places:
        os.makedirs(place, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", place], check=True)
        fill(place + b"/precious/file")
        fill(place + b"/another")
    yield scene
    for place in places:
        subprocess.run(["umount", place], check=True)


@root_only
@pytest.mark.root
def test_what_is_mounted_is_not_emptied(mounted: Scene) -> None:
    fill(mounted.out + b"/extra")
    result, gone = mounted.delete()
    assert gone == {b"extra"}
    assert sorted(warned(result)) == [
        (b"hollow", "nothing in it is deleted: another file system is mounted there"),
        (b"mine", "not deleted: another file system is mounted there"),
    ]


@root_only
@pytest.mark.root
def test_a_part_that_is_mounted_is_not_emptied_but_a_root_is(mounted: Scene) -> None:
    def plan(target: bytes, snapshot: Snapshot, strip: bytes, paths: tuple[bytes, ...]) -> list[bytes]:
        options = RestoreOptions(target=target, paths=paths, strip=strip, overwrite=Policy.ALWAYS, delete=True)
        steps = preview_restore(mounted.client.store.view(), snapshot, options=options)
        return [step.path for step in steps if step.action == "delete"]

    part = (mounted.root + b"/hollow",)
    assert plan(mounted.out, mounted.snapshot, mounted.root, part) == []
    result = mounted.client.restore(
        mounted.snapshot, mounted.out, strip=mounted.root, paths=part, overwrite=Policy.ALWAYS, delete=True
    )
    assert (result.deleted, result.warned) == (0, 1)
    whole = mounted.client.take(mounted.root + b"/hollow").snapshot
    assert plan(mounted.out, whole, mounted.root, ()) == [b"hollow/another", b"hollow/precious"]
    result = mounted.client.restore(
        whole, mounted.out, strip=mounted.root, overwrite=Policy.ALWAYS, delete=True
    )  # fmt: skip
    assert (result.deleted, result.warned) == (3, 0)


# -- patterns ----------------------------------------------------------------------------------------------------------


def test_what_patterns_exclude_stays(tmp_path: Path) -> None:
    base = os.fsencode(tmp_path)
    scene = Scene(base, "*.o", "!keep.o", "cache/", f"{tmp_path}/tree/sub/secret")
    for path in (b"a.o", b"keep.o", b"sub/cache/deep/file", b"sub/secret", b"secret", b"build/x.o", b"build/x.c"):
        fill(scene.out + b"/" + path)
    fill(scene.out + b"/stale/file")
    fill(scene.out + b"/hollow/cache")
    result, gone = scene.delete()
    assert gone == {b"keep.o", b"secret", b"stale", b"stale/file", b"hollow/cache"}
    assert warned(result) == [(b"build", "not deleted: it holds what the snapshot's patterns leave out")]
