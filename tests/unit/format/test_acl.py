"""ACLs as text: exactly one text for each, and nothing lost either way."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapstore.format.acl import decode_acl, encode_acl

NONE = 0xFFFFFFFF


class Names:
    """A machine's users and groups by their numbers; `anybody` names all others."""

    def __init__(
        self, users: dict[int, str] | None = None, groups: dict[int, str] | None = None, *, anybody: str = ""
    ) -> None:
        self.users = users or {}
        self.groups = groups or {}
        self.anybody = anybody

    def user(self, uid: int, /) -> str:
        return self.users.get(uid, self.anybody)

    def group(self, gid: int, /) -> str:
        return self.groups.get(gid, self.anybody)

    def uid(self, name: str, /) -> int | None:
        return next((number for number, known in self.users.items() if known == name), None)

    def gid(self, name: str, /) -> int | None:
        return next((number for number, known in self.groups.items() if known == name), None)


def raw(*entries: tuple[int, int, int], version: int = 2) -> bytes:
    return struct.pack("<I", version) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


BASE = ((1, 6, NONE), (4, 4, NONE), (32, 0, NONE))
FULL = ((1, 6, NONE), (2, 4, 1000), (2, 0, 7), (4, 4, NONE), (8, 7, 44), (16, 5, NONE), (32, 0, NONE))
FULL_TEXT = "user::rw-,user:1000:bob:r--,user:7::---,group::r--,group:44:video:rwx,mask::r-x,other::---"
KNOWN = Names({1000: "bob"}, {44: "video"})


def test_golden() -> None:
    assert decode_acl(raw(*FULL), KNOWN) == FULL_TEXT
    assert encode_acl(FULL_TEXT) == raw(*FULL)
    assert decode_acl(raw(*BASE), KNOWN) == "user::rw-,group::r--,other::---"


def test_names_win_over_numbers_where_they_are_known() -> None:
    elsewhere = Names({5: "bob"}, {})
    expected = ((1, 6, NONE), (2, 4, 5), (2, 0, 7), (4, 4, NONE), (8, 7, 44), (16, 5, NONE), (32, 0, NONE))
    assert encode_acl(FULL_TEXT, elsewhere) == raw(*expected)
    assert encode_acl(FULL_TEXT) == raw(*FULL)


@pytest.mark.parametrize(
    ("name", "shown"),
    [("a,b", "a%2Cb"), ("a:b", "a%3Ab"), ("a%b", "a%25b"), ("a\nb", "a%0Ab"), ("\udcff", "%FF"), ("é", "é")],
)
def test_names_are_escaped(name: str, shown: str) -> None:
    names = Names({1: name})
    value = raw((1, 7, NONE), (2, 7, 1), (4, 7, NONE), (16, 7, NONE), (32, 7, NONE))
    text = decode_acl(value, names)
    assert f"user:1:{shown}:rwx" in text.split(",")
    assert encode_acl(text) == value
    assert encode_acl(text, Names({9: name})) == value.replace(
        struct.pack("<HHI", 2, 7, 1), struct.pack("<HHI", 2, 7, 9)
    )


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\2\0\0",
        raw(),
        raw(*BASE)[:-1],
        raw(*BASE) + b"\0",
        raw(*BASE, version=1),
        raw(*BASE, version=3),
        raw(*BASE[:2]),
        raw(*BASE, BASE[2]),
        raw(BASE[1], BASE[0], BASE[2]),
        raw((1, 8, NONE), *BASE[1:]),
        raw((1, 6, 0), *BASE[1:]),
        raw((3, 6, NONE), *BASE),
        raw(BASE[0], (2, 4, 1000), *BASE[1:]),
        raw(BASE[0], (2, 4, 9), (2, 5, 9), BASE[1], (16, 5, NONE), BASE[2]),
    ],
)
def test_what_the_kernel_never_writes_is_refused(value: bytes) -> None:
    with pytest.raises(ValueError):
        decode_acl(value, KNOWN)


BASE_TEXT = "user::rw-,group::r--,other::---"


@pytest.mark.parametrize(
    "text",
    [
        "",
        ",",
        "user::rw-",
        f"{BASE_TEXT},",
        f"{BASE_TEXT},mask::r--",
        BASE_TEXT.replace("rw-", "wr-"),
        BASE_TEXT.replace("rw-", "rw"),
        BASE_TEXT.replace("rw-", "rw--"),
        BASE_TEXT.replace("user::", "user:::"),
        BASE_TEXT.replace("user::", "u::"),
        BASE_TEXT.replace("other::", "other:1::"),
        FULL_TEXT.replace("1000", "01000"),
        FULL_TEXT.replace("1000", "+1000"),
        FULL_TEXT.replace("1000", "4294967296"),
        FULL_TEXT.replace("1000", "٣"),
        FULL_TEXT.replace("bob", "bo%62"),
        FULL_TEXT.replace("bob", "bo%2c"),
        FULL_TEXT.replace("bob", "bo%2"),
        FULL_TEXT.replace("bob", "bo b"),
        FULL_TEXT.replace(",mask::r-x", ""),
        FULL_TEXT.replace("user:7:", "user:1000:"),
    ],
)
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        encode_acl(text)


PERMISSIONS = st.integers(0, 7)
IDS = st.lists(st.integers(0, NONE), max_size=4, unique=True)
ANY_NAME = st.text(st.characters(exclude_categories=["Cs"]) | st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF))


@st.composite
def acls(draw: st.DrawFn) -> bytes:
    users: list[int] = draw(IDS)
    groups: list[int] = draw(IDS)
    entries = [(1, draw(PERMISSIONS), NONE)]
    entries += [(2, draw(PERMISSIONS), each) for each in users]
    entries += [(4, draw(PERMISSIONS), NONE)]
    entries += [(8, draw(PERMISSIONS), each) for each in groups]
    if users or groups or draw(st.sampled_from([0, 1])):
        entries.append((16, draw(PERMISSIONS), NONE))
    return raw(*entries, (32, draw(PERMISSIONS), NONE))


@given(acls(), ANY_NAME)
def test_any_acl_round_trips(value: bytes, name: str) -> None:
    text = decode_acl(value, Names(anybody=name))
    assert encode_acl(text) == value
    assert encode_acl(text, Names()) == value


@given(st.binary(max_size=64) | acls().map(lambda value: value[:-1]) | st.binary(max_size=40).map(lambda b: raw() + b))
def test_any_bytes_round_trip_or_are_refused(value: bytes) -> None:
    try:
        text = decode_acl(value, KNOWN)
    except ValueError:
        return
    assert encode_acl(text) == value


@given(st.text(max_size=60) | st.lists(st.sampled_from(FULL_TEXT.split(",")), max_size=8).map(",".join))
def test_any_text_is_canonical_or_refused(text: str) -> None:
    try:
        value = encode_acl(text)
    except ValueError:
        return
    assert decode_acl(value, KNOWN) == text
