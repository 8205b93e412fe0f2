"""The comparison: `python -m bench.run` measures snapstore and every rival found, and prints and saves the result."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from bench import machine, report, rivals, trees, workloads
from bench import results as saved
from bench.results import Results, ToolFact
from bench.workloads import Bench, Workload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.results import Run

OUT = os.path.join(report.PROJECT, "bench", "out", "results.json")


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when every run succeeded, 1 when some tool failed, 2 for wrong arguments."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        selected = workloads.chosen(options.workload.split(",") if options.workload else None)
        tools, absent = rivals.installed(
            options.tools.split(",") if options.tools else None, rivals_dir=os.fsencode(options.rivals_dir)
        )
    except ValueError as error:
        parser.error(str(error))
    with ExitStack() as stack:
        work = _work(options.work, needed(selected, tools=len(tools), scale=options.scale), stack)
        print(f"working in {os.fsdecode(work)} ({machine.file_system(work)})", flush=True)
        facts = [ToolFact(name=tool.name, role=tool.role, version=tool.version(), note=tool.note) for tool in tools]
        results = Results(
            made=datetime.now(UTC).isoformat(timespec="seconds"),
            scale=options.scale,
            rounds=options.runs,
            machine=machine.facts(work),
            tools=tuple(facts),
            absent=tuple(absent),
        )
        older = saved.load(options.json) if options.keep and os.path.exists(options.json) else None
        if older is not None:
            results.joined(older)  # refuse before the work, not after it

        def show(run: Run) -> None:
            print(report.run_line(run, rounds=options.runs), flush=True)

        bench = Bench(
            work=work,
            tools=tools,
            rounds=options.runs,
            scale=options.scale,
            timeout=options.timeout,
            report=show,
            say=lambda text: print(text, flush=True),
            tree=os.fsencode(os.path.abspath(options.tree)) if options.tree else None,
        )
        stack.callback(bench.clear)
        for workload in selected:
            print(f"== {workload.name}: {workload.about}", flush=True)
            workload.go(bench)
            results = replace(results, runs=tuple(bench.runs), corpora=tuple(bench.measured.values()))
            saved.save(results if older is None else results.joined(older), options.json)
    if older is not None:
        results = results.joined(older)
    print()
    print(report.terminal(results), end="")
    if options.write_docs:
        report.write_docs(results)
    return 1 if any(run.failure for run in bench.runs) else 0


def needed(selected: Sequence[Workload], *, tools: int, scale: float) -> int:
    """About how many bytes the work directory has to hold at most.

    All corpora of the selection, and for the largest of them a restored copy, two copies by floors and a repository
    of a third of its size for each tool.
    """
    sizes = {workload.size for workload in selected}
    largest = max(sizes, default=0)
    return round((sum(sizes) + largest * (3 + tools / 3)) * scale)


def _work(chosen: str | None, room: int, stack: ExitStack) -> bytes:
    """The directory asked for, else a new one in memory or, for want of room, in TMPDIR that is removed at the end."""
    if chosen is not None:
        os.makedirs(chosen, exist_ok=True)
        return os.fsencode(os.path.abspath(chosen))
    memory = b"/dev/shm"
    parent = memory if os.path.isdir(memory) and machine.room(memory) >= room else os.fsencode(tempfile.gettempdir())
    work = tempfile.mkdtemp(prefix=b"snapstore-bench-", dir=parent)
    stack.callback(trees.remove, work)
    return work


def _parser() -> argparse.ArgumentParser:
    names = ", ".join(workload.name + ("" if workload.usual else "*") for workload in workloads.WORKLOADS)
    parser = argparse.ArgumentParser(
        prog="python -m bench.run",
        description="Measure snapstore and every rival found, as whole processes that take turns.",
        epilog=f"Workloads (* only when asked for): {names}. Also: all, million, growth, huge.",
    )
    parser.add_argument("--workload", metavar="A,B", help="the workloads to run")
    parser.add_argument("--tools", metavar="A,B", help="the tools to run; all that are found by default")
    parser.add_argument("--runs", type=_positive, default=5, help="rounds of each workload (default 5)")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="shrink every corpus by this factor, to try things out"
    )
    parser.add_argument("--work", metavar="DIR", help="keep corpora and logs here; a new directory by default")
    parser.add_argument("--tree", metavar="DIR", help="the real tree that many-small is a copy of")
    parser.add_argument("--timeout", type=float, default=1800.0, help="seconds that one run may take (default 1800)")
    parser.add_argument("--json", metavar="OUT", default=OUT, help="where to save the results")
    parser.add_argument("--keep", action="store_true", help="keep the other workloads' runs that OUT already holds")
    parser.add_argument("--write-docs", action="store_true", help="write docs/benchmarks.md and docs/benchmarks.svg")
    default = os.fsdecode(rivals.default_directory())
    parser.add_argument("--rivals-dir", metavar="DIR", default=default, help=f"more rivals in DIR/*/bin ({default})")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


if __name__ == "__main__":
    sys.exit(main())
