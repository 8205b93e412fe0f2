"""The figures to reach, each with what was got; every time ratio is the median of ratios taken within one round."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.measure import paired_ratio

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.results import Results, Run

OWN = "snapstore"
_MAIN = ("restic", "borg")
_MB = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One figure: `got` is None where it was not measured; `at_least` says which side of `limit` is wanted.

    `against` names the tool that it was compared with, where there was a choice or a formula.
    """

    label: str
    limit: float
    at_least: bool
    unit: str
    got: float | None
    against: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the figure was reached; None where it was not measured."""
        if self.got is None:
            return None
        return self.got >= self.limit if self.at_least else self.got <= self.limit

    @property
    def wanted(self) -> str:
        """The target as a person writes it."""
        return f"{'≥' if self.at_least else '≤'} {self.limit:g}{self.unit}"

    @property
    def shown(self) -> str:
        """What was got as a person writes it."""
        if self.got is None:
            return "not measured"
        places = 3 if self.got < 0.1 else 2 if self.got < 100 else 0
        return f"{self.got:.{places}f}{self.unit}" + (f" ({self.against})" if self.against else "")


def wall(run: Run) -> float | None:
    """Seconds of wall clock."""
    return run.wall


def stored(run: Run) -> float | None:
    """Bytes in the repository."""
    return run.stored


def added(run: Run) -> float | None:
    """Bytes that the run added or sent."""
    return run.added


def best(results: Results, workload: str, names: list[str], take: Callable[[Run], float | None]) -> str | None:
    """The one of `names` with the smallest median of `take` in `workload`; None where none of them succeeded."""
    medians = {
        name: statistics.median(values.values()) for name in names if (values := results.values(workload, name, take))
    }
    return min(medians, key=medians.__getitem__, default=None)


def evaluate(results: Results) -> list[Target]:
    """Every target with what `results` say about it."""
    peers = results.names("peer")
    main = [name for name in peers if name in _MAIN]
    rows: list[Target] = []

    def faster(label: str, workload: str, names: list[str], limit: float) -> None:
        rival = best(results, workload, names, wall)
        got = None if rival is None else _ratio(results, workload, (rival, OWN), wall)
        rows.append(Target(label=label, limit=limit, at_least=True, unit="x", got=got, against=rival or ""))

    def at_most(
        label: str, workload: str, other: str | None, limit: float, take: Callable[[Run], float | None]
    ) -> None:
        got = None if other is None else _ratio(results, workload, (OWN, other), take)
        rows.append(Target(label=label, limit=limit, at_least=False, unit="x", got=got, against=other or ""))

    faster("first snapshot of many files: faster than the faster of restic and borg", "first", main, 4)
    faster("the same, fastest of all peers", "first", peers, 4)
    at_most("first snapshot of a large file: time of zstd -3 -T2", "large-first", "zstd", 1, wall)
    faster("the same: faster than borg", "large-first", ["borg"], 2.5)
    faster("unchanged snapshot: faster than the faster of restic and borg", "unchanged", main, 8)
    faster("the same, fastest of all peers", "unchanged", peers, 8)
    rows.append(
        Target(
            label="unchanged snapshot: time beyond start-up (--help), against find -printf",
            limit=2,
            at_least=False,
            unit="x",
            got=_beyond_startup(results),
            against="find",
        )
    )
    smallest = best(results, "first", main, stored)
    at_most("stored size: of the smaller of restic and borg", "first", smallest, 0.85, stored)
    at_most("the same, smallest of all peers", "first", best(results, "first", peers, stored), 0.85, stored)
    faster("restore of many files: faster than the faster of restic and borg", "restore", main, 3)
    faster("the same, fastest of all peers", "restore", peers, 3)
    at_most("restore of many files: time of cp -a", "restore", "cp -a", 1, wall)
    at_most("dump, second version: bytes of rsync -z", "dump-second-version", "rsync -z", 0.1, added)
    at_most("the same: bytes of zstd --patch-from", "dump-second-version", "zstd --patch-from", 1.5, added)
    rows.append(
        _memory("peak memory, many small files", results, ("first", "unchanged", "small-change", "restore"), 200)
    )
    million = ("million-first", "million-unchanged", "million-small-change")
    rows.append(_memory("peak memory, a million files", results, million, 400))
    rows.append(_memory("peak memory, one 10 GB file", results, ("huge-first",), 200))
    rows.append(_flat(results))
    startup = results.values("help-startup", OWN, wall)
    got = statistics.median(startup.values()) * 1000 if startup else None
    rows.append(Target(label="snapstore --help", limit=150, at_least=False, unit=" ms", got=got))
    return rows


def _ratio(
    results: Results, workload: str, tools: tuple[str, str], take: Callable[[Run], float | None]
) -> float | None:
    above, below = tools
    return paired_ratio(results.values(workload, above, take), results.values(workload, below, take))


def _beyond_startup(results: Results) -> float | None:
    """(snapstore - its start-up) ÷ find, per round; start-up is the median time of `--help`."""
    startup = results.values("help-startup", OWN, wall)
    if not startup:
        return None
    base = statistics.median(startup.values())
    own = {number: max(0.0, value - base) for number, value in results.values("unchanged", OWN, wall).items()}
    return paired_ratio(own, results.values("unchanged", "find", wall))


def _peak(results: Results, workloads: tuple[str, ...]) -> float | None:
    """The greatest peak of any run of the workloads, bytes."""
    peaks = [value for workload in workloads for value in results.values(workload, OWN, lambda run: run.peak).values()]
    return max(peaks, default=None)


def _memory(label: str, results: Results, workloads: tuple[str, ...], limit: float) -> Target:
    peak = _peak(results, workloads)
    return Target(label=label, limit=limit, at_least=False, unit=" MB", got=None if peak is None else peak / _MB)


def _flat(results: Results) -> Target:
    """How much more memory a file takes that is 4.5 times as large."""
    large, huge = _peak(results, ("large-first",)), _peak(results, ("huge-first",))
    got = huge / large if large and huge else None
    return Target(
        label="peak memory: one 10 GB file against one 2 GB file", limit=1.2, at_least=False, unit="x", got=got
    )
