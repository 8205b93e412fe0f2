"""The commands that read, on a store with two snapshots."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.conftest import ODD, Filled

Documented = Callable[[str, dict[str, Any]], None]


def inside(filled: Filled, *parts: str) -> str:
    return os.path.join(filled.source, *parts)


def test_snapshots_are_listed_oldest_first(filled: Filled) -> None:
    lines = filled.snapstore.ok("snapshots").lines
    assert lines[0].split() == ["ID", "Started", "Host", "Name", "Tags", "Files", "Size", "Paths"]
    assert [line.split()[0] for line in lines[1:]] == [each[:8] for each in filled.ids]
    assert "first" in lines[1]
    assert "x,y" in lines[1]


def test_list_is_another_name_of_snapshots(filled: Filled) -> None:
    assert filled.snapstore.ok("list").out == filled.snapstore.ok("snapshots").out


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--tag", "y"], ["first", "second"]),
        (["--tag", "y", "--tag", "x"], ["first"]),
        (["--name", "second"], ["second"]),
        (["--host", "elsewhere"], []),
        (["--all"], ["first", "second"]),
    ],
)
def test_snapshots_can_be_filtered(
    filled: Filled, documented: Documented, options: list[str], expected: list[str]
) -> None:
    messages = filled.snapstore.ok("snapshots", "--json", *options).messages
    assert [each["name"] for each in messages] == expected
    for each in messages:
        documented("snapshots", each)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", each["started"])
        assert [path["path"] for path in each["paths"]] == [str(filled.source)]


def test_verbose_shows_whole_ids(filled: Filled) -> None:
    assert filled.ids[0] in filled.snapstore.ok("-v", "snapshots").text


@pytest.mark.parametrize("number", [0, 1])
def test_a_snapshot_answers_to_all_its_names(filled: Filled, number: int) -> None:
    names = [["first", "latest~1"], ["second", "latest", "latest~0"]][number]
    wanted = filled.snapstore.ok("ls", filled.ids[number]).out
    for name in [*names, filled.ids[number][:8]]:
        assert filled.snapstore.ok("ls", name).out == wanted


def test_ls_shows_what_was_snapshot_with_odd_names_escaped(filled: Filled) -> None:
    lines = filled.snapstore.ok("ls", "second").lines
    assert inside(filled, "new\\nline-\\xff\\x1b[2J") in lines
    assert len(lines) == len(os.listdir(filled.source))


def test_ls_json_gives_odd_names_exactly(filled: Filled, documented: Documented) -> None:
    entries = filled.snapstore.ok("ls", "second", "--json").messages
    for each in entries:
        documented("ls", each)
    (odd,) = (each for each in entries if "path_b64" in each)
    assert base64.b64decode(odd["path_b64"]) == os.fsencode(filled.source) + b"/" + ODD
    assert odd["path"] == inside(filled, "new\ufffdline-\ufffd\ufffd[2J")
    assert odd["size"] == 4


def test_ls_of_a_path_above_the_roots_leads_to_them(filled: Filled) -> None:
    assert filled.snapstore.ok("ls", "latest", os.path.dirname(filled.source)).lines == [str(filled.source)]


def test_ls_recursive_goes_all_the_way_down(filled: Filled) -> None:
    lines = filled.snapstore.ok("ls", "first", "-R").lines
    assert inside(filled, "sub", "deep", "c") in lines
    assert lines[0] == str(filled.source)


def test_ls_long_shows_mode_size_and_target(filled: Filled) -> None:
    lines = filled.snapstore.ok("ls", "first", "--long").lines
    assert any(re.match(r"l[rwx]{9} .* -> a\.txt$", line) for line in lines)
    assert any(re.match(r"-rw.* 2 .* 6 .*a\.txt$", line) for line in lines)


def test_cat_gives_the_bytes(filled: Filled) -> None:
    assert filled.snapstore.ok("cat", "first", inside(filled, "a.txt")).out == b"first\n"
    assert filled.snapstore.ok("cat", "latest", inside(filled, "a.txt")).out == b"second, longer\n"
    assert filled.snapstore.ok("cat", "latest", os.fsencode(filled.source) + b"/" + ODD).out == b"odd\n"


def test_cat_of_a_directory_is_refused(filled: Filled) -> None:
    result = filled.snapstore("cat", "latest", inside(filled, "sub"))
    assert (result.code, result.out) == (1, b"")
    assert result.err.count(b"\n") == 1


def test_find_looks_into_every_snapshot(filled: Filled, documented: Documented) -> None:
    hits = filled.snapstore.ok("find", "*.txt", "--json").messages
    for each in hits:
        documented("find", each)
    found = {(each["snapshot"], os.path.basename(each["path"])) for each in hits}
    first, second = filled.ids
    assert found == {(first, "a.txt"), (first, "gone.txt"), (second, "a.txt"), (second, "new.txt")}


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["*.txt", "--snapshot", "second"], {"a.txt", "new.txt"}),
        (["b.txt", "-i", "--snapshot", "second"], {"b.TXT"}),
        (["*", "--type", "link", "--snapshot", "first"], {"link"}),
        (["*", "--type", "f", "--larger", "1K", "--snapshot", "first"], {"b.TXT"}),
        (["*", "--type", "f", "--smaller", "1", "--snapshot", "first"], {"c"}),
        (["*", "--older", "1980-01-01"], set()),
        (["sub/*", "--newer", "1980-01-01 00:00", "--snapshot", "first"], {"b.TXT", "deep"}),
    ],
)
def test_find_conditions(filled: Filled, options: list[str], names: set[str]) -> None:
    lines = filled.snapstore.ok("find", *options).lines
    assert {os.path.basename(line) for line in lines} == names
    assert all(re.match(r"[0-9a-f]{8}  /", line) for line in lines)


def test_diff_tells_every_kind_of_change(filled: Filled, documented: Documented) -> None:
    *changes, summary = filled.snapstore.ok("diff", "first", "second", "--json").messages
    for each in [*changes, summary]:
        documented("diff", each)
    kinds = {os.path.basename(each["path"]): each["kinds"] for each in changes}
    assert kinds["gone.txt"] == ["removed"]
    assert kinds["new.txt"] == ["added"]
    assert kinds["link"] == ["type"]
    assert kinds["b.TXT"] == ["metadata"]
    assert kinds["a.txt"] == ["content", "metadata"]
    assert (summary["added"], summary["removed"], summary["type"]) == (1, 1, 1)
    signs = {line[3:]: line[:2] for line in filled.snapstore.ok("diff", "first", "second").lines[:-1]}
    assert signs[inside(filled, "a.txt")] == "CM"
    assert signs[inside(filled, "gone.txt")] == "- "


def test_diff_quiet_leaves_the_summary_out(filled: Filled) -> None:
    lines = filled.snapstore.ok("diff", "first", "second", inside(filled, "new.txt"), "-q").lines
    assert lines == [f"+  {inside(filled, 'new.txt')}"]


def test_stats(filled: Filled, documented: Documented) -> None:
    store = filled.snapstore.ok("stats", "--json").message
    documented("stats", store)
    assert store["snapshots"] == 2
    one = filled.snapstore.ok("stats", "first", "--json").message
    documented("stats", one)
    assert (one["snapshot"], one["files"]) == (filled.ids[0], 6)
    assert "snapshots" in filled.snapstore.ok("stats").text
    assert "raw" in filled.snapstore.ok("stats", "latest").text


@pytest.mark.parametrize("options", [[], ["--read-data"]])
def test_check_of_a_sound_store(filled: Filled, documented: Documented, options: list[str]) -> None:
    *notes, summary = filled.snapstore.ok("check", "--json", *options).messages
    documented("check", summary)
    assert all(each["severity"] == "note" for each in notes)
    assert (summary["errors"], summary["warnings"], summary["snapshots"]) == (0, 0, 2)
    assert summary["read_data"] is bool(options)
    assert "no errors" in filled.snapstore.ok("check", *options).text


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nothing", "no snapshot is called"),
        ("latest~7", "holds 2 snapshots"),
        ("ffff", "no snapshot is called"),
    ],
)
def test_unknown_snapshot(filled: Filled, name: str, words: str) -> None:
    result = filled.snapstore("ls", name)
    assert (result.code, result.err.count(b"\n")) == (1, 1)
    assert words in result.errors
    assert words in filled.snapstore("ls", name, "--json").failure["message"]


def test_unknown_path(filled: Filled) -> None:
    result = filled.snapstore("ls", "latest", "/not/there")
    assert (result.code, result.err.count(b"\n")) == (1, 1)
    assert "/not/there" in result.errors


def test_a_list_in_pieces_ends_quietly(filled: Filled, tmp_path: Any) -> None:
    crowd = tmp_path / "crowd"
    crowd.mkdir()
    for number in range(2000):
        (crowd / f"{number:0100d}").touch()
    command = filled.snapstore.at(tmp_path / "store")
    command.ok("init")
    command.ok("snapshot", crowd)
    process = command.start("ls", "latest")
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline().startswith(os.fsencode(crowd))
    process.stdout.close()
    assert process.wait(timeout=30) == 141
    assert process.stderr.read() == b""
    process.stderr.close()


def test_full_disk_behind_standard_output(filled: Filled) -> None:
    with open("/dev/full", "wb") as full:
        result = filled.snapstore("ls", "latest", stdout=full)
    assert result.code == 1
    assert result.errors == "snapstore: standard output cannot be written: No space left on device\n"


def test_closed_standard_streams_hit_no_file(filled: Filled, tmp_path: Any) -> None:
    command = filled.snapstore.at(tmp_path / "store")
    command.ok("init")
    arguments = [sys.executable, "-m", "snapstore", "snapshot", str(filled.source)]
    # The shell closes all three, so that whatever is opened next would get their numbers.
    shell = subprocess.run(["sh", "-c", '"$@" <&- >&- 2>&-', "sh", *arguments], env=command.env, check=False)
    assert shell.returncode == 0
    assert command.ok("check", "--read-data", "--json").messages[-1]["errors"] == 0
