"""mtree(5) specifications: which files there should be, with what attributes. bsdtar(1) writes them, pacman keeps them.

Both forms are read: full paths (`./usr/bin/x`), and plain names below the directory that the last `type=dir` line
entered and `..` leaves. `/set` gives values to the entries that follow, `/unset` takes them back. Names and link
targets are encoded as vis(3) does.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from snapstore.model import Kind
from snapstore.system.packages import Digest

LINE_LIMIT = 1 << 16
_KINDS = {
    b"file": Kind.FILE,
    b"dir": Kind.DIRECTORY,
    b"link": Kind.SYMLINK,
    b"char": Kind.CHARACTER_DEVICE,
    b"block": Kind.BLOCK_DEVICE,
    b"fifo": Kind.FIFO,
    b"socket": Kind.SOCKET,
}
# Strongest first: the first that an entry has is the one that counts. A keyword and its older name.
_DIGESTS = tuple(
    (key, algorithm, size)
    for algorithm, size in (("sha512", 64), ("sha384", 48), ("sha256", 32), ("sha1", 20), ("md5", 16))
    for key in (algorithm.encode() + b"digest", algorithm.encode())
)
_MODE = re.compile(rb"[0-7]{1,5}\Z").match
_NUMBER = re.compile(rb"[0-9]{1,19}\Z").match
_ESCAPE = re.compile(rb"\\(?:([0-3][0-7][0-7])|M-(.)|(M?)\^(.)|([abfnrstvE\\#])|())", re.DOTALL)
_C_STYLE = dict(zip(b"abfnrstvE\\#", b"\a\b\f\n\r \t\v\x1b\\#", strict=True))
_TO_ESCAPE = re.compile(rb"[^A-Za-z0-9_./+,:@%~-]")


class MtreeEntry(NamedTuple):
    """One file. None is "not said". `path` is relative, without `./`, and empty for the top directory itself."""

    path: bytes
    kind: Kind | None = None
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    user: str | None = None
    group: str | None = None
    size: int | None = None
    digest: Digest | None = None
    target: bytes | None = None
    optional: bool = False


class MtreeTrouble(NamedTuple):
    """A line that makes no sense: which one, counted from 1, and why."""

    line: int
    reason: str


def escape(raw: bytes) -> bytes:
    """A name or link target as it stands in a specification: what might mean something is a backslash and octal."""
    return _TO_ESCAPE.sub(lambda match: b"\\%03o" % match[0][0], raw)


def unescape(encoded: bytes) -> bytes:
    """The name that an encoded one stands for: octal, C style, and the `M-` and `^` forms of vis(3). ValueError."""
    return _ESCAPE.sub(_unescaped, encoded) if b"\\" in encoded else encoded


def _unescaped(match: re.Match[bytes]) -> bytes:
    octal, meta, high, control, letter, _ = match.groups()
    if octal:
        return bytes([int(octal, 8)])
    if meta:
        return bytes([meta[0] | 0x80])
    if control:
        # `^?` is DEL, and every other control character is its letter without the bits of the letters.
        code = 0x7F if control == b"?" else control[0] & 0x1F
        return bytes([code | 0x80 if high else code])
    if letter:
        return bytes([_C_STYLE[letter[0]]])
    raise ValueError("a backslash that begins nothing")


def read_mtree(lines: Iterable[bytes]) -> Iterator[MtreeEntry | MtreeTrouble]:
    """The entries of a specification in their order; a line that makes no sense is a trouble in its place.

    Lines may end with their line feeds. Nothing is raised, and nothing remembered but the defaults and where we are.
    """
    defaults: dict[bytes, bytes] = {}
    here: bytes | None = b""  # None: lost, because it is not known which directory was entered
    for number, line in _joined(lines):
        if len(line) > LINE_LIMIT:
            here = None
            yield MtreeTrouble(number, f"it has more than {LINE_LIMIT} bytes")
            continue
        words = line.split()
        if not words or words[0].startswith(b"#"):
            continue
        first = words[0]
        if first == b"/set":
            _take(words, defaults)
            continue
        if first == b"/unset":
            for word in words[1:]:
                defaults.pop(word, None)
            if b"all" in words[1:]:
                defaults.clear()
            continue
        if first == b"..":
            # Some writers leave the top directory too, which is the end.
            here = here.rpartition(b"/")[0] if here else None
            continue
        full = b"/" in first
        if here is None and not full:
            yield MtreeTrouble(number, "it is not known which directory it is in")
            continue
        values = defaults.copy()
        _take(words, values)
        try:
            name = unescape(first)
            if full:
                path = name[2:] if name.startswith(b"./") else name
            elif name in (b".", b"..") or b"/" in name or b"\0" in name:
                path = _top(name, here)
            else:
                path = here + b"/" + name if here else name
            entry = _entry(path, values)
        except ValueError as error:
            yield MtreeTrouble(number, str(error))
            here = here if full else None
            continue
        if not full and entry.kind is Kind.DIRECTORY:
            # What a hostile specification nests must not grow with every line.
            here = path if len(path) <= LINE_LIMIT else None
        yield entry


def _take(words: list[bytes], values: dict[bytes, bytes]) -> None:
    """Nothing; what the keywords of a line say is among the values. Those without a value have an empty one."""
    for word in words[1:]:
        key, _, value = word.partition(b"=")
        values[key] = value


def _joined(lines: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Numbered lines, with those that a backslash at the end continues put together."""
    kept = b""
    number = 0
    for number, raw in enumerate(lines, start=1):
        line = raw.strip()
        if line.endswith(b"\\") and (len(line) - len(line.rstrip(b"\\"))) % 2 and len(kept) <= LINE_LIMIT:
            kept += line[:-1] + b" "
            continue
        yield number, kept + line if kept else line
        kept = b""
    if kept:
        yield number, kept


def _top(name: bytes, here: bytes | None) -> bytes:
    """The path of the entry `.`, which is the top directory; ValueError for every other name that is none."""
    if name == b"." and not here:
        return b""
    raise ValueError("it is no name")


def _entry(path: bytes, values: dict[bytes, bytes]) -> MtreeEntry:
    kind = mode = digest = target = None
    if b"type" in values:
        kind = _KINDS.get(values[b"type"])
        if kind is None:
            raise ValueError("it has a type that is not known")
    if b"mode" in values and (not _MODE(values[b"mode"]) or (mode := int(values[b"mode"], 8)) > 0o7777):
        raise ValueError("its mode is not octal")
    for key, algorithm, size in _DIGESTS:
        if key in values:
            digest = Digest(algorithm, _hexadecimal(values[key], size))
            break
    if b"link" in values:
        target = unescape(values[b"link"])
    return MtreeEntry(
        path,
        kind,
        mode,
        _number(values, b"uid", 1 << 32),
        _number(values, b"gid", 1 << 32),
        _name(values, b"uname"),
        _name(values, b"gname"),
        _number(values, b"size", 1 << 63),
        digest,
        target,
        b"optional" in values,
    )


def _number(values: dict[bytes, bytes], key: bytes, limit: int) -> int | None:
    value = values.get(key)
    if value is None:
        return None
    if not _NUMBER(value) or (number := int(value)) >= limit:
        raise ValueError(f"its {key.decode()} is no number that can be")
    return number


def _name(values: dict[bytes, bytes], key: bytes) -> str | None:
    value = values.get(key)
    return None if value is None else unescape(value).decode("utf-8", "surrogateescape")


def _hexadecimal(value: bytes, size: int) -> bytes:
    try:
        raw = binascii.unhexlify(value)
    except binascii.Error as error:
        raise ValueError("its digest is not hexadecimal") from error
    if len(raw) != size:
        raise ValueError("its digest is not as long as it should be")
    return raw
