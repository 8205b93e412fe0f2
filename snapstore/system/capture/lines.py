"""Small configuration files of a root, read with bounds and without surprises."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

from snapstore.system.packages import Warn
from snapstore.system.root import Root, RootError

FILE_LIMIT = 16 << 20
LINE_LIMIT = 256 << 10
"""No line has more bytes: a row made of one has to fit into an element, however it is escaped there."""

ROWS_LIMIT = 1 << 20
"""No file gives more lines: beyond that it is no configuration any more."""


WARNINGS_LIMIT = 20
"""Of one file so many reasons are told, and the rest as a number."""


class Bounded:
    """A `Warn` that tells of each path so many times at most; what was left out is told as a number at the end."""

    def __init__(self, warn: Warn) -> None:
        self._warn = warn
        self._counts: dict[bytes, int] = {}

    def __call__(self, path: bytes, reason: str) -> None:
        """Nothing; the reason is told, unless there were too many."""
        count = self._counts[path] = self._counts.get(path, 0) + 1
        if count <= WARNINGS_LIMIT:
            self._warn(path, reason)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for path, count in self._counts.items():
            if count > WARNINGS_LIMIT:
                self._warn(path, f"{count - WARNINGS_LIMIT} more things are wrong with it")


def read_file(root: Root, path: bytes, warn: Warn, *, limit: int = FILE_LIMIT) -> bytes | None:
    """The bytes of a file; None if there is none, or, with a warning, if it cannot be read."""
    try:
        return root.read(path, limit=limit)
    except RootError as error:
        warn(path, f"it cannot be read: {error.strerror}")
        return None


def names_in(root: Root, directory: bytes, warn: Warn) -> list[bytes]:
    """The sorted names in a directory; none if there is none, or, with a warning, if it cannot be read."""
    try:
        return root.list(directory)
    except RootError as error:
        warn(directory, f"it cannot be listed: {error.strerror}")
        return []


def numbered_lines(path: bytes, data: bytes, warn: Warn) -> Iterator[tuple[int, bytes]]:
    """Each line and its number, from 1; what is too long or too much is a warning."""
    for number, line in enumerate(data.split(b"\n"), start=1):
        if number > ROWS_LIMIT:
            warn(path, f"what stands after line {ROWS_LIMIT} was not read")
            return
        if len(line) > LINE_LIMIT:
            warn(path, f"line {number} has more than {LINE_LIMIT} bytes and was not read")
            continue
        yield number, line.removesuffix(b"\r")


def text_of(raw: bytes) -> str:
    """The bytes as a row holds them: what is not UTF-8 stands as surrogates."""
    return raw.decode("utf-8", "surrogateescape")


def word_of(raw: bytes) -> str:
    """The bytes as a word of a row: white space stands as %20 and the like."""
    text = text_of(raw)
    if text.split() == [text]:
        return text
    parts = [_percent(character) if character.isspace() else character for character in text]
    return "".join(parts)


def _percent(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogateescape"))


def words_of(raw: bytes) -> tuple[str, ...]:
    """The words of a line."""
    return tuple(word_of(each) for each in raw.split())


def number_of(raw: bytes, *, limit: int) -> int | None:
    """The decimal number that the bytes are; None if they are none or it is more than the limit."""
    if not raw.isdigit() or len(raw) > 20:
        return None
    number = int(raw)
    return number if number <= limit else None
