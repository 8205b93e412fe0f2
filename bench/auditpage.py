"""The page docs/audit-figures.md from the figures in docs/audit-figures.json: `python -m bench.auditpage` writes it."""

from __future__ import annotations

import json
import os
import re
import statistics
from typing import TYPE_CHECKING, Any

from bench.chart import megabytes, seconds
from bench.measure import paired_ratio, spread
from bench.report import PROJECT
from bench.results import CorpusFact, Results, Run, ToolFact

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

JSON = os.path.join(PROJECT, "docs", "audit-figures.json")
PAGE = os.path.join(PROJECT, "docs", "audit-figures.md")
OWN = "snapstore"
AUDIT = "snapstore audit"
_BEGIN, _END = "<!-- remarks: begin -->", "<!-- remarks: end -->"
_FAMILIES = {
    "debian": "A Debian root (dpkg)",
    "reference": "What dpkg's database does not hold: with package files (`--reference`) and without",
    "rpm": "A root of rpm packages", "pacman": "A root of pacman's packages",
}  # fmt: skip

Figures = dict[str, Any]
"""`mutations`: families by name; `web` and `machine`: facts and results. What was not measured is not there."""


def load(path: str = JSON) -> Figures:
    """The figures that were saved; none where there is no file."""
    try:
        with open(path, encoding="utf-8") as stream:
            found: Figures = json.load(stream)
    except FileNotFoundError:
        return {}
    return found


def save(figures: Figures, *, path: str = JSON, page: str = PAGE) -> None:
    """Write the figures, and the page made of them; remarks that people wrote into the page stay."""
    remarks = ""
    if os.path.exists(page):
        with open(page, encoding="utf-8") as stream:
            kept = re.search(re.escape(_BEGIN) + "(.*?)" + re.escape(_END), stream.read(), re.DOTALL)
        remarks = kept.group(1).strip("\n") if kept else ""
    for name, text in ((path, json.dumps(figures, indent=1) + "\n"), (page, write(figures, remarks))):
        with open(name + ".new", "w", encoding="utf-8") as stream:
            stream.write(text)
        os.replace(name + ".new", name)


def write(figures: Figures, remarks: str = "") -> str:
    """The page as Markdown."""
    lines = [
        "# What audits find, what system snapshots cost",
        "",
        "Written by `make bench-system`, with the numbers beside it in [audit-figures.json](audit-figures.json).",
        "",
        *(_BEGIN, remarks, _END),
    ]
    if "mutations" in figures:
        lines += ["", *_mutations(figures["mutations"])]
    if "web" in figures:
        lines += ["", *_web(figures["web"])]
    if "machine" in figures:
        lines += ["", *_machine(figures["machine"])]
    return "\n".join(lines) + "\n"


# -- mutations ------------------------------------------------------------------------------------------------------


def _mutations(families: Mapping[str, Any]) -> Iterator[str]:
    yield "## Seeded mutations"
    yield ""
    yield "Each mutation is made alone in a fresh copy of a root. snapstore has found it only if it lists every path"
    yield "concerned as exactly what it is, did not do so before, and nothing else in its report differs. Another tool"
    yield "has found it if it reports anything new at all about any of the paths. *Reported without cause*: paths that"
    yield "no mutation explains, or that were touched in a way that changes nothing. What a rule accounts for (logs,"
    yield "caches, account files, directories left out) is in no list of changes, and counts for nobody. The list was"
    yield "chosen by this project; the tools differ in what they set out to do, and cruft-ng never looks at contents."
    for name, title in _FAMILIES.items():
        if name in families:
            yield from ("", f"### {title}", "", *summary_table(families[name]), "", *mutation_table(families[name]))


def summary_table(family: Mapping[str, Any]) -> list[str]:
    """One line per tool: what it found, missed, and reported without cause."""
    loud = [name for name, kind in family["kinds"].items() if kind == "change"]
    rows = [("tool", "version", "found", "missed", "reported without cause", "precision", "recall")]
    for tool, version in family["versions"].items():
        found = sum(tool in family["told"][name] for name in loud)
        quiet = sum(tool in family["told"][name] for name, kind in family["kinds"].items() if kind == "none")
        # Of snapstore every row without cause is counted as such already, touched files' among them.
        wrong = family["beside"][tool] + (0 if tool == AUDIT else quiet)
        told = family["found"] if tool == AUDIT else found
        of = family["items"] if tool == AUDIT else len(loud)
        precision = told / (told + wrong) if told + wrong else 1.0
        rows.append(
            (tool, version, f"{found} of {len(loud)}", str(len(loud) - found), str(wrong), f"{precision:.3f}",
             f"{told / of:.3f}")
        )  # fmt: skip
    return _markdown(rows)


def mutation_table(family: Mapping[str, Any]) -> list[str]:
    """One line per mutation: who found it; of what is no change, who kept quiet."""
    tools = list(family["versions"])
    rows = [("mutation", *tools)]
    for name, kind in family["kinds"].items():
        if kind == "none":
            cells = ["**told**" if tool in family["told"][name] else "quiet" for tool in tools]
        else:
            stuck = family["stuck"].get(name, ())
            cells = ["found" if tool in family["told"][name] else "*hangs*" if tool in stuck else "" for tool in tools]
            if kind == "rule":
                cells = [
                    "by rule" if tool == AUDIT else cell and "told" for tool, cell in zip(tools, cells, strict=True)
                ]
        rows.append((name + (" (no change)" if kind == "none" else ""), *cells))
    return _markdown(rows)


# -- systems --------------------------------------------------------------------------------------------------------


def _web(web: Mapping[str, Any]) -> Iterator[str]:
    results = _results(web["results"])
    yield "## A web and database server"
    yield ""
    yield "Debian 12 with apache2, mediawiki and postgresql as apt installs them, its package caches left in place, a"
    yield f"wiki set up and a table filled: {web['files']:,} files, {megabytes(web['bytes'])} in them,"
    yield f"{megabytes(web['bytes_on_disk'])} on disk, {megabytes(web['database_bytes'])} of that the live database."
    yield ""
    yield from _classes(web["classes"])
    yield ""
    yield "What a snapshot of it stores and takes. The second one follows without a change."
    yield ""
    yield from _storing(results, web["bytes_on_disk"])
    yield ""
    yield from _read_again(web["read_again"])
    yield ""
    yield from _looking(results, "web")
    yield ""
    yield from _conditions(results)


def _machine(facts: Mapping[str, Any]) -> Iterator[str]:
    results = _results(facts["results"])
    yield "## The machine that measured"
    yield ""
    yield f"{facts['packages']:,} packages, {facts['owned_paths']:,} paths owned by them. debsums looks at those alone;"
    yield "an audit walks everything that lies on the machine, roots of tests included, as the table shows."
    yield ""
    yield from _classes(facts["classes"])
    yield ""
    yield from _looking(results, "machine")
    yield ""
    yield from _conditions(results)


def _classes(classes: Mapping[str, Mapping[str, int]]) -> list[str]:
    rows: list[tuple[str, ...]] = [("class", "files", "directories", "others", "bytes")]
    rows += [
        (name, *(f"{each[key]:,}" for key in ("files", "directories", "others")), megabytes(each["size"]))
        for name, each in classes.items()
    ]
    there = [each for name, each in classes.items() if name != "missing"]
    totals = [sum(each[key] for each in there) for key in ("files", "directories", "others", "size")]
    rows.append(("on disk", *(f"{total:,}" for total in totals[:3]), megabytes(totals[3])))
    return _markdown(rows)


def _storing(results: Results, disk: int) -> list[str]:
    rows = [("tool", "stored", "of the bytes on disk", "first run", "second run", "second adds")]
    for tool in results.tools:
        first, second = _good(results, "web-first", tool.name), _good(results, "web-unchanged", tool.name)
        if not first or not second:
            continue
        stored = statistics.median(run.stored for run in first if run.stored is not None)
        added = statistics.median(run.added for run in second if run.added is not None)
        rows.append(
            (tool.name, megabytes(stored), f"{100 * stored / disk:.2f} %", _time(first), _time(second),
             megabytes(added))
        )  # fmt: skip
    return _markdown(rows)


def _read_again(found: Mapping[str, Sequence[int]]) -> Iterator[str]:
    files, size = (sum(counts[each] for counts in found.values()) for each in (0, 1))
    yield f"One more unchanged snapshot reads {files:,} files of the root, {megabytes(size)}, and no others:"
    yield ""
    rows = [("directory", "files", "read")]
    rows += [(f"`{name}`", f"{counts[0]:,}", megabytes(counts[1])) for name, counts in found.items()]
    yield from _markdown(rows)


def _looking(results: Results, place: str) -> list[str]:
    rows = [("audit", "snapstore", "debsums --all", "debsums takes")]
    for title, workload in (("first", f"{place}-audit-first"), ("again, nothing changed", f"{place}-audit-unchanged")):
        own, other = _good(results, workload, OWN), _good(results, workload, "debsums")
        if not own or not other:
            rows.append((title, "failed" if not own else _time(own), "failed" if not other else _time(other), ""))
            continue
        ratio = paired_ratio({run.round: run.wall for run in other}, {run.round: run.wall for run in own})
        rows.append((title, _time(own), _time(other), "" if ratio is None else f"{ratio:.2f}x"))
    return _markdown(rows)


def _conditions(results: Results) -> Iterator[str]:
    yield f"Medians of {results.rounds} rounds in which the tools take turns; the files were read once before."
    tools = [(tool.name, tool.version, tool.note) for tool in results.tools]
    yield from ("", *_markdown([("tool", "version", "how it ran"), *tools]))
    if results.absent:
        yield from ("", f"Not found: {', '.join(results.absent)}.")
    yield ""
    yield "; ".join(f"{name}: {value}" for name, value in results.machine.items()) + "."


def _good(results: Results, workload: str, tool: str) -> list[Run]:
    return [run for run in results.runs if run.workload == workload and run.tool == tool and not run.failure]


def _time(runs: Sequence[Run]) -> str:
    times = spread(run.wall for run in runs)
    return f"{seconds(times.median)} ({seconds(times.low)} to {seconds(times.high)})"


def _results(stored: Mapping[str, Any]) -> Results:
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


def _markdown(rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return [lines[0], "|" + "---|" * len(rows[0]), *lines[1:]]


if __name__ == "__main__":
    save(load())
