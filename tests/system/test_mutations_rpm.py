"""Seeded mutations of a root of rpm packages: every one is reported as what it is, and nothing else is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.system import rpmroots
from tests.system.rpmmutations import prepare_rpm_root, rpm_mutations
from tests.system.scoring import check

pytestmark = [pytest.mark.root, pytest.mark.slow]


@pytest.mark.skipif(os.getuid() != 0, reason="a root with owners of its own takes uid 0")
def test_all_at_once(tmp_path: Path) -> None:
    rpmroots.require_tools()
    root = os.fsencode(rpmroots.build_rpm_root(tmp_path / "built").path)
    prepare_rpm_root(root)
    mutations = rpm_mutations(root)
    assert len(mutations) >= 60
    check(root, os.fsencode(tmp_path), mutations)
