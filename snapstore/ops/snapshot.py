"""Takes snapshots: of directory trees, single files, and streams."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from snapstore.errors import RequestError
from snapstore.flow import Cancellation
from snapstore.model import Snapshot
from snapstore.ops.progress import Progress
from snapstore.ops.recorder import DryRecorder
from snapstore.ops.running import LocalState, SnapshotOptions, SnapshotResult, SnapshotRun
from snapstore.store.lane import Lane
from snapstore.store.repository import Store

__all__ = [
    "LocalState",
    "SnapshotOptions",
    "SnapshotResult",
    "normal_roots",
    "open_lane",
    "preview_snapshot",
    "previewed",
    "snapshot_stream",
    "take_snapshot",
]


def normal_roots(paths: Sequence[bytes]) -> list[bytes]:
    """The absolute paths to snapshot, sorted; RequestError if there is none or one lies inside another."""
    roots = sorted({os.path.normpath(os.path.join(os.getcwdb(), path)) for path in paths})
    roots = sorted({b"/" + root.lstrip(b"/") for root in roots})
    if not roots:
        raise RequestError("nothing to snapshot: give at least one path")
    for outer in roots:
        for inner in roots:
            if inner != outer and inner.startswith(outer.rstrip(b"/") + b"/"):
                raise RequestError(
                    f"{os.fsdecode(inner)} lies inside {os.fsdecode(outer)}", advice="name the outer one only"
                )
    return roots


def take_snapshot(
    store: Store,
    paths: Sequence[bytes],
    *,
    options: SnapshotOptions,
    local: LocalState,
    progress: Progress,
    cancellation: Cancellation,
) -> SnapshotResult:
    """The snapshot of these paths, committed and durable.

    Trouble with single files is in the result's warnings. Raises RequestError for paths that cannot be snapshot,
    StoreError when the store fails (earlier snapshots are safe), CancelledError when stopped (what was finished is
    kept as a checkpoint, and the next run need not store it again).
    """
    roots = normal_roots(paths)
    for root in roots:
        try:
            os.stat(root)
        except OSError as error:
            raise RequestError(f"{os.fsdecode(root)} cannot be read: {error.strerror}") from error
    with open_lane(store, local) as lane:
        run = SnapshotRun(store, options, local, progress, cancellation)
        recorder = run.begin(lane)
        return run.guarded(recorder, lambda: run.roots(recorder, roots))


def snapshot_stream(
    store: Store,
    stream: Callable[[memoryview], int],
    *,
    path: bytes,
    options: SnapshotOptions,
    local: LocalState,
    progress: Progress,
    cancellation: Cancellation,
) -> SnapshotResult:
    """The snapshot of a stream, as a file of mode 0600 at that absolute path. `stream` is as for `Ingest.stream`."""
    with open_lane(store, local) as lane:
        run = SnapshotRun(store, options, local, progress, cancellation)
        recorder = run.begin(lane)
        return run.guarded(recorder, lambda: run.stream(recorder, stream, path))


def preview_snapshot(
    store: Store,
    paths: Sequence[bytes],
    *,
    options: SnapshotOptions,
    local: LocalState,
    progress: Progress,
    cancellation: Cancellation,
) -> SnapshotResult:
    """What `take_snapshot` would do, found out without writing anything anywhere."""
    run = SnapshotRun(store, options, local, progress, cancellation)
    recorder = DryRecorder(store.view())
    return previewed(run, recorder, run.roots(recorder, normal_roots(paths)))


def previewed(run: SnapshotRun, recorder: DryRecorder, record: Snapshot) -> SnapshotResult:
    """The result of a run that only counted."""
    written = recorder.written
    totals = replace(record.totals, new_chunks=written.chunks, new_data=written.data, new_manifest=written.manifest)
    return run.result(replace(record, totals=totals, ended=time.time_ns()), dry=True)


def open_lane(store: Store, local: LocalState) -> Lane:
    """This machine's lane in a store, made if need be; to be closed by a `with` statement."""
    directory = os.path.join(local.state, store.id.hex().encode())
    os.makedirs(directory, mode=0o700, exist_ok=True)
    return Lane(directory)
