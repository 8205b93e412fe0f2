"""Rows and elements: what cannot stand in an element is refused on the way in, what should not, on the way out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest
from blake3 import blake3
from lxml import etree

from snapstore.format.scope import ELEMENT_LIMIT, read_scope
from snapstore.model import ChunkId
from snapstore.system.record import Field, Row, Scope, Table, Type
from snapstore.system.scopes.accounts import USERS, Group, SudoRule, User
from snapstore.system.scopes.files import FILES, Class, FileRow
from snapstore.system.scopes.packagelist import PACKAGES, Alternative, Override
from snapstore.system.scopes.services import SERVICES, Port, Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    name: str
    kind: str = ""
    words: tuple[str, ...] = ()
    raw: bytes = b""
    number: int = 7
    optional: int | None = None
    flag: bool = False
    mode: int | None = None
    cls: str = ""


THINGS = Scope(
    "things",
    Table(
        "thing",
        Thing,
        (
            Field("name", key=True),
            Field("kind", Type.WORD, key=True, choices=("one", "two")),
            Field("words", Type.WORDS, key=True),
            Field("raw", Type.RAW),
            Field("number", Type.NUMBER, default=7),
            Field("optional", Type.OPTIONAL),
            Field("flag", Type.FLAG),
            Field("mode", Type.MODE),
            Field("class", secret=True),
        ),
    ),
)


def parse(line: bytes, scope: Scope = THINGS) -> etree._Element:
    document = b'<?xml version="1.0" encoding="UTF-8"?>\n<%b xmlns="urn:snapstore:%b:1">\n%b</%b>\n' % (
        (scope.name.encode(),) * 2 + (line, scope.name.encode())
    )
    (element,) = read_scope(document, scope=scope.name, name="test")
    assert isinstance(element, etree._Element)
    return element


def test_every_type_and_its_default() -> None:
    least = Thing(name="", kind="one")
    assert THINGS.element(least) == b'<thing name="" kind="one" words=""/>\n'
    full = Thing(
        name="a<b", kind="two", words=("x", "y"), raw=b"\xff", number=0, optional=0, flag=True, mode=0o755, cls="c"
    )
    assert THINGS.element(full) == (
        b'<thing name="a&lt;b" kind="two" words="x y" raw-b64="/w==" number="0" optional="0" flag="yes" mode="0755"'
        b' class="c"/>\n'
    )
    for row in (least, full):
        assert THINGS.read(parse(THINGS.element(row))) == row


@pytest.mark.parametrize(
    "values",
    [
        {"kind": "three"},
        {"kind": ""},
        {"words": ("a b",)},
        {"words": ("",)},
        {"words": ("a\u00a0b",)},
        {"words": ("a\x1cb",)},
        {"number": -1},
        {"number": 1 << 64},
        {"optional": -1},
        {"optional": 1 << 64},
        {"mode": -1},
        {"mode": 0o10000},
        {"name": "\ud800"},
        {"raw": bytes(ELEMENT_LIMIT)},
    ],
    ids=str,
)
def test_what_cannot_stand_in_an_element(values: dict[str, Any]) -> None:
    THINGS.element(Thing(name="x", kind="one"))
    with pytest.raises(ValueError):
        THINGS.element(Thing(**{"name": "x", "kind": "one", **values}))


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ('kind="one" words=""', "name is missing"),
        ('name="" words=""', "kind is missing"),
        ('name="" kind="" words=""', "kind cannot be"),
        ('name="" kind="one"', "words is missing"),
        ('name="" kind="one" words=" a"', "no word"),
        ('name="" kind="one" words="a  b"', "no word"),
        ('name="" kind="three" words=""', "kind cannot be"),
        ('name="" kind="one" words="" raw=""', "raw is stated and empty"),
        ('name="" kind="one" words="" number="7"', "states the default"),
        ('name="" kind="one" words="" number="-1"', "no number"),
        ('name="" kind="one" words="" number="01"', "no number"),
        ('name="" kind="one" words="" number="18446744073709551616"', "more than"),
        ('name="" kind="one" words="" optional="x"', "no number"),
        ('name="" kind="one" words="" flag="no"', "flag cannot be"),
        ('name="" kind="one" words="" mode="755"', "no mode"),
        ('name="" kind="one" words="" mode="10000"', "no mode"),
        ('name="" kind="one" words="" class=""', "class is stated and empty"),
        ('name="" kind="one" words="" more="x"', "unknown or misplaced"),
        ('kind="one" name="" words=""', "name is missing"),
        ('name-b64="YQ==" kind="one" words=""', "needs no base64"),
    ],
)
def test_what_is_not_canonical_is_refused(attributes: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        THINGS.read(parse(f"<thing {attributes}/>\n".encode()))


def test_unknown_elements_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown element"):
        THINGS.read(parse(b'<other name="x"/>\n'))


def test_order_and_twins() -> None:
    rows = [Thing(name="a", kind="one"), Thing(name="a", kind="two"), Thing(name="b", kind="one")]
    elements = [parse(THINGS.element(row)) for row in rows]
    assert list(THINGS.read_all(elements)) == rows
    with pytest.raises(ValueError, match="out of order"):
        list(THINGS.read_all(reversed(elements)))
    with pytest.raises(ValueError, match="out of order"):
        list(THINGS.read_all([elements[0], elements[0]]))


def test_tables_have_to_fit_their_rows() -> None:
    with pytest.raises(TypeError, match="not those of its row"):
        Scope("x", Table("thing", Thing, (Field("name"),)))


def test_tables_come_one_after_the_other() -> None:
    rows: list[Row] = [
        User(name="z", uid=1, gid=1),
        Group(name="a", gid=1),
        SudoRule(file=b"/etc/sudoers", rule="x", number=0),
    ]
    assert sorted([rows[2], rows[0], rows[1]], key=USERS.order) == rows
    assert USERS.table_of(rows[1]).tag == "group"


def documents(scope: Scope, rows: list[Row]) -> dict[bytes, bytes]:
    kept: dict[bytes, bytes] = {}

    def put(document: bytes) -> ChunkId:
        chunk = ChunkId(blake3(document).digest())
        kept[chunk] = document
        return chunk

    kept[b"top"] = scope.write(sorted(rows, key=scope.order), put)
    return kept


def test_one_change_touches_the_lines_of_what_changed() -> None:
    rows: list[Row] = [User(name=f"user{number:05}", uid=number, gid=number) for number in range(5000)]
    before = documents(USERS, rows)
    rows[2500] = User(name="user02500", uid=2500, gid=2500, home=b"/x")
    after = documents(USERS, rows)

    def lines(kept: dict[bytes, bytes]) -> set[bytes]:
        return {line for each in kept.values() for line in each.splitlines() if line.startswith(b"<user ")}

    assert len(lines(before) - lines(after)) == len(lines(after) - lines(before)) == 1
    assert len(set(before) - set(after)) == 2  # its document, and the one above that names it


REAL: list[tuple[Scope, Row, bytes]] = [
    (
        FILES,
        FileRow(b"/etc/\xffx", Class.CHANGED, "file", 3, "a b", config=True, changes=("content", "mode"), mode=0o4755),
        (
            b'<path path-b64="L2V0Yy//eA==" class="changed" kind="file" size="3" package="a b" config="yes"'
            b' changes="content mode" mode="4755"/>\n'
        ),
    ),
    (PACKAGES, Override(path=b"/x", user="root", group="#5", mode=0o2755),
     b'<override path="/x" user="root" group="#5" mode="2755"/>\n'),
    (PACKAGES, Alternative(name="vi", link=b"/usr/bin/vi", target=b"/usr/bin/nvi"),
     b'<alternative name="vi" link="/usr/bin/vi" target="/usr/bin/nvi"/>\n'),
    (SERVICES, Unit(name="a.service", state="enabled", dropins=("/x", "/y")),
     b'<unit name="a.service" state="enabled" dropins="/x /y"/>\n'),
    (SERVICES, Port(protocol="tcp", address="::", port=22),
     b'<port protocol="tcp" address="::" port="22" unit="" process=""/>\n'),
]  # fmt: skip


@pytest.mark.parametrize(("scope", "row", "line"), REAL, ids=lambda value: re.sub(r"\W.*", "", repr(value)))
def test_real_rows(scope: Scope, row: Row, line: bytes) -> None:
    assert scope.element(row) == line
    assert scope.read(parse(line, scope)) == row
