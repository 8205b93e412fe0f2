"""Compares the files of two systems: what their trees hold, read together with the classes of the paths.

The trees of a system hold only what no package brings back. So a path that comes into the tree need not be new: it may
be a packaged file that has been changed, and one that leaves may be as packaged again. The scope `files` knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from snapstore.model import Entry, Kind, Snapshot
from snapstore.ops.diff import Change, ChangeKind, compare
from snapstore.ops.scopes import scope_rows
from snapstore.store.reader import Reader
from snapstore.system.scopes.files import FILES, Class, FileRow

_CONTENT = frozenset({"content", "target", "device"})


@dataclass(frozen=True, slots=True)
class FileChange:
    """One path that is not the same: the change of its entries, and its rows where it has any.

    `pristine` says of a packaged path whether it was, or is, as packaged: "before", "after" or neither (empty).
    `missing` that it has gone missing ("after") or was missing ("before").
    """

    change: Change
    before: FileRow | None
    after: FileRow | None
    pristine: str = ""
    missing: str = ""


class _Rows:
    """The rows of one side by path, and which trees they stand for."""

    def __init__(self, rows: Iterable[FileRow]) -> None:
        self.by_path: dict[bytes, FileRow] = {}
        self._trees: set[bytes] = set()
        for row in rows:
            if row.contents:
                self._trees.add(row.path)
                continue
            self.by_path[row.path] = row
            if row.tree:
                self._trees.add(row.path)

    def covered(self, path: bytes) -> bool:
        """Whether a row stands for a path that has none of its own."""
        here = path
        while here:
            here = here.rpartition(b"/")[0]
            if here in self._trees or (not here and b"/" in self._trees):
                return True
        return False


def compare_files(reader: Reader, a: Snapshot, b: Snapshot, *, path: bytes = b"/") -> Iterator[FileChange]:
    """The changes of files from one system's snapshot to another, at a path and below it; `reader` reads both.

    UnknownPathError, when called and not later, if neither snapshot holds the path or leads to it.
    """
    changes = compare(reader, a, b, path=path)
    old = _Rows(scope_rows(reader, a, FILES))
    new = _Rows(scope_rows(reader, b, FILES))
    return _merge(changes, old, new, path)


def _merge(changes: Iterator[Change], old: _Rows, new: _Rows, path: bytes) -> Iterator[FileChange]:
    for change in changes:
        read = _read(change, old, new)
        if read is not None:
            yield read
    prefix = path.rstrip(b"/") + b"/"
    for one, two, word in ((new, old, "after"), (old, new, "before")):
        for here, row in one.by_path.items():
            if row.cls != Class.MISSING or not here.startswith(prefix):
                continue
            other = two.by_path.get(here)
            if other is None or other.cls != Class.MISSING:
                nothing = Entry(name=b"", kind=Kind(row.kind) if row.kind else Kind.FILE, mode=0, uid=0, gid=0)
                kind = ChangeKind.REMOVED if word == "after" else ChangeKind.ADDED
                sides = (nothing, None) if word == "after" else (None, nothing)
                yield FileChange(Change(here, kind, *sides), old.by_path.get(here), new.by_path.get(here), missing=word)


def _read(change: Change, old: _Rows, new: _Rows) -> FileChange | None:
    """The change as it is meant; None for what changed only in the tree, or in a directory's time alone."""
    path = change.path
    before, after = old.by_path.get(path), new.by_path.get(path)
    if change.kind is ChangeKind.ADDED and change.after is not None:
        if after is not None and after.cls == Class.CHANGED:
            if before is not None and before.cls == Class.MISSING:
                return FileChange(change, before, after)
            return FileChange(Change(path, _kind(after), None, change.after), before, after, pristine="before")
        if after is None and change.after.kind is Kind.DIRECTORY and not new.covered(path):
            return None
    if change.kind is ChangeKind.REMOVED and change.before is not None:
        if after is not None and after.cls == Class.MISSING:
            return None  # told among those that went missing
        if before is not None and before.cls == Class.CHANGED:
            return FileChange(Change(path, _kind(before), change.before, None), before, after, pristine="after")
        if before is None and change.before.kind is Kind.DIRECTORY and not old.covered(path):
            return None
    if change.kind is ChangeKind.METADATA and _is_only_time(change):
        return None
    return FileChange(change, before, after)


def _kind(row: FileRow) -> ChangeKind:
    if "type" in row.changes:
        return ChangeKind.TYPE
    kind = ChangeKind(0)
    if _CONTENT.intersection(row.changes):
        kind |= ChangeKind.CONTENT
    if not kind or set(row.changes) - _CONTENT:
        kind |= ChangeKind.METADATA
    return kind


def _is_only_time(change: Change) -> bool:
    before, after = change.before, change.after
    if before is None or after is None or before.kind is not Kind.DIRECTORY:
        return False
    return (before.mode, before.uid, before.gid, before.flags, before.acl, before.default_acl, before.xattrs) == (
        after.mode, after.uid, after.gid, after.flags, after.acl, after.default_acl, after.xattrs,
    )  # fmt: skip
