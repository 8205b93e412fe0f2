"""What a restore would do to its target. Nothing is written."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from snapstore.fs import existing
from snapstore.fs.descent import Descent, Folder
from snapstore.fs.place import Policy
from snapstore.model import Entry, Kind, Snapshot
from snapstore.ops.restore import RestoreOptions, check_target
from snapstore.ops.selection import Selected, Start, selected
from snapstore.ops.surplus import Surplus
from snapstore.store import trees
from snapstore.store.repository import View

Action = Literal["create", "replace", "keep", "delete"]


@dataclass(frozen=True, slots=True)
class Planned:
    """One step of a restore: what happens to a path below the target. What the snapshot does not have has no entry."""

    action: Action
    path: bytes
    entry: Entry | None


def preview_restore(view: View, snapshot: Snapshot, *, options: RestoreOptions) -> Iterator[Planned]:
    """The steps that `restore` would take, as far as the target shows them now.

    Raises what `restore` would raise before its first write.
    """
    check_target(options)
    descent = Descent(options.target, protected=options.protected)
    try:
        yield from _Preview(view, options, descent, snapshot.excludes).steps(snapshot)
    finally:
        descent.close()


class _Preview:
    """One preview."""

    def __init__(self, view: View, options: RestoreOptions, descent: Descent, excludes: tuple[str, ...]) -> None:
        self._view = view
        self._options = options
        self._policy = options.overwrite or Policy.NEVER
        self._descent = descent
        self._excludes = excludes
        self._start: Start | None = None
        self._surplus: Surplus | None = None
        self._device: int | None = None

    def steps(self, snapshot: Snapshot) -> Iterator[Planned]:
        for each in selected(self._view.reader, snapshot, paths=self._options.paths, strip=self._options.strip):
            directory, _, name = each.path.rpartition(b"/")
            folder = self._descent.folder(directory)
            if each.start is not self._start:
                self._begin(each.start, folder)
            if folder.barred:
                continue  # Nothing is restored into it; the step for the directory itself says that it is kept.
            yield Planned(self._action(folder, name, each.entry), each.path, each.entry)
            if self._surplus is not None and each.entry.tree is not None:
                yield from self._deletions(self._surplus, each)

    def _begin(self, start: Start, folder: Folder) -> None:
        self._start = start
        self._device = None
        if self._options.delete:
            self._surplus = Surplus(self._excludes, root=start.root)
        if not start.spread and start.path != start.root:
            try:
                self._device = folder.status(b"").st_dev
            except OSError:
                self._device = None  # It is still to be made, and so nothing is mounted below it.

    def _deletions(self, surplus: Surplus, each: Selected) -> Iterator[Planned]:
        folder = self._descent.folder(each.path)
        try:
            device = folder.status(b"").st_dev
            present = set(folder.names())
        except OSError:
            return  # There is no such directory yet, so there is nothing in it.
        if folder.barred or each.entry.tree is None:
            return
        if self._device is None:
            self._device = device
        for child in trees.entries(self._view.reader, each.entry.tree):
            present.discard(child.name)
        for name in sorted(present):
            kept = device != self._device or self._stays(surplus, folder, name, each.inside)
            yield Planned("keep" if kept else "delete", each.path + b"/" + name if each.path else name, None)

    def _stays(self, surplus: Surplus, folder: Folder, name: bytes, inside: bytes) -> bool:
        try:
            if surplus.excluded(folder.fd, name, inside=inside):
                return True
            spare = surplus.spare(inside + b"/" + name if inside else name)
            return bool(existing.obstacle(folder.fd, name, protected=self._options.protected, spare=spare))
        except OSError:
            return False

    def _action(self, folder: Folder, name: bytes, entry: Entry) -> Action:
        try:
            status = folder.status(name)
        except OSError:
            return "create"
        same_kind = existing.kind_of(status) is entry.kind
        if self._policy is Policy.NEVER or (entry.kind is Kind.DIRECTORY and same_kind):
            return "keep"
        same = same_kind and divmod(status.st_mtime_ns, 1_000_000_000) == entry.mtime
        if entry.kind is Kind.FILE:
            same = same and status.st_size == entry.size
        if self._policy is Policy.CHANGED and same:
            return "keep"
        if stat.S_ISDIR(status.st_mode) and existing.obstacle(folder.fd, name, protected=self._options.protected):
            return "keep"
        return "replace"
