"""Names of any bytes, for people and for JSON."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapstore.cli.names import clean, path_fields, shortened, shown


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (b"plain name", "plain name"),
        ("größe-日本".encode(), "größe-日本"),
        (b"a\\b", "a\\\\b"),
        (b"a\nb\tc\rd", "a\\nb\\tc\\rd"),
        (b"\x1b[2J\x7f\x00", "\\x1b[2J\\x7f\\x00"),
        (b"\xff\xc0\xaf", "\\xff\\xc0\\xaf"),
        (b"\xed\xa0\x80", "\\xed\\xa0\\x80"),
        ("\u202egnp.exe".encode(), "\\u202egnp.exe"),
        ("\x9b31m".encode(), "\\u009b31m"),
        ("\U000e0001".encode(), "\\U000e0001"),
    ],
)
def test_shown(name: bytes, text: str) -> None:
    assert shown(name) == text


@given(st.binary())
def test_what_is_shown_prints_and_tells_names_apart(name: bytes) -> None:
    text = shown(name)
    assert text.isprintable()
    # It can be read back, so no two names look the same.
    assert _read(text) == name


def _read(text: str) -> bytes:
    out = bytearray()
    at = 0
    short = {"n": b"\n", "r": b"\r", "t": b"\t", "\\": b"\\"}
    while at < len(text):
        if text[at] != "\\":
            out += text[at].encode()
            at += 1
            continue
        kind = text[at + 1]
        if kind in short:
            out += short[kind]
            at += 2
            continue
        digits = {"x": 2, "u": 4, "U": 8}[kind]
        code = int(text[at + 2 : at + 2 + digits], 16)
        out += bytes([code]) if kind == "x" else chr(code).encode()
        at += 2 + digits
    return bytes(out)


@given(st.binary())
def test_json_has_the_exact_bytes_where_the_text_is_not_exact(name: bytes) -> None:
    fields = json.loads(json.dumps(path_fields(name)))
    if "path_b64" in fields:
        assert base64.b64decode(fields["path_b64"]) == name
        assert "\ufffd" in fields["path"]
    else:
        assert fields["path"].encode() == name
    assert fields["path"].isprintable()


def test_a_replacement_character_of_its_own_is_plain() -> None:
    assert path_fields("\ufffd".encode(), key="target") == {"target": "\ufffd"}


@given(st.text())
def test_messages_are_one_printable_line(text: str) -> None:
    assert clean(text).isprintable()


@given(st.text(min_size=1), st.integers(min_value=1, max_value=100))
def test_shortened(text: str, width: int) -> None:
    short = shortened(text, width)
    assert len(short) <= width
    assert (short == text) is (len(text) <= width)


def test_shortened_keeps_the_end() -> None:
    assert shortened("/home/user/documents/letter.txt", 20).endswith("letter.txt")
