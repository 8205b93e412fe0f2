"""Small objects: one sealed section behind a header (docs/format.md, section 4)."""

from __future__ import annotations

import struct

from snapstore.errors import CorruptObjectError
from snapstore.format import codec as codecs
from snapstore.format.seal import HEADER_SIZE, Header, ObjectType, Sealer, parse_header
from snapstore.model import Buffer, SessionId

_PREFIX = struct.Struct("<B3sI")


def write_small(kind: ObjectType, payload: bytes, *, session: SessionId, store: bytes) -> bytes:
    """The stored bytes of a small object."""
    header = Header(kind, session).pack()
    codec, body = codecs.compress(payload)
    parts = Sealer(header, store).seal(body, slot=0, codec=codec, raw_length=len(payload))
    return b"".join((header, _PREFIX.pack(codec, bytes(3), len(payload)), *parts))


def read_small(data: Buffer, kind: ObjectType, *, store: bytes, name: str) -> tuple[Header, bytes]:
    """(header, payload) of a small object.

    Raises CorruptObjectError, or FormatVersionError for one written by a newer release.
    """
    header = parse_header(data, name=name, expect=kind)
    if len(data) < HEADER_SIZE + _PREFIX.size:
        raise CorruptObjectError(name, "it ends inside its header")
    codec, reserved, raw_length = _PREFIX.unpack_from(data, HEADER_SIZE)
    if any(reserved):
        raise CorruptObjectError(name, "reserved bytes are not zero")
    if codec not in codecs.DOCUMENT_CODECS:
        raise CorruptObjectError(name, f"it has the codec {codec}, which small objects do not use")
    body = memoryview(data)[HEADER_SIZE + _PREFIX.size :]
    sealer = Sealer(bytes(memoryview(data)[:HEADER_SIZE]), store)
    payload = sealer.open(body, slot=0, codec=codec, raw_length=raw_length, name=name)
    return header, bytes(codecs.decompress(codec, payload, raw_length=raw_length, name=name))
