"""What rpm is asked for each header, and how its answer is read.

The answer is one line a tag: its name, a blank, the value, a line feed. Text stands in single quotes as a shell reads
them, so that a name may hold line feeds, quotes and any other byte; numbers are hexadecimal. An array has a blank
behind each element. What the header does not have is `(none)` or, of arrays, nothing; what has another type than it
should is not in that form, and then is taken as damaged.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from snapstore.errors import PackageDatabaseError
from snapstore.system.managers.trouble import shown

_START = "header"
_LINE = re.compile(rb"(?:[^'\\\n]++|\\.|'[^']*+')*+\n", re.DOTALL).match
_TEXT = re.compile(rb"'[^']*+(?:'\\''[^']*+)*+' ")
_NUMBER = re.compile(rb"[0-9a-f]{1,16} ")
_ABSENT = (b"", b"(none)", b"(none) ")


class Form(enum.Enum):
    """What a tag's value is."""

    TEXT = "text"
    NUMBER = "number"
    TEXTS = "texts"
    NUMBERS = "numbers"


_FORMATS = {
    Form.TEXT: "%{{{0}:shescape}}",
    Form.NUMBER: "%{{{0}:hex}}",
    Form.TEXTS: "[%{{{0}:shescape}} ]",
    Form.NUMBERS: "[%{{{0}:hex}} ]",
}

Tags = dict[str, Form]

PACKAGE: Tags = {
    "NAME": Form.TEXT,
    "EPOCH": Form.NUMBER,
    "VERSION": Form.TEXT,
    "RELEASE": Form.TEXT,
    "ARCH": Form.TEXT,
    "VENDOR": Form.TEXT,
    "SOURCERPM": Form.TEXT,
    "LONGSIZE": Form.NUMBER,
}
FILES: Tags = {
    "NAME": Form.TEXT,
    "EPOCH": Form.NUMBER,
    "VERSION": Form.TEXT,
    "RELEASE": Form.TEXT,
    "ARCH": Form.TEXT,
    "INSTALLTIME": Form.NUMBER,
    "FILEDIGESTALGO": Form.NUMBER,
    "FILENAMES": Form.TEXTS,
    "FILEMODES": Form.NUMBERS,
    "FILEFLAGS": Form.NUMBERS,
    "FILESTATES": Form.NUMBERS,
    "LONGFILESIZES": Form.NUMBERS,
    "FILERDEVS": Form.NUMBERS,
    "FILEDIGESTS": Form.TEXTS,
    "FILELINKTOS": Form.TEXTS,
    "FILEUSERNAME": Form.TEXTS,
    "FILEGROUPNAME": Form.TEXTS,
    "FILECAPS": Form.TEXTS,
}
KEYS: Tags = {
    "NAME": Form.TEXT,
    "VERSION": Form.TEXT,
    "RELEASE": Form.TEXT,
    "SUMMARY": Form.TEXT,
    "DESCRIPTION": Form.TEXT,
}


class DamagedValueError(ValueError):
    """A tag of a header does not have the type that it should have."""


class Header(NamedTuple):
    """One header of the database: its number there, and the values as they were printed.

    `damaged`: it does not match its own digest, so none of it may be trusted.
    """

    number: int
    values: dict[str, bytes]
    damaged: bool = False

    def text(self, tag: str) -> str:
        """A text, what is not UTF-8 as surrogates; empty where the header has none. DamagedValueError."""
        value = self.values[tag]
        if value in _ABSENT:
            return ""
        match = _TEXT.fullmatch(value + b" ")
        if match is None:
            raise DamagedValueError(f"{tag} is no text")
        return _unquoted(match.group()).decode("utf-8", "surrogateescape")

    def number_of(self, tag: str) -> int | None:
        """A number; None where the header has none. DamagedValueError."""
        value = self.values[tag]
        if value in _ABSENT:
            return None
        if _NUMBER.fullmatch(value + b" ") is None:
            raise DamagedValueError(f"{tag} is no number")
        return int(value, 16)

    def texts(self, tag: str) -> list[bytes] | None:
        """The elements of an array of texts; None where the header has none. DamagedValueError."""
        value = self.values[tag]
        if value in _ABSENT:
            return None
        found = _TEXT.findall(value)
        if sum(map(len, found)) != len(value):
            raise DamagedValueError(f"{tag} is no list of texts")
        return [_unquoted(each) for each in found]

    def numbers(self, tag: str) -> list[int] | None:
        """The elements of an array of numbers; None where the header has none. DamagedValueError."""
        value = self.values[tag]
        if value in _ABSENT:
            return None
        found = _NUMBER.findall(value)
        if sum(map(len, found)) != len(value):
            raise DamagedValueError(f"{tag} is no list of numbers")
        return [int(each, 16) for each in found]


def _unquoted(token: bytes) -> bytes:
    inner = token[1:-2]
    return inner.replace(b"'\\''", b"'") if b"'" in inner else inner


def query_format(tags: Tags) -> str:
    """What rpm is given as --queryformat."""
    lines = [f"{_START} {_FORMATS[Form.NUMBER].format('DBINSTANCE')}"]
    lines += [f"{tag} {_FORMATS[form].format(tag)}" for tag, form in tags.items()]
    return "\\n".join(lines) + "\\n"


def read_answer(answer: bytes, tags: Tags) -> Iterator[Header]:
    """The headers of an answer to that query. PackageDatabaseError where it is not in its form."""
    names = [_START, *tags]
    at = 0
    while at < len(answer):
        values: list[bytes] = []
        for name in names:
            line = _LINE(answer, at)
            if line is None or not answer.startswith(b"%b " % name.encode(), at):
                raise PackageDatabaseError(
                    f"rpm's answer makes no sense: {shown(answer[at : at + 80])} instead of {name}",
                    advice="run `rpm -qa` with a copy of the database, to see what is wrong with it",
                )
            values.append(answer[at + len(name) + 1 : line.end() - 1])
            at = line.end()
        yield Header(_record_number(values[0]), dict(zip(tags, values[1:], strict=True)))


def _record_number(value: bytes) -> int:
    if _NUMBER.fullmatch(value + b" ") is None:
        raise PackageDatabaseError(f"rpm's answer makes no sense: {shown(value)} is no number of a record")
    return int(value, 16)


def version_of(header: Header) -> str:
    """`epoch:version-release`; without the epoch where there is none. DamagedValueError."""
    epoch = header.number_of("EPOCH")
    version = f"{header.text('VERSION')}-{header.text('RELEASE')}"
    return version if epoch is None else f"{epoch}:{version}"


def unambiguous_names(headers: Sequence[tuple[str, str, str]]) -> list[str]:
    """How each of (name, version, architecture) is told from the others, shortest first.

    The name alone where only one package has it, `name.arch` where one for each architecture does, and
    `name-version.arch` for those of which several versions are installed side by side.
    """
    by_name: dict[str, int] = {}
    by_arch: dict[tuple[str, str], int] = {}
    for name, _, arch in headers:
        by_name[name] = by_name.get(name, 0) + 1
        by_arch[name, arch] = by_arch.get((name, arch), 0) + 1
    names = []
    for name, version, arch in headers:
        suffix = f".{arch}" if arch else ""
        if by_name[name] == 1:
            names.append(name)
        elif by_arch[name, arch] == 1:
            names.append(f"{name}{suffix}")
        else:
            names.append(f"{name}-{version}{suffix}")
    return names
