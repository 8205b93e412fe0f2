"""Rows of scopes as a person reads them, and as JSON: tables whose columns are what the rows have to say."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from snapstore.cli.messages import SnapshotLine, roots_text
from snapstore.cli.names import clean, path_fields, shown
from snapstore.cli.quantities import count_text, local_time, size_text
from snapstore.model import Snapshot

if TYPE_CHECKING:
    from snapstore.system.record import Field, Row, Scope, Table

HIDDEN = "(hidden)"
_WIDTH_LIMIT = 48
"""A longer cell does not push all others aside."""


def _raw(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape")


def matcher(pattern: str) -> Callable[[Table, Row], bool]:
    """Whether one of the fields that name a row matches a glob, in which `*` stands for anything, slashes too."""
    rule = re.compile(fnmatch.translate(pattern), re.DOTALL).match

    def matches(table: Table, row: Row) -> bool:
        for each in table.fields:
            if each.key and not each.secret:
                value = getattr(row, each.attribute)
                text = " ".join(value) if isinstance(value, tuple) else _raw(value).decode("utf-8", "surrogateescape")
                if rule(text):
                    return True
        return False

    return matches


def _cell(each: Field, value: Any, *, reveal: bool) -> str:
    """The value in a table; nothing for what is left out of the record."""
    if value is None or value is False or (value in ("", b"", ()) and not isinstance(value, int)):
        return ""
    if each.secret and not reveal:
        return HIDDEN
    if value is True:
        return "yes"
    if isinstance(value, tuple):
        return shown(_raw(" ".join(value)))
    if isinstance(value, int):
        if each.type.value == "mode":
            return f"{value:04o}"
        return str(value) if value != each.default or each.key else ""
    return shown(_raw(value))


@dataclass(slots=True)
class Columns:
    """The columns of one kind of row: those in which one of the rows says something, and how wide they are."""

    table: Table
    reveal: bool
    widths: dict[str, int] = field(default_factory=dict)

    def measure(self, row: Row) -> None:
        """Makes room for a row."""
        for each in self.table.fields:
            length = len(_cell(each, getattr(row, each.attribute), reveal=self.reveal))
            if length:
                self.widths[each.name] = max(self.widths.get(each.name, 0), min(length, _WIDTH_LIMIT))

    def _line(self, cells: Iterator[str]) -> str:
        widths = (max(self.widths[each.name], len(each.name)) for each in self.table.fields if each.name in self.widths)
        return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()

    def heading(self) -> str:
        """The names of the columns."""
        names = (each.name for each in self.table.fields if each.name in self.widths)
        return self._line(name.replace("-", " ").capitalize() for name in names)

    def line(self, row: Row) -> str:
        """The cells of a row."""
        return self._line(
            _cell(each, getattr(row, each.attribute), reveal=self.reveal)
            for each in self.table.fields
            if each.name in self.widths
        )


def measured(scope: Scope, rows: Iterable[Row], *, reveal: bool) -> dict[str, Columns]:
    """The columns of every kind of row that there is, by kind, in the order of the scope. It goes through all rows."""
    found = {table.tag: Columns(table, reveal) for table in scope.tables}
    met = set()
    for row in rows:
        tag = scope.table_of(row).tag
        met.add(tag)
        found[tag].measure(row)
    return {tag: columns for tag, columns in found.items() if tag in met}


@dataclass(frozen=True, slots=True)
class RowLine:
    """One row. `columns` say how it is laid out in text."""

    message_type: ClassVar[str] = "row"

    scope: Scope
    row: Row
    reveal: bool = False
    columns: Columns | None = None

    def fields(self) -> dict[str, object]:
        """See docs/cli.md."""
        table = self.scope.table_of(self.row)
        values: dict[str, object] = {}
        hidden = []
        for each in table.fields:
            value = getattr(self.row, each.attribute)
            name = each.name.replace("-", "_")
            if not each.key and not _cell(each, value, reveal=True):
                continue
            if each.secret and not self.reveal:
                hidden.append(name)
            elif isinstance(value, bytes | str):
                values |= path_fields(_raw(value), key=name)
            elif isinstance(value, tuple):
                values[name] = [shown(_raw(word)) for word in value]
            else:
                values[name] = f"{value:04o}" if each.type.value == "mode" else value
        fields: dict[str, object] = {"scope": self.scope.name, "kind": table.tag, "fields": values}
        return {**fields, "hidden": hidden} if hidden else fields

    def text(self, *, verbose: bool) -> str:
        """The cells of the row."""
        del verbose
        columns = self.columns
        if columns is None:
            columns = Columns(self.scope.table_of(self.row), self.reveal)
            columns.measure(self.row)
        return columns.line(self.row)


@dataclass(frozen=True, slots=True)
class TextLine:
    """A line of text alone, such as the heading of a table; it is never told as JSON."""

    message_type: ClassVar[str] = "text"

    line: str

    def fields(self) -> dict[str, object]:
        """The line."""
        return {"text": self.line}

    def text(self, *, verbose: bool) -> str:
        """The line."""
        del verbose
        return self.line


@dataclass(frozen=True, slots=True)
class ScopeLine:
    """One scope that a snapshot has a record of; `rows` is None for one that this release does not know."""

    message_type: ClassVar[str] = "scope"
    columns: ClassVar[tuple[str, ...]] = ("Scope", "Rows")

    scope: str
    rows: int | None

    def fields(self) -> dict[str, object]:
        """See docs/cli.md."""
        return {"scope": self.scope, "rows": self.rows}

    def cells(self, *, verbose: bool) -> tuple[str, ...]:
        """Name and number."""
        del verbose
        return self.scope, "not known to this release" if self.rows is None else f"{self.rows:,}"

    def text(self, *, verbose: bool) -> str:
        """Name and number."""
        return "  ".join(self.cells(verbose=verbose))


@dataclass(frozen=True, slots=True)
class Facts:
    """What a commit record says of itself."""

    message_type: ClassVar[str] = "snapshot"

    snapshot: Snapshot

    def fields(self) -> dict[str, object]:
        """See docs/cli.md."""
        return SnapshotLine(self.snapshot).fields()

    def text(self, *, verbose: bool) -> str:
        """A line for each fact."""
        record = self.snapshot
        totals = record.totals
        held = [
            count_text(totals.files, "file"),
            count_text(totals.directories, "directory", "directories"),
            *([count_text(totals.others, "other")] if totals.others else []),
            size_text(totals.size),
        ]
        facts = [
            ("snapshot", record.id),
            ("name", clean(record.name)),
            ("tags", clean(", ".join(record.tags))),
            ("host", clean(record.host)),
            ("system", clean(record.os_release)),
            ("user", clean(record.user)),
            ("tool", clean(record.tool)),
            ("started", local_time(record.started)),
            ("ended", local_time(record.ended)),
            ("paths", roots_text(record.roots)),
            ("holds", ", ".join(held)),
            ("excludes", clean(" ".join(record.excludes))),
            ("warnings", f"{totals.warnings:,}" if totals.warnings else ""),
        ]
        if verbose:
            facts += [("writer", record.writer.hex()), ("sequence", str(record.sequence))]
        return "\n".join(f"{name:<9} {value}" for name, value in facts if value)
