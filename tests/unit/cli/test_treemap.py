"""Treemaps of sizes that a person can check."""

from __future__ import annotations

import pytest

from snapstore.cli.treemap import Rectangle, squarified

SPACE = Rectangle(0, 0, 6, 4)


def test_the_example_of_the_paper() -> None:
    # Bruls, Huizing and van Wijk, figure 4: areas 6, 6, 4, 3, 2, 2, 1 in a space of 6 by 4.
    placed = squarified([6, 6, 4, 3, 2, 2, 1], SPACE)
    corners = [(round(each.x, 2), round(each.y, 2), round(each.width, 2), round(each.height, 2)) for each in placed]
    assert corners[:4] == [(0, 0, 3, 2), (0, 2, 3, 2), (3, 0, 1.71, 2.33), (4.71, 0, 1.29, 2.33)]
    assert [round(each.area, 6) for each in placed] == [6, 6, 4, 3, 2, 2, 1]


def test_one_size_takes_everything() -> None:
    assert squarified([17], SPACE) == [SPACE]


def test_nothing_takes_nothing() -> None:
    assert squarified([], SPACE) == []
    assert [each.area for each in squarified([0, 0], SPACE)] == [0, 0]


def test_the_order_of_the_sizes_is_kept() -> None:
    small, none, large = squarified([1, 0, 3], SPACE)
    assert [small.area, none.area, large.area] == pytest.approx([6, 0, 18])


def test_sizes_that_no_float_holds() -> None:
    first, second = squarified([10**400, 10**400], SPACE)
    assert [first.area, second.area] == pytest.approx([12, 12])


def test_a_space_without_area() -> None:
    assert all(each.area == 0 for each in squarified([1, 2, 3], Rectangle(1, 1, 0, 5)))


def test_a_negative_size_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be negative"):
        squarified([1, -1], SPACE)


def test_insets_never_turn_inside_out() -> None:
    assert Rectangle(1, 1, 10, 4).inset(1) == Rectangle(2, 2, 8, 2)
    assert Rectangle(0, 0, 1, 10).inset(2) == Rectangle(0.5, 2, 0, 6)
