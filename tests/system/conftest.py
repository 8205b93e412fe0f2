"""Finished roots, and whether the whole of the system tests was asked for."""

from __future__ import annotations

import os

import pytest

from tests.system import roots

WHOLE = "SNAPSTORE_SYSTEM_TESTS"
"""Set to `whole` for the tests that take minutes; `make test-system` does."""


@pytest.fixture
def whole() -> None:
    """Skips the test unless everything was asked for."""
    if os.environ.get(WHOLE) != "whole":
        pytest.skip("takes minutes: `make test-system` runs it")


@pytest.fixture(scope="session")
def bookworm() -> bytes:
    """The finished root of Debian 12, not to be changed."""
    return roots.finished(roots.BOOKWORM)


@pytest.fixture(scope="session")
def trixie() -> bytes:
    """The finished root of Debian 13, not to be changed."""
    return roots.finished(roots.TRIXIE)
