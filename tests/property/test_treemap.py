"""Laws of treemaps: areas as the sizes, nothing outside, nothing twice."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snapstore.cli.treemap import Rectangle, squarified

SIZES = st.lists(st.one_of(st.integers(0, 20), st.integers(0, 1 << 62)), max_size=60)
SPACES = st.builds(
    Rectangle, st.integers(-50, 50), st.integers(-50, 50), st.integers(1, 2000), st.integers(1, 2000)
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(SIZES, SPACES)
def test_areas_are_as_the_sizes(sizes: list[int], space: Rectangle) -> None:
    placed = squarified(sizes, space)
    assert len(placed) == len(sizes)
    total = sum(sizes)
    for size, rectangle in zip(sizes, placed, strict=True):
        share = size / total if total else 0
        assert rectangle.area == pytest.approx(share * space.area, rel=1e-6, abs=1e-6 * space.area)


@settings(max_examples=150, deadline=None)
@given(SIZES, SPACES)
def test_everything_is_inside_and_nothing_overlaps(sizes: list[int], space: Rectangle) -> None:
    slack = 1e-6 * (space.width + space.height)
    placed = [each for each in squarified(sizes, space) if each.width > slack and each.height > slack]
    for each in placed:
        assert each.x >= space.x - slack
        assert each.y >= space.y - slack
        assert each.x + each.width <= space.x + space.width + slack
        assert each.y + each.height <= space.y + space.height + slack
    for at, first in enumerate(placed):
        for second in placed[at + 1 :]:
            across = min(first.x + first.width, second.x + second.width) - max(first.x, second.x)
            down = min(first.y + first.height, second.y + second.height) - max(first.y, second.y)
            assert across <= slack or down <= slack


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 1000), min_size=2, max_size=40), st.integers(1, 1 << 40))
def test_only_proportions_matter(sizes: list[int], factor: int) -> None:
    space = Rectangle(0, 0, 960, 400)
    plain = squarified(sizes, space)
    scaled = squarified([size * factor for size in sizes], space)
    assert sum(each.area for each in scaled) == pytest.approx(space.area)
    for one, other in zip(plain, scaled, strict=True):
        assert one.area == pytest.approx(other.area)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 200), SPACES)
def test_equal_sizes_stay_in_order_and_near_squares(count: int, space: Rectangle) -> None:
    placed = squarified([7] * count, space)
    for before, after in pairwise(placed):
        # The next one stands further down, or further right: never back over what is placed.
        assert after.y > before.y - 1e-6 or after.x > before.x + 1e-6
    long = max(space.width, space.height) / min(space.width, space.height)
    worst = max(max(each.width, each.height) / min(each.width, each.height) for each in placed)
    assert worst <= max(3.0, long) + 1e-6
