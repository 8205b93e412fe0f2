"""Compares two snapshots, reading only the trees that differ."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass

from snapstore.errors import UnknownPathError
from snapstore.format.tree import TreeShard
from snapstore.model import ChunkId, Entry, Kind, Snapshot
from snapstore.ops.browse import find_path, is_synthetic, join, leading, normal_path
from snapstore.store import trees
from snapstore.store.reader import Reader


class ChangeKind(enum.Flag):
    """What happened to a path. CONTENT and METADATA may come together, the others come alone."""

    ADDED = enum.auto()
    REMOVED = enum.auto()
    CONTENT = enum.auto()
    METADATA = enum.auto()
    TYPE = enum.auto()


@dataclass(frozen=True, slots=True)
class Change:
    """One path that is not the same in both: its absolute path, and its entry in either, None where there is none."""

    path: bytes
    kind: ChangeKind
    before: Entry | None
    after: Entry | None


@dataclass(slots=True)
class Summary:
    """What many changes come to: numbers of paths, and bytes of the files among them.

    `content` and `metadata` count paths; one that changed in both is in both. `changed_size` is the size after of files
    whose content changed. `growth` is how much larger all files together have become, possibly less than nothing.
    """

    added: int = 0
    removed: int = 0
    content: int = 0
    metadata: int = 0
    type: int = 0
    added_size: int = 0
    removed_size: int = 0
    changed_size: int = 0
    growth: int = 0

    def add(self, change: Change) -> None:
        """Counts one change."""
        kind = change.kind
        before = change.before.size if change.before is not None else 0
        after = change.after.size if change.after is not None else 0
        self.growth += after - before
        if kind is ChangeKind.ADDED:
            self.added += 1
            self.added_size += after
        elif kind is ChangeKind.REMOVED:
            self.removed += 1
            self.removed_size += before
        elif kind is ChangeKind.TYPE:
            self.type += 1
            self.removed_size += before
            self.added_size += after
        else:
            if ChangeKind.CONTENT in kind:
                self.content += 1
                self.changed_size += after
            if ChangeKind.METADATA in kind:
                self.metadata += 1


def compare(reader: Reader, a: Snapshot, b: Snapshot, *, path: bytes = b"/") -> Iterator[Change]:
    """The changes from `a` to `b` at a path and below it, depth first, siblings ordered by raw name.

    A directory that is in one only is followed by everything in it. Directories are compared by the ids of their
    trees, so equal ones are not read; of large directories only the shards that differ are. Content is compared by
    chunks and holes, not byte by byte: a hole that has been filled with zeros is a change of content. The target of a
    link and the number of a device are content; everything else that an entry states is metadata.
    UnknownPathError, when called and not later, if neither snapshot holds the path or leads to it.
    """
    path = normal_path(path)
    first, second = _Side(reader, a, path), _Side(reader, b, path)
    if first.start is None and second.start is None:
        raise UnknownPathError(f"neither snapshot holds {path.decode('utf-8', 'surrogateescape')!r}")
    return _compare(reader, first, second, path)


class _Side:
    """One snapshot as a tree of directories that begins at "/", the ones above its roots included."""

    def __init__(self, reader: Reader, snapshot: Snapshot, path: bytes) -> None:
        self._reader = reader
        self._snapshot = snapshot
        self.start: Entry | None
        if leading(snapshot, path):
            self.start = Entry(name=b"", kind=Kind.DIRECTORY, mode=0, uid=0, gid=0)
        else:
            try:
                self.start = find_path(reader, snapshot, path)[1]
            except UnknownPathError:
                self.start = None

    def entries(self, path: bytes, entry: Entry | None) -> Iterator[Entry]:
        """What the directory holds; nothing for what is none."""
        if entry is None or entry.kind is not Kind.DIRECTORY:
            return iter(())
        if is_synthetic(entry):
            return iter(leading(self._snapshot, path))
        return iter(()) if entry.tree is None else trees.entries(self._reader, entry.tree)


def _compare(reader: Reader, a: _Side, b: _Side, path: bytes) -> Iterator[Change]:
    yield from _change(path, a.start, b.start)
    stack = [(join(path, b""), _pairs(reader, a, b, path, before=a.start, after=b.start))]
    while stack:
        prefix, pairs = stack[-1]
        for before, after in pairs:
            entry = before or after
            if entry is None:
                continue
            here = prefix + entry.name
            yield from _change(here, before, after)
            if _descends(before, after):
                stack.append((here + b"/", _pairs(reader, a, b, here, before=before, after=after)))
                break
        else:
            stack.pop()


def _descends(before: Entry | None, after: Entry | None) -> bool:
    sides = [side for side in (before, after) if side is not None and side.kind is Kind.DIRECTORY]
    if len(sides) == 2 and sides[0].tree is not None and sides[0].tree == sides[1].tree:
        return False
    return any(side.tree is not None or is_synthetic(side) for side in sides)


def _pairs(
    reader: Reader, a: _Side, b: _Side, path: bytes, *, before: Entry | None, after: Entry | None
) -> Iterator[tuple[Entry | None, Entry | None]]:
    """The entries of two directories, those of the same name together, in order; shards in both are passed over."""
    if before is not None and after is not None and before.tree is not None and after.tree is not None:
        first, second = _differing(reader, before.tree, after.tree)
    else:
        first, second = a.entries(path, before), b.entries(path, after)
    one, two = next(first, None), next(second, None)
    while one is not None or two is not None:
        if two is None or (one is not None and one.name < two.name):
            yield one, None
            one = next(first, None)
        elif one is None or two.name < one.name:
            yield None, two
            two = next(second, None)
        else:
            yield one, two
            one, two = next(first, None), next(second, None)


def _differing(reader: Reader, a: ChunkId, b: ChunkId) -> tuple[Iterator[Entry], Iterator[Entry]]:
    """The entries of two trees without those of the shards that both have: those are the same on either side."""
    first, second = [a], [b]
    for _ in range(8):
        shared = set(first).intersection(second)
        first = [tree for tree in first if tree not in shared]
        second = [tree for tree in second if tree not in shared]
        wider = [_widened(reader, first), _widened(reader, second)]
        if [first, second] == wider:
            break
        first, second = wider
    return _all(reader, first), _all(reader, second)


def _widened(reader: Reader, documents: list[ChunkId]) -> list[ChunkId]:
    """The same documents, those that list shards replaced by their shards."""
    wide: list[ChunkId] = []
    for document in documents:
        if trees.is_sharded(reader, document):
            wide += [shard.id for shard in reader.tree(document) if isinstance(shard, TreeShard)]
        else:
            wide.append(document)
    return wide


def _all(reader: Reader, documents: list[ChunkId]) -> Iterator[Entry]:
    for document in documents:
        yield from trees.entries(reader, document)


def _change(path: bytes, before: Entry | None, after: Entry | None) -> Iterator[Change]:
    # A directory above the roots is not in the snapshot: it only leads on.
    before = None if before is not None and is_synthetic(before) else before
    after = None if after is not None and is_synthetic(after) else after
    if before is None or after is None:
        if before is not None:
            yield Change(path, ChangeKind.REMOVED, before, None)
        if after is not None:
            yield Change(path, ChangeKind.ADDED, None, after)
        return
    if before == after:
        return
    if before.kind is not after.kind:
        yield Change(path, ChangeKind.TYPE, before, after)
        return
    kind = ChangeKind(0)
    if _content(before) != _content(after):
        kind |= ChangeKind.CONTENT
    if _metadata(before) != _metadata(after):
        kind |= ChangeKind.METADATA
    if kind:
        yield Change(path, kind, before, after)


def _content(entry: Entry) -> tuple[object, ...]:
    return (entry.size, entry.chunks, entry.chunk_list, entry.holes, entry.target, entry.rdev, entry.unread)


def _metadata(entry: Entry) -> tuple[object, ...]:
    return (
        entry.mode, entry.uid, entry.gid, entry.user, entry.group, entry.mtime, entry.links, entry.hardlink,
        entry.flags, entry.acl, entry.default_acl, entry.xattrs,
    )  # fmt: skip
