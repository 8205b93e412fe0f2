"""What a survey gathers: the label of a path that no package decides about, spans of such paths, one directory's share.

A span becomes one row: a tree that is nobody's, or what a rule covers in one directory. One directory's share is what
the cache keeps of it, so that it can be taken over whole while nothing about the directory has changed.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import NamedTuple

from snapstore.format.scope import ScopeShard, read_scope
from snapstore.format.xml import document
from snapstore.model import Kind
from snapstore.system.scopes.files import FILES, Class, FileRow

_LENGTH = struct.Struct("<I")
_COUNTS = struct.Struct("<QQQQ")
_SUB = struct.Struct("<c?I")
_NAMESPACE = b"urn:snapstore:files:1"

OWNED, MERGED, SPANNED = b"o", b"m", b"s"
"""How a subdirectory is judged: by its packages; as part of the span around it; as part of a span that begins here."""


class Label(NamedTuple):
    """Why a path is in a class. `omitted`: it is not stored; `inherits`: all below it has the same label."""

    cls: Class
    rule: str = ""
    omitted: bool = False
    inherits: bool = False


UNMANAGED = Label(Class.UNMANAGED)


class Counts:
    """Numbers of files, directories and others, and the bytes of the files."""

    __slots__ = ("directories", "files", "others", "size")

    def __init__(self, files: int = 0, directories: int = 0, others: int = 0, size: int = 0) -> None:
        self.files = files
        self.directories = directories
        self.others = others
        self.size = size

    def take(self, kind: Kind, size: int) -> None:
        """Counts one path."""
        if kind is Kind.FILE:
            self.files += 1
            self.size += size
        elif kind is Kind.DIRECTORY:
            self.directories += 1
        else:
            self.others += 1

    def add(self, other: Counts) -> None:
        """Counts what another has counted."""
        self.files += other.files
        self.directories += other.directories
        self.others += other.others
        self.size += other.size

    def pack(self) -> bytes:
        """The numbers as bytes."""
        return _COUNTS.pack(self.files, self.directories, self.others, self.size)


class Span:
    """What one row stands for, while it is being counted: a tree, or what a label covers in a directory.

    `counts` are of what lies directly where the span begins, `below` of everything deeper.
    """

    __slots__ = ("below", "contents", "counts", "first", "kind", "label", "members", "path")

    def __init__(self, path: bytes, label: Label, *, contents: bool) -> None:
        self.path = path
        self.label = label
        self.contents = contents
        self.counts = Counts()
        self.below = Counts()
        self.members = 0
        self.first = path
        self.kind = Kind.DIRECTORY

    def join(self, path: bytes, kind: Kind) -> None:
        """Takes one more path directly in the directory of a span of contents."""
        self.members += 1
        if self.members == 1:
            self.first, self.kind = path, kind

    def row(self) -> FileRow:
        """The row, now that everything is counted. Of a single member it names that one."""
        label, counts = self.label, Counts()
        counts.add(self.counts)
        counts.add(self.below)
        alone = self.contents and self.members == 1
        path, contents, kind = self.path, self.contents, Kind.DIRECTORY
        if alone:
            path, contents, kind = self.first, False, self.kind
        if alone and kind is not Kind.DIRECTORY:
            return FileRow(path, label.cls, kind.value, counts.size, rule=label.rule, omitted=label.omitted)
        return FileRow(
            path or b"/", label.cls, kind.value, counts.size, rule=label.rule, omitted=label.omitted, tree=True,
            contents=contents, files=counts.files, directories=counts.directories, others=counts.others,
        )  # fmt: skip


class Sub(NamedTuple):
    """A subdirectory to enter: how it is judged, whether a snapshot stores it, the number of its span, its name."""

    how: bytes
    kept: bool
    span: int
    name: bytes


@dataclass(slots=True)
class Share:
    """What came of one directory, its subdirectories not counted in.

    `counts` are by label of class and rule. `spans` begin here; `merged` is what the span around it gets; `subs` are
    the directories to enter, in order. `skips` are the names of what a snapshot leaves out,
    `kept` whether it stores anything directly in here. `verified` are hashes for the cache.
    """

    path: bytes
    counts: dict[tuple[Class, str], Counts] = field(default_factory=dict)
    rows: list[FileRow] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    merged: Counts = field(default_factory=Counts)
    subs: list[Sub] = field(default_factory=list)
    not_entered: list[bytes] = field(default_factory=list)
    skips: list[bytes] = field(default_factory=list)
    kept: bool = False
    verified: bytearray = field(default_factory=bytearray)

    def count(self, label: Label, kind: Kind, size: int) -> None:
        """Counts one path under its class and rule."""
        key = label.cls, label.rule
        counts = self.counts.get(key)
        if counts is None:
            counts = self.counts[key] = Counts()
        counts.take(kind, size)

    def pack(self) -> bytes:
        """The share as the cache keeps it; spans as they are before anything below is counted."""
        fields = [
            b"1" if self.kept else b"",
            _joined(self.skips),
            b"".join([_LENGTH.pack(len(sub.name)) + _SUB.pack(*sub[:3]) + sub.name for sub in self.subs]),
            _joined(self.not_entered),
            document(b"files", _NAMESPACE, [FILES.element(row) for row in self.rows]) if self.rows else b"",
            self.merged.pack(),
            _LENGTH.pack(len(self.counts)),
        ]
        for (cls, rule), counts in self.counts.items():
            fields += [cls.encode(), rule.encode("utf-8", "surrogateescape"), counts.pack()]
        for span in self.spans:
            label = span.label
            flags = (label.omitted, label.inherits, span.contents)
            fields += [
                span.path, label.cls.encode(), label.rule.encode("utf-8", "surrogateescape"),
                bytes(flags), span.counts.pack(), _LENGTH.pack(span.members), span.first, span.kind.encode(),
            ]  # fmt: skip
        return b"".join([_LENGTH.pack(len(each)) + each for each in fields])


def unpack_share(path: bytes, payload: bytes) -> Share:
    """The share that was packed."""
    fields = _split(payload)
    kept, skips, subs, not_entered, rows, merged, number = fields[:7]
    (count,) = _LENGTH.unpack(number)
    share = Share(path, kept=bool(kept), merged=Counts(*_COUNTS.unpack(merged)))
    share.skips = skips.split(b"\0")[:-1]
    share.not_entered = not_entered.split(b"\0")[:-1]
    at = 0
    while at < len(subs):
        (length,) = _LENGTH.unpack_from(subs, at)
        how, stored, span_number = _SUB.unpack_from(subs, at + _LENGTH.size)
        at += _LENGTH.size + _SUB.size
        share.subs.append(Sub(how, stored, span_number, subs[at : at + length]))
        at += length
    if rows:
        elements = read_scope(rows, scope="files", name="the survey's cache")
        share.rows = [_row(FILES.read(each)) for each in elements if not isinstance(each, ScopeShard)]
    rest = fields[7:]
    for at in range(0, 3 * count, 3):
        key = Class(rest[at].decode()), rest[at + 1].decode("utf-8", "surrogateescape")
        share.counts[key] = Counts(*_COUNTS.unpack(rest[at + 2]))
    rest = rest[3 * count :]
    for at in range(0, len(rest), 8):
        place, cls, rule, flags, counts, members, first, kind = rest[at : at + 8]
        label = Label(Class(cls.decode()), rule.decode("utf-8", "surrogateescape"), bool(flags[0]), bool(flags[1]))
        span = Span(place, label, contents=bool(flags[2]))
        span.counts = Counts(*_COUNTS.unpack(counts))
        (span.members,) = _LENGTH.unpack(members)
        span.first, span.kind = first, Kind(kind.decode())
        share.spans.append(span)
    return share


def _row(row: FileRow) -> FileRow:
    return row._replace(cls=Class(row.cls))


def _joined(names: list[bytes]) -> bytes:
    return b"".join([name + b"\0" for name in names])


def _split(payload: bytes) -> list[bytes]:
    fields = []
    at = 0
    while at < len(payload):
        (length,) = _LENGTH.unpack_from(payload, at)
        at += _LENGTH.size
        fields.append(payload[at : at + length])
        at += length
    return fields
