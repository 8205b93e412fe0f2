"""Where a restore lands, what it leaves alone, what it says beforehand, and what is found out afterwards."""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from snapstore.errors import TargetError, TargetNotEmptyError, UnknownPathError
from snapstore.flow import Cancellation
from snapstore.fs.place import Policy
from snapstore.ops.planned import preview_restore
from snapstore.ops.progress import Silent
from snapstore.ops.restore import RestoreOptions, RestoreResult, restore
from snapstore.ops.snapshot import SnapshotResult
from tests.compare import compare
from tests.drive import Machine, machine
from tests.oddities import noise

POLICIES = (Policy.NEVER, Policy.CHANGED, Policy.ALWAYS)


def write(path: bytes, content: bytes = b"x") -> bytes:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)
    return path


class Scene:
    def __init__(self, base: bytes) -> None:
        self.base = base
        self.root = root = base + b"/tree"
        self.out = base + b"/out"
        write(root + b"/file", b"content")
        write(root + b"/sub/deep/file", b"deep content")
        write(root + b"/sub/large", noise(9_000_000, 1))
        write(root + b"/sub/empty", b"")
        os.mkdir(root + b"/hollow")
        os.symlink(b"file", root + b"/link")
        os.mkfifo(root + b"/fifo")
        os.link(root + b"/file", root + b"/sub/second")
        self.client: Machine = machine(base + b"/machine")
        self.taken: SnapshotResult = self.client.take(root)

    def restore(self, **options: object) -> RestoreResult:
        return self.client.restore(self.taken.snapshot, self.out, strip=self.root, **options)  # type: ignore[arg-type]

    def verify(self) -> list[tuple[bytes, str]]:
        found = self.client.verify(self.taken.snapshot, self.out, strip=self.root)
        return [(each.path, each.reason) for each in found]

    def steps(self, *, overwrite: Policy | None, delete: bool = False) -> list[tuple[str, bytes]]:
        options = RestoreOptions(target=self.out, strip=self.root, overwrite=overwrite, delete=delete)
        plan = preview_restore(self.client.store.view(), self.taken.snapshot, options=options)
        return [(each.action, each.path) for each in plan]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(os.fsencode(tmp_path))


def read(path: bytes) -> bytes:
    with open(path, "rb") as file:
        return file.read()


# -- where -------------------------------------------------------------------------------------------------------------


def test_the_whole_lands_below_the_target(scene: Scene) -> None:
    scene.client.restore(scene.taken.snapshot, scene.out)
    assert compare(scene.root, scene.out + scene.root) == []


def test_a_stripped_root_becomes_the_target(scene: Scene) -> None:
    result = scene.restore()
    assert compare(scene.root, scene.out) == []
    assert (result.files, result.links, result.others, result.kept) == (4, 1, 2, 0)
    assert result.warnings == ()


@pytest.mark.parametrize("strip", [b"", b"/sub"])
def test_parts(scene: Scene, strip: bytes) -> None:
    wanted = [scene.root + b"/sub/deep", scene.root + b"/sub/deep/file", scene.root + b"/sub/empty"]
    base = scene.root + strip if strip else b""
    scene.client.restore(scene.taken.snapshot, scene.out, paths=wanted, strip=base)
    top = scene.out + (scene.root + b"/sub" if not strip else b"")
    assert sorted(os.listdir(top)) == [b"deep", b"empty"]
    assert compare(scene.root + b"/sub/deep", top + b"/deep") == []


def test_a_single_file_root(scene: Scene) -> None:
    root = scene.root + b"/sub/large"
    taken = scene.client.take(root)
    scene.client.restore(taken.snapshot, scene.base + b"/single")
    assert read(scene.base + b"/single" + root) == read(root)
    assert scene.client.verify(taken.snapshot, scene.base + b"/single") == ()


@pytest.mark.parametrize("path", [b"/nowhere", b"/tree/nowhere", b"/tree/file/below", b"/tree/hollow/x"])
def test_what_is_not_there_is_refused_before_anything_is_written(scene: Scene, path: bytes) -> None:
    with pytest.raises(UnknownPathError):
        scene.client.restore(scene.taken.snapshot, scene.out, paths=[scene.base + path])
    assert not os.path.lexists(scene.out)


def test_a_path_outside_of_what_is_stripped(scene: Scene) -> None:
    with pytest.raises(UnknownPathError, match="does not lie below"):
        scene.client.restore(scene.taken.snapshot, scene.out, paths=[scene.root + b"/file"], strip=scene.root + b"/sub")


def test_a_target_that_is_no_directory(scene: Scene) -> None:
    write(scene.out)
    for overwrite in (None, *POLICIES):
        with pytest.raises(TargetError):
            scene.restore(overwrite=overwrite)
    assert read(scene.out) == b"x"


def test_numeric_owners(scene: Scene) -> None:
    options = RestoreOptions(target=scene.out, strip=scene.root, numeric_owner=True)
    restore(
        scene.client.store.view(), scene.taken.snapshot, options=options, progress=Silent(),
        cancellation=Cancellation(),
    )  # fmt: skip
    assert compare(scene.root, scene.out) == []


# -- over what ---------------------------------------------------------------------------------------------------------


def test_a_target_that_holds_something_is_refused(scene: Scene) -> None:
    write(scene.out + b"/mine")
    with pytest.raises(TargetNotEmptyError):
        scene.restore()
    with pytest.raises(TargetNotEmptyError):
        scene.steps(overwrite=None)
    assert os.listdir(scene.out) == [b"mine"]


def test_never_leaves_alone_what_is_there(scene: Scene) -> None:
    write(scene.out + b"/file", b"mine")
    write(scene.out + b"/sub/large", b"mine too")
    write(scene.out + b"/extra", b"mine as well")
    scene.restore(overwrite=Policy.NEVER)
    assert read(scene.out + b"/file") == b"mine"
    assert read(scene.out + b"/sub/large") == b"mine too"
    assert read(scene.out + b"/extra") == b"mine as well"
    assert read(scene.out + b"/sub/deep/file") == b"deep content"
    assert read(scene.out + b"/sub/second") == b"content"


@pytest.mark.parametrize("overwrite", [Policy.CHANGED, Policy.ALWAYS])
def test_replacing_brings_back_everything(scene: Scene, overwrite: Policy) -> None:
    scene.restore()
    write(scene.out + b"/file", b"changed")
    write(scene.out + b"/extra")
    os.unlink(scene.out + b"/link")
    os.mkdir(scene.out + b"/link")
    os.rmdir(scene.out + b"/hollow")
    write(scene.out + b"/hollow", b"a file where a directory was")
    os.chmod(scene.out + b"/sub/deep", 0o700)
    os.truncate(scene.out + b"/sub/large", 100)
    result = scene.restore(overwrite=overwrite)
    assert (result.kept > 0) == (overwrite is Policy.CHANGED)
    assert compare(scene.root, scene.out, ignore={"root"}) == ["extra: names: False != True"]
    result = scene.restore(overwrite=overwrite, delete=True)
    assert result.deleted == 1
    assert compare(scene.root, scene.out) == []


def test_delete_stays_inside_of_what_is_restored(scene: Scene) -> None:
    scene.client.restore(scene.taken.snapshot, scene.out)
    write(scene.out + b"/mine")
    write(scene.out + scene.root + b"/sub/deep/mine/below")
    os.symlink(scene.base, scene.out + scene.root + b"/sub/deep/away")
    result = scene.client.restore(
        scene.taken.snapshot, scene.out, paths=[scene.root + b"/sub"], overwrite=Policy.CHANGED, delete=True
    )
    assert result.deleted == 3
    assert os.path.exists(scene.out + b"/mine")
    assert os.path.exists(scene.root + b"/file")
    assert compare(scene.root, scene.out + scene.root) == []


def test_links_in_the_target_are_not_followed(scene: Scene) -> None:
    away = scene.base + b"/away"
    write(away + b"/deep/file", b"not ours")
    os.mkdir(scene.out)
    os.symlink(away, scene.out + b"/sub")
    scene.restore(overwrite=Policy.ALWAYS)
    assert read(away + b"/deep/file") == b"not ours"
    assert compare(scene.root, scene.out) == []


# -- what it says beforehand ------------------------------------------------------------------------------------------


def tracked(top: bytes) -> dict[bytes, tuple[int, int, int]]:
    """Inode, change time and kind of everything below a directory."""
    found = {}
    for folder, folders, names in os.walk(top):
        for name in folders + names:
            path = os.path.join(folder, name)
            status = os.lstat(path)
            found[os.path.relpath(path, top)] = (status.st_ino, status.st_mtime_ns, status.st_mode)
    return found


@pytest.mark.parametrize("delete", [False, True])
@pytest.mark.parametrize("overwrite", [*POLICIES, None])
def test_the_preview_is_what_happens(scene: Scene, overwrite: Policy | None, delete: bool) -> None:  # noqa: FBT001
    if overwrite is not None:
        scene.restore()
        write(scene.out + b"/sub/deep/file", b"changed!")
        write(scene.out + b"/extra/one")
        os.unlink(scene.out + b"/sub/empty")
        os.unlink(scene.out + b"/link")
        os.symlink(b"elsewhere", scene.out + b"/link")
    before = tracked(scene.out)
    steps = {path: action for action, path in scene.steps(overwrite=overwrite, delete=delete)}
    assert tracked(scene.out) == before
    result = scene.restore(overwrite=overwrite, delete=delete)
    after = tracked(scene.out)
    for path, action in steps.items():
        if not path:
            continue
        if action == "create":
            assert path not in before
            assert path in after
        elif action == "delete":
            assert path in before
            assert path not in after
        elif action == "keep":
            assert before[path][0] == after[path][0]
        elif path != b"sub/second":
            assert before[path][0] != after[path][0] or before[path] != after[path], path
    created = {path for path, action in steps.items() if path and action == "create"}
    assert {path for path in after if path not in before} == created
    gone = {path for path in before if path not in after}
    assert {path for path in gone if os.path.dirname(path) not in gone} == {
        path for path, action in steps.items() if action == "delete"
    }
    counts = Counter(steps.values())
    assert bool(result.deleted) == bool(counts["delete"])
    planned = {path for path in steps if steps[path] != "delete"}
    assert planned == {os.path.relpath(p, scene.root) for p in below(scene.root)} | {b""}


def below(top: bytes) -> list[bytes]:
    return [os.path.join(folder, name) for folder, folders, names in os.walk(top) for name in folders + names]


# -- what is found out afterwards -------------------------------------------------------------------------------------


def swap(path: bytes, offset: int = 0) -> None:
    """One other byte, under the same times."""
    before = os.stat(path)
    with open(path, "r+b") as file:
        file.seek(offset)
        old = file.read(1)
        file.seek(offset)
        file.write(bytes([old[0] ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def relink(path: bytes) -> None:
    times = os.lstat(path)
    os.unlink(path)
    os.symlink(b"elsewhere", path)
    os.utime(path, ns=(0, times.st_mtime_ns), follow_symlinks=False)


def replace(path: bytes) -> None:
    os.unlink(path)
    os.mkdir(path)


TAMPERINGS: dict[str, tuple[bytes, Callable[[bytes], object], str]] = {
    "content": (b"sub/deep/file", swap, "content differs near byte 0"),
    "far content": (b"sub/large", lambda path: swap(path, 8_999_999), "content differs"),
    "shorter": (b"sub/large", lambda path: os.truncate(path, 5), "has 5 bytes"),
    "longer": (b"sub/empty", lambda path: os.truncate(path, 1), "has 1 bytes"),
    "mode": (b"file", lambda path: os.chmod(path, 0o604), "mode is 0604"),
    "directory mode": (b"sub/deep", lambda path: os.chmod(path, 0o700), "mode is 0700"),
    "time": (b"sub/empty", lambda path: os.utime(path, ns=(0, 1)), "modification time"),
    "directory time": (b"hollow", lambda path: os.utime(path, ns=(0, 1)), "modification time"),
    "target": (b"link", relink, "points elsewhere"),
    "kind": (b"fifo", replace, "is no fifo"),
    "gone": (b"sub/empty", os.unlink, "not there"),
}


@pytest.mark.parametrize("kind", TAMPERINGS)
def test_tampering_is_found(scene: Scene, kind: str) -> None:
    scene.restore()
    assert scene.verify() == []
    path, tamper, reason = TAMPERINGS[kind]
    tamper(scene.out + b"/" + path)
    found = scene.verify()
    assert [each for each in found if each[0] == path and reason in each[1]]
    parents = {path, os.path.dirname(path), b"file", b"sub/second"}
    assert {each for each, _ in found} <= parents


def test_data_in_a_hole_is_found(tmp_path: Path) -> None:
    base = os.fsencode(tmp_path)
    root, out = base + b"/tree", base + b"/out"
    write(root + b"/sparse", b"x" * 65536)
    os.truncate(root + b"/sparse", 4 << 20)
    client = machine(base + b"/machine")
    taken = client.take(root)
    client.restore(taken.snapshot, out, strip=root)
    before = os.stat(out + b"/sparse")
    with open(out + b"/sparse", "r+b") as file:
        file.seek(1 << 20)
        file.write(bytes(4096))  # zeros are as good as a hole
    os.utime(out + b"/sparse", ns=(0, before.st_mtime_ns))
    assert client.verify(taken.snapshot, out, strip=root) == ()
    swap(out + b"/sparse", 3 << 20)
    (found,) = client.verify(taken.snapshot, out, strip=root)
    assert "not empty" in found.reason


def test_sockets_are_counted_and_not_made(tmp_path: Path) -> None:
    base = os.fsencode(tmp_path)
    root, out = base + b"/t", base + b"/out"
    os.mkdir(root)
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(root + b"/socket")
    client = machine(base + b"/machine")
    taken = client.take(root)
    assert (taken.snapshot.totals.others, taken.warnings) == (1, ())
    result = client.restore(taken.snapshot, out, strip=root)
    assert (result.skipped, result.others) == (1, 0)
    assert os.listdir(out) == []
    assert client.verify(taken.snapshot, out, strip=root) == ()
