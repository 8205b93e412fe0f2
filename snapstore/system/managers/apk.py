"""apk: one text file with a record for each package, a line for each directory, file, owner and digest.

What the database says of a path, and what it does not:

* Every `R:` line is a file or a link; it does not say which. `kind` is then None and the digest, where there is one, is
  that of a file's bytes or of a link's target. A link has mode 0777 if it has an `a:` line, and that of files else,
  which means nothing.
* `Q1` is SHA-1, `Q2` SHA-256; in packages with the flag `S`, `Q1` is the first 160 bits of SHA-256.
* A directory that is in the record only because something is in it has no `M:` line. Where another package states one
  for it, that is what holds.
* There are extended attributes where an `a:` line ends with their digest. It does not say which they are, so nothing
  is then known of capabilities; without it there are none.
"""

from __future__ import annotations

import binascii
import functools
import os
import re
from collections.abc import Iterator
from typing import ClassVar, NamedTuple

from snapstore.errors import PackageDatabaseError
from snapstore.model import Kind
from snapstore.system.managers.apkpolicy import PROTECTED, WORLD, Protection, World, read_protection, read_world
from snapstore.system.managers.listing import Places, is_sound, stamp_of, text
from snapstore.system.managers.trouble import Trouble, shown
from snapstore.system.packages import Digest, Owned, Package, Warn
from snapstore.system.root import Root, RootError
from snapstore.system.scopes.packagelist import Lock

_PLACES = (b"/lib/apk/db", b"/usr/lib/apk/db")
_OLD = b"installed"
_NEW = b"installed.adb"
_HEAD_LIMIT = 1 << 20
_ADVICE = "apk-tools 2 and 3 keep the older form as /lib/apk/db/installed"

_RECORD = re.compile(rb"(?:[^\n]++\n?+)++")
_NO_LINE = re.compile(rb"^(?![A-Za-z]:)[^\n]*+", re.MULTILINE).search
_HEAD = re.compile(rb"^([A-Za-z]):([^\n]*)", re.MULTILINE)
_BODY = re.compile(rb"^([FMRaZ]):([^\n]*)", re.MULTILINE)
_STATED = re.compile(rb"^F:([^\n]*)\nM:([^\n]*)", re.MULTILINE)
_WORD = re.compile(rb"[!-~\x80-\xff]{1,255}\Z").match
_PINNED = re.compile(r"(?:@[^<>=~]+)?=").match
_NUMBER = re.compile(rb"[0-9]{1,18}\Z").match
_ATTRIBUTES = re.compile(rb"([0-9]{1,10}):([0-9]{1,10}):([0-7]{1,5})(:[^:]+)?\Z").match
_IN_BODY = frozenset({b"M", b"R", b"a", b"Z"})
_BASE64 = {28: ("sha1", 20), 44: ("sha256", 32)}
_HEXADECIMAL = {40: ("sha1", 20), 64: ("sha256", 32)}


class _Attributes(NamedTuple):
    """Owner and mode, and whether there are extended attributes."""

    uid: int
    gid: int
    mode: int
    extended: bool = False


_OF_FILES = _Attributes(0, 0, 0o644)
_OF_DIRECTORIES = _Attributes(0, 0, 0o755)


class _Record(NamedTuple):
    """One package: the values of its head by letter, the rest of its lines, and its name, or its number.

    `known`: it has a name and a version. `sound`: and all of it makes sense.
    """

    head: dict[bytes, bytes]
    body: bytes
    name: str
    known: bool
    sound: bool

    @property
    def flags(self) -> bytes:
        """Some of `f` (files not unpacked), `s` (a script failed), `x` (attributes not set) and `S`."""
        return self.head.get(b"f", b"")


class Apk:
    """The dialect of apk, database version 2. A `PackageManager`."""

    name: ClassVar[str] = "apk"

    def detect(self, root: Root) -> bool:
        """Whether the root has a database; also where that cannot be told because nothing may be read there."""
        try:
            # A link that leads nowhere is a damaged database, so none is followed.
            return any(
                root.status(directory + b"/" + name) is not None for directory in _PLACES for name in (_OLD, _NEW)
            )
        except RootError:
            return True

    def stamp(self, root: Root) -> bytes:
        """32 bytes that differ whenever the database, the world, or the protected paths may differ."""
        databases = [directory + b"/" + name for directory in _PLACES for name in (_OLD, _NEW)]
        return stamp_of(root, (*databases, WORLD, PROTECTED))

    def packages(self, root: Root, warn: Warn) -> list[Package]:
        """The packages, sorted by name, architecture and version. PackageDatabaseError."""
        path, data = _read(root)
        world = read_world(root, warn)
        found: dict[tuple[str, str, str], Package] = {}
        with Trouble(warn, path) as trouble:
            for record in _records(data, trouble):
                package = _package(record, world)
                if package is None:
                    continue
                key = (package.name, package.arch, package.version)
                if found.setdefault(key, package) is not package:
                    trouble(f"{shown(record.name.encode())} is there twice")
            if not found and world.names:
                trouble(f"it holds no package, though {os.fsdecode(WORLD)} asks for some")
        return [found[key] for key in sorted(found)]

    def decisions(self, root: Root, warn: Warn) -> list[object]:
        """A lock for every constraint of the world: a version, a repository's tag, or `!` for what must not be."""
        world = read_world(root, warn)
        return [
            Lock(manager=self.name, package=name, rule=rule, file=WORLD)
            for name in sorted(world.wanted)
            for rule in sorted(world.wanted[name])
            if rule
        ]

    def owned(self, root: Root, warn: Warn) -> Iterator[Owned]:
        """Every path of every package. PackageDatabaseError.

        What a record with a line that makes no sense says is not vouched for, and has no digest.
        """
        path, data = _read(root)
        places = Places(root, warn)
        protection = read_protection(root, warn)
        stated = {match[1]: match[2] for match in _STATED.finditer(data)}
        with Trouble(warn, path) as trouble:
            for record in _records(data, trouble):
                yield from _Walk(record, places, protection, stated, trouble).owned()


def _read(root: Root) -> tuple[bytes, bytes]:
    """The path of the database, and its bytes. PackageDatabaseError."""
    try:
        for directory in _PLACES:
            if root.status(directory + b"/" + _NEW, follow=True) is not None:
                place = os.fsdecode(directory + b"/" + _NEW)
                raise PackageDatabaseError(f"{place} is a database of version 3, which is not read", advice=_ADVICE)
        for directory in _PLACES:
            path = directory + b"/" + _OLD
            data = root.read(path)
            if data is not None:
                break
        else:
            raise PackageDatabaseError("there is no database of apk")
    except RootError as error:
        raise PackageDatabaseError(f"the database of apk cannot be read: {error.strerror}") from error
    if data.startswith((b"ADB.", b"ADBd", b"ADBc")):
        raise PackageDatabaseError(f"{os.fsdecode(path)} is a database of version 3, which is not read", advice=_ADVICE)
    if data.strip(b"\n") and not re.search(rb"^P:[^\n]", data, re.MULTILINE):
        raise PackageDatabaseError(f"{os.fsdecode(path)} holds no package: it is no database of apk")
    return path, data


def _records(data: bytes, trouble: Trouble) -> Iterator[_Record]:
    """The records, in order. A file that does not end with a line feed ends with a record that was cut off."""
    for number, match in enumerate(_RECORD.finditer(data), start=1):
        whole = match[0]
        lines = whole.rstrip(b"\n")
        sound = len(lines) < len(whole)
        start = 0 if lines.startswith(b"F:") else lines.find(b"\nF:") + 1
        head_end = start if start or lines.startswith(b"F:") else len(lines)
        head = {each[1]: each[2] for each in _HEAD.finditer(lines, 0, min(head_end, _HEAD_LIMIT))}
        name = head.get(b"P", b"")
        known = bool(_WORD(name) and _WORD(head.get(b"V", b"")))
        said = f"the record of {shown(name)}" if known else f"record {number}"
        if not known:
            trouble(f"{said} does not say which package it is of")
        if not sound:
            trouble(f"{said} is cut off")
        bad = _NO_LINE(lines)
        if astray := _IN_BODY & head.keys():
            trouble(f"{said} has a line {min(astray).decode()}: before the first directory")
            sound = False
        if bad or b"\0" in lines or head_end > _HEAD_LIMIT:
            trouble(f"{said} has a line that makes no sense{': ' + shown(bad[0]) if bad else ''}")
            sound = False
        yield _Record(head, lines[head_end:], text(name) if known else f"record {number}", known, sound and known)


def _package(record: _Record, world: World) -> Package | None:
    """The package of a record; None if the record does not say which."""
    if not record.known:
        return None
    head = record.head
    arch, origin, tag = (text(value) if _WORD(value := head.get(key, b"")) else "" for key in (b"A", b"o", b"s"))
    provided = (each.partition(b"=")[0] for each in head.get(b"p", b"").split())
    size = head.get(b"I", b"")
    rules = world.wanted.get(record.name, ())
    manual = record.name in world.names or any(text(each) in world.names for each in provided)
    return Package(
        manager=Apk.name,
        name=record.name,
        version=text(head[b"V"]),
        arch=arch,
        reason="unknown" if not world.known else "manual" if manual else "auto",
        state="installed" if record.sound and not set(record.flags) & set(b"fs") else "broken",
        held=any(_PINNED(rule) for rule in rules),
        origin=tag,
        source="" if origin == record.name else origin,
        size=int(size) if _NUMBER(size) else 0,
    )


class _Walk:
    """One record on its way to what it owns: the directory and the file that the next line speaks of."""

    def __init__(
        self, record: _Record, places: Places, protection: Protection, stated: dict[bytes, bytes], trouble: Trouble
    ) -> None:
        self._record = record
        self._places = places
        self._protection = protection
        self._stated = stated
        self._trouble = trouble
        self._sound = record.sound
        self._short = b"S" in record.flags
        self._no_extended = b"x" in record.flags

    def owned(self) -> Iterator[Owned]:
        """Everything that the record owns."""
        directory: bytes | None = None
        file: bytes | None = None
        of_directory: bytes | None = None
        of_file: bytes | None = None
        digest: bytes | None = None
        for match in _BODY.finditer(self._record.body):
            letter, value = match.groups()
            if letter == b"R":
                if directory is not None and file is not None:
                    yield self._file(directory, file, of_file, digest)
                of_file = digest = None
                file = self._kept(value, letter, sound=directory is not None and b"/" not in value and is_sound(value))
            elif letter == b"Z":
                digest = self._kept(value, letter, sound=file is not None)
            elif letter == b"a":
                of_file = self._kept(value, letter, sound=file is not None)
            elif letter == b"M":
                of_directory = self._kept(value, letter, sound=directory is not None)
            else:
                if directory is not None:
                    if file is not None:
                        yield self._file(directory, file, of_file, digest)
                    yield self._directory(directory, of_directory)
                file = of_file = digest = of_directory = None
                directory = self._kept(value, letter, sound=not value or is_sound(value))
        if directory is not None:
            if file is not None:
                yield self._file(directory, file, of_file, digest)
            yield self._directory(directory, of_directory)

    def _kept(self, value: bytes, letter: bytes, *, sound: bool) -> bytes | None:
        """The value of a line; None, and nobody vouches for what the record says from here on, where it is unsound."""
        if sound:
            return value
        if self._sound:
            name = shown(os.fsencode(self._record.name))
            self._trouble(f"the record of {name} has a line {letter.decode()}: that makes no sense where it is")
            self._sound = False
        return None

    def _file(self, directory: bytes, name: bytes, stated: bytes | None, digits: bytes | None) -> Owned:
        attributes = _OF_FILES if stated is None else _attributes(stated)
        digest = _digest(digits, short=self._short) if digits is not None and self._sound else None
        self._kept(name, b"a", sound=attributes is not None)
        self._kept(name, b"Z", sound=digits is None or digest is not None)
        known = attributes if self._sound else None
        return Owned(
            self._places.directory(directory) + b"/" + name,
            self._record.name,
            digest=digest if self._sound else None,
            mode=known.mode if known else None,
            uid=known.uid if known else None,
            gid=known.gid if known else None,
            capabilities="" if known and not known.extended and not self._no_extended else None,
            config=self._protection.covers(directory, name),
            vouched=known is not None and digest is not None,
        )

    def _directory(self, path: bytes, stated: bytes | None) -> Owned:
        if stated is None:
            stated = self._stated.get(path)
        attributes = _OF_DIRECTORIES if stated is None else _attributes(stated)
        self._kept(path, b"M", sound=attributes is not None)
        known = attributes if self._sound else None
        return Owned(
            self._places.canonical(path) if path else b"/",
            self._record.name,
            Kind.DIRECTORY,
            mode=known.mode if known else None,
            uid=known.uid if known else None,
            gid=known.gid if known else None,
            vouched=known is not None,
        )


@functools.lru_cache(maxsize=4096)
def _attributes(value: bytes) -> _Attributes | None:
    """The meaning of an `a:` or `M:` line; None if it has none."""
    match = _ATTRIBUTES(value)
    if not match:
        return None
    uid, gid, mode = int(match[1]), int(match[2]), int(match[3], 8)
    return _Attributes(uid, gid, mode, match[4] is not None) if max(uid, gid) < 1 << 32 and mode <= 0o7777 else None


def _digest(value: bytes, *, short: bool) -> Digest | None:
    """The meaning of a `Z:` line; None if it has none. The letter tells the encoding, the length the algorithm."""
    encoding, digits = value[:1], value[2:]
    algorithm, size = {b"Q": _BASE64, b"X": _HEXADECIMAL}.get(encoding, {}).get(len(digits), ("", 0))
    if not algorithm or value[1:2] not in (b"1", b"2") or (value[1:2] == b"2" and algorithm == "sha1"):
        return None
    try:
        raw = binascii.a2b_base64(digits, strict_mode=True) if encoding == b"Q" else binascii.unhexlify(digits)
    except binascii.Error:
        return None
    return Digest("sha256" if short else algorithm, raw) if len(raw) == size else None
