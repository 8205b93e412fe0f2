"""What package managers know, in one form: packages, and the paths that they own.

A manager is a dialect: it reads its database from any root and says what it found as `Package` and `Owned` values. It
runs nothing of the root, and is total: a record that makes no sense is a warning, and what it may have owned is then
reported with less known about it, never as what it should be; a database that cannot be read at all raises
PackageDatabaseError.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

from snapstore import kernel
from snapstore.model import Kind
from snapstore.system.root import Root

Warn = Callable[[bytes, str], None]
"""Told of trouble with one file or record: the path in the root, and the reason, one line."""

REASONS = ("manual", "auto", "unknown")
STATES = ("installed", "broken", "removed")


class Digest(NamedTuple):
    """What a file's bytes should hash to. `value` may be the first part of the hash only, of 16 bytes or more.

    `algorithm` is a name that hashlib knows.
    """

    algorithm: str
    value: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One installed package.

    `name` is its name alone, `version` whole (with epoch and release), `reason` one of REASONS. `state` is "installed",
    "broken" (not configured, half installed), or "removed" (only its configuration files are left). `held` means that
    the person asked for it to stay as it is. `origin` names where it came from as far as the database says (vendor,
    repository), `source` the source package where that has another name. `size` is the installed size in bytes, 0
    where unknown.
    """

    manager: str
    name: str
    version: str
    arch: str
    reason: str = "unknown"
    state: str = "installed"
    held: bool = False
    origin: str = ""
    source: str = ""
    size: int = 0


class Owned(NamedTuple):
    """One path that one package owns, and what is known of how it should be; None is "the database does not say".

    `path` is canonical in the root (`Root.canonical`), diversions applied. `package` is how the manager names the
    package without doubt: name, with the architecture where several may be installed (`libc6:amd64`).
    `digest` is of a file's bytes, or of a link's target. Owners are names (`user`, `group`) or numbers (`uid`, `gid`),
    whichever the database has. `capabilities` is the text of getcap(8), empty for "none". `config`: an
    administrator's file, edits are expected. `ghost`: made at run time, may be absent and of any content. `optional`:
    its absence is no change (excluded documentation, not installed by policy). `obsolete`: no longer part
    of the package, left behind as a configuration file. `usual`: the database does not know mode and owner, but
    packages of this kind have root:root, 0755 for directories, 0644 or 0755 for files, unless `mode`, `user` and
    `group` say otherwise. `vouched` False: the record of the package was damaged, so nothing that is not said here may
    be taken as given.
    """

    path: bytes
    package: str
    kind: Kind | None = None
    digest: Digest | None = None
    mode: int | None = None
    user: str | None = None
    group: str | None = None
    uid: int | None = None
    gid: int | None = None
    size: int | None = None
    target: bytes | None = None
    capabilities: str | None = None
    rdev: tuple[int, int] | None = None
    config: bool = False
    ghost: bool = False
    optional: bool = False
    obsolete: bool = False
    usual: bool = False
    vouched: bool = True
    installed: int = 0
    """When the package was unpacked, in seconds since the epoch, 0 where unknown."""


class PackageManager(Protocol):
    """One dialect."""

    name: ClassVar[str]

    def detect(self, root: Root) -> bool:
        """Whether the root has a database of this kind, be it damaged or empty."""

    def stamp(self, root: Root) -> bytes:
        """Bytes that differ whenever the database may differ: from stat(2) of its files, without reading them."""

    def packages(self, root: Root, warn: Warn) -> list[Package]:
        """The packages, sorted by name, architecture and version. PackageDatabaseError."""

    def decisions(self, root: Root, warn: Warn) -> list[object]:
        """Rows of the scope `packages` for what the administrator told the manager: diversions, locks and so on."""

    def owned(self, root: Root, warn: Warn) -> Iterator[Owned]:
        """Every path of every package, in any order; one path may be owned by several. PackageDatabaseError."""


class Ownership:
    """The paths of all managers of a root, by directory."""

    def __init__(self, owned: Iterable[Owned]) -> None:
        self._directories: dict[bytes, dict[bytes, Owned]] = {}
        self._others: dict[bytes, list[Owned]] = {}
        directories = self._directories
        damaged: set[bytes] = set()
        count = 0
        for each in owned:
            count += 1
            parent, _, name = each.path.rpartition(b"/")
            if not name:
                parent, name = b"", b"/"  # the root directory itself
            known = directories.get(parent)
            if known is None:
                known = directories[parent] = {}
            first = known.setdefault(name, each)
            if first is not each:
                self._others.setdefault(each.path, []).append(each)
            if not each.vouched:
                damaged.add(parent)
        self.count = count
        self._imply_parents(damaged)

    def _imply_parents(self, damaged: set[bytes]) -> None:
        """A directory that nobody lists, but something below it, belongs to what is below it, and is a usual one.

        Unless a damaged record may have said something else: `damaged` are the directories with such records in them.
        """
        directories = self._directories
        doubtful: set[bytes] = set()
        for path in damaged:
            here = path
            while here and here not in doubtful:
                doubtful.add(here)
                here = here.rpartition(b"/")[0]
        for path in list(directories):
            package = next(iter(directories[path].values())).package
            here = path
            while here:
                parent, _, name = here.rpartition(b"/")
                known = directories.setdefault(parent, {})
                if name in known:
                    break
                known[name] = Owned(
                    here, package, kind=Kind.DIRECTORY, optional=True, usual=True, vouched=here not in doubtful
                )
                here = parent

    def inside(self, directory: bytes) -> dict[bytes, Owned]:
        """What is owned directly in a directory of the root, by raw name; `directory` is empty for the top."""
        return self._directories.get(directory, {})

    def all_of(self, owned: Owned) -> tuple[Owned, ...]:
        """The record itself and those of the other packages that own the same path."""
        return (owned, *self._others.get(owned.path, ()))

    def packages_of(self, path: bytes) -> tuple[str, ...]:
        """The packages that own a path, sorted."""
        parent, _, name = path.rpartition(b"/")
        first = self._directories.get(parent, {}).get(name)
        return () if first is None else tuple(sorted({each.package for each in self.all_of(first)}))


def stamp_files(root: Root, paths: Iterable[bytes]) -> bytes:
    """What stat(2) says of files, as a stamp; of directories, of everything directly in them."""
    parts: list[bytes] = []
    for path in paths:
        status = root.status(path, follow=True)
        if status is None:
            continue
        numbers = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_mode)
        parts.append(b"%b\0%d %d %d %d %d\n" % (path, *numbers))
        if stat.S_ISDIR(status.st_mode):
            fd = root.open(path, directory=True)
            try:
                parts += kernel.scan_directory(fd)[:2]
            finally:
                os.close(fd)
    return b"".join(parts)
