"""The common header of objects and the sealing of their sections (docs/format.md, sections 2 and 3).

This release seals with suite 0: sections are stored in the clear behind a keyed BLAKE3 tag that binds them to
their place. The other suites are part of the format and are refused by name until keys exist.
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass

from blake3 import blake3

from snapstore.errors import CorruptObjectError, FormatVersionError
from snapstore.model import Buffer, SessionId

MAGIC = b"SNAP"
VERSION = 1
TAG_SIZE = 16
FLAG_SIGNED = 1
NO_STORE = bytes(16)
NO_SESSION = SessionId(bytes(16))

_HEADER = struct.Struct("<4sHBBII16s32s32s")
_SECTION = struct.Struct("<IBQ")
HEADER_SIZE = _HEADER.size
_PLAIN_KEY = blake3(b"snapstore 1 plain tag").digest()


class ObjectType(enum.IntEnum):
    """What an object is."""

    CONFIG = 1
    ANNOUNCEMENT = 2
    FINAL = 3
    INDEX = 4
    DATA_PACK = 5
    METADATA_PACK = 6
    CONDEMNED = 7
    KEY_SLOT = 8
    TOMBSTONE = 9


_NEVER_SIGNED = (ObjectType.INDEX, ObjectType.DATA_PACK, ObjectType.METADATA_PACK)


class Suite(enum.IntEnum):
    """How sections are sealed."""

    PLAIN = 0
    AES_256_GCM = 1
    CHACHA20_POLY1305 = 2


@dataclass(frozen=True, slots=True)
class Header:
    """The first 96 bytes of an object, taken apart."""

    type: ObjectType
    session: SessionId
    suite: Suite = Suite.PLAIN
    flags: int = 0
    salt: bytes = bytes(32)
    commitment: bytes = bytes(32)

    def pack(self) -> bytes:
        """The 96 bytes."""
        return _HEADER.pack(
            MAGIC, VERSION, self.type, self.suite, self.flags, 0, self.session, self.salt, self.commitment
        )


def parse_header(data: Buffer, *, name: str, expect: ObjectType) -> Header:
    """The header at the start of `data`.

    Raises CorruptObjectError for what is no header or one of another type, FormatVersionError for an object that a
    newer release wrote. `name` is the object's, for messages.
    """
    if len(data) < HEADER_SIZE:
        raise CorruptObjectError(name, f"it has {len(data)} bytes, fewer than a header")
    magic, version, kind, suite, flags, reserved, session, salt, commitment = _HEADER.unpack_from(data, 0)
    if magic != MAGIC:
        raise CorruptObjectError(name, "it does not begin with SNAP")
    if version != VERSION:
        raise FormatVersionError(
            f"{name} has format version {version}, this release reads version {VERSION}",
            advice="use a newer snapstore",
        )
    if kind != expect:
        raise CorruptObjectError(name, f"it is an object of type {kind}, not {int(expect)}")
    if suite not in Suite.__members__.values():
        raise FormatVersionError(f"{name} is sealed with the unknown suite {suite}", advice="use a newer snapstore")
    if suite != Suite.PLAIN:
        raise FormatVersionError(
            f"{name} is encrypted ({Suite(suite).name}), which this release cannot read",
            advice="use a newer snapstore",
        )
    if reserved or flags & ~FLAG_SIGNED or any(salt) or any(commitment):
        raise CorruptObjectError(name, "reserved parts of its header are not zero")
    if flags & FLAG_SIGNED:
        if kind in _NEVER_SIGNED:
            raise CorruptObjectError(name, "it claims a signature, which only small objects have")
        raise FormatVersionError(
            f"{name} is signed, and this release cannot verify signatures", advice="use a newer snapstore"
        )
    return Header(ObjectType(kind), SessionId(session), Suite(suite), flags, salt, commitment)


class Sealer:
    """Seals and opens the sections of one object.

    `header` is the object's packed header; `store` its store's id (NO_STORE for `config`). Thread-safe: it holds no
    state besides these.
    """

    __slots__ = ("_prefix",)

    def __init__(self, header: bytes, store: bytes) -> None:
        self._prefix = header + store

    def _tag(self, payload: Buffer, slot: int, codec: int, raw_length: int) -> bytes:
        tag = blake3(self._prefix + _SECTION.pack(slot, codec, raw_length), key=_PLAIN_KEY)
        return tag.update(payload).digest(TAG_SIZE)

    def seal(self, payload: Buffer, *, slot: int, codec: int, raw_length: int) -> tuple[Buffer, bytes]:
        """The stored form of a section as two parts to be written one after the other: payload, tag."""
        return payload, self._tag(payload, slot, codec, raw_length)

    def open(self, section: Buffer, *, slot: int, codec: int, raw_length: int, name: str) -> memoryview:
        """The payload of a stored section, as a slice of it.

        Raises CorruptObjectError if a single bit of it, or of what it is bound to, is not as it was sealed.
        """
        view = memoryview(section)
        if len(view) < TAG_SIZE:
            raise CorruptObjectError(name, f"section {slot} is shorter than its tag")
        payload, tag = view[:-TAG_SIZE], bytes(view[-TAG_SIZE:])
        # The tag of a plain store is no secret, so there is nothing to learn from how long this takes.
        if self._tag(payload, slot, codec, raw_length) != tag:
            raise CorruptObjectError(name, f"section {slot} does not match its tag")
        return payload
