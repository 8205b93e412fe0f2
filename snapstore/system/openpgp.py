"""What names the keys of an OpenPGP keyring (RFC 9580): fingerprints, when they were made, whose they say they are.

Only packets are read and nothing is verified: this says which keys a file holds, not whether they are any good. Secret
keys are no part of a keyring that is trusted, and are told of.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

_PUBLIC_KEY, _USER_ID = 6, 13
_SECRET_KEYS = (5, 7)
_KEYS_LIMIT = 100_000
_USER_ID_LIMIT = 4096
_BLOCK = re.compile(
    rb"^-----BEGIN PGP PUBLIC KEY BLOCK-----[ \t\r]*\n(.*?)^-----END PGP PUBLIC KEY BLOCK-----",
    re.DOTALL | re.MULTILINE,
)
_BEGIN = b"-----BEGIN PGP"
_KEYBOX = b"KBXf"


class OpenPgpError(ValueError):
    """The bytes are no keyring, or break off; the message says where."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """One primary key: fingerprint (upper-case hex, empty for a version that is not known), first user id, seconds."""

    fingerprint: str
    owner: str
    created: int


def is_keybox(data: bytes) -> bool:
    """Whether a file is a keybox of GnuPG, which package managers do not read."""
    return data[8:12] == _KEYBOX


def looks_armored(data: bytes) -> bool:
    """Whether a file holds ASCII armour."""
    return _BEGIN in data[:65536]


def read_keyring(data: bytes) -> tuple[list[PublicKey], str]:
    """The primary keys of a keyring, binary or armoured, in order, and what is wrong with it, empty if nothing is.

    What was read before something went wrong is given all the same.
    """
    keys: list[PublicKey] = []
    try:
        blocks = list(dearmor(data)) if looks_armored(data) else [data]
        for block in blocks:
            _read_keys(block, keys)
    except OpenPgpError as error:
        return keys, str(error)
    return keys, "" if keys else "it holds no public key"


def dearmor(data: bytes) -> Iterator[bytes]:
    """The binary content of each block of a public key. OpenPgpError where one cannot be decoded.

    The checksum of a block is not looked at: RFC 9580 takes it for optional, and a damaged packet shows by itself.
    """
    at = 0
    for block in _BLOCK.finditer(data):
        at += 1
        lines = [line.strip() for line in block[1].split(b"\n")]
        # The headers end with an empty line, which old keys may lack where there is no header.
        if b"" in lines and all(b":" in line for line in lines[: lines.index(b"")]):
            lines = lines[lines.index(b"") + 1 :]
        body = b"".join(line for line in lines if not line.startswith(b"="))
        try:
            yield base64.b64decode(body, validate=True)
        except (binascii.Error, ValueError) as error:
            raise OpenPgpError(f"block {at} of its armour is no base64") from error
    if not at:
        raise OpenPgpError("its armour holds no whole block of a public key")


def _read_keys(data: bytes, keys: list[PublicKey]) -> None:
    """Nothing; the keys of a binary keyring are added. OpenPgpError."""
    waiting = False
    for tag, body in packets(data):
        if tag == _PUBLIC_KEY:
            if len(keys) >= _KEYS_LIMIT:
                raise OpenPgpError(f"it holds more than {_KEYS_LIMIT} keys")
            keys.append(_key(body))
            waiting = True
        elif tag == _USER_ID and waiting:
            owner = body[:_USER_ID_LIMIT].decode("utf-8", "surrogateescape")
            keys[-1] = PublicKey(keys[-1].fingerprint, owner, keys[-1].created)
            waiting = False
        elif tag in _SECRET_KEYS:
            raise OpenPgpError("it holds a secret key")


def packets(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The type and the body of each packet (RFC 9580, section 4.2). OpenPgpError where the bytes are none."""
    at = 0
    while at < len(data):
        first = data[at]
        if not first & 0x80:
            raise OpenPgpError(f"there is no packet at byte {at}")
        if first & 0x40:
            tag = first & 0x3F
            body, at = _new_body(data, at + 1)
        else:
            tag = (first >> 2) & 0x0F
            body, at = _old_body(data, at + 1, length_type=first & 3)
        yield tag, body


def _new_body(data: bytes, at: int) -> tuple[bytes, int]:
    """A body with the present lengths, and where the next packet begins; partial bodies are joined."""
    pieces = []
    while True:
        first = _take(data, at, 1)[0]
        at += 1
        partial = False
        if first < 192:
            length = first
        elif first < 224:
            length = ((first - 192) << 8) + _take(data, at, 1)[0] + 192
            at += 1
        elif first == 255:
            length = int.from_bytes(_take(data, at, 4), "big")
            at += 4
        else:
            length, partial = 1 << (first & 0x1F), True
        pieces.append(_take(data, at, length))
        at += length
        if not partial:
            return b"".join(pieces), at


def _old_body(data: bytes, at: int, *, length_type: int) -> tuple[bytes, int]:
    """A body with the lengths of old, and where the next packet begins."""
    if length_type == 3:
        return data[at:], len(data)
    size = 1 << length_type
    length = int.from_bytes(_take(data, at, size), "big")
    return _take(data, at + size, length), at + size + length


def _take(data: bytes, at: int, length: int) -> bytes:
    if at + length > len(data):
        raise OpenPgpError("it breaks off within a packet")
    return data[at : at + length]


def _key(body: bytes) -> PublicKey:
    """A public key packet (RFC 9580, section 5.5.2; fingerprints, section 5.5.4)."""
    if len(body) < 6:
        raise OpenPgpError("it has a key packet that is too short")
    version, created = body[0], int.from_bytes(body[1:5], "big")
    if version == 4 and len(body) < 1 << 16:
        # SHA-1 is what defines a fingerprint of version 4; nothing here depends on its strength.
        digest = hashlib.sha1(b"\x99" + len(body).to_bytes(2, "big") + body, usedforsecurity=False).hexdigest()
    elif version in (5, 6):
        mark = b"\x9a" if version == 5 else b"\x9b"
        digest = hashlib.sha256(mark + len(body).to_bytes(4, "big") + body).hexdigest()
    elif version in (2, 3):
        digest = hashlib.md5(_numbers(body), usedforsecurity=False).hexdigest()
    else:
        raise OpenPgpError(f"it has a key of version {version}, which is not known")
    return PublicKey(digest.upper(), "", created)


def _numbers(body: bytes) -> bytes:
    """Modulus and exponent of an RSA key of version 2 or 3, without their lengths, for its fingerprint."""
    at, found = 8, []
    for _ in range(2):
        length = (int.from_bytes(_take(body, at, 2), "big") + 7) // 8
        found.append(_take(body, at + 2, length))
        at += 2 + length
    return b"".join(found)
