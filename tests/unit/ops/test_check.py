from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import pytest

from snapstore.backends import Listed, MemoryBackend
from snapstore.errors import CancelledError, CorruptObjectError, FormatVersionError, NoStoreError, StoreError
from snapstore.flow import Cancellation
from snapstore.format.config import NAME as CONFIG
from snapstore.format.seal import ObjectType
from snapstore.format.smallobject import write_small
from snapstore.format.snapshot import announcement_name, final_name, tombstone_name, write_snapshot
from snapstore.model import ChunkId, Entry, Kind, SessionId, Snapshot
from snapstore.ops.browse import walk
from snapstore.ops.check import CheckResult, check
from snapstore.ops.content import read_file
from snapstore.ops.findings import Severity
from snapstore.ops.progress import Silent
from snapstore.store.repository import Store, create_store, open_store
from tests.oddities import noise
from tests.stores import SMALL_CHUNKS, Node, Writer, changed, file, link, memory_store, objects, put_content


@dataclass(frozen=True)
class Sample:
    """A small store with one of everything, and what its snapshots hold."""

    base: Mapping[str, bytes]
    snapshots: tuple[Snapshot, ...]
    forgotten: Snapshot
    died: SessionId
    fenced: SessionId
    contents: Mapping[tuple[str, bytes], bytes]

    def open(self) -> Store:
        return open_store(MemoryBackend(objects=self.base))


def everything(store: Store) -> Iterator[tuple[tuple[str, bytes], bytes]]:
    """((snapshot, path), all that an entry states and holds) of every entry of every snapshot."""
    view = store.view()
    for snapshot in view.finals.snapshots():
        for path, entry in walk(view.reader, snapshot):
            held = b"".join(read_file(view.reader, entry)) if entry.kind is Kind.FILE and not entry.unread else b""
            yield (snapshot.id, path), repr(entry).encode() + held


@pytest.fixture(scope="module")
def sample() -> Sample:
    store = memory_store()
    writer = Writer(store)
    crowd: dict[bytes, Node] = {b"%04d" % number: file(mtime=(number, 0)) for number in range(700)}
    tree: dict[bytes, Node] = {
        b"long": noise(30_000, 1),
        b"text": b"all work and no play " * 200,
        b"crowd": crowd,
        b"deep": {b"deeper": {b"l": link(b"x"), b"f": noise(600, 2)}},
        b"sparse": file(size=5000, holes=((0, 5000),)),
    }
    first = writer.commit({b"/r": tree, b"/single": b"1"})
    gone = writer.commit({b"/r": {**tree, b"gone": noise(900, 3)}})
    writer.commit({}, kind="checkpoint")
    second = writer.commit({b"/r": {**tree, b"new": noise(2000, 4), b"text": b"less"}})
    store.forget([gone])
    died = Writer(store).begin()
    put_content(store, died, noise(500, 5))
    died.flush()
    fenced = Writer(store).begin()
    put_content(store, fenced, noise(500, 6))
    fenced.flush()
    fenced.abort()
    return Sample(objects(store.backend), (first, second), gone, died.id, fenced.id, dict(everything(store)))


def run(store: Store, *, read_data: bool = True) -> CheckResult:
    return check(store, read_data=read_data, progress=Silent(), cancellation=Cancellation())


def errors(result: CheckResult) -> dict[str, str]:
    return {found.name: found.message for found in result.findings if found.severity is Severity.ERROR}


def named(result: CheckResult, severity: Severity) -> list[str]:
    return [found.name for found in result.findings if found.severity is severity]


def only(base: Mapping[str, bytes], prefix: str) -> str:
    [name] = [name for name in base if name.startswith(prefix)]
    return name


def flipped(data: bytes, at: int, mask: int) -> bytes:
    return data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :]


# -- a store with nothing wrong ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("read_data", [False, True])
def test_a_whole_store_has_notes_at_most(sample: Sample, read_data: bool) -> None:  # noqa: FBT001
    result = run(sample.open(), read_data=read_data)
    assert not result.damaged
    assert named(result, Severity.WARNING) == []
    assert named(result, Severity.NOTE) == sorted([announcement_name(sample.died), final_name(sample.fenced)])
    assert result.snapshots == 2
    packs = [data for name, data in sample.base.items() if name.startswith("packs/")]
    assert result.packs == len(packs) > 5
    assert result.chunks > 100
    if read_data:
        assert result.bytes_read > sum(len(data) for data in packs)
    else:
        assert result.bytes_read > 0


def test_an_empty_store_is_whole() -> None:
    result = run(memory_store())
    assert (result.findings, result.packs, result.chunks, result.snapshots) == ((), 0, 0, 0)


def test_nothing_is_written(sample: Sample) -> None:
    store = sample.open()
    run(store)
    assert objects(store.backend) == sample.base


def test_foreign_objects_are_noted_and_left_alone(sample: Sample) -> None:
    foreign = ["hello", "packs/00/hello", "index/hello", "refs/hello", "sessions/hello", "lost/x", "packs/00/x/y"]
    foreign += ["packs/01/" + "00" * 32 + "-" + "00" * 16, "refs/" + "00" * 16 + ".open"]
    store = open_store(MemoryBackend(objects={**sample.base, **dict.fromkeys(foreign, b"hello")}))
    result = run(store)
    assert set(foreign) <= set(named(result, Severity.NOTE))
    assert not result.damaged


def test_it_stops_when_told(sample: Sample) -> None:
    cancellation = Cancellation()
    cancellation.cancel()
    with pytest.raises(CancelledError):
        check(sample.open(), read_data=True, progress=Silent(), cancellation=cancellation)


# -- damage -----------------------------------------------------------------------------------------------------------


def test_every_single_changed_byte_is_found_and_never_read(sample: Sample) -> None:
    rng = random.Random(20_231)
    places = [(name, at) for name, data in sample.base.items() for at in range(len(data))]
    assert 50_000 < len(places) < 200_000
    for name, at in rng.sample(places, 500):
        data = flipped(sample.base[name], at, rng.randrange(1, 256))
        if name == CONFIG:
            with pytest.raises((CorruptObjectError, FormatVersionError), match="config"):
                changed(sample.base, name, data)
            continue
        store = changed(sample.base, name, data)
        assert set(errors(run(store))) == {name}, at
        # Read until the damage is met, if it is: all that came before is as it was.
        with contextlib.suppress(StoreError):
            for key, held in everything(store):
                # A damaged tombstone makes nothing disappear: what was forgotten is there again.
                assert key in sample.contents or name.endswith(".forgotten")
                assert sample.contents.get(key, held) == held


@pytest.mark.parametrize("how", ["empty", "one byte", "half", "one byte less", "one byte more"])
def test_every_object_of_the_wrong_length_is_named(sample: Sample, how: str) -> None:
    for name, data in sample.base.items():
        if name == CONFIG:
            continue
        cut = {"empty": b"", "one byte": data[:1], "half": data[: len(data) // 2], "one byte less": data[:-1]}
        store = changed(sample.base, name, cut.get(how, data + b"\0"))
        assert set(errors(run(store))) == {name}
        # Without reading all data, too, but for packs that no index names.
        quick = set(errors(run(store, read_data=False)))
        assert quick == {name} or (name.startswith("packs/") and quick == set())


def test_every_object_that_is_gone_is_named(sample: Sample) -> None:
    without_trace = {tombstone_name(sample.forgotten.session)}
    unused = {sample.died.hex(), sample.fenced.hex()}
    for name in sample.base:
        if name == CONFIG:
            with pytest.raises(NoStoreError):
                changed(sample.base, name, None)
            continue
        result = run(changed(sample.base, name, None), read_data=False)
        found = set(errors(result))
        if name in without_trace or (name.startswith("packs/") and name[-32:] in unused):
            assert found == set(), name
        elif name == announcement_name(sample.died):
            # Announcements go when a session has been decided: what is missing is the decision.
            assert found == {final_name(sample.died)}
        elif name.startswith("refs/") and found == set():
            # A checkpoint that stored nothing leaves no trace but the gap in its writer's chain.
            assert named(result, Severity.WARNING) == [final_name(sample.snapshots[1].session)]
        else:
            assert found == {name}


def test_a_lost_index_is_rebuilt_for_the_check(sample: Sample) -> None:
    session = sample.snapshots[0].session.hex()
    for name in [name for name in sample.base if name.startswith("index/")]:
        [finding] = [found for found in run(changed(sample.base, name, None)).findings if found.name == name]
        assert finding.message.startswith("is missing from the store")
        assert finding.advice.startswith("it can be rebuilt")
        if name.endswith(session):
            # /r, long, text, crowd, deep, deep/deeper, deep/deeper/f, /single; shared with the second, counted once.
            assert "; 8 paths need it, such as '/r/' of snapshot" in finding.message


def test_a_lost_commit_record_does_not_take_later_snapshots_with_it(sample: Sample) -> None:
    name = final_name(sample.snapshots[0].session)
    for store in (changed(sample.base, name, None), changed(sample.base, name, b"")):
        [message] = errors(run(store)).values()
        assert "paths need it, such as '/r/" in message
        assert f"of snapshot {sample.snapshots[1].id[:8]}" in message


def test_a_lost_index_and_pack_are_both_named_with_what_they_cost(sample: Sample) -> None:
    session = sample.snapshots[0].session.hex()
    index = next(name for name in sample.base if name.startswith("index/") and name.endswith(session))
    pack = max(
        (n for n in sample.base if n.startswith("packs/") and n.endswith(session)), key=lambda n: sample.base[n][6]
    )
    rest = {name: data for name, data in sample.base.items() if name not in (index, pack)}
    found = errors(run(open_store(MemoryBackend(objects=rest))))
    assert set(found) == {index}
    assert "paths need it" in found[index]


def test_damage_says_what_it_costs(sample: Sample) -> None:
    session = sample.snapshots[0].session.hex()
    packs = [name for name in sample.base if name.startswith("packs/") and name.endswith(session)]
    for pack in packs:
        for store in (changed(sample.base, pack, None), changed(sample.base, pack, sample.base[pack][:300])):
            message = errors(run(store, read_data=False))[pack]
            assert "paths need it, such as '/" in message
            assert f"of snapshot {sample.snapshots[0].id[:8]}" in message


def test_swapped_objects_are_both_named(sample: Sample) -> None:
    for prefix in ("packs/", "index/", "refs/"):
        one, two = [name for name in sample.base if name.startswith(prefix)][:2]
        both = {**sample.base, one: sample.base[two], two: sample.base[one]}
        assert set(errors(run(open_store(MemoryBackend(objects=both))))) == {one, two}


# -- what a writer could do wrong, all hashes being right -------------------------------------------------------------


def committed(*nodes: Node) -> tuple[Store, list[Snapshot]]:
    store = memory_store()
    writer = Writer(store)
    return store, [writer.commit({b"/r": node}) for node in nodes]


def test_chunks_that_nobody_stored_are_named_with_their_path() -> None:
    lost = ChunkId(bytes(range(32)))
    store, _ = committed({b"f": file(size=3, chunks=(lost,)), b"g": file(size=30_000, chunk_list=lost)})
    assert errors(run(store)) == {
        f"chunk {lost.hex()}": "is missing from the store; 2 paths need it, such as "
        f"'/r/f' of snapshot {store.finals().snapshots()[0].id[:8]}"
    }


def test_a_tree_that_nobody_stored_is_named() -> None:
    lost = ChunkId(bytes(range(32)))
    store, _ = committed({b"d": Entry(name=b"", kind=Kind.DIRECTORY, mode=0, uid=0, gid=0, tree=lost)})
    assert list(errors(run(store))) == [f"chunk {lost.hex()}"]


def test_sizes_have_to_be_those_of_the_chunks() -> None:
    store, [snapshot] = committed({b"f": b"12345"})
    entry = dict(walk(store.view().reader, snapshot))[b"/r/f"]
    store, [snapshot] = committed({b"f": b"12345", b"g": replace(entry, size=6)})
    found = errors(run(store))
    assert found == {f"/r/g of snapshot {snapshot.id}": "its chunks hold 5 bytes where its size says 6"}


def test_trees_have_to_be_cut_by_the_rule() -> None:
    store = memory_store()
    writer = Writer(store)
    session = writer.begin()
    line = b'<file name="%b" size="0" mtime="0.000000000" mode="0644" uid="0" gid="0"/>\n'
    head = b'<?xml version="1.0" encoding="UTF-8"?>\n<tree xmlns="urn:snapstore:tree:1">\n'
    parts = [session.put_manifest(head + line % name + b"</tree>\n") for name in (b"a", b"b")]
    shards = b"".join(
        b'<shard first="%b" entries="1" id="%b"/>\n' % (name, part.hex().encode())
        for name, part in zip((b"a", b"b"), parts, strict=True)
    )
    tree = session.put_manifest(head + shards + b"</tree>\n")
    directory = Entry(name=b"", kind=Kind.DIRECTORY, mode=0o755, uid=0, gid=0, tree=tree)
    writer.finish(session, {b"/r": directory})
    assert list(errors(run(store))) == [f"tree {tree.hex()}"]


# -- chains -----------------------------------------------------------------------------------------------------------


def chain(count: int) -> tuple[Store, list[Snapshot]]:
    return committed(*[{b"f": b"%d" % number} for number in range(count)])


def without(store: Store, *names: str) -> Store:
    return open_store(MemoryBackend(objects={n: data for n, data in objects(store.backend).items() if n not in names}))


def of_session(store: Store, session: SessionId) -> list[str]:
    return [name for name in objects(store.backend) if session.hex() in name]


def test_a_gap_in_a_chain_is_a_warning() -> None:
    store, snapshots = chain(4)
    shorter = without(store, *of_session(store, snapshots[1].session), *of_session(store, snapshots[2].session))
    [finding] = [found for found in run(shorter).findings if found.severity is Severity.WARNING]
    assert finding.name == final_name(snapshots[3].session)
    assert finding.message.startswith("2 commits that its writer made before it are gone")


def test_the_first_commit_may_not_be_gone_either() -> None:
    store, snapshots = chain(2)
    result = run(without(store, *of_session(store, snapshots[0].session)))
    assert named(result, Severity.WARNING) == [final_name(snapshots[1].session)]


def test_a_tombstone_explains_a_gap() -> None:
    store, snapshots = chain(3)
    store.forget([snapshots[1]])
    tombstone = tombstone_name(snapshots[1].session)
    gone = [name for name in of_session(store, snapshots[1].session) if name != tombstone]
    result = run(without(store, *gone))
    assert named(result, Severity.WARNING) == []
    assert named(result, Severity.NOTE) == [tombstone]


def test_a_broken_link_and_a_fork_are_warnings() -> None:
    store, snapshots = chain(2)

    def rewritten(index: int, change: Callable[[Snapshot], Snapshot]) -> Store:
        record = change(snapshots[index])
        payload = write_snapshot(record)
        stored = write_small(ObjectType.FINAL, payload, session=record.session, store=store.id)
        return open_store(MemoryBackend(objects={**objects(store.backend), final_name(record.session): stored}))

    broken = rewritten(1, lambda record: replace(record, previous=bytes(32)))
    assert named(run(broken), Severity.WARNING) == [final_name(snapshots[1].session)]
    fork = rewritten(1, lambda record: replace(record, sequence=1))
    assert named(run(fork), Severity.WARNING) == [final_name(snapshots[1].session)]


# -- a store in use ---------------------------------------------------------------------------------------------------


class Moving(MemoryBackend):
    """Lets something happen after the commit records have been listed, before everything else is."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Callable[[], object]] = []

    def _list(self, prefix: str) -> Iterator[Listed]:
        if prefix == "" and self.events:
            self.events.pop()()
        return super()._list(prefix)


def test_a_snapshot_taken_meanwhile_is_not_taken_for_damage() -> None:
    backend = Moving()
    create_store(backend, parameters=SMALL_CHUNKS)
    store = open_store(backend)
    writer = Writer(store)
    writer.commit({b"/r": {b"f": noise(1000, 1)}})
    backend.events.append(lambda: writer.commit({b"/r": {b"f": noise(1000, 2)}}))
    result = run(store)
    assert not backend.events
    assert len(store.finals().commits) == 2
    assert result.findings == ()
    assert result.snapshots == 1
