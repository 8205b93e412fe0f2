"""What stat(2) does not tell, read and applied: names of owners, extended attributes, ACLs, chattr flags, holes.

A place is given as `Where`: an open descriptor, or a path that names an inode without following a link at its end. For
inodes that must not be opened (devices, FIFOs, links) that path is `/proc/self/fd/N` of an O_PATH descriptor, or
`/proc/self/fd/N/name` read without following. One attribute that cannot be read or set never raises: it is a reason in
the list that comes back, for the caller to record as a warning.
"""

from __future__ import annotations

import errno
import fcntl
import grp
import os
import pwd
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from snapstore.format.acl import decode_acl, encode_acl
from snapstore.model import Entry, Kind, Xattr

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Where = int | bytes

ACCESS_ACL = b"system.posix_acl_access"
DEFAULT_ACL = b"system.posix_acl_default"
CAPABILITY = b"security.capability"

# What an existing inode may have to lose on the way to a recorded state. Labels of the machine's own security modules
# (security.selinux and the like) belong to its policy and are never taken away.
_REMOVABLE_PREFIXES = (b"user.", b"trusted.")
_REMOVABLE = frozenset({ACCESS_ACL, DEFAULT_ACL, CAPABILITY})

_NOTHING_THERE = frozenset({errno.EOPNOTSUPP, errno.ENODATA, errno.EPERM, errno.ENOSYS})
_NO_FLAGS = frozenset({errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL, errno.EPERM, errno.ENOSYS})

# linux/fs.h, with lsattr(1)'s letters in lsattr's order; only what chattr(1) can set.
_FLAGS = (
    ("s", 0x00000001),  # secure deletion
    ("u", 0x00000002),  # undeletable
    ("S", 0x00000008),  # synchronous
    ("D", 0x00010000),  # synchronous directory
    ("i", 0x00000010),  # immutable
    ("a", 0x00000020),  # append only
    ("d", 0x00000040),  # no dump
    ("A", 0x00000080),  # no atime
    ("c", 0x00000004),  # compressed
    ("j", 0x00004000),  # data journalling
    ("t", 0x00008000),  # no tail merging
    ("T", 0x00020000),  # top of a directory hierarchy
    ("C", 0x00800000),  # no copy on write
    ("x", 0x02000000),  # direct access
    ("F", 0x40000000),  # casefolded directory
    ("P", 0x20000000),  # project hierarchy
    ("m", 0x00000400),  # no compression
)
SETTABLE_FLAGS = sum(bit for _, bit in _FLAGS)
BLOCKING_FLAGS = 0x00000010 | 0x00000020
"""Immutable and append-only: with either, an inode can be neither renamed, linked, unlinked nor brought in line."""

_LONG = struct.calcsize("l")
_GETFLAGS = (2 << 30) | (_LONG << 16) | (ord("f") << 8) | 1
_SETFLAGS = (1 << 30) | (_LONG << 16) | (ord("f") << 8) | 2


class OwnerNames:
    """The names of users and groups by number, and the numbers by name, each asked of the system once.

    With `numeric` names still are given out for recording, but `uid` and `gid` know no name, so that numbers win. With
    `users` and `groups`, those of another root, the system is not asked for the names that are recorded.
    """

    def __init__(
        self, *, numeric: bool = False, users: Mapping[int, str] | None = None, groups: Mapping[int, str] | None = None
    ) -> None:
        self._numeric = numeric
        self._given_users = users
        self._given_groups = groups
        self._users: dict[int, str] = {}
        self._groups: dict[int, str] = {}
        self._uids: dict[str, int | None] = {}
        self._gids: dict[str, int | None] = {}
        self._owners: dict[tuple[int, str, int, str], tuple[int, int]] = {}

    def user(self, uid: int, /) -> str:
        """The user's name, empty if there is none."""
        name = self._users.get(uid)
        if name is None:
            given = self._given_users
            name = self._users[uid] = _name(lambda: pwd.getpwuid(uid).pw_name if given is None else given[uid])
        return name

    def group(self, gid: int, /) -> str:
        """The group's name, empty if there is none."""
        name = self._groups.get(gid)
        if name is None:
            given = self._given_groups
            name = self._groups[gid] = _name(lambda: grp.getgrgid(gid).gr_name if given is None else given[gid])
        return name

    def uid(self, name: str, /) -> int | None:
        """The user's number on this machine, None if there is no such user."""
        if self._numeric or not name:
            return None
        if name not in self._uids:
            self._uids[name] = _number(lambda: pwd.getpwnam(name).pw_uid)
        return self._uids[name]

    def gid(self, name: str, /) -> int | None:
        """The group's number on this machine, None if there is no such group."""
        if self._numeric or not name:
            return None
        if name not in self._gids:
            self._gids[name] = _number(lambda: grp.getgrnam(name).gr_gid)
        return self._gids[name]

    def owner(self, entry: Entry) -> tuple[int, int]:
        """The (uid, gid) that an entry gets here: by name if this machine knows the name, else by number."""
        key = (entry.uid, entry.user, entry.gid, entry.group)
        owner = self._owners.get(key)
        if owner is None:
            uid, gid = self.uid(entry.user), self.gid(entry.group)
            owner = self._owners[key] = (entry.uid if uid is None else uid, entry.gid if gid is None else gid)
        return owner


def _name(ask: Callable[[], str]) -> str:
    try:
        name = ask()
    except (KeyError, OverflowError):
        return ""
    # A name that is not printable text cannot be looked up again elsewhere; the number is enough then.
    return name if name.isprintable() else ""


def _number(ask: Callable[[], int]) -> int | None:
    try:
        return ask()
    except (KeyError, ValueError):
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Extras:
    """Attributes beyond stat(2), as `Entry` names them; `troubles` are reasons for what could not be read."""

    xattrs: tuple[Xattr, ...] = ()
    acl: str = ""
    default_acl: str = ""
    flags: str = ""
    troubles: tuple[str, ...] = ()


def reason(failure: OSError) -> str:
    """The symbolic name of an errno, such as "EACCES"."""
    return errno.errorcode.get(failure.errno or 0, str(failure.errno))


def read_extras(fd: int, owners: OwnerNames, *, name: bytes | None = None, kind: Kind, flags: bool = True) -> Extras:
    """The attributes of what `fd` has open, or with `name` of that name in the directory `fd`, without following it.

    Flags are read from files and directories only, since nothing else may be opened for its attributes; with `flags`
    False they are left out (a caller that knows them already). Nothing raises; see `Extras.troubles`.
    """
    troubles: list[str] = []
    opened = -1
    where: Where = fd
    try:
        if name is not None:
            where = b"/proc/self/fd/%d/%s" % (fd, name)
            if kind in (Kind.FILE, Kind.DIRECTORY):
                try:
                    opened = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=fd)
                    where = opened
                except OSError as failure:
                    if failure.errno not in (errno.EACCES, errno.EPERM):
                        return Extras(troubles=(f"attributes: {reason(failure)}",))
        acls, kept = _split_acls(_read_xattrs(where, troubles), owners)
        text = ""
        if flags and isinstance(where, int) and kind in (Kind.FILE, Kind.DIRECTORY):
            text = _read_flags_text(where, troubles)
        return Extras(
            xattrs=kept,
            acl=acls.get(ACCESS_ACL, ""),
            default_acl=acls.get(DEFAULT_ACL, ""),
            flags=text,
            troubles=tuple(troubles),
        )
    finally:
        if opened >= 0:
            os.close(opened)


def _read_xattrs(where: Where, troubles: list[str]) -> list[Xattr]:
    """Every attribute, sorted by raw name; one that goes away between listing and reading is left out."""
    follow = isinstance(where, int)
    try:
        listed = sorted(os.fsencode(each) for each in os.listxattr(where, follow_symlinks=follow))
    except OSError as failure:
        if failure.errno not in _NOTHING_THERE:
            troubles.append(f"extended attributes: {reason(failure)}")
        return []
    found: list[Xattr] = []
    for each in listed:
        try:
            found.append(Xattr(each, os.getxattr(where, each, follow_symlinks=follow)))
        except OSError as failure:
            if failure.errno not in _NOTHING_THERE:
                troubles.append(f"extended attribute {_shown(each)}: {reason(failure)}")
    return found


def _split_acls(found: list[Xattr], owners: OwnerNames) -> tuple[dict[bytes, str], tuple[Xattr, ...]]:
    """The ACLs as text by attribute name, and the other attributes; an ACL the text cannot hold stays an attribute."""
    acls: dict[bytes, str] = {}
    kept: list[Xattr] = []
    for each in found:
        if each.name in (ACCESS_ACL, DEFAULT_ACL):
            try:
                acls[each.name] = decode_acl(each.value, owners)
            except ValueError:
                kept.append(each)
        else:
            kept.append(each)
    return acls, tuple(kept)


def _shown(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")


def flags_text(value: int) -> str:
    """The letters of a FS_IOC_GETFLAGS value in lsattr's order; bits that chattr cannot set are left out."""
    return "".join(letter for letter, bit in _FLAGS if value & bit)


def flags_value(text: str) -> int:
    """The FS_IOC_SETFLAGS bits of a text of `flags_text`; ValueError for a letter unknown, repeated or misplaced."""
    value = sum(bit for letter, bit in _FLAGS if letter in text)
    if flags_text(value) != text:
        raise ValueError(f"malformed flags {text!r}")
    return value


def read_flags(fd: int) -> int:
    """The FS_IOC_GETFLAGS value of an open inode; OSError where the file system has none (ioctl_iflags(2))."""
    # The request's number says `long`, but the kernel moves an int; the spare room is for those who believe the number.
    answer = bytearray(_LONG)
    fcntl.ioctl(fd, _GETFLAGS, answer)
    return int(struct.unpack_from("=I", answer)[0])


def write_flags(fd: int, value: int) -> None:
    """Set the FS_IOC_SETFLAGS value; OSError as the kernel says."""
    fcntl.ioctl(fd, _SETFLAGS, struct.pack("=I", value).ljust(_LONG, b"\0"))


def _read_flags_text(fd: int, troubles: list[str]) -> str:
    try:
        return flags_text(read_flags(fd))
    except OSError as failure:
        if failure.errno not in _NO_FLAGS:
            troubles.append(f"flags: {reason(failure)}")
        return ""


def apply_xattrs(where: Where, entry: Entry, *, exact: bool) -> list[str]:
    """Reasons for attributes, ACLs aside, that could not be set. Call it after chown(2), which clears capabilities.

    With `exact`, attributes that the entry does not have are taken away, such as those that a new file inherited.
    """
    troubles: list[str] = []
    if exact:
        wanted = {each.name for each in entry.xattrs}
        wanted.update(name for name, text in ((ACCESS_ACL, entry.acl), (DEFAULT_ACL, entry.default_acl)) if text)
        _remove_others(where, wanted, troubles)
    for each in entry.xattrs:
        try:
            os.setxattr(where, each.name, each.value)
        except OSError as failure:
            troubles.append(f"extended attribute {_shown(each.name)}: {reason(failure)}")
        except ValueError:
            troubles.append(f"extended attribute {_shown(each.name)}: EINVAL")
    return troubles


def _remove_others(where: Where, wanted: set[bytes], troubles: list[str]) -> None:
    try:
        present = [os.fsencode(each) for each in os.listxattr(where)]
    except OSError as failure:
        if failure.errno not in _NOTHING_THERE:
            troubles.append(f"extended attributes: {reason(failure)}")
        return
    for name in present:
        if name not in wanted and (name in _REMOVABLE or name.startswith(_REMOVABLE_PREFIXES)):
            try:
                os.removexattr(where, name)
            except OSError as failure:
                if failure.errno != errno.ENODATA:
                    troubles.append(f"extended attribute {_shown(name)}: {reason(failure)}")


def apply_acls(where: Where, entry: Entry, owners: OwnerNames) -> list[str]:
    """Reasons for ACLs that could not be set. Call it after the mode, which an access ACL refines."""
    troubles: list[str] = []
    for name, text in ((ACCESS_ACL, entry.acl), (DEFAULT_ACL, entry.default_acl)):
        if text:
            try:
                os.setxattr(where, name, encode_acl(text, owners))
            except OSError as failure:
                troubles.append(f"ACL {_shown(name)}: {reason(failure)}")
            except ValueError as failure:
                troubles.append(f"ACL {_shown(name)}: {failure}")
    return troubles


def apply_flags(fd: int, text: str, *, exact: bool) -> list[str]:
    """Reasons for chattr flags that could not be set. Call it last of all: immutable blocks everything after it.

    Flags that are not in `text` are cleared if `exact`. Where the file system refuses the set of flags as a whole, each
    is tried by itself.
    """
    if not text and not exact:
        return []
    try:
        wanted = flags_value(text)
    except ValueError as failure:
        return [str(failure)]
    try:
        before = read_flags(fd)
    except OSError as failure:
        return [f"flags {text}: {reason(failure)}"] if text else []
    goal = (before & ~SETTABLE_FLAGS if exact else before) | wanted
    if goal == before:
        return []
    try:
        write_flags(fd, goal)
    except OSError:
        return _apply_flags_singly(fd, before, goal)
    return []


def _apply_flags_singly(fd: int, before: int, goal: int) -> list[str]:
    troubles: list[str] = []
    current = before
    # Clearing first and the blocking flags last, so that no step is refused because of another one's effect.
    steps = sorted(_FLAGS, key=lambda each: (bool(goal & each[1]), bool(each[1] & BLOCKING_FLAGS)))
    for letter, bit in steps:
        if (current ^ goal) & bit:
            try:
                write_flags(fd, current ^ bit)
                current ^= bit
            except OSError as failure:
                troubles.append(f"flag {letter}: {reason(failure)}")
    return troubles


def inherits(fd: int) -> bool:
    """Whether new entries of the open directory get an ACL or flags from it."""
    troubles: list[str] = []
    if any(each.name == DEFAULT_ACL for each in _read_xattrs(fd, troubles)):
        return True
    return bool(_read_flags_text(fd, troubles)) or bool(troubles)


def data_extents(fd: int, size: int) -> tuple[tuple[tuple[int, int], ...], list[tuple[int, int]]]:
    """The holes and the data of an open file of `size` bytes, each as (offset, length) pairs in order.

    Together they cover [0, size) exactly. A file system without SEEK_HOLE says that all of it is data. The descriptor's
    offset moves. Source: lseek(2).
    """
    holes: list[tuple[int, int]] = []
    data: list[tuple[int, int]] = []
    at = 0
    while at < size:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as failure:
            if failure.errno == errno.ENXIO:  # nothing but a hole up to the end
                start = size
            elif failure.errno == errno.EINVAL:
                start = at
            else:
                raise
        start = min(start, size)
        if start > at:
            holes.append((at, start - at))
        if start == size:
            break
        try:
            end = min(os.lseek(fd, start, os.SEEK_HOLE), size)
        except OSError as failure:
            if failure.errno not in (errno.EINVAL, errno.ENXIO):
                raise
            end = size
        if end <= start:  # the file changes under us: what is left is read as data and found short by the reader
            end = size
        data.append((start, end - start))
        at = end
    return tuple(holes), data
