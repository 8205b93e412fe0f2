"""Real processes on a real file system: killed at any moment, several at once, and on a disk that is full."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from snapstore.backends import LocalBackend
from snapstore.errors import StoreError, StoreFullError
from snapstore.ops.recorder import CheckpointRule
from snapstore.ops.snapshot import SnapshotOptions, SnapshotResult
from snapstore.store.repository import create_store, open_store
from tests.compare import compare
from tests.drive import Machine, stages_left, tree_of
from tests.mounts import mounted_tmpfs
from tests.oddities import noise

TAKE = """
import sys
from snapstore.backends import LocalBackend
from snapstore.flow import Cancellation
from snapstore.ops.progress import Silent
from snapstore.ops.recorder import CheckpointRule
from snapstore.ops.snapshot import LocalState, SnapshotOptions, take_snapshot
from snapstore.store.repository import open_store
store, base, root = (each.encode() for each in sys.argv[1:4])
store = open_store(LocalBackend(store))
print("ready", flush=True)
sys.stdin.readline()
local = LocalState(cache=base + b"/cache", state=base + b"/state")
for _ in range(int(sys.argv[4])):
    taken = take_snapshot(
        store, [root], options=SnapshotOptions(checkpoint=CheckpointRule(size=2_000_000)), local=local,
        progress=Silent(), cancellation=Cancellation(),
    )
    print(taken.snapshot.id, flush=True)
"""


def furnish(root: bytes, *, files: int, size: int, seed: int) -> None:
    for number in range(files):
        folder = root + b"/%d" % (number % 5)
        os.makedirs(folder, exist_ok=True)
        with open(folder + b"/%d-%d" % (seed, number), "wb") as file:
            file.write(noise(size, seed * 1000 + number))


def start(base: bytes, root: bytes, *, times: int, name: bytes = b"machine") -> subprocess.Popen[str]:
    """A client in a process of its own, waiting for a line to begin."""
    arguments = [os.fsdecode(each) for each in (base + b"/store", base + b"/" + name, root)]
    child = subprocess.Popen(
        [sys.executable, "-c", TAKE, *arguments, str(times)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


@pytest.fixture
def base(tmp_path: Path) -> bytes:
    path = os.fsencode(tmp_path)
    create_store(LocalBackend(path + b"/store"))
    return path


def client(base: bytes, name: bytes = b"machine") -> Machine:
    return Machine(open_store(LocalBackend(base + b"/store")), base + b"/" + name)


@pytest.mark.slow
def test_killed_at_any_moment(base: bytes) -> None:
    root = base + b"/tree"
    furnish(root, files=60, size=100_000, seed=1)
    first = client(base).take(root)
    rng = random.Random(3)
    longest = 0.0
    killed = 0
    for turn in range(24):
        furnish(root, files=25, size=150_000, seed=2 + turn)
        child = start(base, root, times=1)
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
        if turn == 0:
            began = time.monotonic()
            assert child.wait(60) == 0
            longest = time.monotonic() - began
        time.sleep(rng.uniform(0, longest))
        child.send_signal(signal.SIGKILL)
        output, _ = child.communicate(timeout=60)
        killed += child.returncode == -signal.SIGKILL
        store = client(base).store
        snapshots = store.finals().snapshots()
        ids = [snapshot.id for snapshot in snapshots]
        assert first.snapshot.id in ids
        # What was acknowledged is there.
        assert set(output.split()) <= set(ids)
        if turn % 6 == 5:
            out = base + b"/out-%d" % turn
            taken = client(base).take(root)
            client(base).restore(taken.snapshot, out, strip=root)
            assert compare(root, out) == []
            assert tree_of(client(base, b"other-%d" % turn).take(root)) == tree_of(taken)
    assert killed >= 4
    commits = client(base).store.finals().commits
    chains: dict[bytes, list[int]] = {}
    for commit in commits:
        chains.setdefault(commit.record.writer, []).append(commit.record.sequence)
    # However a run ended, its writer's chain has neither a fork nor a gap.
    assert all(sorted(chain) == [*range(1, len(chain) + 1)] for chain in chains.values())
    digests = {(c.record.writer, c.record.sequence): c.digest for c in commits}
    for commit in commits:
        earlier = digests.get((commit.record.writer, commit.record.sequence - 1), b"")
        assert commit.record.previous == earlier


def test_a_chain_goes_on_where_the_store_says(base: bytes) -> None:
    """A run that ends between its commit and noting it leaves its state behind: an older one, or none."""
    root = base + b"/tree"
    furnish(root, files=5, size=1000, seed=1)
    client(base).take(root)
    (path,) = [
        os.path.join(folder, name)
        for folder, _, names in os.walk(base + b"/machine/state")
        for name in names
        if name == b"lane-0"
    ]
    with open(path, "rb") as file:
        old = file.read()
    client(base).take(root)
    with open(path, "wb") as file:
        file.write(old)
    client(base).take(root)
    commits = client(base).store.finals().commits
    assert [commit.record.sequence for commit in commits] == [1, 2, 3]
    assert [commit.record.previous for commit in commits] == [b"", commits[0].digest, commits[1].digest]
    for damaged in (b"", old[:-1], b"x" * len(old)):
        with open(path, "wb") as file:
            file.write(damaged)
        assert client(base).take(root).snapshot.sequence == 1
    assert len({commit.record.writer for commit in client(base).store.finals().commits}) == 4


def test_two_processes_at_once(base: bytes) -> None:
    roots = [base + b"/one", base + b"/two"]
    for number, root in enumerate(roots):
        furnish(root, files=40, size=120_000, seed=number)
        furnish(root, files=10, size=120_000, seed=9)
    children = [start(base, root, times=3) for root in roots]
    for child in children:
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
    ids = [child.communicate(timeout=120)[0].split() for child in children]
    assert [child.returncode for child in children] == [0, 0]
    commits = client(base).store.finals().commits
    by_id = {commit.record.id: commit for commit in commits}
    for root, mine in zip(roots, ids, strict=True):
        assert len(mine) == 3
        client(base).restore(by_id[mine[-1]].record, base + b"/out" + root, strip=root)
        assert compare(root, base + b"/out" + root) == []
        # The last two runs of each were surely not at the same time as each other.
        assert by_id[mine[1]].record.totals.new_chunks == 0
    chains: dict[bytes, list[tuple[int, bytes, bytes]]] = {}
    for commit in commits:
        record = commit.record
        chains.setdefault(record.writer, []).append((record.sequence, record.previous, commit.digest))
    for chain in chains.values():
        chain.sort()
        assert [sequence for sequence, _, _ in chain] == [*range(1, len(chain) + 1)]
        assert [previous for _, previous, _ in chain] == [b"", *(digest for _, _, digest in chain[:-1])]


def test_two_threads_at_once(base: bytes) -> None:
    root = base + b"/tree"
    furnish(root, files=50, size=120_000, seed=1)
    results: list[SnapshotResult] = []
    gate = threading.Barrier(3)

    def run() -> None:
        gate.wait(30)
        results.append(client(base).take(root))

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len({tree_of(result) for result in results}) == 1
    assert len(results) == 3
    chains = {(result.snapshot.writer, result.snapshot.sequence) for result in results}
    assert len(chains) == 3
    for number, result in enumerate(results):
        out = base + b"/out-%d" % number
        client(base).restore(result.snapshot, out, strip=root)
        assert compare(root, out) == []
    assert stages_left() == []


# -- a full disk -------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[bytes]:
    path = os.fsencode(tmp_path) + b"/disk"
    os.mkdir(path)
    with mounted_tmpfs(path, size="64m"):
        yield path


@pytest.mark.root
@pytest.mark.slow
def test_a_full_disk(small_disk: bytes, tmp_path: Path) -> None:
    base = os.fsencode(tmp_path)
    root = base + b"/tree"
    furnish(root, files=20, size=50_000, seed=1)
    backend = LocalBackend(small_disk + b"/store")
    create_store(backend)
    one = Machine(open_store(backend), base + b"/machine")
    first = one.take(root)
    one.restore(first.snapshot, base + b"/before", strip=root)
    furnish(root, files=50, size=110_000, seed=2)
    refused = 0
    for kibibytes in range(1500, 7800, 350):
        subprocess.run(["mount", "-o", f"remount,size={kibibytes}k", small_disk], check=True)
        with LocalBackend(small_disk + b"/store") as again:
            two = Machine(open_store(again), base + b"/machine-%d" % kibibytes)
            try:
                taken = two.take(root)
            except StoreError as error:
                assert isinstance(error, StoreFullError), error  # noqa: PT017 - the other outcome is right too
                refused += 1
            else:
                two.restore(taken.snapshot, base + b"/out", strip=root)
                assert compare(root, base + b"/out") == []
                break
            assert stages_left() == []
            assert [each.session for each in two.store.finals().snapshots()] == [first.snapshot.session]
            assert two.verify(first.snapshot, base + b"/before", strip=root) == ()
    assert refused > 4
    subprocess.run(["mount", "-o", "remount,size=128m", small_disk], check=True)
    with LocalBackend(small_disk + b"/store") as grown:
        last = Machine(open_store(grown), base + b"/machine").take(root)
        Machine(open_store(grown), base + b"/machine").restore(last.snapshot, base + b"/grown", strip=root)
    assert compare(root, base + b"/grown") == []


@pytest.mark.root
def test_a_store_on_a_read_only_disk(small_disk: bytes, tmp_path: Path) -> None:
    base = os.fsencode(tmp_path)
    root = base + b"/tree"
    furnish(root, files=5, size=1000, seed=1)
    with LocalBackend(small_disk + b"/store") as backend:
        create_store(backend)
        first = Machine(open_store(backend), base + b"/machine").take(root)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with LocalBackend(small_disk + b"/store") as backend:
        one = Machine(open_store(backend), base + b"/machine")
        with pytest.raises(StoreError):
            one.take(root)
        one.restore(first.snapshot, base + b"/out", strip=root)
    assert compare(root, base + b"/out") == []
    assert stages_left() == []


def test_checkpoints_of_a_killed_run_are_not_stored_again(base: bytes) -> None:
    root = base + b"/tree"
    furnish(root, files=60, size=200_000, seed=1)
    options = SnapshotOptions(checkpoint=CheckpointRule(size=2_000_000))

    class DiedError(BaseException):
        """Stands for the end of the process: nothing is tidied up for it."""

    one = client(base)
    calls = [0]

    class Dying(LocalBackend):
        def _put(self, name: str, parts) -> bool:  # type: ignore[no-untyped-def] # noqa: ANN001
            calls[0] += name.startswith("refs/")
            if calls[0] == 3:
                raise DiedError
            return super()._put(name, parts)

    with pytest.raises(DiedError):
        Machine(open_store(Dying(base + b"/store")), base + b"/machine").take(root, options=options)
    kept = one.store.finals().commits
    assert [commit.record.kind for commit in kept] == ["checkpoint", "checkpoint"]
    assert one.store.finals().snapshots() == []
    stored = max(commit.record.totals.new_data for commit in kept)
    assert stored >= 4_000_000
    taken = one.take(root, options=SnapshotOptions())
    assert taken.snapshot.totals.new_data == 12_000_000 - stored
