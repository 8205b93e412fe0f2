"""Which paths dpkg's packages own, where they are on disk, and what is known of how they should be.

dpkg keeps names and the MD5 of regular files, nothing else. So kinds are inferred: what has a digest is a file, what
another path of the package lies under is a directory. Modes and owners are the usual ones unless a stat override, the
table of exceptions or the package file itself says otherwise, in this order but for what a package's script sets.
"""

from __future__ import annotations

from binascii import unhexlify
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from snapstore.errors import PackageDatabaseError
from snapstore.model import Kind
from snapstore.system.managers.debarchive import Shipped
from snapstore.system.managers.dpkgdatabase import INFO, STATUS, Conffile, Record, is_path
from snapstore.system.managers.dpkginfo import Info, Listing
from snapstore.system.managers.dpkgmodes import Exceptional, exceptions_of
from snapstore.system.managers.dpkgsettings import PathFilter, number_of
from snapstore.system.managers.trouble import Trouble
from snapstore.system.packages import Digest, Owned, Warn
from snapstore.system.root import Root, RootError
from snapstore.system.scopes.packagelist import Diversion, Override

_MERGED = {
    b"/" + name: (b"usr/" + name, b"/usr/" + name) for name in (b"bin", b"sbin", b"lib", b"lib32", b"lib64", b"libx32")
}
_LINKS = {**_MERGED, b"/var/run": (b"/run", b"../run"), b"/var/lock": (b"/run/lock", b"../run/lock")}
"""Directories that packages list and that the installer, usrmerge or base-files' postinst made links: path, targets."""


class Reference(Protocol):
    """Something that may know what a package file holds."""

    def shipped(self, record: Record, warn: Warn) -> Mapping[bytes, Shipped] | None:
        """What is in the file of exactly this package, by path as dpkg lists it; None where there is none at hand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an administrator decided, as far as it bears on files; `ucf` are (path, package, MD5)."""

    diversions: list[Diversion]
    overrides: list[Override]
    path_filter: PathFilter
    ucf: list[tuple[bytes, str, bytes | None]]


class Files:
    """The files of all packages of one root."""

    def __init__(
        self, root: Root, records: list[Record], settings: Settings, warn: Warn, *, reference: Reference | None
    ) -> None:
        self._root = root
        self._records = records
        self._filter = settings.path_filter
        self._reference = reference
        self._warn = warn
        self._places: dict[bytes, bytes] = {}
        self._diverted = {
            self._canonical(each.path): (self._canonical(each.target), each.package) for each in settings.diversions
        }
        self._overrides = {self._canonical(each.path): each for each in settings.overrides}
        self._links = dict(self._find_links())
        self._ucf = {self._canonical(path): (package, digest) for path, package, digest in settings.ucf}
        self._special = {*self._diverted, *self._overrides, *self._links, *self._ucf}
        self._exceptions: dict[bytes, tuple[str, Exceptional]] = {}
        for record in records:
            if record.state != "removed":
                for path, row in exceptions_of(record.name, record.version).items():
                    self._exceptions[path] = (record.name, row)

    def owned(self) -> Iterator[Owned]:
        """Every path of every package. PackageDatabaseError."""
        with Info(self._root, self._warn) as info:
            if not info.there and self._records:
                raise PackageDatabaseError(f"{INFO.decode()} is missing, and {STATUS.decode()} has packages")
            stems = set()
            for record in self._records:
                stem = info.stem(record)
                stems.add(stem)
                yield from self._of(record, info.listing(stem, removed=record.state == "removed"))
            with Trouble(self._warn, INFO) as trouble:
                for stem in info.stems():
                    if stem not in stems:
                        name = stem.decode("utf-8", "surrogateescape")
                        trouble(f"{ascii(name)[1:-1]}.list belongs to no package that {STATUS.decode()} has")
                        record = Record(name=name, arch="", version="", state="broken", whole=False)
                        yield from self._of(record, info.listing(stem))
        yield from self._left_to_ucf()

    def _of(self, record: Record, listing: Listing) -> Iterator[Owned]:
        """The paths of one package. Everything that is the same for most paths is done once for all of them."""
        paths, digests, unique = listing.paths, listing.digests, record.unique
        beyond = digests.keys() - set(paths)
        if beyond:
            with Trouble(self._warn, INFO + b"/" + unique.encode("utf-8", "surrogateescape") + b".list") as trouble:
                trouble(f"{len(beyond)} paths that the package has digests for are not in it")
            paths = paths + sorted(beyond)
        vouched = listing.whole and record.whole and not beyond
        removed = record.state == "removed"
        template = Owned(
            b"", unique, usual=True, vouched=vouched, installed=listing.installed, optional=removed, obsolete=removed
        )
        rest = template[4:]
        parents = {path.rpartition(b"/")[0] for path in paths}
        conffiles = {each.path: each for each in record.conffiles}
        for path in listing.configuration - conffiles.keys():
            conffiles[path] = Conffile(path, None, stated=False)
        shipped = self._shipped(record, digests)
        particular: dict[bytes, Any] = {**self._exceptions, **conffiles} if conffiles else self._exceptions
        always = self._filter.active or shipped is not None
        places, special, new = self._places, self._special, tuple.__new__  # the constructors are slower
        directory, file = Kind.DIRECTORY, Kind.FILE
        if listing.top:
            each = new(Owned, (b"/", unique, directory, None, *rest))
            yield self._adjust(each, b"/.", record, {}, shipped)
        for path in paths:
            parent, _, name = path.rpartition(b"/")
            place = places.get(parent)
            if place is None:
                place = self._place(parent)
            digits = digests.get(path)
            if digits is not None:
                digest = new(Digest, ("md5", unhexlify(digits)))
                each = new(Owned, (place + name, unique, file, digest, *rest))
            else:
                each = new(Owned, (place + name, unique, directory if path in parents else None, None, *rest))
            if always or each.path in special or path in particular:
                each = self._adjust(each, path, record, conffiles, shipped)
            yield each
        for path in sorted(conffiles.keys() - set(paths)):
            parent, _, name = path.rpartition(b"/")
            each = new(Owned, (self._place(parent) + name, unique, file, None, *rest))
            yield self._adjust(each, path, record, conffiles, shipped)

    def _adjust(
        self, each: Owned, listed: bytes, record: Record, conffiles: dict[bytes, Conffile],
        shipped: Mapping[bytes, Shipped] | None,
    ) -> Owned:  # fmt: skip
        """The path with everything that is particular about it: where it really is, and how it should be."""
        path = each.path
        exceptional = self._exceptional(each, listed, record)
        if exceptional is not None and not exceptional.scripted:
            each = _except(each, exceptional)
        if shipped is not None and listed in shipped:
            each = _as_shipped(each, shipped[listed])
        if exceptional is not None and exceptional.scripted:
            each = _except(each, exceptional)
        conffile = conffiles.get(listed)
        if conffile is not None:
            digest = None if conffile.digest is None else Digest("md5", conffile.digest)
            if digest is None and conffile.stated and shipped is not None and listed in shipped:
                digest = each.digest  # of the package file; that of the database is not of the shipped version
            each = each._replace(
                kind=Kind.FILE,
                digest=digest,
                config=True,
                obsolete=each.obsolete or conffile.obsolete,
                optional=each.optional or conffile.obsolete,
                vouched=each.vouched and conffile.stated,
            )
        if self._filter.active and self._filter.excludes(listed):
            each = each._replace(optional=True)
        if path not in self._special:
            return each
        override = self._overrides.get(path)
        if override is not None:
            each = _override(each, override)
        if path in self._links:
            each = each._replace(kind=Kind.SYMLINK, target=self._links[path], digest=None, mode=None, size=None)
        target, package = self._diverted.get(path, (path, ""))
        if target != path and package != record.name:
            each = each._replace(path=target)
        self._ucf.pop(path, None)
        return each

    def _exceptional(self, each: Owned, listed: bytes, record: Record) -> Exceptional | None:
        """A directory that several packages list is as the one that cares about it has it."""
        package, found = self._exceptions.get(listed, ("", None))
        return found if package == record.name or each.digest is None else None

    def _shipped(self, record: Record, digests: dict[bytes, bytes]) -> Mapping[bytes, Shipped] | None:
        """What the package file holds, if there is one and it is the one that was installed."""
        if self._reference is None or record.state != "installed" or not record.whole:
            return None
        shipped = self._reference.shipped(record, self._warn)
        if shipped is None:
            return None
        for path, digits in digests.items():
            there = shipped.get(path)
            if there is None or there.md5 != unhexlify(digits):
                self._warn(INFO, f"a package file for {record.unique} {record.version} is not the one installed")
                return None
        return shipped

    def _left_to_ucf(self) -> Iterator[Owned]:
        names: dict[str, Record] = {}
        for record in self._records:
            names.setdefault(record.name, record)
        for path, (package, digest) in self._ucf.items():
            owner = names.get(package)
            gone = owner is None or owner.state == "removed"
            each = Owned(
                path,
                package if owner is None else owner.unique,
                kind=Kind.FILE,
                digest=None if digest is None else Digest("md5", digest),
                config=True,
                usual=True,
                obsolete=gone,
                optional=gone,
                vouched=owner is None or owner.whole,
            )
            override = self._overrides.get(path)
            yield each if override is None else _override(each, override)

    def _find_links(self) -> Iterator[tuple[bytes, bytes]]:
        for path, targets in _LINKS.items():
            try:
                target = self._root.readlink(path)
            except RootError as error:
                self._warn(path, f"it cannot be read: {error.strerror}")
                continue
            if target in targets:
                yield self._canonical(path), target

    def _canonical(self, path: bytes) -> bytes:
        parent, _, name = path.rpartition(b"/")
        return self._place(parent) + name

    def _place(self, parent: bytes) -> bytes:
        """Where a listed directory is in the root, with a slash at its end."""
        known = self._places.get(parent)
        if known is None:
            try:
                resolved = self._root.resolve(parent or b"/")
            except RootError as error:
                self._warn(parent, f"it cannot be resolved: {error.strerror}")
                resolved = parent
            known = self._places[parent] = resolved if resolved == b"/" else resolved + b"/"
        return known


def _override(each: Owned, override: Override) -> Owned:
    uid, gid = number_of(override.user), number_of(override.group)
    return each._replace(
        mode=override.mode,
        user=override.user if uid is None else None,
        group=override.group if gid is None else None,
        uid=uid,
        gid=gid,
    )


def _except(each: Owned, row: Exceptional) -> Owned:
    return each._replace(
        mode=row.mode, user=row.user, group=row.group, uid=None, gid=None,
        capabilities=each.capabilities if row.capabilities is None else row.capabilities,
    )  # fmt: skip


def _as_shipped(each: Owned, entry: Shipped) -> Owned:
    digest = each.digest
    if digest is None and entry.md5 is not None:
        digest = Digest("md5", entry.md5)
    return each._replace(
        kind=entry.kind,
        digest=digest,
        mode=entry.mode,
        user=entry.user or None,
        group=entry.group or None,
        uid=None if entry.user else entry.uid,
        gid=None if entry.group else entry.gid,
        size=entry.size if entry.kind is Kind.FILE else None,
        target=entry.target if entry.kind is Kind.SYMLINK else None,
        rdev=entry.rdev if entry.kind in (Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE) else None,
        capabilities="",  # a package file cannot hold any
        usual=False,
    )


def unowned(root: Root, paths: Iterable[bytes], diversions: list[Diversion], warn: Warn) -> set[bytes]:
    """Those of some paths that no package lists, wherever its directories lead."""
    wanted: dict[bytes, set[bytes]] = {}
    resolved = {path: _resolved(root, path) for path in paths}
    for path, place in resolved.items():
        wanted.setdefault(place, set()).add(path)
    for each in diversions:
        if (place := _resolved(root, each.target)) in wanted:
            wanted.setdefault(_resolved(root, each.path), set()).update(wanted[place])
    names = {place[place.rfind(b"/") + 1 :] for place in wanted}
    left = set(resolved)
    if left:
        with Info(root, warn) as info:
            for stem in info.stems():
                for line in info.lines(stem):
                    if line[line.rfind(b"/") + 1 :] not in names or not is_path(line):
                        continue
                    if found := wanted.get(_resolved(root, line)):
                        left -= found
    return left


def _resolved(root: Root, path: bytes) -> bytes:
    try:
        return root.canonical(path)
    except RootError:
        return path  # below a loop of links there is nothing, and what is nowhere has no other name
