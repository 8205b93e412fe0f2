"""Seeded mutations of a root of pacman's packages: every one is reported as what it is, and nothing else is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.system import pacmanroots
from tests.system.pacmanmutations import pacman_mutations, prepare_pacman_root
from tests.system.scoring import check

pytestmark = [pytest.mark.root, pytest.mark.slow]


def test_all_at_once(tmp_path: Path) -> None:
    pacmanroots.require_tools()
    root = pacmanroots.build_pacman_root(os.fsencode(tmp_path / "built")).path
    prepare_pacman_root(root)
    mutations = pacman_mutations(root)
    assert len(mutations) >= 60
    check(root, os.fsencode(tmp_path), mutations)
