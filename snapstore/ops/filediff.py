"""Compares the files of two systems: what their trees hold, read together with the classes of the paths.

The trees of a system hold only what no package brings back. So a path that comes into the tree need not be new: it may
be a packaged file that has been changed, and one that leaves may be as packaged again. The scope `files` knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from snapstore.errors import UnknownPathError
from snapstore.model import Entry, Kind, Snapshot
from snapstore.ops.browse import normal_path
from snapstore.ops.diff import Change, ChangeKind, compare
from snapstore.ops.scopes import held_scopes, policies, scope_rows
from snapstore.store.reader import Reader
from snapstore.system.packages import Package
from snapstore.system.scopes.files import FILES, Class, FileRow
from snapstore.system.scopes.packagelist import PACKAGES

_CONTENT = frozenset({"content", "target", "device"})


@dataclass(frozen=True, slots=True)
class FileChange:
    """One path that is not the same: the change of its entries, and its rows where it has any.

    `pristine` says of a packaged path whether it was, or is, as packaged: "before", "after" or neither (empty).
    `missing` that it has gone missing ("after") or was missing ("before"). `excluded` that what is not in the tree is,
    or was, there and left out.
    """

    change: Change
    before: FileRow | None
    after: FileRow | None
    pristine: str = ""
    missing: str = ""
    excluded: str = ""


class _Rows:
    """The rows of one side by path, and which trees they stand for.

    `skips` says that packaged files are not stored, `installed` are the packages, by every name that a row may use.
    """

    def __init__(self, rows: Iterable[FileRow], *, skips: bool, installed: frozenset[str]) -> None:
        self.by_path: dict[bytes, FileRow] = {}
        self.skips = skips
        self._installed = installed
        self._trees: dict[bytes, FileRow] = {}
        self._contents: set[bytes] = set()
        for row in rows:
            if row.contents:
                if not row.omitted:
                    self._contents.add(row.path.rstrip(b"/"))
                continue
            self.by_path[row.path] = row
            if row.tree:
                self._trees[row.path] = row

    def has_package_of(self, row: FileRow) -> bool:
        """Whether one of the packages is installed that own a path with that row on the other side."""
        return not self._installed.isdisjoint(row.package.split(" "))

    def brings_back(self, row: FileRow) -> bool:
        """Whether a path with that row on the other side, which is in no tree here, is as packaged here."""
        return self.skips and self.has_package_of(row)

    def is_packaged(self, path: bytes, entry: Entry, other: _Rows) -> bool:
        """Whether a path that is in this tree, without a row, and not in the other one, is as packaged here.

        Directories are in a tree for what is below them. Anything else is only where packaged files are stored; then
        what a rule covers beside them cannot be told from them, and is taken for packaged as well.
        """
        contents = self._contents
        if not self.skips and other.skips:
            contents = set()
        elif entry.kind is not Kind.DIRECTORY:
            return False
        here = path
        while here:
            here = here.rpartition(b"/")[0]
            if here in contents or here in self._trees:
                return False
        return True

    def is_left_out(self, path: bytes) -> bool:
        """Whether a row says that the path is there and not stored because of a rule."""
        here = path
        while here:
            row = self.by_path.get(here) if here == path else self._trees.get(here)
            if row is not None:
                return row.cls == Class.EXCLUDED or row.omitted
            here = here.rpartition(b"/")[0]
        return False


def compare_files(reader: Reader, a: Snapshot, b: Snapshot, *, path: bytes = b"/") -> Iterator[FileChange]:
    """The changes of files from one system's snapshot to another, at a path and below it; `reader` reads both.

    Where one has no record of its files, what changed in the trees is all that can be told. UnknownPathError, when
    called and not later, if neither snapshot knows anything of the path or of what is below it.
    """
    path = normal_path(path)
    if FILES not in held_scopes(a) or FILES not in held_scopes(b):
        return (FileChange(change, None, None) for change in compare(reader, a, b, path=path))
    old, new = _rows(reader, a), _rows(reader, b)
    try:
        changes = compare(reader, a, b, path=path)
    except UnknownPathError:
        # A packaged file that has gone missing was in no tree before, either.
        if not any(_lies_at(here, path) for side in (old, new) for here in side.by_path):
            raise
        changes = iter(())
    return _merge(changes, old, new, path)


def _rows(reader: Reader, snapshot: Snapshot) -> _Rows:
    names: set[str] = set()
    packages = scope_rows(reader, snapshot, PACKAGES) if PACKAGES in held_scopes(snapshot) else ()
    for row in packages:
        if isinstance(row, Package) and row.state != "removed":
            full = f"{row.name}-{row.version.partition(':')[2] or row.version}.{row.arch}"
            names |= {row.name, f"{row.name}:{row.arch}", f"{row.name}.{row.arch}", full}
    skips = policies(reader, snapshot).get("skip-packaged") != "no"
    return _Rows(scope_rows(reader, snapshot, FILES), skips=skips, installed=frozenset(names))


def _lies_at(here: bytes, path: bytes) -> bool:
    return here == path or here.startswith(path.rstrip(b"/") + b"/")


def _merge(changes: Iterator[Change], old: _Rows, new: _Rows, path: bytes) -> Iterator[FileChange]:
    told: set[bytes] = set()
    for change in changes:
        read = _read(change, old, new)
        if read is not None:
            if read.missing:
                told.add(change.path)
            yield read
    for one, two, word in ((new, old, "after"), (old, new, "before")):
        for here, row in one.by_path.items():
            if row.cls != Class.MISSING or here in told or not _lies_at(here, path):
                continue
            other = two.by_path.get(here)
            if other is None and word == "before" and not new.has_package_of(row):
                continue  # it is not there again: the package is gone
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
        if before is not None and before.cls == Class.MISSING:
            return FileChange(change, before, after, missing="before")
        if after is not None and after.cls == Class.CHANGED and before is None and old.brings_back(after):
            return FileChange(Change(path, _kind(after), None, change.after), before, after, pristine="before")
        if after is None and new.is_packaged(path, change.after, old):
            return None
        if old.is_left_out(path):
            return FileChange(change, before, after, excluded="before")
    if change.kind is ChangeKind.REMOVED and change.before is not None:
        if after is not None and after.cls == Class.MISSING:
            return FileChange(change, before, after, missing="after")
        if before is not None and before.cls == Class.CHANGED and after is None and new.brings_back(before):
            return FileChange(Change(path, _kind(before), change.before, None), before, after, pristine="after")
        if before is None and old.is_packaged(path, change.before, new):
            return None
        if new.is_left_out(path):
            return FileChange(change, before, after, excluded="after")
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
