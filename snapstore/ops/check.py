"""Checks a store: every object against its name, every snapshot against the objects. It never writes.

What is damaged is named once, with what it costs: how many paths need it, and one of them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TypeVar

from snapstore.errors import CorruptObjectError, StoreError
from snapstore.flow import Cancellation, OrderedStage, worker_count
from snapstore.format import config as configs
from snapstore.format.codec import Codec
from snapstore.format.ids import parse_id, parse_session_id
from snapstore.format.index import Index, IndexedPack, PackContents, index_name
from snapstore.format.pack import PackBlock
from snapstore.format.snapshot import announcement_name, final_name
from snapstore.model import ChunkId, IndexRef, SessionId
from snapstore.ops.counting import CountingBackend
from snapstore.ops.findings import Finding, Findings, Severity
from snapstore.ops.progress import Progress
from snapstore.ops.reachable import Reachability
from snapstore.ops.records import Records
from snapstore.store.catalog import Catalog, open_index
from snapstore.store.reader import BlockKey, Reader
from snapstore.store.repository import Store
from snapstore.store.verify import (
    IndexComparison,
    PackName,
    PackProof,
    contents_of,
    parse_pack_name,
    prove_pack,
    read_trailer,
    reason_of,
    rebuild_index,
)

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_INDEX_OBJECT = re.compile(r"index/([0-9a-f]{64})-([0-9a-f]{32})\Z").match
_RESERVED = ("keys/", "condemned/", "parity/", "lost/", "quarantine/")


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """What a check found, and how much it looked at; `chunks` are the entries of all indexes."""

    findings: tuple[Finding, ...]
    packs: int
    chunks: int
    snapshots: int
    bytes_read: int

    @property
    def damaged(self) -> bool:
        """Whether anything is lost: the store, or a part of it, cannot give back what it was given."""
        return any(finding.severity is Severity.ERROR for finding in self.findings)


def check(store: Store, *, read_data: bool, progress: Progress, cancellation: Cancellation) -> CheckResult:
    """The result of checking the whole store.

    Always: commit records, fences, tombstones, announcements and indexes, whole; names, sizes, headers and trailers of
    all packs, and the indexes against them; the chain of each writer; every tree, chunk list and chunk of every
    snapshot that has not been forgotten, trees and lists decoded and compared with their canonical form.
    With `read_data` also every byte of every pack against the hash in its name, and every chunk decompressed and
    hashed. It does not stop at damage: damage is in the findings. A store that is being written to meanwhile is not
    taken for a damaged one. Raises CancelledError when stopped. Memory: the indexes are mapped; besides them, packs
    in hand (32 MiB each, two for each processor) and about 120 bytes for each distinct tree.
    """
    return _Check(store, progress, cancellation).run(read_data=read_data)


@dataclass(frozen=True, slots=True)
class _OpenIndex:
    """An index to look chunks up in; `stands_for` is the lost object in whose place it was found, else empty."""

    index: Index
    comparison: IndexComparison | None
    stands_for: str = ""


@dataclass(frozen=True, slots=True)
class _Trailer:
    """A pack as an index names it, and its blocks, or the error that came instead."""

    source: _OpenIndex
    number: int
    pack: PackName
    blocks: Sequence[PackBlock] = ()
    error: StoreError | None = None


class _Check:
    """One check."""

    def __init__(self, store: Store, progress: Progress, cancellation: Cancellation) -> None:
        self._store = store.id
        self._config = store.config
        self._backend = CountingBackend(store.backend)
        self._progress = progress
        self._cancellation = cancellation
        self._findings = Findings()
        self._records = Records(self._backend, self._findings, store=store.id)
        self._sizes: dict[PackName, int] = {}
        self._index_objects: dict[str, SessionId] = {}
        self._indexes: list[_OpenIndex] = []
        self._referenced: dict[str, IndexedPack] = {}
        self._lost_packs: set[str] = set()
        self._lost_blocks: set[BlockKey] = set()

    def run(self, *, read_data: bool) -> CheckResult:
        # Commit records first: whatever they name was there before them, so a listing made later has to show it.
        self._progress.phase("records")
        self._records.read_finals()
        self._cancellation.check()
        self._list_objects()
        self._records.read_others()
        self._records.find_lost({*(pack.session for pack in self._sizes), *self._index_objects.values()})
        self._records.check_chains()
        self._open_indexes()
        catalog = Catalog(self._backend, (), store=self._store)
        for source in self._indexes:
            catalog.add(source.index)
        reader = Reader(self._backend, catalog, store=self._store)
        self._compare_packs(catalog)
        if read_data:
            self._prove_packs(reader)
        self._find_unreferenced()
        checked = self._check_snapshots(reader)
        return CheckResult(
            findings=self._findings.result(),
            packs=len(self._sizes),
            chunks=sum(source.index.chunks for source in self._indexes),
            snapshots=checked,
            bytes_read=self._backend.count,
        )

    def _list_objects(self) -> None:
        with self._findings.about(configs.NAME):
            if configs.read_config(self._backend.get(configs.NAME)) != self._config:
                raise CorruptObjectError(configs.NAME, "it is not what it was when the store was opened")
        for listed in self._backend.list(""):
            name = listed.name
            pack = parse_pack_name(name)
            index = _INDEX_OBJECT(name)
            if pack is not None:
                self._sizes[pack] = listed.size
            elif index is not None:
                self._index_objects[name] = parse_session_id(index[2])
            elif name.startswith(_RESERVED):
                self._findings.note(name, "it is of a kind that this release does not look at")
            elif not self._records.take(name) and name != configs.NAME:
                self._findings.note(name, "it is no object of a store", advice="delete it if you know what it is")

    # -- indexes ------------------------------------------------------------------------------------------------------

    def _open_indexes(self) -> None:
        """Opens what commit records name, and finds something in the place of what is lost, so as to see the rest."""
        wanted: dict[str, tuple[IndexRef, SessionId]] = {}
        for session, commit in self._records.commits.items():
            wanted.update({index_name(ref.digest, session): (ref, session) for ref in commit.record.indexes})
        self._progress.phase("indexes", files=len(wanted))
        lost: dict[SessionId, str] = {}
        for name, (ref, session) in wanted.items():
            self._cancellation.check()
            if not self._open_index(name, ref.digest, ref.size):
                lost[session] = name
            self._progress.advance(files=1)
        for name, session in self._index_objects.items():
            if session in self._records.unreadable:
                # Nobody says which indexes are the session's, but their names have their hashes and its id.
                size = self._backend.size(name)
                digest = parse_id(name[len("index/") :].partition("-")[0])
                if not self._open_index(name, digest, size, stands_for=final_name(session)):
                    lost[session] = name
            elif name not in wanted and session in self._records.commits:
                self._findings.warning(name, "its session has been committed, but does not name it")
        for session, name in lost.items():
            self._rebuild(session, name)

    def _open_index(self, name: str, digest: bytes, size: int, *, stands_for: str = "") -> bool:
        """Whether the index could be opened; otherwise there is a finding."""
        try:
            index = open_index(self._backend, name, digest=digest, size=size, store=self._store)
            index.check()
            self._indexes.append(_OpenIndex(index, IndexComparison(index), stands_for))
        except StoreError as error:
            advice = "it can be rebuilt from its packs; or put it back from another copy of the store"
            self._findings.error(name, reason_of(error, name), advice=advice)
            return False
        self._referenced.update({pack.name: pack for pack in index.packs})
        return True

    def _rebuild(self, session: SessionId, name: str) -> None:
        """Makes an index of those packs of the session that no other one has, in the place of the one that is lost."""
        contents: list[PackContents] = []
        for pack, size in self._sizes.items():
            if pack.session == session and pack.name not in self._referenced:
                try:
                    kind, blocks = read_trailer(self._backend, pack, size=size, kind=None, store=self._store)
                except StoreError as error:
                    self._lost_packs.add(pack.name)
                    self._findings.error(pack.name, reason_of(error, pack.name))
                else:
                    contents.append(contents_of(pack, size=size, kind=kind, blocks=blocks))
        index = rebuild_index(contents, session=session, store=self._store)
        self._referenced.update({pack.name: pack for pack in index.packs})
        self._indexes.append(_OpenIndex(index, None, name))

    # -- packs --------------------------------------------------------------------------------------------------------

    def _compare_packs(self, catalog: Catalog) -> None:
        """Every pack that an index names: there, of the right size, and described as its own trailer does."""
        sizes = {pack.name: size for pack, size in self._sizes.items()}
        work = []
        for source in self._indexes:
            for number, indexed in enumerate(source.index.packs):
                pack = PackName(indexed.name, indexed.digest, indexed.session)
                size = sizes.get(indexed.name)
                if size == indexed.size:
                    if source.comparison is not None:
                        work.append(_Trailer(source, number, pack))
                    continue
                message = "is missing" if size is None else f"it has {size} bytes where {indexed.size} were written"
                self._findings.error(indexed.name, message)
                self._lost_packs.add(indexed.name)
                if source.comparison is not None:
                    source.comparison.skip(number)
        self._progress.phase("trailers", files=len(work))
        self._each(work, self._read_trailer, self._compare)
        for source in self._indexes:
            if source.comparison is not None:
                fault = source.comparison.finish()
                if fault:
                    self._findings.error(source.index.name, fault)
            with self._findings.about(source.index.name):
                _check_bases(source.index, catalog)

    def _each(self, items: Sequence[_Item], work: Callable[[_Item], _Result], take: Callable[[_Result], None]) -> None:
        """Works on items with all processors, and takes the results in order, in this thread: it owns the findings."""
        done: SimpleQueue[_Result] = SimpleQueue()
        stage = OrderedStage(work, done.put, workers=worker_count(), depth=2 * worker_count())
        try:
            for item in items:
                self._cancellation.check()
                stage.put(item)
                while not done.empty():
                    take(done.get())
        except BaseException:
            stage.close()
            raise
        stage.finish()
        while not done.empty():
            take(done.get())

    def _read_trailer(self, item: _Trailer) -> _Trailer:
        pack = item.source.index.packs[item.number]
        try:
            _, blocks = read_trailer(self._backend, item.pack, size=pack.size, kind=pack.kind, store=self._store)
        except StoreError as error:
            return _Trailer(item.source, item.number, item.pack, error=error)
        return _Trailer(item.source, item.number, item.pack, blocks)

    def _compare(self, item: _Trailer) -> None:
        comparison = item.source.comparison
        if comparison is None:
            return
        name = item.pack.name
        if item.error is not None:
            # The blocks may be whole all the same, and the index knows where they are: it is not lost.
            self._findings.error(name, reason_of(item.error, name))
            comparison.skip(item.number)
        else:
            fault = comparison.add(item.number, item.blocks)
            if fault:
                self._findings.error(name, fault)
                comparison.skip(item.number)
        self._progress.advance(files=1)

    def _prove_packs(self, reader: Reader) -> None:
        """Every pack of the listing, referenced or not, byte by byte."""

        def bases(ids: Sequence[ChunkId]) -> bytes:
            return b"".join([reader.read(base) for base in ids])

        def prove(pack: PackName) -> PackProof:
            self._cancellation.check()
            indexed = self._referenced.get(pack.name)
            kind = indexed.kind if indexed is not None else None
            return prove_pack(self._backend, pack, kind=kind, store=self._store, bases=bases)

        def take(proof: PackProof) -> None:
            name = proof.pack.name
            for fault in proof.faults:
                self._findings.error(name, fault)
            if proof.unusable:
                self._lost_packs.add(name)
            self._lost_blocks.update(BlockKey(name, slot) for slot in proof.damaged)
            self._progress.at(name.encode())
            self._progress.advance(files=1, size=proof.size)

        packs = [pack for pack in self._sizes if pack.name not in self._lost_packs]
        self._progress.phase("packs", files=len(packs), size=sum(self._sizes[pack] for pack in packs))
        self._each(packs, prove, take)

    def _find_unreferenced(self) -> None:
        """Notes packs that no index names: of a session that has not ended, or ended without a snapshot."""
        left: dict[SessionId, list[int]] = defaultdict(list)
        records = self._records
        for pack, size in self._sizes.items():
            if pack.name in self._referenced or pack.name in self._lost_packs:
                continue
            if pack.session in records.commits:
                self._findings.warning(pack.name, "its session has been committed, but no index names it")
            else:
                left[pack.session].append(size)
        for session, sizes in left.items():
            what = f"{len(sizes)} packs with {sum(sizes)} bytes"
            if session in records.announced:
                message = f"its session has not ended, or died; it has written {what}"
                self._findings.note(announcement_name(session), message)
            elif session not in records.unreadable and session not in records.late:
                message = f"its session was ended without a snapshot; it left {what}"
                self._findings.note(final_name(session), message)

    # -- snapshots ----------------------------------------------------------------------------------------------------

    def _check_snapshots(self, reader: Reader) -> int:
        kept = [c.record for c in self._records.commits.values() if not c.forgotten and c.record.kind == "snapshot"]
        kept.sort(key=lambda record: (record.started, record.session))
        self._progress.phase("trees")
        reachability = Reachability(
            reader,
            self._findings,
            lost_packs=self._lost_packs,
            lost_blocks=self._lost_blocks,
            substitutes={source.index.name: source.stands_for for source in self._indexes if source.stands_for},
            progress=self._progress,
            cancellation=self._cancellation,
        )
        for snapshot in kept:
            reachability.snapshot(snapshot)
        return len(kept)


def _check_bases(index: Index, catalog: Catalog) -> None:
    """CorruptObjectError unless every base of a delta is there, and whole."""
    for number in range(index.blocks):
        for base in index.block(number).bases:
            found = catalog.find(base)
            if found is None:
                raise CorruptObjectError(index.name, f"block {number} needs the base {base.hex()}, which is nowhere")
            if found.block().codec == Codec.ZSTD_DELTA:
                raise CorruptObjectError(index.name, f"block {number} has the base {base.hex()}, itself a delta")
