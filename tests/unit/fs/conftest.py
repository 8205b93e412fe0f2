"""A directory for odd files, which is made removable again afterwards."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.oddities import unbuild

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def base(tmp_path: Path) -> Iterator[bytes]:
    path = os.fsencode(tmp_path)
    yield path
    for name in os.listdir(path):
        unbuild(os.path.join(path, name))
