from __future__ import annotations

import os
from pathlib import Path

import pytest

from snapstore.system.capture import lines
from snapstore.system.root import Root
from tests.unit.system.capture.tree import Warnings, opened


def test_lines_are_numbered_and_bounded() -> None:
    warned = Warnings()
    long = b"x" * (lines.LINE_LIMIT + 1)
    found = list(lines.numbered_lines(b"/f", b"a\r\nb\n" + long + b"\nc", warned))
    assert found == [(1, b"a"), (2, b"b"), (4, b"c")]
    assert warned == [(b"/f", f"line 3 has more than {lines.LINE_LIMIT} bytes and was not read")]


def test_the_number_of_lines_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "ROWS_LIMIT", 3)
    warned = Warnings()
    assert len(list(lines.numbered_lines(b"/f", b"a\n" * 5, warned))) == 3
    assert warned == [(b"/f", "what stands after line 3 was not read")]


def test_warnings_are_bounded_by_file() -> None:
    warned = Warnings()
    with lines.Bounded(warned) as warn:
        for number in range(lines.WARNINGS_LIMIT + 5):
            warn(b"/a", f"wrong {number}")
        warn(b"/b", "wrong")
    assert len(warned) == lines.WARNINGS_LIMIT + 2
    assert warned[-1] == (b"/a", "5 more things are wrong with it")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    warned = Warnings()
    with opened(tmp_path, {"/dir/a": "x", "/loop": "-> loop", "/big": "123456"}) as root:
        assert lines.read_file(root, b"/none", warned) is None
        assert lines.read_file(root, b"/loop", warned) is None
        assert warned == []
        assert lines.read_file(root, b"/dir", warned) is None
        assert lines.read_file(root, b"/big", warned, limit=5) is None
        assert lines.names_in(root, b"/dir", warned) == [b"a"]
        assert lines.names_in(root, b"/none", warned) == []
    assert (
        warned.text
        == "/dir: it cannot be read: it is no regular file\n/big: it cannot be read: it has more than 5 bytes"
    )


def test_directories_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_fd: int) -> list[str]:
        raise PermissionError(13, "Permission denied")

    warned = Warnings()
    with Root(os.fsencode(tmp_path)) as root:
        monkeypatch.setattr(os, "listdir", refuse)
        assert lines.names_in(root, b"/", warned) == []
    assert warned.text == "/: it cannot be listed: Permission denied"


@pytest.mark.parametrize(
    ("raw", "word"),
    [
        (b"plain", "plain"),
        (b"a b\tc", "a%20b%09c"),
        ("a\u00a0b\u2003c".encode(), "a%C2%A0b%E2%80%83c"),
        (b"a%20b", "a%20b"),
        (b"\xff", "\udcff"),
        (b"\x1c", "%1C"),
        (b"", ""),
    ],
)
def test_words(raw: bytes, word: str) -> None:
    assert lines.word_of(raw) == word


@pytest.mark.parametrize(
    ("raw", "number"),
    [
        (b"0", 0),
        (b"007", 7),
        (b"99", 99),
        (b"100", None),
        (b"", None),
        (b"-1", None),
        (b"1 ", None),
        (b"\xb2", None),
        (b"1" * 5000, None),
        (b"1_0", None),
    ],
)
def test_numbers(raw: bytes, number: int | None) -> None:
    assert lines.number_of(raw, limit=99) == number
