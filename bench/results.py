"""What a benchmark run produced, as values and as JSON."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One measured command: `round` counts from 1; seconds and bytes.

    `stored` is what the tool's repository holds after the run and `added` what the run put there (or sent), None where
    the workload does not ask. A run with `failure` has no figures that mean anything.
    """

    workload: str
    corpus: str
    tool: str
    round: int
    wall: float
    user: float
    system: float
    peak: int
    stored: int | None = None
    added: int | None = None
    failure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolFact:
    """A tool that took part: which version, and what has to be known to compare it."""

    name: str
    role: str
    version: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusFact:
    """A corpus that was measured on: size in bytes and a sentence about its origin."""

    name: str
    files: int
    size: int
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """Everything a report needs. `made` is a date in ISO form; `absent` names tools that were not found."""

    made: str
    scale: float
    rounds: int
    machine: dict[str, str]
    tools: tuple[ToolFact, ...] = ()
    absent: tuple[str, ...] = ()
    corpora: tuple[CorpusFact, ...] = ()
    runs: tuple[Run, ...] = field(default=())

    def workloads(self) -> list[str]:
        """The names of the workloads that have runs, in the order in which they were first run."""
        return list(dict.fromkeys(run.workload for run in self.runs))

    def values(self, workload: str, tool: str, take: Callable[[Run], float | None]) -> dict[int, float]:
        """Round → value of the successful runs of `tool` in `workload`, without those where `take` gives None."""
        taken = {
            run.round: take(run)
            for run in self.runs
            if run.workload == workload and run.tool == tool and not run.failure
        }
        return {number: value for number, value in taken.items() if value is not None}

    def names(self, *roles: str) -> list[str]:
        """The names of the tools with one of `roles`."""
        return [tool.name for tool in self.tools if tool.role in roles]

    def joined(self, older: Results) -> Results:
        """These results with those workloads of `older` that were not run again.

        ValueError where the two come from different machines, scales or versions: their figures do not belong together.
        """
        mine, theirs = dict(self.machine), dict(older.machine)
        if mine != theirs or self.scale != older.scale:
            raise ValueError("the older results come from another machine, file system or scale")
        versions = {tool.name: tool for tool in older.tools}
        changed = [tool.name for tool in self.tools if versions.get(tool.name, tool) != tool]
        if changed:
            raise ValueError(f"the older results come from other versions of: {', '.join(changed)}")
        done = set(self.workloads())
        corpora = {corpus.name: corpus for corpus in (*older.corpora, *self.corpora)}
        return replace(
            self,
            tools=tuple({**versions, **{tool.name: tool for tool in self.tools}}.values()),
            corpora=tuple(corpora.values()),
            runs=(*(run for run in older.runs if run.workload not in done), *self.runs),
        )


def save(results: Results, path: str) -> None:
    """Write `results` as JSON, replacing the file at once."""
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(path + ".new", "w", encoding="utf-8") as stream:
        json.dump({"schema": SCHEMA, **asdict(results)}, stream, indent=1)
        stream.write("\n")
    os.replace(path + ".new", path)


def load(path: str) -> Results:
    """The results stored in `path`; ValueError where it holds another schema."""
    with open(path, encoding="utf-8") as stream:
        stored: dict[str, Any] = json.load(stream)
    if stored.pop("schema", None) != SCHEMA:
        raise ValueError(f"{path} does not hold results of schema {SCHEMA}")
    return Results(
        made=stored["made"],
        scale=stored["scale"],
        rounds=stored["rounds"],
        machine=stored["machine"],
        tools=tuple(ToolFact(**fact) for fact in stored["tools"]),
        absent=tuple(stored["absent"]),
        corpora=tuple(CorpusFact(**fact) for fact in stored["corpora"]),
        runs=tuple(Run(**run) for run in stored["runs"]),
    )
