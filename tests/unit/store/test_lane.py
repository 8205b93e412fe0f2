"""Lanes: which one a run takes, and what happens when there are no more."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from snapstore.errors import RequestError
from snapstore.store import lane
from snapstore.store.lane import Lane


def test_runs_at_the_same_time_take_different_lanes_until_there_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane, "_LANES", 3)
    directory = os.fsencode(tmp_path)
    with ExitStack() as held:
        writers = {held.enter_context(Lane(directory)).writer for _ in range(3)}
        assert len(writers) == 3
        with pytest.raises(RequestError, match="3 snapshots run at once from this account"):
            Lane(directory)
    with Lane(directory) as free:
        assert free.sequence == 0
