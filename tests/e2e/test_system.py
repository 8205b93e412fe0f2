"""The commands about systems, driven on a tiny one."""

from __future__ import annotations

import json
import os
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Snapstore
from tests.surveying import on_disk
from tests.tinysystem import TinySystem, tiny_system

Documented = Callable[[str, dict[str, Any]], None]


@pytest.fixture
def system(tmp_path: Path) -> TinySystem:
    return tiny_system(tmp_path)


def of(messages: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [message for message in messages if message["message_type"] == kind]


def audit(snapstore: Snapstore, system: TinySystem, *options: str) -> list[dict[str, Any]]:
    return snapstore.ok("--json", "audit", "--root", system.root, *options).messages


def changed(snapstore: Snapstore, system: TinySystem) -> dict[str, tuple[str, list[str]]]:
    return {each["path"]: (each["class"], each["changes"]) for each in of(audit(snapstore, system), "file")}


def test_a_fresh_system_shows_only_what_is_nobodys(
    snapstore: Snapstore, system: TinySystem, documented: Documented
) -> None:
    messages = audit(snapstore, system)
    for message in messages:
        documented("audit", message)
    found = {each["path"]: each["class"] for each in of(messages, "file")}
    assert set(found.values()) == {"unmanaged"}
    assert "/srv/data" in found
    assert not [path for path in found if path.startswith(("/usr", "/etc/tool"))]


def test_the_totals_are_what_is_on_disk(snapstore: Snapstore, system: TinySystem) -> None:
    messages = audit(snapstore, system)
    there = [each for each in of(messages, "class_total") if each["class"] != "missing"]
    sums = tuple(sum(each[name] for each in there) for name in ("files", "directories", "others", "size"))
    assert sums == on_disk(os.fsencode(system.root))
    (summary,) = of(messages, "summary")
    assert tuple(summary[name] for name in ("files", "directories", "others", "size")) == sums


def test_changes_are_told_with_their_packages(snapstore: Snapstore, system: TinySystem) -> None:
    before = changed(snapstore, system)
    system.write("/etc/tool.conf", b"# settings of tool\nlevel = 2\nspeed = 2\n")
    os.chmod(system.path("/usr/bin/tool"), 0o4755)
    os.unlink(system.path("/usr/lib/library.so"))
    system.write(b"/usr/bin/new\n\xff", b"x")
    after = {path: told for path, told in changed(snapstore, system).items() if path not in before}
    assert after == {
        "/etc/tool.conf": ("changed", ["content"]), "/usr/bin/tool": ("changed", ["mode"]),
        "/usr/lib/library.so": ("missing", []), "/usr/bin/new��": ("unmanaged", []),
    }  # fmt: skip
    text = snapstore.ok("audit", "--root", system.root).text
    assert "tool\n    /etc/tool.conf  content, [config]\n" in text
    assert "/usr/bin/tool  mode 4755, packaged 0644, setuid or setgid" in text
    assert "/usr/bin/new\\n\\xff" in text


def test_failing_on_change_is_asked_for(snapstore: Snapstore, system: TinySystem) -> None:
    command = ("audit", "--root", system.root, "--fail-on-change", "--class", "changed", "--class", "missing")
    assert snapstore(*command).code == 0
    os.unlink(system.path("/usr/bin/t"))
    assert snapstore(*command).code == 1


def test_the_audit_as_xml_is_one_document_without_secrets(snapstore: Snapstore, system: TinySystem) -> None:
    out = snapstore.ok("audit", "--root", system.root, "--xml").out
    root = ET.fromstring(out)  # noqa: S314 - it is our own
    assert [each.tag.rpartition("}")[2] for each in root] == [
        "os", "packages", "repos", "users", "services", "files", "completeness",
    ]  # fmt: skip
    assert b"hash-of-root" not in out
    assert b'name="tool"' in out


def test_the_audit_as_a_page(snapstore: Snapstore, system: TinySystem, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    snapstore.ok("audit", "--root", system.root, "--html", page)
    data = page.read_bytes()
    assert data.startswith(b"<!DOCTYPE html>")
    assert b"Tiny 1" in data
    assert b"hash-of-root" not in data


@pytest.mark.parametrize("arguments", [("audit", "--root", "/nowhere/at/all"), ("snapshot", "--root", "/etc/hostname")])
def test_a_root_that_is_none_is_an_error(fresh: Snapstore, arguments: tuple[str, ...]) -> None:
    failure = fresh("--json", *arguments)
    assert failure.code == 1
    assert "cannot be used as a root" in failure.failure["message"]


def test_a_damaged_database_is_an_error_or_a_warning(snapstore: Snapstore, system: TinySystem) -> None:
    (system.local / "tool-1.0-1/mtree").write_bytes(b"garbage")
    result = snapstore("--json", "audit", "--root", system.root)
    assert result.code == 3
    assert of(result.messages, "warning")
    told = {each["path"]: each["changes"] for each in of(result.messages, "file")}
    assert "unverified" in told["/usr/bin/tool"]
    assert of(snapstore("--json", "audit", "--root", system.root).messages, "warning"), "the second time as well"
    (system.local / "ALPM_DB_VERSION").write_text("8\n")
    result = snapstore("--json", "audit", "--root", system.root)
    assert result.code == 1
    assert "8" in result.failure["message"]


# -- snapshots --------------------------------------------------------------------------------------------------------


def take(fresh: Snapstore, system: TinySystem, *options: str) -> dict[str, Any]:
    (summary,) = of(fresh.ok("--json", "snapshot", "--root", system.root, *options).messages, "summary")
    return summary


def listed(fresh: Snapstore) -> set[str]:
    return {each["path"] for each in fresh.ok("--json", "ls", "latest", "-R", "/").messages}


def test_a_snapshot_holds_what_packages_do_not_bring_back(fresh: Snapstore, system: TinySystem) -> None:
    take(fresh, system)
    paths = listed(fresh)
    assert {"/srv/data/one", "/etc/passwd", "/etc/pacman.conf"} <= paths
    assert not [path for path in paths if path.startswith("/usr")]
    assert fresh.ok("cat", "latest", "/srv/data/one").out == b"1" * 1000
    assert fresh.ok("check", "--read-data").code == 0


def test_everything_can_be_stored_as_well(fresh: Snapstore, system: TinySystem) -> None:
    take(fresh, system, "--no-skip-packaged")
    assert {"/usr/bin/tool", "/usr/bin/t", "/usr/share/tool/help text", "/srv/data/one"} <= listed(fresh)


def test_a_second_snapshot_reads_and_stores_nothing(fresh: Snapstore, system: TinySystem) -> None:
    system.settle()
    take(fresh, system)
    second = take(fresh, system)
    assert second["stored_data"] == 0
    assert second["new_data"] == 0


def test_a_dry_run_writes_nothing(fresh: Snapstore, system: TinySystem) -> None:
    dry = take(fresh, system, "--dry-run")
    assert dry["snapshot"] is None
    assert dry["new_data"] > 0
    assert fresh.ok("--json", "snapshots").messages == []


def test_the_records_can_be_shown(fresh: Snapstore, system: TinySystem) -> None:
    take(fresh, system)
    rows = of(fresh.ok("--json", "show", "latest", "packages").messages, "row")
    assert {row["fields"]["name"]: row["fields"]["version"] for row in rows if row["kind"] == "package"} == {
        "library": "2.5-3", "tool": "1.0-1",
    }  # fmt: skip
    users = fresh.ok("show", "latest", "users").text
    assert "hash-of-root" not in users
    assert "tester" in users


def test_the_budget_answers_how_big_it_is(fresh: Snapstore, system: TinySystem, documented: Documented) -> None:
    take(fresh, system)
    message = fresh.ok("--json", "stats", "--budget").message
    documented("stats", message)
    assert message["on_disk"] == on_disk(os.fsencode(system.root))[3]
    assert message["classes"]["pristine"]["size"] > 10_000
    assert message["carried"] == take(fresh, system)["size"]
    assert "pristine" in fresh.ok("stats", "--budget").text


def test_options_of_systems_and_of_paths_do_not_mix(fresh: Snapstore, system: TinySystem) -> None:
    for arguments in (
        ("--system", "/etc"), ("--root", "/", "/etc"), ("--no-skip-packaged", "/etc"), ("--one-file-system",),
        ("--system", "--stdin-name", "x"), ("--reference", "/x", "/etc"), ("--root", ""),
    ):  # fmt: skip
        assert fresh("snapshot", *arguments).code == 2, arguments


# -- diff -------------------------------------------------------------------------------------------------------------


def alter(system: TinySystem) -> None:
    system.write("/etc/tool.conf", b"# settings of tool\nlevel = 2\npassword = hunter2hunter2\n")
    system.install("library", "2.6-1", {"/usr/lib/library.so": b"new library\n" * 100})
    system.install("extra", "0.1-1", {"/usr/share/extra": b"extra\n"})
    system.write("/srv/data/three", b"3")
    os.unlink(system.path("/srv/data/one"))
    system.write("/etc/group", b"root:x:0:\nstaff:x:50:tester,root\nnew:x:60:\n")
    os.unlink(system.path("/usr/share/tool/help text"))


def check_diff(messages: list[dict[str, Any]]) -> None:
    things = {(each["scope"], each["kind"], each["change"]) for each in of(messages, "scope_change")}
    assert things == {
        ("packages", "package", "up"), ("packages", "package", "added"), ("users", "group", "changed"),
        ("users", "group", "added"),
    }  # fmt: skip
    files = {each["path"]: each for each in of(messages, "change")}
    assert files["/etc/tool.conf"]["pristine"] == "before"
    assert files["/etc/tool.conf"]["packages"] == ["tool"]
    assert files["/srv/data/three"]["kinds"] == ["added"]
    assert files["/srv/data/one"]["kinds"] == ["removed"]
    assert files["/usr/share/tool/help text"]["missing"] == "after"
    assert "/usr/lib/library.so" not in files, "the package manager brings it back"
    assert "/etc" not in files, "only its time has changed"
    (hunk,) = [files["/etc/group"]["hunks"]]
    assert "+new:x:60:" in hunk


def test_a_diff_of_two_snapshots_is_by_meaning(fresh: Snapstore, system: TinySystem, documented: Documented) -> None:
    take(fresh, system)
    alter(system)
    take(fresh, system)
    messages = fresh.ok("--json", "diff", "latest~1", "latest").messages
    for message in messages:
        documented("diff", message)
    check_diff(messages)
    text = fresh.ok("diff", "latest~1", "latest").text
    assert "^ package library any  2.5-3 -> 2.6-1\n" in text
    assert "+ package extra any  0.1-1\n" in text
    assert "hunter2" not in text


def test_a_diff_against_the_live_system_is_the_same(fresh: Snapstore, system: TinySystem) -> None:
    take(fresh, system)
    assert fresh.ok("--json", "diff", "latest", "--live", "--root", system.root).message["message_type"] == "summary"
    alter(system)
    result = fresh.ok("--json", "diff", "latest", "--live", "--root", system.root)
    check_diff(result.messages)
    assert len(fresh.ok("--json", "snapshots").messages) == 1
    only = fresh.ok("--json", "diff", "latest", "/srv", "--live", "--root", system.root).messages
    assert {each["path"] for each in of(only, "change")} == {"/srv/data/one", "/srv/data/three"}


def test_secrets_do_not_show_in_hunks(fresh: Snapstore, system: TinySystem) -> None:
    system.write("/etc/app.conf", b"user = me\npassword = hunter2hunter2\n")
    take(fresh, system)
    system.write("/etc/app.conf", b"user = you\npassword = correct-horse-battery\n")
    out = fresh.ok("diff", "latest", "--live", "--root", system.root).text
    assert "+user = you" in out
    assert "hunter2" not in out
    assert "correct-horse" not in out


def test_a_diff_against_live_paths(fresh: Snapstore, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/a").write_bytes(b"a")
    fresh.ok("snapshot", tmp_path / "tree")
    (tmp_path / "tree/b").write_bytes(b"b")
    messages = fresh.ok("--json", "diff", "latest", "--live").messages
    assert {each["path"] for each in of(messages, "change") if each["kinds"] == ["added"]} == {str(tmp_path / "tree/b")}


def test_manifests_change_only_where_something_changed(fresh: Snapstore, system: TinySystem) -> None:
    take(fresh, system)
    before = {
        name: fresh.ok("show", "latest", name, "--xml").text.splitlines() for name in ("packages", "files", "users")
    }
    system.write("/etc/tool.conf", b"changed\n")
    take(fresh, system)
    after = {name: fresh.ok("show", "latest", name, "--xml").text.splitlines() for name in before}
    assert after["packages"] == before["packages"]
    assert after["users"] == before["users"]
    new = [line for line in after["files"] if line not in before["files"]]
    assert len(new) == 1
    assert 'path="/etc/tool.conf"' in new[0]
    assert [line for line in before["files"] if line not in after["files"]] == []


def test_json_stays_json_with_hostile_names(fresh: Snapstore, system: TinySystem) -> None:
    system.write(b"/srv/\x1b[2J\n\xff", b"x")
    take(fresh, system)
    for line in fresh.ok("--json", "show", "latest", "files").out.splitlines():
        json.loads(line)
    assert "\x1b" not in fresh.ok("show", "latest", "files").text
