"""Answers "how big is it?" for the snapshot of a system: what is on disk, and what of it the snapshot carries."""

from __future__ import annotations

from dataclasses import dataclass

from snapstore.model import Snapshot
from snapstore.ops.scopes import held_scopes, scope_rows
from snapstore.ops.stats import SnapshotStats, snapshot_stats
from snapstore.store import trees
from snapstore.store.reader import Reader
from snapstore.system.scopes.files import COMPLETENESS, ClassTotal


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Bytes, unless it says otherwise.

    `classes` are what is on disk by class. `records` are the scope records with their raw sizes; they are among the
    manifests of `stats`, of which the rest are trees and chunk lists.
    """

    classes: tuple[ClassTotal, ...]
    records: tuple[tuple[str, int], ...]
    stats: SnapshotStats


def budget(reader: Reader, snapshot: Snapshot) -> Budget:
    """The budget of a system's snapshot; RequestError for any other."""
    classes = [row for row in scope_rows(reader, snapshot, COMPLETENESS) if isinstance(row, ClassTotal)]
    by_name = dict(snapshot.scopes)
    records = [
        (scope.name, sum(reader.locate(each)[3] for each in trees.scope_documents(reader, by_name[scope.name])))
        for scope in held_scopes(snapshot)
    ]
    return Budget(classes=tuple(classes), records=tuple(records), stats=snapshot_stats(reader, snapshot))
