"""The lines that changed in a text file, secrets taken out."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

from snapstore.model import Entry, Kind
from snapstore.ops.content import read_file
from snapstore.ops.linediff import line_hunks
from snapstore.store.reader import Reader
from snapstore.system.redaction import redact_text
from snapstore.system.root import Root, RootError

TEXT_LIMIT = 256 << 10
"""Files of more bytes are not shown line by line."""
LINE_LIMIT = 400
"""So many lines of hunks are shown of one file; the rest is counted."""
LINE_WIDTH = 1000
"""So many characters of a line are shown."""
_NO_END = "\\ no line feed at the end"

Contents = Callable[[bytes, Entry], bytes | None]
"""Gives the bytes of a file by its path and entry; None where they cannot be had."""


def stored_contents(reader: Reader) -> Contents:
    """Contents from a store."""

    def contents(path: bytes, entry: Entry) -> bytes | None:  # noqa: ARG001 - the entry says it all
        return None if entry.unread else b"".join(bytes(piece) for piece in read_file(reader, entry))

    return contents


def live_contents(root: Root) -> Contents:
    """Contents from a live root, as they are now. Only regular files are opened, and no link leads out of the root."""

    def contents(path: bytes, entry: Entry) -> bytes | None:  # noqa: ARG001 - the path says it all
        try:
            return root.read(path, limit=TEXT_LIMIT)
        except RootError:
            return None

    return contents


def text_hunks(path: bytes, before: Entry, after: Entry, *, old: Contents, new: Contents) -> tuple[str, ...]:
    """The unified diff of two versions of a text file, without its two header lines; nothing for what is no text.

    StoreError where a stored version cannot be read.
    """
    texts = []
    for entry, contents in ((before, old), (after, new)):
        if entry.kind is not Kind.FILE or entry.size > TEXT_LIMIT:
            return ()
        data = contents(path, entry)
        text = None if data is None else _text(path, data)
        if text is None:
            return ()
        texts.append(text)
    hunks = line_hunks(texts[0], texts[1])
    lines = [line if len(line) <= LINE_WIDTH else line[:LINE_WIDTH] + "…" for line in islice(hunks, LINE_LIMIT)]
    more = sum(1 for _ in hunks)
    if more:
        lines.append(f"… and {more} more lines")
    return tuple(lines)


def _text(path: bytes, data: bytes) -> list[str] | None:
    """The lines of a text, its secrets hidden; None for what is no text. Only a line feed ends a line."""
    if b"\0" in data:
        return None
    try:
        lines = redact_text(path, data).decode().split("\n")
    except UnicodeDecodeError:
        return None
    if not lines[-1]:
        return lines[:-1]
    return [*lines, _NO_END]
