from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapstore.backends.names import ancestors, check_name, check_prefix, is_name, parent
from snapstore.errors import StoreError

COMPONENT = st.from_regex(r"[a-z0-9_-][a-z0-9._-]{0,20}", fullmatch=True)
NAMES = st.lists(COMPONENT, min_size=1, max_size=4).map("/".join)


@given(NAMES)
def test_names_are_accepted_and_come_back(name: str) -> None:
    assert check_name(name) is name
    assert is_name(name)


@given(st.text())
def test_whatever_is_accepted_keeps_every_rule(text: str) -> None:
    if is_name(text):
        assert 1 <= len(text) <= 200
        assert text.isascii()
        assert text == text.lower()
        components = text.split("/")
        assert len(components) <= 4
        assert all(each and not each.startswith(".") for each in components)
        assert set(text) <= set("abcdefghijklmnopqrstuvwxyz0123456789._-/")


@pytest.mark.parametrize("length", [200, 201])
def test_the_longest_name(length: int) -> None:
    assert is_name("x" * length) == (length == 200)


@pytest.mark.parametrize(
    "name", ["", "a/b/c/d/e", "a\n", "\na", "a/", "/a", "..", "a/./b", "\u017f", "\u212a", "A", "a\0"]
)
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(StoreError, match="not an object name"):
        check_name(name)


@given(NAMES)
def test_a_prefix_is_where_a_name_may_lie_below(name: str) -> None:
    assert check_prefix(parent(name)) == parent(name)
    assert name.startswith(parent(name))
    assert "/" not in name.removeprefix(parent(name))


@pytest.mark.parametrize("prefix", ["a", "/", "a//", "a/b/c/d/", "a/../", " /"])
def test_prefixes_that_are_none(prefix: str) -> None:
    with pytest.raises(StoreError, match="not an object prefix"):
        check_prefix(prefix)


def test_ancestors_from_the_outermost() -> None:
    assert ancestors("") == []
    assert ancestors("a/") == [""]
    assert ancestors("a/b/c/") == ["", "a/", "a/b/"]
