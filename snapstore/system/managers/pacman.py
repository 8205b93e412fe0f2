"""pacman: one directory for each package in its local database, with `desc`, `files` and a compressed `mtree`.

`files` says what a package owns and which of it is configuration, `mtree` how each path should be. The database knows
no extended attributes, though a few packages unpack capabilities or set some in a script. Every file is expected to
have none, so that one which has some is reported: nothing on the machine says that it should. Names with line feeds
break into several lines in `files`; `mtree` has them whole and mends that.
"""

from __future__ import annotations

import io
import os
import re
import stat
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from snapstore import kernel
from snapstore.errors import PackageDatabaseError
from snapstore.model import Kind
from snapstore.system.managers.listing import Places, is_sound, quiet, stamp_of, text
from snapstore.system.managers.mtree import MtreeEntry, MtreeTrouble, read_mtree
from snapstore.system.managers.pacmanconf import CONFIGURATION, Matcher, PacmanConfig, read_config
from snapstore.system.managers.trouble import Trouble, shown
from snapstore.system.packages import Digest, Owned, Package, Warn
from snapstore.system.root import Root, RootError
from snapstore.system.scopes.packagelist import Lock

_VERSION_FILE = b"ALPM_DB_VERSION"
_VERSION = b"9"
_DESCRIPTION_LIMIT = 1 << 20
_MTREE_LIMIT = 256 << 20
_VALUE_LIMIT = 1024
_ADVICE = "pacman-db-upgrade(8) brings an old database up to date"
# name-version-release; no part of a version has a dash in it.
_RECORD = re.compile(rb"([!-~]+)-([!-,.-~]+-[!-,.-~]+)\Z").match
_SECTION = re.compile(rb"%[A-Z0-9]+%\Z").match
_NUMBER = re.compile(rb"[0-9]{1,18}\Z").match
_MD5 = re.compile(rb"[0-9A-Fa-f]{32}\Z").match
_REASONS = {b"": "manual", b"0": "manual", b"1": "auto"}


@dataclass(frozen=True, slots=True)
class _Record:
    """One package's directory: its path in the root, and what its name says."""

    path: bytes
    name: str
    version: str


@dataclass(slots=True)
class _Listed:
    """What `files` says: the paths, each with whether it is a directory, and the digests of configuration files."""

    paths: dict[bytes, bool] = field(default_factory=dict)
    backups: dict[bytes, Digest | None] = field(default_factory=dict)


class Pacman:
    """The dialect of pacman, database version 9. A `PackageManager`."""

    name: ClassVar[str] = "pacman"

    def detect(self, root: Root) -> bool:
        """Whether the root has a local database; also where that cannot be told because nothing may be read there."""
        try:
            # A link that leads nowhere is a damaged database, so none is followed.
            return root.status(_local(read_config(root, quiet))) is not None
        except RootError:
            return True

    def stamp(self, root: Root) -> bytes:
        """32 bytes that differ whenever a file of the database, or of the configuration, may differ."""
        config = read_config(root, quiet)
        local = _local(config)
        inside: list[bytes] = []
        try:
            fd = root.open(local, directory=True)
        except OSError:
            return stamp_of(root, (*config.files, local))
        try:
            for name in sorted(os.fsencode(each) for each in os.listdir(fd)):
                inside += (name, _look(name, fd))
        except OSError as error:
            inside.append(b"!%d" % (error.errno or 0))
        finally:
            os.close(fd)
        return stamp_of(root, (*config.files, local), *inside)

    def packages(self, root: Root, warn: Warn) -> list[Package]:
        """The packages, sorted by name, architecture and version. PackageDatabaseError."""
        config = read_config(root, warn)
        ignored = Matcher(config.words("IgnorePkg"), file=CONFIGURATION, option="IgnorePkg", warn=warn)
        groups = Matcher(config.words("IgnoreGroup"), file=CONFIGURATION, option="IgnoreGroup", warn=warn)
        found = [_package(root, record, ignored, groups, warn) for record in _records(root, config, warn)]
        return sorted(found, key=lambda each: (each.name, each.arch, each.version))

    def decisions(self, root: Root, warn: Warn) -> list[object]:
        """A lock for every word of IgnorePkg, IgnoreGroup and HoldPkg; the rule is the name of the list.

        HoldPkg only makes pacman ask before it removes something, so it holds no version.
        """
        found: dict[tuple[str, str], Lock] = {}
        for each in read_config(root, warn).settings:
            if each.option in ("IgnorePkg", "IgnoreGroup", "HoldPkg") and len(each.word) <= _VALUE_LIMIT:
                key = (text(each.word), each.option)
                found.setdefault(key, Lock(manager=self.name, package=key[0], rule=key[1], file=each.file))
        return [found[key] for key in sorted(found)]

    def owned(self, root: Root, warn: Warn) -> Iterator[Owned]:
        """Every path of every package. PackageDatabaseError.

        Where `mtree` is missing or damaged, the paths of `files` are owned and nobody vouches for them; so are those
        that only `mtree` has. What NoExtract matches is optional, what NoUpgrade matches is a configuration file:
        pacman leaves the one there alone and puts its own beside it.
        """
        config = read_config(root, warn)
        places = Places(root, warn)
        optional = Matcher(config.words("NoExtract"), file=CONFIGURATION, option="NoExtract", warn=warn)
        kept = Matcher(config.words("NoUpgrade"), file=CONFIGURATION, option="NoUpgrade", warn=warn)
        for record in _records(root, config, warn):
            installed = _number(_read_description(root, record, quiet).get(b"%INSTALLDATE%", [b""])[0])
            listed = _read_files(root, record, warn)
            backups = listed.backups
            for path, directory, expected in _match(root, record, listed.paths, warn):
                whole = path + b"/" if directory else path
                digest = expected.digest
                if digest is None and expected.kind in (None, Kind.FILE):
                    digest = backups.get(path)
                yield Owned(
                    places.canonical(path),
                    record.name,
                    expected.kind,
                    digest,
                    expected.mode,
                    expected.user,
                    expected.group,
                    expected.uid,
                    expected.gid,
                    expected.size,
                    expected.target,
                    "" if expected.kind is Kind.FILE else None,
                    config=path in backups or (bool(kept) and kept(whole)),
                    optional=bool(optional) and optional(whole),
                    vouched=_is_whole(expected, digest),
                    installed=installed,
                )


def _local(config: PacmanConfig) -> bytes:
    return config.database + b"/local"


def _look(name: bytes, parent: int) -> bytes:
    """What stat(2) says of the files of one record."""
    try:
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    except OSError as error:
        return b"!%d" % (error.errno or 0)
    try:
        return b"".join(kernel.scan_directory(fd)[:2])
    except OSError as error:
        return b"!%d" % (error.errno or 0)
    finally:
        os.close(fd)


def _records(root: Root, config: PacmanConfig, warn: Warn) -> list[_Record]:
    """The records of a database of the version that is known. PackageDatabaseError."""
    local = _local(config)
    shown_local = os.fsdecode(local)
    try:
        names = root.list(local)
        version = root.read(local + b"/" + _VERSION_FILE, limit=64)
        status = root.status(local, follow=True)
    except RootError as error:
        raise PackageDatabaseError(
            f"the database of pacman in {shown_local} cannot be read: {error.strerror}"
        ) from error
    if status is None or not stat.S_ISDIR(status.st_mode):
        raise PackageDatabaseError(f"the database of pacman in {shown_local} is no directory")
    names = [name for name in names if name != _VERSION_FILE]
    if version is None and not names:
        return []
    stated = (version or b"").strip()
    if stated != _VERSION:
        stated_as = f"version {shown(stated)}" if stated else "a version that is not stated"
        raise PackageDatabaseError(f"the database of pacman in {shown_local} has {stated_as}, not 9", advice=_ADVICE)
    found = []
    with Trouble(warn, local) as trouble:
        for name in names:
            if match := _RECORD(name):
                found.append(_Record(local + b"/" + name, text(match[1]), text(match[2])))
            else:
                trouble(f"{shown(name)} is no record of a package and is left out")
    return found


def _sections(data: bytes) -> tuple[dict[bytes, list[bytes]], bool]:
    """The values of each section, and whether there was nothing else and the end is not cut off."""
    sections: dict[bytes, list[bytes]] = {}
    values: list[bytes] | None = None
    sound = not data or data.endswith(b"\n")
    for raw in io.BytesIO(data):
        line = raw.rstrip(b"\n")
        if not line:
            values = None
        elif values is not None:
            values.append(line)
        elif _SECTION(line):
            values = sections.setdefault(line, [])
        else:
            sound = False
    return sections, sound


def _read_description(root: Root, record: _Record, warn: Warn) -> dict[bytes, list[bytes]]:
    """The sections of `desc` with at least one value each; none at all, and a warning, where they make no sense."""
    path = record.path + b"/desc"
    try:
        data = root.read(path, limit=_DESCRIPTION_LIMIT)
    except RootError as error:
        warn(path, f"the description of a package cannot be read: {error.strerror}")
        return {}
    if data is None:
        warn(path, "the description of a package is missing")
        return {}
    sections, sound = _sections(data)
    name, version = (sections.get(key) for key in (b"%NAME%", b"%VERSION%"))
    if not sound or name != [os.fsencode(record.name)] or version != [os.fsencode(record.version)]:
        warn(path, "the description of a package is damaged")
        return {}
    return {key: values for key, values in sections.items() if values}


def _package(root: Root, record: _Record, ignored: Matcher, groups: Matcher, warn: Warn) -> Package:
    sections = _read_description(root, record, warn)

    def first(key: bytes) -> bytes:
        value = sections.get(key, [b""])[0]
        return value if len(value) <= _VALUE_LIMIT else b""

    base = text(first(b"%BASE%"))
    held = ignored(os.fsencode(record.name)) or any(groups(group) for group in sections.get(b"%GROUPS%", ()))
    return Package(
        manager=Pacman.name,
        name=record.name,
        version=record.version,
        arch=text(first(b"%ARCH%")),
        reason=_REASONS.get(first(b"%REASON%"), "unknown") if sections else "unknown",
        state="installed" if sections else "broken",
        held=held,
        source="" if base == record.name else base,
        size=_number(first(b"%SIZE%")),
    )


def _read_files(root: Root, record: _Record, warn: Warn) -> _Listed:
    """What a package owns according to `files`, which is missing only where the record is damaged."""
    path = record.path + b"/files"
    listed = _Listed()
    try:
        data = root.read(path)
    except RootError as error:
        warn(path, f"the list of files of a package cannot be read: {error.strerror}")
        return listed
    if data is None:
        warn(path, "the list of files of a package is missing")
        return listed
    sections, sound = _sections(data)
    with Trouble(warn, path) as trouble:
        if not sound:
            trouble("the list of files of a package is damaged")
        for line in sections.get(b"%FILES%", ()):
            relative = line[:-1] if line.endswith(b"/") else line
            if is_sound(relative):
                listed.paths[relative] = relative is not line
            else:
                trouble(f"{shown(line)} is no path of a package")
        for line in sections.get(b"%BACKUP%", ()):
            relative, _, digest = line.rpartition(b"\t")
            listed.backups[relative] = Digest("md5", bytes.fromhex(digest.decode())) if _MD5(digest) else None
    return listed


def _match(
    root: Root, record: _Record, listed: dict[bytes, bool], warn: Warn
) -> Iterator[tuple[bytes, bool, MtreeEntry]]:
    """Every path of a package, whether it is a directory, and what `mtree` says of it: all None where that is nothing.

    `listed` is used up.
    """
    place = record.path + b"/mtree"
    with Trouble(warn, place) as trouble:
        for entry in read_mtree(io.BytesIO(_read_mtree(root, place, warn))):
            if isinstance(entry, MtreeTrouble):
                trouble(f"line {entry.line} makes no sense: {entry.reason}")
                continue
            path = entry.path
            # The top directory, and the package's own files (`.PKGINFO` and so on), are not unpacked.
            if not path or path.startswith(b"."):
                continue
            directory = listed.pop(path, None)
            if directory is None and b"\n" in path and all(piece in listed for piece in path.split(b"\n")):
                for piece in path.split(b"\n"):
                    directory = listed.pop(piece, directory)
            if directory is None:
                if is_sound(path):
                    trouble(f"{shown(path)} is not in the list of files")
                    yield path, False, MtreeEntry(path)
            elif directory == (entry.kind is Kind.DIRECTORY):
                yield path, directory, entry
            else:
                trouble(f"{shown(path)} is a directory in only one of files and mtree")
                yield path, directory, MtreeEntry(path)
    for path, directory in listed.items():
        yield path, directory, MtreeEntry(path, Kind.DIRECTORY if directory else None)


def _read_mtree(root: Root, place: bytes, warn: Warn) -> bytes:
    """The decompressed specification of a package; empty, and a warning, if it is missing or damaged anywhere."""
    try:
        data = root.read(place)
    except RootError as error:
        warn(place, f"the attributes of a package's files cannot be read: {error.strerror}")
        return b""
    if data is None:
        warn(place, "the attributes of a package's files are missing")
        return b""
    inflater = zlib.decompressobj(wbits=31)
    try:
        plain = inflater.decompress(data, _MTREE_LIMIT)
    except zlib.error:
        plain = b""
    if not inflater.eof or inflater.unused_data or not plain.startswith(b"#mtree"):
        warn(place, "the attributes of a package's files are damaged")
        return b""
    return plain


def _is_whole(expected: MtreeEntry, digest: Digest | None) -> bool:
    """Whether everything that makes a file what it is has been said."""
    if (expected.uid is None and expected.user is None) or (expected.gid is None and expected.group is None):
        return False
    if expected.kind is Kind.FILE:
        return digest is not None and expected.mode is not None
    if expected.kind is Kind.SYMLINK:
        return expected.target is not None
    return expected.kind is Kind.DIRECTORY and expected.mode is not None


def _number(digits: bytes) -> int:
    return int(digits) if _NUMBER(digits) else 0
