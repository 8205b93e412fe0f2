"""Trees written by `Target`: true to the source, and never outside of the target."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from snapstore.errors import TargetError
from snapstore.fs.place import Policy, SmallFile, Target
from snapstore.model import Buffer, Entry, Kind, Xattr
from tests.compare import compare
from tests.oddities import build, raw_acl, set_flags, unbuild, write
from tests.unit.fs.copying import copy, describe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts, owners, another user's rights")
ME = (os.geteuid(), os.getegid())


@pytest.fixture
def base(tmp_path: Path) -> Iterator[bytes]:
    path = os.fsencode(tmp_path)
    yield path
    for name in os.listdir(path):
        unbuild(os.path.join(path, name))


def file(name: bytes, content: bytes = b"", **fields: object) -> Entry:
    known = {"mode": 0o644, "uid": ME[0], "gid": ME[1], "mtime": (1_600_000_000, 5), "size": len(content)} | fields
    return Entry(name=name, kind=Kind.FILE, **known)  # type: ignore[arg-type]


def folder(name: bytes, **fields: object) -> Entry:
    known = {"mode": 0o755, "uid": ME[0], "gid": ME[1], "mtime": (1_500_000_000, 7)} | fields
    return Entry(name=name, kind=Kind.DIRECTORY, **known)  # type: ignore[arg-type]


def symlink(name: bytes, target: bytes) -> Entry:
    return Entry(name=name, kind=Kind.SYMLINK, mode=0o777, uid=ME[0], gid=ME[1], mtime=(1, 2), target=target)


def small(name: bytes, content: bytes, **fields: object) -> tuple[list[SmallFile], list[bytes]]:
    return [SmallFile(file(name, content, **fields), [(0, 0, len(content))])], [content]


def read(path: bytes) -> bytes:
    with open(path, "rb") as handle:
        return handle.read()


def tree_digest(path: bytes) -> str:
    """A hash of everything about a tree but access times."""
    digest = hashlib.sha256()
    for where, directories, files in sorted(os.walk(path)):
        for name in [b".", *sorted(directories), *sorted(files)]:
            each = os.path.join(where, name)
            status = os.lstat(each)
            content = read(each) if stat.S_ISREG(status.st_mode) else b""
            shown = (each, status.st_mode, status.st_ino, status.st_nlink, status.st_uid, status.st_mtime_ns, content)
            digest.update(repr((shown, status.st_ctime_ns, os.listxattr(each, follow_symlinks=False))).encode())
    return digest.hexdigest()


def temporaries(path: bytes) -> list[bytes]:
    # os.walk recurses, and the trees are deeper than Python's stack.
    found = subprocess.run(["find", path, "-name", ".snapstore-*", "-print0"], capture_output=True, check=True)
    return [each for each in found.stdout.split(b"\0") if each]


# --- fidelity


def test_oddities_round_trip(base: bytes) -> None:
    made = build(base + b"/a")
    assert len(made) > 20
    with Target.open(base + b"/b") as target:
        copy(base + b"/a", target)
    assert target.report.troubles == ()
    assert compare(base + b"/a", base + b"/b", ignore=["socket"]) == []
    assert temporaries(base + b"/b") == []
    assert target.report.counts["sockets"] == ("socket" in made)


@pytest.mark.parametrize("policy", [Policy.CHANGED, Policy.ALWAYS])
def test_oddities_over_themselves(base: bytes, policy: Policy) -> None:
    build(base + b"/a")
    with Target.open(base + b"/b") as target:
        copy(base + b"/a", target)
    with Target.open(base + b"/b", overwrite=policy) as target:
        copy(base + b"/a", target)
    assert target.report.troubles == ()
    assert compare(base + b"/a", base + b"/b", ignore=["socket"]) == []
    assert temporaries(base + b"/b") == []
    assert ("files" in target.report.counts) is (policy is Policy.ALWAYS)


def test_oddities_into_an_inheriting_directory(base: bytes) -> None:
    build(base + b"/a")
    os.mkdir(base + b"/b")
    every = 0xFFFFFFFF
    os.setxattr(
        base + b"/b",
        b"system.posix_acl_default",
        raw_acl((1, 7, every), (2, 7, 99), (4, 7, every), (16, 7, every), (32, 7, every)),
    )
    set_flags(base + b"/b", "d")
    with Target.open(base + b"/b", overwrite=Policy.CHANGED) as target:
        copy(base + b"/a", target)
    assert target.report.troubles == ()
    assert compare(base + b"/a", base + b"/b", ignore=["socket"]) == []


def test_small_files_come_from_pieces_of_several_buffers(base: bytes) -> None:
    buffers: list[Buffer] = [b"0123456789", bytearray(b"abcdef"), memoryview(b"XYZ")]
    with Target.open(base + b"/t") as target:
        target.root.write_small(
            [
                SmallFile(file(b"a", b"23abXYZ", mode=0o751), [(0, 2, 2), (1, 0, 2), (2, 0, 3)]),
                SmallFile(file(b"b", mtime=(-5, 999_999_999)), []),
            ],
            buffers,
        )
    assert read(base + b"/t/a") == b"23abXYZ"
    assert stat.S_IMODE(os.stat(base + b"/t/a").st_mode) == 0o751
    assert os.stat(base + b"/t/b").st_mtime_ns == -4_000_000_001
    assert target.report.counts == {"files": 2, "bytes": 7}


def test_content_that_does_not_fill_the_file_is_not_written(base: bytes) -> None:
    with Target.open(base + b"/t") as target:
        target.root.write_small([SmallFile(file(b"a", b"12345"), [(0, 0, 4)])], [b"1234"])
    assert os.listdir(base + b"/t") == []
    assert [each.path for each in target.report.troubles] == [b"a"]


def test_directories_are_closed_while_filled_and_finished_bottom_up(base: bytes) -> None:
    with Target.open(base + b"/t") as target:
        outer = target.root.enter(folder(b"outer", mode=0o555))
        assert outer is not None
        inner = outer.enter(folder(b"inner", mode=0o777))
        assert inner is not None
        outer.release()
        assert stat.S_IMODE(os.stat(base + b"/t/outer").st_mode) == 0o700
        assert stat.S_IMODE(os.stat(base + b"/t/outer/inner").st_mode) == 0o700
        inner.write_small(*small(b"x", b"x"))
        inner.release()
        assert stat.S_IMODE(os.stat(base + b"/t/outer").st_mode) == 0o555
    for name, mode in ((b"/t/outer", 0o555), (b"/t/outer/inner", 0o777)):
        status = os.stat(base + name)
        assert (stat.S_IMODE(status.st_mode), status.st_mtime_ns) == (mode, 1_500_000_000_000_000_007)


def test_threads_fill_one_directory(base: bytes) -> None:
    failures: list[BaseException] = []
    with Target.open(base + b"/t") as target:
        shared = target.root.enter(folder(b"shared", mode=0o500))
        assert shared is not None
        large = shared.begin_large(file(b"large", bytes(8 * 65536)))
        assert large is not None

        def work(number: int) -> None:
            try:
                for turn in range(40):
                    shared.write_small(*small(b"%d-%d" % (number, turn), b"%d" % turn))
                    below = shared.enter(folder(b"dir-%d-%d" % (number, turn)))
                    assert below is not None
                    below.place_special(symlink(b"link", b"x"))
                    below.release()
                large.write_at(number * 65536, bytes([number]) * 65536)
            except BaseException as failure:  # noqa: BLE001 - told to the main thread
                failures.append(failure)
            finally:
                shared.release()

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            shared.hold()
            thread.start()
        shared.release()
        for thread in threads:
            thread.join()
        assert large.finish()
    assert failures == []
    assert target.report.troubles == ()
    assert len(os.listdir(base + b"/t/shared")) == 8 * 40 * 2 + 1
    assert read(base + b"/t/shared/large") == b"".join(bytes([n]) * 65536 for n in range(8))
    assert stat.S_IMODE(os.stat(base + b"/t/shared").st_mode) == 0o500


# --- policies


@pytest.mark.parametrize("size", [3, 300_000])
@pytest.mark.parametrize("policy", list(Policy))
def test_an_existing_file(base: bytes, policy: Policy, size: int) -> None:
    os.mkdir(base + b"/t")
    write(base + b"/t/x", b"old")
    content = b"new" * (size // 3)
    with Target.open(base + b"/t", overwrite=policy) as target:
        entry = file(b"x", content)
        assert target.root.keep(entry) is (policy is Policy.NEVER)
        if size == 3:
            target.root.write_small([SmallFile(entry, [(0, 0, size)])], [content])
        else:
            large = target.root.begin_large(entry)
            assert large is not None
            large.write_at(0, content)
            assert large.finish() is (policy is not Policy.NEVER)
    assert read(base + b"/t/x") == (b"old" if policy is Policy.NEVER else content)
    assert os.listdir(base + b"/t") == [b"x"]
    assert target.report.troubles == ()


@pytest.mark.parametrize("policy", list(Policy))
def test_a_full_directory_in_the_way_of_a_file_goes_only_by_always(base: bytes, policy: Policy) -> None:
    os.makedirs(base + b"/t/x/y")
    with Target.open(base + b"/t", overwrite=policy) as target:
        target.root.write_small(*small(b"x", b"new"))
    assert os.path.isfile(base + b"/t/x") is (policy is Policy.ALWAYS)
    assert len(target.report.troubles) == (policy is Policy.CHANGED)
    assert temporaries(base + b"/t") == []


@pytest.mark.parametrize("policy", list(Policy))
def test_an_empty_directory_in_the_way_of_a_link(base: bytes, policy: Policy) -> None:
    os.makedirs(base + b"/t/x")
    with Target.open(base + b"/t", overwrite=policy) as target:
        target.root.place_special(symlink(b"x", b"y"))
    assert os.path.islink(base + b"/t/x") is (policy is not Policy.NEVER)
    assert target.report.troubles == ()


@pytest.mark.parametrize("policy", list(Policy))
def test_a_file_in_the_way_of_a_directory(base: bytes, policy: Policy) -> None:
    os.mkdir(base + b"/t")
    write(base + b"/t/x", b"old")
    with Target.open(base + b"/t", overwrite=policy) as target:
        entered = target.root.enter(folder(b"x"))
        assert (entered is None) is (policy is Policy.NEVER)
        if entered is not None:
            entered.release()
    assert os.path.isdir(base + b"/t/x") is (policy is not Policy.NEVER)
    assert len(target.report.troubles) == (policy is Policy.NEVER)


def test_never_leaves_an_existing_directory_as_it_is(base: bytes) -> None:
    os.makedirs(base + b"/t/x", 0o711)
    os.utime(base + b"/t/x", ns=(0, 5))
    with Target.open(base + b"/t") as target:
        entered = target.root.enter(folder(b"x", mode=0o700))
        assert entered is not None
        entered.release()
    status = os.stat(base + b"/t/x")
    assert (stat.S_IMODE(status.st_mode), status.st_mtime_ns) == (0o711, 5)


def test_changed_keeps_content_and_brings_metadata_in_line(base: bytes) -> None:
    os.mkdir(base + b"/t")
    path = write(base + b"/t/x", b"same")
    os.setxattr(path, b"user.stray", b"1")
    os.utime(path, ns=(0, 1_600_000_000_000_000_005))
    set_flags(path, "i")
    inode = os.stat(path).st_ino
    entry = file(b"x", b"same", mode=0o640, xattrs=(Xattr(b"user.right", b"2"),), flags="d")
    with Target.open(base + b"/t", overwrite=Policy.CHANGED) as target:
        assert target.root.keep(entry)
        assert not target.root.keep(replace(entry, size=5))
        assert not target.root.keep(replace(entry, mtime=(1_600_000_000, 6)))
        assert not target.root.keep(replace(entry, name=b"other"))
        fd = os.open(base + b"/t", os.O_RDONLY)
        found = describe(fd, b"x")
        os.close(fd)
    assert os.stat(path).st_ino == inode
    assert (found.mode, found.xattrs, found.flags, found.mtime) == (0o640, entry.xattrs, "d", entry.mtime)
    assert target.report.troubles == ()


def test_changed_compares_links_and_kinds(base: bytes) -> None:
    os.mkdir(base + b"/t")
    os.symlink(b"there", base + b"/t/x")
    with Target.open(base + b"/t", overwrite=Policy.CHANGED) as target:
        assert target.root.keep(symlink(b"x", b"there"))
        assert os.lstat(base + b"/t/x").st_mtime_ns == 1_000_000_002
        assert not target.root.keep(symlink(b"x", b"elsewhere"))
        assert not target.root.keep(file(b"x", b"there"))


def test_an_immutable_file_is_replaced(base: bytes) -> None:
    os.mkdir(base + b"/t")
    set_flags(write(base + b"/t/x", b"old"), "i")
    with Target.open(base + b"/t", overwrite=Policy.ALWAYS) as target:
        target.root.write_small(*small(b"x", b"new", flags="a"))
    assert target.report.troubles == ()
    assert read(base + b"/t/x") == b"new"
    with pytest.raises(PermissionError):
        os.unlink(base + b"/t/x")


def test_links_are_compared_and_replaced(base: bytes) -> None:
    os.makedirs(base + b"/t/d")
    write(base + b"/t/first", b"1")
    os.link(base + b"/t/first", base + b"/t/d/linked")
    write(base + b"/t/d/stray", b"2")
    with Target.open(base + b"/t", overwrite=Policy.CHANGED) as target:
        below = target.root.enter(folder(b"d"))
        assert below is not None
        for name in (b"linked", b"stray", b"fresh"):
            assert below.link(file(name, links=4), [b"first"])
        assert not below.link(file(b"lost"), [b"gone"])
        assert not below.link(symlink(b"lost", b"x"), [b"first"])
        assert not below.link(file(b"lost"), [b"first", b"x"])
        below.release()
    assert os.stat(base + b"/t/first").st_nlink == 4
    assert sorted(os.listdir(base + b"/t/d")) == [b"fresh", b"linked", b"stray"]
    assert [each.path for each in target.report.troubles] == [b"d/lost"] * 3
    assert target.report.counts["links"] == 2


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
    os.chmod(base, 0o711)  # noqa: S103 - the other user has to get through
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
        assert [each.reason for each in target.report.troubles] == ["removing: EXDEV"]
    finally:
        subprocess.run(["umount", mounted], check=True)
