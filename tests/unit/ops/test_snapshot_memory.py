"""The stat cache is an optimisation and nothing else: whatever becomes of it, the snapshot is the same."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from snapstore import kernel
from snapstore.errors import StoreError
from snapstore.format.snapshot import tombstone_name
from snapstore.fs.filters import FilterRules
from snapstore.kernel import ENTRY
from snapstore.ops.snapshot import SnapshotOptions
from tests.drive import Machine, entries, machine, tree_of
from tests.oddities import noise

SECOND = 1_000_000_000


def write(path: bytes, content: bytes = b"x") -> bytes:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)
    return path


@pytest.fixture
def base(tmp_path: Path) -> bytes:
    path = os.fsencode(tmp_path)
    for number in range(6):
        for name in range(5):
            write(path + b"/tree/%d/%d" % (number, name), noise(500 * name, number))
    os.link(path + b"/tree/0/1", path + b"/tree/5/link")
    return path


@pytest.fixture
def trusting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snapstore.ops.running.SETTLED_NANOSECONDS", -(1 << 70))


def put(path: bytes, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)


def get(path: bytes) -> bytes:
    with open(path, "rb") as file:
        return file.read()


@pytest.mark.usefixtures("trusting")
def test_a_sound_cache_reads_nothing(base: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    client = machine(base + b"/machine")
    first = client.take(base + b"/tree")
    assert len(client.cache_files()) == 1

    def refuse(*_: object) -> bytes:
        raise AssertionError("something was read")

    monkeypatch.setattr(kernel, "read_files", refuse)
    again = client.take(base + b"/tree")
    assert tree_of(again) == tree_of(first)
    assert again.unchanged == again.snapshot.totals.files == 31
    write(base + b"/tree/3/2", b"")
    monkeypatch.undo()
    monkeypatch.setattr("snapstore.ops.running.SETTLED_NANOSECONDS", -(1 << 70))
    assert client.take(base + b"/tree").unchanged == 30


@pytest.mark.usefixtures("trusting")
def test_damaged_caches_are_ignored(base: bytes) -> None:
    client = machine(base + b"/machine")
    expected = tree_of(client.take(base + b"/tree"))
    (path,) = client.cache_files()
    sound = get(path)
    rng = random.Random(5)
    damages: list[bytes] = [b"", b"x", sound[:-1], sound[: len(sound) // 2], sound[:100], sound + b"\0", noise(5000, 1)]
    for _ in range(50):
        flipped = bytearray(sound)
        flipped[rng.randrange(len(sound))] ^= 1 << rng.randrange(8)
        damages.append(bytes(flipped))
    for damage in damages:
        put(path, damage)
        taken = client.take(base + b"/tree")
        assert tree_of(taken) == expected
        assert taken.unchanged == 0
        assert client.take(base + b"/tree").unchanged == 31


@pytest.mark.usefixtures("trusting")
@pytest.mark.parametrize("how", ["deleted", "directory", "link", "fifo", "unreadable-folder"])
def test_caches_that_cannot_be_opened(base: bytes, how: str) -> None:
    client = machine(base + b"/machine")
    expected = tree_of(client.take(base + b"/tree"))
    (path,) = client.cache_files()
    os.unlink(path)
    if how == "directory":
        os.mkdir(path)
    elif how == "link":
        os.symlink(write(base + b"/elsewhere"), path)
    elif how == "fifo":
        os.mkfifo(path)
    elif how == "unreadable-folder":
        os.rmdir(os.path.dirname(path))
    assert tree_of(client.take(base + b"/tree")) == expected
    assert get(write(base + b"/elsewhere")) == b"x"


@pytest.mark.usefixtures("trusting")
def test_a_cache_of_something_else_is_foreign(base: bytes) -> None:
    client = machine(base + b"/machine")
    expected = tree_of(client.take(base + b"/tree"))
    (path,) = client.cache_files()
    # Of another root, of other rules, and of another store: each put where the right one was.
    write(base + b"/other/0/0", b"other")
    foreign: list[bytes] = []
    client.take(base + b"/other")
    foreign += [get(each) for each in client.cache_files() if each != path]
    client.take(base + b"/tree", options=SnapshotOptions(rules=FilterRules(excludes=("1",))))
    foreign.append(get(path))
    stranger = machine(base + b"/stranger")
    stranger.take(base + b"/tree")
    foreign += [get(each) for each in stranger.cache_files()]
    assert len(foreign) == 3
    for data in foreign:
        put(path, data)
        taken = client.take(base + b"/tree")
        assert (tree_of(taken), taken.unchanged) == (expected, 0)


@pytest.mark.usefixtures("trusting")
def test_a_cache_of_a_forgotten_snapshot_is_not_used(base: bytes) -> None:
    client = machine(base + b"/machine")
    first = client.take(base + b"/tree")
    client.store.forget([first.snapshot])
    again = client.take(base + b"/tree")
    assert (tree_of(again), again.unchanged) == (tree_of(first), 0)
    assert client.take(base + b"/tree").unchanged == 31
    client.store.backend.delete(tombstone_name(first.snapshot.session))
    assert len(client.store.finals().snapshots()) == 3


@pytest.mark.usefixtures("trusting")
def test_an_old_tree_that_is_damaged_is_said_to_be(base: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    client = machine(base + b"/machine")
    client.take(base + b"/tree")
    write(base + b"/tree/3/new")

    def damaged(*_: object, **__: object) -> bytes:
        raise StoreError("the tree cannot be read")

    monkeypatch.setattr("snapstore.store.reader.Reader.document", damaged)
    with pytest.raises(StoreError, match="cannot be read"):
        client.take(base + b"/tree")
    monkeypatch.undo()
    assert b"3/new" in entries(client, tree_of(client.take(base + b"/tree")))


# -- the same second ---------------------------------------------------------------------------------------------------


class CoarseClock:
    """Makes the file system look like one whose times have steps of two seconds, and lets the test choose the time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.patch = monkeypatch
        self.now = 1_000_000
        self.stamps: dict[int, int] = {}
        self._real: dict[int, bytes] = {}
        self._scan, self._read = kernel.scan_directory, kernel.read_files
        monkeypatch.setattr(kernel, "scan_directory", self.scan)
        monkeypatch.setattr(kernel, "read_files", self.read)
        monkeypatch.setattr("snapstore.ops.running.time.time_ns", lambda: self.now)

    def at(self, seconds: float, change: Callable[[], object], path: bytes) -> None:
        """The change, made at that time."""
        change()
        stamp = int(seconds) // 2 * 2
        self.stamps[os.lstat(path).st_ino] = stamp

    def scan(self, fd: int) -> tuple[bytes, bytes, tuple[int, ...], int]:
        names, records, devices, _ = self._scan(fd)
        coarse = bytearray()
        newest = 0
        for entry in ENTRY.iter_unpack(records):
            stamp = self.stamps.get(entry[0], 0)
            newest = max(newest, stamp * SECOND)
            self._real[entry[0]] = ENTRY.pack(*entry)
            coarse += ENTRY.pack(*entry[:3], stamp, stamp, 0, 0, *entry[7:])
        return names, bytes(coarse), devices, newest

    def read(self, fd: int, names: bytes, expected: bytes, buffer: memoryview, offset: int) -> bytes:
        records = b"".join(self._real[entry[0]] for entry in ENTRY.iter_unpack(expected))
        return self._read(fd, names, records, buffer, offset)


@pytest.mark.parametrize("first", [100.0, 100.9, 101.999])
@pytest.mark.parametrize("snapshot", [0.0, 0.5, 1.0, 1.9, 2.1, 3.9, 4.0, 5.0, 60.0])
@pytest.mark.parametrize("later", [0.0, 0.05, 1.0, 1.99, 30.0])
def test_edits_in_one_tick_of_the_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: float, snapshot: float, later: float
) -> None:
    """A file is written, snapshot, and written again with the same size: the second content is never missed."""
    base = os.fsencode(tmp_path)
    root = base + b"/tree"
    path = write(root + b"/d/file", b"old bytes")
    client = machine(base + b"/machine")
    clock = CoarseClock(monkeypatch)
    clock.at(first, lambda: write(path, b"one bytes"), path)
    clock.now = int((first + snapshot) * SECOND)
    taken = client.take(root)
    clock.at(first + snapshot + later, lambda: write(path, b"two bytes"), path)
    clock.now = int((first + snapshot + later + 60) * SECOND)
    again = client.take(root)
    chunk = {entries(client, tree_of(each))[b"d/file"].chunks for each in (taken, again)}
    assert len(chunk) == 2
    # And what has been left alone for long enough is trusted in the end.
    clock.now += 60 * SECOND
    assert client.take(root).unchanged == 1


def test_a_file_written_just_now_is_read_again(base: bytes) -> None:
    client = machine(base + b"/machine")
    client.take(base + b"/tree")
    assert client.take(base + b"/tree").unchanged == 0
    assert time.time_ns() > 0
    assert Machine(client.store, base + b"/other").take(base + b"/tree").unchanged == 0
