"""What a .deb holds, read from the headers of its archive (deb(5), tar(5)): nothing is ever unpacked to disk.

A .deb is an ar archive of `debian-binary`, `control.tar` and `data.tar`, the latter two compressed or not. dpkg takes
tar archives of the old, ustar and GNU kinds without extended headers, and so does this. The file is hostile: whatever
is wrong with it is a DebError, and what is read is bounded.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import os
import stat
import zlib
from collections.abc import Iterator
from typing import NamedTuple, Protocol

import zstandard

from snapstore.model import Kind

ENTRY_LIMIT = 1 << 20
"""No package has more paths."""

UNPACKED_LIMIT = 32 << 30
"""No package has more bytes."""

_CONTROL_LIMIT = 4 << 20
_MEMORY_LIMIT = 512 << 20
_NAME_LIMIT = 4096
_PIECE = 1 << 20
_BLOCK = 512
_AR_MAGIC = b"!<arch>\n"
_AR_HEADER = 60
_AR_MEMBERS = 64
_KINDS = {
    b"\0": Kind.FILE,
    b"0": Kind.FILE,
    b"1": Kind.FILE,
    b"7": Kind.FILE,
    b"2": Kind.SYMLINK,
    b"3": Kind.CHARACTER_DEVICE,
    b"4": Kind.BLOCK_DEVICE,
    b"5": Kind.DIRECTORY,
    b"6": Kind.FIFO,
}


class DebError(Exception):
    """The file is no .deb, or not a whole one."""


class Shipped(NamedTuple):
    """One path as a package ships it. A second name of a file is a file as the first one is.

    `user` and `group` are empty where the archive has numbers only. `md5` is of a file's bytes.
    """

    kind: Kind
    mode: int
    user: str
    group: str
    uid: int
    gid: int
    size: int = 0
    target: bytes = b""
    rdev: tuple[int, int] = (0, 0)
    md5: bytes | None = None


class Deb(NamedTuple):
    """A whole .deb: its control file, and its paths as dpkg lists them, the root directory as `/.`."""

    control: bytes
    paths: dict[bytes, Shipped]


class _Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


def read_control(fd: int) -> bytes:
    """The control file of the .deb open as `fd`; DebError."""
    try:
        return _control(_open_member(fd, b"control.tar"))
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, zstandard.ZstdError) as error:
        raise DebError(f"its control.tar cannot be read: {error}") from error


def read_deb(fd: int) -> Deb:
    """All that the .deb open as `fd` says of its paths; DebError."""
    control = read_control(fd)
    try:
        return Deb(control, _data(_open_member(fd, b"data.tar")))
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, zstandard.ZstdError) as error:
        raise DebError(f"its data.tar cannot be read: {error}") from error


# -- ar ---------------------------------------------------------------------------------------------------------------


class _Section(io.RawIOBase):
    """A part of a file, as a file to read."""

    def __init__(self, fd: int, offset: int, size: int) -> None:
        super().__init__()
        self._fd = fd
        self._at = offset
        self._end = offset + size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object, /) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        got = os.preadv(self._fd, [view[: self._end - self._at]], self._at) if self._at < self._end else 0
        self._at += got
        return got


def _open_member(fd: int, name: bytes) -> _Readable:
    """The unpacked bytes of a member of that name with any ending, as something to read."""
    size = os.fstat(fd).st_size
    if os.pread(fd, len(_AR_MAGIC), 0) != _AR_MAGIC:
        raise DebError("it is no ar archive")
    at = len(_AR_MAGIC)
    for number in range(_AR_MEMBERS):
        header = os.pread(fd, _AR_HEADER, at)
        if len(header) != _AR_HEADER or header[58:] != b"`\n":
            break
        title, length = header[:16].rstrip(b" ").rstrip(b"/"), header[48:58].strip(b" ")
        if not length.isdigit() or at + _AR_HEADER + int(length) > size:
            break
        at += _AR_HEADER
        if number == 0 and (title != b"debian-binary" or os.pread(fd, 2, at) != b"2."):
            raise DebError("it is no package of the format that dpkg reads")
        stem, _, ending = title.rpartition(b".") if title.count(b".") > 1 else (title, b"", b"")
        if stem == name:
            return _unpack(_Section(fd, at, int(length)), ending)
        at += int(length) + int(length) % 2
    raise DebError(f"it has no {name.decode()}")


def _unpack(section: _Section, ending: bytes) -> _Readable:
    packed = io.BufferedReader(section, _PIECE)
    if not ending:
        return packed
    if ending == b"gz":
        return gzip.GzipFile(fileobj=packed, mode="rb")
    if ending == b"xz":
        return _Xz(packed)
    if ending == b"zst":
        unpacker = zstandard.ZstdDecompressor(max_window_size=_MEMORY_LIMIT)
        return unpacker.stream_reader(packed, read_across_frames=True)
    raise DebError(f"it is packed in a way that is not known here: {ending!r}")


class _Xz:
    """LZMA as a file to read, within a bound of memory, which lzma.LZMAFile does not have."""

    def __init__(self, packed: _Readable) -> None:
        self._packed = packed
        self._unpacker = self._start()

    @staticmethod
    def _start() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_MEMORY_LIMIT)

    def read(self, size: int = -1, /) -> bytes:
        """At most so many bytes, none at the end."""
        unpacker = self._unpacker
        while True:
            if unpacker.eof:
                more = unpacker.unused_data or self._packed.read(_PIECE)
                if not more.strip(b"\0"):  # stream padding
                    return b""
                unpacker = self._unpacker = self._start()
            elif unpacker.needs_input:
                more = self._packed.read(_PIECE)
                if not more:
                    raise EOFError("the stream is cut off")
            else:
                more = b""
            out = unpacker.decompress(more, size)
            if out:
                return out


# -- tar --------------------------------------------------------------------------------------------------------------


class _Header(NamedTuple):
    kind: bytes
    name: bytes
    link: bytes
    size: int
    shipped: Shipped


class _Tar:
    """The members of a tar archive: their headers, and on demand the bytes of the one last given."""

    def __init__(self, stream: _Readable, limit: int) -> None:
        self._stream = stream
        self._budget = limit
        self._rest = 0
        self._padding = 0

    def headers(self) -> Iterator[_Header]:
        """The members in order, long names put together."""
        name = link = b""
        for _ in range(2 * ENTRY_LIMIT):
            for _ in self.pieces():
                pass
            self._exactly(self._padding)
            block = self._exactly(_BLOCK)
            if not block.strip(b"\0"):
                self._drain()
                return
            header = _header(block)
            self._rest, self._padding = header.size, -header.size % _BLOCK
            if header.kind in (b"L", b"K"):
                if header.size > _NAME_LIMIT + 1:
                    raise DebError("a name is too long")
                long = b"".join(self.pieces()).split(b"\0")[0]
                name, link = (long, link) if header.kind == b"L" else (name, long)
                continue
            header = header._replace(name=name or header.name, link=link or header.link)
            name = link = b""
            if header.kind in (b"\0", b"0") and header.name.endswith(b"/"):  # how archives had directories before 1988
                header = header._replace(kind=b"5", shipped=header.shipped._replace(kind=Kind.DIRECTORY))
            yield header
        raise DebError("it has too many paths")

    def pieces(self) -> Iterator[bytes]:
        """The bytes of the member, as far as they have not been taken."""
        while self._rest:
            piece = self._take(min(self._rest, _PIECE))
            self._rest -= len(piece)
            yield piece

    def _drain(self) -> None:
        """Nothing; the stream is read to its end, where its own checksum is, if it has one."""
        while piece := self._stream.read(_PIECE):
            self._spend(piece)

    def _exactly(self, size: int) -> bytes:
        pieces = []
        while size:
            piece = self._take(size)
            size -= len(piece)
            pieces.append(piece)
        return b"".join(pieces)

    def _take(self, size: int) -> bytes:
        piece = self._stream.read(size)
        if not piece:
            raise DebError("it is cut off")
        self._spend(piece)
        return piece

    def _spend(self, piece: bytes) -> None:
        self._budget -= len(piece)
        if self._budget < 0:
            raise DebError("it holds too much")


def _header(block: bytes) -> _Header:
    if sum(block[:148]) + sum(block[156:]) + 8 * 0x20 != _number(block[148:156]):
        raise DebError("a header is damaged")
    kind = block[156:157]
    name, magic = _string(block[:100]), block[257:263]
    if magic == b"ustar\0" and (prefix := _string(block[345:500])):
        name = prefix + b"/" + name
    size = _number(block[124:136])
    named = magic[:5] == b"ustar"
    device = kind in (b"3", b"4")
    shipped = Shipped(
        _KINDS.get(kind, Kind.SOCKET),
        stat.S_IMODE(_number(block[100:108])),
        _string(block[265:297]).decode("utf-8", "surrogateescape") if named else "",
        _string(block[297:329]).decode("utf-8", "surrogateescape") if named else "",
        _number(block[108:116]),
        _number(block[116:124]),
        rdev=(_number(block[329:337]), _number(block[337:345])) if device else (0, 0),
    )
    return _Header(
        kind, name, _string(block[157:257]), 0 if kind in (b"1", b"2", b"3", b"4", b"5", b"6") else size, shipped
    )


def _string(raw: bytes) -> bytes:
    return raw.split(b"\0", 1)[0]


def _number(raw: bytes) -> int:
    """An octal number, or after a byte of 0x80 a binary one."""
    if raw[:1] == b"\x80":
        return int.from_bytes(raw[1:], "big") & ((1 << 63) - 1)
    digits = raw.strip(b" \0")
    if digits.translate(None, b"01234567"):
        raise DebError("a header is damaged")
    return int(digits, 8) if digits else 0


def _listed(name: bytes) -> bytes:
    """A member's name as dpkg lists it; DebError for one that would lead elsewhere."""
    path = b"/" + name.removeprefix(b".").strip(b"/") if name[:2] in (b"./", b".") else b"/" + name.strip(b"/")
    parts = path[1:].split(b"/")
    if path == b"/":
        return b"/."
    if not {b"", b".", b".."}.isdisjoint(parts) or len(path) >= _NAME_LIMIT:
        raise DebError("a name leads out of it")
    return path


def _control(stream: _Readable) -> bytes:
    tar = _Tar(stream, _CONTROL_LIMIT * 4)
    for header in tar.headers():
        if _listed(header.name) == b"/control" and header.shipped.kind is Kind.FILE:
            if header.size > _CONTROL_LIMIT:
                raise DebError("its control file is too long")
            return b"".join(tar.pieces())
    raise DebError("it has no control file")


def _data(stream: _Readable) -> dict[bytes, Shipped]:
    paths: dict[bytes, Shipped] = {}
    tar = _Tar(stream, UNPACKED_LIMIT)
    for header in tar.headers():
        path, shipped = _listed(header.name), header.shipped
        if header.kind not in _KINDS:
            raise DebError(f"it holds something of an unknown kind: {header.kind!r}")
        if header.kind == b"1":
            first = paths.get(_listed(header.link))
            if first is None or first.kind is not Kind.FILE:
                raise DebError("a second name comes without the first")
            shipped = first
        elif shipped.kind is Kind.FILE:
            digest = hashlib.md5(usedforsecurity=False)  # what the database has, to be compared with it
            for piece in tar.pieces():
                digest.update(piece)
            shipped = shipped._replace(size=header.size, md5=digest.digest())
        elif shipped.kind is Kind.SYMLINK:
            shipped = shipped._replace(target=header.link)
        paths[path] = shipped
    return paths
