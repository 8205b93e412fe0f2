"""Trees written by `Target`: true to the source, over what is there as the policy says."""

from __future__ import annotations

import os
import stat
import threading
from dataclasses import replace

import pytest

from snapstore.fs.place import Policy, SmallFile, Target
from snapstore.model import Buffer, Entry, Kind, Xattr
from tests.compare import compare
from tests.oddities import build, raw_acl, set_flags, write
from tests.unit.fs.copying import copy, describe
from tests.unit.fs.placing import ME, file, folder, read, small, symlink, temporaries

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts, owners, another user's rights")


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


@pytest.mark.parametrize("rdev", [(1 << 31, 0), (0, 1 << 31), ((1 << 32) - 1, (1 << 32) - 1), (1 << 40, 1 << 40)])
@pytest.mark.parametrize("policy", list(Policy))
def test_devices_that_the_system_cannot_number_are_trouble(base: bytes, policy: Policy, rdev: tuple[int, int]) -> None:
    entry = Entry(name=b"dev", kind=Kind.BLOCK_DEVICE, mode=0o600, uid=ME[0], gid=ME[1], mtime=(1, 0), rdev=rdev)
    with Target.open(base + b"/t", overwrite=policy) as target:
        assert not target.root.keep(entry)
        target.root.place_special(entry)
    assert [each.path for each in target.report.troubles] == [b"dev"]
    assert os.listdir(base + b"/t") == []
