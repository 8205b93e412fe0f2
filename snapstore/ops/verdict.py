"""Compares one path on disk with what its packages say of it."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import xxhash

from snapstore.fs.metadata import CAPABILITY
from snapstore.model import KIND_OF_TYPE, Kind
from snapstore.ops.elements import Stat
from snapstore.system.capabilities import decode_capabilities, normal_capabilities
from snapstore.system.packages import Digest, Owned
from snapstore.system.scopes.files import Class, FileRow

_LOCKED = 0x00000010 | 0x00000020  # STATX_ATTR_IMMUTABLE, _APPEND
_FOREIGN = (b"security.",)  # labels of the machine's own security modules, which no package ships
_UNSTATED = {True: (Kind.FILE, Kind.SYMLINK), False: (Kind.FILE, Kind.SYMLINK, Kind.DIRECTORY)}
"""What a path may be whose kind the database does not say, by whether it has a digest."""
_USUAL_FILES = (0o644, 0o755)
_SLACK = 60
"""Seconds after its package was unpacked in which a link may still have been made by that."""


class Found(NamedTuple):
    """One path as it is: `attributes` are the names of its extended attributes, `capabilities` their text.

    `hashes` are of its content by algorithm; None where it has not been read. `unread` says why it could not be.
    """

    kind: Kind
    info: Stat
    target: bytes = b""
    attributes: tuple[bytes, ...] = ()
    capabilities: str = ""
    hashes: Mapping[str, bytes] | None = None
    unread: str = ""


class Owners:
    """The users and groups of a root, by number and by name."""

    def __init__(self, users: Mapping[int, str], groups: Mapping[int, str]) -> None:
        self._users = users
        self._groups = groups

    @property
    def digest(self) -> bytes:
        """16 bytes over all of them."""
        return xxhash.xxh3_128_digest(repr((sorted(self._users.items()), sorted(self._groups.items()))).encode())

    def shown(self, uid: int, gid: int) -> str:
        """`user:group`, numbers where there is no name."""
        return f"{self._users.get(uid, uid)}:{self._groups.get(gid, gid)}"

    def same(self, owned: Owned, info: Stat) -> bool:
        """Whether the owner is the one that the record states, as far as it states one."""
        uid, gid = _expected_ids(owned)
        if uid is not None and uid != info.uid:
            return False
        if gid is not None and gid != info.gid:
            return False
        if owned.user is not None and owned.user != self._users.get(info.uid, ""):
            return False
        return owned.group is None or owned.group == self._groups.get(info.gid, "")

    def expected(self, owned: Owned) -> str:
        """The owner that the record states, `user:group`; `*` for what it does not state."""
        uid, gid = _expected_ids(owned)
        user = owned.user or ("*" if uid is None else self._users.get(uid, str(uid)))
        group = owned.group or ("*" if gid is None else self._groups.get(gid, str(gid)))
        return f"{user}:{group}"


def _expected_ids(owned: Owned) -> tuple[int | None, int | None]:
    """The numbers that the record states; a name that it states is not among them."""
    uid = 0 if owned.usual and owned.uid is None and owned.user is None else owned.uid
    gid = 0 if owned.usual and owned.gid is None and owned.group is None else owned.gid
    return uid, gid


def is_settled(info: Stat, limit: int) -> bool:
    """Whether all times of a file lie before `limit` (in nanoseconds), so that whatever changes it later shows."""
    return info.ctime * 1_000_000_000 + info.ctime_ns < limit and info.mtime * 1_000_000_000 + info.mtime_ns < limit


def kind_of(mode: int) -> Kind:
    """The kind that st_mode says."""
    return KIND_OF_TYPE[stat.S_IFMT(mode)]


def digests_to_take(records: Sequence[Owned], found: Found) -> tuple[Digest, ...]:
    """The digests that decide whether a file is as one of its packages ships it; none if nothing hangs on them."""
    if found.kind is not Kind.FILE or any(record.ghost for record in records):
        return ()
    return tuple(
        {
            record.digest: None
            for record in records
            if record.digest is not None
            and record.kind in (Kind.FILE, None)
            and record.size in (None, found.info.size)
        }
    )  # fmt: skip


def differences(record: Owned, found: Found, owners: Owners) -> tuple[str, ...]:
    """In what a path is not as a record says, in the order of CHANGES; `found.hashes` None is taken as equal."""
    if record.kind is not None and record.kind is not found.kind:
        return ("type",)
    if record.kind is None and found.kind not in _UNSTATED[record.digest is not None]:
        return ("type",)
    changes: list[str] = []
    verified = not found.unread
    if found.kind is Kind.FILE:
        content, verified = _content(record, found)
        if content:
            changes.append("content")
    if found.kind is Kind.SYMLINK:
        verified = verified and (record.target is not None or record.digest is not None or record.installed > 0)
    if found.kind is not Kind.SYMLINK and not _mode_is_right(record, found):
        changes.append("mode")
    if not owners.same(record, found.info):
        changes.append("owner")
    if found.kind is Kind.SYMLINK and _is_retargeted(record, found):
        changes.append("target")
    if (record.capabilities is not None or record.usual) and found.capabilities != expected_capabilities(record):
        changes.append("capabilities")
    if found.info.attributes & _LOCKED or any(_is_attribute(name) for name in found.attributes):
        changes.append("attributes")
    device = (os.major(found.info.rdev), os.minor(found.info.rdev))
    if record.rdev is not None and found.kind in (Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE) and record.rdev != device:
        changes.append("device")
    if record.obsolete:
        changes.append("obsolete")
    if not verified or not record.vouched:
        changes.append("unverified")
    return tuple(changes)


def _content(record: Owned, found: Found) -> tuple[bool, bool]:
    """(whether the content of a regular file differs, whether that is certain)."""
    if record.size is not None and record.size != found.info.size:
        return True, True
    if record.digest is None:
        return False, False
    if found.unread:
        return False, False
    if found.hashes is None:
        return False, True
    return not found.hashes[record.digest.algorithm].startswith(record.digest.value), True


def _mode_is_right(record: Owned, found: Found) -> bool:
    mode = stat.S_IMODE(found.info.mode)
    if record.mode is not None:
        return mode == record.mode
    if not record.usual:
        return True
    return mode == 0o755 if found.kind is Kind.DIRECTORY else mode in _USUAL_FILES


def _is_retargeted(record: Owned, found: Found) -> bool:
    if record.target is not None:
        return record.target != found.target
    if record.digest is not None:
        digest = hashlib.new(record.digest.algorithm, found.target, usedforsecurity=False).digest()
        return not digest.startswith(record.digest.value)
    # Nothing says where it should lead. A package's link is as old as its archive; a newer one is somebody's.
    return record.installed > 0 and found.info.mtime > record.installed + _SLACK


def expected_capabilities(record: Owned) -> str:
    """The capabilities that a record states, in their one form."""
    return normal_capabilities(record.capabilities or "")


def _is_attribute(name: bytes) -> bool:
    return name != CAPABILITY and not name.startswith(_FOREIGN)


def read_capabilities(place: bytes, attributes: Sequence[bytes]) -> str:
    """The text of the capabilities of the inode that `place` names (no link is followed). OSError."""
    if CAPABILITY not in attributes:
        return ""
    return decode_capabilities(os.getxattr(place, CAPABILITY, follow_symlinks=False))


def best_match(records: Sequence[Owned], found: Found, owners: Owners) -> tuple[Owned, tuple[str, ...]]:
    """The record that says most nearly what is there, and in what it differs; those that know come first."""
    judged = [(record, differences(record, found, owners)) for record in records]
    return min(judged, key=lambda each: ("unverified" in each[1], len(each[1])))


def changed_row(
    path: bytes, packages: str, record: Owned, changes: tuple[str, ...], *, found: Found, owners: Owners
) -> FileRow:
    """The row of an owned path that is not as it should be."""
    info = found.info
    mode, owner = "mode" in changes, "owner" in changes
    target = found.kind is Kind.SYMLINK and "target" in changes
    usual_mode = (0o755 if found.kind is Kind.DIRECTORY else None) if record.usual else None
    digest = record.digest if "content" in changes else None
    return FileRow(
        path=path,
        cls=Class.CHANGED,
        kind=found.kind.value,
        size=info.size if found.kind is Kind.FILE else 0,
        package=packages,
        config=record.config,
        changes=changes,
        packaged_kind=record.kind.value if record.kind is not None and "type" in changes else "",
        packaged_digest=f"{digest.algorithm}:{digest.value.hex()}" if digest is not None else "",
        mode=stat.S_IMODE(info.mode) if mode else None,
        packaged_mode=(usual_mode if record.mode is None else record.mode) if mode else None,
        owner=owners.shown(info.uid, info.gid) if owner else "",
        packaged_owner=owners.expected(record) if owner else "",
        target=found.target if target else b"",
        packaged_target=(record.target or b"") if target else b"",
        capabilities=found.capabilities if "capabilities" in changes else "",
        packaged_capabilities=expected_capabilities(record) if "capabilities" in changes else "",
    )
