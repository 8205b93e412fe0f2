"""Which part of a snapshot a restore means, and where it lands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from snapstore.errors import UnknownPathError
from snapstore.model import Entry, Kind, Root, Snapshot
from snapstore.ops.browse import find_path, normal_path, walk
from snapstore.store.reader import Reader


@dataclass(frozen=True, slots=True)
class Start:
    """One place where a restore begins.

    `path` in the snapshot, the path of the root that holds it, its entry, and the names of the directories below the
    target that lead to it. `spread` means that the directory's contents land in the target itself.
    """

    path: bytes
    root: bytes
    entry: Entry
    parents: tuple[bytes, ...]
    spread: bool = False

    @property
    def inside(self) -> bytes:
        """The path from its root, as hard links state paths; empty for the root itself."""
        return b"/".join(components(self.path)[len(components(self.root)) :])


@dataclass(frozen=True, slots=True)
class Selected:
    """An entry that a restore means.

    `path` below the target (empty: the target itself), and `inside`, its path from its root, as hard links state paths.
    """

    start: Start
    path: bytes
    inside: bytes
    entry: Entry


def is_within(path: bytes, outer: bytes) -> bool:
    """Whether an absolute path is another one or lies below it."""
    return outer in {path, b"/"} or path.startswith(outer + b"/")


def components(path: bytes) -> tuple[bytes, ...]:
    """The names that make up an absolute path."""
    return tuple(part for part in path.split(b"/") if part)


def starts(reader: Reader, snapshot: Snapshot, *, paths: Sequence[bytes], strip: bytes) -> Iterator[Start]:
    """The places that `paths` mean (all roots, if there are none), each once.

    A path lands below the target as a whole; with `strip`, that directory is what lands as the target, and what lies
    outside of it is not meant. Raises UnknownPathError for a path that the snapshot does not hold.
    """
    base = normal_path(strip) if strip else b"/"
    wanted = [normal_path(path) for path in paths] or [base]
    wanted = [path for path in wanted if not any(path != other and is_within(path, other) for other in wanted)]
    for path in dict.fromkeys(wanted):
        if not is_within(path, base):
            raise UnknownPathError(f"{_shown(path)} does not lie below {_shown(base)}")
        found = False
        for root in snapshot.roots:
            if is_within(root.path, path):
                found = True
                spread = bool(strip) and root.path == base and root.entry.kind is Kind.DIRECTORY
                yield _start(root, root.path, root.entry, base, spread=spread)
            elif is_within(path, root.path):
                found = True
                entry = find_path(reader, snapshot, path)[1]
                spread = bool(strip) and path == base and entry.kind is Kind.DIRECTORY
                yield _start(root, path, entry, base, spread=spread)
        if not found:
            raise UnknownPathError(
                f"the snapshot does not hold {_shown(path)}", advice="`snapstore ls` shows what it holds"
            )


def selected(reader: Reader, snapshot: Snapshot, *, paths: Sequence[bytes], strip: bytes) -> Iterator[Selected]:
    """Every entry of the places that `starts` gives, in the order of a restore. Raises as `starts`, and StoreError."""
    for start in starts(reader, snapshot, paths=paths, strip=strip):
        top = b"" if start.spread else b"/".join((*start.parents, start.entry.name))
        for path, entry in walk(reader, snapshot, start.path):
            below = path[len(start.path) :].lstrip(b"/")
            inside = b"/".join(part for part in (start.inside, below) if part)
            yield Selected(start, top + b"/" + below if top and below else top + below, inside, entry)


def _start(root: Root, path: bytes, entry: Entry, base: bytes, *, spread: bool) -> Start:
    if path == b"/" or spread:
        return Start(path, root.path, entry, (), spread=True)
    above = components(path)[:-1]
    skip = len(components(base)) if base != path else max(0, len(components(base)) - 1)
    return Start(path, root.path, entry, above[skip:])


def _shown(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace")
