"""A store, the state of one machine, and the verbs with their options filled in."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

from snapstore.backends import DeleteBackend, MemoryBackend
from snapstore.flow import Cancellation
from snapstore.fs.place import Policy
from snapstore.model import ChunkId, Entry, Snapshot, Warned
from snapstore.ops.progress import Silent
from snapstore.ops.restore import RestoreOptions, RestoreResult, restore
from snapstore.ops.restored import verify_restore
from snapstore.ops.snapshot import LocalState, SnapshotOptions, SnapshotResult, take_snapshot
from snapstore.ops.walk import recursion_limit
from snapstore.store import trees
from snapstore.store.repository import Store, create_store, open_store

# What walks and restores raise it to anyway: hypothesis objects to a change in the middle of an example.
sys.setrecursionlimit(max(sys.getrecursionlimit(), recursion_limit()))


class Recorded(Silent):
    """Progress that remembers its warnings."""

    def __init__(self) -> None:
        self.warned: list[Warned] = []

    def warn(self, path: bytes, reason: str) -> None:
        self.warned.append(Warned(path, reason))


@dataclass
class Machine:
    """One client of one store. `base` holds its cache and state."""

    store: Store
    base: bytes
    options: SnapshotOptions = field(default_factory=SnapshotOptions)

    @property
    def cache(self) -> bytes:
        return os.path.join(self.base, b"cache")

    @property
    def local(self) -> LocalState:
        return LocalState(cache=self.cache, state=os.path.join(self.base, b"state"))

    def take(
        self,
        *roots: bytes,
        options: SnapshotOptions | None = None,
        progress: Silent | None = None,
        cancellation: Cancellation | None = None,
    ) -> SnapshotResult:
        return take_snapshot(
            self.store,
            roots,
            options=options or self.options,
            local=self.local,
            progress=progress or Silent(),
            cancellation=cancellation or Cancellation(),
        )

    def restore(
        self,
        snapshot: Snapshot,
        target: bytes,
        *,
        strip: bytes = b"",
        paths: Iterable[bytes] = (),
        overwrite: Policy | None = None,
        delete: bool = False,
        protected: frozenset[tuple[int, int]] = frozenset(),
        cancellation: Cancellation | None = None,
    ) -> RestoreResult:
        options = RestoreOptions(
            target=target, paths=tuple(paths), strip=strip, overwrite=overwrite, delete=delete, protected=protected
        )
        view = self.store.view()
        return restore(view, snapshot, options=options, progress=Silent(), cancellation=cancellation or Cancellation())

    def verify(self, snapshot: Snapshot, target: bytes, *, strip: bytes = b"") -> tuple[Warned, ...]:
        return verify_restore(
            self.store.view(),
            snapshot,
            options=RestoreOptions(target=target, strip=strip),
            progress=Silent(),
            cancellation=Cancellation(),
        ).found

    def cache_files(self) -> list[bytes]:
        return sorted(
            os.path.join(folder, name)
            for folder, _, names in os.walk(self.cache)
            for name in names
            if name.endswith(b".stat")
        )


def machine(base: bytes, backend: DeleteBackend | None = None, **options: SnapshotOptions) -> Machine:
    """A machine with a new store: in memory unless a backend is given."""
    backend = backend or MemoryBackend()
    create_store(backend)
    os.makedirs(base, exist_ok=True)
    return Machine(open_store(backend), base, **options)


def tree_of(result: SnapshotResult, number: int = 0) -> ChunkId:
    """The id of a root's tree."""
    tree = result.snapshot.roots[number].entry.tree
    assert tree is not None
    return tree


def entries(made: Machine, tree: ChunkId, prefix: bytes = b"") -> dict[bytes, Entry]:
    """Every entry below a tree by its path."""
    found: dict[bytes, Entry] = {}
    for entry in trees.entries(made.store.view().reader, tree):
        found[prefix + entry.name] = entry
        if entry.tree is not None:
            found.update(entries(made, entry.tree, prefix + entry.name + b"/"))
    return found


def stages_left() -> list[str]:
    """The names of the pipeline's threads that still run."""
    return [each.name for each in threading.enumerate() if each.name.startswith("stage")]
