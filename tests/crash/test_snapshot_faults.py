"""A store that fails at any call: the run says so or succeeds, nothing hangs, and what was there before stays right."""

from __future__ import annotations

import errno
import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from snapstore.backends import DeleteBackend, MemoryBackend, Staged
from snapstore.errors import SessionFencedError, StoreError
from snapstore.format.seal import ObjectType
from snapstore.format.smallobject import write_small
from snapstore.format.snapshot import final_name, write_fence
from snapstore.fs.place import Policy
from snapstore.model import SessionId, Snapshot
from snapstore.ops.recorder import CheckpointRule
from snapstore.ops.snapshot import SnapshotOptions, SnapshotResult
from snapstore.store import trees
from snapstore.store.repository import Store, open_store
from tests.compare import compare
from tests.crash.faulty import Fail, Fault, FaultyBackend, FlipBit, Operation, Truncate
from tests.crash.powerloss import PowerLossBackend
from tests.drive import Machine, machine, stages_left, tree_of
from tests.oddities import noise

Contents = dict[bytes, bytes]


def furnish(root: bytes, *, generation: int) -> None:
    for folder in (b"", b"/one", b"/two"):
        os.makedirs(root + folder, exist_ok=True)
        for number in range(3):
            with open(root + folder + b"/%d-%d" % (number, generation), "wb") as file:
                file.write(noise(30_000 * number + 10, number + 10 * generation))
    with open(root + b"/large-%d" % generation, "wb") as file:
        file.write(noise(1_500_000, generation))


def contents(store: Store, snapshot: Snapshot) -> Contents:
    """What is in every file of a snapshot, each chunk compared with its id."""
    view = store.view()
    found: Contents = {}
    pending = [(b"", root.entry) for root in snapshot.roots]
    while pending:
        prefix, entry = pending.pop()
        if entry.tree is None:
            found[prefix] = b"".join(bytes(view.reader.read(chunk)) for chunk in trees.chunks(view.reader, entry))
        else:
            pending += [(prefix + b"/" + each.name, each) for each in trees.entries(view.reader, entry.tree)]
    return found


class Scene:
    """A store with one snapshot, and a tree that has changed since."""

    def __init__(self, base: bytes) -> None:
        self.base = base
        self.root = base + b"/tree"
        self.number = 0
        furnish(self.root, generation=1)
        client = machine(base + b"/machine")
        self.first = client.take(self.root)
        self.before = contents(client.store, self.first.snapshot)
        backend = client.store.backend
        self.objects = {each.name: backend.get(each.name) for each in backend.list("")}
        furnish(self.root, generation=2)
        self.expected = tree_of(self.client(self.place()).take(self.root))

    def place(self) -> MemoryBackend:
        return MemoryBackend(objects=self.objects)

    def client(self, backend: DeleteBackend) -> Machine:
        self.number += 1
        return Machine(open_store(backend), self.base + b"/machine-%d" % self.number)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene(os.fsencode(tmp_path_factory.mktemp("scene")))


def attempt(client: Machine, root: bytes) -> SnapshotResult | None:
    """The snapshot, or None where the store failed; whatever else goes wrong is a failure of the test."""
    try:
        return client.take(root)
    except StoreError:
        return None


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("applied", [False, True], ids=["refused", "answer-lost"])
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EACCES], ids=["EIO", "ENOSPC", "EACCES"])
def test_any_call_may_fail(scene: Scene, number: int, applied: bool) -> None:  # noqa: FBT001 - a parameter
    counting = FaultyBackend(scene.place())
    assert attempt(scene.client(counting), scene.root) is not None
    failed = 0
    for call in range(2, len(counting.calls) + 1):
        inner = scene.place()
        faulty = FaultyBackend(inner, [Fault(call, Fail(number, applied=applied))])
        taken = attempt(scene.client(faulty), scene.root)
        assert stages_left() == []
        failed += taken is None
        store = open_store(inner)
        snapshots = store.finals().snapshots()
        assert snapshots[0] == scene.first.snapshot
        assert contents(store, snapshots[0]) == scene.before
        # What was answered with an error may have happened all the same, but then it happened completely.
        for snapshot in snapshots[1:]:
            assert snapshot.roots[0].entry.tree == scene.expected
            assert len(contents(store, snapshot)) == 20
        if taken is not None:
            assert taken.snapshot in snapshots
        again = scene.client(inner).take(scene.root)
        assert tree_of(again) == scene.expected
        assert len(contents(store, again.snapshot)) == 20
    assert failed > len(counting.calls) / 2


def test_a_failed_store_never_keeps_the_reader_waiting(tmp_path: Path) -> None:
    """New chunks far apart among known ones: the first block that fails then holds all the buffers there are."""
    base = os.fsencode(tmp_path)
    root = base + b"/tree"
    os.mkdir(root)
    client = machine(base + b"/machine")
    for number in range(40):
        with open(root + b"/%02d-old" % number, "wb") as file:
            file.write(noise(900_000, number))
    client.take(root)
    for number in range(40):
        with open(root + b"/%02d-new" % number, "wb") as file:
            file.write(noise(60_000, 100 + number))
    operations: tuple[Operation, ...] = ("stage", "write", "publish")
    for operation in operations:
        faulty = FaultyBackend(client.store.backend, [Fault(2, Fail(errno.EIO), operation)])
        caught: list[bool] = []

        def run(faulty: FaultyBackend = faulty, caught: list[bool] = caught) -> None:
            caught.append(attempt(Machine(open_store(faulty), base + b"/x"), root) is None)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(60)
        assert not thread.is_alive(), f"hangs after {operation} failed"
        assert caught == [True]
    assert stages_left() == []


def test_a_wrong_bit_on_the_way_is_never_restored(scene: Scene) -> None:
    counting = FaultyBackend(scene.place())
    store = open_store(counting)
    Machine(store, scene.base).restore(scene.first.snapshot, scene.base + b"/clean", strip=scene.root)
    gets = sum(operation == "get" for operation, _ in counting.calls)
    rng = random.Random(7)
    outcomes = {"right": 0, "refused": 0}
    for call in range(1, gets + 1):
        actions = [FlipBit(rng.randrange(1 << 30)) for _ in range(3)] + [Truncate(0), Truncate(rng.randrange(1, 200))]
        for number, action in enumerate(actions):
            out = scene.base + b"/damaged-%d-%d" % (call, number)
            try:
                damaged = open_store(FaultyBackend(scene.place(), [Fault(call, action, "get")]))
                Machine(damaged, scene.base).restore(scene.first.snapshot, out, strip=scene.root)
                outcomes["right"] += 1
                assert compare(scene.base + b"/clean", out) == []
            except StoreError:
                outcomes["refused"] += 1
                assert wrong_files(out, scene.before) == []
    assert outcomes["refused"] > outcomes["right"]
    assert stages_left() == []


def files(root: bytes) -> list[bytes]:
    return [os.path.join(folder, name) for folder, _, names in os.walk(root) for name in names]


def wrong_files(target: bytes, right: Contents) -> list[bytes]:
    found = []
    for folder, _, names in os.walk(target):
        for name in names:
            path = os.path.join(folder, name)
            with open(path, "rb") as file:
                if right.get(path.removeprefix(target)) != file.read():
                    found.append(path)
    return found


def damage(objects: dict[str, bytes], prefix: str, kind: int) -> Iterator[tuple[str, dict[str, bytes]]]:
    """The store with one bit of one object of that type flipped, for each such object."""
    for name, data in objects.items():
        if name.startswith(prefix) and data[6] == kind:
            changed = bytearray(data)
            changed[len(data) // 3] ^= 4
            yield name, objects | {name: bytes(changed)}


def test_a_damaged_chunk_costs_its_file_only(tmp_path: Path) -> None:
    base = os.fsencode(tmp_path)
    root = base + b"/tree"
    os.mkdir(root)
    for number in range(8):
        with open(root + b"/%d" % number, "wb") as file:
            file.write(noise(700_000, number))
    os.link(root + b"/0", root + b"/0-again")
    client = machine(base + b"/machine")
    taken = client.take(root)
    right = contents(client.store, taken.snapshot)
    backend = client.store.backend
    whole = {each.name: backend.get(each.name) for each in backend.list("")}
    packs = [name for name in whole if name.startswith("packs/") and whole[name][6] == ObjectType.DATA_PACK]
    for number, at in enumerate((2_000, 2_000_000, 4_000_000)):
        changed = bytearray(whole[packs[0]])
        changed[at] ^= 4
        damaged = Machine(open_store(MemoryBackend(objects=whole | {packs[0]: bytes(changed)})), base)
        out = base + b"/out-%d" % number
        # An older file under the same name stays what it is, and nothing becomes another name of it.
        os.mkdir(out)
        with open(out + b"/0", "wb") as file:
            file.write(b"older")
        with pytest.raises(StoreError, match="could not be restored"):
            damaged.restore(taken.snapshot, out, strip=root, overwrite=Policy.ALWAYS)
        assert wrong_files(out, right) == ([out + b"/0"] if at == 2_000 else [])
        there = set(os.listdir(out))
        assert 4 < len(there) < 9
        assert (b"0-again" in there) == (at != 2_000)


def test_a_damaged_commit_or_index_is_named(scene: Scene) -> None:
    for prefix, kind in (("refs/", ObjectType.FINAL), ("index/", ObjectType.INDEX)):
        for name, objects in damage(scene.objects, prefix, kind):
            store = open_store(MemoryBackend(objects=objects))
            (error,) = store.view().damaged
            assert name in error.message
            # A new snapshot is made and relies on nothing that only the damaged object names.
            client = Machine(store, scene.base)
            taken = client.take(scene.root)
            assert [error.message for error in taken.damaged] == [error.message]
            lost = name.partition(".")[0][-32:]
            for listed in list(store.backend.list("")):
                if lost in listed.name and not listed.name.startswith("packs/"):
                    store.backend.delete(listed.name)
            out = scene.base + b"/again-" + os.urandom(4).hex().encode()
            client.restore(taken.snapshot, out, strip=scene.root)
            assert compare(scene.root, out) == []
    assert stages_left() == []


class _Fencing(FaultyBackend):
    """Fences every session as soon as it stages something, as a collector would."""

    store_id = b""

    def _stage(self) -> Staged:
        for listed in self.inner.list("sessions/"):
            session = SessionId(bytes.fromhex(listed.name.removeprefix("sessions/").partition(".")[0]))
            stored = write_small(ObjectType.FINAL, write_fence(session), session=session, store=self.store_id)
            self.inner.put(final_name(session), [stored])
        return super()._stage()


def test_a_fenced_session_shows_nothing(scene: Scene) -> None:
    inner = scene.place()
    backend = _Fencing(inner)
    client = scene.client(backend)
    backend.store_id = client.store.id
    with pytest.raises(SessionFencedError):
        client.take(scene.root)
    store = open_store(inner)
    assert store.finals().snapshots() == [scene.first.snapshot]
    assert len(store.finals().fenced) == 1
    assert tree_of(scene.client(inner).take(scene.root)) == scene.expected
    assert stages_left() == []


def test_a_read_only_store_refuses_at_once(scene: Scene) -> None:
    inner = scene.place()
    refusing = FaultyBackend(inner, [Fault(n, Fail(errno.EROFS), "put") for n in range(1, 9)])
    with pytest.raises(StoreError):
        scene.client(refusing).take(scene.root)
    assert open_store(inner).finals().snapshots() == [scene.first.snapshot]
    assert {each.name: each.size for each in inner.list("")} == {n: len(d) for n, d in scene.objects.items()}


@pytest.mark.slow
def test_power_may_fail_at_every_step(tmp_path: Path) -> None:
    base = os.fsencode(tmp_path)
    root = base + b"/tree"
    furnish(root, generation=1)
    acknowledged: list[tuple[Snapshot, Contents]] = []
    wrong: list[SessionId] = []
    tried = [0]
    watching = [False]
    guard = threading.Lock()

    def look(backend: PowerLossBackend) -> None:
        if not watching[0]:
            return
        with guard:
            with backend._lock:
                states = list(backend.crash_states(limit=24, seed=tried[0]))
            for state in states:
                tried[0] += 1
                store = open_store(MemoryBackend(objects=state))
                there = {snapshot.session: contents(store, snapshot) for snapshot in store.finals().snapshots()}
                # Kept for later: this runs in threads whose failures are taken for the store's.
                wrong.extend(each.session for each, right in acknowledged if there.get(each.session) != right)
                if tried[0] % 8 == 0:
                    again = Machine(store, base + b"/after-%d" % tried[0]).take(root)
                    wrong.extend([again.snapshot.session] * (len(contents(store, again.snapshot)) != len(files(root))))

    backend = PowerLossBackend(before_step=look)
    client = machine(base + b"/machine", backend)
    client.options = SnapshotOptions(checkpoint=CheckpointRule(size=100_000))
    watching[0] = True
    for generation in range(2, 9):
        taken = client.take(root)
        acknowledged.append((taken.snapshot, contents(client.store, taken.snapshot)))
        look(backend)
        furnish(root, generation=generation)
    assert wrong == []
    assert tried[0] > 150
