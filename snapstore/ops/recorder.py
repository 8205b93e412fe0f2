"""Where a running snapshot's chunks go: one session after another, a checkpoint at the end of each but the last."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from snapstore.errors import StoreError
from snapstore.flow import Lease
from snapstore.format.ids import chunk_id
from snapstore.model import ChunkId, Snapshot, Totals
from snapstore.store.catalog import Catalog, Commit
from snapstore.store.lane import Lane
from snapstore.store.repository import Store, View
from snapstore.store.session import WriteOptions, Written


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointRule:
    """When a run that goes on commits what it has: after so many new bytes, or so many seconds."""

    size: int = 4 << 30
    seconds: float = 15 * 60


class Recorder:
    """A sink that stores. `view` is the store as it was when the run began."""

    def __init__(
        self, store: Store, lane: Lane, *, tool: str, options: WriteOptions, rule: CheckpointRule | None = None
    ) -> None:
        self._store = store
        self._lane = lane
        self._tool = tool
        self._options = options
        self._rule = rule or CheckpointRule()
        self._session, self.view = store.begin(tool=tool, options=options)
        for commit in self.view.finals.commits:
            if commit.record.writer == lane.writer:
                lane.catch_up(commit.record.sequence, commit.digest)
        self._since = time.monotonic()
        self._earlier = Totals()

    def add(self, chunk: ChunkId, lease: Lease, start: int, end: int) -> bool:
        """Takes a chunk of contents; False if it is known."""
        return self._session.add(chunk, lease, start, end)

    def put_manifest(self, document: bytes) -> ChunkId:
        """Takes a manifest document."""
        return self._session.put_manifest(document)

    def detach(self) -> None:
        """Lets go of leased buffers."""
        self._session.detach()

    def _sum(self) -> Totals:
        done: Written = self._session.written
        old = self._earlier
        return Totals(
            new_chunks=old.new_chunks + done.chunks,
            new_data=old.new_data + done.data,
            new_manifest=old.new_manifest + done.manifest,
            stored_data=old.stored_data + done.stored_data,
            stored_manifest=old.stored_manifest + done.stored_manifest,
        )

    def tick(self, describe: Callable[[], Snapshot]) -> None:
        """Commits a checkpoint if one is due; `describe` gives the record of the run so far."""
        written = self._session.written
        due = written.data >= self._rule.size or time.monotonic() - self._since >= self._rule.seconds
        if due and written.chunks:
            self._commit(replace(describe(), kind="checkpoint"))
            self._session, _ = self._store.begin(tool=self._tool, options=self._options)
            self._since = time.monotonic()

    def _commit(self, record: Snapshot) -> Commit:
        self._session.flush()
        self._earlier = self._sum()
        totals = replace(
            record.totals,
            new_chunks=self._earlier.new_chunks,
            new_data=self._earlier.new_data,
            new_manifest=self._earlier.new_manifest,
            stored_data=self._earlier.stored_data,
            stored_manifest=self._earlier.stored_manifest,
        )
        lane = self._lane
        commit = self._session.commit(
            replace(
                record,
                ended=time.time_ns(),
                writer=lane.writer,
                sequence=lane.sequence + 1,
                previous=lane.previous,
                totals=totals,
            )
        )
        # The snapshot is made. If this note of it is lost, the next run reads it from the store.
        with contextlib.suppress(OSError):
            lane.advance(commit.digest)
        return commit

    def commit(self, record: Snapshot) -> Commit:
        """Makes the snapshot; durable when this returns."""
        return self._commit(replace(record, kind="snapshot"))

    def interrupt(self, record: Snapshot) -> bool:
        """Ends a run that was stopped; True if what was finished has been kept, now or in earlier checkpoints."""
        kept = self._earlier != Totals()
        try:
            if self._session.salvage():
                self._commit(replace(record, kind="checkpoint"))
                return True
        except StoreError:
            self._session.abort()
            return kept
        self._session.abort()
        return kept

    def abort(self) -> None:
        """Ends a run that failed."""
        self._session.abort()


class DryRecorder:
    """A sink that only counts what would be new, against the store as it is.

    With `documents` it keeps the manifest documents that the store does not hold, by their ids.
    """

    def __init__(self, view: View, *, documents: dict[ChunkId, bytes] | None = None) -> None:
        self.view = view
        self.documents = documents
        self.written = Written()
        self._catalog: Catalog = view.catalog
        self._seen: set[ChunkId] = set()

    def _new(self, chunk: ChunkId) -> bool:
        if chunk in self._seen or chunk in self._catalog:
            return False
        self._seen.add(chunk)
        self.written.chunks += 1
        return True

    def add(self, chunk: ChunkId, lease: Lease, start: int, end: int) -> bool:  # noqa: ARG002 - nothing is kept
        """Counts a chunk of contents."""
        new = self._new(chunk)
        if new:
            self.written.data += end - start
        return new

    def put_manifest(self, document: bytes) -> ChunkId:
        """Counts a manifest document."""
        chunk = chunk_id(document)
        if self._new(chunk):
            self.written.manifest += len(document)
            if self.documents is not None:
                self.documents[chunk] = document
        return chunk

    def detach(self) -> None:
        """Nothing is held."""
