"""A snapshot that uses what the last one saw is the snapshot that one without memory would be."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
import time
from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from snapstore.fs.statcache import SETTLED_NANOSECONDS
from tests.compare import compare
from tests.drive import Machine, machine, tree_of
from tests.oddities import noise, unbuild

COARSE = 5  # CLOCK_REALTIME_COARSE of clock_gettime(2): the clock that stamps inodes
PLACES = st.lists(st.sampled_from([b"a", b"b", b"c"]), min_size=1, max_size=4).map(b"/".join)
CONTENTS = st.sampled_from([b"", b"x", b"y", b"same size", b"SAME SIZE", noise(5000, 1), noise(70_000, 2)])


def tick() -> None:
    """Waits until whatever is changed from now on has a later time than what was changed before."""
    now = time.clock_gettime_ns(COARSE)
    while time.clock_gettime_ns(COARSE) == now:
        time.sleep(0.0005)


class Incremental(RuleBasedStateMachine):
    """Mutates a tree; each snapshot is compared with one of a client that has no cache, and with its restore."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.base = os.fsencode(self.directory.name)
        self.root = self.base + b"/tree"
        self.outside = self.base + b"/outside"
        self.number = 0
        self.patch = pytest.MonkeyPatch()
        os.mkdir(self.root)
        os.mkdir(self.outside)
        self.client = machine(self.base + b"/machine")

    def teardown(self) -> None:
        self.patch.undo()
        for name in os.listdir(self.base):
            unbuild(self.base + b"/" + name)
        self.directory.cleanup()

    def at(self, place: bytes) -> bytes:
        return self.root + b"/" + place

    @staticmethod
    def attempt(change: Callable[[], object]) -> None:
        """A change that does not apply to what is there changes nothing."""
        with contextlib.suppress(OSError):
            change()

    @initialize()
    def furnish(self) -> None:
        for place in (b"a/a/a", b"a/b/a", b"b/a/b", b"c/c"):
            os.makedirs(os.path.dirname(self.at(place)), exist_ok=True)
            with open(self.at(place), "wb") as file:
                file.write(place * 100)
        os.link(self.at(b"a/b/a"), self.at(b"b/b"))
        os.link(self.at(b"a/b/a"), self.at(b"c/a"))

    @rule(place=PLACES, content=CONTENTS, keep=st.booleans())
    def write(self, place: bytes, content: bytes, keep: bool) -> None:  # noqa: FBT001 - hypothesis gives it by name
        """Rewrites in place, perhaps under the old modification time."""

        def change() -> None:
            before = os.stat(self.at(place)).st_mtime_ns if keep else None
            with open(self.at(place), "wb") as file:
                file.write(content)
            if before is not None:
                os.utime(self.at(place), ns=(0, before))

        self.attempt(change)

    @rule(place=PLACES)
    def flip(self, place: bytes) -> None:
        """Same size, same time, other bytes."""

        def change() -> None:
            before = os.stat(self.at(place))
            with open(self.at(place), "r+b") as file:
                old = file.read(1)
                file.seek(0)
                file.write(bytes([old[0] ^ 1]) if old else b"")
            os.utime(self.at(place), ns=(before.st_atime_ns, before.st_mtime_ns))

        self.attempt(change)

    @rule(place=PLACES, content=CONTENTS)
    def append(self, place: bytes, content: bytes) -> None:
        def change() -> None:
            with open(self.at(place), "ab") as file:
                file.write(content)

        self.attempt(change)

    @rule(place=PLACES, size=st.sampled_from([0, 1, 100, 200_000]))
    def truncate(self, place: bytes, size: int) -> None:
        self.attempt(lambda: os.truncate(self.at(place), size))

    @rule(one=PLACES, two=PLACES)
    def rename(self, one: bytes, two: bytes) -> None:
        self.attempt(lambda: os.rename(self.at(one), self.at(two)))

    @rule(place=PLACES, name=st.sampled_from([b"x", b"y"]), back=st.booleans())
    def move_across(self, place: bytes, name: bytes, back: bool) -> None:  # noqa: FBT001
        """Out of what is snapshot, or back in: neither touches the inode of what moves."""
        ends = (self.outside + b"/" + name, self.at(place))
        self.attempt(lambda: os.rename(*(ends if back else reversed(ends))))

    @rule(place=PLACES)
    def make(self, place: bytes) -> None:
        self.attempt(lambda: os.makedirs(self.at(place)))

    @rule(place=PLACES)
    def drop(self, place: bytes) -> None:
        self.attempt(lambda: os.unlink(self.at(place)))
        self.attempt(lambda: os.rmdir(self.at(place)))

    @rule(place=PLACES, content=CONTENTS)
    def directory_to_file(self, place: bytes, content: bytes) -> None:
        if os.path.isdir(self.at(place)) and not os.path.islink(self.at(place)):
            unbuild(self.at(place))
            with open(self.at(place), "wb") as file:
                file.write(content)

    @rule(one=PLACES, two=PLACES)
    def link(self, one: bytes, two: bytes) -> None:
        self.attempt(lambda: os.link(self.at(one), self.at(two), follow_symlinks=False))

    @rule(place=PLACES, points_to=st.sampled_from([b"a", b"b", b"/nowhere"]))
    def symlink(self, place: bytes, points_to: bytes) -> None:
        if os.path.islink(self.at(place)):
            os.unlink(self.at(place))
        self.attempt(lambda: os.symlink(points_to, self.at(place)))

    @rule(place=PLACES, mode=st.sampled_from([0o600, 0o755, 0o4711]))
    def chmod(self, place: bytes, mode: int) -> None:
        if not os.path.islink(self.at(place)):
            self.attempt(lambda: os.chmod(self.at(place), mode | (0o700 if os.path.isdir(self.at(place)) else 0)))

    @rule(place=PLACES, owner=st.sampled_from([0, 1, 12345]))
    def chown(self, place: bytes, owner: int) -> None:
        self.attempt(lambda: os.chown(self.at(place), owner, owner, follow_symlinks=False))

    @rule(place=PLACES, mtime=st.sampled_from([0, -5, 10**18]))
    def touch(self, place: bytes, mtime: int) -> None:
        self.attempt(lambda: os.utime(self.at(place), ns=(0, mtime), follow_symlinks=False))

    @rule(place=PLACES, value=st.sampled_from([b"1", b"2", None]))
    def attribute(self, place: bytes, value: bytes | None) -> None:
        if os.path.islink(self.at(place)):
            return
        if value is None:
            self.attempt(lambda: os.removexattr(self.at(place), b"user.x"))
        else:
            self.attempt(lambda: os.setxattr(self.at(place), b"user.x", value))

    @rule(settled=st.sampled_from([0, 0, 0, SETTLED_NANOSECONDS]), look=st.booleans())
    def snapshot(self, settled: int, look: bool) -> None:  # noqa: FBT001
        """With 0, everything up to the last tick is trusted, so the cache does all it ever can."""
        tick()
        self.patch.setattr("snapstore.ops.running.SETTLED_NANOSECONDS", settled)
        self.number += 1
        taken = self.client.take(self.root)
        assert taken.warnings == ()
        fresh = Machine(self.client.store, self.base + b"/fresh-%d" % self.number).take(self.root)
        assert fresh.unchanged == 0
        assert tree_of(taken) == tree_of(fresh)
        for name in ("files", "directories", "others", "size"):
            assert getattr(taken.snapshot.totals, name) == getattr(fresh.snapshot.totals, name)
        if look:
            out = self.base + b"/out-%d" % self.number
            self.client.restore(taken.snapshot, out, strip=self.root)
            assert compare(self.root, out) == []
            assert self.client.verify(taken.snapshot, out, strip=self.root) == ()
            unbuild(out)

    @invariant()
    def is_a_directory(self) -> None:
        assert stat.S_ISDIR(os.lstat(self.root).st_mode)


TestIncremental = pytest.mark.slow(Incremental.TestCase)
TestIncremental.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
