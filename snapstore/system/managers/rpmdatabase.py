"""The databases of rpm in a root, and how they are asked.

Nothing is run in the root, and rpm never sees the root's own files: the headers are taken out of a private copy and put
into a database that this machine's rpm has just made, empty, in a private directory. So neither the schema of a hostile
database nor its journal reaches rpm, a damaged index is of no consequence, and formats that this machine's rpm was
built without are read all the same. A Berkeley DB alone is given to rpm as it is, which reads it with code of its own.

rpm compares every header with the digest in it. What does not match is asked for once more without that, to know at
least what it owns.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from snapstore.errors import HostError, PackageDatabaseError
from snapstore.system import host
from snapstore.system.managers.rpmcopy import are_tables, opened_sqlite, private_copy
from snapstore.system.managers.rpmquery import Header, Tags, query_format, read_answer
from snapstore.system.managers.trouble import Trouble, shown
from snapstore.system.packages import Warn
from snapstore.system.root import Root, RootError

SQLITE, NDB, BDB = "sqlite", "ndb", "bdb_ro"
"""Kinds of databases, by the name of rpm's code that reads them."""

DIRECTORIES = (b"/usr/lib/sysimage/rpm", b"/var/lib/rpm", b"/usr/share/rpm", b"/root/.rpmdb")
FILES = {b"rpmdb.sqlite": SQLITE, b"Packages.db": NDB, b"Packages": BDB}
"""What a database is called in its directory, the newest kind first."""

_PRIVATE = b"/root/.rpmdb"
_WAL, _JOURNAL = b"-wal", b"-journal"
_RECORDS = 1 << 20
_LAST_NUMBER = (1 << 32) - 1
_NDB_HEADER = struct.Struct("<4sIII")
_NDB_SLOT = struct.Struct("<4sIII")
_NDB_PAGE, _NDB_BLOCK = 4096, 16
_BDB_MAGICS = {struct.pack(order + "I", 0x061561) for order in "<>"}
_HEADER_LIMIT = 1 << 28
_HEADER_LEAST = 24
"""Two counts and one entry. rpm takes an empty value for the end of its table."""

_EXPLAINED = (b"error: rpmdbNextIterator: skipping", b"Header ", b"Package ")
"""How the lines start with which rpm says that it leaves a header out; those are found by their absence."""


class Database(NamedTuple):
    """One database: its file, with all links resolved, and its kind."""

    path: bytes
    kind: str


def find_databases(root: Root, warn: Warn | None = None) -> list[Database]:
    """The databases of a root, each once however many directories lead to it. PackageDatabaseError.

    That /root cannot be looked into is a warning: it is where rpm keeps its database on systems that are not made of
    rpm packages, and closed to everybody but root.
    """
    found: dict[bytes, Database] = {}
    for directory in DIRECTORIES:
        try:
            here = [
                Database(root.resolve(directory + b"/" + name), kind)
                for name, kind in FILES.items()
                if root.status(directory + b"/" + name, follow=True) is not None
            ]
        except RootError as error:
            if directory != _PRIVATE or error.errno not in (errno.EACCES, errno.EPERM):
                raise PackageDatabaseError(
                    f"{os.fsdecode(directory)} cannot be looked into: {error.strerror}",
                    advice="run it as root, if the root is that of a running system",
                ) from error
            if warn is not None:
                warn(directory, f"it cannot be seen whether there is a database of rpm: {error.strerror}")
            continue
        for each in here[1:]:
            if warn is not None and each.path not in found:
                warn(each.path, f"it is not read, because {os.fsdecode(here[0].path)} is the newer database")
        for each in here[:1]:
            found.setdefault(each.path, each)
    return list(found.values())


def ask(root: Root, database: Database, tags: Tags, warn: Warn, *names: str) -> list[Header]:
    """The headers of a database, by number; with names (globs) only those of such packages. PackageDatabaseError."""
    if not host.find_program("rpm"):
        raise PackageDatabaseError(
            f"{os.fsdecode(database.path)} cannot be read without the program rpm",
            advice="install rpm on this machine; distributions of all kinds have it",
        )
    files = (database.path, database.path + _WAL) if database.kind == SQLITE else (database.path,)
    try:
        with private_copy(root, files) as copied, Trouble(warn, database.path) as trouble:
            name = os.path.join(copied, os.path.basename(database.path))
            if database.kind == BDB:
                _require_bdb(database, name)
                return _headers(database, copied, tags, numbers=None, trouble=trouble, names=names)
            if database.kind == SQLITE and _has_journal(root, database):
                trouble("a transaction was not finished, and some records may be those of before or after it")
            directory = os.path.join(copied, b"asked")
            room = sum(os.stat(os.path.join(copied, each)).st_size for each in os.listdir(copied))
            records = _sqlite_records if database.kind == SQLITE else _ndb_records
            numbers = _fill(directory, database, records(name, database, trouble), room)
            return _headers(database, directory, tags, numbers=numbers, trouble=trouble, names=names)
    except OSError as error:
        raise _unreadable(database, error.strerror or str(error)) from error


def _headers(
    database: Database, directory: bytes, tags: Tags, *, numbers: frozenset[int] | None, trouble: Trouble,
    names: tuple[str, ...],
) -> list[Header]:  # fmt: skip
    """What rpm gives, and with a second question what it does not give for want of a right digest.

    `numbers` are those of all headers, None where only rpm can know them.
    """
    answer, complaints = _question(database, directory, tags, *names)
    headers = {header.number: header for header in answer}
    if complaints or (numbers is not None and not names and len(headers) < len(numbers)):
        again, _ = _question(database, directory, tags, "--nodigest", *names)
        for header in again:
            if header.number not in headers:
                headers[header.number] = header._replace(damaged=True)
                trouble(f"record {header.number} does not match its own digest, and proves nothing")
    if numbers is not None and not names:
        for number in sorted(numbers - headers.keys()):
            trouble(f"record {number} cannot be read, so what it owns is not known")
    for line in complaints:
        if numbers is None or not line.startswith(_EXPLAINED):
            trouble(f"rpm says: {shown(line)}")
    return [headers[number] for number in sorted(headers)]


def _question(database: Database, directory: bytes, tags: Tags, *arguments: str) -> tuple[list[Header], list[bytes]]:
    """The headers that rpm gives, and what it complains about."""
    kind = BDB if database.kind == BDB else SQLITE
    ran = _rpm(directory, kind, "--nosignature", "-qa", "--queryformat", query_format(tags), *arguments)
    # The files beside a Berkeley DB are indexes, which are not copied and not asked for.
    index = b"warning: could not open %b/" % directory
    complaints = [line for line in ran.err.splitlines() if line.strip() and not line.startswith(index)]
    if ran.code or any(b"_db_backend" in line or b"dummy database" in line for line in complaints):
        raise _unreadable(database, shown(complaints[0]) if complaints else f"rpm ended with {ran.code}")
    return list(read_answer(ran.out, tags)), complaints


def _unreadable(database: Database, why: str) -> PackageDatabaseError:
    advice = "restore it from a backup, or make it anew with `rpm --rebuilddb`"
    if database.kind == BDB:
        advice = (
            "this rpm may have been built without Berkeley DB: `rpm --rebuilddb` of the root's own makes it a new one"
        )
    return PackageDatabaseError(f"{os.fsdecode(database.path)} cannot be read: {why}", advice=advice)


def _rpm(directory: bytes, kind: str, *arguments: str | bytes) -> host.Ran:
    program = host.find_program("rpm")
    try:
        return host.run([program, "--define", f"_db_backend {kind}", "--dbpath", directory, *arguments])
    except HostError as error:
        raise PackageDatabaseError(f"rpm cannot be asked: {error.message}", advice=error.advice) from error


def _has_journal(root: Root, database: Database) -> bool:
    """Whether there is a rollback journal. It may name any file of this machine, so SQLite does not get to see it."""
    status = root.status(database.path + _JOURNAL, follow=True)
    return status is not None and stat.S_ISREG(status.st_mode) and status.st_size > 0


def _require_bdb(database: Database, copy: bytes) -> None:
    with open(copy, "rb") as file:
        if file.read(16)[12:] not in _BDB_MAGICS:
            raise _unreadable(database, "it is no hash table of Berkeley DB")


def _fill(directory: bytes, database: Database, records: Iterable[tuple[int, bytes]], room: int) -> frozenset[int]:
    """The numbers of the records, which are in a fresh database in that directory, and together fit into `room`."""
    os.mkdir(directory, 0o700)
    ran = _rpm(directory, SQLITE, "--initdb")
    fresh = os.path.join(directory, b"rpmdb.sqlite")
    if ran.code or not os.path.exists(fresh):
        why = shown(ran.err.splitlines()[0]) if ran.err.strip() else "it makes no database"
        raise PackageDatabaseError(
            f"{os.fsdecode(database.path)} cannot be read with this machine's rpm: {why}",
            advice="a newer rpm, with support for SQLite, is needed",
        )
    numbers = set()
    try:
        with opened_sqlite(fresh) as connection:
            connection.execute("PRAGMA synchronous = OFF")
            for number, header in records:
                room -= len(header)
                if room < 0:
                    raise _unreadable(database, "its records overlap")
                connection.execute("INSERT INTO Packages (hnum, blob) VALUES (?, ?)", (number, header))
                numbers.add(number)
            connection.commit()
    except sqlite3.Error as error:
        raise _unreadable(database, str(error)) from error
    return frozenset(numbers)


def _sqlite_records(path: bytes, database: Database, trouble: Trouble) -> Iterator[tuple[int, bytes]]:
    """Numbers and headers; those that cannot be had are told of. PackageDatabaseError."""
    try:
        with opened_sqlite(path) as connection:
            if not are_tables(connection, "Packages"):
                raise _unreadable(database, "it has no table of packages")
            rows = connection.execute("SELECT hnum FROM Packages").fetchmany(_RECORDS + 1)
            if len(rows) > _RECORDS:
                raise _unreadable(database, f"it has more than {_RECORDS} records")
            for (number,) in rows:
                if not isinstance(number, int) or not 0 < number <= _LAST_NUMBER:
                    trouble(f"the number of a record makes no sense: {str(number)[:40]!r}")
                    continue
                header = _blob(connection, number, trouble)
                if header is not None:
                    yield number, header
    except sqlite3.Error as error:
        raise _unreadable(database, str(error)) from error


def _blob(connection: sqlite3.Connection, number: int, trouble: Trouble) -> bytes | None:
    """One header; None and a warning where the pages that it is on are damaged. sqlite3.OperationalError for time."""
    try:
        row = connection.execute("SELECT blob FROM Packages WHERE hnum = ?", (number,)).fetchone()
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        trouble(f"record {number} cannot be read, so what it owns is not known: {error}")
        return None
    if row is None or not isinstance(row[0], bytes) or len(row[0]) < _HEADER_LEAST:
        trouble(f"record {number} is no header, so what it owns is not known")
        return None
    return row[0]


def _ndb_records(path: bytes, database: Database, trouble: Trouble) -> Iterator[tuple[int, bytes]]:
    """Numbers and headers of rpm's own format: pages of slots, each of which says where a header is.

    Numbers are little-endian. A slot: its mark, the number of the header (0 for a free slot, and then all is 0), first block and number of
    blocks of 16 bytes. There: a mark, the number again, a generation, the length, and the header. rpm reads it with
    lib/backend/ndb/rpmpkg.c.
    """
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(_NDB_HEADER.size)
        if len(head) < _NDB_HEADER.size or head[:4] != b"RpmP":
            raise _unreadable(database, "it is no database of packages")
        _, version, _, pages = _NDB_HEADER.unpack(head)
        if version or not 0 < pages * _NDB_PAGE <= min(size, _RECORDS * _NDB_SLOT.size):
            raise _unreadable(database, "its first page makes no sense")
        file.seek(0)
        slots = file.read(pages * _NDB_PAGE)
        seen = set()
        for at in range(2 * _NDB_SLOT.size, len(slots), _NDB_SLOT.size):
            mark, number, first, blocks = _NDB_SLOT.unpack_from(slots, at)
            if mark != b"Slot":
                raise _unreadable(database, "its table of records is damaged")
            if not number:
                if first or blocks:
                    trouble("a record has no number, so what it owns is not known")
                continue
            header = (
                b""
                if number in seen
                else _ndb_blob(file.fileno(), number, first, min(blocks, size // _NDB_BLOCK - first))
            )
            if len(header) >= _HEADER_LEAST:
                seen.add(number)
                yield number, header
            else:
                trouble(f"record {number} cannot be read, so what it owns is not known")


def _ndb_blob(fd: int, number: int, first: int, blocks: int) -> bytes:
    """One header; empty if there is none."""
    if not 0 < blocks * _NDB_BLOCK <= _HEADER_LIMIT:
        return b""
    raw = os.pread(fd, blocks * _NDB_BLOCK, first * _NDB_BLOCK)
    if len(raw) < _NDB_SLOT.size:
        return b""
    mark, again, _, length = _NDB_SLOT.unpack_from(raw, 0)
    if mark != b"BlbS" or again != number or length > len(raw) - _NDB_SLOT.size:
        return b""
    return raw[_NDB_SLOT.size : _NDB_SLOT.size + length]
