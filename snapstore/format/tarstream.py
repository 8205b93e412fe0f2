"""Tar archives, written member by member (POSIX.1-2017, pax, "pax Interchange Format").

One member has one byte form, so the same members make the same archive. What the ustar header cannot say is in a pax
header before it: long or large values, nanoseconds, and records that the caller gives. Names are raw bytes; where a
record holds some that are not UTF-8, `hdrcharset=BINARY` says so. Files with holes are in GNU's sparse format 1.0
(tar.info, "PAX Format, Version 1.0"): their data begins with a map, which GNU tar, libarchive and Python read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from snapstore.model import Buffer

BLOCK = 512
FILE, HARD_LINK, SYMLINK, CHARACTER_DEVICE, BLOCK_DEVICE, DIRECTORY, FIFO = (b"%d" % digit for digit in range(7))
TYPES = (FILE, HARD_LINK, SYMLINK, CHARACTER_DEVICE, BLOCK_DEVICE, DIRECTORY, FIFO)
DEVICES = (CHARACTER_DEVICE, BLOCK_DEVICE)
PAX = b"x"
BINARY = b"BINARY"
SPARSE_DIRECTORY = b"GNUSparseFile.0"

_NAME = 100
_OWNER = 32
_OCTAL = {8: 0o7777777, 12: 0o77777777777}
_NAMES = (b"path", b"linkpath", b"uname", b"gname", b"GNU.sparse.name")
_END = bytes(2 * BLOCK)


class TarError(ValueError):
    """An archive, or what is to be put into one, breaks a rule; the message says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One member of an archive.

    `path` has no slash at its end. `size` counts bytes, holes included; `holes` are as in an Entry. `link` is the path
    of an earlier member for a hard link, the target for a symbolic one. `records` are further pax records, by keyword.
    """

    path: bytes
    type: bytes = FILE
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    user: bytes = b""
    group: bytes = b""
    mtime: tuple[int, int] = (0, 0)
    size: int = 0
    link: bytes = b""
    rdev: tuple[int, int] = (0, 0)
    holes: tuple[tuple[int, int], ...] = ()
    records: tuple[tuple[bytes, bytes], ...] = ()

    @property
    def data_size(self) -> int:
        """How many bytes of contents are in the archive: those between the holes."""
        return self.size - sum(length for _, length in self.holes)


class TarWriter:
    """Writes an archive. The data of a member follows it, in pieces; TarError if it is not as much as was stated."""

    def __init__(self, write: Callable[[Buffer], object]) -> None:
        self._write = write
        self._left = 0
        self._padding = 0
        self.size = 0

    def _put(self, data: Buffer) -> None:
        self._write(data)
        self.size += len(data)

    def member(self, member: Member) -> None:
        """Begins the next member."""
        self._finish()
        self._put(header_blocks(member))
        self._left = member.data_size
        self._padding = -self._left % BLOCK

    def data(self, piece: Buffer) -> None:
        """The next bytes of the member's contents, holes left out."""
        if len(piece) > self._left:
            raise TarError("a member holds more bytes than it stated")
        self._left -= len(piece)
        self._put(piece)

    def _finish(self) -> None:
        if self._left:
            raise TarError("a member holds fewer bytes than it stated")
        if self._padding:
            self._put(bytes(self._padding))
            self._padding = 0

    def close(self) -> None:
        """Nothing; the archive is complete."""
        self._finish()
        self._put(_END)


def header_blocks(member: Member) -> bytes:
    """Everything of a member that stands before its contents."""
    path = member.path + b"/" if member.type == DIRECTORY else member.path
    shown = path
    records = dict(member.records)
    sparse_map = b""
    if member.holes:
        sparse_map = _sparse_map(member)
        records[b"GNU.sparse.major"] = b"1"
        records[b"GNU.sparse.minor"] = b"0"
        records[b"GNU.sparse.name"] = path
        records[b"GNU.sparse.realsize"] = b"%d" % member.size
        parent, _, name = path.rpartition(b"/")
        shown = b"/".join([each for each in (parent, SPARSE_DIRECTORY, name) if each])
    size = len(sparse_map) + member.data_size
    names = (
        (b"path", shown, _NAME),
        (b"linkpath", member.link, _NAME),
        (b"uname", member.user, _OWNER - 1),
        (b"gname", member.group, _OWNER - 1),
    )
    records |= {keyword: value for keyword, value, room in names if len(value) > room or b"\0" in value}
    numbers = (
        (b"size", size, 12),
        (b"uid", member.uid, 8),
        (b"gid", member.gid, 8),
        (b"SCHILY.devmajor", member.rdev[0], 8),
        (b"SCHILY.devminor", member.rdev[1], 8),
    )
    records |= {keyword: b"%d" % number for keyword, number, width in numbers if number > _OCTAL[width]}
    seconds, nanoseconds = member.mtime
    if nanoseconds or not 0 <= seconds <= _OCTAL[12]:
        records[b"mtime"] = _decimal(seconds, nanoseconds)
    if any(not _is_utf8(records[keyword]) for keyword in _NAMES if keyword in records):
        records[b"hdrcharset"] = BINARY
    header = _ustar(member, shown, size=size)
    if not records:
        return header + sparse_map
    # The character set has to be known before the names it is about; of two paths Python takes the last.
    order = sorted(records, key=lambda each: (each != b"hdrcharset", each.startswith(b"GNU.sparse."), each))
    body = b"".join([_record(keyword, records[keyword]) for keyword in order])
    before = _ustar(
        Member(path=b"", mtime=(max(seconds, 0), 0)), b"PaxHeaders.0/" + _last_name(path), size=len(body), type=PAX
    )
    return before + body + bytes(-len(body) % BLOCK) + header + sparse_map


def _last_name(path: bytes) -> bytes:
    return path.rstrip(b"/").rpartition(b"/")[2]


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _decimal(seconds: int, nanoseconds: int) -> bytes:
    """A time as pax has it: one signed decimal number."""
    total = seconds * 1_000_000_000 + nanoseconds
    whole, fraction = divmod(abs(total), 1_000_000_000)
    return b"%b%d.%09d" % (b"-" if total < 0 else b"", whole, fraction)


def _record(keyword: bytes, value: bytes) -> bytes:
    """One pax record: its own length, keyword and value."""
    if b"=" in keyword or not keyword:
        raise TarError(f"{keyword[:40]!r} cannot be a keyword")
    length = len(keyword) + len(value) + 3
    total = length + len(b"%d" % length)
    if len(b"%d" % total) > len(b"%d" % length):
        total += 1
    return b"%d %b=%b\n" % (total, keyword, value)


def _sparse_map(member: Member) -> bytes:
    """Where the data is: the number of segments, then offset and length of each, one a line, to a whole block."""
    segments = []
    at = 0
    for offset, length in member.holes:
        if offset > at:
            segments.append((at, offset - at))
        at = offset + length
    # The last segment ends where the file does, be it empty: without it GNU tar would not know of a hole at the end.
    segments.append((at, member.size - at))
    text = b"%d\n" % len(segments) + b"".join([b"%d\n%d\n" % segment for segment in segments])
    return text + bytes(-len(text) % BLOCK)


def _ustar(member: Member, path: bytes, *, size: int, type: bytes | None = None) -> bytes:  # noqa: A002 tar's word
    """One header block. What does not fit in it is in the pax header before it, and here shortened or 0."""

    def octal(number: int, width: int) -> bytes:
        return b"%0*o\0" % (width - 1, number if 0 <= number <= _OCTAL[width] else 0)

    def text(raw: bytes, width: int) -> bytes:
        return raw[:width].replace(b"\0", b"_").ljust(width, b"\0")

    devices = member.rdev if member.type in DEVICES else (0, 0)
    block = bytearray().join((
        text(path, _NAME),
        octal(member.mode & 0o7777, 8),
        octal(member.uid, 8),
        octal(member.gid, 8),
        octal(size, 12),
        octal(member.mtime[0], 12),
        b" " * 8,
        member.type if type is None else type,
        text(member.link, _NAME),
        b"ustar\x0000",
        text(member.user, _OWNER - 1) + b"\0",
        text(member.group, _OWNER - 1) + b"\0",
        octal(devices[0], 8),
        octal(devices[1], 8),
        bytes(167),
    ))  # fmt: skip
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)
