"""Lays sizes out as a treemap: rectangles whose areas are as the sizes, as close to squares as they come.

The algorithm is that of Bruls, Huizing and van Wijk, "Squarified treemaps" (2000): the largest first, in rows along
the shorter side of what is left, and a row takes the next one as long as that does not make its worst rectangle
longer. Pure functions: what is drawn, and how, is known elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Rectangle(NamedTuple):
    """A rectangle by its upper left corner, in whatever unit the whole was given."""

    x: float
    y: float
    width: float
    height: float

    @property
    def area(self) -> float:
        """Width times height."""
        return self.width * self.height

    def inset(self, margin: float) -> Rectangle:
        """The same without a margin on every side; empty, and in the middle, where there is no room for one."""
        across, down = min(margin, self.width / 2), min(margin, self.height / 2)
        return Rectangle(self.x + across, self.y + down, self.width - 2 * across, self.height - 2 * down)


def squarified(sizes: Sequence[int], space: Rectangle) -> list[Rectangle]:
    """A rectangle for each size, in the order of the sizes, that together fill the space; those of 0 are empty.

    Equal sizes keep their order. ValueError for a negative size.
    """
    if any(size < 0 for size in sizes):
        raise ValueError("a size cannot be negative")
    total = sum(sizes)
    placed = [Rectangle(space.x, space.y, 0.0, 0.0)] * len(sizes)
    if not total:
        return placed
    order = sorted((each for each in range(len(sizes)) if sizes[each]), key=lambda each: -sizes[each])
    # Divided before multiplied: sizes may be too large for a float, their share never is.
    areas = [sizes[each] / total * space.area for each in order]
    at = 0
    while at < len(order):
        count = _row_length(areas, at, min(space.width, space.height))
        last = at + count == len(order)
        rectangles, space = _row(areas[at : at + count], space, last=last)
        for each, rectangle in zip(order[at : at + count], rectangles, strict=True):
            placed[each] = rectangle
        at += count
    return placed


def _row_length(areas: Sequence[float], at: int, side: float) -> int:
    """How many of the areas from `at` on stand in one row along a side."""
    total = smallest = largest = areas[at]
    worst = _worst(total, smallest, largest, side)
    for count, area in enumerate(areas[at + 1 :], start=1):
        total += area
        smallest, largest = min(smallest, area), max(largest, area)
        longer = _worst(total, smallest, largest, side)
        if longer > worst:
            return count
        worst = longer
    return len(areas) - at


def _worst(total: float, smallest: float, largest: float, side: float) -> float:
    """The largest ratio of long to short side among rectangles that share a row along a side."""
    if not smallest or not side:
        return float("inf")
    thickness = total / side
    return max(largest / thickness / thickness, thickness * thickness / smallest)


def _row(areas: Sequence[float], space: Rectangle, *, last: bool) -> tuple[list[Rectangle], Rectangle]:
    """The rectangles of one row, and the space that it leaves; the last row takes all there is."""
    total = sum(areas)
    upright = space.width >= space.height
    side, other = (space.height, space.width) if upright else (space.width, space.height)
    thickness = other if last or not side else min(other, total / side)
    rectangles: list[Rectangle] = []
    done, before = 0.0, 0.0
    for area in areas:
        done += area
        after = side * (done / total) if total else side
        if upright:
            rectangles.append(Rectangle(space.x, space.y + before, thickness, after - before))
        else:
            rectangles.append(Rectangle(space.x + before, space.y, after - before, thickness))
        before = after
    if upright:
        return rectangles, Rectangle(space.x + thickness, space.y, max(0.0, space.width - thickness), space.height)
    return rectangles, Rectangle(space.x, space.y + thickness, space.width, max(0.0, space.height - thickness))
