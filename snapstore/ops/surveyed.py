"""What a survey gathers: the label of a path that no package decides about, spans of such paths, one directory's share.

A span becomes one row: a tree that is nobody's, or what a rule covers in one directory. One directory's share is what
the cache keeps of it, so that it can be taken over whole while nothing about the directory has changed.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from snapstore.model import Kind
from snapstore.system.scopes.files import Class, FileRow

_HEAD = struct.Struct("<?QQQQII")
_SUB = struct.Struct("<c?IH")
_PLAIN = struct.Struct("<BQQQQ")
_NOT_PLAIN = b"\xff"
_CLASSES = tuple(Class)

OWNED, MERGED, SPANNED = b"o", b"m", b"s"
"""How a subdirectory is judged: by its packages; as part of the span around it; as part of a span that begins here."""


class Label(NamedTuple):
    """Why a path is in a class. `omitted`: it is not stored; `inherits`: all below it has the same label."""

    cls: Class
    rule: str = ""
    omitted: bool = False
    inherits: bool = False

    @property
    def whole(self) -> bool:
        """Whether nothing at all below a directory with this label is stored."""
        return self.omitted and self.inherits


UNMANAGED = Label(Class.UNMANAGED)


SIZE_LIMIT = (1 << 64) - 1
"""No more bytes are counted: a few sparse files can claim to have more than any record holds."""


class Counts:
    """Numbers of files, directories and others, and the bytes of the files (up to SIZE_LIMIT)."""

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
            self.size = min(self.size + size, SIZE_LIMIT)
        elif kind is Kind.DIRECTORY:
            self.directories += 1
        else:
            self.others += 1

    def add(self, other: Counts) -> None:
        """Counts what another has counted."""
        self.files += other.files
        self.directories += other.directories
        self.others += other.others
        self.size = min(self.size + other.size, SIZE_LIMIT)

    def numbers(self) -> tuple[int, int, int, int]:
        """Files, directories, others, bytes."""
        return self.files, self.directories, self.others, self.size


class Span:
    """What one row stands for, while it is being counted: a tree, or what a label covers in a directory.

    `counts` are of what lies directly where the span begins, `below` of everything deeper. `context` is the label as
    bytes: what is below is judged by it.
    """

    __slots__ = ("below", "contents", "context", "counts", "first", "kind", "label", "members", "path")

    def __init__(self, path: bytes, label: Label, *, contents: bool) -> None:
        self.path = path
        self.label = label
        self.context = repr(label).encode("utf-8", "backslashreplace")
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

    def parts(self) -> tuple[object, ...]:
        """All that has to be kept to make it again, nothing below counted."""
        label = self.label
        return (
            self.path, label.cls, label.rule, label.omitted, label.inherits, self.contents, self.members, self.first,
            self.kind, *self.counts.numbers(),
        )  # fmt: skip

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


def joined(spans: Iterable[Span]) -> Iterator[Span]:
    """The spans, of which those that would be the same row are one: a rule may give what inherits and what does not."""
    known: dict[tuple[bytes, Class, str], Span] = {}
    for span in spans:
        if not span.contents or span.members < 2:
            yield span
            continue
        key = span.path, span.label.cls, span.label.rule
        first = known.setdefault(key, span)
        if first is not span:
            first.counts.add(span.counts)
            first.below.add(span.below)
            first.label = first.label._replace(omitted=first.label.omitted and span.label.omitted)
    yield from known.values()


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
    the directories to enter, in order. `skips` are the names of what a snapshot leaves out (not listed where that is
    everything), `kept` whether it stores anything directly in here. `verified` are hashes for the cache.
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
        skips = b"".join([name + b"\0" for name in self.skips])
        subs = b"".join([_SUB.pack(*sub[:3], len(sub.name)) + sub.name for sub in self.subs])
        head = _HEAD.pack(self.kept, *self.merged.numbers(), len(skips), len(subs))
        return b"".join((head, skips, subs, self._pack_rest()))

    def _pack_rest(self) -> bytes:
        """Most directories hold paths of one class and nothing else to tell: these take no time to read back."""
        if len(self.counts) == 1 and not (self.rows or self.spans or self.not_entered):
            (((cls, rule), counts),) = self.counts.items()
            return _PLAIN.pack(_CLASSES.index(cls), *counts.numbers()) + rule.encode("utf-8", "surrogateescape")
        rest = json.dumps(
            [
                [[cls, rule, *counts.numbers()] for (cls, rule), counts in self.counts.items()],
                [[*map(_to_text, row)] for row in self.rows],
                [[_to_text(each) for each in span.parts()] for span in self.spans],
                [_to_text(path) for path in self.not_entered],
            ],
            separators=(",", ":"),
        )
        return _NOT_PLAIN + rest.encode()


def unpack_share(path: bytes, payload: bytes) -> Share:
    """The share that was packed, to be read only: what is empty in it is one and the same in all."""
    kept, files, directories, others, size, skips, subs = _HEAD.unpack_from(payload, 0)
    share = Share(
        path,
        {},
        _NO_ROWS,
        _NO_SPANS,
        Counts(files, directories, others, size),
        [],
        _NO_NAMES,
        _NO_NAMES,
        kept,
        _NO_HASHES,
    )
    at = _HEAD.size
    if skips:
        share.skips = payload[at : at + skips - 1].split(b"\0")
    at += skips
    end = at + subs
    while at < end:
        how, stored, span, length = _SUB.unpack_from(payload, at)
        at += _SUB.size
        share.subs.append(Sub(how, stored, span, payload[at : at + length]))
        at += length
    if payload[end] != _NOT_PLAIN[0]:
        cls, *numbers = _PLAIN.unpack_from(payload, end)
        rule = payload[end + _PLAIN.size :].decode("utf-8", "surrogateescape")
        share.counts[_CLASSES[cls], rule] = Counts(*numbers)
        return share
    counts, rows, spans, not_entered = json.loads(payload[end + 1 :].decode())
    share.counts = {(Class(cls), rule): Counts(*numbers) for cls, rule, *numbers in counts}
    share.rows = [_to_row(row) for row in rows]
    share.spans = [_to_span(parts) for parts in spans]
    share.not_entered = [_to_bytes(each) for each in not_entered]
    return share


# A system has tens of thousands of directories that are as they were; each list not made is time saved.
_NO_ROWS: list[FileRow] = []
_NO_SPANS: list[Span] = []
_NO_NAMES: list[bytes] = []
_NO_HASHES = bytearray()

_RAW = tuple(FileRow._fields.index(name) for name in ("path", "target", "packaged_target"))


def _to_text(value: object) -> object:
    """Bytes as text of as many characters, for JSON."""
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _to_bytes(text: str) -> bytes:
    return text.encode("latin-1")


def _to_row(values: list[Any]) -> FileRow:
    for number in _RAW:
        values[number] = _to_bytes(values[number])
    row = FileRow(*values)
    return row._replace(cls=Class(row.cls), changes=tuple(row.changes))


def _to_span(parts: list[Any]) -> Span:
    path, cls, rule, omitted, inherits, contents, members, first, kind, *numbers = parts
    span = Span(_to_bytes(path), Label(Class(cls), rule, omitted, inherits), contents=contents)
    span.members, span.first, span.kind = members, _to_bytes(first), Kind(kind)
    span.counts = Counts(*numbers)
    return span
