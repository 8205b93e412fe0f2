"""OpenPGP keys that are made here: whole packets with numbers that are none."""

from __future__ import annotations

import base64
import hashlib

CREATED = 1_700_000_000


def packet(tag: int, body: bytes, *, old: bool = False) -> bytes:
    """A packet with a present header, or one of old."""
    if old:
        return bytes([0x80 | tag << 2 | 2]) + len(body).to_bytes(4, "big") + body
    return bytes([0xC0 | tag, 0xFF]) + len(body).to_bytes(4, "big") + body


def public_key(seed: bytes, *, version: int = 4) -> bytes:
    """The body of a public key packet."""
    material = hashlib.sha512(seed).digest()
    if version == 6:
        return b"\x06" + CREATED.to_bytes(4, "big") + b"\x1b" + (32).to_bytes(4, "big") + material[:32]
    if version == 3:
        modulus = b"\x02\x00" + material
        return b"\x03" + CREATED.to_bytes(4, "big") + bytes(2) + b"\x01" + modulus + b"\x00\x11\x01\x00\x01"
    return bytes([version]) + CREATED.to_bytes(4, "big") + b"\x01" + b"\x02\x00" + material + b"\x00\x11\x01\x00\x01"


def fingerprint_of(body: bytes) -> str:
    """The fingerprint of a key of version 4."""
    return hashlib.sha1(b"\x99" + len(body).to_bytes(2, "big") + body).hexdigest().upper()  # noqa: S324


def keyring(body: bytes, owner: str = "", *, old: bool = False) -> bytes:
    """A key, its user id, a second user id, a signature and a subkey."""
    ids = packet(13, owner.encode(), old=old) + packet(13, b"another") if owner else b""
    return packet(6, body, old=old) + ids + packet(2, b"signature") + packet(14, public_key(b"sub" + body))


def armored(data: bytes, *, headers: str = "Comment: made by a test\n\n") -> str:
    """The text form of a keyring."""
    begin, end = (f"-----{each} PGP PUBLIC KEY BLOCK-----\n" for each in ("BEGIN", "END"))
    return begin + headers + base64.encodebytes(data).decode() + "=abcd\n" + end
