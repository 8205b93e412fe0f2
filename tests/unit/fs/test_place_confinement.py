"""Trees written by `Target`: never outside of the target, and nothing half done when it fails."""

from __future__ import annotations

import os
import stat
import subprocess
from typing import TYPE_CHECKING

import pytest

from snapstore.errors import TargetError
from snapstore.fs.place import Policy, SmallFile, Target
from snapstore.model import Xattr
from tests.oddities import build, set_flags, write
from tests.unit.fs.copying import copy
from tests.unit.fs.placing import file, folder, read, small, symlink, temporaries, tree_digest

if TYPE_CHECKING:
    from collections.abc import Callable

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts, owners, another user's rights")


# --- confinement


def decoy(base: bytes) -> bytes:
    path = base + b"/decoy"
    os.makedirs(path + b"/sub")
    write(path + b"/file", b"precious")
    write(path + b"/sub/file", b"precious")
    return path


PLANTS: list[tuple[bytes, bytes]] = [
    (b"sub", b""),
    (b"sub/deep", b"/sub"),
    (b"sub/file", b"/file"),
    (b"file", b"/file"),
]


@pytest.mark.parametrize("policy", list(Policy))
@pytest.mark.parametrize(("place", "points_to"), PLANTS)
def test_a_planted_link_is_not_followed(base: bytes, policy: Policy, place: bytes, points_to: bytes) -> None:
    outside = decoy(base)
    os.makedirs(base + b"/t/" + os.path.dirname(place), exist_ok=True)
    os.symlink(outside + points_to, base + b"/t/" + place)
    before = tree_digest(outside)
    with Target.open(base + b"/t", overwrite=policy) as target:
        root = target.root
        for directory in (root, root.enter(folder(b"sub", mode=0o777))):
            if directory is None:
                continue
            entry = file(b"file", b"new", mode=0o777, xattrs=(Xattr(b"user.a", b"b"),))
            if not directory.keep(entry):
                directory.write_small([SmallFile(entry, [(0, 0, 3)])], [b"new"])
            deep = directory.enter(folder(b"deep", mode=0o777))
            if deep is not None:
                large = deep.begin_large(file(b"file", b"large"))
                assert large is not None
                large.write_at(0, b"large")
                large.finish()
                deep.link(file(b"hard"), [b"sub", b"file"])
                deep.release()
            directory.place_special(symlink(b"special", b"x"))
            if directory is not root:
                directory.release()
        for name in root.names():
            root.remove(name)
    assert tree_digest(outside) == before
    assert os.listdir(base + b"/t") == []


def test_a_link_swapped_in_for_an_open_directory_changes_nothing(base: bytes) -> None:
    outside = decoy(base)
    before = tree_digest(outside)
    with Target.open(base + b"/t") as target:
        entered = target.root.enter(folder(b"sub", mode=0o777))
        assert entered is not None
        os.rename(base + b"/t/sub", base + b"/t/moved")
        os.symlink(outside, base + b"/t/sub")
        entered.write_small(*small(b"file", b"new"))
        entered.release()
    assert tree_digest(outside) == before
    assert read(base + b"/t/moved/file") == b"new"
    assert stat.S_IMODE(os.stat(base + b"/t/moved").st_mode) == 0o777


@pytest.mark.parametrize("policy", [Policy.CHANGED, Policy.ALWAYS])
def test_a_file_with_other_names_is_not_written_through(base: bytes, policy: Policy) -> None:
    outside = decoy(base)
    os.mkdir(base + b"/t")
    os.link(outside + b"/file", base + b"/t/file")
    os.utime(outside + b"/file", ns=(0, 1_600_000_000_000_000_005))
    # Same size and time, so that only its other name keeps it from being brought in line.
    entry = file(b"file", b"PRECIOUS", mode=0o600)
    with Target.open(base + b"/t", overwrite=policy) as target:
        assert not target.root.keep(entry)
        target.root.write_small([SmallFile(entry, [(0, 0, 8)])], [b"PRECIOUS"])
    assert read(outside + b"/file") == b"precious"
    assert stat.S_IMODE(os.stat(outside + b"/file").st_mode) == 0o644
    assert read(base + b"/t/file") == b"PRECIOUS"


@pytest.mark.parametrize("name", [b"", b".", b"..", b"a/b", b"/", b"../x", b"a\0b"])
def test_names_that_are_no_names_are_refused(base: bytes, name: bytes) -> None:
    with Target.open(base + b"/t") as target:
        root = target.root
        attempts: list[Callable[[], object]] = [
            lambda: root.enter(folder(name)),
            lambda: root.write_small(*small(name, b"x")),
            lambda: root.begin_large(file(name)),
            lambda: root.place_special(symlink(name, b"x")),
            lambda: root.link(file(name), [b"x"]),
            lambda: root.link(file(b"x"), [name, b"x"]),
            lambda: root.link(file(b"x"), [name]),
            lambda: root.keep(file(name)),
            lambda: root.remove(name),
        ]
        for attempt in attempts:
            with pytest.raises(TargetError):
                attempt()
        assert root.names() == []


def test_remove_does_not_leave_the_tree(base: bytes) -> None:
    outside = decoy(base)
    before = tree_digest(outside)
    os.makedirs(base + b"/t/x/y")
    os.symlink(outside, base + b"/t/x/y/link")
    set_flags(write(base + b"/t/x/immutable", b""), "i")
    os.chmod(base + b"/t/x/y", 0)
    set_flags(base + b"/t/x", "a")
    with Target.open(base + b"/t") as target:
        assert target.root.remove(b"x") == 4
        assert target.root.remove(b"x") == 0
    assert os.listdir(base + b"/t") == []
    assert [each.reason for each in target.report.troubles] == ["removing: ENOENT"]
    assert tree_digest(outside) == before


# --- failure


def stop_midway(path: bytes) -> None:
    with Target.open(path) as target:
        below = target.root.enter(folder(b"d"))
        assert below is not None
        assert below.begin_large(file(b"x", b"abc")) is not None
        raise RuntimeError("stop")


def test_abandoned_and_failed_files_leave_nothing(base: bytes) -> None:
    with Target.open(base + b"/t") as target:
        large = target.root.begin_large(file(b"x", b"abc"))
        assert large is not None
        large.write_at(0, b"a")
        assert len(temporaries(base + b"/t")) == 1
        large.abandon()
        large.abandon()
        assert target.root.names() == []
    with pytest.raises(RuntimeError, match="stop"):
        stop_midway(base + b"/t")
    assert os.listdir(base + b"/t/d") == []


def test_descriptors_are_closed(base: bytes) -> None:
    before = os.listdir("/proc/self/fd")
    build(base + b"/a")
    with Target.open(base + b"/t") as target:
        copy(base + b"/a", target)
    with pytest.raises(RuntimeError, match="stop"):
        stop_midway(base + b"/u")
    assert os.listdir("/proc/self/fd") == before


def test_a_target_that_is_a_file_is_refused(base: bytes) -> None:
    write(base + b"/t")
    with pytest.raises(TargetError, match="ENOTDIR"):
        Target.open(base + b"/t")
    with pytest.raises(TargetError, match="EEXIST"):
        Target.open(base + b"/t/below")
    with pytest.raises(TargetError, match="ENOTDIR"):
        Target.open(base + b"/t/below/that")


def test_troubles_are_told_as_they_happen(base: bytes) -> None:
    told: list[tuple[bytes, str]] = []
    with Target.open(base + b"/t/deep/er", warn=lambda path, why: told.append((path, why))) as target:
        target.root.write_small(*small(b"x", b"x", xattrs=(Xattr(b"nonsense", b""),)))
    assert told == [(b"x", "extended attribute nonsense: ENOTSUP")]
    assert read(base + b"/t/deep/er/x") == b"x"


@root_only
@pytest.mark.root
def test_without_privilege_owners_are_one_trouble_and_set_id_is_dropped(base: bytes) -> None:
    os.chmod(base, 0o711)
    os.mkdir(base + b"/t")
    os.chown(base + b"/t", 12345, 12345)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        # Another user's rights cannot be given back within a process, so what is tried runs in one of its own.
        try:
            os.close(reading)
            for directory in (b"/", base):
                os.chdir(directory)
            os.setgroups([])
            os.setgid(12345)
            os.setuid(12345)
            with Target.open(b"t") as target:
                target.root.write_small(*small(b"plain", b"1", mode=0o4755))
                target.root.write_small(*small(b"slow", b"2", mode=0o6711, xattrs=(Xattr(b"user.a", b"b"),)))
                target.root.write_small(*small(b"own", b"3", mode=0o4400, uid=12345, gid=12345))
                target.root.write_small(
                    *small(b"ro", b"4", mode=0o400, uid=12345, gid=12345, xattrs=(Xattr(b"user.a", b"b"),))
                )
                entered = target.root.enter(folder(b"d", mode=0o000))
                assert entered is not None
                entered.place_special(symlink(b"l", b"x"))
                entered.release()
            os.write(writing, repr([(each.path, each.reason) for each in target.report.troubles]).encode())
        finally:
            os._exit(0)
    os.close(writing)
    answer = os.read(reading, 65536)
    os.close(reading)
    os.waitpid(child, 0)
    assert answer == repr([(b"", "the owner of 4 entries could not be set: EPERM")]).encode()
    modes = {name: stat.S_IMODE(os.stat(base + b"/t/" + name).st_mode) for name in os.listdir(base + b"/t")}
    assert modes == {b"plain": 0o755, b"slow": 0o711, b"own": 0o4400, b"ro": 0o400, b"d": 0}
    assert os.getxattr(base + b"/t/ro", b"user.a") == b"b"


def fill_with_small(path: bytes, content: bytes) -> None:
    with Target.open(path) as target:
        for number in range(10):
            target.root.write_small(*small(b"%d" % number, content))


def fill_with_large(path: bytes, content: bytes) -> None:
    with Target.open(path, overwrite=Policy.ALWAYS) as target:
        large = target.root.begin_large(file(b"0", content * 4))
        assert large is not None
        for number in range(4):
            large.write_at(number * len(content), content)


@root_only
@pytest.mark.root
def test_a_full_disk_stops_the_restore_and_leaves_no_temporary_files(base: bytes) -> None:

    mounted = base + b"/small"
    os.mkdir(mounted)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", mounted], check=True)
    try:
        content = b"x" * 300_000
        with pytest.raises(TargetError, match="ENOSPC") as caught:
            fill_with_small(mounted + b"/t", content)
        assert caught.value.advice
        assert all(read(mounted + b"/t/" + name) == content for name in os.listdir(mounted + b"/t"))
        with pytest.raises(TargetError, match="ENOSPC"):
            fill_with_large(mounted + b"/t", content)
        assert temporaries(mounted) == []
        assert read(mounted + b"/t/0") == content
        with (
            pytest.raises(TargetError, match="ENOSPC"),
            Target.open(mounted + b"/t", overwrite=Policy.ALWAYS) as target,
        ):
            target.root.write_small(*small(b"0", content * 2))
        assert temporaries(mounted) == []
        assert read(mounted + b"/t/0") == content
    finally:
        subprocess.run(["umount", mounted], check=True)


@root_only
@pytest.mark.root
def test_a_mount_below_the_target_is_not_emptied(base: bytes) -> None:

    mounted = base + b"/t/x/mounted"
    os.makedirs(mounted)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", mounted], check=True)
    try:
        write(mounted + b"/file", b"precious")
        with Target.open(base + b"/t", overwrite=Policy.ALWAYS) as target:
            target.root.remove(b"x")
        assert read(mounted + b"/file") == b"precious"
        assert [each.reason for each in target.report.troubles] == ["not deleted: another file system is mounted there"]
    finally:
        subprocess.run(["umount", mounted], check=True)
