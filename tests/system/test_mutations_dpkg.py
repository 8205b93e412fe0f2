"""Seeded mutations of Debian roots: every one is reported as what it is, and nothing else is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.system import roots
from tests.system.dpkgmutations import dpkg_mutations, referenced_mutations
from tests.system.scoring import check
from tests.system.seen import audit, score

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(1200)]


def test_all_at_once_on_bookworm(bookworm: bytes, tmp_path: Path) -> None:
    mutations = dpkg_mutations(bookworm)
    assert len(mutations) >= 60
    assert len({mutation.name for mutation in mutations}) == len(mutations)
    check(bookworm, os.fsencode(tmp_path), mutations)


def test_all_at_once_on_trixie(whole: None, trixie: bytes, tmp_path: Path) -> None:
    check(trixie, os.fsencode(tmp_path), dpkg_mutations(trixie))


def test_what_only_package_files_know(bookworm: bytes, tmp_path: Path) -> None:
    mutations = (*dpkg_mutations(bookworm), *referenced_mutations())
    check(bookworm, os.fsencode(tmp_path), mutations, reference=roots.archives_of(bookworm))


def test_one_by_one(whole: None, bookworm: bytes, tmp_path: Path) -> None:
    """No mutation is found only because of another."""
    base = os.fsencode(tmp_path)
    home = os.path.join(base, b"home")
    os.mkdir(home)
    wrong = {}
    for number, mutation in enumerate(dpkg_mutations(bookworm)):
        with roots.copy_of(bookworm, os.path.join(base, b"%d" % number), overlay=True) as copy:
            before = audit(copy, home)
            mutation.make(copy)
            verdict = score(before, audit(copy, home), [mutation])
            if verdict.missed or verdict.wrong:
                wrong[mutation.name] = dict(verdict.missed), verdict.wrong
    assert wrong == {}


def test_the_score_sees_what_is_missing_and_what_is_wrong(bookworm: bytes, tmp_path: Path) -> None:
    """A mutation that was not made is missed, and one that was not announced is wrong."""
    home = os.fsencode(tmp_path / "home")
    os.mkdir(home)
    first, second = dpkg_mutations(bookworm)[:2]
    with roots.copy_of(bookworm, os.fsencode(tmp_path / "copy"), overlay=True) as copy:
        before = audit(copy, home)
        first.make(copy)
        verdict = score(before, audit(copy, home), [second])
    assert (verdict.precision, verdict.recall) == (0.0, 0.0)
    assert set(verdict.missed) == set(second.expected)
    assert len(verdict.wrong) == len(first.expected)
