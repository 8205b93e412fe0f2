"""Counts what a store and what a snapshot takes."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

from snapstore.format.seal import ObjectType
from snapstore.model import ChunkId, Entry, Kind, Snapshot
from snapstore.ops.browse import walk
from snapstore.store import trees
from snapstore.store.catalog import Catalog, Found
from snapstore.store.reader import Reader
from snapstore.store.repository import Store, View


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreStats:
    """What a store holds; bytes unless it says otherwise.

    `raw` is the sum of the file sizes of all snapshots, holes included, as their records state them. `unique` and
    `manifest` are what the chunks of contents and of manifests hold, each chunk once; `stored` and `manifest_stored`
    are the packs of either kind, whole. `chunks` counts both kinds, `duplicates` the chunks that two sessions stored
    at the same time. `unreferenced` packs belong to no committed session, `unreferenced_stored` are their bytes;
    they are in none of the other numbers. `index_stored` are the indexes that count.
    """

    snapshots: int
    checkpoints: int
    forgotten: int
    raw: int
    unique: int
    stored: int
    manifest: int
    manifest_stored: int
    chunks: int
    duplicates: int
    blocks: int
    packs: int
    unreferenced: int
    unreferenced_stored: int
    indexes: int
    index_stored: int

    @property
    def index_bytes_per_chunk(self) -> float:
        """How many bytes of index a chunk takes."""
        return self.index_stored / (self.chunks + self.duplicates) if self.chunks else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotStats:
    """What a snapshot takes by itself; bytes unless it says otherwise.

    `raw` is the sum of its file sizes, holes included. `unique` and `manifest` are what the distinct chunks of
    contents and of manifests hold that it reaches. `stored` and `manifest_stored` are the blocks that hold them: of a
    block that holds other chunks too, the part that the lengths of the reached chunks are of all its bytes. So the
    numbers of snapshots that share chunks add up to more than the store. Bases of delta blocks are not counted.
    """

    files: int
    directories: int
    others: int
    raw: int
    unique: int
    stored: int
    manifest: int
    manifest_stored: int
    chunks: int
    manifests: int


def store_stats(store: Store, view: View) -> StoreStats:
    """The numbers of a whole store. Memory does not grow with it; time is a few seconds for millions of chunks."""
    commits = view.finals.commits
    kept = [commit.record for commit in commits if not commit.forgotten]
    sizes = dict.fromkeys((ObjectType.DATA_PACK, ObjectType.METADATA_PACK), 0)
    packs: dict[str, tuple[ObjectType, int]] = {}
    blocks = 0
    for index in view.catalog:
        blocks += index.blocks
        packs.update({pack.name: (pack.kind, pack.size) for pack in index.packs})
    for kind, size in packs.values():
        sizes[kind] += size
    lost = [listed.size for listed in store.backend.list("packs/") if listed.name not in packs]
    refs = {ref.digest: ref.size for commit in commits for ref in commit.record.indexes}
    totals = _distinct(view.catalog)
    return StoreStats(
        snapshots=sum(record.kind == "snapshot" for record in kept),
        checkpoints=sum(record.kind == "checkpoint" for record in kept),
        forgotten=len(commits) - len(kept),
        raw=sum(record.totals.size for record in kept if record.kind == "snapshot"),
        unique=totals.data,
        stored=sizes[ObjectType.DATA_PACK],
        manifest=totals.manifest,
        manifest_stored=sizes[ObjectType.METADATA_PACK],
        chunks=totals.chunks,
        duplicates=totals.duplicates,
        blocks=blocks,
        packs=len(packs),
        unreferenced=len(lost),
        unreferenced_stored=sum(lost),
        indexes=len(refs),
        index_stored=sum(refs.values()),
    )


@dataclass(slots=True)
class _Distinct:
    data: int = 0
    manifest: int = 0
    chunks: int = 0
    duplicates: int = 0


def _distinct(catalog: Catalog) -> _Distinct:
    """The chunks of all indexes, each counted once. Indexes are sorted, so merging them finds equal ids together."""

    def rows(number: int) -> Iterator[tuple[ChunkId, int, bool]]:
        index = indexes[number]
        data = [index.packs[index.block(i).pack].kind is ObjectType.DATA_PACK for i in range(index.blocks)]
        for chunk, (block, _, length) in index:
            yield chunk, length, data[block]

    indexes = list(catalog)
    counts = _Distinct()
    last = b""
    for chunk, length, data in heapq.merge(*(rows(number) for number in range(len(indexes)))):
        if chunk == last:
            counts.duplicates += 1
            continue
        last = chunk
        counts.chunks += 1
        if data:
            counts.data += length
        else:
            counts.manifest += length
    return counts


def snapshot_stats(reader: Reader, snapshot: Snapshot) -> SnapshotStats:
    """The numbers of one snapshot. Memory: about 120 bytes for each distinct chunk that it reaches.

    Raises MissingObjectError or CorruptObjectError where its manifests cannot be read.
    """
    data, manifest = _Reached(reader.catalog), _Reached(reader.catalog)
    files = directories = others = raw = 0
    for _, entry in walk(reader, snapshot):
        if entry.kind is Kind.FILE:
            files += 1
            raw += entry.size
            _take_file(reader, entry, data, manifest)
        elif entry.kind is Kind.DIRECTORY:
            directories += 1
            if entry.tree is not None and entry.tree not in manifest.seen:
                for document in trees.tree_documents(reader, entry.tree):
                    manifest.take(document)
        else:
            others += 1
    for _, record in snapshot.scopes:
        for document in trees.scope_documents(reader, record):
            manifest.take(document)
    return SnapshotStats(
        files=files,
        directories=directories,
        others=others,
        raw=raw,
        unique=data.size,
        stored=data.stored(),
        manifest=manifest.size,
        manifest_stored=manifest.stored(),
        chunks=len(data.seen),
        manifests=len(manifest.seen),
    )


def _take_file(reader: Reader, entry: Entry, data: _Reached, manifest: _Reached) -> None:
    if entry.chunk_list is None:
        for chunk in entry.chunks:
            data.take(chunk)
    elif entry.chunk_list not in manifest.seen:
        for document in trees.list_documents(reader, entry.chunk_list):
            manifest.take(document)
        for chunk in trees.listed_chunks(reader, entry.chunk_list):
            data.take(chunk)


class _Reached:
    """Distinct chunks, and how much of which block they are."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self.seen: set[ChunkId] = set()
        self.size = 0
        self._blocks: dict[tuple[int, int], int] = {}
        self._found: dict[tuple[int, int], Found] = {}

    def take(self, chunk: ChunkId) -> None:
        """Counts a chunk, unless it was counted before."""
        if chunk in self.seen:
            return
        self.seen.add(chunk)
        found = self._catalog.get(chunk)
        key = (id(found.source), found.location.block)
        self.size += found.location.length
        self._blocks[key] = self._blocks.get(key, 0) + found.location.length
        self._found.setdefault(key, found)

    def stored(self) -> int:
        """The blocks' stored bytes, apportioned and rounded down block by block."""
        total = 0
        for key, reached in self._blocks.items():
            block = self._found[key].block()
            total += block.stored_length * min(reached, block.raw_length) // max(block.raw_length, 1)
        return total
