"""Entries of a snapshot as members of a tar archive, and back (docs/bundle.md).

What other programs have keywords for is said with theirs: `SCHILY.xattr.*` and `SCHILY.acl.*` (star(1), GNU tar). What
tar cannot say has a keyword of ours, `SNAPSTORE.*`, and only where there is something to say. So every entry comes back
as it was; but for the contents of files, which follow a member as bytes, and the trees of directories.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from snapstore.format import xml
from snapstore.format.acl import encode_acl
from snapstore.format.tarstream import (
    BLOCK_DEVICE,
    CHARACTER_DEVICE,
    DIRECTORY,
    FIFO,
    FILE,
    SYMLINK,
    Member,
    TarError,
)
from snapstore.format.tree import HOLES_LIMIT, check_relative
from snapstore.model import Entry, Kind, Xattr

OURS = b"SNAPSTORE."
LINKS, HARDLINK, FLAGS, UNREAD = (OURS + word for word in (b"links", b"hardlink", b"flags", b"unread"))
SIZE, HOLES, TYPE, ACL, DEFAULT_ACL = (OURS + word for word in (b"size", b"holes", b"type", b"acl", b"default-acl"))
XATTR = b"SCHILY.xattr."
STAR_ACLS = (b"SCHILY.acl.access", b"SCHILY.acl.default")
SOCKET = b"socket"
IGNORED = frozenset({b"atime", b"ctime", b"comment", b"charset", b"SCHILY.dev", b"SCHILY.ino", b"SCHILY.nlink"})
"""Records of other programs about what a snapshot does not hold."""

_KINDS = {
    FILE: Kind.FILE,
    DIRECTORY: Kind.DIRECTORY,
    SYMLINK: Kind.SYMLINK,
    CHARACTER_DEVICE: Kind.CHARACTER_DEVICE,
    BLOCK_DEVICE: Kind.BLOCK_DEVICE,
    FIFO: Kind.FIFO,
}
_TYPES = {kind: type_ for type_, kind in _KINDS.items()} | {Kind.SOCKET: FILE}
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,255}\Z").match
_ERRNO = re.compile(rb"E[A-Z0-9]{1,31}\Z").match
_FLAGS = re.compile(rb"[A-Za-z]{1,32}\Z").match
_HOLE = re.compile(rb"(0|[1-9][0-9]{0,18})\+([1-9][0-9]{0,18})\Z").match
_ID_LIMIT = (1 << 32) - 1


class Read(NamedTuple):
    """An entry read from a member; `links` is None where the member does not state them, `unknown` are keywords."""

    entry: Entry
    links: int | None
    unknown: tuple[bytes, ...]


def member_of(entry: Entry, path: bytes) -> Member:
    """The member that stands for an entry, at that path of the archive.

    An entry that is a later name of a file states that as a record: to make it a hard link is for the caller, who
    knows where the first name is.
    """
    return Member(
        path=path,
        type=_TYPES[entry.kind],
        mode=entry.mode,
        uid=entry.uid,
        gid=entry.gid,
        user=entry.user.encode("utf-8", "surrogateescape"),
        group=entry.group.encode("utf-8", "surrogateescape"),
        mtime=entry.mtime,
        size=0 if entry.unread else entry.size,
        link=entry.target,
        rdev=entry.rdev,
        holes=() if entry.unread else entry.holes,
        records=tuple(_records(entry)),
    )


def _records(entry: Entry) -> Iterator[tuple[bytes, bytes]]:
    if entry.links != 1:
        yield LINKS, b"%d" % entry.links
    if entry.hardlink:
        yield HARDLINK, entry.hardlink
    if entry.flags:
        yield FLAGS, entry.flags.encode()
    if entry.unread:
        yield UNREAD, entry.unread.encode()
        if entry.size:
            yield SIZE, b"%d" % entry.size
        if entry.holes:
            yield HOLES, b" ".join([b"%d+%d" % hole for hole in entry.holes])
    if entry.kind is Kind.SOCKET:
        yield TYPE, SOCKET
    for ours, theirs, text in ((ACL, STAR_ACLS[0], entry.acl), (DEFAULT_ACL, STAR_ACLS[1], entry.default_acl)):
        if text:
            star = _star_acl(text)
            if star:
                yield theirs, star
            if _own_acl(star) != text:
                yield ours, text.encode("utf-8", "surrogateescape")
    for attribute in entry.xattrs:
        # As GNU tar writes them: a keyword ends at the first equals sign.
        name = attribute.name.replace(b"%", b"%25").replace(b"=", b"%3D")
        yield XATTR + name, attribute.value


def _star_acl(text: str) -> bytes:
    """An ACL as star(1) and GNU tar have it, `user:name:rwx:number`; empty for a text that is no ACL."""
    try:
        encode_acl(text)
    except ValueError:
        return b""
    parts = []
    for part in text.split(","):
        fields = part.split(":")
        if len(fields) == 4:
            word, number, name, letters = fields
            part = f"{word}:{name if _PLAIN_NAME(name) else number}:{letters}:{number}"  # noqa: PLW2901
        parts.append(part)
    return ",".join(parts).encode()


def _own_acl(star: bytes) -> str:
    """The text of `snapstore.format.acl` for star's; empty where it cannot be had without losing anything."""
    parts = []
    for part in star.decode("utf-8", "replace").replace("\n", ",").strip(",").split(","):
        fields = part.split(":")
        if len(fields) == 4:
            word, name, letters, number = fields
            parts.append(f"{word}:{number}:{'' if name == number else name}:{letters}")
        elif len(fields) == 3 and not fields[1]:
            parts.append(part)
        elif len(fields) == 3 and fields[1].isascii() and fields[1].isdigit():
            parts.append(f"{fields[0]}:{fields[1]}::{fields[2]}")
        else:
            return ""
    text = ",".join(parts)
    try:
        encode_acl(text)
    except ValueError:
        return ""
    return text


def entry_of(member: Member, name: bytes) -> Read:
    """The entry of that name that a member other than a hard link stands for, without its contents.

    `size` and `holes` are set, `chunks` and `tree` not. TarError where a record makes no sense.
    """
    records = dict(member.records)
    kind = _KINDS.get(member.type)
    if kind is None:
        raise TarError("a hard link is no entry of its own")
    stated = records.pop(TYPE, None)
    if stated is not None:
        if kind is not Kind.FILE or member.size or stated != SOCKET:
            raise TarError("it is said to be of a type that it cannot be")
        kind = Kind.SOCKET
    try:
        links = xml.parse_number(records.pop(LINKS).decode("ascii"), limit=_ID_LIMIT) if LINKS in records else None
        hardlink = check_relative(records.pop(HARDLINK)) if HARDLINK in records else b""
        acl = _read_acl(records, ACL, STAR_ACLS[0])
        default_acl = _read_acl(records, DEFAULT_ACL, STAR_ACLS[1])
    except ValueError as error:
        raise TarError(f"a record of it makes no sense: {error}") from error
    if kind is Kind.DIRECTORY and (links is not None or hardlink):
        raise TarError("a directory has no other names")
    if kind is Kind.SYMLINK and (not member.link or b"\0" in member.link):
        raise TarError("a symbolic link needs a target")
    flags, unread, size, holes = b"", b"", member.size, member.holes
    if kind in (Kind.FILE, Kind.DIRECTORY):
        flags = _matching(records.pop(FLAGS, b""), _FLAGS)
        unread = _matching(records.pop(UNREAD, b""), _ERRNO)
    if unread and kind is Kind.FILE:
        if member.size:
            raise TarError("it holds what it says could not be read")
        size, holes = _unread_size(records)
    xattrs = _xattrs(records)
    entry = Entry(
        name=name, kind=kind, mode=member.mode, uid=member.uid, gid=member.gid,
        user=member.user.decode("utf-8", "surrogateescape"), group=member.group.decode("utf-8", "surrogateescape"),
        mtime=_checked_time(member.mtime), size=size if kind is Kind.FILE else 0, links=1 if links is None else links,
        hardlink=hardlink, rdev=member.rdev, target=member.link if kind is Kind.SYMLINK else b"",
        flags=flags.decode(), acl=acl, default_acl=default_acl, xattrs=xattrs, holes=holes, unread=unread.decode(),
    )  # fmt: skip
    if any(keyword.startswith(OURS) for keyword in records):
        raise TarError("it has a record that it cannot have")
    return Read(entry, links, tuple(keyword for keyword in records if keyword not in IGNORED))


def _checked_time(time: tuple[int, int]) -> tuple[int, int]:
    if not -(1 << 63) <= time[0] < 1 << 63:
        raise TarError("its time is beyond what a time can be")
    return time


def _matching(value: bytes, rule: Callable[[bytes], re.Match[bytes] | None]) -> bytes:
    if value and not rule(value):
        raise TarError("a record of it makes no sense")
    return value


def _unread_size(records: dict[bytes, bytes]) -> tuple[int, tuple[tuple[int, int], ...]]:
    """(size, holes) of a file whose contents are not there."""
    try:
        size = xml.parse_number(records.pop(SIZE, b"0").decode("ascii"), limit=(1 << 63) - 1)
    except ValueError as error:
        raise TarError(f"a record of it makes no sense: {error}") from error
    holes = []
    end = -1
    text = records.pop(HOLES, b"")
    if text.count(b"+") > HOLES_LIMIT:
        raise TarError("it has more holes than a file may have")
    for pair in text.split(b" ") if text else ():
        match = _HOLE(pair)
        if match is None or int(match[1]) <= end or int(match[1]) + int(match[2]) > size:
            raise TarError("its holes overlap, touch or leave the file")
        holes.append((int(match[1]), int(match[2])))
        end = sum(holes[-1])
    return size, tuple(holes)


def _read_acl(records: dict[bytes, bytes], ours: bytes, theirs: bytes) -> str:
    """The text of an ACL; ours counts where both are there."""
    star = records.pop(theirs, None)
    exact = records.pop(ours, None)
    if exact is not None:
        return exact.decode("utf-8", "surrogateescape")
    if star is None:
        return ""
    text = _own_acl(star)
    if not text:
        raise TarError("its ACL is not one, or names people without their numbers")
    return text


def _xattrs(records: dict[bytes, bytes]) -> tuple[Xattr, ...]:
    found = {}
    for keyword in [each for each in records if each.startswith(XATTR)]:
        name = re.sub(rb"%(25|3D)", lambda match: b"%" if match[1] == b"25" else b"=", keyword[len(XATTR) :])
        if not name or name in found:
            raise TarError("an extended attribute of it has no name, or is there twice")
        found[name] = records.pop(keyword)
    return tuple(Xattr(name, found[name]) for name in sorted(found))
