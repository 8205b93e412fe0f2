"""Stanzas of `Name: value` lines, as dpkg, apt and their configuration files have them (deb822(5)).

A stanza ends at an empty line. A line that begins with a blank continues the field before it. Names are compared
without regard to case. Nothing here raises: a line that makes no sense is told of and left out, and its stanza is
marked, because what else it should have said is not known.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_is_name = re.compile(rb"[!-,.-9;-~][!-9;-~]{0,199}\Z").match


@dataclass(frozen=True, slots=True)
class Stanza:
    """One stanza: the number of its first line, and its fields by lower-case name.

    A value is its first line and, after line feeds, those that continue it, each without blanks around it. `sound` is
    False where a line of it made no sense, `ended` False where the file ends before an empty line does.
    """

    line: int
    fields: dict[bytes, bytes]
    sound: bool
    ended: bool

    def text(self, name: bytes) -> str:
        """The value of a field, empty if there is none; what is not UTF-8 as surrogates."""
        return self.fields.get(name, b"").decode("utf-8", "surrogateescape")

    def lines(self, name: bytes) -> list[bytes]:
        """The lines of a field that has one entry a line, without empty ones."""
        return [each for each in self.fields.get(name, b"").split(b"\n") if each]

    def words(self, name: bytes) -> list[str]:
        """The words of a field that is a list."""
        return self.text(name).split()


def read_stanzas(data: bytes, trouble: Callable[[str], None], *, comments: bool = False) -> Iterator[Stanza]:
    """The stanzas of a file, in order. With `comments`, lines that begin with `#` are none of it."""
    parts: dict[bytes, list[bytes]] = {}
    value: list[bytes] | None = None
    start, sound = 0, True
    lines = data.split(b"\n")
    if not lines[-1].strip():
        lines.pop()  # not blanks that end nothing: a line that continues the one before may be cut off there
    for number, line in enumerate(lines, start=1):
        if comments and line[:1] == b"#":
            continue
        text = line.strip()
        if not text:
            if start:
                yield Stanza(start, _joined(parts), sound, ended=True)
            parts, value, start, sound = {}, None, 0, True
            continue
        start = start or number
        wrong = ""
        if line[:1] in (b" ", b"\t"):
            if value is None:
                wrong = "continues nothing"
            else:
                value.append(text)
        else:
            name, colon, first = line.partition(b":")
            name = name.lower()
            value = None
            if not colon or b"\0" in first or not _is_name(name):
                wrong = "is no field"
            elif name in parts:
                wrong = "states a field again"
            else:
                value = parts[name] = [first.strip()]
        if wrong:
            sound = False
            trouble(f"line {number} {wrong}")  # the line itself may hold a secret
    if start:
        yield Stanza(start, _joined(parts), sound, ended=False)


def _joined(parts: dict[bytes, list[bytes]]) -> dict[bytes, bytes]:
    return {name: b"\n".join(lines) for name, lines in parts.items()}
