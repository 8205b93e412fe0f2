"""Entries that come in any order, kept in a temporary file until they can be made into trees.

An archive may hold its members as it likes, while a tree is written in the order of its names and from the bottom up.
The file is a database of its own with a bound on its size; it is gone with the process, whatever happens to that.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Self

from snapstore.errors import RequestError
from snapstore.format.tree import ELEMENT_LIMIT, TreeWriter, entry_element, read_tree
from snapstore.format.treelines import FOOT, HEAD
from snapstore.model import ChunkId, Entry, Kind
from snapstore.ops.elements import with_tree

SPOOL_LIMIT = 8 << 30
DEPTH_LIMIT = 1 << 14
"""Directories inside each other: each that is being written takes some memory."""

_PAGE = 4096
_CACHE = 32 << 20
NO_TREE = ChunkId(bytes(32))
"""Stands for the tree of a directory until that is known."""
_SCHEMA = (
    """CREATE TABLE entries (key BLOB PRIMARY KEY, kind TEXT NOT NULL, size INTEGER NOT NULL, element BLOB NOT NULL,
    link BLOB, links INTEGER, shared INTEGER NOT NULL DEFAULT 0, hardlink BLOB) WITHOUT ROWID""",
    "CREATE INDEX links ON entries (link, key) WHERE link IS NOT NULL",
    "CREATE TABLE files (key BLOB PRIMARY KEY, first BLOB NOT NULL, names INTEGER NOT NULL) WITHOUT ROWID",
)
_COUNT_NAMES = """INSERT INTO files SELECT link, MIN(link, MIN(key)), COUNT(*) + 1 FROM entries
    WHERE link IS NOT NULL GROUP BY link"""

Key = bytes
"""A path's components joined by NUL, which none can hold: so keys are ordered as a walk is."""


def key_of(parts: list[bytes]) -> Key:
    """The key of a path by its components, empty for the top."""
    return b"\0".join(parts)


def shown_key(key: Key) -> str:
    """The path as it stands in a message."""
    path = key.replace(b"\0", b"/").decode("utf-8", "backslashreplace")
    return f"'{path[:1000] or '.'}'"


class SpoolError(ValueError):
    """The entries do not make up a tree; the message says which of them."""


class _Row(NamedTuple):
    key: Key
    kind: str
    size: int
    element: bytes
    link: Key | None
    links: int | None
    shared: int
    hardlink: bytes | None


_COLUMNS = ", ".join(_Row._fields)


@dataclass(slots=True)
class Counts:
    """What trees hold; `made` counts directories that no entry stood for, but for the top."""

    files: int = 0
    directories: int = 0
    others: int = 0
    size: int = 0
    made: int = 0

    def add(self, kind: str, size: int) -> None:
        """One more entry."""
        if kind == Kind.FILE:
            self.files += 1
            self.size += size
        elif kind == Kind.DIRECTORY:
            self.directories += 1
        else:
            self.others += 1


@dataclass(slots=True)
class _Level:
    key: Key
    element: bytes
    tree: TreeWriter = field(repr=False)


class Spool:
    """The entries of one archive. A context: the file is gone at its end."""

    def __init__(self, *, limit: int = SPOOL_LIMIT) -> None:
        fd, path = tempfile.mkstemp(prefix="snapstore-", suffix=".spool")
        os.close(fd)
        try:
            self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            for statement in (
                f"PRAGMA page_size={_PAGE}",
                f"PRAGMA max_page_count={max(limit // _PAGE, 16)}",
                f"PRAGMA cache_size=-{_CACHE >> 10}",
                "PRAGMA journal_mode=OFF",
                "PRAGMA synchronous=OFF",
                "PRAGMA locking_mode=EXCLUSIVE",
                *_SCHEMA,
                "BEGIN EXCLUSIVE",
            ):
                self._database.execute(statement)
        except sqlite3.Error as error:
            raise _failed(error) from error
        finally:
            os.unlink(path)
        self.count = 0
        self._counted = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._database.close()

    # -- taking entries -----------------------------------------------------------------------------------------------

    def add(self, key: Key, entry: Entry, *, links: int | None) -> None:
        """Takes an entry whose name is the last component of its key; of a directory, without its tree.

        `links` is its link count where that is known. SpoolError if there is something at that place already.
        """
        if entry.kind is Kind.DIRECTORY and not entry.unread:
            entry = replace(entry, tree=NO_TREE)
        element = entry_element(entry)
        if len(element) > ELEMENT_LIMIT:
            raise SpoolError(f"{shown_key(key)} has more attributes than a snapshot can hold")
        row = _Row(key, entry.kind.value, entry.size, element, None, links, 0, entry.hardlink or None)
        self._insert(row)

    def add_link(self, key: Key, target: Key) -> None:
        """Takes a further name of a file. SpoolError if that is not here yet, or is a directory."""
        first = self._row(target)
        if first is not None and first.link is not None:
            first = self._row(first.link)
        if first is None:
            raise SpoolError(f"{shown_key(key)} is a hard link to {shown_key(target)}, which is not there before it")
        if first.kind == Kind.DIRECTORY:
            raise SpoolError(f"{shown_key(key)} is a hard link to a directory")
        self._insert(_Row(key, first.kind, first.size, b"", first.key, None, 0, None))
        if not first.shared:
            self._execute("UPDATE entries SET shared = 1 WHERE key = ?", (first.key,))

    def _insert(self, row: _Row) -> None:
        if row.key.count(b"\0") > DEPTH_LIMIT:
            raise SpoolError(f"{shown_key(row.key)[:80]} lies in more than {DEPTH_LIMIT} directories")
        try:
            self._database.execute("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        except sqlite3.IntegrityError as error:
            raise SpoolError(f"{shown_key(row.key)} is there twice") from error
        except sqlite3.Error as error:
            raise _failed(error) from error
        self.count += 1

    def _execute(self, statement: str, values: tuple[object, ...] = ()) -> sqlite3.Cursor:
        try:
            return self._database.execute(statement, values)
        except sqlite3.Error as error:
            raise _failed(error) from error

    # -- looking ------------------------------------------------------------------------------------------------------

    def _row(self, key: Key) -> _Row | None:
        found = self._execute(f"SELECT {_COLUMNS} FROM entries WHERE key = ?", (key,)).fetchone()  # noqa: S608 constant
        return None if found is None else _Row(*found)

    def kind(self, key: Key) -> str | None:
        """What kind of entry is at a place, None if there is none."""
        row = self._row(key)
        return None if row is None else row.kind

    def tops(self) -> Iterator[tuple[bytes, Key]]:
        """(first component, the first key with it) of everything here."""
        key = self._execute("SELECT MIN(key) FROM entries").fetchone()[0]
        while key is not None:
            first = key.partition(b"\0")[0]
            yield first, key
            key = self._execute("SELECT MIN(key) FROM entries WHERE key >= ?", (first + b"\x01",)).fetchone()[0]

    def below(self, top: Key) -> int:
        """How many entries there are at a place and below it."""
        if not top:
            return self.count
        inside: int = self._execute(
            "SELECT COUNT(*) FROM entries WHERE key > ? AND key < ?", (top + b"\0", top + b"\x01")
        ).fetchone()[0]
        return inside + (self._row(top) is not None)

    # -- making trees -------------------------------------------------------------------------------------------------

    def build(
        self, top: Key, *, put: Callable[[bytes], ChunkId], counts: Counts, missing: Entry | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> Entry:  # fmt: skip
        """The entry at a place with its tree, which `put` has stored.

        `missing` is what directories are like that have something in them and no entry; without it that is a
        SpoolError, as is what lies below a file. `check` is called for every entry.
        """
        if not self._counted:
            self._execute(_COUNT_NAMES)
            self._counted = True
        builder = _Builder(self, top, put=put, counts=counts, missing=missing)
        for row in self._rows(top):
            check()
            builder.add(row)
        return builder.finish()

    def _rows(self, top: Key) -> Iterator[_Row]:
        """The rows at a place and below it, in order; two questions, because one would be answered by sorting."""
        own = self._row(top)
        if own is not None:
            yield own
        where = "WHERE key > ? AND key < ?" if top else "WHERE key > ?"
        values = (top + b"\0", top + b"\x01") if top else (top,)
        cursor = self._execute(f"SELECT {_COLUMNS} FROM entries {where} ORDER BY key", values)  # noqa: S608 constant
        while True:
            try:
                found = cursor.fetchone()
            except sqlite3.Error as error:
                raise _failed(error) from error
            if found is None:
                return
            yield _Row(*found)

    def names_of(self, key: Key) -> tuple[Key, int]:
        """(the first in order, how many) of the names of the file whose first name in the archive that is."""
        first, names = self._execute("SELECT first, names FROM files WHERE key = ?", (key,)).fetchone()
        return first, names


def _failed(error: sqlite3.Error) -> RequestError:
    return RequestError(
        f"the temporary file for the archive's entries cannot be written: {error}",
        advice="is there room in the directory that TMPDIR names, and is the archive what it should be?",
    )


def _parsed(element: bytes) -> Entry:
    (entry,) = read_tree(HEAD + element + FOOT, name="an entry of the archive")
    assert isinstance(entry, Entry)  # noqa: S101 - a shard is nothing that `add` writes
    return entry


class _Builder:
    """Takes the rows below one place in order."""

    def __init__(
        self, spool: Spool, top: Key, *, put: Callable[[bytes], ChunkId], counts: Counts, missing: Entry | None
    ) -> None:
        self._spool = spool
        self._top = top
        self._put = put
        self._counts = counts
        self._missing = missing
        self._levels: list[_Level] = []
        self._leaf: Key | None = None
        self._done: bytes | None = None

    def add(self, row: _Row) -> None:
        key = row.key
        if not self._levels and self._done is None:
            if key == self._top:
                self._take(row)
                return
            self._make(self._top)
        if self._leaf is not None and key.startswith(self._leaf + b"\0"):
            raise SpoolError(f"{shown_key(key)} lies below what is no directory")
        parent = key.rpartition(b"\0")[0]
        while self._levels and not _is_above(self._levels[-1].key, key):
            self._close()
        while self._levels and self._levels[-1].key != parent:
            here = self._levels[-1].key
            rest = key[len(here) + 1 if here else 0 :]
            part = rest.partition(b"\0")[0]
            self._make(here + b"\0" + part if here else part)
        if not self._levels:
            raise SpoolError(f"{shown_key(key)} lies below what is no directory")
        self._take(row)

    def _make(self, key: Key) -> None:
        if self._missing is None:
            raise SpoolError(f"the directory {shown_key(key)} is not there, but something in it is")
        entry = replace(self._missing, name=key.rpartition(b"\0")[2] or self._missing.name, tree=NO_TREE)
        self._counts.made += key != b""
        self._counts.add(Kind.DIRECTORY, 0)
        self._levels.append(_Level(key, entry_element(entry), TreeWriter(self._put)))

    def _take(self, row: _Row) -> None:
        element = row.element
        if row.hardlink is not None:
            self._check_claim(row, row.hardlink)
        if row.link is not None or row.shared:
            element = self._linked(row)
        self._counts.add(row.kind, row.size)
        if row.kind == Kind.DIRECTORY and b' unread="' not in element.partition(b">")[0]:
            self._leaf = None
            self._levels.append(_Level(row.key, element, TreeWriter(self._put)))
        else:
            self._leaf = row.key
            self._give(row.key, element)

    def _give(self, key: Key, element: bytes) -> None:
        """The finished element goes to the directory above, or is what was asked for."""
        if self._levels:
            self._levels[-1].tree.add(key.rpartition(b"\0")[2], element)
        else:
            self._done = element

    def _close(self) -> None:
        level = self._levels.pop()
        self._give(level.key, with_tree(level.element, level.tree.finish()))

    def _linked(self, row: _Row) -> bytes:
        """The element of a file with several names in the archive: the first in order is the one without a link."""
        group = row.key if row.link is None else row.link
        first, count = self._spool.names_of(group)
        kept = row if row.link is None else self._spool._row(group)  # noqa: SLF001 - one file, two halves
        assert kept is not None  # noqa: S101 - add_link has seen it
        entry = replace(
            _parsed(kept.element),
            name=row.key.rpartition(b"\0")[2],
            links=count if kept.links is None else kept.links,
            hardlink=b"" if first == row.key else self._relative(row, first),
        )
        return entry_element(entry)

    def _relative(self, row: _Row, first: Key) -> bytes:
        if not _is_above(self._top, first):
            raise SpoolError(f"{shown_key(row.key)} is a hard link to what is in another root")
        return first[len(self._top) + 1 if self._top else 0 :].replace(b"\0", b"/")

    def _check_claim(self, row: _Row, hardlink: bytes) -> None:
        """SpoolError unless the first name that an entry states is that of an earlier one."""
        parts = [self._top] if self._top else []
        first = key_of([*parts, *hardlink.split(b"/")])
        known = self._spool._row(first)  # noqa: SLF001
        if known is None or known.kind != row.kind or first >= row.key:
            raise SpoolError(
                f"{shown_key(row.key)} is said to be a hard link to {shown_key(first)}, which it cannot be"
            )

    def finish(self) -> Entry:
        """The entry."""
        if not self._levels and self._done is None:
            self._make(self._top)
        while self._levels:
            self._close()
        assert self._done is not None  # noqa: S101
        return _parsed(self._done)


def _is_above(key: Key, other: Key) -> bool:
    """Whether the first is a directory above the second."""
    return not key or other.startswith(key + b"\0")
