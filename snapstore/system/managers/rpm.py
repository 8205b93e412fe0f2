"""The rpm dialect: headers of rpm's database as packages and the paths that they own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from snapstore.errors import PackageDatabaseError
from snapstore.system.managers import rpmlocks, rpmreasons
from snapstore.system.managers.rpmdatabase import DIRECTORIES, FILES, ask, find_databases
from snapstore.system.managers.rpmfiles import is_mixed, owned_by, settled
from snapstore.system.managers.rpmkeys import PACKAGE_NAME
from snapstore.system.managers.rpmquery import FILES as FILE_TAGS
from snapstore.system.managers.rpmquery import PACKAGE, DamagedValueError, Header, unambiguous_names, version_of
from snapstore.system.managers.trouble import Trouble
from snapstore.system.packages import Owned, Package, Warn, stamp_files
from snapstore.system.root import Root

_STAMPED = (
    *(directory + b"/" + name for directory in DIRECTORIES for name in FILES),
    *(directory + b"/rpmdb.sqlite-wal" for directory in DIRECTORIES),
    *rpmreasons.SOURCES,
    *rpmlocks.SOURCES,
)


class Rpm:
    """rpm, whichever program above it installs packages (dnf, yum, zypp)."""

    name: ClassVar[str] = "rpm"

    def detect(self, root: Root) -> bool:
        """Whether there is a database of rpm, be it damaged or empty, or one that cannot be looked at."""
        try:
            return bool(find_databases(root))
        except PackageDatabaseError:
            return True

    def stamp(self, root: Root) -> bytes:
        """What stat(2) says of the databases, and of what dnf, yum and zypp keep beside them."""
        parts = []
        for path in _STAMPED:
            try:
                parts.append(stamp_files(root, (path,)))
            except OSError as error:
                parts.append(b"%b\0%d\n" % (path, error.errno or 0))
        return b"".join(parts)

    def packages(self, root: Root, warn: Warn) -> list[Package]:
        """The packages, sorted by name, architecture and version; imported keys are none. PackageDatabaseError."""
        reasons = rpmreasons.read_reasons(root, warn)
        holds = rpmlocks.Holds(rpmlocks.read_locks(root, _unheard))
        found: dict[tuple[str, str, str], Package] = {}
        for database in find_databases(root, warn):
            headers = ask(root, database, PACKAGE, warn)
            with Trouble(warn, database.path) as trouble:
                for header in headers:
                    package = _package(header, reasons, holds, trouble)
                    if package is None or package.name == PACKAGE_NAME:
                        continue
                    key = package.name, package.arch, package.version
                    if key in found:
                        trouble(f"{package.name}-{package.version}.{package.arch} is there twice")
                    found.setdefault(key, package)
        return [found[key] for key in sorted(found)]

    def decisions(self, root: Root, warn: Warn) -> list[object]:
        """The locks of dnf, yum and zypp."""
        return [*rpmlocks.read_locks(root, warn)]

    def owned(self, root: Root, warn: Warn) -> Iterator[Owned]:
        """Every path of every package. PackageDatabaseError."""
        for database in find_databases(root, warn):
            headers = _named(ask(root, database, FILE_TAGS, warn))
            with Trouble(warn, database.path) as trouble:
                yield from settled(
                    _all_owned([each for each in headers if is_mixed(each[0])], root, trouble),
                    _all_owned([each for each in headers if not is_mixed(each[0])], root, trouble),
                )


def _unheard(path: bytes, reason: str) -> None:
    """Nothing; `decisions` tells of the same trouble with the same files."""


def _package(header: Header, reasons: rpmreasons.Reasons, holds: rpmlocks.Holds, trouble: Trouble) -> Package | None:
    """The package; None and a warning where the header makes none."""
    try:
        name, version, arch = header.text("NAME"), version_of(header), header.text("ARCH")
        vendor, source = header.text("VENDOR"), header.text("SOURCERPM")
        size = header.number_of("LONGSIZE") or 0
    except DamagedValueError as error:
        trouble(f"record {header.number} is no package: {error}")
        return None
    if not name:
        trouble(f"record {header.number} is no package: it has no name")
        return None
    return Package(
        manager=Rpm.name,
        name=name,
        version=version,
        arch=arch,
        reason=reasons.reason(name, arch),
        held=name in holds,
        origin=reasons.repository(name, version, arch) or vendor,
        source=_source_name(source, name),
        size=size,
    )


def _source_name(source: str, name: str) -> str:
    """The name in `name-version-release.src.rpm`; empty where it is the package's own, or none is stated."""
    stem = source.removesuffix(".rpm").removesuffix(".nosrc").removesuffix(".src")
    parts = stem.rsplit("-", 2)
    return parts[0] if len(parts) == 3 and parts[0] != name else ""


def _named(headers: Sequence[Header]) -> list[tuple[Header, str]]:
    """The headers that own files, with names that tell them from one another."""
    known: list[tuple[Header, tuple[str, str, str]]] = []
    for header in headers:
        try:
            name, version, arch = header.text("NAME"), version_of(header), header.text("ARCH")
        except DamagedValueError:
            name, version, arch = "", "", ""
        if name != PACKAGE_NAME:
            known.append((header, (name or f"record-{header.number}", version, arch)))
    names = unambiguous_names([each for _, each in known])
    return [(header, name) for (header, _), name in zip(known, names, strict=True)]


def _all_owned(headers: Sequence[tuple[Header, str]], root: Root, trouble: Trouble) -> Iterator[Owned]:
    for header, name in headers:
        yield from owned_by(header, name, root, trouble)
