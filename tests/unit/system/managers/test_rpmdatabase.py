"""Databases of every kind, whole and damaged, asked through the rpm of this machine."""

from __future__ import annotations

import os
import shutil
import sqlite3
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from snapstore.errors import HostError, PackageDatabaseError
from snapstore.system import host
from snapstore.system.managers import rpmcopy
from snapstore.system.managers.rpmdatabase import Database, ask, find_databases
from snapstore.system.managers.rpmquery import FILES, PACKAGE, Header
from snapstore.system.managers.rpmrecords import BDB, NDB, SQLITE
from snapstore.system.root import Root
from tests.rpmanswers import HEADER, NDB_PAGE, bdb, ndb, write_sqlite

needs_rpm = pytest.mark.skipif(shutil.which("rpm") is None, reason="the program rpm is not here")

NAME = b"/usr/share/alpha/with space"


class Place:
    """A root with a directory for databases, and what was said of them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.directory = path / "var/lib/rpm"
        self.directory.mkdir(parents=True)
        self.root = Root(bytes(path))
        self.told: list[str] = []

    def warn(self, path: bytes, reason: str) -> None:
        assert path.startswith(b"/")
        self.told.append(reason)

    def ask(self, *names: str) -> list[Header]:
        """What the only database answers; nothing in the root has changed."""
        before = self._state()
        (database,) = find_databases(self.root, self.warn)
        try:
            return ask(self.root, database, FILES, self.warn, *names)
        finally:
            assert self._state() == before

    def _state(self) -> list[tuple[str, int, int]]:
        paths = sorted(self.path.rglob("*"))
        return [(str(path), path.lstat().st_size, path.lstat().st_mtime_ns) for path in paths]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.root.close()


def header() -> bytes:
    return HEADER.read_bytes()


def names_of(found: Header) -> list[bytes]:
    names = found.texts("FILENAMES")
    assert names is not None
    return names


# -- where databases are ----------------------------------------------------------------------------------------------


def test_no_database(place: Place) -> None:
    assert find_databases(place.root) == []


@pytest.mark.parametrize(("name", "kind"), [("rpmdb.sqlite", SQLITE), ("Packages.db", NDB), ("Packages", BDB)])
@pytest.mark.parametrize("directory", ["var/lib/rpm", "usr/lib/sysimage/rpm", "usr/share/rpm", "root/.rpmdb"])
def test_where_databases_are(place: Place, name: str, kind: str, directory: str) -> None:
    (place.path / directory).mkdir(parents=True, exist_ok=True)
    (place.path / directory / name).touch()
    assert find_databases(place.root, place.warn) == [Database(f"/{directory}/{name}".encode(), kind)]
    assert place.told == []


def test_one_database_that_several_directories_lead_to(place: Place) -> None:
    real = place.path / "usr/lib/sysimage/rpm"
    real.mkdir(parents=True)
    (real / "rpmdb.sqlite").touch()
    place.directory.rmdir()
    place.directory.symlink_to("/usr/lib/sysimage/rpm")
    assert find_databases(place.root) == [Database(b"/usr/lib/sysimage/rpm/rpmdb.sqlite", SQLITE)]


def test_an_old_database_beside_a_new_one_is_told_of(place: Place) -> None:
    for name in ("rpmdb.sqlite", "Packages"):
        (place.directory / name).touch()
    assert [each.kind for each in find_databases(place.root, place.warn)] == [SQLITE]
    assert place.told == ["it is not read, because /var/lib/rpm/rpmdb.sqlite is the newer database"]


def test_several_databases(place: Place) -> None:
    (place.path / "root/.rpmdb").mkdir(parents=True)
    for path in (place.directory / "Packages", place.path / "root/.rpmdb/rpmdb.sqlite"):
        path.touch()
    assert [each.kind for each in find_databases(place.root, place.warn)] == [BDB, SQLITE]
    assert place.told == []


# -- whole ones -------------------------------------------------------------------------------------------------------


@needs_rpm
@pytest.mark.parametrize("kind", [SQLITE, NDB, BDB])
def test_every_kind_gives_the_same(place: Place, kind: str) -> None:
    if kind == SQLITE:
        write_sqlite(place.directory / "rpmdb.sqlite", {1: header()})
    elif kind == NDB:
        (place.directory / "Packages.db").write_bytes(ndb({1: header()}))
    else:
        (place.directory / "Packages").write_bytes(bdb())
    (found,) = place.ask()
    assert (found.number, found.damaged, found.text("NAME"), found.number_of("EPOCH")) == (1, False, "alpha", 2)
    assert len(names_of(found)) == 40
    assert place.told == []


@needs_rpm
@pytest.mark.parametrize("kind", [SQLITE, NDB])
def test_records_keep_their_numbers(place: Place, kind: str) -> None:
    headers = {3: header(), 70000: header()}
    if kind == SQLITE:
        write_sqlite(place.directory / "rpmdb.sqlite", headers)
    else:
        (place.directory / "Packages.db").write_bytes(ndb(headers))
    assert [each.number for each in place.ask()] == [3, 70000]
    assert [each.number for each in place.ask("al*")] == [3, 70000]
    assert place.ask("gpg-pubkey") == []
    assert place.told == []


@needs_rpm
@pytest.mark.parametrize("kind", [SQLITE, NDB])
def test_an_empty_database(place: Place, kind: str) -> None:
    if kind == SQLITE:
        write_sqlite(place.directory / "rpmdb.sqlite", {})
    else:
        (place.directory / "Packages.db").write_bytes(ndb({}))
    assert place.ask() == []
    assert place.told == []


@needs_rpm
def test_what_is_still_in_the_write_ahead_log_counts(place: Place) -> None:
    path = place.directory / "rpmdb.sqlite"
    write_sqlite(path, {1: header()})
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute("INSERT INTO Packages VALUES (2, ?)", (header(),))
    connection.commit()
    assert (place.directory / "rpmdb.sqlite-wal").stat().st_size > 0
    assert [each.number for each in place.ask()] == [1, 2]
    connection.close()


@needs_rpm
def test_an_unfinished_transaction_is_told_of_and_not_played_back(place: Place) -> None:
    write_sqlite(place.directory / "rpmdb.sqlite", {1: header()})
    (place.directory / "rpmdb.sqlite-journal").write_bytes(b"x")
    assert [each.number for each in place.ask()] == [1]
    assert place.told == ["a transaction was not finished, and some records may be those of before or after it"]


# -- damaged ones -----------------------------------------------------------------------------------------------------


@needs_rpm
@pytest.mark.parametrize("kind", [SQLITE, NDB])
def test_a_header_that_was_altered_proves_nothing(place: Place, kind: str) -> None:
    altered = header().replace(b"with space\0", b"with\nspace\0")
    assert altered != header()
    headers = {1: header(), 2: altered}
    if kind == SQLITE:
        write_sqlite(place.directory / "rpmdb.sqlite", headers)
    else:
        (place.directory / "Packages.db").write_bytes(ndb(headers))
    first, second = place.ask()
    assert (first.damaged, second.damaged) == (False, True)
    assert NAME in names_of(first)
    assert NAME.replace(b" ", b"\n") in names_of(second)
    assert place.told == ["record 2 does not match its own digest, and proves nothing"]


@needs_rpm
@pytest.mark.parametrize("cut", [0, 8, 24, 500, -1])
def test_a_header_that_breaks_off_is_told_of(place: Place, cut: int) -> None:
    write_sqlite(place.directory / "rpmdb.sqlite", {1: header(), 2: header()[:cut], 3: header()})
    assert [(each.number, each.damaged) for each in place.ask()] == [(1, False), (3, False)]
    assert place.told == ["record 2 cannot be read, so what it owns is not known"]


@needs_rpm
def test_an_altered_header_in_a_berkeley_db(place: Place) -> None:
    altered = bdb().replace(b"with space\0", b"with\nspace\0")
    assert altered != bdb()
    (place.directory / "Packages").write_bytes(altered)
    (found,) = place.ask()
    assert found.damaged
    assert place.told == ["record 1 does not match its own digest, and proves nothing"]


@needs_rpm
@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("rpmdb.sqlite", b""),
        ("rpmdb.sqlite", b"SQLite format 3\0"),
        ("rpmdb.sqlite", b"x" * 8192),
        ("Packages.db", b""),
        ("Packages.db", b"RpmP"),
        ("Packages.db", b"x" * 8192),
        ("Packages.db", struct.pack("<4sIII", b"RpmP", 1, 1, 1) + bytes(8192)),
        ("Packages.db", struct.pack("<4sIII", b"RpmP", 0, 1, 0) + bytes(8192)),
        ("Packages.db", struct.pack("<4sIII", b"RpmP", 0, 1, 1 << 30) + bytes(8192)),
        ("Packages.db", struct.pack("<4sIII", b"RpmP", 0, 1, 1) + bytes(8192)),
        ("Packages", b""),
        ("Packages", b"x" * 8192),
        ("Packages", bdb()[:20]),
        ("Packages", bdb()[:16] + struct.pack("<I", 4) + bdb()[20:]),
        ("Packages", bdb()[:20] + struct.pack("<I", 4095) + bdb()[24:]),
        ("Packages", bdb()[:24] + b"\1" + bdb()[25:]),
        ("Packages", bdb()[:25] + b"\x09" + bdb()[26:]),
        ("Packages", bdb()[:26] + b"\1" + bdb()[27:]),
    ],
)
def test_what_is_no_database(place: Place, name: str, raw: bytes) -> None:
    (place.directory / name).write_bytes(raw)
    with pytest.raises(PackageDatabaseError, match=f"/var/lib/rpm/{name} cannot be read: ") as caught:
        place.ask()
    assert caught.value.advice


@needs_rpm
def test_what_is_no_file(place: Place) -> None:
    (place.directory / "Packages").mkdir()
    with pytest.raises(PackageDatabaseError, match="it is no regular file"):
        place.ask()
    (place.directory / "Packages").rmdir()
    os.mkfifo(place.directory / "Packages")
    with pytest.raises(PackageDatabaseError, match="it is no regular file"):
        place.ask()


@needs_rpm
@pytest.mark.parametrize(
    "schema",
    [
        "CREATE TABLE other (hnum INTEGER, blob BLOB)",
        "CREATE VIEW Packages AS WITH RECURSIVE n(hnum) AS (SELECT 1 UNION ALL SELECT hnum + 1 FROM n) SELECT * FROM n",
        "CREATE VIRTUAL TABLE Packages USING fts5(hnum, blob)",
        "CREATE TABLE Packages (a, b)",
    ],
)
def test_schemas_that_are_not_of_rpm(place: Place, schema: str) -> None:
    connection = sqlite3.connect(place.directory / "rpmdb.sqlite")
    connection.execute(schema)
    connection.commit()
    connection.close()
    with pytest.raises(PackageDatabaseError, match="cannot be read: "):
        place.ask()


@needs_rpm
def test_a_schema_that_is_no_text(place: Place) -> None:
    path = place.directory / "rpmdb.sqlite"
    write_sqlite(path, {1: header()})
    path.write_bytes(path.read_bytes().replace(b"AUTOINCREMENT", b"AUTO\xceNCREMENT"))
    with pytest.raises(PackageDatabaseError, match="its schema is no text"):
        place.ask()


@needs_rpm
def test_rows_that_make_no_sense_are_told_of(place: Place) -> None:
    connection = sqlite3.connect(place.directory / "rpmdb.sqlite")
    connection.execute("CREATE TABLE Packages (hnum, blob)")
    rows = [(1, header()), ("two", header()), (-3, header()), (1 << 40, header()), (4, "text"), (5, None)]
    connection.executemany("INSERT INTO Packages VALUES (?, ?)", rows)
    connection.commit()
    connection.close()
    assert [each.number for each in place.ask()] == [1]
    assert len(place.told) == 5
    assert all("record" in each for each in place.told)


@needs_rpm
def test_records_that_overlap_are_refused(place: Place) -> None:
    """Little file, much to read: every slot's header begins in the one before and goes to the end."""
    count = 200
    tail = bytes(1 << 16)
    blobs, slots = b"", []
    end = NDB_PAGE + 16 * count + len(tail)
    for number in range(1, count + 1):
        at = NDB_PAGE + 16 * (number - 1)
        blobs += struct.pack("<4sIII", b"BlbS", number, 1, end - at - 16)
        slots.append(struct.pack("<4sIII", b"Slot", number, at // 16, (end - at) // 16))
    slots += [struct.pack("<4sIII", b"Slot", 0, 0, 0)] * (NDB_PAGE // 16 - 2 - count)
    head = struct.pack("<4sIII", b"RpmP", 0, 1, 1).ljust(32, b"\0")
    (place.directory / "Packages.db").write_bytes(head + b"".join(slots) + blobs + tail)
    with pytest.raises(PackageDatabaseError, match="its records overlap"):
        place.ask()


@needs_rpm
@pytest.mark.parametrize(("first", "blocks"), [(0, 1), (1 << 31, 4), (256, 0), (256, 1 << 31), (257, 4)])
def test_slots_that_lead_nowhere_are_told_of(place: Place, first: int, blocks: int) -> None:
    raw = bytearray(ndb({1: header(), 2: header()}))
    struct.pack_into("<II", raw, 3 * 16 + 8, first, blocks)
    (place.directory / "Packages.db").write_bytes(raw)
    assert [each.number for each in place.ask()] == [1]
    assert place.told == ["record 2 cannot be read, so what it owns is not known"]


# -- trouble with this machine ----------------------------------------------------------------------------------------


def test_without_the_program(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "find_program", lambda _: "")
    (place.directory / "Packages").write_bytes(bdb())
    with pytest.raises(PackageDatabaseError, match="without the program rpm") as caught:
        place.ask()
    assert "install rpm" in caught.value.advice


@needs_rpm
def test_a_program_that_fails(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> host.Ran:
        raise HostError("rpm did not end in time")

    write_sqlite(place.directory / "rpmdb.sqlite", {1: header()})
    monkeypatch.setattr(host, "run", fail)
    with pytest.raises(PackageDatabaseError, match="rpm cannot be asked: rpm did not end in time"):
        place.ask()


@needs_rpm
@pytest.mark.parametrize("ran", [host.Ran(1, b"", b"error: cannot open it\n"), host.Ran(-9, b"", b"")])
def test_a_program_that_gives_no_answer(place: Place, monkeypatch: pytest.MonkeyPatch, ran: host.Ran) -> None:
    write_sqlite(place.directory / "rpmdb.sqlite", {1: header()})
    run = host.run
    monkeypatch.setattr(host, "run", lambda arguments: ran if "-qa" in arguments else run(arguments))
    with pytest.raises(PackageDatabaseError, match="rpm cannot be asked: "):
        place.ask()


def test_a_program_that_does_not_know_sqlite(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    write_sqlite(place.directory / "rpmdb.sqlite", {1: header()})
    monkeypatch.setattr(host, "find_program", lambda _: "/usr/bin/rpm")
    monkeypatch.setattr(host, "run", lambda *_, **__: host.Ran(0, b"", b"warning: invalid %_db_backend: sqlite\n"))
    with pytest.raises(PackageDatabaseError, match="this machine's rpm cannot be used") as caught:
        place.ask()
    assert "newer rpm" in caught.value.advice


@needs_rpm
def test_what_rpm_says_besides_is_told(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    write_sqlite(place.directory / "rpmdb.sqlite", {1: header()})
    run = host.run

    def noisy(arguments: list[str | bytes]) -> host.Ran:
        ran = run(arguments)
        return host.Ran(ran.code, ran.out, ran.err + b"error: something new\n") if "-qa" in arguments else ran

    monkeypatch.setattr(host, "run", noisy)
    assert [each.number for each in place.ask()] == [1]
    assert place.told == ["rpm says: 'error: something new'"]


def test_a_database_that_does_not_stop_changing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    path = place.directory / "rpmdb.sqlite"
    write_sqlite(path, {1: header()})
    copy = rpmcopy._copy

    def changing(root: Root, source: bytes, target: bytes) -> None:
        copy(root, source, target)
        os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))

    monkeypatch.setattr(host, "find_program", lambda _: "/usr/bin/rpm")
    monkeypatch.setattr(rpmcopy, "_copy", changing)
    (database,) = find_databases(place.root)
    with pytest.raises(PackageDatabaseError, match="does not stop changing"):
        ask(place.root, database, PACKAGE, place.warn)


def test_a_database_of_too_many_bytes(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    write_sqlite(place.directory / "rpmdb.sqlite", {1: header()})
    monkeypatch.setattr(host, "find_program", lambda _: "/usr/bin/rpm")
    monkeypatch.setattr(rpmcopy, "SIZE_LIMIT", 4096)
    with pytest.raises(PackageDatabaseError, match="more than 4096 bytes"):
        place.ask()


def test_statements_end_when_the_time_is_over(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    sqlite3.connect(path).close()
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    with rpmcopy.opened_sqlite(bytes(path), seconds=0.05) as connection, pytest.raises(sqlite3.OperationalError):
        connection.execute(endless).fetchall()


def test_a_copy_cannot_reach_other_files(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    with rpmcopy.opened_sqlite(bytes(path)) as connection, pytest.raises(sqlite3.Error):
        connection.execute("ATTACH DATABASE ? AS other", (str(tmp_path / "other"),))
    assert not (tmp_path / "other").exists()
