"""What other tools print is read as they mean it, and reports are compared as they should be. Needs no root."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.system import othertools
from tests.system.mutations import GENERATED, MISSING, SILENT, UNMANAGED, Mutation, changed
from tests.system.othertools import compare
from tests.system.seen import read_report, score


def nothing(root: bytes) -> None:
    pass


EDITED = Mutation(name="edited", make=nothing, expected={b"/a": changed("content")})
GONE = Mutation(name="gone", make=nothing, expected={b"/d": MISSING, b"/d/e": MISSING}, beside=(b"/log",))
ADDED = Mutation(name="added", make=nothing, expected={b"/new": UNMANAGED, b"/new/file": UNMANAGED})
TOUCHED = Mutation(name="touched", make=nothing, expected={b"/t": SILENT})


@pytest.mark.parametrize(
    ("pattern", "line", "path"),
    [
        (othertools._VERIFY, b"??5??????   /bin/bash", b"/bin/bash"),
        (othertools._VERIFY, b"??5?????? c /etc/a b.conf", b"/etc/a b.conf"),
        (othertools._VERIFY, b"missing   c /etc/x", b"/etc/x"),
        (othertools._VERIFY, b"missing     /usr/x (Permission denied)", b"/usr/x"),
        (othertools._VERIFY, b"S.5....T.  c /etc/alpha.conf", b"/etc/alpha.conf"),
        (othertools._VERIFY, b".M.......  g /var/ghost", b"/var/ghost"),
        (othertools._VERIFY, b".......T.    /usr/share/\xff", b"/usr/share/\xff"),
        (othertools._DPKG_DIED, b"dpkg: error: cannot compute MD5 digest for file '/a b': failed to read", b"/a b"),
        (othertools._DEBSUMS, b"debsums: missing file /usr/bin/tee (from coreutils package)", b"/usr/bin/tee"),
        (othertools._PACMAN, b"warning: demo-tools: /r/usr/bin/a b (Permissions mismatch)", b"/r/usr/bin/a b"),
        (othertools._PACMAN, b"backup file: filesystem: /r/etc/hosts (SHA256 checksum mismatch)", b"/r/etc/hosts"),
    ],
)
def test_lines_are_understood(pattern: object, line: bytes, path: bytes) -> None:
    assert list(othertools._lines(line + b"\n", pattern)) == [path]  # type: ignore[arg-type]


def test_other_lines_are_not() -> None:
    printed = b"/usr/bin/x  OK\nerror: no such file\n\nall is well\n"
    for pattern in (othertools._VERIFY, othertools._DEBSUMS, othertools._PACMAN):
        assert othertools._lines(printed, pattern) == {}


def test_paths_are_those_within_the_root(tmp_path: Path) -> None:
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "bin").symlink_to("usr/bin")
    (tmp_path / "etc").mkdir()
    root = os.fsencode(tmp_path)
    said = {root + b"/bin/x": b"1", b"/bin/y": b"2", b"/etc/z": b"3", root + b"/usr/w": b"4"}
    assert set(othertools._in_root(root, said)) == {b"/usr/bin/x", b"/usr/bin/y", b"/etc/z", b"/usr/w"}


def test_a_tool_that_does_not_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(othertools, "PATIENCE", 0.1)
    with pytest.raises(othertools.StuckError, match="sleep"):
        othertools._output("sleep", "20")


def test_a_tool_has_found_what_it_says_anew() -> None:
    before = {b"/a": b"?", b"/old": b"?"}
    after = {b"/a": b"?", b"/old": b"?", b"/d/e": b"missing", b"/log": b"new", b"/stray": b"!", b"/t": b"time"}
    outcome = compare(before, after, [EDITED, GONE, TOUCHED])
    assert outcome.found == {"edited": False, "gone": True}
    assert outcome.quiet_told == ("touched",)
    assert outcome.beside == (b"/stray",)
    assert compare(before, {**after, b"/a": b"5"}, [EDITED]).found == {"edited": True}


def report(*rows: dict[str, object]) -> bytes:
    lines = [{"message_type": "file", "changes": [], **row} for row in rows]
    return b"\n".join(json.dumps(line).encode() for line in [*lines, {"message_type": "summary", "size": 1}])


RIGHT: tuple[dict[str, object], ...] = (
    {"path": "/a", "class": "changed", "changes": ["content"]},
    {"path": "/d", "class": "missing"},
    {"path": "/d/e", "class": "missing"},
    {"path": "/new", "class": "unmanaged", "tree": True, "files": 1},
)
ALL = (EDITED, GONE, ADDED, TOUCHED)


def test_a_right_report_has_full_marks() -> None:
    verdict = score(read_report(report()), read_report(report(*RIGHT)), ALL)
    assert (verdict.precision, verdict.recall, verdict.missed, verdict.wrong) == (1.0, 1.0, {}, ())
    assert len(verdict.found) == 5


@pytest.mark.parametrize("left_out", range(4))
def test_what_is_not_reported_is_missed(left_out: int) -> None:
    rows = [row for number, row in enumerate(RIGHT) if number != left_out]
    verdict = score(read_report(report()), read_report(report(*rows)), ALL)
    assert verdict.recall < 1
    assert verdict.precision == 1


@pytest.mark.parametrize(
    "row",
    [
        {"path": "/elsewhere", "class": "unmanaged"},
        {"path": "/t", "class": "changed", "changes": ["mode"]},
        {"path": "/other", "class": "unmanaged", "tree": True, "files": 3},
    ],
)
def test_what_is_reported_without_cause_is_wrong(row: dict[str, object]) -> None:
    verdict = score(read_report(report()), read_report(report(*RIGHT, row)), ALL)
    assert len(verdict.wrong) >= 1
    assert verdict.precision < 1
    assert verdict.recall == 1


def test_a_row_that_goes_away_needs_a_cause_too() -> None:
    before = report({"path": "/stays", "class": "unmanaged"})
    assert score(read_report(before), read_report(report(*RIGHT)), ALL).wrong == (
        "b'/stays': unmanaged became nothing",
    )


def test_what_was_said_before_is_not_found() -> None:
    verdict = score(read_report(report(RIGHT[0])), read_report(report(*RIGHT)), ALL)
    assert list(verdict.missed) == [b"/a"]


def test_what_rules_account_for_is_neither_found_nor_missed() -> None:
    log = Mutation(name="log", make=nothing, expected={b"/var/log/x": GENERATED})
    row: dict[str, object] = {"path": "/var/log/x", "class": "generated", "rule": "logs"}
    verdict = score(read_report(report()), read_report(report(row)), [log])
    assert (verdict.found, verdict.missed, verdict.wrong) == (frozenset(), {}, ())
    assert score(read_report(report()), read_report(report()), [log]).missed
    assert log.by_rule
    assert not EDITED.by_rule
    assert not TOUCHED.by_rule


def test_the_changes_have_to_be_the_right_ones() -> None:
    rows: list[dict[str, object]] = [{"path": "/a", "class": "changed", "changes": ["content", "mode"]}, *RIGHT[1:]]
    verdict = score(read_report(report()), read_report(report(*rows)), ALL)
    assert list(verdict.missed) == [b"/a"]


def test_what_a_rule_explains_stands_for_what_is_below() -> None:
    generated = Mutation(name="log", make=nothing, expected={b"/var/log/x": changed("content")})
    contents = {"path": "/var/log", "class": "generated", "tree": True, "contents": True, "rule": "logs", "files": 2}
    found = read_report(report(contents))
    assert {said.cls for said in found.said_of(b"/var/log/x")} == {"generated"}
    assert {said.cls for said in found.said_of(b"/var/log")} == {"pristine"}
    assert {said.cls for said in found.said_of(b"/var")} == {"pristine"}
    assert score(read_report(report()), found, [generated]).missed
