"""The page of audit figures says what the figures say."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest

from bench import auditpage
from bench.auditpage import AUDIT
from bench.results import Results, Run, ToolFact

if TYPE_CHECKING:
    from pathlib import Path

FAMILY: dict[str, Any] = {
    "name": "debian",
    "versions": {AUDIT: "1.0", "other": "2.0"},
    "kinds": {"edited": "change", "mode": "change", "log": "rule", "touched": "none", "read": "none"},
    "told": {"edited": [AUDIT, "other"], "mode": [AUDIT], "log": ["other"], "touched": ["other"], "read": []},
    "stuck": {"mode": ["other"]},
    "beside": {AUDIT: 0, "other": 3},
    "items": 5,
    "found": 5,
}


def run(workload: str, tool: str, wall: float, number: int, *, stored: int | None = None) -> Run:
    return Run(
        workload=workload,
        corpus="web",
        tool=tool,
        round=number,
        wall=wall,
        user=wall,
        system=0.0,
        peak=1,
        stored=stored,
        added=stored,
    )


@pytest.fixture
def figures() -> auditpage.Figures:
    tools = (
        ToolFact(name="snapstore", role="own", version="1", note="a"),
        ToolFact(name="debsums", role="peer", version="3", note="b"),
    )
    runs = [
        run(workload, "snapstore", wall, number, stored=12_000_000)
        for workload, wall in (("web-first", 2.0), ("web-unchanged", 0.5), ("web-audit-first", 2.0))
        for number in (1, 2, 3)
    ]
    runs += [run("web-audit-first", "debsums", 5.0, number) for number in (1, 2, 3)]
    results = Results(
        made="2020-02-02", scale=1.0, rounds=3, machine={"cores": "2"}, tools=tools, absent=("borg",), runs=tuple(runs)
    )
    classes = {
        "pristine": {"files": 10, "directories": 2, "others": 1, "size": 1000},
        "missing": {"files": 7, "directories": 0, "others": 0, "size": 0},
    }
    web = {
        "files": 10, "bytes": 1000, "bytes_on_disk": 1_200_000_000, "database_bytes": 50_000_000, "classes": classes,
        "read_again": {"/etc": [3, 500], "/var/lib/dpkg": [1, 1500]}, "results": asdict(results),
    }  # fmt: skip
    return {"mutations": {"debian": FAMILY}, "web": web}


def row(text: str, start: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.startswith(f"| {start} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_tools_are_counted() -> None:
    table = "\n".join(auditpage.summary_table(FAMILY))
    assert row(table, AUDIT) == [AUDIT, "1.0", "2 of 2", "0", "0", "1.000", "1.000"]
    # Three paths without cause, and one touched file that it complained about.
    assert row(table, "other") == ["other", "2.0", "1 of 2", "1", "4", "0.200", "0.500"]


def test_every_mutation_has_a_line() -> None:
    table = "\n".join(auditpage.mutation_table(FAMILY))
    assert row(table, "mode")[1:] == ["found", "*hangs*"]
    assert row(table, "log")[1:] == ["by rule", "told"]
    assert row(table, "touched (no change)")[1:] == ["quiet", "**told**"]
    assert row(table, "read (no change)")[1:] == ["quiet", "quiet"]


def test_the_page_holds_the_figures(figures: auditpage.Figures) -> None:
    page = auditpage.write(figures)
    assert row(page, "snapstore")[1:3] == ["12 MB", "1.00 %"]
    assert row(page, "on disk") == ["on disk", "10", "2", "1", "1 KB"]
    assert row(page, "first")[-1] == "2.50x"
    assert "Not found: borg." in page
    assert "reads 4 files of the root, 2 KB, and no others" in page
    assert row(page, "`/etc`") == ["`/etc`", "3", "500 B"]
    assert "2020" not in page


def test_what_was_not_measured_is_not_on_the_page() -> None:
    page = auditpage.write({})
    assert "## " not in page
    assert page.startswith("# ")


def test_remarks_stay(figures: auditpage.Figures, tmp_path: Path) -> None:
    saved, page = str(tmp_path / "x.json"), tmp_path / "x.md"
    auditpage.save({}, path=saved, page=str(page))
    page.write_text(page.read_text().replace("remarks: begin -->\n", "remarks: begin -->\nmine\n"))
    auditpage.save(figures, path=saved, page=str(page))
    assert "mine\n" in page.read_text()
    assert auditpage.load(saved) == json.loads(json.dumps(figures))
    assert auditpage.load(str(tmp_path / "none.json")) == {}
