"""Targets, tables, page and chart say what the runs say."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from lxml import etree

from bench import report, targets
from bench import results as saved
from bench.chart import megabytes, panels, seconds, svg
from bench.results import CorpusFact, Results, Run, ToolFact

if TYPE_CHECKING:
    from pathlib import Path

_MB = 1_000_000


def made(
    workload: str,
    tool: str,
    walls: list[float],
    *,
    stored: int | None = None,
    added: int | None = None,
    peak: int = _MB,
) -> list[Run]:
    return [
        Run(
            workload=workload,
            corpus="many-small",
            tool=tool,
            round=number,
            wall=wall,
            user=wall,
            system=0.0,
            peak=peak,
            stored=stored,
            added=added,
        )
        for number, wall in enumerate(walls, 1)
    ]


@pytest.fixture
def results() -> Results:
    runs = [
        *made("help-startup", "snapstore", [0.1, 0.12, 0.11]),
        *made("first", "snapstore", [5.0, 50.0, 5.0], stored=80 * _MB, peak=150 * _MB),
        *made("first", "restic", [30.0, 300.0, 30.0], stored=110 * _MB),
        *made("first", "borg", [21.0, 210.0, 21.0], stored=100 * _MB),
        *made("first", "rustic", [15.0, 150.0, 15.0], stored=90 * _MB),
        *made("unchanged", "snapstore", [0.31, 0.31, 0.31], peak=90 * _MB),
        *made("unchanged", "restic", [4.0, 4.0, 4.0]),
        *made("unchanged", "find", [0.1, 0.1, 0.1]),
        *made("restore", "snapstore", [3.0, 3.0, 3.0]),
        *made("restore", "cp -a", [2.0, 2.0, 2.0]),
        *made("dump-second-version", "snapstore", [1.0, 1.0, 1.0], added=120_000),
        *made("dump-second-version", "rsync -z", [1.0, 1.0, 1.0], added=1_640_000),
        *made("dump-second-version", "zstd --patch-from", [1.0, 1.0, 1.0], added=100_000),
    ]
    broken = replace(made("restore", "borg", [0.0])[0], failure="exit 2: no | such repository")
    roles = {"snapstore": "own", "restic": "peer", "borg": "peer", "rustic": "peer"}
    names = ("snapstore", "restic", "borg", "rustic", "find", "cp -a", "rsync -z", "zstd --patch-from")
    return Results(
        made="2024-02-29T12:00:00+00:00",
        scale=1.0,
        rounds=3,
        machine={"processor": "one", "cores": "2"},
        tools=tuple(ToolFact(name=name, role=roles.get(name, "floor"), version="1", note="") for name in names),
        absent=("kopia",),
        corpora=(CorpusFact(name="many-small", files=100_000, size=2_000_000_000, source="seeded"),),
        runs=(*runs, broken),
    )


def by_label(results: Results) -> dict[str, targets.Target]:
    return {target.label: target for target in targets.evaluate(results)}


def test_labels_of_targets_are_unique_enough_to_read(results: Results) -> None:
    rows = targets.evaluate(results)
    assert len(rows) == 19
    # "the same" always follows the row that it means.
    assert not rows[0].label.startswith("the same")


def test_fastest_rival_is_the_one_compared_with(results: Results) -> None:
    rows = targets.evaluate(results)
    two, all_peers = rows[0], rows[1]
    assert two.got == pytest.approx(4.2)
    assert (two.against, two.met) == ("borg", True)
    assert all_peers.got == pytest.approx(3.0)
    assert (all_peers.against, all_peers.met) == ("rustic", False)


def test_stored_size_is_compared_with_the_smallest(results: Results) -> None:
    row = by_label(results)["stored size: of the smaller of restic and borg"]
    assert row.got == pytest.approx(0.8)
    assert (row.against, row.met) == ("borg", True)


def test_unchanged_counts_time_beyond_startup(results: Results) -> None:
    row = by_label(results)["unchanged snapshot: time beyond start-up (--help), against find -printf"]
    assert row.got == pytest.approx(2.0)


def test_memory_is_the_greatest_peak_of_the_runs_that_count(results: Results) -> None:
    rows = by_label(results)
    assert rows["peak memory, many small files"].got == pytest.approx(150.0)
    assert rows["peak memory, a million files"].got is None
    assert rows["peak memory, a million files"].met is None


def test_failed_runs_never_count(results: Results) -> None:
    row = by_label(results)["restore of many files: faster than the faster of restic and borg"]
    assert row.got is None
    assert row.shown == "not measured"


def test_bytes_of_a_second_version(results: Results) -> None:
    rows = by_label(results)
    assert rows["dump, second version: bytes of rsync -z"].met is True
    assert rows["the same: bytes of zstd --patch-from"].got == pytest.approx(1.2)


def test_saved_results_come_back_the_same(results: Results, tmp_path: Path) -> None:
    path = str(tmp_path / "deep" / "results.json")
    saved.save(results, path)
    assert saved.load(path) == results


def test_results_of_another_schema_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text('{"schema": 99}')
    with pytest.raises(ValueError, match="schema 1"):
        saved.load(str(path))


def test_joined_results_replace_whole_workloads(results: Results) -> None:
    newer = replace(results, runs=tuple(made("first", "snapstore", [4.0])), tools=results.tools[:1])
    joined = newer.joined(results)
    assert joined.values("first", "snapstore", targets.wall) == {1: 4.0}
    assert joined.values("first", "borg", targets.wall) == {}
    assert len(joined.values("unchanged", "restic", targets.wall)) == 3
    assert len(joined.tools) == len(results.tools)


def test_results_that_do_not_belong_together_are_not_joined(results: Results) -> None:
    for other in (
        replace(results, scale=0.5),
        replace(results, machine={"processor": "another"}),
        replace(results, tools=(replace(results.tools[0], version="2"),)),
    ):
        with pytest.raises(ValueError, match="older results come from"):
            results.joined(other)


def test_table_shows_ratios_within_rounds_and_failures(results: Results) -> None:
    rows = {row[0]: row for row in report.workload_table(results, "first")}
    assert rows["borg"][2] == "4.20x"
    assert rows["snapstore"][1] == "5.00 s (5.00 s to 50.0 s, n=3)"
    failed = {row[0]: row for row in report.workload_table(results, "restore")}["borg"]
    assert failed[1] == "failed: exit 2: no | such repository"


def test_page_has_well_formed_tables_and_keeps_remarks(results: Results, tmp_path: Path) -> None:
    path, picture = tmp_path / "docs" / "benchmarks.md", tmp_path / "docs" / "benchmarks.svg"
    report.write_docs(results, path=str(path), picture=str(picture))
    text = path.read_text()
    mark = "<!-- remarks: begin -->\n"
    path.write_text(text.replace(mark, mark + "The cache was cold."))
    report.write_docs(results, path=str(path), picture=str(picture))
    again = path.read_text()
    assert again.count("The cache was cold.") == 1
    assert "Not found on this machine: kopia." in again
    tables = [block for block in again.split("\n\n") if block.startswith("| ")]
    assert len(tables) >= 8
    for table in tables:
        columns = {line.replace("\\|", "").count("|") for line in table.splitlines()}
        assert len(columns) == 1


def test_small_scale_is_no_verdict(results: Results) -> None:
    assert "too small for a verdict" in report.page(replace(results, scale=0.1))
    assert "too small for a verdict" not in report.page(results)


def test_growth_shows_each_size(results: Results) -> None:
    runs = (*results.runs, *made("growth-100k", "snapstore", [0.2], added=5_000))
    table = report.growth_table(replace(results, runs=runs))
    assert table[1][:3] == ("100,000", "200 ms", "5 KB")
    assert len(report.growth_table(results)) == 1


def test_chart_is_xml_with_a_bar_for_each_median(results: Results) -> None:
    root = etree.fromstring(svg(results).encode())
    namespace = {"s": "http://www.w3.org/2000/svg"}
    bars = root.findall(".//s:rect", namespace)
    assert len(bars) == sum(len(panel.bars) for panel in panels(results))
    first = next(bar for bar in bars if bar.get("class") == "own")
    longest = max(float(bar.get("width", "0")) for bar in bars[:4])
    assert float(first.get("width", "0")) == pytest.approx(longest * 5 / 30, abs=0.2)
    assert "prefers-color-scheme: dark" in svg(results)
    assert "currentColor" in svg(results)


def test_saved_results_can_be_shown_again(results: Results, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "results.json")
    saved.save(results, path)
    report.main([path])
    shown = capsys.readouterr().out
    assert "not found: kopia" in shown
    assert "4.20x (borg)" in shown


@pytest.mark.parametrize(
    ("value", "text"), [(0.0042, "4 ms"), (0.5, "500 ms"), (2.345, "2.35 s"), (29.14, "29.1 s"), (120.0, "120.0 s")]
)
def test_seconds(value: float, text: str) -> None:
    assert seconds(value) in {text, text.replace("2.35", "2.34")}


@pytest.mark.parametrize(
    ("value", "text"), [(12, "12 B"), (1_640_000, "1.64 MB"), (694_000_000, "694 MB"), (2_450_000_000, "2.45 GB")]
)
def test_megabytes(value: float, text: str) -> None:
    assert megabytes(value) == text
