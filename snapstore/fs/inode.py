"""One inode in an open directory of a restore: made, finished, named, linked, or found to be right already.

Order for one inode: data, owner, attributes and capabilities, mode, ACLs, times, name, flags. chown(2) clears set-id
bits and capabilities even for root, so both come after it; an unprivileged process may set user attributes only while
the mode lets it write; immutable and append-only inodes can be neither changed nor renamed, so flags come last of all.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import os
import stat
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from snapstore.errors import TargetError
from snapstore.fs import existing
from snapstore.fs.metadata import (
    Extras,
    OwnerNames,
    Where,
    apply_acls,
    apply_flags,
    apply_xattrs,
    read_extras,
    read_flags,
    write_flags,
)
from snapstore.model import Entry, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snapstore.fs.report import Report

_SET_ID = stat.S_ISUID | stat.S_ISGID
_NANOSECONDS = 1_000_000_000
_DEVICE_TYPES = {Kind.CHARACTER_DEVICE: stat.S_IFCHR, Kind.BLOCK_DEVICE: stat.S_IFBLK}


class Policy(enum.StrEnum):
    """What happens to a name that exists: left alone, replaced where it differs, replaced always."""

    NEVER = "never"
    CHANGED = "changed"
    ALWAYS = "always"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What holds for a whole restore. `protected` are the (device, inode) of directories that it must leave alone."""

    owners: OwnerNames
    overwrite: Policy
    report: Report
    protected: frozenset[tuple[int, int]] = frozenset()


def finish(settings: Settings, where: Where, entry: Entry, path: bytes, *, exact: bool) -> None:
    """Give an inode everything but its name and flags. With `exact`, attributes the entry lacks are taken away."""
    report = settings.report
    mode = entry.mode
    try:
        os.chown(where, *settings.owners.owner(entry))
    except OSError as failure:
        report.owner_failed(failure.errno or 0)
        mode &= ~_SET_ID  # meant for that owner, they would hand out the rights of another
    report.all_troubles(path, apply_xattrs(where, entry, exact=exact))
    try:
        if entry.kind is not Kind.SYMLINK:
            os.chmod(where, mode)
            report.all_troubles(path, apply_acls(where, entry, settings.owners))
        seconds, nanoseconds = entry.mtime
        os.utime(where, ns=(time.time_ns(), seconds * _NANOSECONDS + nanoseconds))
    except OSError as failure:
        report.failed(path, "metadata", failure)
    except OverflowError:
        report.trouble(path, f"the system has no time {entry.mtime[0]}")


def give_name(settings: Settings, directory: int, temporary: bytes, name: bytes, path: bytes) -> bool:
    """Whether the inode made as `temporary` has its name now, in place of what the policy lets go; else it is gone.

    A directory in the way goes if it is empty, or with all that is in it under Policy.ALWAYS. Raises TargetError.
    """
    if temporary == name:
        return True
    try:
        if settings.overwrite is Policy.NEVER:
            placed = _name_if_free(directory, temporary, name)
            if not placed:
                settings.report.count("skipped")
            return placed
        _rename_over(settings, directory, temporary, name)
    except OSError as failure:
        existing.discard(directory, temporary)
        settings.report.failed(path, "replacing", failure)
        return False
    return True


def _name_if_free(directory: int, temporary: bytes, name: bytes) -> bool:
    try:
        os.link(temporary, name, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
    except FileExistsError:
        os.unlink(temporary, dir_fd=directory)
        return False
    except OSError:
        # A file system without hard links: the best there is left is to look first.
        with contextlib.suppress(FileNotFoundError):
            os.stat(name, dir_fd=directory, follow_symlinks=False)
            os.unlink(temporary, dir_fd=directory)
            return False
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        return True
    os.unlink(temporary, dir_fd=directory)
    return True


def _rename_over(settings: Settings, directory: int, temporary: bytes, name: bytes) -> None:
    try:
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    except IsADirectoryError:
        why = existing.obstacle(directory, name, protected=settings.protected)
        if why:
            raise OSError(errno.EBUSY, why) from None
        if settings.overwrite is Policy.ALWAYS:
            existing.remove(directory, name, protected=settings.protected)
        else:
            os.rmdir(name, dir_fd=directory)
    except PermissionError:
        if not existing.unblock_name(directory, name):
            raise
    else:
        return
    os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)


def settle(settings: Settings, directory: int, name: bytes, entry: Entry, path: bytes, *, exact: bool) -> bool:
    """Whether the file written as `name` now is all that the entry says, under the entry's own name.

    Trouble with metadata is recorded and the file stays. Raises TargetError, leaving no temporary name.
    """
    try:
        with existing.opened(directory, name) as (_, fd):
            finish_as(settings, fd, (directory, name), entry, path, exact=exact)
            if not give_name(settings, directory, name, entry.name, path):
                return False
            settings.report.all_troubles(path, apply_flags(fd, entry.flags, exact=exact))
    except OSError as failure:
        settings.report.failed(path, "metadata", failure)
        return give_name(settings, directory, name, entry.name, path)
    return True


def finish_as(
    settings: Settings, where: Where, made: tuple[int, bytes], entry: Entry, path: bytes, *, exact: bool
) -> None:
    """`finish`, and if that raises, no temporary name is left: `made` is the (directory, name) of the inode now."""
    try:
        finish(settings, where, entry, path, exact=exact)
    except TargetError:
        if made[1] != entry.name:
            existing.discard(*made)
        raise


def make_special(settings: Settings, directory: int, entry: Entry, path: bytes, *, exact: bool) -> bool:
    """Whether a link, FIFO or device was made; if not, the policy kept what is there, or trouble was recorded."""
    name = entry.name
    try:
        try:
            _make(directory, name, entry)
        except FileExistsError:
            if settings.overwrite is Policy.NEVER:
                settings.report.count("skipped")
                return False
            name = existing.temporary_name()
            _make(directory, name, entry)
        with existing.pinned(directory, name) as (status, where):
            if existing.kind_of(status) is not entry.kind:
                settings.report.trouble(path, "replaced by something else meanwhile")
                return False
            finish_as(settings, where, (directory, name), entry, path, exact=exact)
    except OSError as failure:
        settings.report.failed(path, entry.kind.value, failure)
        return False
    return give_name(settings, directory, name, entry.name, path)


def _make(directory: int, name: bytes, entry: Entry) -> None:
    if entry.kind is Kind.SYMLINK:
        os.symlink(entry.target, name, dir_fd=directory)
    elif entry.kind is Kind.FIFO:
        os.mkfifo(name, 0o600, dir_fd=directory)
    else:
        try:
            os.mknod(name, _DEVICE_TYPES[entry.kind] | 0o600, os.makedev(*entry.rdev), dir_fd=directory)
        except OverflowError:
            raise OSError(errno.EINVAL, f"the system has no device {entry.rdev}") from None


def link(settings: Settings, source: tuple[int, bytes], directory: int, entry: Entry, path: bytes) -> bool:
    """Whether nothing is left to do for a name of the inode `source` (directory, name): linked, linked before, or kept.

    False means that trouble was recorded (EMLINK, EXDEV, the source is missing) and the name was not made.
    """
    report = settings.report
    folder, first = source
    try:
        theirs = os.stat(first, dir_fd=folder, follow_symlinks=False)
        if existing.kind_of(theirs) is not entry.kind:
            report.trouble(path, "hard link: what was restored under its first name is something else")
            return False
        try:
            ours = os.stat(entry.name, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            name = entry.name
        else:
            if os.path.samestat(ours, theirs):  # and rename(2) between two names of one inode does nothing
                report.count("kept")
                return True
            if settings.overwrite is Policy.NEVER:
                report.count("skipped")
                return True
            name = existing.temporary_name()
        with _linkable(folder, first, directory, name):
            named = give_name(settings, directory, name, entry.name, path)
    except OSError as failure:
        report.failed(path, "hard link", failure)
        return False
    if named:
        report.count("links")
    return named


@contextlib.contextmanager
def _linkable(folder: int, first: bytes, directory: int, name: bytes) -> Iterator[None]:
    """Another name for an inode, which within the block may also be renamed; OSError."""
    try:
        os.link(first, name, src_dir_fd=folder, dst_dir_fd=directory, follow_symlinks=False)
    except PermissionError:
        # Its first name may have got its flags already, and an immutable inode's names cannot change.
        with existing.opened(folder, first) as (_, fd):
            flags = existing.unblock(fd)
            if not flags:
                raise
            try:
                os.link(first, name, src_dir_fd=folder, dst_dir_fd=directory, follow_symlinks=False)
                yield
            finally:
                write_flags(fd, read_flags(fd) | flags)
    else:
        yield


def keep(settings: Settings, directory: int, entry: Entry, path: bytes) -> bool:
    """Whether the name can stay as it is: under NEVER if it exists, under CHANGED if its content is the entry's.

    Content is taken to be the same if kind, size and time of modification are, the target of a link, the number of a
    device. Its metadata is brought in line then; not so if the inode has other names that may lie anywhere: such a file
    is to be written anew.
    """
    if settings.overwrite is Policy.ALWAYS:
        return False
    try:
        with existing.pinned(directory, entry.name) as (status, where):
            if settings.overwrite is Policy.NEVER:
                settings.report.count("skipped")
                return True
            if not _same_content(directory, entry, status):
                return False
            extras = read_extras(directory, settings.owners, name=entry.name, kind=entry.kind)
            if not _same_metadata(settings, entry, status, extras):
                if status.st_nlink > 1:
                    return False
                _bring_in_line(settings, directory, where, entry, path)
    except FileNotFoundError:
        return False
    except OSError as failure:
        settings.report.failed(path, "comparing", failure)
        return False
    settings.report.count("kept")
    return True


def _same_content(directory: int, entry: Entry, status: os.stat_result) -> bool:
    if existing.kind_of(status) is not entry.kind:
        return False
    if entry.kind is Kind.FILE:
        seconds, nanoseconds = entry.mtime
        return status.st_size == entry.size and status.st_mtime_ns == seconds * _NANOSECONDS + nanoseconds
    if entry.kind is Kind.SYMLINK:
        return os.readlink(entry.name, dir_fd=directory) == entry.target
    if entry.kind in _DEVICE_TYPES:
        return (os.major(status.st_rdev), os.minor(status.st_rdev)) == entry.rdev
    return True


def _same_metadata(settings: Settings, entry: Entry, status: os.stat_result, extras: Extras) -> bool:
    seconds, nanoseconds = entry.mtime
    return (
        (status.st_uid, status.st_gid) == settings.owners.owner(entry)
        and (entry.kind is Kind.SYMLINK or stat.S_IMODE(status.st_mode) == entry.mode)
        and status.st_mtime_ns == seconds * _NANOSECONDS + nanoseconds
        and (extras.xattrs, extras.acl, extras.default_acl) == (entry.xattrs, entry.acl, entry.default_acl)
        and extras.flags == entry.flags
    )


def _bring_in_line(settings: Settings, directory: int, where: Where, entry: Entry, path: bytes) -> None:
    if entry.kind is not Kind.FILE:
        finish(settings, where, entry, path, exact=True)
        return
    with existing.opened(directory, entry.name) as (_, fd):
        existing.unblock(fd)
        finish(settings, fd, entry, path, exact=True)
        settings.report.all_troubles(path, apply_flags(fd, entry.flags, exact=True))
