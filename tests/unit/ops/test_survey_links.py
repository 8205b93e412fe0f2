"""Owned paths lie where links lead, and links change without any database changing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from snapstore.flow import Cancellation
from snapstore.ops.audit import Audit, audit_system
from snapstore.ops.inspection import SystemOptions
from snapstore.ops.progress import Silent
from snapstore.ops.survey import Survey
from tests.tinysystem import TinySystem, tiny_system


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TinySystem:
    real = Survey.run

    def settled(self: Survey) -> object:
        self.settled += 1 << 50
        return real(self)

    monkeypatch.setattr(Survey, "run", settled)
    made = tiny_system(tmp_path)
    made.write("/data/one/bin/x", b"as packaged")
    made.write("/data/two/bin/x", b"altered")
    os.mkdir(made.path("/opt"), 0o755)
    os.symlink("../data/one", made.path("/opt/app"))
    made.install("app", "1-1", {"/opt": None, "/opt/app/bin/x": b"as packaged"})
    return made


def audited(system: TinySystem, cache: Path) -> Audit:
    cache.mkdir(exist_ok=True)
    return audit_system(
        SystemOptions(root=os.fsencode(system.root)), cache=os.fsencode(cache), own=frozenset(), progress=Silent(),
        cancellation=Cancellation(),
    )  # fmt: skip


def told(audit: Audit) -> dict[bytes, tuple[str, tuple[str, ...]]]:
    return {row.path: (row.cls.value, row.changes) for row in audit.files if b"x" in row.path.split(b"/")}


def test_a_link_that_leads_elsewhere_moves_what_is_owned(system: TinySystem, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert told(audited(system, cache)) == {}
    os.unlink(system.path("/opt/app"))
    os.symlink("../data/two", system.path("/opt/app"))
    again = audited(system, cache)
    assert told(again) == {b"/data/two/bin/x": ("changed", ("content",))}
    assert again.files == audited(system, tmp_path / "other").files
    os.unlink(system.path("/opt/app"))
    assert told(audited(system, cache)) == {b"/opt/app/bin/x": ("missing", ())}


def test_a_directory_that_becomes_a_link_and_back(system: TinySystem, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    place = system.path("/opt/app")
    os.unlink(place)
    shutil.copytree(system.root / "data/one", system.root / "opt/app")
    first = audited(system, cache)
    assert told(first) == {}
    os.rename(place, place + b"-")
    os.symlink("../data/two", place)
    linked = audited(system, cache)
    assert told(linked)[b"/data/two/bin/x"] == ("changed", ("content",))
    assert linked.files == audited(system, tmp_path / "other").files
    os.unlink(place)
    os.rename(place + b"-", place)
    assert audited(system, cache).files == first.files
