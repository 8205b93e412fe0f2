"""The report as a document: whole, self-contained, honest about what it leaves out, and safe to open."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import html
import re
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from snapstore.cli import htmlreport, reportrows
from snapstore.cli.htmlreport import report_bytes, write_report
from snapstore.cli.names import shown
from snapstore.ops.audit import Audit
from snapstore.system.packages import Package
from snapstore.system.scopes.files import Class, ClassTotal, FileRow
from tests.auditsample import HOSTILE, SECRETS, sample_audit, with_files

_VOID = ("meta", "input", "br", "rect")


class Document(HTMLParser):
    """What is in a document: elements with their attributes, the text, and what is not balanced."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.open: list[str] = []
        self.unbalanced: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.pieces: list[str] = []
        self.inside: dict[str, str] = {}
        self.feed(data.decode())
        self.close()
        self.unbalanced += self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()
        elif tag not in _VOID:
            self.unbalanced.append(f"/{tag} at {self.getpos()}")

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)
        if self.open and self.open[-1] in ("style", "script", "title"):
            self.inside.setdefault(self.open[-1], data)

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    def all(self, attribute: str) -> list[str]:
        return [found[attribute] for _, found in self.elements if attribute in found]


@pytest.fixture(scope="module")
def sample() -> Audit:
    return sample_audit(packages=60, unmanaged=80)


@pytest.fixture(scope="module")
def data(sample: Audit) -> bytes:
    return report_bytes(sample)


@pytest.fixture(scope="module")
def document(data: bytes) -> Document:
    return Document(data)


def empty_audit() -> Audit:
    whole = sample_audit(packages=0, unmanaged=0)
    nothing = {field.name: () for field in dataclasses.fields(Audit) if isinstance(getattr(whole, field.name), tuple)}
    return dataclasses.replace(whole, **nothing, scopes={}, warning_count=0)  # type: ignore[arg-type]


def test_it_is_balanced_and_every_reference_leads_somewhere(document: Document) -> None:
    assert document.unbalanced == []
    ids = document.all("id")
    assert [name for name, times in Counter(ids).items() if times > 1] == []
    targets = [target for each in document.all("aria-labelledby") for target in each.split()]
    targets += [each.removeprefix("#") for each in document.all("href")]
    targets += document.all("for") + document.all("aria-describedby")
    assert len(targets) > 20
    assert set(targets) <= set(ids)


def test_nothing_outside_is_referred_to(document: Document, data: bytes) -> None:
    assert [each for each in document.all("href") if not each.startswith("#")] == []
    for attribute in ("src", "srcset", "action", "data", "poster", "background", "ping", "style", "formaction"):
        assert document.all(attribute) == []
    assert {tag for tag, _ in document.elements} & {"link", "base", "img", "iframe", "object", "embed", "form"} == set()
    style = document.inside["style"]
    assert not re.search(r"url\(|@import|@font-face|image-set", style)
    assert b"refresh" not in data.lower()


def test_no_element_has_a_handler(document: Document) -> None:
    assert [name for _, found in document.elements for name in found if name.startswith("on")] == []


def test_the_policy_allows_exactly_what_is_there(document: Document) -> None:
    policies = [found["content"] for _, found in document.elements if "http-equiv" in found]
    (policy,) = policies
    rules = dict(each.strip().split(" ", 1) for each in policy.split(";"))
    for kind in ("style", "script"):
        digest = base64.b64encode(hashlib.sha256(document.inside[kind].encode()).digest()).decode()
        assert rules.pop(f"{kind}-src") == f"'sha256-{digest}'"
        assert sum(tag == kind for tag, _ in document.elements) == 1
    assert rules == {"default-src": "'none'", "base-uri": "'none'", "form-action": "'none'"}


def test_hostile_names_are_shown_escaped_and_do_nothing(document: Document, data: bytes) -> None:
    text = data.decode()
    assert [line for line in text.splitlines() if not line.isprintable()] == []
    assert text.count("<script") == 1
    for name in HOSTILE:
        assert shown(name) in document.text
        assert html.escape(shown(name.rpartition(b"/")[2]), quote=True).replace("&#x27;", "&#39;") in text.replace(
            "&#34;", "&quot;"
        )
    assert "{{ 7*7 }}" in document.text
    assert "\\u202e" in document.text
    assert "/mnt/back\\xffup" in document.text


def test_secrets_are_not_in_it(data: bytes) -> None:
    text = data.decode()
    for secret in SECRETS:
        assert secret not in text
        assert html.escape(secret) not in text
        assert secret.rpartition("$")[2] not in text
    for state in ("has password", "no password", "locked"):
        assert state in text


def test_tables_say_what_their_cells_belong_to(document: Document) -> None:
    tables = [found for tag, found in document.elements if tag == "table"]
    captions = sum(tag == "caption" for tag, _ in document.elements)
    assert len(tables) == captions > 20
    heads = [found for tag, found in document.elements if tag == "th"]
    assert all(found.get("scope") in ("row", "col") for found in heads)
    # Where a narrow screen lays cells out otherwise, the roles still say what they are.
    for tag, role in (("table", "table"), ("tr", "row"), ("td", "cell")):
        assert all(found.get("role") == role for each, found in document.elements if each == tag)


def test_headings_leave_no_level_out(document: Document) -> None:
    levels = [int(tag[1]) for tag, _ in document.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_numbers_of_the_proof_add_up(document: Document, sample: Audit) -> None:
    total = sum(each.size for each in sample.totals if each.cls != "missing")
    assert f"{total:,} bytes in files" in document.text
    assert document.text.count(f"{total:,}") >= 2
    assert "Does not hold" not in document.text
    assert document.text.count("Holds: ") == 3


def test_every_row_of_the_audit_is_in_it(document: Document, sample: Audit) -> None:
    text = document.text
    for row in sample.files:
        assert shown(row.path) in text
    for package in sample.packages:
        assert package.name in text
    for unit in sample.units:
        assert unit.name in text
    for key in sample.keys:
        assert key.fingerprint in text


def test_what_is_left_out_is_said(sample: Audit) -> None:
    limited = Document(report_bytes(sample, limit=10)).text
    unmanaged = [row for row in sample.files if row.cls is Class.UNMANAGED]
    assert f"{len(unmanaged) - 10:,} rows more are not in this report, of {len(unmanaged):,} in all." in limited
    assert f"{len(sample.packages) - 10:,} packages more are not in this report" in limited
    # What is worrying stays.
    assert "/usr/local/bin/backdoor" in limited
    assert "more are not in this report" not in Document(report_bytes(sample)).text


def test_long_lists_are_cut_into_tables_that_a_browser_need_not_lay_out_at_once() -> None:
    rows = [FileRow(path=b"/c/%04d" % each, cls=Class.EXCLUDED, kind="file", rule="r") for each in range(600)]
    rows += [FileRow(path=b"/u/%04d" % each, cls=Class.UNMANAGED, kind="file") for each in range(600)]
    document = Document(report_bytes(with_files(empty_audit(), rows)))
    assert document.unbalanced == []
    for of in ("Paths of r", "Unmanaged paths"):
        for numbers in ("1 to 250", "251 to 500", "501 to 600"):
            assert document.text.count(f"{of}, {numbers}") == 1


def test_a_count_of_warnings_beyond_those_kept_is_said(sample: Audit) -> None:
    text = Document(report_bytes(dataclasses.replace(sample, warning_count=1003))).text
    assert "1,000 warnings more are not in this report, of 1,003 in all." in text


def test_it_comes_in_pieces_and_the_same_each_time(sample: Audit, data: bytes) -> None:
    pieces: list[bytes] = []
    write_report(sample, pieces.append)
    assert b"".join(pieces) == data
    assert data.startswith(b"<!DOCTYPE html>\n")
    assert len(pieces) > 1


def test_what_the_taker_raises_is_passed_on(sample: Audit) -> None:
    def full(piece: bytes) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_report(sample, full)


def test_an_audit_of_nothing() -> None:
    document = Document(report_bytes(empty_audit()))
    assert document.unbalanced == []
    for said in ("Nothing stands out.", "Nothing is missing.", "Nothing is unmanaged.", "There were none."):
        assert said in document.text
    assert "unnamed system" in document.inside["title"]


def test_totals_that_do_not_fit_are_a_finding(sample: Audit) -> None:
    totals = tuple(
        dataclasses.replace(each, files=each.files + 1) if each.cls == "unmanaged" else each for each in sample.totals
    )
    text = Document(report_bytes(dataclasses.replace(sample, totals=totals))).text
    assert "What the list says of unmanaged is not what the totals say." in text
    assert "part of the proof does not hold" in text


def test_a_path_twice_is_a_finding(sample: Audit) -> None:
    twice = (*sample.files[:5], sample.files[4], *sample.files[5:])
    assert "a path may be in it twice" in Document(report_bytes(dataclasses.replace(sample, files=twice))).text


def test_rules_that_do_not_fit_are_a_finding(sample: Audit) -> None:
    text = Document(report_bytes(dataclasses.replace(sample, rules=sample.rules[1:]))).text
    assert "What the rules say of" in text
    # The paths of the rule that is not accounted for are there all the same.
    assert "no reason stated" in text


def test_values_without_end_are_cut_and_counted(sample: Audit) -> None:
    package = Package(manager="dpkg", name="n" * 5000, version="1", arch="all")
    text = Document(report_bytes(dataclasses.replace(sample, packages=(package,)))).text
    assert "n" * 4096 + "… (904 more characters)" in text
    assert "n" * 4097 not in text


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.binary(min_size=1, max_size=24).filter(lambda name: b"/" not in name), min_size=1, max_size=6))
def test_any_names_at_all(names: list[bytes]) -> None:
    rows = [FileRow(path=b"/a/" + name, cls=Class.UNMANAGED, kind="file", size=1) for name in sorted(set(names))]
    data = report_bytes(with_files(empty_audit(), rows))
    document = Document(data)
    assert document.unbalanced == []
    assert all(line.isprintable() for line in data.decode().splitlines())
    assert data.count(b"<script") == 1
    for row in rows:
        assert shown(row.path) in document.text


@given(st.text(max_size=40), st.binary(max_size=40))
def test_what_is_printed_prints(text: str, name: bytes) -> None:
    assert htmlreport._printed(text).isprintable()
    assert htmlreport._printed(name) == shown(name)


def test_the_template_engine_is_loaded_only_when_a_report_is_written() -> None:
    code = "import sys, snapstore.cli.htmlreport; sys.exit('jinja2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_total_of_a_class_that_has_no_rows(sample: Audit) -> None:
    audit = dataclasses.replace(empty_audit(), totals=(ClassTotal(cls="pristine", files=3, size=42),))
    assert "3 paths on disk, 42 bytes in files" in Document(report_bytes(audit)).text


# -- colours ---------------------------------------------------------------------------------------------------------

_COLOUR = re.compile(r"--([a-z0-9-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\);")
_TEXTS = [
    *((text, back) for text in ("text", "dim", "link") for back in ("page", "surface", "sunk")),
    *((tone, f"{tone}-back") for tone in reportrows.TONES),
    ("severe", "page"), ("good", "page"), ("info", "surface"), ("info", "sunk"),
    *(("text", f"map-{tone}") for tone in range(6)),
]  # fmt: skip
_SHAPES = [
    *((f"c-{cls.value}", back) for cls in Class for back in ("page", "surface")),
    ("edge", "page"), ("edge", "surface"), ("focus", "page"), ("focus", "surface"),
]  # fmt: skip


def palette(mode: int) -> dict[str, str]:
    return {found[0]: found[mode] for found in _COLOUR.findall(htmlreport._resource("report.css"))}


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    dark, bright = sorted((luminance(one), luminance(other)))
    return (bright + 0.05) / (dark + 0.05)


def test_contrast_is_measured_as_wcag_does() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("mode", [1, 2], ids=["light", "dark"])
def test_text_can_be_read_in_both_modes(mode: int) -> None:
    colours = palette(mode)
    weak = {pair: contrast(*(colours[name] for name in pair)) for pair in _TEXTS}
    assert {pair: ratio for pair, ratio in weak.items() if ratio < 4.5} == {}


@pytest.mark.parametrize("mode", [1, 2], ids=["light", "dark"])
def test_shapes_stand_out_in_both_modes(mode: int) -> None:
    colours = palette(mode)
    weak = {pair: contrast(*(colours[name] for name in pair)) for pair in _SHAPES}
    assert {pair: ratio for pair, ratio in weak.items() if ratio < 3} == {}


def test_every_colour_of_the_style_sheet_is_in_the_palette() -> None:
    style = htmlreport._resource("report.css")
    rest = _COLOUR.sub("", style)
    assert re.findall(r"#[0-9a-f]{3,8}\b(?![^{]*\{)", rest) == []
    used = set(re.findall(r"var\(--([a-z0-9-]+)\)", style)) - {"sans", "mono"}
    assert used == set(palette(1))
