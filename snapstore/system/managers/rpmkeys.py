"""The keys that were imported into rpm, which its database lists as packages called gpg-pubkey.

Of OpenPGP (RFC 9580, with the older packet lengths) only what names a key is read: the first public key packet and the
first user id behind it. Newer rpm keeps keys as files beside the database instead (`pubkeys/*.key`); both are found.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from typing import NamedTuple

from blake3 import blake3

from snapstore.system.managers.rpmdatabase import DIRECTORIES, ask, find_databases
from snapstore.system.managers.rpmquery import KEYS, DamagedValueError
from snapstore.system.managers.trouble import Trouble
from snapstore.system.packages import Warn
from snapstore.system.root import Root, RootError
from snapstore.system.scopes.repositories import SigningKey

PACKAGE_NAME = "gpg-pubkey"
_KEY_LIMIT = 1 << 20
_FILE_LIMIT = 10_000
_PUBLIC_KEY, _USER_ID = 6, 13
_BEGIN, _END = b"-----BEGIN PGP PUBLIC KEY BLOCK-----", b"-----END PGP PUBLIC KEY BLOCK-----"


class PublicKey(NamedTuple):
    """What names a key: upper-case hexadecimal fingerprint, when it was made, whose it says it is."""

    fingerprint: str
    created: int
    owner: str


def imported_keys(root: Root, warn: Warn) -> list[SigningKey]:
    """The keys that rpm trusts, sorted by file and fingerprint. PackageDatabaseError, RootError.

    `file` is the database, or the file of the key; `digest` is the BLAKE3 of the armoured key alone.
    """
    keys: dict[tuple[bytes, str], SigningKey] = {}

    def add(file: bytes, armoured: bytes, trouble: Trouble, what: str) -> None:
        try:
            key = read_key(dearmoured(armoured))
        except ValueError as error:
            trouble(f"{what} is no key that can be read: {error}")
            return
        digest = blake3(armoured).hexdigest()
        row = SigningKey(file=file, fingerprint=key.fingerprint, owner=key.owner, created=key.created, digest=digest)
        keys.setdefault((file, key.fingerprint), row)

    for database in find_databases(root):
        headers = ask(root, database, KEYS, warn, PACKAGE_NAME)
        with Trouble(warn, database.path) as trouble:
            for header in headers:
                try:
                    what = f"the key {header.text('VERSION')}-{header.text('RELEASE')}"
                    text = header.text("DESCRIPTION")
                except DamagedValueError as error:
                    trouble(f"a key makes no sense: {error}")
                    continue
                add(database.path, text.encode("utf-8", "surrogateescape"), trouble, what)
    for directory in sorted({root.resolve(each) for each in DIRECTORIES[:-1]}):
        place = directory + b"/pubkeys"
        with Trouble(warn, place) as trouble:
            names = [name for name in root.list(place) if name.endswith(b".key")]
            if len(names) > _FILE_LIMIT:
                trouble(f"there are {len(names)} keys, and only the first {_FILE_LIMIT} are read")
            for name in names[:_FILE_LIMIT]:
                path = place + b"/" + name
                try:
                    text_of_file = root.read(path, limit=_KEY_LIMIT) or b""
                except RootError as error:
                    warn(path, f"it cannot be read: {error.strerror}")
                    continue
                add(path, text_of_file, trouble, os.fsdecode(name))
    return [keys[each] for each in sorted(keys)]


def dearmoured(text: bytes) -> bytes:
    """The packets in an armoured key; what is not armoured stays as it is. ValueError.

    The checksum of the armour is left aside, as RFC 9580 asks for.
    """
    first = text.find(_BEGIN)
    if first < 0:
        return text
    last = text.find(_END, first)
    if last < 0 or last - first > _KEY_LIMIT:
        raise ValueError("its armour has no end")
    lines = [line.strip() for line in text[first + len(_BEGIN) : last].splitlines()[1:]]
    body = lines[lines.index(b"") + 1 :] if b"" in lines else lines  # headers end with an empty line
    try:
        return base64.b64decode(b"".join(line for line in body if not line.startswith(b"=")), validate=True)
    except binascii.Error as error:
        raise ValueError("its armour is no base64") from error


def read_key(packets: bytes) -> PublicKey:
    """What names the first key in the packets. ValueError."""
    key: tuple[str, int] | None = None
    at = 0
    while at < len(packets):
        tag, body, at = _packet(packets, at)
        if tag == _PUBLIC_KEY and key is None:
            key = _fingerprint(body)
        elif tag == _USER_ID and key is not None:
            return PublicKey(*key, body.decode("utf-8", "replace"))
    if key is None:
        raise ValueError("there is no public key in it")
    return PublicKey(*key, "")


def _packet(packets: bytes, at: int) -> tuple[int, bytes, int]:
    """The tag, the body and the end of the packet that begins there. ValueError."""
    first = packets[at]
    if not first & 0x80:
        raise ValueError("it holds what is no packet")
    if first & 0x40:
        tag = first & 0x3F
        octet = packets[at + 1] if at + 1 < len(packets) else 0
        width = 1 if octet < 192 else 2 if octet < 224 else 5
        if 224 <= octet < 255:
            raise ValueError("it holds a packet in parts")
        raw = packets[at + 1 : at + 1 + width]
        if len(raw) < width:
            raise ValueError("it ends within a packet")
        lengths = {1: octet, 2: ((octet - 192) << 8) + raw[-1] + 192, 5: int.from_bytes(raw[1:], "big")}
        length = lengths[width]
    else:
        tag = first >> 2 & 0x0F
        width = {0: 1, 1: 2, 2: 4}.get(first & 3, 0)
        if not width:
            raise ValueError("it holds a packet of unknown length")
        length = int.from_bytes(packets[at + 1 : at + 1 + width], "big")
    start = at + 1 + width
    if length > len(packets) - start:
        raise ValueError("it ends within a packet")
    return tag, packets[start : start + length], start + length


def _fingerprint(body: bytes) -> tuple[str, int]:
    """(fingerprint, time of creation) of a public key packet. ValueError."""
    version = body[0] if len(body) > 5 else 0
    if version == 4 and len(body) < 1 << 16:
        digest = hashlib.sha1(b"\x99" + len(body).to_bytes(2, "big") + body, usedforsecurity=False)
    elif version == 6:
        digest = hashlib.sha256(b"\x9b" + len(body).to_bytes(4, "big") + body)
    else:
        raise ValueError(f"its version {version} has no fingerprint that is known here")
    return digest.hexdigest().upper(), int.from_bytes(body[1:5], "big")
