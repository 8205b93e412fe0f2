"""Answers of rpm as tests want them: what `snapstore.system.managers.rpmquery` reads, written."""

from __future__ import annotations

import lzma
import sqlite3
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

from snapstore.system.managers.rpmquery import FILES, Form, Header, Tags, read_answer

RECORDED = Path(__file__).parent / "recorded" / "rpm"
HEADER = RECORDED / "alpha.header"
"""A header as it is in a database: package alpha of tests/system/rpmroots.py."""

NDB_PAGE = 4096

Value = bytes | int | Iterable[bytes] | Iterable[int] | None


def quoted(text: bytes) -> bytes:
    """The text in single quotes, for a shell."""
    return b"'" + text.replace(b"'", b"'\\''") + b"'"


def _printed(value: Value) -> bytes:
    if value is None:
        return b"(none)"
    if isinstance(value, bytes):
        return quoted(value)
    if isinstance(value, int):
        return b"%x" % value
    return b"".join(_printed(each) + b" " for each in value)


def answer(number: int, tags: Tags, values: Mapping[str, Value]) -> bytes:
    """What rpm prints of one header; tags that have no value are absent."""
    lines = [b"header %x\n" % number]
    for tag, form in tags.items():
        printed = _printed(values.get(tag))
        if tag not in values and form in (Form.TEXTS, Form.NUMBERS):
            printed = b""
        lines.append(b"%b %b\n" % (tag.encode(), printed))
    return b"".join(lines)


def header_of(**values: Value) -> Header:
    """One header with tags of the query for files."""
    (header,) = read_answer(answer(1, FILES, {"NAME": b"alpha", "VERSION": b"1", "RELEASE": b"2", **values}), FILES)
    return header


def write_sqlite(path: Path, headers: Mapping[int, bytes]) -> None:
    """A database of rpm with nothing but the table of packages; the file is written over."""
    path.unlink(missing_ok=True)
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE 'Packages' (hnum INTEGER PRIMARY KEY AUTOINCREMENT,blob BLOB NOT NULL)")
    connection.executemany("INSERT INTO Packages VALUES (?, ?)", headers.items())
    connection.commit()
    connection.close()


def ndb(headers: Mapping[int, bytes]) -> bytes:
    """A database in rpm's own format."""
    slots, blobs = [], []
    at = NDB_PAGE
    for number, header in headers.items():
        raw = struct.pack("<4sIII", b"BlbS", number, 1, len(header)) + header
        raw += bytes(-(len(raw) + 12) % 16) + struct.pack("<II4s", 0, len(header), b"BlbE")
        slots.append(struct.pack("<4sIII", b"Slot", number, at // 16, len(raw) // 16))
        blobs.append(raw)
        at += len(raw)
    slots += [struct.pack("<4sIII", b"Slot", 0, 0, 0)] * (NDB_PAGE // 16 - 2 - len(slots))
    head = struct.pack("<4sIII", b"RpmP", 0, 1, 1) + struct.pack("<I", len(headers) + 1)
    return head.ljust(32, b"\0") + b"".join(slots) + b"".join(blobs)


def bdb() -> bytes:
    """A Berkeley DB with the recorded header, as libdb 5.3 wrote it."""
    return lzma.decompress((RECORDED / "Packages.xz").read_bytes())
