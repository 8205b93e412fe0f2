"""What a local backend fsyncs, in which order, and what it does when that fails."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from snapstore.backends import LocalBackend
from snapstore.errors import (
    ObjectExistsError,
    StoreError,
)
from tests.contract.conftest import Make, anonymous_or_named, both_ways, stage_and_publish

PREFIXES = ("packs/00/", "packs/01/", "refs/")
NAME = "packs/00/aa"


@pytest.fixture
def backend(root: Path) -> Iterator[LocalBackend]:
    with LocalBackend(os.fsencode(root)) as backend:
        backend.prepare(PREFIXES)
        yield backend


class Recorder:
    """Every fsync and link from now on, by inode; `fail` makes the next fsyncs raise EIO without having synced."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.events: list[tuple[str, int]] = []
        self.fail = 0
        self._fsync = os.fsync
        self._link = os.link
        monkeypatch.setattr(os, "fsync", self.fsync)
        monkeypatch.setattr(os, "link", self.link)

    def fsync(self, fd: int) -> None:
        if self.fail:
            self.fail -= 1
            self.events.append(("failed", os.fstat(fd).st_ino))
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self._fsync(fd)
        self.events.append(("fsync", os.fstat(fd).st_ino))

    def link(
        self,
        src: str,
        dst: str,
        *,
        src_dir_fd: int | None = None,
        dst_dir_fd: int | None = None,
        follow_symlinks: bool = True,
    ) -> None:
        self._link(src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd, follow_symlinks=follow_symlinks)
        self.events.append(("link", os.stat(dst, dir_fd=dst_dir_fd, follow_symlinks=False).st_ino))


@pytest.fixture
def recorder(backend: LocalBackend, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    del backend  # is prepared by now
    return Recorder(monkeypatch)


def inode(path: Path) -> int:
    return path.lstat().st_ino


# The order that a loss of power cannot break


@both_ways
@anonymous_or_named
def test_content_then_name_then_directory(root: Path, recorder: Recorder, make: Make, *, anonymous: bool) -> None:
    with LocalBackend(os.fsencode(root), anonymous=anonymous) as backend:
        backend.prepare(PREFIXES)
        recorder.events.clear()
        make(backend, NAME, b"content")
        file = inode(root / NAME)
        assert recorder.events == [("fsync", file), ("link", file)]
        backend.barrier()
    assert recorder.events[2:] == [("fsync", inode(root / "packs/00"))]


def test_prepare_makes_every_directory_durable(root: Path, backend: LocalBackend, recorder: Recorder) -> None:
    backend.prepare(PREFIXES)
    directories = {root, root / "packs", root / "packs/00", root / "packs/01", root / "refs"}
    assert sorted(recorder.events) == sorted(("fsync", inode(each)) for each in directories)


def test_prepare_makes_the_way_to_the_store_durable(tmp_path: Path, recorder: Recorder) -> None:
    with LocalBackend(os.fsencode(tmp_path / "a/b/c")) as backend:
        backend.prepare([])
    synced = {number for event, number in recorder.events if event == "fsync"}
    assert synced == {inode(tmp_path / each) for each in (".", "a", "a/b", "a/b/c")}


def test_a_directory_made_on_demand_is_durable_in_its_parents(
    root: Path, backend: LocalBackend, recorder: Recorder
) -> None:
    backend.put("new/shard/x", [b"content"])
    backend.barrier()
    last_link = recorder.events.index(("link", inode(root / "new/shard/x")))
    before = {number for _, number in recorder.events[:last_link]}
    after = {number for _, number in recorder.events[last_link + 1 :]}
    assert {inode(root), inode(root / "new")} <= before
    assert inode(root / "new/shard") in after


def test_a_directory_that_someone_else_made_is_made_durable_too(root: Path, recorder: Recorder) -> None:
    (root / "packs/77").mkdir()
    with LocalBackend(os.fsencode(root)) as stranger:
        stranger.put("packs/77/x", [b"content"])
        recorder.events.clear()
        stranger.barrier()
        synced = [number for _, number in recorder.events]
        assert synced == [inode(root), inode(root / "packs"), inode(root / "packs/77")]
        stranger.put("packs/77/y", [b"content"])
        recorder.events.clear()
        stranger.barrier()
        assert recorder.events == [("fsync", inode(root / "packs/77"))]


def test_a_barrier_covers_what_was_touched_and_no_more(root: Path, backend: LocalBackend, recorder: Recorder) -> None:
    backend.put(NAME, [b"1"])
    backend.put("packs/01/bb", [b"2"])
    backend.put("refs/cc", [b"3"])
    for asked, expected in ((["packs/00/aa"], ["packs/00"]), (["packs/"], ["packs", "packs/01"]), (None, ["refs"])):
        recorder.events.clear()
        backend.barrier(asked)
        assert recorder.events == [("fsync", inode(root / each)) for each in expected]
    recorder.events.clear()
    backend.barrier()
    assert recorder.events == []
    backend.delete("refs/cc")
    backend.barrier()
    assert recorder.events == [("fsync", inode(root / "refs"))]


@both_ways
def test_a_name_that_was_there_is_made_durable_before_it_is_relied_on(
    root: Path, backend: LocalBackend, recorder: Recorder, make: Make
) -> None:
    with LocalBackend(os.fsencode(root)) as other:
        other.put(NAME, [b"content"])
        assert make(backend, NAME, b"content") is False
    recorder.events.clear()
    backend.barrier()
    assert recorder.events == [("fsync", inode(root / "packs/00"))]


# When fsync fails


def test_put_tries_one_new_file_after_a_failed_fsync(
    root: Path, backend: LocalBackend, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[int] = []
    real_open = os.open

    def spy(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            opened.append(flags)
        return real_open(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", spy)
    recorder.fail = 1
    assert backend.put(NAME, [b"con", b"tent"]) is True
    assert [event for event, _ in recorder.events] == ["failed", "fsync", "link"]
    assert len(opened) == 2
    assert (root / NAME).read_bytes() == b"content"


def test_put_gives_up_after_the_second_failed_fsync(root: Path, backend: LocalBackend, recorder: Recorder) -> None:
    recorder.fail = 2
    with pytest.raises(StoreError, match=NAME):
        backend.put(NAME, [b"content"])
    assert [event for event, _ in recorder.events] == ["failed", "failed"]
    assert not (root / NAME).exists()


def test_a_staged_object_is_given_up_after_one_failed_fsync(backend: LocalBackend, recorder: Recorder) -> None:
    recorder.fail = 1
    with pytest.raises(StoreError, match="suspect the disk"):
        stage_and_publish(backend, NAME, b"content")
    assert [event for event, _ in recorder.events] == ["failed"]
    assert list(backend.list("")) == []


def test_after_a_failed_barrier_no_later_one_is_believed(root: Path, backend: LocalBackend, recorder: Recorder) -> None:
    backend.put(NAME, [b"content"])
    recorder.fail = 1
    with pytest.raises(StoreError, match="Input/output error"):
        backend.barrier()
    for _ in range(2):
        with pytest.raises(StoreError, match="an earlier barrier failed"):
            backend.barrier()
    with LocalBackend(os.fsencode(root)) as again:
        again.barrier(["packs/00/"])


def test_a_directory_that_vanished_with_its_names_fails_the_barrier(root: Path, backend: LocalBackend) -> None:
    backend.put(NAME, [b"content"])
    shutil.rmtree(root / "packs/00")
    with pytest.raises(StoreError, match=r"packs/00/ in .*No such file"):
        backend.barrier()


# Putting off


def test_a_batch_is_seen_and_durable_after_the_barrier(root: Path, recorder: Recorder) -> None:
    with LocalBackend(os.fsencode(root), durability="batch") as backend:
        backend.prepare(PREFIXES)
        recorder.events.clear()
        for number in range(3):
            assert stage_and_publish(backend, f"packs/00/{number}", b"%d" % number)
        assert recorder.events == []
        assert not backend.exists("packs/00/0")
        backend.barrier()
        files = [inode(root / f"packs/00/{number}") for number in range(3)]
        assert recorder.events == [
            *(("fsync", file) for file in files),
            *(("link", file) for file in files),
            ("fsync", inode(root / "packs/00")),
        ]
        assert backend.get("packs/00/2") == b"2"


def test_a_large_batch_is_published_in_between(root: Path) -> None:
    with LocalBackend(os.fsencode(root), durability="batch") as backend:
        backend.prepare(PREFIXES)
        before = len(os.listdir("/proc/self/fd"))
        for number in range(150):
            stage_and_publish(backend, f"packs/00/{number}", b"content")
            assert len(os.listdir("/proc/self/fd")) <= before + 65
        backend.barrier()
        assert len(list(backend.list("packs/"))) == 150


def test_a_batch_decides_at_once_what_is_put(root: Path) -> None:
    with LocalBackend(os.fsencode(root), durability="batch") as backend:
        backend.prepare(PREFIXES)
        assert backend.put("refs/a", [b"content"]) is True
        assert backend.get("refs/a") == b"content"
        with pytest.raises(ObjectExistsError):
            backend.put("refs/a", [b"other"])


def test_a_batch_that_cannot_be_published_fails_its_barrier_for_good(root: Path) -> None:
    with LocalBackend(os.fsencode(root), durability="batch") as backend:
        backend.prepare(PREFIXES)
        backend.put(NAME, [b"content"])
        stage_and_publish(backend, NAME, b"other")
        stage_and_publish(backend, "packs/00/bb", b"lost with it")
        with pytest.raises(ObjectExistsError):
            backend.barrier()
        with pytest.raises(StoreError, match="an earlier barrier failed"):
            backend.barrier()
    assert (root / NAME).read_bytes() == b"content"


def test_a_batch_without_a_barrier_is_dropped(root: Path) -> None:
    with LocalBackend(os.fsencode(root), durability="batch", anonymous=False) as backend:
        backend.prepare(PREFIXES)
        stage_and_publish(backend, NAME, b"content")
        assert len(os.listdir(root / "tmp")) == 1
    with LocalBackend(os.fsencode(root)) as again:
        assert list(again.list("")) == []
    assert os.listdir(root / "tmp") == []
