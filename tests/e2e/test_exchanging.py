"""`export`, `import` and `show`, as a person calls them."""

from __future__ import annotations

import base64
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from snapstore.backends import open_backend
from snapstore.cli.exchanging import SCOPE_NAMES
from snapstore.ops.scopes import BY_NAME
from snapstore.store.repository import open_store
from tests.e2e.conftest import Filled, Snapstore
from tests.exchange import HASH, ROWS, commit

Documented = Callable[[str, dict[str, Any]], None]


@pytest.fixture
def system(fresh: Snapstore) -> Snapstore:
    """A store with a snapshot, "machine", that has every scope."""
    backend = open_backend(os.fsencode(str(fresh.store)))
    commit(open_store(backend), {b"/etc": {b"fstab": b"fs"}}, ROWS, name="machine")
    return fresh


def test_the_scopes_of_the_command_line_are_those_there_are() -> None:
    assert set(SCOPE_NAMES) == set(BY_NAME)
    assert set(ROWS) == set(BY_NAME)


def test_a_bundle_goes_from_store_to_store(filled: Filled, documented: Documented, tmp_path: Path) -> None:
    path = tmp_path / "b.tar"
    written = filled.snapstore.ok("export", "first", "--bundle", path, "--json", "--no-progress").message
    documented("export", written)
    assert (written["written"], written["form"]) == (path.stat().st_size, "bundle")
    assert path.stat().st_mode & 0o777 == 0o600
    assert filled.snapstore.ok("export", "first", "--bundle", "-").out == path.read_bytes()
    other = filled.snapstore.at(tmp_path / "other")
    other.ok("init", "--no-encryption")
    got = other.ok("import", path, "--json", "--no-progress", "--tag", "more").message
    documented("import", got)
    assert (got["source"], got["verified"], got["name"], got["warnings"]) == ("bundle", True, "first", 0)
    (listed,) = other.ok("snapshots", "--json").messages
    assert listed["tags"] == ["x", "y", "more", "imported"]
    assert other.ok("ls", "first", "-R", "--long").out == filled.snapstore.ok("ls", "first", "-R", "--long").out
    source = filled.source / "a.txt"
    assert other.ok("cat", "first", source).out == b"first\n"
    text = other.ok("import", "-", "--name", "again", stdin=path.read_bytes()).text
    assert "imported from a bundle, the same as it was exported" in text
    assert other.ok("check").code == 0


def test_an_archive_and_nothing_else_goes_to_standard_output(system: Snapstore) -> None:
    plain = system("export", "machine", "--snapfile", "-")
    json = system("export", "machine", "--snapfile", "-", "--json")
    assert plain.out == json.out
    assert plain.out.startswith(b"\x1f\x8b")
    assert (plain.code, json.code) == (3, 3)
    assert plain.errors.startswith("warning: 1 services are left out")
    assert '"message_type":"warning"' in json.errors


def test_a_snapfile_goes_and_comes(system: Snapstore, documented: Documented, tmp_path: Path) -> None:
    path = tmp_path / "s.tgz"
    result = system("export", "machine", "--snapfile", path, "--json", "--no-progress")
    assert result.code == 3
    warning, summary = result.messages
    documented("export", warning)
    documented("export", summary)
    got = system("import", path, "--name", "old", "--json", "--no-progress")
    assert got.code == 0
    for each in got.messages:
        documented("import", each)
    assert got.messages[-1]["source"] == "snapfile"
    names = [each["fields"]["name"] for each in system.ok("show", "old", "packages", "--json").messages]
    assert names == ["apache2", "libc6"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["export", "machine"],
        ["export", "machine", "--bundle", "a", "--snapfile", "b"],
        ["import"],
        ["import", "x", "--name", "latest"],
        ["show", "machine", "--xml"],
        ["show", "machine", "--reveal"],
        ["show", "machine", "--match", "x"],
        ["show", "machine", "nonsense"],
        ["show", "machine", "os", "--xml", "--json"],
        ["show", "machine", "os", "--xml", "--match", "x"],
    ],
)
def test_wrong_usage(system: Snapstore, arguments: list[str]) -> None:
    result = system(*arguments)
    assert (result.code, result.out) == (2, b"")


def test_what_cannot_be_done_is_one_line(system: Snapstore, tmp_path: Path) -> None:
    (tmp_path / "bad").write_bytes(b"not a tar" * 99)
    assert system.store is not None
    for arguments in (
        ["import", tmp_path / "bad"],
        ["import", tmp_path / "missing"],
        ["import", tmp_path],
        ["export", "nothing", "--bundle", tmp_path / "x"],
        ["export", "machine", "--bundle", tmp_path / "no" / "x"],
        ["export", "machine", "--bundle", system.store / "x"],
        ["export", "machine", "--bundle", "/dev/full"],
    ):
        result = system(*arguments)
        assert (result.code, result.out) == (1, b"")
        assert result.err.count(b"\n") == 1, result.err
    assert len(system.ok("snapshots", "--json").messages) == 1
    assert sorted(os.listdir(tmp_path)) == ["bad", "home", "store"]


def test_a_reader_that_goes_away(system: Snapstore, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    result = system("export", "machine", "--bundle", "-", stdout=writing)
    os.close(writing)
    assert (result.code, result.err) == (141, b"")


def test_show_tells_what_the_record_says(system: Snapstore, documented: Documented) -> None:
    text = system.ok("show", "machine").text
    assert "host      old" in text
    assert [line.split() for line in text.splitlines()[-7:]] == [[name, str(len(ROWS[name]))] for name in ROWS]
    first, *others = system.ok("show", "machine", "--json").messages
    for each in (first, *others):
        documented("show", each)
    assert first["name"] == "machine"
    assert [(each["scope"], each["rows"]) for each in others] == [(name, len(rows)) for name, rows in ROWS.items()]


@pytest.mark.parametrize("scope", SCOPE_NAMES)
def test_every_scope_is_shown(system: Snapstore, documented: Documented, scope: str) -> None:
    text = system.ok("show", "machine", scope).text
    assert all(line.isprintable() for line in text.splitlines())
    messages = system.ok("show", "machine", scope, "--json").messages
    assert len(messages) == len(ROWS[scope])
    for each in messages:
        documented("show", each)
        assert each["scope"] == scope
    assert HASH not in text
    assert HASH not in system.ok("show", "machine", scope, "--json").text
    document = system.ok("show", "machine", scope, "--xml").text
    assert HASH not in document
    if scope != "users":
        archive = system.ok("export", "machine", "--bundle", "-").out
        assert document.encode() in archive


def test_tables_are_aligned_and_have_the_columns_that_say_something(system: Snapstore) -> None:
    lines = system.ok("show", "machine", "packages").lines
    assert [line.split() for line in lines[:3]] == [
        ["package:"],
        ["Manager", "Name", "Version", "Arch", "Reason", "State", "Held", "Size"],
        ["dpkg", "apache2", "2.4.57-2", "amd64", "manual", "installed", "yes"],
    ]
    assert lines[1].index("Version") == lines[2].index("2.4.57-2")
    assert lines[5] == ""
    assert lines[6:8] == ["diversion:", "Path             Target"]
    assert lines[8].startswith("/usr/bin/\\xff\\n  ")


def test_secrets_are_shown_when_asked_for(system: Snapstore) -> None:
    assert "(hidden)" in system.ok("show", "machine", "users").text
    assert HASH in system.ok("show", "machine", "users", "--reveal").text
    root, web, *_ = system.ok("show", "machine", "users", "--json").messages
    assert (root["hidden"], "password" in root["fields"]) == (["password"], False)
    assert "hidden" not in web
    root, *_ = system.ok("show", "machine", "users", "--json", "--reveal").messages
    assert root["fields"]["password"] == HASH
    document = system.ok("show", "machine", "users", "--xml", "--reveal").out
    assert document in system.ok("export", "machine", "--bundle", "-").out
    left_out = system.ok("show", "machine", "users", "--xml")
    assert left_out.out == document.replace(b' password="' + HASH.encode() + b'"', b"")
    assert "secrets are left out" in left_out.errors


def test_rows_are_chosen_by_what_names_them(system: Snapstore) -> None:
    def names(*arguments: str) -> list[str]:
        return [each["fields"]["name"] for each in system.ok("show", "machine", *arguments, "--json").messages]

    assert names("packages", "--match", "apache*") == ["apache2"]
    assert names("services", "--match", "*e.service") == ["mine.service"]
    assert names("packages", "--match", "APACHE*") == []
    assert system.ok("show", "machine", "packages", "--match", "no such").out == b""
    (odd,) = system.ok("show", "machine", "files", "--match", "/srv/*", "--json").messages
    assert base64.b64decode(odd["fields"]["path_b64"]) == b"/srv/new\n"
    assert (odd["kind"], odd["fields"]["class"], odd["fields"]["mode"]) == ("path", "unmanaged", "0640")


def test_a_snapshot_without_a_scope_says_so(filled: Filled) -> None:
    result = filled.snapstore("show", "first", "users")
    assert (result.code, result.out) == (1, b"")
    assert "--system" in result.errors
    assert "Scope" not in filled.snapstore.ok("show", "first").text


def test_python_and_tar_agree_on_a_bundle(system: Snapstore, tmp_path: Path) -> None:
    path = tmp_path / "b.tar"
    system.ok("export", "machine", "--bundle", path)
    listed = subprocess.run(["tar", "-tf", path], capture_output=True, check=True)
    assert listed.stdout.decode().splitlines() == [
        *(f"{name}.xml" for name in ROWS), "snapshot.xml", "root/etc/", "root/etc/fstab",
    ]  # fmt: skip
