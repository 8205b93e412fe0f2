"""Secrets taken out of what a person is shown: out of rows by their mark, and out of the text of configuration files.

What a program takes for a secret cannot be known in general. The rule here is to hide rather too much: a value that
follows a name like `password`, whatever its syntax, is hidden to the end of its line if its end is not certain.
"""

from __future__ import annotations

import dataclasses
import re

from snapstore.system import secretforms as forms
from snapstore.system.record import Field, Row, Scope, Type

MARK = b"(hidden)"
TEXT_LIMIT = 4 << 20
LINE_LIMIT = 4096
"""A longer line that holds a name like a secret's is hidden as a whole."""

_PRIVATE_KEY = b"(hidden: a private key)"
_HASHES = b"(hidden: password hashes)\n"
_SECRETS = b"(hidden: a file of secrets)\n"
_NO_TEXT = b"(hidden: not a text)\n"
_TOO_LONG = b"(hidden: too long to look for secrets in it)\n"
_LONG_LINE = b"(hidden: a long line)"
_OPEN_LIMIT = 1000
_QUOTES = {quote * times: re.compile(rb"\\.|" + quote * times) for quote in (b'"', b"'", b"`") for times in (1, 3)}
_WITHOUT_PASSWORD = re.compile(r"[!*]*x?\Z").match


def hide(row: Row, scope: Scope) -> Row:
    """The row without what its scope marks as secret.

    An empty value stays, and so does one that only says that there is no password to log in with (`*`, `!`, `x`): that
    is what a person wants to know. The `!` that locks a password stays before the mark.
    """
    changes = {
        field.attribute: _hidden_value(field, getattr(row, field.attribute))
        for field in scope.table_of(row).fields
        if field.secret
    }
    if not changes:
        return row
    if isinstance(row, tuple):
        named: Row = row
        return named._replace(**changes)
    return dataclasses.replace(row, **changes)


def _hidden_value(field: Field, value: object) -> object:
    mark = MARK.decode()
    if not value:
        return value
    if isinstance(value, bytes):
        return MARK
    if isinstance(value, str):
        if field.type is Type.WORD:
            return ""
        return value if _WITHOUT_PASSWORD(value) else "!" * (len(value) - len(value.lstrip("!"))) + mark
    if isinstance(value, tuple):
        return (mark,)
    return False if isinstance(value, bool) else field.default if field.type is Type.NUMBER else None


def redact_text(path: bytes, data: bytes) -> bytes:
    """The text of a file with its secrets replaced by a mark; lines stay lines as far as they can.

    A file whose path or content says that all of it is secret becomes one line, and so does what is no text or too
    long. What is UTF-8 stays UTF-8, and what is redacted already stays as it is.
    """
    if not data:
        return data
    whole = _whole(b"/" + path.lstrip(b"/"), data)
    if whole:
        return whole
    data = forms.KEY_BLOCK.sub(_PRIVATE_KEY, data)
    data = forms.OLD_HASH.sub(rb"\1" + MARK, data)
    data = forms.XML_ELEMENT.sub(_hide_element, data)
    data = forms.XML_KEY.sub(_hide_key, data)
    return _Lines().redact(data)


def _whole(path: bytes, data: bytes) -> bytes:
    """What stands for a file that is hidden as a whole; empty for any other."""
    lines = (_HASHES, _PRIVATE_KEY + b"\n", _SECRETS, _NO_TEXT, _TOO_LONG)
    if data in lines:
        return data
    if forms.HASH_PATH(path):
        return _HASHES
    if forms.KEY_PATH(path) or forms.KEY_START(data):
        return _PRIVATE_KEY + b"\n"
    if forms.SECRET_PATH(path):
        return _SECRETS
    if b"\0" in data:
        return _NO_TEXT
    if len(data) > TEXT_LIMIT:
        return _TOO_LONG
    found = [line for line in data.splitlines() if line.strip()]
    if found and all(map(forms.SHADOW_LINE, found)) and any(map(forms.SHADOW_HASH, found)):
        return _HASHES
    return b""


def _hide_element(match: re.Match[bytes]) -> bytes:
    return match[1] + MARK if _is_secret(match[2], match[3]) else match[0]


def _hide_key(match: re.Match[bytes]) -> bytes:
    return match[1] + MARK if _is_secret(match[3].strip(), match[5]) else match[0]


def _is_secret(name: bytes, value: bytes) -> bool:
    return forms.NAME_END(name[-200:]) is not None and not forms.HARMLESS(value.strip())


class _Lines:
    """Redacts line after line; remembers what a value that has not ended goes on until."""

    def __init__(self) -> None:
        self._quote = b""  # until this closes
        self._indent = -1  # while lines are indented more than this
        self._continued = False  # the line before ended in a backslash
        self._open = 0

    def redact(self, data: bytes) -> bytes:
        """The text, redacted."""
        return b"\n".join([self._ended_line(line) for line in data.split(b"\n")])

    def _ended_line(self, line: bytes) -> bytes:
        """A line, redacted; what some systems end a line with is not seen by the patterns."""
        return self._line(line[:-1]) + b"\r" if line.endswith(b"\r") else self._line(line)

    def _line(self, line: bytes) -> bytes:
        if self._quote or self._indent >= 0 or self._continued:
            hidden = self._inside(line)
            if hidden is not None:
                return hidden
        if len(line) > LINE_LIMIT and (forms.TRIGGER.search(line) or b"://" in line):
            return _LONG_LINE
        line = forms.ALONE.sub(MARK, line)
        if b"://" in line:
            line = forms.URL_PASSWORD.sub(rb"\1" + MARK + b"@", line)
            line = forms.URL_USER.sub(rb"\1" + MARK + b"@", line)
        if not forms.TRIGGER.search(line) or forms.NAME_SERVICES(line.rstrip()):
            return line
        return self._values(line)

    def _inside(self, line: bytes) -> bytes | None:
        """What stands for a line that belongs to a value begun before; None if the value has ended."""
        self._open += 1
        margin = line[: len(line) - len(line.lstrip())]
        if self._quote:
            end = _closing(line, 0, self._quote)
            if end < 0:
                if self._open > _OPEN_LIMIT:
                    self._quote = b""  # it was no quote at all
                return margin + MARK if line.strip() else line
            rest = line[end + len(self._quote) :]
            self._quote = b""
            return margin + MARK + self._line(rest)
        if self._indent >= 0:
            if not line.strip() or len(margin.expandtabs()) > self._indent:
                return margin + MARK if line.strip() else line
            self._indent = -1
            return None
        self._continued = line.endswith(b"\\")
        return margin + MARK + b"\\" * self._continued

    def _values(self, line: bytes) -> bytes:
        done = b""
        at = 0
        while True:
            found = [(match.end(), True) for each in forms.BEFORE_VALUE if (match := each.search(line, at))]
            found += [(match.end(), False) for each in forms.BEFORE_WORD if (match := each.search(line, at))]
            if not found:
                return done + line[at:]
            start, whole = min(found)
            shown, at_next = self._value(line, start, whole=whole)
            done += line[at:start] + shown
            at = at_next
            if at <= start and not shown:
                # Nothing stands there; go on behind it.
                if start >= len(line):
                    return done
                done += line[start : start + 1]
                at = start + 1

    def _value(self, line: bytes, at: int, *, whole: bool) -> tuple[bytes, int]:
        """What is shown for the value that begins there, and where the line goes on."""
        rest = line[at:].rstrip()
        quote = rest[:1]
        if quote in _QUOTES:
            return self._quoted(line, at, rest, quote, whole=whole)
        if not whole:
            word = rest.split(None, 1)[0]
            return MARK, at + len(word)
        if forms.BLOCK_SCALAR(rest):
            self._indent = len(line[: len(line) - len(line.lstrip())].expandtabs())
            self._open = 0
            return rest, len(line)
        if forms.HARMLESS(rest):
            return rest, at + len(rest)
        if rest.endswith(b"\\"):
            self._continued, self._open = True, 0
            return MARK + b"\\", len(line)
        end = rest[-1:] if rest[-1:] in (b";", b",") else b""
        return MARK + end + line[at + len(rest) :], len(line)

    def _quoted(self, line: bytes, at: int, rest: bytes, quote: bytes, *, whole: bool) -> tuple[bytes, int]:
        if rest.startswith(quote * 3):
            quote *= 3
        end = _closing(line, at + len(quote), quote)
        if end < 0:
            self._quote, self._open = quote, 0
            return MARK, len(line)
        after = end + len(quote)
        inner = line[at + len(quote) : end]
        # What is put together from several quotes, or goes on without a blank, ends nobody knows where.
        following = line[after:].lstrip(b" \t")[:1]
        if whole and (following in (b".", b"+", b"\\", b'"', b"'") or line[after : after + 1].isalnum()) and following:
            self._continued = rest.endswith(b"\\")
            return MARK + b"\\" * self._continued, len(line)
        if not inner or forms.HARMLESS(inner):
            return line[at:after], after
        return quote + MARK + quote, after


def _closing(line: bytes, at: int, quote: bytes) -> int:
    """Where the quote is that closes a value, backslashes minded; negative if there is none in the line."""
    for found in _QUOTES[quote].finditer(line, at):
        if found[0] == quote:
            return found.start()
    return -1
