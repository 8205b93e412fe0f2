"""Chunk ids and session ids (docs/format.md, sections 1 and 5)."""

from __future__ import annotations

import os
import re

from blake3 import blake3

from snapstore.model import Buffer, ChunkId, SessionId

ID_SIZE = 32
SESSION_SIZE = 16

_HEX_ID = re.compile(r"[0-9a-f]{64}\Z")
_HEX_SESSION = re.compile(r"[0-9a-f]{32}\Z")


def chunk_id(data: Buffer) -> ChunkId:
    """The id of a chunk in a plain store: BLAKE3-256 of its bytes."""
    return ChunkId(blake3(data).digest())


def parse_id(text: str) -> ChunkId:
    """The id that 64 lower-case hexadecimal digits spell; ValueError for anything else."""
    if not _HEX_ID.match(text):
        raise ValueError(f"not a chunk id: {text[:80]!r}")
    return ChunkId(bytes.fromhex(text))


def new_session_id() -> SessionId:
    """A fresh random session id."""
    return SessionId(os.urandom(SESSION_SIZE))


def parse_session_id(text: str) -> SessionId:
    """The session id that 32 lower-case hexadecimal digits spell; ValueError for anything else."""
    if not _HEX_SESSION.match(text):
        raise ValueError(f"not a session id: {text[:80]!r}")
    return SessionId(bytes.fromhex(text))
