"""Which lines two texts have in common, in a time that hostile texts cannot stretch, and the hunks that are left.

Myers, "An O(ND) Difference Algorithm and Its Variations" (Algorithmica, 1986): the shortest edit script, found in steps
that grow with how much differs. Where that is more than anybody wants to read, all that lies between the first and the
last line that differ is told as replaced, which is as true.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence

_DIFFERENCES = 1000
"""So many lines may be taken out and put in before they are no longer matched with each other."""
_STEPS = 2_000_000
_AROUND = 3

Pair = tuple[int, int]
"""The places of one line that both texts have."""


def line_hunks(old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    """The lines of a unified diff, each hunk after its `@@` line, with three lines around what differs."""
    lines: list[str] = []
    first: Pair | None = None
    equal = 0
    for sign, i, j in _edits(old, new):
        if sign == " ":
            equal += 1
            if first is not None and equal > 2 * _AROUND:
                # So many are the same that what follows, if anything does, is another hunk.
                del lines[len(lines) - _AROUND :]
                yield from _hunk(first, lines)
                first, lines = None, []
        else:
            if first is None:
                lead = min(_AROUND, equal)
                first = i - lead, j - lead
                lines = [f" {line}" for line in old[i - lead : i]]
            equal = 0
        if first is not None:
            lines.append(sign + (new[j] if sign == "+" else old[i]))
    if first is not None:
        if equal > _AROUND:
            del lines[len(lines) - (equal - _AROUND) :]
        yield from _hunk(first, lines)


def _hunk(first: Pair, lines: list[str]) -> Iterator[str]:
    removed = sum(not line.startswith("+") for line in lines)
    added = sum(not line.startswith("-") for line in lines)
    yield f"@@ -{_range(first[0], removed)} +{_range(first[1], added)} @@"
    yield from lines


def _range(start: int, count: int) -> str:
    """As diff(1) has it: lines count from 1, and nothing stands after the line before it."""
    if count == 1:
        return f"{start + 1}"
    return f"{start + 1 if count else start},{count}"


def _edits(old: Sequence[str], new: Sequence[str]) -> Iterator[tuple[str, int, int]]:
    """(" ", "-" or "+", place in the old text, place in the new one), in order."""
    i = j = 0
    for one, two in (*common_lines(old, new), (len(old), len(new))):
        while i < one:
            yield "-", i, j
            i += 1
        while j < two:
            yield "+", i, j
            j += 1
        if i < len(old) and j < len(new):
            yield " ", i, j
        i, j = i + 1, j + 1


def common_lines(old: Sequence[str], new: Sequence[str]) -> list[Pair]:
    """The places of lines that both texts have, in order: as many as can be, unless there is too much to compare."""
    numbers: dict[str, int] = {}
    one = [numbers.setdefault(line, len(numbers)) for line in old]
    two = [numbers.setdefault(line, len(numbers)) for line in new]
    shorter = min(len(one), len(two))
    start = 0
    while start < shorter and one[start] == two[start]:
        start += 1
    end = 0
    while end < shorter - start and one[-1 - end] == two[-1 - end]:
        end += 1
    found = [(at, at) for at in range(start)]
    middle = _shortest(one[start : len(one) - end], two[start : len(two) - end])
    found += [(start + i, start + j) for i, j in middle]
    found += [(len(one) - at, len(two) - at) for at in range(end, 0, -1)]
    return found


def _shortest(old: list[int], new: list[int]) -> list[Pair]:
    """The pairs of the shortest edit script; none where it is too long, or takes too many steps to find."""
    n, m = len(old), len(new)
    reached: list[array[int]] = []
    before: array[int] = array("q")
    steps = 0
    for count in range(min(n + m, _DIFFERENCES) + 1):
        # On each diagonal k = x - y, from -count to count by 2, the furthest x that `count` edits lead to.
        here: array[int] = array("q")
        for at in range(count + 1):
            x = _step(before, at, count)
            y = x - (2 * at - count)
            start = x
            while x < n and y < m and old[x] == new[y]:
                x += 1
                y += 1
            steps += 1 + x - start
            here.append(x)
            if x == n and y == m:
                return _back([*reached, here])
        if steps > _STEPS:
            return []
        reached.append(here)
        before = here
    return []


def _step(before: array[int], at: int, count: int) -> int:
    """Where an edit leads on the diagonal of number `at`: down from the one above it, or right from the one below."""
    if not count:
        return 0
    if at == 0 or (at != count and before[at - 1] < before[at]):
        return before[at]
    return before[at - 1] + 1


def _back(reached: list[array[int]]) -> list[Pair]:
    """The pairs on the way to the last point, from the first."""
    pairs: list[Pair] = []
    count = len(reached) - 1
    at = len(reached[count]) - 1
    while count >= 0:
        before = reached[count - 1] if count else array("q")
        k = 2 * at - count
        x, start = reached[count][at], _step(before, at, count)
        pairs += [(each, each - k) for each in range(x - 1, start - 1, -1)]
        down = at == 0 or (at != count and bool(count) and before[at - 1] < before[at])
        at -= 0 if down else 1
        count -= 1
    pairs.reverse()
    return pairs
