"""What is kept of long lists, and that everything is counted."""

from __future__ import annotations

import dataclasses

import pytest

from snapstore.cli.reportmodel import PAGE, Listing, Report, report_of
from snapstore.ops.audit import Audit
from snapstore.system.scopes.files import Class
from tests.auditsample import sample_audit


@pytest.fixture(scope="module")
def audit() -> Audit:
    return sample_audit(packages=40, unmanaged=300, changed=120)


@pytest.fixture(scope="module")
def report(audit: Audit) -> Report:
    return report_of(audit, limit=1000)


def test_pages_hold_every_row_once() -> None:
    listing = Listing(list(range(2 * PAGE + 1)), 2 * PAGE + 7)
    pages = list(listing.pages())
    assert [(page.first, page.last) for page in pages] == [
        (1, PAGE),
        (PAGE + 1, 2 * PAGE),
        (2 * PAGE + 1, 2 * PAGE + 1),
    ]
    assert [row for page in pages for row in page.rows] == list(listing.rows)
    assert listing.hidden == 6


def test_changes_are_grouped_by_package_and_severe_ones_first(report: Report) -> None:
    rows = [row for bundle in report.changed for row in bundle.listing.rows]
    assert len(rows) == report.changed_listing.total == 120
    assert all(row.package == bundle.name for bundle in report.changed for row in bundle.listing.rows)
    severe = [bool(bundle.severe) for bundle in report.changed]
    assert severe == sorted(severe, reverse=True)
    assert any(severe)
    assert not all(severe)


def test_what_is_worrying_is_kept_when_lists_are_cut(audit: Audit) -> None:
    report = report_of(audit, limit=10)
    kept = {row.path for row in report.unmanaged.rows}
    assert {b"/usr/local/bin/backdoor", b"/usr/local/bin/ping6", b"/srv/www/uploads"} <= kept
    assert len(kept) == 10
    assert report.unmanaged.total == sum(row.cls is Class.UNMANAGED for row in audit.files)
    assert [row.path for row in report.unmanaged.rows] == [row.path for row in audit.files if row.path in kept]


def test_counts_are_of_everything_when_lists_are_cut(audit: Audit, report: Report) -> None:
    cut = report_of(audit, limit=3)
    assert cut.on_disk == report.on_disk
    assert cut.checks == report.checks
    assert cut.findings == report.findings
    assert cut.places == report.places
    assert sum(bundle.counts.paths for bundle in cut.generated) == cut.counts["generated"].paths


def test_lines_add_up(audit: Audit, report: Report) -> None:
    on_disk = [each for each in audit.totals if each.cls != "missing"]
    assert report.on_disk.size == sum(each.size for each in on_disk) == sum(line.counts.size for line in report.lines)
    assert report.on_disk.files == sum(each.files for each in on_disk)
    assert all(check.good for check in report.checks)


def test_findings_of_the_sample(report: Report) -> None:
    found = {finding.text: finding.number for finding in report.findings}
    assert found["paths lend their owner's rights"] == 2
    assert found["path could not be verified"] == 1
    assert found["account has no password"] == 1
    assert found["account other than root has number 0"] == 1
    assert found["repository in use is not signed"] == 1
    assert found["package is broken"] == 1
    assert found["warnings"] == 3
    assert report.findings[-1].tone == "warn"


def test_units_of_ones_own_stand_apart(audit: Audit, report: Report) -> None:
    assert {unit.name for unit in report.own_units.rows} == {
        "acme-agent.service", "apache2.service", "bluetooth.service",
    }  # fmt: skip
    assert report.own_units.total + report.units.total == len(audit.units)


def test_every_account_is_a_person_or_of_the_system(audit: Audit, report: Report) -> None:
    assert report.people.total + report.system_users.total == len(audit.users)
    assert {"root", "toor", "anna"} <= {user.name for user in report.people.rows}


def test_a_missing_path_needs_no_size(audit: Audit) -> None:
    totals = tuple(
        dataclasses.replace(each, size=99) if each.cls == "missing" else each for each in audit.totals
    )  # fmt: skip
    assert all(check.good for check in report_of(dataclasses.replace(audit, totals=totals), limit=5).checks)
