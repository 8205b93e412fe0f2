"""The records of rpm's databases: numbers and headers, taken out of files of all three kinds.

SQLite, rpm's own format (lib/backend/ndb/rpmpkg.c in rpm), and the hash tables of Berkeley DB as rpm has used them
(src/dbinc/db_page.h in libdb). The files are hostile: whatever is in them, reading ends, and no more bytes are given
than the file has.
"""

from __future__ import annotations

import os
import sqlite3
import struct
from collections.abc import Callable, Iterator

from snapstore.system.managers.rpmcopy import are_tables, opened_sqlite
from snapstore.system.managers.trouble import Trouble

SQLITE, NDB, BDB = "sqlite", "ndb", "bdb"

_RECORDS = 1 << 20
_LAST_NUMBER = (1 << 32) - 1
_HEADER_LIMIT = 1 << 28
_HEADER_LEAST = 24
"""Two counts and one entry. rpm takes an empty value for the end of its table."""

_NDB_HEADER = struct.Struct("<4sIII")
_NDB_SLOT = struct.Struct("<4sIII")
_NDB_PAGE, _NDB_BLOCK = 4096, 16
_BDB_MAGIC = 0x061561
_BDB_VERSIONS = (8, 9, 10)
_BDB_PAGE_HEADER = 26
_FREE, _OVERFLOW, _HASHES, _META = 0, 7, (2, 13), 8
_ON_PAGE, _OFF_PAGE = 1, 3

Records = Iterator[tuple[int, bytes]]


class DamagedDatabaseError(ValueError):
    """The file is no database, or so damaged that nobody knows what is missing."""


def read_records(kind: str, path: bytes, trouble: Trouble) -> Records:
    """The number and the header of each record; those that cannot be had are told of.

    DamagedDatabaseError where the file is no such database, or makes no sense as a whole. OSError.
    """
    room = sum(os.stat(each).st_size for each in (path, path + b"-wal") if os.path.exists(each))
    seen: set[int] = set()
    for number, header in _READERS[kind](path, trouble):
        if not 0 < number <= _LAST_NUMBER or number in seen:
            trouble(f"there is a record with a number that makes no sense or is there twice: {number}")
            continue
        seen.add(number)
        if len(seen) > _RECORDS:
            raise DamagedDatabaseError(f"it has more than {_RECORDS} records")
        if len(header) < _HEADER_LEAST:
            trouble(f"record {number} cannot be read, so what it owns is not known")
            continue
        room -= len(header)
        if room < 0:
            raise DamagedDatabaseError("its records overlap")
        yield number, header


# -- SQLite -----------------------------------------------------------------------------------------------------------


def _sqlite_records(path: bytes, trouble: Trouble) -> Records:
    try:
        with opened_sqlite(path) as connection:
            if not are_tables(connection, "Packages"):
                raise DamagedDatabaseError("it has no table of packages")
            for (number,) in connection.execute("SELECT hnum FROM Packages").fetchmany(_RECORDS + 1):
                if isinstance(number, int):
                    yield number, _blob(connection, number)
                else:
                    trouble(f"the number of a record makes no sense: {str(number)[:40]!r}")
    except sqlite3.Error as error:
        raise DamagedDatabaseError(str(error)) from error


def _blob(connection: sqlite3.Connection, number: int) -> bytes:
    """One header; empty where the pages that it is on are damaged. sqlite3.OperationalError when the time is over."""
    try:
        row = connection.execute("SELECT blob FROM Packages WHERE hnum = ?", (number,)).fetchone()
    except sqlite3.OperationalError:
        raise
    except (sqlite3.DatabaseError, OverflowError, UnicodeDecodeError):
        return b""
    return row[0] if row is not None and isinstance(row[0], bytes) else b""


# -- rpm's own --------------------------------------------------------------------------------------------------------


def _ndb_records(path: bytes, trouble: Trouble) -> Records:
    """Pages of slots, each of which says where a header is.

    Numbers are little-endian. A slot: its mark, the number of the header, first block and number of blocks of 16 bytes;
    of a free one all but the mark is 0. There: a mark, the number again, a generation, the length, and the header.
    """
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(_NDB_HEADER.size)
        if len(head) < _NDB_HEADER.size or head[:4] != b"RpmP":
            raise DamagedDatabaseError("it is no database of packages")
        _, version, _, pages = _NDB_HEADER.unpack(head)
        if version or not 0 < pages * _NDB_PAGE <= min(size, _RECORDS * _NDB_SLOT.size):
            raise DamagedDatabaseError("its first page makes no sense")
        slots = os.pread(file.fileno(), pages * _NDB_PAGE, 0)
        for at in range(2 * _NDB_SLOT.size, len(slots), _NDB_SLOT.size):
            mark, number, first, blocks = _NDB_SLOT.unpack_from(slots, at)
            if mark != b"Slot":
                raise DamagedDatabaseError("its table of records is damaged")
            if number:
                yield number, _ndb_blob(file.fileno(), number, first, min(blocks, size // _NDB_BLOCK - first))
            elif first or blocks:
                trouble("a record has no number, so what it owns is not known")


def _ndb_blob(fd: int, number: int, first: int, blocks: int) -> bytes:
    """One header; empty if there is none."""
    if not 0 < blocks * _NDB_BLOCK <= _HEADER_LIMIT:
        return b""
    raw = os.pread(fd, blocks * _NDB_BLOCK, first * _NDB_BLOCK)
    mark, again, _, length = _NDB_SLOT.unpack_from(raw.ljust(_NDB_SLOT.size, b"\0"))
    if mark != b"BlbS" or again != number or length > len(raw) - _NDB_SLOT.size:
        return b""
    return raw[_NDB_SLOT.size : _NDB_SLOT.size + length]


# -- Berkeley DB ------------------------------------------------------------------------------------------------------


def _bdb_records(path: bytes, trouble: Trouble) -> Records:
    """Pages of keys and values in the machine's byte order: a number of four bytes, and a header.

    Record 0 counts the others. All pages are looked at, as the order of the hash is of no interest.
    """
    with open(path, "rb") as file:
        table = _HashTable(file.fileno())
        if table.breaks_off:
            trouble("it breaks off, so some of its records are not known")
        for page in range(1, table.pages):
            pairs = table.pairs(page)
            if pairs is None:
                trouble(f"page {page} makes no sense, so what it held is not known")
                continue
            for key, value in pairs:
                number = table.number(key)
                data = table.value(value)
                if number is None or (number == 0 and len(data) != 4):
                    trouble("a record has no number, so what it owns is not known")
                elif number:
                    yield number, data


class _HashTable:
    """A hash table of Berkeley DB, by page. DamagedDatabaseError where the first page is none of such a table."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        head = os.pread(fd, 36, 0)
        orders = [order for order in "<>" if head[12:16] == struct.pack(order + "I", _BDB_MAGIC)]
        if not orders or len(head) < 36:
            raise DamagedDatabaseError("it is no hash table of Berkeley DB")
        self._order = orders[0]
        version, self._size = struct.unpack_from(self._order + "II", head, 16)
        (last,) = struct.unpack_from(self._order + "I", head, 32)
        encrypted, kind, flags = head[24:27]
        if version not in _BDB_VERSIONS or encrypted or kind != _META or flags & 1:
            raise DamagedDatabaseError("it is a hash table of Berkeley DB as rpm has never made one")
        if not 512 <= self._size <= 65536 or self._size & (self._size - 1):
            raise DamagedDatabaseError("its pages have a size that makes no sense")
        self.pages = os.fstat(fd).st_size // self._size
        self.breaks_off = last >= self.pages

    def pairs(self, page: int) -> list[tuple[bytes, bytes]] | None:
        """The keys and values on a page, with what says where they are; None where the page makes no sense."""
        start = page * self._size
        head = os.pread(self._fd, _BDB_PAGE_HEADER, start)
        entries, lowest = struct.unpack_from(self._order + "HH", head, 20)
        kind = head[25]
        if kind not in _HASHES:
            known = kind in (_OVERFLOW, _META) or (kind == _FREE and not entries)
            return [] if known else None
        raw = os.pread(self._fd, self._size, start)
        first = _BDB_PAGE_HEADER + 2 * entries
        if entries % 2 or first > self._size or (not entries and lowest not in (0, self._size & 0xFFFF)):
            return None
        offsets = struct.unpack_from(f"{self._order}{entries}H", raw, _BDB_PAGE_HEADER)
        ends = (self._size, *offsets)[:entries]
        if any(not first <= offset < end for offset, end in zip(offsets, ends, strict=True)):
            return None
        if entries and offsets[-1] != lowest:
            return None
        items = [raw[offset:end] for offset, end in zip(offsets, ends, strict=True)]
        return list(zip(items[::2], items[1::2], strict=True))

    def number(self, key: bytes) -> int | None:
        """The number that a key is; None if it is none."""
        if len(key) != 5 or key[0] != _ON_PAGE:
            return None
        (number,) = struct.unpack_from(self._order + "I", key, 1)
        return int(number)

    def value(self, item: bytes) -> bytes:
        """What a value is, on the page or on others; empty if it cannot be had."""
        if item[0] == _ON_PAGE:
            return item[1:]
        if item[0] != _OFF_PAGE or len(item) != 12:
            return b""
        page, length = struct.unpack_from(self._order + "II", item, 4)
        if length > min(_HEADER_LIMIT, self.pages * self._size):
            return b""
        parts: list[bytes] = []
        missing = length
        while missing > 0 and 0 < page < self.pages:
            raw = os.pread(self._fd, self._size, page * self._size)
            page, used = struct.unpack_from(self._order + "I2xH", raw, 16)
            kind = raw[25]
            if kind != _OVERFLOW or not 0 < used <= min(missing, len(raw) - _BDB_PAGE_HEADER):
                return b""
            parts.append(raw[_BDB_PAGE_HEADER : _BDB_PAGE_HEADER + used])
            missing -= used
        return b"" if missing else b"".join(parts)


_READERS: dict[str, Callable[[bytes, Trouble], Records]] = {
    SQLITE: _sqlite_records,
    NDB: _ndb_records,
    BDB: _bdb_records,
}
