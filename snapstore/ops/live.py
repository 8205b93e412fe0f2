"""Looks at what a snapshot was taken of as it is now, without taking another one."""

from __future__ import annotations

from dataclasses import dataclass, replace

from snapstore.errors import RequestError
from snapstore.flow import Cancellation
from snapstore.fs.filters import FilterRules
from snapstore.model import ChunkId, Snapshot, Warned
from snapstore.ops.inspection import SystemOptions
from snapstore.ops.progress import Progress
from snapstore.ops.recorder import DryRecorder
from snapstore.ops.running import LocalState, SnapshotOptions, SnapshotRun
from snapstore.ops.scopes import policies
from snapstore.ops.systemsnapshot import inspector
from snapstore.store.overlay import OverlayReader
from snapstore.store.reader import Reader
from snapstore.store.repository import Store, View
from snapstore.system.root import Root


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """The present as a snapshot that is in no store: its record, and a reader that has its manifests."""

    snapshot: Snapshot
    reader: Reader
    warnings: tuple[Warned, ...]


def look(
    store: Store, view: View, snapshot: Snapshot, *, system: SystemOptions, local: LocalState, progress: Progress,
    cancellation: Cancellation,
) -> Live:  # fmt: skip
    """The present state of what a snapshot is of: of a system the one of `system.root`, else of its paths.

    What it left out by pattern is left out again, and a system is looked at as it was for the snapshot: with or without
    packaged files, and other file systems. Memory grows with the manifests that are not in the store. Nothing is
    written but caches. RequestError where a path of the snapshot cannot be read any more, or it was a stream.
    """
    rules = FilterRules(excludes=snapshot.excludes)
    documents: dict[ChunkId, bytes] = {}
    recorder = DryRecorder(view, documents=documents)
    run = SnapshotRun(store, SnapshotOptions(rules=rules), local, progress, cancellation)
    if snapshot.scopes:
        how = policies(view.reader, snapshot)
        options = replace(
            system, filters=rules, skip_packaged=how.get("skip-packaged") != "no",
            enter_mounts=how.get("all-file-systems") == "yes",
        )  # fmt: skip
        with Root(system.root) as root:
            record = run.system(
                recorder,
                root,
                replace(rules, one_file_system=not options.enter_mounts),
                inspector(options, local=local, cancellation=cancellation),
            )
    else:
        paths = [root.path for root in snapshot.roots]
        if not paths:
            raise RequestError("the snapshot holds no paths to look at")
        record = run.roots(recorder, paths)
    reader = OverlayReader(store.backend, view.catalog, store=store.id, documents=documents)
    result = run.result(record, dry=True)
    return Live(snapshot=record, reader=reader, warnings=result.warnings)
