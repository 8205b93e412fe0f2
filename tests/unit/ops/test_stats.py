from __future__ import annotations

from snapstore.format.seal import ObjectType
from snapstore.model import Entry, Kind
from snapstore.ops.stats import snapshot_stats, store_stats
from tests.oddities import noise
from tests.stores import Node, Writer, file, link, memory_store, put_content


def test_an_empty_store_holds_nothing() -> None:
    store = memory_store()
    stats = store_stats(store, store.view())
    assert (stats.snapshots, stats.chunks, stats.packs, stats.index_bytes_per_chunk) == (0, 0, 0, 0.0)


def test_the_numbers_of_one_snapshot_are_those_of_its_store() -> None:
    store = memory_store()
    data = noise(40_000, 1)
    tree: dict[bytes, Node] = {b"big": data, b"same": {b"copy": data, b"l": link(b"x")}, b"empty": b"", b"small": b"12"}
    snapshot = Writer(store).commit({b"/r": tree, b"/s": b"123"})
    view = store.view()
    whole, one = store_stats(store, view), snapshot_stats(view.reader, snapshot)
    assert (one.files, one.directories, one.others) == (5, 2, 1)
    assert one.raw == 80_005
    assert (one.unique, whole.unique) == (40_005, 40_005)
    assert one.manifest == whole.manifest
    assert one.chunks + one.manifests == whole.chunks
    # All blocks are reached whole, so what they take is the packs without headers, trailers and footers.
    kinds = {ObjectType.DATA_PACK: 0, ObjectType.METADATA_PACK: 0}
    for index in view.catalog:
        for number in range(index.blocks):
            block = index.block(number)
            kinds[index.packs[block.pack].kind] += block.stored_length
    assert one.stored == kinds[ObjectType.DATA_PACK]
    assert one.manifest_stored == kinds[ObjectType.METADATA_PACK]
    listed = sum(each.size for each in store.backend.list("packs/"))
    assert whole.stored + whole.manifest_stored == listed > one.stored + one.manifest_stored


def test_shared_blocks_are_apportioned_by_length() -> None:
    store = memory_store()
    writer = Writer(store)
    # Chunks of one session stand in one block, so each of the later snapshots is charged its part of it.
    writer.commit({b"/r": {b"a": noise(1000, 1), b"b": noise(3000, 2)}})
    a, b = writer.commit({b"/a": noise(1000, 1)}), writer.commit({b"/b": noise(3000, 2)})
    reader = store.view().reader
    first, second = snapshot_stats(reader, a), snapshot_stats(reader, b)
    assert (first.unique, second.unique) == (1000, 3000)
    assert abs(second.stored - 3 * first.stored) <= 3
    assert 4000 <= first.stored + second.stored <= 4016


def test_repeated_trees_count_each_time_but_are_stored_once() -> None:
    store = memory_store()
    same: dict[bytes, Node] = {b"f": noise(500, 3)}
    snapshot = Writer(store).commit({b"/r": {b"a": same, b"b": same, b"c": same}})
    stats = snapshot_stats(store.view().reader, snapshot)
    assert (stats.raw, stats.unique, stats.files, stats.directories, stats.manifests) == (1500, 500, 3, 4, 2)


def test_holes_and_unread_files_take_nothing() -> None:
    store = memory_store()
    locked = Entry(name=b"", kind=Kind.DIRECTORY, mode=0, uid=0, gid=0, unread="EACCES")
    tree: dict[bytes, Node] = {
        b"h": file(size=1 << 40, holes=((0, 1 << 40),)),
        b"u": file(size=7, unread="EIO"),
        b"d": locked,
    }
    snapshot = Writer(store).commit({b"/r": tree})
    stats = snapshot_stats(store.view().reader, snapshot)
    assert (stats.raw, stats.unique, stats.stored, stats.files, stats.directories) == ((1 << 40) + 7, 0, 0, 2, 2)


def test_what_does_not_count_is_told_apart() -> None:
    store = memory_store()
    writer = Writer(store)
    first = writer.commit({b"/r": {b"a": noise(2000, 4)}})
    writer.commit({}, kind="checkpoint")
    writer.commit({b"/r": {b"a": noise(2000, 5)}})
    store.forget([first])
    session, _ = store.begin(tool="tests")
    put_content(store, session, noise(3000, 6))
    session.flush()
    stats = store_stats(store, store.view())
    assert (stats.snapshots, stats.checkpoints, stats.forgotten) == (1, 1, 1)
    assert stats.unreferenced == 1
    assert 3000 < stats.unreferenced_stored < 4000
    # Forgotten or not, its chunks are there until they are collected.
    assert stats.unique == 4000
    assert stats.indexes == 2
    assert stats.index_bytes_per_chunk == stats.index_stored / stats.chunks > 44


def test_chunks_that_two_sessions_stored_at_once_are_duplicates() -> None:
    store = memory_store()
    writers = [Writer(store), Writer(store)]
    sessions = [writer.begin() for writer in writers]
    for writer, session in zip(writers, sessions, strict=True):
        writer.finish(session, {b"/r": noise(5000, 7)})
    stats = store_stats(store, store.view())
    assert stats.unique == 5000
    assert stats.duplicates == stats.chunks > 10
    assert stats.stored > 10_000
