"""Stores that are missing, foreign, newer, damaged or closed to us: a line that says so, and the right exit code."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from snapstore.format import config
from snapstore.format.seal import NO_SESSION, NO_STORE, ObjectType
from snapstore.format.smallobject import read_small, write_small
from snapstore.model import SessionId
from tests.e2e.conftest import Filled, Snapstore

COMMANDS = (["snapshots"], ["ls", "latest"], ["check"], ["stats"], ["snapshot", "."], ["forget", "latest"])


@pytest.fixture
def copy(filled: Filled, tmp_path: Path) -> Iterator[Snapstore]:
    """A store with two snapshots that the test may break."""
    store = tmp_path / "store"
    shutil.copytree(filled.store, store)
    (tmp_path / "home").mkdir()
    yield Snapstore(tmp_path / "home", store)
    for directory, _, _ in os.walk(store):
        os.chmod(directory, 0o700)


def place(command: Snapstore) -> Path:
    assert command.store is not None
    return command.store


def one_line(command: Snapstore, *arguments: str, code: int) -> str:
    result = command(*arguments)
    assert result.code == code, result.errors
    assert result.err.count(b"\n") == 1, result.errors
    assert result.errors.startswith("snapstore: ")
    failure = command(*arguments, "--json").failure
    assert failure["advice"]
    assert failure["message"] in result.errors
    return result.errors


@pytest.mark.parametrize("arguments", COMMANDS)
def test_no_store_is_10(snapstore: Snapstore, tmp_path: Path, arguments: list[str]) -> None:
    missing = one_line(snapstore.at(tmp_path / "nowhere"), *arguments, code=10)
    assert f"{tmp_path}/nowhere" in missing
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "file").touch()
    assert "not a store" in one_line(snapstore.at(foreign), *arguments, code=10)


def test_a_store_in_a_file_is_none(snapstore: Snapstore, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert snapstore.at(tmp_path / "file")("snapshots").code == 10


def test_an_address_that_is_not_known(snapstore: Snapstore) -> None:
    result = snapstore("-s", "gopher://example.org/x", "snapshots")
    assert result.code == 1
    assert "gopher" in result.errors


@pytest.mark.parametrize("arguments", COMMANDS)
def test_a_newer_format_is_refused(copy: Snapstore, arguments: list[str]) -> None:
    path = place(copy) / config.NAME
    _, payload = read_small(path.read_bytes(), ObjectType.CONFIG, store=NO_STORE, name=config.NAME)
    newer = payload.replace(b' format="1"', b' format="2"')
    assert newer != payload
    path.unlink()
    path.write_bytes(write_small(ObjectType.CONFIG, newer, session=NO_SESSION, store=NO_STORE))
    assert "use a newer snapstore" in one_line(copy, *arguments, code=1)


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty"])
def test_a_damaged_config_is_named(copy: Snapstore, damage: str) -> None:
    path = place(copy) / config.NAME
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.unlink()
    damaged: dict[str, bytes] = {"flip": bytes(data), "truncate": bytes(data[:20]), "empty": b""}
    path.write_bytes(damaged[damage])
    result = copy("snapshots")
    assert (result.code, result.err.count(b"\n")) == (1, 1)
    assert "config" in result.errors


def test_check_names_what_is_damaged_and_is_1(copy: Snapstore) -> None:
    pack = max((path for path in (place(copy) / "packs").rglob("*") if path.is_file()), key=lambda p: p.stat().st_size)
    data = bytearray(pack.read_bytes())
    data[len(data) // 3] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(data)
    name = str(pack.relative_to(place(copy)))
    result = copy("check", "--read-data")
    assert result.code == 1
    assert f"error: {name}" in result.text
    *findings, summary = copy("check", "--read-data", "--json").messages
    assert name in {each["object"] for each in findings if each["severity"] == "error"}
    assert summary["errors"] >= 1


def test_a_missing_pack_is_found_by_check_and_by_what_needs_it(copy: Snapstore, tmp_path: Path) -> None:
    for pack in list((place(copy) / "packs").rglob("*")):
        if pack.is_file():
            pack.unlink()
    assert copy("check").code == 1
    assert "packs/" in one_line(copy, "ls", "latest", code=1)
    assert copy("restore", "latest", "--target", str(tmp_path / "back")).code == 1


def test_a_damaged_commit_record_is_named(copy: Snapstore) -> None:
    final = next(path for path in sorted((place(copy) / "refs").iterdir()) if path.name.endswith(".final"))
    data = bytearray(final.read_bytes())
    data[-1] ^= 1
    final.chmod(0o600)
    final.write_bytes(data)
    assert f"refs/{final.name}" in one_line(copy, "snapshots", code=1)


def test_a_damaged_commit_record_does_not_hide_other_snapshots(copy: Snapstore, tmp_path: Path) -> None:
    # The second snapshot relies on what the first one stored, and so on an index that nothing readable names any more.
    first, second = copy.ok("snapshots", "--json").messages
    final = place(copy) / "refs" / f"{first['id']}.final"
    final.chmod(0o600)
    final.write_bytes(b"SNAP")
    result = copy("restore", second["id"], "--target", str(tmp_path / "back"), "--verify")
    assert result.code == 1
    assert result.err.count(b"\n") == 1
    assert f"refs/{final.name} is damaged" in result.errors
    # A new snapshot is made, and relies on nothing that only the damaged record names; the damage is told every time.
    assert copy("snapshot", str(tmp_path / "back")).code == 1
    assert [each["id"] for each in copy("snapshots", "--json").messages][:1] == [second["id"]]
    assert len(copy("snapshots", "--json").messages) == 2
    (place(copy) / "refs" / final.name).unlink()
    for index in (place(copy) / "index").iterdir():
        if first["id"] in index.name:
            index.unlink()
    assert copy("restore", "latest", "--target", str(tmp_path / "again"), "--verify").code == 0


def test_a_read_only_store_can_be_read_and_refuses_to_be_written(copy: Snapstore, filled: Filled) -> None:
    for directory, _, _ in os.walk(place(copy)):
        os.chmod(directory, 0o500)
    assert copy("ls", "latest", powerless=True).code == 0
    assert copy("check", "--read-data", powerless=True).code == 0
    for arguments in (["snapshot", str(filled.source)], ["forget", "first"]):
        result = copy(*arguments, powerless=True)
        assert (result.code, result.err.count(b"\n")) == (1, 1), result.errors
    assert len(copy("snapshots", "--json", powerless=True).messages) == 2


def test_an_ambiguous_prefix_is_refused(copy: Snapstore) -> None:
    # Two ids that begin alike come about once in 65,536 pairs, so one is made: the same record under another id.
    (first, _), finals = copy.ok("snapshots", "--json").messages, place(copy) / "refs"
    old = bytes.fromhex(first["id"])
    twin = SessionId(old[:2] + bytes([old[2] ^ 1]) + old[3:])
    store = config.read_config((place(copy) / config.NAME).read_bytes()).id
    stored = (finals / f"{first['id']}.final").read_bytes()
    _, payload = read_small(stored, ObjectType.FINAL, store=store, name="final")
    renamed = payload.replace(first["id"].encode(), twin.hex().encode())
    for index in list((place(copy) / "index").glob(f"*-{first['id']}")):
        os.link(index, index.with_name(index.name.replace(first["id"], twin.hex())))
    (finals / f"{twin.hex()}.final").write_bytes(write_small(ObjectType.FINAL, renamed, session=twin, store=store))
    assert len(copy.ok("snapshots", "--json").messages) == 3
    error = one_line(copy, "ls", first["id"][:4], code=1)
    assert "2 snapshots" in error
    assert copy("snapshots").code == 0


def test_caches_that_cannot_be_made(copy: Snapstore, filled: Filled) -> None:
    blocked = copy.home / "blocked"
    blocked.write_bytes(b"")
    result = copy.at(copy.store, XDG_CACHE_HOME=str(blocked))("snapshot", filled.source)
    assert (result.code, result.err.count(b"\n")) == (1, 1)
    assert str(blocked) in result.errors


def test_two_snapshots_at_once_both_succeed(copy: Snapstore, filled: Filled) -> None:
    running = [copy.start("snapshot", filled.source, "--name", f"both-{number}") for number in range(2)]
    for process in running:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    assert {"both-0", "both-1"} <= {each["name"] for each in copy.ok("snapshots", "--json").messages}
    copy.ok("check", "--read-data")
