"""Benchmark results for people: tables for a terminal and the page `docs/benchmarks.md` with its chart.

`python -m bench.report RESULTS.json [--write-docs]` shows results that were saved earlier.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
from typing import TYPE_CHECKING

from bench import chart
from bench import results as saved
from bench.chart import megabytes, seconds
from bench.measure import paired_ratio, spread
from bench.targets import OWN, evaluate, wall
from bench.workloads import WORKLOADS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.results import Results, Run

PROJECT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PAGE = os.path.join(PROJECT, "docs", "benchmarks.md")
PICTURE = os.path.join(PROJECT, "docs", "benchmarks.svg")
_BEGIN, _END = "<!-- remarks: begin -->", "<!-- remarks: end -->"
_MEANING = {True: "yes", False: "**no**", None: "-"}
_HEADINGS = ("tool", "time (least to most)", "of snapstore's time", "user", "system", "peak memory", "stored", "added")

Table = list[tuple[str, ...]]


def run_line(run: Run, *, rounds: int) -> str:
    """One line about a run that has just ended."""
    head = f"{run.workload:<20} {run.round}/{rounds} {run.tool:<18}"
    if run.failure:
        return f"{head} FAILED {run.failure}"
    sizes = [
        f"{name} {megabytes(value)}"
        for name, value in (("stored", run.stored), ("added", run.added))
        if value is not None
    ]
    times = f"{seconds(run.wall):>8}  user {seconds(run.user)}  system {seconds(run.system)}"
    return "  ".join((f"{head} {times}", f"peak {megabytes(run.peak)}", *sizes))


def workload_table(results: Results, workload: str) -> Table:
    """The heading and a row per tool that took part in `workload`; a tool with no good run shows why."""
    rows: Table = [_HEADINGS]
    own = results.values(workload, OWN, wall)
    for tool in results.tools:
        runs = [run for run in results.runs if run.workload == workload and run.tool == tool.name]
        good = [run for run in runs if not run.failure]
        if not runs:
            continue
        failures = [run.failure for run in runs if run.failure]
        if not good:
            rows.append((tool.name, f"failed: {failures[0]}", *[""] * 6))
            continue
        times = spread(run.wall for run in good)
        ratio = paired_ratio(results.values(workload, tool.name, wall), own)
        rows.append(
            (
                tool.name + (f" (then failed: {failures[0]})" if failures else ""),
                f"{seconds(times.median)} ({seconds(times.low)} to {seconds(times.high)}, n={times.count})",
                "" if ratio is None else f"{ratio:.2f}x",
                seconds(statistics.median(run.user for run in good)),
                seconds(statistics.median(run.system for run in good)),
                megabytes(max(run.peak for run in good)),
                _size([run.stored for run in good]),
                _size([run.added for run in good]),
            )
        )
    return rows


def target_table(results: Results) -> Table:
    """The heading and a row per target."""
    rows: Table = [("figure", "target", "got", "met")]
    rows += [(target.label, target.wanted, target.shown, _MEANING[target.met]) for target in evaluate(results)]
    return rows


def growth_table(results: Results) -> Table:
    """The heading and a row per size: what a snapshot after ten edits costs; the heading alone if none."""
    rows: Table = [("files", "time", "added", "peak memory", "find -printf")]
    for workload in ("growth-10k", "growth-100k", "million-small-change"):
        good = [run for run in results.runs if run.workload == workload and run.tool == OWN and not run.failure]
        walks = results.values(workload, "find", wall)
        if good:
            files = next(fact.files for fact in results.corpora if fact.name == good[0].corpus)
            rows.append(
                (
                    f"{files:,}",
                    seconds(statistics.median(run.wall for run in good)),
                    _size([run.added for run in good]),
                    megabytes(max(run.peak for run in good)),
                    seconds(statistics.median(walks.values())) if walks else "",
                )
            )
    return rows


def terminal(results: Results) -> str:
    """All tables as plain text in columns."""
    parts = [f"{name}\n{_columns(workload_table(results, name))}" for name in results.workloads()]
    growth = growth_table(results)
    if len(growth) > 1:
        parts.append(f"growth\n{_columns(growth)}")
    warning = "" if results.scale == 1 else f"scale {results.scale:g}: too small for a verdict\n"
    parts.append(f"targets\n{warning}{_columns(target_table(results))}")
    if results.absent:
        parts.append(f"not found: {', '.join(results.absent)}")
    return "\n\n".join(parts).replace("**", "") + "\n"


def page(results: Results, *, remarks: str = "") -> str:
    """The Markdown page; `remarks` is text by people that is kept between two marks when the page is written again."""
    about = {workload.name: workload.about for workload in WORKLOADS}
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench`. Whole processes, measured from start to exit; the tools take turns in every round",
        "(A B C, A B C, …), and each ratio is the median of the ratios within a round. Memory is the peak of the",
        "largest process. Every archiver compresses with zstd at level 3 or the nearest that it offers.",
        "",
        f"{results.made[:10]}, {results.rounds} rounds."
        + ("" if results.scale == 1 else f" **Scale {results.scale:g}: too small for a verdict.**"),
        "",
        "![Medians per tool](benchmarks.svg)",
        "",
        "## Targets",
        "",
        *_markdown(target_table(results)),
        "",
        _BEGIN,
        remarks.strip("\n"),
        _END,
    ]
    for name in results.workloads():
        lines += ["", f"## {name}: {about.get(name, name)}", "", *_markdown(workload_table(results, name))]
    growth = growth_table(results)
    if len(growth) > 1:
        lines += ["", "## Cost of ten edited files as the tree grows", "", *_markdown(growth)]
    tools: Table = [("tool", "version", "how it ran")]
    tools += [(tool.name, tool.version, tool.note) for tool in results.tools]
    data: Table = [("corpus", "files", "bytes", "source")]
    data += [(fact.name, f"{fact.files:,}", f"{fact.size:,}", fact.source) for fact in results.corpora]
    facts: Table = [("machine", ""), *results.machine.items()]
    lines += ["", "## Tools", "", *_markdown(tools)]
    if results.absent:
        lines += ["", f"Not found on this machine: {', '.join(results.absent)}."]
    lines += [
        "",
        "snapstore runs without encryption here. restic, rustic and kopia cannot; borg is shown both ways.",
        *("", "## Data", "", *_markdown(data)),
        *("", "## Machine", "", *_markdown(facts), ""),
    ]
    return "\n".join(lines)


def write_docs(results: Results, *, path: str = PAGE, picture: str = PICTURE) -> None:
    """Write the page and its chart; remarks that people wrote into the page stay."""
    remarks = ""
    if os.path.exists(path):
        with open(path, encoding="utf-8") as stream:
            kept = re.search(re.escape(_BEGIN) + "(.*?)" + re.escape(_END), stream.read(), re.DOTALL)
        remarks = kept.group(1) if kept else ""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    for name, text in ((path, page(results, remarks=remarks)), (picture, chart.svg(results))):
        with open(name, "w", encoding="utf-8") as stream:
            stream.write(text)


def main(arguments: Sequence[str] | None = None) -> None:
    """Show saved results, and write the page where asked to."""
    parser = argparse.ArgumentParser(prog="python -m bench.report", description="show saved benchmark results")
    parser.add_argument("results", nargs="?", default=os.path.join(PROJECT, "bench", "out", "results.json"))
    parser.add_argument("--write-docs", action="store_true", help="write docs/benchmarks.md and docs/benchmarks.svg")
    options = parser.parse_args(arguments)
    results = saved.load(options.results)
    print(terminal(results), end="")
    if options.write_docs:
        write_docs(results)


def _size(values: Sequence[int | None]) -> str:
    known = [value for value in values if value is not None]
    return megabytes(statistics.median(known)) if known else ""


def _columns(table: Table) -> str:
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table
    )


def _markdown(table: Table) -> list[str]:
    """A Markdown table; columns that are empty in every row are left out."""
    used = [column for column, _ in enumerate(table[0]) if any(row[column] for row in table[1:])]
    rows = [[row[column].replace("|", "\\|") for column in used] for row in table]
    body = [f"| {' | '.join(row)} |" for row in rows]
    return [body[0], "|" + "---|" * len(used), *body[1:]]


if __name__ == "__main__":
    main()
