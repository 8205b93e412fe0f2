"""Finds entries by name, kind, age and size, over any number of snapshots."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from snapstore.errors import RequestError
from snapstore.model import ChunkId, Entry, Kind, Snapshot
from snapstore.ops.browse import join
from snapstore.store import trees
from snapstore.store.reader import Reader

_MEMORY = 200_000
"""So many entries are remembered of trees that have been searched: about 100 MB where every entry is a hit."""


@dataclass(frozen=True, slots=True)
class Hit:
    """An entry that was looked for: where it is, and what."""

    snapshot: Snapshot
    path: bytes
    entry: Entry


def find(
    reader: Reader,
    snapshots: Iterable[Snapshot],
    pattern: bytes | str | Sequence[bytes | str],
    *,
    kinds: Collection[Kind] = (),
    ignore_case: bool = False,
    newer_than: int | None = None,
    older_than: int | None = None,
    larger: int | None = None,
    smaller: int | None = None,
) -> Iterator[Hit]:
    """The entries that match any of the patterns and all of the conditions, snapshot by snapshot, in walk order.

    Patterns are globs: `*` and `?` match anything but a slash, `**` slashes too, `[a-z]` and `[!a-z]` one character,
    a backslash takes the next character as it is. A pattern without a slash is compared with the name. One that begins
    with a slash is compared with the whole path, any other with the path's end, from the beginning of a component.
    `newer_than` and `older_than` are nanoseconds since the epoch, compared with the modification time; `larger` and
    `smaller` are bytes, and only files have a size. All four exclude equality. No `kinds` means all.

    A tree that an earlier snapshot led to already is not read again, within bounded memory. Raises RequestError for a
    pattern that is none, when called and not later.
    """
    patterns = [pattern] if isinstance(pattern, bytes | str) else list(pattern)
    texts = [each.decode("utf-8", "surrogateescape") if isinstance(each, bytes) else each for each in patterns]
    conditions = _Conditions(
        by_name=_any_of([text for text in texts if "/" not in text], ignore_case=ignore_case),
        by_path=_any_of([text for text in texts if "/" in text], ignore_case=ignore_case),
        kinds=frozenset(kinds),
        newer_than=newer_than,
        older_than=older_than,
        larger=larger,
        smaller=smaller,
    )
    return _Search(reader, conditions).run(snapshots)


def _any_of(globs: Sequence[str], *, ignore_case: bool) -> re.Pattern[str] | None:
    if not globs:
        return None
    flags = re.DOTALL | (re.IGNORECASE if ignore_case else 0)
    try:
        return re.compile("|".join(f"(?:{_translate(glob)})" for glob in globs), flags)
    except re.error as error:
        raise RequestError(f"{' '.join(globs)!r} is no pattern: {error.msg}") from error


def _translate(glob: str) -> str:
    """The regular expression that a glob stands for."""
    out = ["" if glob.startswith("/") or "/" not in glob else "(?:.*/)?"]
    at = 0
    while at < len(glob):
        char = glob[at]
        at += 1
        if char == "*":
            double = glob.startswith("*", at)
            at += double
            if double and glob.startswith("/", at):
                out.append("(?:.*/)?")  # "a/**/b" finds a/b too
                at += 1
            else:
                out.append(".*" if double else "[^/]*")
        elif char == "?":
            out.append("[^/]")
        elif char == "[":
            end = glob.find("]", at + (2 if glob.startswith("!", at) else 1))
            if end < 0:
                out.append(r"\[")
                continue
            inside = glob[at:end]
            negated = inside.startswith("!")
            members = re.sub(r"([\\\[\]&~|^])", r"\\\1", inside[negated:])
            out.append(f"(?!/)[{'^' if negated else ''}{members}]")
            at = end + 1
        elif char == "\\" and at < len(glob):
            out.append(re.escape(glob[at]))
            at += 1
        else:
            out.append(re.escape(char))
    return "".join(out)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Conditions:
    by_name: re.Pattern[str] | None
    by_path: re.Pattern[str] | None
    kinds: frozenset[Kind]
    newer_than: int | None
    older_than: int | None
    larger: int | None
    smaller: int | None

    def hold(self, name: bytes, prefix: bytes, entry: Entry) -> bool:
        """Whether the entry of that name, in the directory whose path and slash are `prefix`, is looked for."""
        found = self.by_name is not None and self.by_name.fullmatch(name.decode("utf-8", "surrogateescape"))
        if not found and self.by_path is not None:
            found = self.by_path.fullmatch((prefix + name).decode("utf-8", "surrogateescape"))
        if not found or (self.kinds and entry.kind not in self.kinds):
            return False
        if self.newer_than is not None or self.older_than is not None:
            time = entry.mtime[0] * 1_000_000_000 + entry.mtime[1]
            if self.newer_than is not None and time <= self.newer_than:
                return False
            if self.older_than is not None and time >= self.older_than:
                return False
        if self.larger is not None or self.smaller is not None:
            if entry.kind is not Kind.FILE or (self.larger is not None and entry.size <= self.larger):
                return False
            return self.smaller is None or entry.size < self.smaller
        return True


_Key = tuple[ChunkId, bytes]
_Worthwhile = tuple[tuple[Entry, bool], ...]
"""Of one tree: the entries that are hits or directories, and whether they are hits."""


class _Search:
    """One search. What it remembers of a tree does not depend on the snapshot, nor, for names, on the path."""

    def __init__(self, reader: Reader, conditions: _Conditions) -> None:
        self._reader = reader
        self._conditions = conditions
        self._trees: OrderedDict[_Key, _Worthwhile] = OrderedDict()
        self._held = 0
        self._barren: set[_Key] = set()

    def run(self, snapshots: Iterable[Snapshot]) -> Iterator[Hit]:
        for snapshot in snapshots:
            for root in sorted(snapshot.roots, key=lambda root: root.path.split(b"/")):
                above, _, name = root.path.rpartition(b"/")
                if self._conditions.hold(name, join(above, b""), root.entry):
                    yield Hit(snapshot, root.path, root.entry)
                if root.entry.tree is not None:
                    yield from self._below(snapshot, join(root.path, b""), root.entry.tree)

    def _below(self, snapshot: Snapshot, prefix: bytes, tree: ChunkId) -> Iterator[Hit]:
        # A frame of the stack: prefix, key, what is left of the tree, and the number of hits before it began.
        hits = 0
        first = self._key(prefix, tree)
        stack = [(prefix, first, iter(self._search(prefix, first)), 0)]
        while stack:
            here, key, left, before = stack[-1]
            for entry, hit in left:
                path = here + entry.name
                if hit:
                    hits += 1
                    yield Hit(snapshot, path, entry)
                if entry.tree is not None:
                    below = path + b"/"
                    inner = self._key(below, entry.tree)
                    if inner not in self._barren:
                        stack.append((below, inner, iter(self._search(below, inner)), hits))
                        break
            else:
                stack.pop()
                if hits == before:
                    self._remember_barren(key)

    def _key(self, prefix: bytes, tree: ChunkId) -> _Key:
        return tree, prefix if self._conditions.by_path is not None else b""

    def _search(self, prefix: bytes, key: _Key) -> _Worthwhile:
        known = self._trees.get(key)
        if known is not None:
            self._trees.move_to_end(key)
            return known
        hold = self._conditions.hold
        found = []
        for entry in trees.entries(self._reader, key[0]):
            hit = hold(entry.name, prefix, entry)
            if hit or entry.tree is not None:
                found.append((entry, hit))
        searched = tuple(found)
        self._trees[key] = searched
        self._held += 1 + len(searched)
        while self._held > _MEMORY and len(self._trees) > 1:
            _, dropped = self._trees.popitem(last=False)
            self._held -= 1 + len(dropped)
        return searched

    def _remember_barren(self, key: _Key) -> None:
        # Nothing is in it, so not even its directories need to be looked at again.
        if len(self._barren) < _MEMORY:
            self._barren.add(key)
            dropped = self._trees.pop(key, None)
            if dropped is not None:
                self._held -= 1 + len(dropped)
