"""Which snapshots there are, and where their chunks are.

Only what a commit record names counts: an index object that merely exists belongs to a session that is still
running, or that died, and its packs may be gone tomorrow (docs/format.md, section 11).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from blake3 import blake3

from snapstore.backends import ReadBackend
from snapstore.errors import CorruptObjectError, FormatVersionError, MissingObjectError, StoreError
from snapstore.format.ids import parse_id, parse_session_id
from snapstore.format.index import Index, IndexedBlock, Location, index_name
from snapstore.format.seal import ObjectType
from snapstore.format.smallobject import read_small
from snapstore.format.snapshot import read_final, tombstone_name, write_tombstone
from snapstore.model import ChunkId, SessionId, Snapshot

SMALL_INDEX = 256 << 10
"""Indexes up to this size are read into memory; larger ones are mapped."""


@dataclass(frozen=True, slots=True)
class Commit:
    """A decided session: its record, the hash of the record's stored bytes, and whether it has been forgotten."""

    record: Snapshot
    digest: bytes
    forgotten: bool


@dataclass(frozen=True, slots=True)
class Finals:
    """What the finals of a store say: commits, oldest first, and the sessions that a fence ended.

    `damaged` has an error for each object that should say something and cannot be read.
    """

    commits: tuple[Commit, ...]
    fenced: frozenset[SessionId]
    damaged: tuple[StoreError, ...] = ()

    def snapshots(self) -> list[Snapshot]:
        """The snapshots that a person sees, oldest first."""
        return [c.record for c in self.commits if c.record.kind == "snapshot" and not c.forgotten]


class Found(NamedTuple):
    """A chunk in an index: the index, and where in it."""

    source: Index
    location: Location

    def block(self) -> IndexedBlock:
        """The block that holds it."""
        return self.source.block(self.location.block)


def read_finals(backend: ReadBackend, *, store: bytes) -> Finals:
    """Every final of the store, read and checked.

    One that is damaged does not hide the others, but its snapshot is missing from every answer: see `Finals.damaged`. A
    damaged tombstone makes nothing disappear. Raises StoreError where the backend cannot be read.
    """
    damaged: list[StoreError] = []
    forgotten: set[SessionId] = set()
    sessions: list[SessionId] = []
    for listed in backend.list("refs/"):
        stem, dot, suffix = listed.name.removeprefix("refs/").partition(".")
        try:
            session = parse_session_id(stem)
        except ValueError:
            continue
        if dot and suffix == "final":
            sessions.append(session)
        elif dot and suffix == "forgotten":
            forgotten.add(session)
    for session in sorted(forgotten):
        try:
            check_tombstone(backend, session, store=store)
        except CorruptObjectError as error:
            damaged.append(error)
            forgotten.discard(session)
    commits = []
    fenced = set()
    for session in sorted(sessions):
        try:
            commit = read_commit(backend, session, store=store, forgotten=session in forgotten)
        except (CorruptObjectError, FormatVersionError) as error:
            damaged.append(error)
            continue
        if commit is None:
            fenced.add(session)
        else:
            commits.append(commit)
    commits.sort(key=lambda c: (c.record.started, c.record.sequence, c.record.session))
    return Finals(tuple(commits), frozenset(fenced), tuple(damaged))


def check_tombstone(backend: ReadBackend, session: SessionId, *, store: bytes) -> None:
    """Nothing, if the tombstone of that session is whole.

    Raises CorruptObjectError otherwise: what is damaged may not make a snapshot disappear. MissingObjectError if it has
    been collected meanwhile.
    """
    name = tombstone_name(session)
    header, payload = read_small(backend.get(name), ObjectType.TOMBSTONE, store=store, name=name)
    if header.session != session or payload != write_tombstone(session):
        raise CorruptObjectError(
            name, "it is the tombstone of another session", advice="deleting it brings the snapshot back"
        )


def read_commit(backend: ReadBackend, session: SessionId, *, store: bytes, forgotten: bool) -> Commit | None:
    """The commit of one decided session, or None where a fence decided it."""
    name = f"refs/{session.hex()}.final"
    stored = backend.get(name)
    header, payload = read_small(stored, ObjectType.FINAL, store=store, name=name)
    record = read_final(payload, name=name)
    if header.session != session or (record is not None and record.session != session):
        raise CorruptObjectError(name, "it is the final of another session")
    return None if record is None else Commit(record, blake3(stored).digest(), forgotten)


def open_index(backend: ReadBackend, name: str, *, digest: bytes, size: int, store: bytes) -> Index:
    """An index whose bytes have been compared with the hash that its commit record states.

    Raises MissingObjectError, or CorruptObjectError where size, hash or content are wrong.
    """
    advice = "run `snapstore check`; indexes can be rebuilt from packs"
    try:
        # A map keeps a descriptor open, and a store may have thousands of indexes, nearly all of them small.
        view = backend.get(name) if size <= SMALL_INDEX else backend.view(name)
    except MissingObjectError as error:
        raise MissingObjectError(name, advice=advice) from error
    if len(view) != size or blake3(view, max_threads=blake3.AUTO).digest() != digest:
        raise CorruptObjectError(name, "its bytes do not have the hash that its commit record states", advice=advice)
    return Index(view, store=store, name=name)


class Catalog:
    """The indexes of committed sessions, searched in place.

    `damaged` has an error for each index that a commit record names and that cannot be read.
    """

    def __init__(self, backend: ReadBackend, commits: Iterable[Commit], *, store: bytes) -> None:
        self._backend = backend
        self._store = store
        self._indexes: list[Index] = []
        self._others: list[Index] | None = None
        self.damaged: list[StoreError] = []
        self._recent: Index | None = None
        names = {
            index_name(ref.digest, commit.record.session): ref for commit in commits for ref in commit.record.indexes
        }
        for name, ref in names.items():
            try:
                self._indexes.append(open_index(backend, name, digest=ref.digest, size=ref.size, store=store))
            except (CorruptObjectError, FormatVersionError, MissingObjectError) as error:
                self.damaged.append(error)

    def __iter__(self) -> Iterator[Index]:
        return iter(self._indexes)

    def add(self, index: Index) -> None:
        """Takes in an index that has been committed meanwhile."""
        self._indexes.append(index)

    def find(self, chunk: ChunkId) -> Found | None:
        """Where the chunk is; None if no committed session stored it.

        Neighbours were usually stored by one session, so the index that answered last is asked first.
        """
        recent = self._recent
        if recent is not None:
            location = recent.find(chunk)
            if location is not None:
                return Found(recent, location)
        for index in reversed(self._indexes):
            if index is recent:
                continue
            location = index.find(chunk)
            if location is not None:
                self._recent = index
                return Found(index, location)
        return None

    def get(self, chunk: ChunkId) -> Found:
        """Where the chunk is, for reading; MissingObjectError if no index of the store knows it.

        If no committed session has it, the indexes that no readable commit record names are asked as well: later
        snapshots may rely on a session whose record has been lost, and what is read is compared with its id anyway.
        """
        found = self.find(chunk)
        if found is None:
            for index in self._unnamed():
                location = index.find(chunk)
                if location is not None:
                    return Found(index, location)
            raise MissingObjectError(f"chunk {chunk.hex()}")
        return found

    def _unnamed(self) -> list[Index]:
        if self._others is None:
            known = {index.name for index in self._indexes}
            others = []
            for listed in self._backend.list("index/"):
                digest, _, _ = listed.name.removeprefix("index/").partition("-")
                if listed.name in known:
                    continue
                try:
                    size = listed.size
                    others.append(
                        open_index(self._backend, listed.name, digest=parse_id(digest), size=size, store=self._store)
                    )
                except (ValueError, CorruptObjectError, FormatVersionError, MissingObjectError):
                    continue  # It cannot help; `check` says what is wrong with it.
            self._others = others
        return self._others

    def __contains__(self, chunk: ChunkId) -> bool:
        return self.find(chunk) is not None
