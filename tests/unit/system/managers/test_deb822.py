"""Stanzas: what is read, what is told of, and what is never raised."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snapstore.system.managers.deb822 import Stanza, read_stanzas


def read(data: bytes, *, comments: bool = False) -> tuple[list[Stanza], list[str]]:
    told: list[str] = []
    return list(read_stanzas(data, told.append, comments=comments)), told


def test_fields_and_stanzas() -> None:
    stanzas, told = read(b"Package: a\nVERSION:1\nList:\n /x y\n\t/z \n\n\n \nPackage: b\n\n")
    assert told == []
    assert [each.text(b"package") for each in stanzas] == ["a", "b"]
    assert stanzas[0].text(b"version") == "1"
    assert stanzas[0].lines(b"list") == [b"/x y", b"/z"]
    assert stanzas[0].words(b"list") == ["/x", "y", "/z"]
    assert stanzas[0].text(b"none") == ""
    assert [each.line for each in stanzas] == [1, 9]
    assert all(each.sound and each.ended for each in stanzas)


def test_an_end_without_an_empty_line_is_seen() -> None:
    assert [each.ended for each in read(b"A: 1\n\nB: 2\n")[0]] == [True, False]
    assert [each.ended for each in read(b"A: 1\n\nB: 2\n \n")[0]] == [True, True]
    assert [each.ended for each in read(b"A: 1\n\nB: 2\n ")[0]] == [True, False]


def test_comments_only_where_they_are_asked_for() -> None:
    data = b"# not a field\nA: 1\n#: between\n b\n"
    assert read(data, comments=True)[0][0].fields == {b"a": b"1\nb"}
    stanzas, told = read(data)
    assert len(told) == 1
    assert not stanzas[0].sound


@pytest.mark.parametrize(
    "line", [b"no colon", b"-A: 1", b": 1", b"A B: 1", b"\xff: 1", b"A: \0", b"A" * 201 + b": 1", b"First: again"]
)
def test_a_line_that_is_no_field_marks_its_stanza_only(line: bytes) -> None:
    stanzas, told = read(b"First: 1\n" + line + b"\n continued\nLast: 2\n\nOther: 3\n\n")
    assert [each.sound for each in stanzas] == [False, True]
    assert stanzas[0].fields == {b"first": b"1", b"last": b"2"}
    assert len(told) == 2  # the line, and the one that continues it
    assert all(len(each) < 300 for each in told)


def test_a_continuation_of_nothing() -> None:
    stanzas, told = read(b" x\nA: 1\n")
    assert not stanzas[0].sound
    assert stanzas[0].fields == {b"a": b"1"}
    assert len(told) == 1


def test_many_continuations_take_linear_time() -> None:
    (stanza,), _ = read(b"A:\n" + b" x\n" * 300_000)
    assert len(stanza.lines(b"a")) == 300_000


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([b"A: 1", b" b", b"", b"#", b"\0", b":", b"\t\t", b"B:", b"\xff\r", b"A", b"\n"])))
def test_nothing_is_raised_and_nothing_is_made_up(lines: list[bytes]) -> None:
    data = b"\n".join(lines)
    stanzas, told = read(data)
    for stanza in stanzas:
        for name, value in stanza.fields.items():
            assert name in data.lower()
            assert all(part in data for part in value.split(b"\n"))
    assert all(each.sound for each in stanzas) == (not told)
