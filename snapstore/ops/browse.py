"""Finds its way in a snapshot: a path, the entries of a directory, everything below one.

The roots of a snapshot lie at absolute paths. The directories above them are not part of it; they are listed so that a
person can walk down to the roots, as entries without a tree (`is_synthetic`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

from snapstore.errors import CorruptObjectError, UnknownPathError
from snapstore.format.tree import TreeShard
from snapstore.model import ChunkId, Entry, Kind, Root, Snapshot
from snapstore.store import trees
from snapstore.store.reader import Reader

_ADVICE = "`snapstore ls` shows what the snapshot holds"
_LEVELS = 8


def is_synthetic(entry: Entry) -> bool:
    """Whether an entry only leads to the roots: a directory above them, of which the snapshot knows just the name."""
    return entry.kind is Kind.DIRECTORY and entry.tree is None and not entry.unread


def normal_path(path: bytes) -> bytes:
    """The absolute path without repeated or trailing slashes and dots; UnknownPathError for a relative one."""
    if not path.startswith(b"/"):
        raise UnknownPathError(f"{os.fsdecode(path)!r} is no absolute path", advice="paths in a snapshot begin with /")
    return b"/" + os.path.normpath(path).lstrip(b"/")


def join(directory: bytes, name: bytes) -> bytes:
    """The path of a name in a directory."""
    return (directory if directory.endswith(b"/") else directory + b"/") + name


def find_path(reader: Reader, snapshot: Snapshot, path: bytes) -> tuple[Root, Entry]:
    """The root that an absolute path lies in, and the path's entry; of a root's own path, the root's entry.

    Raises UnknownPathError if the snapshot does not hold the path, which it does not for the directories above its
    roots; StoreError where a tree on the way cannot be read.
    """
    path = normal_path(path)
    for root in snapshot.roots:
        if path == root.path:
            return root, root.entry
        prefix = root.path.rstrip(b"/") + b"/"
        if path.startswith(prefix):
            return root, _descend(reader, root.entry, path[len(prefix) :].split(b"/"), path)
    raise _unknown(snapshot, path)


def _unknown(snapshot: Snapshot, path: bytes) -> UnknownPathError:
    return UnknownPathError(f"snapshot {snapshot.id[:8]} does not hold {os.fsdecode(path)!r}", advice=_ADVICE)


def _descend(reader: Reader, entry: Entry, names: list[bytes], path: bytes) -> Entry:
    for number, name in enumerate(names):
        where = os.fsdecode(path[: len(path) - sum(len(rest) + 1 for rest in names[number:])] or b"/")
        if entry.unread:
            raise UnknownPathError(f"{where!r} could not be read when the snapshot was taken ({entry.unread})")
        if entry.tree is None:
            raise UnknownPathError(f"{where!r} is not a directory in the snapshot", advice=_ADVICE)
        found = _lookup(reader, entry.tree, name)
        if found is None:
            raise UnknownPathError(f"{where!r} holds no {os.fsdecode(name)!r} in the snapshot", advice=_ADVICE)
        entry = found
    return entry


def _lookup(reader: Reader, tree: ChunkId, name: bytes) -> Entry | None:
    """The entry of that name; of a sharded directory only the shards on the way are read."""
    for _ in range(_LEVELS):
        shard: TreeShard | None = None
        for item in reader.tree(tree):
            if isinstance(item, Entry):
                if item.name == name:
                    return item
            elif item.first <= name:
                shard = item
        if shard is None:
            return None
        tree = shard.id
    raise CorruptObjectError(f"tree {tree.hex()}", "its shards are nested too deeply")


def children(reader: Reader, snapshot: Snapshot, path: bytes) -> Iterator[tuple[bytes, Entry]]:
    """(absolute path, entry) of everything directly in a directory, ordered by raw name.

    A directory above the roots shows what leads to them. A path that is no directory gives itself, as `ls` does.
    UnknownPathError, when called and not later, for a path that is neither in the snapshot nor above its roots.
    """
    path = normal_path(path)
    above = leading(snapshot, path)
    if above:
        return ((join(path, entry.name), entry) for entry in above)
    _, entry = find_path(reader, snapshot, path)
    if entry.kind is not Kind.DIRECTORY:
        return iter([(path, entry)])
    return _listed(reader, path, entry)


def _listed(reader: Reader, path: bytes, entry: Entry) -> Iterator[tuple[bytes, Entry]]:
    if entry.tree is not None:
        for child in trees.entries(reader, entry.tree):
            yield join(path, child.name), child


def leading(snapshot: Snapshot, path: bytes) -> list[Entry]:
    """What a directory above the roots shows, ordered by raw name; nothing for a path that is not above a root.

    A root is its own entry under its base name, every other directory is synthetic.
    """
    prefix = path.rstrip(b"/") + b"/"
    found: dict[bytes, Entry] = {}
    for root in snapshot.roots:
        if root.path == path or not root.path.startswith(prefix):
            continue
        name, _, rest = root.path[len(prefix) :].partition(b"/")
        if rest:
            found.setdefault(name, Entry(name=name, kind=Kind.DIRECTORY, mode=0o755, uid=0, gid=0))
        else:
            found[name] = root.entry if root.entry.name == name else replace(root.entry, name=name)
    return [found[name] for name in sorted(found)]


def walk(reader: Reader, snapshot: Snapshot, path: bytes = b"/") -> Iterator[tuple[bytes, Entry]]:
    """(absolute path, entry) of a path and everything below it, depth first, siblings ordered by raw name.

    A directory comes before what it holds. For a path above the roots, each root and everything below it; the
    directories above are left out, as the snapshot does not hold them. Memory: one manifest document a level, any
    depth. UnknownPathError, when called and not later, as for `children`.
    """
    path = normal_path(path)
    prefix = path.rstrip(b"/") + b"/"
    roots = [(root.path, root.entry) for root in snapshot.roots if root.path == path or root.path.startswith(prefix)]
    if not roots:
        roots = [(path, find_path(reader, snapshot, path)[1])]
    return _walk(reader, roots)


def _walk(reader: Reader, roots: list[tuple[bytes, Entry]]) -> Iterator[tuple[bytes, Entry]]:
    # Roots are ordered by path, which for paths that do not contain each other is the order of a walk but for names
    # that sort between a directory and its slash ("a-b" before "a/b"): compare component by component instead.
    for root, entry in sorted(roots, key=lambda pair: pair[0].split(b"/")):
        yield root, entry
        if entry.tree is None:
            continue
        stack = [(join(root, b""), trees.entries(reader, entry.tree))]
        while stack:
            prefix, siblings = stack[-1]
            for child in siblings:
                here = prefix + child.name
                yield here, child
                if child.tree is not None:
                    stack.append((here + b"/", trees.entries(reader, child.tree)))
                    break
            else:
                stack.pop()
