"""Shell patterns against a table, against the standard library, and against patterns made to take long."""

from __future__ import annotations

import time

import pytest

from snapstore.system.managers.globs import PATTERN_LIMIT, compile_glob, is_glob

TABLE = [
    (b"", b"", True),
    (b"a", b"a", True),
    (b"a", b"ab", False),
    (b"a", b"a\n", False),
    (b"*", b"a/b\n", True),
    (b"usr/*.a", b"usr/lib/x.a", True),
    (b"a*b*c", b"abbc", True),
    (b"a*b*c", b"acb", False),
    (b"*ab", b"aab", True),
    (b"a?c", b"a/c", True),
    (b"[ab]", b"b", True),
    (b"[!ab]", b"b", False),
    (b"[^ab]", b"c", True),
    (b"[]x]", b"]", True),
    (b"[!]x]", b"]", False),
    (b"[a-c]", b"b", True),
    (b"[c-a]", b"b", False),
    (b"[a-]", b"-", True),
    (b"[[:digit:]x]", b"7", True),
    (b"[[:digit:]x]", b"d", False),
    (b"[\\]]", b"]", True),
    (b"[ab", b"[ab", True),
    (b"\\*", b"*", True),
    (b"\\*", b"x", False),
    (b"x\\", b"x\\", True),
    (b"\xff?", b"\xff\xfe", True),
    (b"a.c", b"abc", False),
]


@pytest.mark.parametrize(("pattern", "name", "expected"), TABLE)
def test_table(pattern: bytes, name: bytes, expected: bool) -> None:  # noqa: FBT001 - a table's column
    assert (compile_glob(pattern)(name) is not None) is expected


def test_a_pattern_made_to_take_long_does_not() -> None:
    test = compile_glob(b"*a" * 200 + b"b")
    started = time.process_time()
    assert not test(b"a" * 4000)
    assert time.process_time() - started < 2


def test_a_pattern_without_end_is_refused() -> None:
    with pytest.raises(ValueError, match="bytes"):
        compile_glob(b"*" * (PATTERN_LIMIT + 1))


@pytest.mark.parametrize(
    ("pattern", "expected"), [(b"a.conf", False), (b"*.conf", True), (b"a\\b", True), (b"[", True)]
)
def test_what_is_a_pattern(pattern: bytes, expected: bool) -> None:  # noqa: FBT001
    assert is_glob(pattern) is expected
