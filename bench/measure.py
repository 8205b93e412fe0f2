"""What one command costs as a whole process, and the statistics of several such runs."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_Item = TypeVar("_Item")
_LAUNCHER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "launch.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A program with its arguments, its whole environment and its working directory.

    `discard` sends standard output to /dev/null, for commands whose output is the work and not a report.
    """

    argv: tuple[bytes, ...]
    env: Mapping[str, str]
    cwd: bytes = b"/"
    discard: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Seconds of wall clock, user and system time, and peak resident bytes of the largest process of the tree.

    `failure` is empty for a run that ended with exit status 0 and says what happened for every other one.
    """

    wall: float
    user: float
    system: float
    peak: int
    failure: str


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some values, the least and greatest of them, and how many there were."""

    median: float
    low: float
    high: float
    count: int


def measure(command: Command, *, log: bytes, timeout: float) -> Cost:
    """The cost of running `command` to its end; its output is appended to the file `log`.

    The processes get a session of their own and are all killed after `timeout` seconds, or when the caller is
    interrupted. A command that cannot be started, fails or takes too long is a value with `failure` set.
    """
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as pipe:
        try:
            launcher = subprocess.Popen(
                [
                    *(sys.executable, "-I", "-S", _LAUNCHER),
                    *(str(writer), b"/dev/null" if command.discard else log, log),
                    *command.argv,
                ],
                env=dict(command.env),
                cwd=command.cwd,
                pass_fds=(writer,),
                start_new_session=True,
            )
        finally:
            os.close(writer)
        try:
            launcher.wait(timeout)
        except subprocess.TimeoutExpired:
            _kill(launcher)
            return _failed(f"timed out after {timeout:g} s")
        except BaseException:
            _kill(launcher)
            raise
        report = os.fsdecode(pipe.read()).strip()
    if not report or report.startswith("!"):
        return _failed(f"could not be started: {report.removeprefix('!').strip() or 'no report'}")
    wall, user, system, peak, status = report.split()
    code = os.waitstatus_to_exitcode(int(status))
    return Cost(
        wall=int(wall) / 1e9,
        user=float(user),
        system=float(system),
        peak=int(peak) * 1024,
        failure="" if code == 0 else f"{_outcome(code)}: {last_line(log)}",
    )


def interleaved(items: Sequence[_Item], *, rounds: int) -> Iterator[tuple[int, _Item]]:
    """Pairs (round, item) in the order A B C A B C …, rounds counted from 1.

    Drift of the machine (heat, neighbours, page cache) then falls on all items alike.
    """
    for number in range(1, rounds + 1):
        for item in items:
            yield number, item


def spread(values: Iterable[float]) -> Spread:
    """Median, least, greatest and number of `values`; ValueError where there are none."""
    ordered = sorted(values)
    if not ordered:
        raise ValueError("no values to take the median of")
    return Spread(statistics.median(ordered), ordered[0], ordered[-1], len(ordered))


def paired_ratio(above: Mapping[int, float], below: Mapping[int, float]) -> float | None:
    """The median over the rounds that both have of above ÷ below; None where they share no round.

    Both map a round to a value. Dividing within a round first keeps a slow minute of the machine out of the ratio.
    """
    ratios = [above[number] / below[number] for number in above.keys() & below.keys() if below[number] > 0]
    return statistics.median(ratios) if ratios else None


def last_line(log: bytes) -> str:
    """The last line of the file `log` that is not blank, at most 200 characters; empty where there is none."""
    try:
        with open(log, "rb") as stream:
            stream.seek(max(0, os.path.getsize(log) - 4096))
            lines = stream.read().decode("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return ""
    return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "")


def _outcome(code: int) -> str:
    return f"exit {code}" if code > 0 else f"killed by {signal.Signals(-code).name}"


def _failed(reason: str) -> Cost:
    return Cost(wall=0.0, user=0.0, system=0.0, peak=0, failure=reason)


def _kill(launcher: subprocess.Popen[bytes]) -> None:
    """End the launcher and everything in its session's first process group, and reap it."""
    os.killpg(launcher.pid, signal.SIGKILL)
    launcher.wait()
