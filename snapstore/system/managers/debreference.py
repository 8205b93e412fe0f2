"""Package files as the reference for what dpkg's database does not keep: modes, owners, sizes, link targets.

A .deb is used for a package of exactly its name, version and architecture, and only if every digest that the database
has is that of the file in it. What it says is kept in a cache directory, if there is one, so that the next run opens no
.deb. The cache is local and may be deleted at any time; what in it is damaged or of another release is ignored.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import xxhash
from blake3 import blake3

from snapstore.atomic import write_atomically
from snapstore.errors import HostError
from snapstore.model import Kind
from snapstore.system.host import run
from snapstore.system.managers.deb822 import read_stanzas
from snapstore.system.managers.debarchive import DebError, Shipped, read_deb
from snapstore.system.managers.dpkgdatabase import Record
from snapstore.system.packages import Package, Warn

_VERSION = 1
_CACHE_LIMIT = 256 << 20
_BATCH = 50
_SECONDS = 900.0
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

_Known = tuple[str, str, str, dict[bytes, Shipped]]


class DebReference:
    """The .deb files in some directories of the machine that runs this, which are not looked into any deeper.

    `cache` is a directory that exists, or None.
    """

    def __init__(self, directories: Iterable[bytes], *, cache: bytes | None = None) -> None:
        self._directories = tuple(directories)
        self._cache = cache
        self._files: dict[str, list[tuple[bytes, os.stat_result]]] | None = None

    def stamp(self) -> bytes:
        """Bytes that differ whenever the files may differ."""
        lines = sorted(_identity(path, status) for files in self._find(None).values() for path, status in files)
        return b"".join(lines)

    def shipped(self, record: Record, warn: Warn) -> Mapping[bytes, Shipped] | None:
        """What is in the .deb of exactly this package; None where there is none. A damaged .deb is told of."""
        if self._files is None:
            self._files = self._find(warn)
        for path, status in self._files.get(record.name, ()):
            known = self._remembered(path, status)
            if known is None:
                known = self._read(path, status, warn)
            if known is not None and known[:3] == (record.name, record.version, record.arch):
                return known[3]
        return None

    def _find(self, warn: Warn | None) -> dict[str, list[tuple[bytes, os.stat_result]]]:
        """The files by the name of the package, which is what theirs begins with."""
        found: dict[str, list[tuple[bytes, os.stat_result]]] = {}
        for directory in self._directories:
            try:
                with os.scandir(directory) as entries:
                    names = [(each.name, each.stat(follow_symlinks=False)) for each in entries if each.is_file()]
            except OSError as error:
                if warn is not None:
                    warn(directory, f"it cannot be read: {error.strerror}")
                continue
            for name, status in sorted(names):
                if name.endswith(b".deb") and stat.S_ISREG(status.st_mode):
                    package = name.partition(b"_")[0].decode("utf-8", "surrogateescape")
                    found.setdefault(package, []).append((os.path.join(directory, name), status))
        return found

    def _read(self, path: bytes, status: os.stat_result, warn: Warn) -> _Known | None:
        try:
            fd = os.open(path, _OPEN)
        except OSError as error:
            warn(path, f"it cannot be read: {error.strerror}")
            return None
        try:
            if _identity(path, os.fstat(fd)) != _identity(path, status):
                warn(path, "it is not read, it was changed meanwhile")
                return None
            deb = read_deb(fd)
        except (DebError, OSError) as error:
            warn(path, f"it is no package that can be read: {error}")
            return None
        finally:
            os.close(fd)
        stanza = next(read_stanzas(deb.control, lambda reason: warn(path, reason)), None)
        if stanza is None:
            warn(path, "its control file is empty")
            return None
        known = (stanza.text(b"package"), stanza.text(b"version"), stanza.text(b"architecture"), deb.paths)
        self._remember(path, status, known)
        return known

    # -- the cache ----------------------------------------------------------------------------------------------------

    def _cached(self, path: bytes, status: os.stat_result) -> bytes | None:
        if self._cache is None:
            return None
        return os.path.join(self._cache, b"deb-" + blake3(_identity(path, status)).hexdigest(16).encode())

    def _remember(self, path: bytes, status: os.stat_result, known: _Known) -> None:
        """Nothing; trouble is of no consequence, the next run reads the .deb again."""
        cached = self._cached(path, status)
        if cached is None:
            return
        name, version, arch, paths = known
        rows = [
            [
                path.decode("latin-1"), each.kind.value, each.mode, each.user, each.group, each.uid, each.gid,
                each.size, each.target.decode("latin-1"), *each.rdev, "" if each.md5 is None else each.md5.hex(),
            ]
            for path, each in paths.items()
        ]  # fmt: skip
        body = json.dumps([_VERSION, name, version, arch, rows], separators=(",", ":")).encode()
        with suppress(OSError):
            write_atomically(cached, xxhash.xxh3_128_digest(body) + body, durable=False)

    def _remembered(self, path: bytes, status: os.stat_result) -> _Known | None:
        cached = self._cached(path, status)
        if cached is None:
            return None
        try:
            fd = os.open(cached, _OPEN)
        except OSError:
            return None
        with open(fd, "rb") as file:
            try:
                data = file.read(_CACHE_LIMIT)
            except OSError:
                return None
        if xxhash.xxh3_128_digest(data[16:]) != data[:16]:
            return None
        return _parse(data[16:])


def _identity(path: bytes, status: os.stat_result) -> bytes:
    numbers = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return path + b"\0%d %d %d %d %d\n" % numbers


def _parse(body: bytes) -> _Known | None:
    try:
        version, name, number, arch, rows = json.loads(body)
        if version != _VERSION or not all(isinstance(each, str) for each in (name, number, arch)):
            return None
        return name, number, arch, dict(map(_row, rows))
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None


def _row(row: list[Any]) -> tuple[bytes, Shipped]:
    """One path; ValueError, TypeError or AttributeError unless each value is of its type."""
    path, kind, mode, user, group, uid, gid, size, target, major, minor, md5 = row
    shipped = Shipped(
        Kind(kind), int(mode), str(user), str(group), int(uid), int(gid), int(size), target.encode("latin-1"),
        (int(major), int(minor)), bytes.fromhex(md5) if md5 else None,
    )  # fmt: skip
    return path.encode("latin-1"), shipped


# -- getting them -----------------------------------------------------------------------------------------------------


def fetch_reference(packages: Sequence[Package], into: bytes, warn: Warn) -> list[Package]:
    """Those of the packages whose .deb apt could not get; the others are in the directory `into`.

    apt is this machine's own, with its repositories, and checks what it gets. What is there already is not got again.
    """
    wanted = [each for each in packages if each.state == "installed" and each.version and not _is_there(each, into)]
    failed: list[Package] = []
    for start in range(0, len(wanted), _BATCH):
        batch = wanted[start : start + _BATCH]
        if _download(batch, into):
            # One that is not to be had makes apt refuse all of them.
            for each in batch:
                reason = "" if _is_there(each, into) else _download([each], into)
                if reason:
                    warn(into, f"{each.name} {each.version} cannot be got: {reason}")
                    failed.append(each)
    return failed


def _download(packages: Sequence[Package], into: bytes) -> str:
    """What apt said last, empty if it got them all."""
    names = [_specification(each) for each in packages]
    try:
        ran = run(["apt-get", "-q", "-y", "download", "--", *names], seconds=_SECONDS, directory=into)
    except HostError as error:
        return error.message
    if ran.code == 0:
        return ""
    lines = ran.err.decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else f"apt-get left with {ran.code}"


def _specification(package: Package) -> str:
    arch = "" if package.arch in ("", "all") else f":{package.arch}"
    return f"{package.name}{arch}={package.version}"


def _is_there(package: Package, into: bytes) -> bool:
    name = f"{package.name}_{package.version.replace(':', '%3a')}_{package.arch}.deb"
    return os.path.lexists(os.path.join(into, name.encode("utf-8", "surrogateescape")))
