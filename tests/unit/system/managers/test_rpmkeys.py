"""The keys that rpm trusts, in its database and beside it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from blake3 import blake3

from snapstore.system.managers import rpmkeys
from snapstore.system.managers.rpmdatabase import Database
from snapstore.system.managers.rpmkeys import imported_keys
from snapstore.system.managers.rpmquery import KEYS, Header, read_answer
from snapstore.system.managers.rpmrecords import SQLITE
from snapstore.system.root import Root
from snapstore.system.scopes.repositories import SigningKey
from tests.rpmanswers import HEADER, RECORDED, Value, answer, write_sqlite

KEY = RECORDED / "key.asc"
FINGERPRINT = "E704B499F8B35CDC7C64908C5DC8D5E275C262A9"
OWNER = "Example Packages <packages@example.org>"
DATABASE = b"/var/lib/rpm/rpmdb.sqlite"


def row(file: bytes, data: bytes) -> SigningKey:
    return SigningKey(
        file=file, fingerprint=FINGERPRINT, owner=OWNER, created=1795592935, digest=blake3(data).hexdigest()
    )


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    (tmp_path / "var/lib/rpm/pubkeys").mkdir(parents=True)
    with Root(bytes(tmp_path)) as opened:
        yield opened


def unheard(path: bytes, reason: str) -> None:
    """Nothing is to be said."""
    raise AssertionError(path, reason)


def answers(monkeypatch: pytest.MonkeyPatch, *headers: dict[str, Value]) -> None:
    """The database gives these headers when it is asked for keys."""
    parts = [
        answer(number, KEYS, {"NAME": b"gpg-pubkey", "VERSION": b"75c262a9", "RELEASE": b"6b0692e7", **values})
        for number, values in enumerate(headers)
    ]

    def ask(*arguments: object) -> list[Header]:
        assert arguments[-1] == "gpg-pubkey"
        return list(read_answer(b"".join(parts), KEYS))

    monkeypatch.setattr(rpmkeys, "find_databases", lambda _: [Database(DATABASE, SQLITE)])
    monkeypatch.setattr(rpmkeys, "ask", ask)


def test_a_key_in_the_database(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    data = KEY.read_bytes().replace(b"\n\n", b"\nVersion: rpm-4.18.0\n\n", 1)
    answers(monkeypatch, {"DESCRIPTION": data}, {"DESCRIPTION": data})
    told: list[str] = []
    assert imported_keys(root, lambda _, reason: told.append(reason)) == [row(DATABASE, data)]
    assert told == []


def test_what_is_no_key_is_told_of(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, {"DESCRIPTION": b"(none)"}, {}, {"DESCRIPTION": KEY.read_bytes()[:300]}, {"DESCRIPTION": 3})
    told: list[str] = []
    assert imported_keys(root, lambda _, reason: told.append(reason)) == []
    assert len(told) == 4
    assert told[0].startswith("the key 75c262a9-6b0692e7 cannot be read as a key: ")


def test_keys_in_files(root: Root, tmp_path: Path) -> None:
    place = tmp_path / "var/lib/rpm/pubkeys"
    (place / "a.key").write_bytes(KEY.read_bytes())
    (place / "b.key").write_bytes(b"x")
    (place / "c.key").mkdir()
    (place / "other").write_bytes(KEY.read_bytes())
    told: list[str] = []
    found = imported_keys(root, lambda _, reason: told.append(reason))
    assert found == [row(b"/var/lib/rpm/pubkeys/a.key", KEY.read_bytes())]
    assert [each.split(" cannot be read")[0] for each in told] == ["b.key", "c.key"]


def test_several_directories_that_are_one(root: Root, tmp_path: Path) -> None:
    (tmp_path / "usr/lib/sysimage").mkdir(parents=True)
    (tmp_path / "usr/lib/sysimage/rpm").symlink_to("/var/lib/rpm")
    (tmp_path / "var/lib/rpm/pubkeys/a.key").write_bytes(KEY.read_bytes())
    assert [each.file for each in imported_keys(root, unheard)] == [b"/var/lib/rpm/pubkeys/a.key"]


@pytest.mark.skipif(shutil.which("rpm") is None, reason="the program rpm is not here")
def test_a_database_without_keys(root: Root, tmp_path: Path) -> None:
    write_sqlite(tmp_path / "var/lib/rpm/rpmdb.sqlite", {1: HEADER.read_bytes()})
    assert imported_keys(root, unheard) == []
