"""Takes snapshots of whole systems."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from snapstore.flow import Cancellation
from snapstore.ops.inspected import Inspected
from snapstore.ops.inspection import Inspection, SystemOptions
from snapstore.ops.places import Places
from snapstore.ops.progress import Progress
from snapstore.ops.recorder import DryRecorder
from snapstore.ops.running import LocalState, SnapshotOptions, SnapshotResult, SnapshotRun
from snapstore.ops.snapshot import open_lane, previewed
from snapstore.store.repository import Store
from snapstore.system.root import Root

Inspector = Callable[[Root, Places, Progress], Inspected]


def inspector(system: SystemOptions, *, local: LocalState, cancellation: Cancellation) -> Inspector:
    """What a run asks about the system whose root it is given."""

    def inspect(root: Root, own: Places, noted: Progress) -> Inspected:
        return Inspection(root, system, cache=local.cache, own=own, progress=noted, cancellation=cancellation).run()

    return inspect


def snapshot_system(
    store: Store,
    system: SystemOptions,
    *,
    options: SnapshotOptions,
    local: LocalState,
    progress: Progress,
    cancellation: Cancellation,
    dry: bool = False,
) -> SnapshotResult:
    """The snapshot of a system: its scopes, and those files that its packages do not bring back.

    Its one root is recorded as "/", wherever it lies. With `dry` nothing is written to the store. Raises what
    `take_snapshot` does, and PackageDatabaseError where a package database cannot be read.
    """
    rules = replace(system.filters, one_file_system=not system.enter_mounts)
    inspect = inspector(system, local=local, cancellation=cancellation)
    with Root(system.root) as root:
        run = SnapshotRun(store, options, local, progress, cancellation)
        if dry:
            recorder = DryRecorder(store.view())
            return previewed(run, recorder, run.system(recorder, root, rules, inspect))
        with open_lane(store, local) as lane:
            writer = run.begin(lane)
            return run.guarded(writer, lambda: run.system(writer, root, rules, inspect))
