"""What is measured: each workload runs its tools in turn, every one from the same state, and records each run.

A tool that fails is recorded with the reason and takes no further part in that workload.
"""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench import corpora, trees
from bench.machine import file_system
from bench.measure import Command, Cost, interleaved, measure
from bench.results import CorpusFact, Run
from bench.rivals import Job, Place, Role, Tool

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.corpora import Corpus

SETTLE = 3.0
"""Seconds that files are left alone before a snapshot: tools distrust what changed within the clock's coarsest tick."""
_STATE = (b"tmp", b"cache", b"config", b"data", b"state")


@dataclass(slots=True, kw_only=True)
class Bench:
    """The state of one benchmark run: where it works, with which tools, and what it has recorded.

    `report` is called with every run as it is recorded, `say` with what is being done that is not measured.
    """

    work: bytes
    tools: Sequence[Tool]
    rounds: int
    scale: float
    timeout: float
    report: Callable[[Run], None]
    say: Callable[[str], None]
    tree: bytes | None = None
    settle: float = SETTLE
    runs: list[Run] = field(default_factory=list)
    measured: dict[str, CorpusFact] = field(default_factory=dict)
    _made: dict[str, int] = field(default_factory=dict)
    _made_for: str = ""

    @property
    def base(self) -> bytes:
        """The directory of the corpora."""
        return os.path.join(self.work, b"corpora")

    def taking_part(self, job: Job) -> list[Tool]:
        """The tools that can do `job`."""
        return [tool for tool in self.tools if job in tool.jobs]

    def use(self, corpus: Corpus) -> Corpus:
        """Note that `corpus` is measured on; what tools had stored of another one is removed to make room.

        A corpus that is new here settles first: every tool must be able to trust the times of all its files.
        """
        if self._made_for != corpus.name:
            self.clear()
            self._made_for = corpus.name
            time.sleep(self.settle)
        self.measured[corpus.name] = CorpusFact(
            name=corpus.name, files=corpus.files, size=corpus.size, source=corpus.source
        )
        return corpus

    def clear(self) -> None:
        """Remove everything that tools have stored; corpora stay."""
        trees.remove(os.path.join(self.work, b"places"))
        trees.remove(os.path.join(self.work, b"restored"))
        self._made.clear()
        self._made_for = ""

    def place(self, tool: Tool) -> Place:
        """Where `tool` keeps its repository and state."""
        top = os.path.join(self.work, b"places", _plain(tool.name))
        return Place(os.path.join(top, b"repo"), os.path.join(top, b"state"))

    def fresh(self, tool: Tool) -> str:
        """Empty the place of `tool` and make a new repository there; empty, or why that failed."""
        place = self.place(tool)
        trees.remove(os.path.dirname(place.repo))
        for directory in _STATE:
            os.makedirs(os.path.join(place.state, directory), mode=0o700)
        self._made.pop(tool.name, None)
        os.makedirs(place.repo)
        for command in tool.init(place):
            cost = self.run(command, tool, "init")
            if cost.failure:
                return f"init: {cost.failure}"
        return ""

    def made(self, tool: Tool, corpus: Corpus) -> str:
        """Make sure that `tool` holds a first snapshot of `corpus`; empty, or why there is none."""
        if tool.name in self._made or (tool.role is Role.FLOOR and not tool.lasting):
            os.makedirs(self.place(tool).repo, exist_ok=True)
            for directory in _STATE:
                os.makedirs(os.path.join(self.place(tool).state, directory), exist_ok=True)
            return ""
        self.say(f"preparing: {tool.name} stores {corpus.name}")
        failure = self.fresh(tool)
        if failure:
            return failure
        cost = self.run(tool.snapshot(self.place(tool), corpus.path, number=1), tool, "prepare")
        if not cost.failure:
            self._made[tool.name] = 1
        return cost.failure

    def log(self, tool: Tool, step: str) -> bytes:
        """The file that collects the output of `tool` in `step`."""
        directory = os.path.join(self.work, b"logs")
        os.makedirs(directory, exist_ok=True)
        return os.path.join(directory, _plain(f"{step}-{tool.name}") + b".log")

    def run(self, command: Command, tool: Tool, step: str) -> Cost:
        """The cost of one command, with nothing of an earlier one left to be written to disk."""
        if file_system(self.work) != "tmpfs":
            os.sync()
        return measure(command, log=self.log(tool, step), timeout=self.timeout)

    def record(
        self,
        step: tuple[str, str, Tool, int],
        cost: Cost,
        *,
        stored: int | None = None,
        added: int | None = None,
        failure: str = "",
    ) -> bool:
        """Keep a run of step (workload, corpus, tool, round) and report it; whether it succeeded."""
        workload, corpus, tool, number = step
        run = Run(
            workload=workload,
            corpus=corpus,
            tool=tool.name,
            round=number,
            wall=cost.wall,
            user=cost.user,
            system=cost.system,
            peak=cost.peak,
            stored=stored,
            added=added,
            failure=cost.failure or failure,
        )
        self.runs.append(run)
        self.report(run)
        return not run.failure

    def first(self, workload: str, corpus: Corpus, job: Job) -> None:
        """Measure the first snapshot of `corpus` into a new repository, and what is stored afterwards."""
        self.use(corpus)
        failed: set[str] = set()
        for number, tool in interleaved(self.taking_part(job), rounds=self.rounds):
            if tool.name in failed:
                continue
            place, step = self.place(tool), (workload, corpus.name, tool, number)
            failure = self.fresh(tool)
            cost = _unrun(failure) if failure else self.run(tool.snapshot(place, corpus.path, number=1), tool, workload)
            stored = None if cost.failure else trees.count(place.repo)[1]
            if not self.record(step, cost, stored=stored):
                failed.add(tool.name)
            elif tool.lasting and job is Job.TREE:
                self._made[tool.name] = 1
            if tool.name not in self._made:
                trees.remove(os.path.dirname(place.repo))

    def again(self, workload: str, corpus: Corpus, *, edits: bool) -> None:
        """Measure another snapshot of `corpus`, unchanged or with ten files edited before each round."""
        self.use(corpus)
        editor = corpora.Editor(corpus, rounds=self.rounds) if edits else None
        tools = self._prepared(workload, corpus, self.taking_part(Job.AGAIN))
        try:
            for number in range(1, self.rounds + 1):
                if editor is not None:
                    editor.edit(number)
                    time.sleep(self.settle)
                for tool in list(tools):
                    self._made[tool.name] = self._made.get(tool.name, 0) + 1
                    place = self.place(tool)
                    before = trees.count(place.repo)[1]
                    command = tool.snapshot(place, corpus.path, number=self._made[tool.name])
                    cost = self.run(command, tool, workload)
                    after = trees.count(place.repo)[1]
                    added = after - before if tool.role is not Role.FLOOR else None
                    stored = after if tool.role is not Role.FLOOR else None
                    if not self.record((workload, corpus.name, tool, number), cost, stored=stored, added=added):
                        tools.remove(tool)
        finally:
            if editor is not None:
                editor.undo()
                # The newest snapshots hold edited files now; what follows starts from the corpus as it was.
                self.clear()

    def restore(self, workload: str, corpus: Corpus) -> None:
        """Measure restoring `corpus` into an empty directory; a tree with missing files or bytes is a failure."""
        self.use(corpus)
        tools = self._prepared(workload, corpus, self.taking_part(Job.RESTORE))
        target = os.path.join(self.work, b"restored")
        failed: set[str] = set()
        for number, tool in interleaved(tools, rounds=self.rounds):
            if tool.name in failed:
                continue
            trees.remove(target)
            os.mkdir(target)
            command = tool.restore(self.place(tool), corpus.path, target, number=self._made.get(tool.name, 1))
            cost = self.run(command, tool, workload)
            wrong = ""
            if not cost.failure:
                files, size = trees.count(target)
                if (files, size) != (corpus.files, corpus.size):
                    wrong = f"restored {files} files, {size} bytes instead of {corpus.files} files, {corpus.size} bytes"
            if not self.record((workload, corpus.name, tool, number), cost, failure=wrong):
                failed.add(tool.name)
        trees.remove(target)

    def second_version(self, workload: str, corpus: Corpus) -> None:
        """Measure the snapshot of the second version of a file, and the bytes it adds or sends."""
        self.use(corpus)
        live = os.path.join(self.work, b"live")
        os.makedirs(live, exist_ok=True)
        path = os.path.join(live, b"dump.sql")
        failed: set[str] = set()
        for number, tool in interleaved(self.taking_part(Job.EDITS), rounds=self.rounds):
            if tool.name in failed:
                continue
            place, step = self.place(tool), (workload, corpus.name, tool, number)
            shutil.copyfile(os.path.join(corpus.path, b"v1.sql"), path)
            failure = self.fresh(tool)
            if not failure:
                failure = self.run(tool.snapshot(place, path, number=1), tool, "prepare").failure
            if failure:
                cost, added = _unrun(failure), None
            else:
                before = trees.count(place.repo)[1]
                shutil.copyfile(os.path.join(corpus.path, b"v2.sql"), path)
                cost = self.run(tool.snapshot(place, path, number=2), tool, workload)
                sent = None if cost.failure else tool.sent(self.log(tool, workload))
                added = trees.count(place.repo)[1] - before if sent is None else sent
            if not self.record(step, cost, added=None if cost.failure else added):
                failed.add(tool.name)
            trees.remove(os.path.dirname(place.repo))
        trees.remove(live)

    def help_startup(self, workload: str) -> None:
        """Measure how long each tool takes to print its help."""
        failed: set[str] = set()
        for number, tool in interleaved(self.taking_part(Job.HELP), rounds=self.rounds):
            if tool.name not in failed:
                place = self.place(tool)
                for directory in _STATE:
                    os.makedirs(os.path.join(place.state, directory), exist_ok=True)
                cost = self.run(tool.help(place), tool, workload)
                if not self.record((workload, "", tool, number), cost):
                    failed.add(tool.name)

    def _prepared(self, workload: str, corpus: Corpus, tools: Sequence[Tool]) -> list[Tool]:
        """Those of `tools` that hold a first snapshot; the others are recorded as failed."""
        ready: list[Tool] = []
        for tool in tools:
            failure = self.made(tool, corpus)
            if failure:
                self.record((workload, corpus.name, tool, 1), _unrun(failure))
            else:
                ready.append(tool)
        return ready


@dataclass(frozen=True, slots=True)
class Workload:
    """A name to ask for, what it measures in a sentence, and how; `usual` ones run unless others are named.

    `size` is about how many bytes its corpus has at scale 1.
    """

    name: str
    about: str
    go: Callable[[Bench], None]
    usual: bool = True
    size: int = 2_700_000_000


def _many(bench: Bench) -> Corpus:
    return corpora.many_small(bench.base, scale=bench.scale, tree=bench.tree)


def _tiny(bench: Bench, files: int) -> Corpus:
    return corpora.tiny_files(bench.base, files=max(100, round(files * bench.scale)))


WORKLOADS: tuple[Workload, ...] = (
    Workload("help-startup", "the tool prints its help", lambda b: b.help_startup("help-startup"), size=0),
    Workload("first", "first snapshot of many small files", lambda b: b.first("first", _many(b), Job.TREE)),
    Workload("unchanged", "second snapshot, nothing changed", lambda b: b.again("unchanged", _many(b), edits=False)),
    Workload("restore", "restore into an empty directory", lambda b: b.restore("restore", _many(b))),
    Workload("small-change", "ten files edited", lambda b: b.again("small-change", _many(b), edits=True)),
    Workload(
        "large-first",
        "first snapshot of one large file",
        lambda b: b.first("large-first", corpora.one_large(b.base, scale=b.scale), Job.FILE),
    ),
    Workload(
        "dump-second-version",
        "a dump with scattered edits, second version",
        lambda b: b.second_version("dump-second-version", corpora.dump_with_edits(b.base, scale=b.scale)),
        size=500_000_000,
    ),
    Workload(
        "growth-10k",
        "ten of 10 thousand tiny files edited",
        lambda b: b.again("growth-10k", _tiny(b, 10_000), edits=True),
        usual=False,
        size=50_000_000,
    ),
    Workload(
        "growth-100k",
        "ten of 100 thousand tiny files edited",
        lambda b: b.again("growth-100k", _tiny(b, 100_000), edits=True),
        usual=False,
        size=500_000_000,
    ),
    Workload(
        "million-first",
        "first snapshot of a million tiny files",
        lambda b: b.first("million-first", _tiny(b, 1_000_000), Job.TREE),
        usual=False,
        size=4_100_000_000,
    ),
    Workload(
        "million-unchanged",
        "a million tiny files, nothing changed",
        lambda b: b.again("million-unchanged", _tiny(b, 1_000_000), edits=False),
        usual=False,
        size=4_100_000_000,
    ),
    Workload(
        "million-small-change",
        "ten of a million tiny files edited",
        lambda b: b.again("million-small-change", _tiny(b, 1_000_000), edits=True),
        usual=False,
        size=4_100_000_000,
    ),
    Workload(
        "huge-first",
        "first snapshot of one 10 GB file",
        lambda b: b.first("huge-first", corpora.one_huge(b.base, scale=b.scale), Job.FILE),
        usual=False,
        size=10_000_000_000,
    ),
)


def chosen(names: Sequence[str] | None) -> list[Workload]:
    """The workloads that `names` asks for, in the order of `WORKLOADS`; the usual ones where it is None.

    `all` means every one, and `million`, `growth` and `huge` all those whose names begin so. ValueError for others.
    """
    if names is None:
        return [workload for workload in WORKLOADS if workload.usual]
    picked: set[str] = set()
    for name in names:
        matching = [
            workload.name for workload in WORKLOADS if name in {"all", workload.name, workload.name.partition("-")[0]}
        ]
        if not matching:
            known = ", ".join(workload.name for workload in WORKLOADS)
            raise ValueError(f"no workload named {name}; there are: {known}, and all, million, growth, huge")
        picked.update(matching)
    return [workload for workload in WORKLOADS if workload.name in picked]


def _unrun(failure: str) -> Cost:
    return Cost(wall=0.0, user=0.0, system=0.0, peak=0, failure=failure)


def _plain(name: str) -> bytes:
    """The name with nothing in it that a path or a shell would mind."""
    return "".join(letter if letter.isalnum() else "-" for letter in name).encode()
