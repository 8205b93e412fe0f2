"""One declaration a scope: its rows in Python, its elements in XML, and its published schema, all from the same table.

A scope is a list of tables, a table is one kind of element, and a row is a frozen dataclass or named tuple whose
fields are the element's attributes, in order (`class` is called `cls` in Python, `-` becomes `_`). Nothing nests. The
rows of a scope are ordered by table and then by key, and no two have the same, so that one state of the machine has
one document, and one change touches the lines of what changed.
"""

from __future__ import annotations

import dataclasses
import enum
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from lxml import etree

from snapstore.format import xml
from snapstore.format.scope import ELEMENT_LIMIT, ScopeWriter, namespace
from snapstore.model import ChunkId

Row = Any
"""An instance of the row type of one of a scope's tables."""

_MODE = re.compile(r"[0-7]{4}\Z").match


class Type(enum.Enum):
    """How a value stands in its attribute. The Python type, and the value that is left out, are in parentheses."""

    TEXT = "text"  # (str, ""), what is not UTF-8 as surrogates; has a base64 twin
    RAW = "raw"  # (bytes, b""), has a base64 twin
    NUMBER = "number"  # (int, the field's default)
    OPTIONAL = "optional"  # (int or None, None)
    FLAG = "flag"  # (bool, False), "yes" otherwise
    WORD = "word"  # (str, ""), one of the field's choices
    WORDS = "words"  # (tuple of str, ()), joined by spaces, none empty or with white space
    MODE = "mode"  # (int or None, None), four octal digits


@dataclass(frozen=True, slots=True)
class Field:
    """One attribute: `name` is the XML one, the dataclass has `_` for `-`. Key fields are always written.

    `secret` values are to be hidden wherever a person reads them; the schema marks them.
    """

    name: str
    type: Type = Type.TEXT
    key: bool = False
    choices: tuple[str, ...] = ()
    default: int = 0
    secret: bool = False
    attribute: str = dataclasses.field(init=False)
    """The name of the row's field."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "attribute", "cls" if self.name == "class" else self.name.replace("-", "_"))


@dataclass(frozen=True, slots=True)
class Table:
    """One kind of element. `order` gives what its rows are sorted by, the key fields where there is none."""

    tag: str
    row: Any
    fields: tuple[Field, ...]
    order: Callable[[Row], Any] | None = None

    def key(self, row: Row) -> Any:
        """What the rows of this table are sorted by."""
        if self.order is not None:
            return self.order(row)
        return tuple(getattr(row, each.attribute) for each in self.fields if each.key)


class Scope:
    """One part of the system and its record."""

    def __init__(self, name: str, *tables: Table) -> None:
        self.name = name
        self.tables = tables
        self._by_row = {table.row: number for number, table in enumerate(tables)}
        self._by_tag = {f"{{{namespace(name)}}}{table.tag}": number for number, table in enumerate(tables)}
        nothing = etree.Element("nothing")
        self._absent: list[dict[str, Any]] = [
            {each.attribute: _read(each, xml.Attributes(nothing)) for each in table.fields if not each.key}
            for table in tables
        ]
        for table in tables:
            named = issubclass(table.row, tuple)
            names = list(table.row._fields if named else [each.name for each in dataclasses.fields(table.row)])
            if names != [each.attribute for each in table.fields]:
                raise TypeError(f"the fields of {table.tag} are not those of its row")

    def table_of(self, row: Row) -> Table:
        """The table that a row belongs to."""
        return self.tables[self._by_row[type(row)]]

    def order(self, row: Row) -> tuple[int, Any]:
        """What rows of this scope are sorted by."""
        number = self._by_row[type(row)]
        return number, self.tables[number].key(row)

    def element(self, row: Row) -> bytes:
        """The canonical element of a row, its line feed included. ValueError for values that cannot stand in it."""
        table = self.table_of(row)
        parts = [b"<", table.tag.encode()]
        parts += [_write(field, getattr(row, field.attribute)) for field in table.fields]
        parts.append(b"/>\n")
        element = b"".join(parts)
        if len(element) > ELEMENT_LIMIT:
            raise ValueError(f"a {table.tag} has more than {ELEMENT_LIMIT} bytes")
        return element

    def write(self, rows: Iterable[Row], put: Callable[[bytes], ChunkId]) -> ChunkId:
        """The id of the record of rows that come in order; `put` stores each document of it."""
        writer = ScopeWriter(self.name, put)
        for row in rows:
            element = self.element(row)
            writer.add(element, element)
        return writer.finish()

    def read(self, element: etree._Element) -> Row:
        """The row of an element; ValueError (XmlError) unless it is valid and canonical in every part."""
        number = self._by_tag.get(element.tag)
        if number is None:
            raise xml.XmlError(f"unknown element {element.tag}")
        table = self.tables[number]
        attributes = xml.Attributes(element)
        # Most attributes are left out of most elements.
        values = self._absent[number].copy()
        for field in table.fields:
            if field.key or attributes.has(field.name):
                values[field.attribute] = _read(field, attributes)
        attributes.close()
        return table.row(**values)

    def read_all(self, elements: Iterable[etree._Element]) -> Iterator[Row]:
        """The rows of elements, in order; ValueError where one is invalid, out of order or there twice."""
        last: tuple[int, Any] | None = None
        for element in elements:
            row = self.read(element)
            order = self.order(row)
            if last is not None and not last < order:
                raise xml.XmlError(f"{element.tag} is out of order")
            last = order
            yield row


def _write(field: Field, value: Any) -> bytes:
    name = field.name.encode()
    kind = field.type
    if kind in (Type.TEXT, Type.RAW):
        raw = value if isinstance(value, bytes) else value.encode("utf-8", "surrogateescape")
        return xml.text_attribute(name, raw) if raw or field.key else b""
    if kind in (Type.NUMBER, Type.OPTIONAL):
        if value is None and kind is Type.OPTIONAL:
            return b""
        if not 0 <= value < 1 << 64:
            raise ValueError(f"{field.name} cannot be {value}")
        left_out = kind is Type.NUMBER and value == field.default and not field.key
        return b"" if left_out else b' %b="%d"' % (name, value)
    if kind is Type.FLAG:
        return b' %b="yes"' % name if value else b""
    if kind is Type.MODE:
        if value is not None and not 0 <= value <= 0o7777:
            raise ValueError(f"{field.name} cannot be {value:o}")
        return b"" if value is None else b' %b="%04o"' % (name, value)
    if kind is Type.WORDS:
        if not value:
            return b' %b=""' % name if field.key else b""
        if any(not word or word.split() != [word] for word in value):
            raise ValueError(f"{field.name} holds what is no word")
        return xml.text_attribute(name, " ".join(value).encode("utf-8", "surrogateescape"))
    if value not in field.choices:
        if value or field.key:
            raise ValueError(f"{field.name} cannot be {value!r}")
        return b""
    return b' %b="%b"' % (name, value.encode())


def _read(field: Field, attributes: xml.Attributes) -> Any:
    kind = field.type
    if kind in (Type.TEXT, Type.RAW):
        raw = attributes.raw(field.name)
        if field.key and raw is None:
            raise xml.XmlError(f"{field.name} is missing")
        if raw == b"" and not field.key:
            raise xml.XmlError(f"{field.name} is stated and empty")
        raw = raw or b""
        return raw if kind is Type.RAW else raw.decode("utf-8", "surrogateescape")
    if kind is Type.NUMBER:
        return attributes.number(field.name) if field.key else attributes.number(field.name, default=field.default)
    if kind is Type.WORDS:
        raw = attributes.raw(field.name)
        if field.key and raw is None:
            raise xml.XmlError(f"{field.name} is missing")
        if raw == b"" and not field.key:
            raise xml.XmlError(f"{field.name} is stated and empty")
        words = tuple(raw.decode("utf-8", "surrogateescape").split(" ")) if raw else ()
        if any(not word or word.split() != [word] for word in words):
            raise xml.XmlError(f"{field.name} holds what is no word")
        return words
    text = attributes.text(field.name)
    if text is None:
        if kind is Type.WORD and field.key:
            raise xml.XmlError(f"{field.name} is missing")
        return {Type.FLAG: False, Type.WORD: ""}.get(kind)
    if kind is Type.OPTIONAL:
        return xml.parse_number(text)
    if kind is Type.MODE:
        if not _MODE(text):
            raise xml.XmlError(f"{text[:40]!r} is no mode")
        return int(text, 8)
    if text not in (("yes",) if kind is Type.FLAG else field.choices):
        raise xml.XmlError(f"{field.name} cannot be {text[:40]!r}")
    return True if kind is Type.FLAG else text
