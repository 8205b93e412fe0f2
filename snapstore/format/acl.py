"""POSIX access control lists as one line of text, and back.

The kernel hands out an ACL as the extended attribute `system.posix_acl_access` or `system.posix_acl_default`
(linux/posix_acl_xattr.h): a little-endian u32 version, 2, then one 8-byte entry each: u16 tag, u16 permissions, u32 id.
The text is what a tree stores:

    user::rw-,user:1000:bob:r--,group::r--,group:44:video:rwx,mask::r-x,other::---

An entry for a certain user or group holds its number and its name; the name is empty where the number has none. In a
name `%`, `,`, `:`, controls and bytes that are not UTF-8 are written as `%` and two upper-case hexadecimal digits.
There is exactly one text for an ACL and its names, and both directions refuse anything else with ValueError, so that a
caller can keep the raw attribute instead of losing a bit of it.
"""

from __future__ import annotations

import re
import struct
from typing import Protocol

_VERSION = 2
_HEADER = struct.Struct("<I")
_ENTRY = struct.Struct("<HHI")
_UNDEFINED_ID = 0xFFFFFFFF
_PERMISSIONS = "rwx"

# tag number: (word, whether it holds an id, rank in the only order that the kernel accepts, posix_acl_valid())
_TAGS = {
    0x01: ("user", False, 0),
    0x02: ("user", True, 1),
    0x04: ("group", False, 2),
    0x08: ("group", True, 3),
    0x10: ("mask", False, 4),
    0x20: ("other", False, 5),
}
_TAG_OF = {(word, named): tag for tag, (word, named, _) in _TAGS.items()}
_BASE_TAGS = (0x01, 0x04, 0x20)
_MASK_TAG = 0x10

_MUST_ESCAPE = re.compile("[%,:\x00-\x20\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_ESCAPE = re.compile(b"%([0-9A-F]{2})")
_NUMBER = re.compile("0|[1-9][0-9]{0,9}")


class Names(Protocol):
    """Where the names of numbers come from; the empty string where a number has none."""

    def user(self, uid: int, /) -> str:
        """The name of a user."""
        ...

    def group(self, gid: int, /) -> str:
        """The name of a group."""
        ...


class Ids(Protocol):
    """Where the numbers of names come from on the machine that restores; None for a name it does not know."""

    def uid(self, name: str, /) -> int | None:
        """The number of a user."""
        ...

    def gid(self, name: str, /) -> int | None:
        """The number of a group."""
        ...


def decode_acl(raw: bytes, names: Names) -> str:
    """The text of an ACL attribute's value; ValueError for what the text could not give back exactly."""
    if len(raw) < _HEADER.size or (len(raw) - _HEADER.size) % _ENTRY.size:
        raise ValueError(f"an ACL does not take {len(raw)} bytes")
    (version,) = _HEADER.unpack_from(raw)
    if version != _VERSION:
        raise ValueError(f"unknown ACL version {version}")
    entries = list(_ENTRY.iter_unpack(memoryview(raw)[_HEADER.size :]))
    _check_order([(tag, identity) for tag, _, identity in entries])
    return ",".join(_entry_text(tag, bits, identity, names) for tag, bits, identity in entries)


def encode_acl(text: str, ids: Ids | None = None) -> bytes:
    """The attribute's value for a text of `decode_acl`; with `ids`, a known name wins over the number beside it.

    Raises ValueError for any text that `decode_acl` does not write.
    """
    entries: list[tuple[int, int, int]] = []
    for part in text.split(","):
        fields = part.split(":")
        if len(fields) == 3 and not fields[1]:
            word, number, name, letters = fields[0], "", "", fields[2]
        elif len(fields) == 4:
            word, number, name, letters = fields
        else:
            raise ValueError(f"malformed ACL entry {part!r}")
        tag = _TAG_OF.get((word, bool(number)))
        if tag is None or (len(fields) == 4) != _TAGS[tag][1]:
            raise ValueError(f"malformed ACL entry {part!r}")
        identity = _UNDEFINED_ID
        if number:
            identity = _parse_number(number)
            plain = _unescape(name)
            if ids is not None and plain:
                known = ids.uid(plain) if word == "user" else ids.gid(plain)
                identity = identity if known is None else known
        entries.append((tag, _parse_permissions(letters), identity))
    # Two names may be one number here, so what the order check says about repeated ids holds without `ids` only.
    _check_order([(tag, identity if ids is None else index) for index, (tag, _, identity) in enumerate(entries)])
    return _HEADER.pack(_VERSION) + b"".join(_ENTRY.pack(*entry) for entry in entries)


def _entry_text(tag: int, bits: int, identity: int, names: Names) -> str:
    word, named, _ = _TAGS[tag]
    if bits > 0o7:
        raise ValueError(f"unknown ACL permissions {bits:#o}")
    letters = "".join(letter if bits & (4 >> place) else "-" for place, letter in enumerate(_PERMISSIONS))
    if not named:
        if identity != _UNDEFINED_ID:
            raise ValueError(f"an ACL entry for {word} holds the id {identity}")
        return f"{word}::{letters}"
    name = names.user(identity) if word == "user" else names.group(identity)
    return f"{word}:{identity}:{_escape(name)}:{letters}"


def _check_order(entries: list[tuple[int, int]]) -> None:
    """Nothing, or ValueError for an ACL that the kernel would not take: the order, the base entries, the mask."""
    tags = [tag for tag, _ in entries]
    if not all(tag in _TAGS for tag in tags):
        raise ValueError("unknown ACL tag")
    ranks = [_TAGS[tag][2] for tag in tags]
    if ranks != sorted(ranks):
        raise ValueError("ACL entries out of order")
    if any(tags.count(tag) != 1 for tag in _BASE_TAGS) or tags.count(_MASK_TAG) > 1:
        raise ValueError("an ACL has one entry each for user, group and other, and at most one mask")
    named = [entry for entry in entries if _TAGS[entry[0]][1]]
    if named and _MASK_TAG not in tags:
        raise ValueError("an ACL with named entries has a mask")
    if len(set(named)) != len(named):
        raise ValueError("two ACL entries for the same id")


def _parse_number(number: str) -> int:
    if not _NUMBER.fullmatch(number) or int(number) > _UNDEFINED_ID:
        raise ValueError(f"malformed id {number!r} in an ACL")
    return int(number)


def _parse_permissions(letters: str) -> int:
    if len(letters) != 3 or any(got not in ("-", want) for got, want in zip(letters, _PERMISSIONS, strict=True)):
        raise ValueError(f"malformed permissions {letters!r} in an ACL")
    return sum(4 >> place for place, letter in enumerate(letters) if letter != "-")


def _escape(name: str) -> str:
    return _MUST_ESCAPE.sub(
        lambda found: "".join(f"%{byte:02X}" for byte in found.group().encode("utf-8", "surrogateescape")), name
    )


def _unescape(text: str) -> str:
    raw = _ESCAPE.sub(lambda found: bytes.fromhex(found.group(1).decode("ascii")), text.encode("utf-8"))
    name = raw.decode("utf-8", "surrogateescape")
    if _escape(name) != text:
        raise ValueError(f"malformed name {text!r} in an ACL")
    return name
