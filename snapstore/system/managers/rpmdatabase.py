"""The databases of rpm in a root, and how they are asked.

Nothing is run in the root, and rpm never sees the root's own files: the records are taken out of a private copy and put
into a database that this machine's rpm has just made, empty, in a private directory. So neither the schema of a hostile
database nor its journal reaches rpm, a damaged index is of no consequence, and formats that this machine's rpm was
built without are read all the same. What a header says is left to rpm, which compares each with the digest in it. One
that does not match is asked for once more without that, to know at least what it owns.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
from collections.abc import Iterable
from typing import NamedTuple

from snapstore.errors import HostError, PackageDatabaseError
from snapstore.system import host
from snapstore.system.managers.rpmcopy import opened_sqlite, private_copy
from snapstore.system.managers.rpmquery import Header, Tags, query_format, read_answer
from snapstore.system.managers.rpmrecords import BDB, NDB, SQLITE, DamagedDatabaseError, read_records
from snapstore.system.managers.trouble import Trouble, shown
from snapstore.system.packages import Warn
from snapstore.system.root import Root, RootError

DIRECTORIES = (b"/usr/lib/sysimage/rpm", b"/var/lib/rpm", b"/usr/share/rpm", b"/root/.rpmdb")
FILES = {b"rpmdb.sqlite": SQLITE, b"Packages.db": NDB, b"Packages": BDB}
"""What a database is called in its directory, the newest kind first."""

_PRIVATE = b"/root/.rpmdb"
_WAL, _JOURNAL = b"-wal", b"-journal"
_EXPLAINED = (b"error: rpmdbNextIterator: skipping", b"Header ", b"Package ")
"""How the lines start with which rpm says that it leaves a header out; those are found by their absence."""


class Database(NamedTuple):
    """One database: its file, with all links resolved, and its kind."""

    path: bytes
    kind: str


def find_databases(root: Root, warn: Warn | None = None) -> list[Database]:
    """The databases of a root, each once however many directories lead to it. PackageDatabaseError.

    A link that leads nowhere is a database too, a damaged one.
    That /root cannot be looked into is a warning: it is where rpm keeps its database on systems that are not made of
    rpm packages, and closed to everybody but root.
    """
    found: dict[bytes, Database] = {}
    for directory in DIRECTORIES:
        try:
            here = [
                Database(root.resolve(directory + b"/" + name), kind)
                for name, kind in FILES.items()
                if root.status(directory + b"/" + name) is not None
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
            if database.kind == SQLITE and _has_journal(root, database):
                trouble("a transaction was not finished, and some records may be those of before or after it")
            copy = os.path.join(copied, os.path.basename(database.path))
            asked = os.path.join(copied, b"asked")
            numbers = _fill(asked, read_records(database.kind, copy, trouble))
            return _headers(asked, numbers, tags, trouble, names)
    except (OSError, DamagedDatabaseError, sqlite3.Error) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise PackageDatabaseError(
            f"{os.fsdecode(database.path)} cannot be read: {reason}",
            advice="restore it from a backup, or make it anew with `rpm --rebuilddb`",
        ) from error


def _headers(
    directory: bytes, numbers: frozenset[int], tags: Tags, trouble: Trouble, names: tuple[str, ...]
) -> list[Header]:
    """What rpm gives, and with a second question what it does not give for want of a right digest.

    `numbers` are those of all records.
    """
    answer, complaints = _question(directory, tags, *names)
    headers = {header.number: header for header in answer}
    if complaints or (not names and len(headers) < len(numbers)):
        again, _ = _question(directory, tags, "--nodigest", *names)
        for header in again:
            if header.number not in headers:
                headers[header.number] = header._replace(damaged=True)
                trouble(f"record {header.number} does not match its own digest, and proves nothing")
    for number in sorted(numbers - headers.keys()) if not names else ():
        trouble(f"record {number} cannot be read, so what it owns is not known")
    for line in complaints:
        if not line.startswith(_EXPLAINED):
            trouble(f"rpm says: {shown(line)}")
    return [headers[number] for number in sorted(headers)]


def _question(directory: bytes, tags: Tags, *arguments: str) -> tuple[list[Header], list[bytes]]:
    """The headers that rpm gives, and what it complains about."""
    ran = _rpm(directory, "--nosignature", "-qa", "--queryformat", query_format(tags), *arguments)
    complaints = [line for line in ran.err.splitlines() if line.strip()]
    if ran.code:
        raise PackageDatabaseError(
            f"rpm cannot be asked: {shown(complaints[0]) if complaints else f'it ended with {ran.code}'}"
        )
    return list(read_answer(ran.out, tags)), complaints


def _rpm(directory: bytes, *arguments: str | bytes) -> host.Ran:
    program = host.find_program("rpm")
    try:
        return host.run([program, "--define", "_db_backend sqlite", "--dbpath", directory, *arguments])
    except HostError as error:
        raise PackageDatabaseError(f"rpm cannot be asked: {error.message}", advice=error.advice) from error


def _has_journal(root: Root, database: Database) -> bool:
    """Whether there is a rollback journal. It may name any file of this machine, so SQLite does not get to see it."""
    status = root.status(database.path + _JOURNAL, follow=True)
    return status is not None and stat.S_ISREG(status.st_mode) and status.st_size > 0


def _fill(directory: bytes, records: Iterable[tuple[int, bytes]]) -> frozenset[int]:
    """The numbers of the records, which are in a fresh database in that directory. sqlite3.Error."""
    os.mkdir(directory, 0o700)
    ran = _rpm(directory, "--initdb")
    fresh = os.path.join(directory, b"rpmdb.sqlite")
    if ran.code or not os.path.exists(fresh):
        why = shown(ran.err.splitlines()[0]) if ran.err.strip() else "it makes no database"
        raise PackageDatabaseError(
            f"this machine's rpm cannot be used: {why}", advice="a newer rpm, with support for SQLite, is needed"
        )
    numbers = set()
    with opened_sqlite(fresh) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        for number, header in records:
            connection.execute("INSERT INTO Packages (hnum, blob) VALUES (?, ?)", (number, header))
            numbers.add(number)
        connection.commit()
    return frozenset(numbers)
