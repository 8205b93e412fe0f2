"""Costs of whole processes and their statistics."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

import pytest

from bench.measure import Command, interleaved, last_line, measure, paired_ratio, spread

if TYPE_CHECKING:
    from pathlib import Path

_PYTHON = os.fsencode(sys.executable)
_ENV = {"PATH": os.environ.get("PATH", os.defpath)}


def shell(script: str, *, discard: bool = False) -> Command:
    return Command(argv=(b"sh", b"-c", script.encode()), env=_ENV, discard=discard)


def log_in(directory: Path) -> bytes:
    return os.fsencode(directory / "log")


def test_wall_and_processor_time_are_those_of_the_command(tmp_path: Path) -> None:
    slept = measure(shell("sleep 0.3"), log=log_in(tmp_path), timeout=20)
    assert slept.failure == ""
    assert 0.3 <= slept.wall < 5
    assert slept.user + slept.system < 0.2

    busy = Command(argv=(_PYTHON, b"-c", b"import time\nwhile time.process_time() < 0.4: pass"), env=_ENV)
    worked = measure(busy, log=log_in(tmp_path), timeout=60)
    assert 0.35 < worked.user + worked.system <= worked.wall * 1.1


def test_peak_memory_is_that_of_the_largest_process_below(tmp_path: Path) -> None:
    # The large process is a grandchild, and its parent stays small.
    script = f"{sys.executable} -c 'x = b\"1\" * (150 << 20)'; true"
    assert measure(shell(script), log=log_in(tmp_path), timeout=60).peak > 150 << 20


def test_peak_memory_of_the_harness_does_not_show_in_the_figure(tmp_path: Path) -> None:
    ballast = b"1" * (200 << 20)
    cost = measure(shell("true"), log=log_in(tmp_path), timeout=20)
    assert len(ballast) > cost.peak
    assert cost.peak < 30 << 20


def test_output_and_errors_are_kept_in_the_log(tmp_path: Path) -> None:
    measure(shell("echo out; echo err >&2"), log=log_in(tmp_path), timeout=20)
    assert (tmp_path / "log").read_text() == "out\nerr\n"


def test_discarded_output_leaves_errors_in_the_log(tmp_path: Path) -> None:
    measure(shell("echo out; echo err >&2", discard=True), log=log_in(tmp_path), timeout=20)
    assert (tmp_path / "log").read_text() == "err\n"


@pytest.mark.parametrize(
    ("script", "failure"),
    [
        ("echo first; echo why >&2; exit 3", "exit 3: why"),
        ("kill -KILL $$", "killed by SIGKILL: "),
    ],
)
def test_failure_says_how_and_why(tmp_path: Path, script: str, failure: str) -> None:
    assert measure(shell(script), log=log_in(tmp_path), timeout=20).failure == failure


def test_command_that_does_not_exist_is_a_failure_without_its_directory(tmp_path: Path) -> None:
    command = Command(argv=(b"/nowhere/at/all",), env=_ENV)
    failure = measure(command, log=log_in(tmp_path), timeout=20).failure
    assert failure == "could not be started: all: No such file or directory"


def test_timeout_kills_the_command_and_what_it_started(tmp_path: Path) -> None:
    started = time.monotonic()
    script = f"sleep 60 & echo $! > {tmp_path}/pid; wait"
    cost = measure(shell(script), log=log_in(tmp_path), timeout=0.7)
    assert cost.failure == "timed out after 0.7 s"
    assert time.monotonic() - started < 20
    pid = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 10
    while running(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not running(pid)


def running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as stream:
            return stream.read().rpartition(") ")[2][0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_environment_and_directory_are_those_of_the_command(tmp_path: Path) -> None:
    command = Command(argv=(b"sh", b"-c", b'echo "$WORD $PWD ${HOME-unset}"'), env={**_ENV, "WORD": "x"}, cwd=b"/usr")
    measure(command, log=log_in(tmp_path), timeout=20)
    assert (tmp_path / "log").read_text() == "x /usr unset\n"


def test_interleaved_takes_turns() -> None:
    assert list(interleaved("AB", rounds=2)) == [(1, "A"), (1, "B"), (2, "A"), (2, "B")]


def test_spread_is_median_least_and_greatest() -> None:
    result = spread([5.0, 1.0, 3.0, 100.0])
    assert (result.median, result.low, result.high, result.count) == (4.0, 1.0, 100.0, 4)
    with pytest.raises(ValueError, match="no values"):
        spread([])


def test_paired_ratio_divides_within_rounds() -> None:
    # The second round was ten times slower for both: the ratio of medians would say something else.
    above, below = {1: 2.0, 2: 40.0, 3: 3.0}, {1: 1.0, 2: 10.0, 3: 1.0}
    assert paired_ratio(above, below) == 3.0
    assert paired_ratio({1: 1.0}, {2: 1.0}) is None
    assert paired_ratio({1: 1.0}, {1: 0.0}) is None


def test_last_line_of_a_log_skips_blank_ones(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"a\n" * 5000 + b"the end\n\n  \n")
    assert last_line(log_in(tmp_path)) == "the end"
    assert last_line(os.fsencode(tmp_path / "absent")) == ""
