"""Opening and creating a store, and naming what is in it."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass

from snapstore.backends import DeleteBackend, WriteBackend
from snapstore.errors import (
    MissingObjectError,
    NoStoreError,
    ObjectExistsError,
    RequestError,
    StoreError,
    UnknownSnapshotError,
)
from snapstore.format import config as configs
from snapstore.format.chunker import Chunker, ChunkerParameters
from snapstore.format.config import StoreConfig, read_config, write_config
from snapstore.format.seal import ObjectType
from snapstore.format.smallobject import write_small
from snapstore.format.snapshot import tombstone_name, write_tombstone
from snapstore.model import Snapshot
from snapstore.store.catalog import Catalog, Finals, read_finals
from snapstore.store.reader import Reader
from snapstore.store.session import WriteOptions, WriteSession

SHARDS = tuple(f"packs/{number:02x}/" for number in range(256))
PREFIXES = ("packs/", *SHARDS, "index/", "sessions/", "refs/", "condemned/", "keys/", "parity/", "lost/", "quarantine/")

_LATEST = re.compile(r"latest(?:~([0-9]{1,9}))?\Z").match
_PREFIX = re.compile(r"[0-9a-f]{4,32}\Z").match


@dataclass(frozen=True, slots=True)
class View:
    """A store as it was at one moment: its finals, and a reader over what they name."""

    finals: Finals
    reader: Reader

    @property
    def catalog(self) -> Catalog:
        """Where the chunks are."""
        return self.reader.catalog

    @property
    def damaged(self) -> tuple[StoreError, ...]:
        """What could not be read of commit records and indexes; the rest can be used, but is perhaps not all."""
        return (*self.finals.damaged, *self.reader.catalog.damaged)


class Store:
    """A store over a backend. Holds nothing of its contents: every question reads them anew."""

    def __init__(self, backend: DeleteBackend, config: StoreConfig) -> None:
        self.backend = backend
        self.config = config

    @property
    def id(self) -> bytes:
        """16 bytes that no other store has."""
        return self.config.id

    def chunker(self) -> Chunker:
        """Cuts contents as this store does."""
        return Chunker(self.config.parameters)

    def finals(self) -> Finals:
        """All commits and fences."""
        return read_finals(self.backend, store=self.id)

    def view(self, *, cache: int | None = None) -> View:
        """The store as it is now. `cache` bounds the decoded blocks that its reader keeps, in bytes."""
        finals = self.finals()
        catalog = Catalog(self.backend, finals.commits, store=self.id)
        extra = {} if cache is None else {"cache": cache}
        return View(finals, Reader(self.backend, catalog, store=self.id, **extra))

    def begin(self, *, tool: str, options: WriteOptions | None = None) -> tuple[WriteSession, View]:
        """An announced session, and the store as it was seen after the announcement.

        The order matters: announce, then read what is condemned, then read the commits; so a collector either sees
        this session or finished before it looked (docs/format.md, section 11). What is damaged of commit records and
        indexes is passed over: chunks that only they know are stored again, so that the session relies on nothing that
        cannot be read. See `View.damaged`.
        """
        session = WriteSession(self.backend, store=self.id, tool=tool, options=options)
        try:
            self._refuse_collection()
            view = self.view()
        except BaseException:
            session.abort()
            raise
        session.deduplicate_against(view.catalog)
        return session, view

    def _refuse_collection(self) -> None:
        if next(self.backend.list("condemned/"), None) is not None:
            raise StoreError(
                "a collection is under way, which this release cannot write beside", advice="wait until it has ended"
            )

    def forget(self, snapshots: Iterable[Snapshot]) -> None:
        """Nothing; the snapshots are gone from every listing, durably. Their data stays until it is collected."""
        for snapshot in snapshots:
            stored = write_small(
                ObjectType.TOMBSTONE, write_tombstone(snapshot.session), session=snapshot.session, store=self.id
            )
            self.backend.put(tombstone_name(snapshot.session), [stored])
        self.backend.barrier(["refs/"])


def create_store(
    backend: WriteBackend, *, parameters: ChunkerParameters | None = None, created: int | None = None
) -> StoreConfig:
    """The configuration of the store just made at the backend, durable.

    Raises RequestError if the place holds a store already, or anything else; the bare directories of a store that was
    only half made count as nothing, so that making it can be repeated.
    """
    if not isinstance(backend, DeleteBackend):
        raise RequestError(f"{backend.url} cannot hold a store")
    try:
        if backend.exists(configs.NAME):
            raise RequestError(f"{backend.url} holds a store already")
        if not backend.is_empty(besides=PREFIXES):
            raise RequestError(f"{backend.url} is not empty", advice="choose an empty or new directory")
    except NoStoreError:
        pass  # There is nothing at all yet, which is what we want.
    backend.prepare(PREFIXES)
    config = StoreConfig(
        id=os.urandom(16),
        created=time.time_ns() if created is None else created,
        parameters=parameters or ChunkerParameters(),
    )
    try:
        backend.put(configs.NAME, [write_config(config)])
    except ObjectExistsError as error:  # of several that make a store here at once, one wins
        raise RequestError(f"{backend.url} holds a store already") from error
    backend.barrier()
    return config


def open_store(backend: DeleteBackend) -> Store:
    """The store at the backend.

    Raises NoStoreError where there is none, CorruptObjectError or FormatVersionError where it cannot be read.
    """
    try:
        stored = backend.get(configs.NAME)
    except MissingObjectError as error:
        raise NoStoreError(
            f"{backend.url} is not a store: it has no config", advice="make one with `snapstore init`"
        ) from error
    return Store(backend, read_config(stored))


def choose(snapshots: list[Snapshot], name: str) -> Snapshot:
    """The one snapshot that `name` means: `latest`, `latest~N`, an id's first 4 or more digits, or its own name.

    `snapshots` are ordered, oldest first; of several with the same name the latest is meant. Raises
    UnknownSnapshotError where none or several ids match.
    """
    advice = "`snapstore snapshots` lists them"
    latest = _LATEST(name)
    if latest:
        back = int(latest[1] or 0)
        if back >= len(snapshots):
            raise UnknownSnapshotError(f"there is no {name}: the store holds {len(snapshots)} snapshots", advice=advice)
        return snapshots[-1 - back]
    named = [snapshot for snapshot in snapshots if snapshot.name == name]
    if named:
        return named[-1]
    matching = [snapshot for snapshot in snapshots if snapshot.id.startswith(name)] if _PREFIX(name) else []
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise UnknownSnapshotError(
            f"{len(matching)} snapshots have ids beginning with {name}", advice="give more digits"
        )
    raise UnknownSnapshotError(f"no snapshot is called {name!r}", advice=advice)
