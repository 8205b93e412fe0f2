from __future__ import annotations

import time
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from snapstore.ops import linediff
from snapstore.ops.linediff import common_lines, line_hunks

texts = st.lists(st.sampled_from(["a", "b", "c", "", "+x", "-y", "@@"]), max_size=25)


def in_common(old: list[str], new: list[str]) -> int:
    """The length of the longest common subsequence, by the table."""
    row = [0] * (len(new) + 1)
    for line in old:
        above, row = row, [0]
        for at, other in enumerate(new):
            row.append(above[at] + 1 if line == other else max(above[at + 1], row[at]))
    return row[-1]


def patched(old: list[str], hunks: list[str]) -> list[str]:
    """What patch(1) would make of a text."""
    found: list[str] = []
    at = 0
    for line in hunks:
        if line.startswith("@@ -"):
            start, _, count = line.split()[1][1:].partition(",")
            first = int(start) - (count != "0")
            assert first >= at
            found += old[at:first]
            at = first
        elif line[0] == "+":
            found.append(line[1:])
        else:
            assert old[at] == line[1:]
            found += [line[1:]] if line[0] == " " else []
            at += 1
    return found + old[at:]


@settings(max_examples=200, deadline=None)
@given(old=texts, new=texts)
def test_hunks_lead_from_one_text_to_the_other_and_are_the_shortest(old: list[str], new: list[str]) -> None:
    pairs = common_lines(old, new)
    assert all(old[i] == new[j] for i, j in pairs)
    assert all(one[0] < two[0] and one[1] < two[1] for one, two in pairwise(pairs))
    assert len(pairs) == in_common(old, new)
    hunks = list(line_hunks(old, new))
    assert patched(old, hunks) == new
    assert (not hunks) == (old == new)


def test_hunks_are_those_of_diff() -> None:
    old = [str(number) for number in range(40)]
    new = ["new", *old[:20], "20!", *old[21:27], *old[28:]]
    assert list(line_hunks(old, new)) == [
        "@@ -1,3 +1,4 @@", "+new", " 0", " 1", " 2",
        "@@ -18,14 +19,13 @@", " 17", " 18", " 19", "-20", "+20!", " 21", " 22", " 23", " 24", " 25", " 26", "-27",
        " 28", " 29", " 30",
    ]  # fmt: skip
    assert list(line_hunks([], ["x"])) == ["@@ -0,0 +1 @@", "+x"]


def test_texts_made_to_take_for_ever_do_not() -> None:
    size = 40_000
    old = [str(number % 150) for number in range(size)]
    hostile = [
        [line if number % 3 else f"u{number}" for number, line in enumerate(old)],
        ["x", *old[: size // 2], *["y"] * 900, *old[size // 2 :]],
        old[::-1],
    ]
    began = time.process_time()
    for new in hostile:
        assert patched(old, list(line_hunks(old, new))) == new
    assert time.process_time() - began < 10  # it takes a second; the usual way of comparing takes hours


def test_what_is_too_much_to_compare_is_replaced() -> None:
    old, new = ["same", *"abcd" * 600, "end"], ["same", *"efgh" * 600, "end"]
    hunks = list(line_hunks(old, new))
    assert hunks[0] == "@@ -1,2402 +1,2402 @@"
    assert linediff._DIFFERENCES < 2400
    assert patched(old, hunks) == new
