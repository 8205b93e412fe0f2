"""The dialect of dpkg: Debian, Ubuntu and what is made from them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from blake3 import blake3

from snapstore.errors import PackageDatabaseError
from snapstore.system.managers import dpkgdatabase, dpkgmodes, dpkgsettings
from snapstore.system.managers.debreference import DebReference
from snapstore.system.managers.dpkgdatabase import Record
from snapstore.system.managers.dpkgfiles import Files, Settings, unowned
from snapstore.system.packages import Owned, Package, Warn, stamp_files
from snapstore.system.root import Root, RootError
from snapstore.system.scopes.packagelist import Alternative, Diversion, Override

_LINKS = b"/etc/alternatives"
_STAMPED = (
    dpkgdatabase.STATUS,
    dpkgdatabase.UPDATES,
    dpkgdatabase.INFO,
    dpkgdatabase.EXTENDED,
    dpkgsettings.DIVERSIONS,
    dpkgsettings.OVERRIDES,
    dpkgsettings.ALTERNATIVES,
    _LINKS,
    dpkgsettings.UCF_HASHES,
    dpkgsettings.UCF_REGISTRY,
    dpkgsettings.CONFIGURATION,
    dpkgsettings.CONFIGURATION + b".d",
    dpkgsettings.PREFERENCES,
    dpkgsettings.PREFERENCES + b".d",
)


class _Look:
    """What several questions about one root need, read at the first of them; its trouble is told then, once."""

    def __init__(self, root: Root) -> None:
        self.root = root
        self._records: list[Record] | None = None
        self._diversions: list[Diversion] | None = None
        self._overrides: list[Override] | None = None

    def records(self, warn: Warn) -> list[Record]:
        if self._records is None:
            self._records = dpkgdatabase.read_records(self.root, warn)
        return self._records

    def diversions(self, warn: Warn) -> list[Diversion]:
        if self._diversions is None:
            self._diversions = dpkgsettings.read_diversions(self.root, warn)
        return self._diversions

    def overrides(self, warn: Warn) -> list[Override]:
        if self._overrides is None:
            self._overrides = dpkgsettings.read_overrides(self.root, warn)
        return self._overrides


class Dpkg:
    """dpkg's database. With a `reference`, package files say what it does not.

    What is asked about one Root object is read once, like the Root itself it is for one look at a tree.
    """

    name: ClassVar[str] = "dpkg"

    def __init__(self, *, reference: DebReference | None = None) -> None:
        self._reference = reference
        self._last: _Look | None = None

    def detect(self, root: Root) -> bool:
        """Whether the root has a status file or an info directory of dpkg."""
        try:
            # A link that leads nowhere is a damaged database, so none is followed.
            return any(root.status(path) for path in (dpkgdatabase.STATUS, dpkgdatabase.INFO))
        except RootError:
            return True  # there, and not to be read: what follows says so

    def stamp(self, root: Root) -> bytes:
        """What stat(2) says of all that is read here, and what this release knows itself."""
        try:
            stamp = stamp_files(root, _STAMPED)
        except OSError as error:
            raise PackageDatabaseError(f"dpkg's database cannot be read: {error.strerror}") from error
        known = blake3(repr(dpkgmodes.table()).encode()).digest()
        return stamp + known + (self._reference.stamp() if self._reference is not None else b"")

    def packages(self, root: Root, warn: Warn) -> list[Package]:
        """The packages, those of which only configuration files are left as "removed". PackageDatabaseError.

        One that apt has no note of was asked for by a person.
        """
        automatic = dpkgdatabase.read_automatic(root, warn)
        return [
            Package(
                manager=self.name,
                name=each.name,
                version=each.version,
                arch=each.arch,
                reason="auto" if (each.name, each.arch) in automatic else "manual",
                state=each.state,
                held=each.held,
                source=each.source,
                size=each.size,
            )
            for each in self._look(root).records(warn)
        ]

    def decisions(self, root: Root, warn: Warn) -> list[object]:
        """Diversions, stat overrides, apt's pins, and the alternatives that a person chose or brought."""
        look = self._look(root)
        diversions = look.diversions(warn)
        return [
            *diversions,
            *look.overrides(warn),
            *self._alternatives(root, diversions, warn),
            *dpkgsettings.read_locks(root, warn, manager=self.name),
        ]

    def owned(self, root: Root, warn: Warn) -> Iterator[Owned]:
        """Every path of every package, and what ucf looks after. PackageDatabaseError."""
        look = self._look(root)
        settings = Settings(
            diversions=look.diversions(warn),
            overrides=look.overrides(warn),
            path_filter=dpkgsettings.read_path_filter(root, warn),
            ucf=list(dpkgsettings.read_ucf(root, warn)),
        )
        yield from Files(root, look.records(warn), settings, warn, reference=self._reference).owned()

    def _alternatives(self, root: Root, diversions: list[Diversion], warn: Warn) -> list[Alternative]:
        choices = dpkgsettings.read_choices(root, warn)
        foreign = unowned(root, {path for each in choices for path in each.candidates}, diversions, warn)
        found: dict[tuple[str, bytes], Alternative] = {}
        for choice in choices:
            for path in choice.candidates:
                if path in foreign:
                    found[choice.name, path] = Alternative(name=choice.name, link=choice.link, target=path)
            if choice.manual:
                link = _LINKS + b"/" + choice.name.encode("utf-8", "surrogateescape")
                try:
                    target = root.readlink(link) or b""
                except RootError as error:
                    warn(link, f"it cannot be read: {error.strerror}")
                    continue
                found[choice.name, target] = Alternative(name=choice.name, link=choice.link, target=target, manual=True)
        return list(found.values())

    def _look(self, root: Root) -> _Look:
        if self._last is None or self._last.root is not root:
            self._last = _Look(root)
        return self._last
