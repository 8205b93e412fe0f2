"""Tar archives from outside, read member by member: POSIX pax and ustar, and what GNU tar writes in its old format.

Nothing is believed: checksums, numbers and lengths are checked before they are used, headers are bounded, and what is
not understood is refused with TarError rather than passed over. Memory: one pax header.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from snapstore.format.tarstream import (
    BINARY,
    BLOCK,
    DEVICES,
    DIRECTORY,
    FILE,
    HARD_LINK,
    SYMLINK,
    TYPES,
    Member,
    TarError,
)
from snapstore.format.tree import HOLES_LIMIT

HEADER_LIMIT = 16 << 20
"""Bytes of one pax header, or of one long name of GNU tar."""
TRAILER_LIMIT = 1 << 20
"""Bytes of zeros that may follow the end of an archive: tar fills its last record with them."""
RECORDS_LIMIT = 1 << 16
PATH_LIMIT = 1 << 20

_PIECE = 1 << 18
_ID_LIMIT = (1 << 32) - 1
_SIZE_LIMIT = (1 << 63) - 1
_DECIMAL = re.compile(rb"(?:0|[1-9][0-9]{0,19})\Z").match
_TIME = re.compile(rb"(-?)([0-9]{1,19})(?:\.([0-9]{1,30}))?\Z").match
_OCTAL = re.compile(rb" *([0-7]*)[ \0]*\Z").match
_LENGTH = re.compile(rb"[1-9][0-9]{0,8} ").match
_NUMBER_LINE = re.compile(rb"(0|[1-9][0-9]{0,19})\n").match
_LONG_NAME, _LONG_LINK, _PAX, _OLD_FILE, _CONTIGUOUS = b"L", b"K", b"x", b"\0", b"7"
_HEADERS = {_LONG_NAME: b"path", _LONG_LINK: b"linkpath", _PAX: b""}
_SPARSE = (b"GNU.sparse.major", b"GNU.sparse.minor", b"GNU.sparse.name", b"GNU.sparse.realsize")
_OWN = (b"path", b"linkpath", b"uname", b"gname", b"size", b"uid", b"gid", b"mtime", b"hdrcharset")
_OWN_DEVICES = (b"SCHILY.devmajor", b"SCHILY.devminor")


class TarReader:
    """Iterates over members; between two of them `read` gives the contents of the first, and what is left is skipped.

    `read` is given the number of bytes that are wanted at most, and gives fewer, or none at the end of the stream.
    """

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._source = read
        self._left = 0
        self._padding = 0

    # -- bytes --------------------------------------------------------------------------------------------------------

    def _exactly(self, count: int, what: str) -> bytes:
        parts = []
        while count:
            part = self._source(min(count, _PIECE))
            if not part:
                raise TarError(f"it ends in the middle of {what}")
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def read(self, count: int) -> bytes:
        """The next bytes of the contents of this member, holes left out; none at their end."""
        wanted = min(count, self._left)
        if not wanted:
            return b""
        piece = self._source(wanted)
        if not piece:
            raise TarError("it ends in the middle of a file")
        self._left -= len(piece)
        return piece

    def _skip(self) -> None:
        while self._left:
            self.read(_PIECE)
        if self._padding:
            self._exactly(self._padding, "a file")
            self._padding = 0

    # -- members ------------------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Member]:
        """The members in order; ends at the end mark, and checks that nothing but zeros is behind it."""
        records: dict[bytes, bytes] = {}
        while True:
            self._skip()
            block = self._exactly(BLOCK, "a header")
            if not any(block):
                if records:
                    raise TarError("it ends behind an extended header")
                self._check_end()
                return
            kind = _check_header(block)
            if kind in _HEADERS:
                self._read_extension(kind, block, records)
                continue
            yield self._member(kind, block, records)
            records = {}

    def _check_end(self) -> None:
        if any(self._exactly(BLOCK, "its end mark")):
            raise TarError("there is data behind its end")
        left = TRAILER_LIMIT
        while piece := self._source(_PIECE):
            left -= len(piece)
            if left < 0 or any(piece):
                raise TarError("there is data behind its end")

    def _read_extension(self, kind: bytes, block: bytes, records: dict[bytes, bytes]) -> None:
        size = _number(block[124:136], "size", limit=_SIZE_LIMIT)
        if size > HEADER_LIMIT:
            raise TarError(f"an extended header has {size} bytes, more than are allowed")
        body = self._exactly(size, "an extended header")
        self._exactly(-size % BLOCK, "an extended header")
        found = _pax_records(body) if kind == _PAX else {_HEADERS[kind]: body.rstrip(b"\0")}
        for keyword, value in found.items():
            if keyword in records:
                raise TarError(f"{_shown(keyword)} is stated twice for one member")
            records[keyword] = value

    def _member(self, kind: bytes, block: bytes, records: dict[bytes, bytes]) -> Member:
        if records.get(b"hdrcharset", BINARY) not in (BINARY, b"ISO-IR 10646 2000 UTF-8"):
            raise TarError("an extended header is in an unknown character set")
        if any(keyword.startswith(b"GNU.sparse.") and keyword not in _SPARSE for keyword in records):
            raise TarError("a file is in a sparse format other than 1.0")
        path = records.get(b"GNU.sparse.name") or records.get(b"path") or _ustar_path(block)
        if kind in (FILE, _OLD_FILE) and path.endswith(b"/") and b"GNU.sparse.major" not in records:
            kind = DIRECTORY  # as tars before POSIX wrote them
        kind = FILE if kind in (_OLD_FILE, _CONTIGUOUS) else kind
        stored = _stated(records, b"size", block[124:136], limit=_SIZE_LIMIT)
        if stored and kind != FILE:
            raise TarError("something other than a file has contents")
        link = records.get(b"linkpath") or _text(block[157:257]) if kind in (HARD_LINK, SYMLINK) else b""
        devices = (0, 0)
        if kind in DEVICES:
            devices = (
                _stated(records, b"SCHILY.devmajor", block[329:337], limit=_ID_LIMIT),
                _stated(records, b"SCHILY.devminor", block[337:345], limit=_ID_LIMIT),
            )
        self._left = stored
        self._padding = -stored % BLOCK
        size = stored
        holes: tuple[tuple[int, int], ...] = ()
        if b"GNU.sparse.major" in records:
            size, holes = self._read_sparse(kind, records)
        return Member(
            path=_bounded(path[:-1] if kind == DIRECTORY and path.endswith(b"/") else path),
            type=kind,
            mode=_number(block[100:108], "mode", limit=_SIZE_LIMIT) & 0o7777,
            uid=_stated(records, b"uid", block[108:116], limit=_ID_LIMIT),
            gid=_stated(records, b"gid", block[116:124], limit=_ID_LIMIT),
            user=records.get(b"uname", _text(block[265:297])),
            group=records.get(b"gname", _text(block[297:329])),
            mtime=_time(records[b"mtime"]) if b"mtime" in records else (_number(block[136:148], "time"), 0),
            size=size,
            link=_bounded(link),
            rdev=devices,
            holes=holes,
            records=tuple(
                (keyword, value)
                for keyword, value in records.items()
                if keyword not in _OWN and keyword not in _SPARSE and keyword not in _OWN_DEVICES
            ),
        )

    # -- sparse files -------------------------------------------------------------------------------------------------

    def _read_sparse(self, kind: bytes, records: dict[bytes, bytes]) -> tuple[int, tuple[tuple[int, int], ...]]:
        """(size, holes) of a sparse file: the map at the front of its data has been read."""
        if kind != FILE or (records[b"GNU.sparse.major"], records.get(b"GNU.sparse.minor")) != (b"1", b"0"):
            raise TarError("a file is in a sparse format other than 1.0")
        size = _decimal(records.get(b"GNU.sparse.realsize", b""), "size of a sparse file", limit=_SIZE_LIMIT)
        numbers = self._map_numbers()
        count = next(numbers)
        if count > HOLES_LIMIT + 1:
            raise TarError("a sparse file has more holes than a snapshot can hold")
        segments = [(next(numbers), next(numbers)) for _ in range(count)]
        holes = []
        at = 0
        for offset, length in segments:
            if offset < at or offset + length > size:
                raise TarError("the map of a sparse file contradicts itself")
            if offset > at:
                holes.append((at, offset - at))
            at = offset + length
        if at < size:
            holes.append((at, size - at))
        if sum(length for _, length in segments) != self._left:
            raise TarError("a sparse file holds other data than its map says")
        joined = tuple(_joined(holes))
        if len(joined) > HOLES_LIMIT:
            raise TarError("a sparse file has more holes than a snapshot can hold")
        return size, joined

    def _map_numbers(self) -> Iterator[int]:
        """The numbers of the map, which takes whole blocks; they are read as they are needed."""
        text = b""
        while True:
            match = _NUMBER_LINE(text)
            while match is None:
                if len(text) > 32 or self._left < BLOCK:
                    raise TarError("the map of a sparse file makes no sense")
                text += self._exactly(BLOCK, "a sparse file")
                self._left -= BLOCK
                match = _NUMBER_LINE(text)
            yield int(match[1])
            text = text[match.end() :]


def _joined(holes: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Holes that touch made one: an empty segment may stand between them."""
    at = 0
    while at < len(holes):
        offset, length = holes[at]
        at += 1
        while at < len(holes) and holes[at][0] == offset + length:
            length += holes[at][1]
            at += 1
        yield offset, length


def _check_header(block: bytes) -> bytes:
    """The type of a header; TarError if it is none."""
    stated = _number(block[148:156], "checksum", limit=_SIZE_LIMIT)
    if sum(block) - sum(block[148:156]) + 8 * ord(" ") != stated:
        raise TarError("it is no tar archive, or a header of it is damaged")
    if block[257:263] not in (b"ustar\0", b"ustar "):
        raise TarError("it is a tar archive of a kind before POSIX")
    kind = block[156:157]
    if kind not in TYPES and kind not in _HEADERS and kind not in (_OLD_FILE, _CONTIGUOUS):
        raise TarError(f"it holds a member of the unknown type {kind!r}")
    return kind


def _ustar_path(block: bytes) -> bytes:
    name = _text(block[:100])
    prefix = _text(block[345:500]) if block[257:263] == b"ustar\0" else b""
    return prefix + b"/" + name if prefix else name


def _text(raw: bytes) -> bytes:
    return raw.partition(b"\0")[0]


def _bounded(path: bytes) -> bytes:
    if len(path) > PATH_LIMIT:
        raise TarError(f"a path has {len(path)} bytes, more than are allowed")
    return path


def _shown(keyword: bytes) -> str:
    return keyword[:60].decode("utf-8", "backslashreplace")


def _number(field: bytes, what: str, *, limit: int | None = None) -> int:
    """The number in a header's field: octal, or GNU's base 256; without a limit it may be negative."""
    if field[0] & 0x80:
        # The first bit is a mark, the second the sign of a number in two's complement.
        value = int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
        if field[0] & 0x40:
            value -= 1 << (8 * len(field) - 1)
    else:
        match = _OCTAL(field)
        if match is None:
            raise TarError(f"a {what} in a header is no number")
        value = int(match[1] or b"0", 8)
    if limit is not None and not 0 <= value <= limit:
        raise TarError(f"a {what} in a header is out of range")
    return value


def _decimal(text: bytes, what: str, *, limit: int) -> int:
    if not _DECIMAL(text) or int(text) > limit:
        raise TarError(f"the {what} in an extended header is no number, or out of range")
    return int(text)


def _stated(records: dict[bytes, bytes], keyword: bytes, field: bytes, *, limit: int) -> int:
    """A number from the extended header, or else from the header."""
    if keyword in records:
        return _decimal(records[keyword], _shown(keyword), limit=limit)
    return _number(field, _shown(keyword), limit=limit)


def _time(text: bytes) -> tuple[int, int]:
    """A time as (seconds, nanoseconds), what is finer cut off towards the past as a file system does."""
    match = _TIME(text)
    if match is None:
        raise TarError("a time in an extended header is no number")
    digits = match[3] or b""
    nanoseconds = int(match[2]) * 1_000_000_000 + int(digits[:9].ljust(9, b"0"))
    if match[1]:
        nanoseconds = -nanoseconds - bool(digits[9:].strip(b"0"))
    return divmod(nanoseconds, 1_000_000_000)


def _pax_records(body: bytes) -> dict[bytes, bytes]:
    """The records of an extended header by keyword."""
    records: dict[bytes, bytes] = {}
    at = 0
    while at < len(body):
        match = _LENGTH(body, at)
        end = at + int(match[0]) if match else 0
        if match is None or end > len(body) or body[end - 1 : end] != b"\n":
            raise TarError("an extended header is malformed")
        keyword, equals, value = body[match.end() : end - 1].partition(b"=")
        if not equals or not keyword or b"\0" in keyword or keyword in records:
            raise TarError("an extended header is malformed")
        if len(records) == RECORDS_LIMIT:
            raise TarError(f"an extended header has more than {RECORDS_LIMIT} records")
        records[keyword] = value
        at = end
    return records
