"""Long runs commit what they have, stopped runs keep it, and nothing grows with the size of what is read."""

from __future__ import annotations

import os
import random
import threading
from functools import partial
from pathlib import Path

import pytest
from blake3 import blake3

from snapstore.backends import LocalBackend
from snapstore.errors import CancelledError, RequestError
from snapstore.flow import BufferPool, Cancellation, Lease, OrderedStage
from snapstore.fs.filters import FilterRules
from snapstore.model import ChunkId
from snapstore.ops.ingest import ARENA_COUNT, ARENA_SIZE, Ingest
from snapstore.ops.progress import Silent
from snapstore.ops.recorder import CheckpointRule, Recorder
from snapstore.ops.snapshot import SnapshotOptions, preview_snapshot, snapshot_stream
from snapstore.store import session as sessions
from snapstore.store.session import WriteSession
from tests.compare import compare
from tests.drive import Machine, machine, stages_left, tree_of
from tests.oddities import noise

OFTEN = SnapshotOptions(checkpoint=CheckpointRule(size=1_000_000))


@pytest.fixture
def base(tmp_path: Path) -> bytes:
    return os.fsencode(tmp_path)


def furnish(root: bytes, *, folders: int, seed: int = 0) -> None:
    for number in range(folders):
        os.makedirs(root + b"/%03d" % number)
        for name in range(4):
            with open(root + b"/%03d/%d" % (number, name), "wb") as file:
                file.write(noise(100_000, seed + 4 * number + name))


class Stopping(Silent):
    """Asks to stop once so many files have been read, and counts what is read after that."""

    def __init__(self, cancellation: Cancellation, *, after: int) -> None:
        self._cancellation = cancellation
        self._after = after
        self.files = 0
        self.late = 0

    def advance(self, *, files: int = 0, size: int = 0) -> None:  # noqa: ARG002 - files are enough
        self.late += files if self._cancellation.cancelled else 0
        self.files += files
        if self.files >= self._after:
            self._cancellation.cancel()


def test_a_long_run_is_several_sessions(base: bytes) -> None:
    furnish(base + b"/tree", folders=12)
    client = machine(base + b"/machine")
    taken = client.take(base + b"/tree", options=OFTEN)
    commits = sorted(client.store.finals().commits, key=lambda each: each.record.sequence)
    assert [each.record.kind for each in commits[-2:]] == ["checkpoint", "snapshot"]
    assert [each.record.sequence for each in commits] == [*range(1, len(commits) + 1)]
    assert len(commits) >= 4
    assert [each.record.previous for each in commits[1:]] == [each.digest for each in commits[:-1]]
    assert taken.snapshot.totals.new_data == 48 * 100_000
    assert [*client.store.backend.list("sessions/")] == []
    assert client.store.finals().snapshots() == [taken.snapshot]
    client.restore(taken.snapshot, base + b"/out", strip=base + b"/tree")
    assert compare(base + b"/tree", base + b"/out") == []
    plain = machine(base + b"/plain").take(base + b"/tree")
    assert tree_of(plain) == tree_of(taken)
    assert plain.snapshot.totals.new_data == taken.snapshot.totals.new_data


def test_time_alone_makes_a_checkpoint(base: bytes) -> None:
    furnish(base + b"/tree", folders=6)
    client = machine(base + b"/machine")
    rule = SnapshotOptions(checkpoint=CheckpointRule(seconds=0))
    client.take(base + b"/tree", options=rule)
    made = [each.record for each in client.store.finals().commits if each.record.kind == "checkpoint"]
    assert len(made) >= 3
    assert all(each.indexes for each in made)
    # A run that stores nothing has nothing to keep, however long it takes.
    client.take(base + b"/tree", options=rule)
    assert sum(each.record.kind == "checkpoint" for each in client.store.finals().commits) == len(made)


def test_a_stopped_run_keeps_what_was_finished(base: bytes) -> None:
    furnish(base + b"/tree", folders=20)
    client = machine(base + b"/machine")
    cancellation = Cancellation()
    progress = Stopping(cancellation, after=40)
    with pytest.raises(CancelledError, match="goes on from there"):
        client.take(base + b"/tree", options=OFTEN, progress=progress, cancellation=cancellation)
    # One batch of one directory is all that may still be done.
    assert progress.late <= 4
    assert stages_left() == []
    finals = client.store.finals()
    assert finals.snapshots() == []
    kept = max(each.record.totals.new_data for each in finals.commits)
    assert kept >= 2_000_000
    again = client.take(base + b"/tree")
    assert again.snapshot.totals.new_data == 80 * 100_000 - kept
    client.restore(again.snapshot, base + b"/out", strip=base + b"/tree")
    assert compare(base + b"/tree", base + b"/out") == []


def test_stopped_before_anything_was_finished(base: bytes) -> None:
    furnish(base + b"/tree", folders=2)
    client = machine(base + b"/machine")
    cancellation = Cancellation()
    cancellation.cancel()
    with pytest.raises(CancelledError) as caught:
        client.take(base + b"/tree", cancellation=cancellation)
    assert caught.value.advice == ""
    assert client.store.finals().commits == ()
    assert len(client.store.finals().fenced) == 1
    assert [*client.store.backend.list("sessions/")] == []
    assert stages_left() == []


def test_a_restore_stops_too(base: bytes) -> None:
    furnish(base + b"/tree", folders=20)
    client = machine(base + b"/machine")
    taken = client.take(base + b"/tree")
    cancellation = Cancellation()
    cancellation.cancel()
    with pytest.raises(CancelledError):
        client.restore(taken.snapshot, base + b"/out", strip=base + b"/tree", cancellation=cancellation)
    assert stages_left() == []


def test_a_preview_says_what_a_run_does(base: bytes) -> None:
    furnish(base + b"/tree", folders=3)
    client = machine(base + b"/machine")
    for _ in range(2):
        before = [*client.store.backend.list("")]
        seen = preview_snapshot(
            client.store, [base + b"/tree"], options=client.options, local=client.local,
            progress=Silent(), cancellation=Cancellation(),
        )  # fmt: skip
        assert seen.dry
        assert [*client.store.backend.list("")] == before
        assert client.cache_files() == ([] if not client.store.finals().commits else client.cache_files())
        taken = client.take(base + b"/tree")
        for name in ("files", "directories", "others", "size", "new_chunks", "new_data", "new_manifest"):
            assert getattr(seen.snapshot.totals, name) == getattr(taken.snapshot.totals, name)
        assert seen.snapshot.roots == taken.snapshot.roots


# -- streams -----------------------------------------------------------------------------------------------------------


class Generated:
    """A stream of so many bytes that do not compress, in pieces of odd sizes."""

    def __init__(self, size: int, *, fails: bool = False) -> None:
        self.left = size
        self.hash = blake3()
        self._random = random.Random(size)
        self._fails = fails

    def read_into(self, buffer: memoryview) -> int:
        if not self.left and self._fails:
            raise OSError(5, "Input/output error")
        count = min(len(buffer), self.left, self._random.randrange(1, 1_000_000))
        buffer[:count] = self._random.randbytes(count)
        self.hash.update(buffer[:count])
        self.left -= count
        return count


def stream(client: Machine, source: Generated, path: bytes = b"/stdin") -> bytes:
    taken = snapshot_stream(
        client.store, source.read_into, path=path, options=client.options, local=client.local,
        progress=Silent(), cancellation=Cancellation(),
    )  # fmt: skip
    return taken.snapshot.session


@pytest.mark.parametrize("size", [0, 1, 100_000, ARENA_SIZE, ARENA_SIZE + 1])
def test_streams_come_back(base: bytes, size: int) -> None:
    client = machine(base + b"/machine")
    source = Generated(size)
    session = stream(client, source, b"/from/stdin")
    snapshot = client.store.finals().snapshots()[0]
    assert snapshot.session == session
    assert snapshot.totals.size == size
    client.restore(snapshot, base + b"/out")
    with open(base + b"/out/from/stdin", "rb") as file:
        assert blake3(file.read()).digest() == source.hash.digest()
    assert client.verify(snapshot, base + b"/out") == ()


def test_a_stream_that_fails_is_no_snapshot(base: bytes) -> None:
    client = machine(base + b"/machine")
    with pytest.raises(OSError, match="Input/output error"):
        stream(client, Generated(6_000_000, fails=True))
    assert client.store.finals().snapshots() == []
    assert stages_left() == []


# -- bounds ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_large_stream_needs_a_few_buffers(base: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = threading.Lock()
    inside = {"stage": 0, "peak": 0, "pools": 0, "buffers": 0}
    put = OrderedStage.put
    made = BufferPool.__init__

    def counted_pool(self: BufferPool, *, size: int, count: int) -> None:
        inside["pools"] += 1
        inside["buffers"] += count
        made(self, size=size, count=count)

    store_block = WriteSession._store_block

    def counted_put(self: OrderedStage[object, object], item: object) -> None:
        put(self, item)
        if type(item).__name__ == "OpenBlock":
            with lock:
                inside["stage"] += 1
                inside["peak"] = max(inside["peak"], inside["stage"])

    def counted_store(self: WriteSession, ready: object) -> None:
        store_block(self, ready)  # type: ignore[arg-type]
        with lock:
            inside["stage"] -= 1

    monkeypatch.setattr(BufferPool, "__init__", counted_pool)
    monkeypatch.setattr(OrderedStage, "put", counted_put)
    monkeypatch.setattr(WriteSession, "_store_block", counted_store)
    client = machine(base + b"/machine", LocalBackend(base + b"/store"))
    stream(client, Generated(300_000_000))
    assert (inside["pools"], inside["buffers"]) == (1, ARENA_COUNT)
    workers = len(os.sched_getaffinity(0))
    assert 0 < inside["peak"] <= 2 * workers + 3
    snapshot = client.store.finals().snapshots()[0]
    assert snapshot.roots[0].entry.chunk_list is not None
    client.restore(snapshot, base + b"/out")
    assert client.verify(snapshot, base + b"/out") == ()


def test_indexes_roll_and_are_searched(base: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "INDEX_CHUNKS", 10)
    monkeypatch.setattr(sessions, "DATA_BLOCK", 200_000)
    monkeypatch.setattr("snapstore.ops.running.WriteOptions", partial(sessions.WriteOptions, pack_target=400_000))
    furnish(base + b"/tree/a", folders=20)
    furnish(base + b"/tree/b", folders=20)
    client = machine(base + b"/machine")
    taken = client.take(base + b"/tree")
    assert len(taken.snapshot.indexes) > 5
    # The second half is the first again, and was found in indexes that were closed meanwhile.
    assert taken.snapshot.totals.new_data == 80 * 100_000
    again = Machine(client.store, base + b"/other").take(base + b"/tree")
    assert again.snapshot.totals.new_chunks == 0
    client.restore(taken.snapshot, base + b"/out", strip=base + b"/tree")
    assert compare(base + b"/tree", base + b"/out") == []


class _Slow:
    """A sink that never gives a buffer back by itself: only `detach` does."""

    def __init__(self) -> None:
        self.held: list[Lease] = []
        self.detached = 0

    def add(self, chunk: ChunkId, lease: Lease, start: int, end: int) -> bool:
        if lease not in self.held:
            lease.hold()
            self.held.append(lease)
        return start < end and bool(chunk)

    def put_manifest(self, document: bytes) -> ChunkId:
        return ChunkId(document[:32])

    def detach(self) -> None:
        self.detached += 1
        for lease in self.held:
            lease.release()
        self.held.clear()


def test_a_block_that_fills_slowly_keeps_no_buffers(base: bytes) -> None:
    client = machine(base + b"/machine")
    sink = _Slow()
    ingest = Ingest(sink, client.store.chunker(), progress=Silent(), cancellation=Cancellation())
    ingest.stream(Generated(ARENA_SIZE * ARENA_COUNT * 3).read_into)
    assert sink.detached >= 2


def test_a_second_root_inside_the_first_is_refused(base: bytes) -> None:
    os.makedirs(base + b"/tree/inner")
    client = machine(base + b"/machine")
    with pytest.raises(RequestError, match="lies inside"):
        client.take(base + b"/tree", base + b"/tree/inner")
    with pytest.raises(RequestError, match="lies inside"):
        client.take(b"/", base)
    with pytest.raises(RequestError, match="at least one"):
        client.take()
    assert client.store.finals().commits == ()


def test_rules_are_recorded(base: bytes) -> None:
    os.makedirs(base + b"/tree")
    client = machine(base + b"/machine")
    options = SnapshotOptions(name="n", tags=("a", "b"), rules=FilterRules(excludes=("*.o", "!keep.o")))
    record = client.take(base + b"/tree", options=options).snapshot
    assert (record.name, record.tags, record.excludes) == ("n", ("a", "b"), ("*.o", "!keep.o"))
    assert Recorder.__name__ not in record.tool
