"""Audits a system: every path on disk in one class, and everything else that the scopes record."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from snapstore.flow import Cancellation
from snapstore.model import Warned
from snapstore.ops.inspection import Inspection, SystemOptions
from snapstore.ops.places import Places
from snapstore.ops.progress import Progress
from snapstore.ops.running import Noted
from snapstore.system.packages import Package
from snapstore.system.record import Row
from snapstore.system.root import Root
from snapstore.system.scopes.accounts import Group, User
from snapstore.system.scopes.files import Class, ClassTotal, FileRow, Policy, RuleTotal
from snapstore.system.scopes.osrelease import Setting
from snapstore.system.scopes.repositories import Repository, SigningKey
from snapstore.system.scopes.services import Port, Unit

T = TypeVar("T")
_IN_DOUBT = frozenset({"type", "mode", "owner", "target", "capabilities", "unverified"})
"""Changes that dpkg's database states nothing about, and package files do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What is known of a system at one time; rows are in the order of their scopes.

    `files` lists everything that is not pristine, `totals` accounts for every path, class by class. `taken` is in
    nanoseconds since the epoch. `scopes` holds all rows of every scope by its name, the ones here among them.
    """

    root: bytes
    taken: int
    settings: tuple[Setting, ...]
    packages: tuple[Package, ...]
    repositories: tuple[Repository, ...]
    keys: tuple[SigningKey, ...]
    users: tuple[User, ...]
    groups: tuple[Group, ...]
    units: tuple[Unit, ...]
    ports: tuple[Port, ...]
    files: tuple[FileRow, ...]
    totals: tuple[ClassTotal, ...]
    rules: tuple[RuleTotal, ...]
    policies: tuple[Policy, ...]
    scopes: dict[str, tuple[Row, ...]]
    warnings: tuple[Warned, ...]
    warning_count: int
    seconds: float


def audit_system(
    system: SystemOptions, *, cache: bytes, own: Places, progress: Progress, cancellation: Cancellation
) -> Audit:
    """The system as it is now. `cache` is a directory for what makes the next audit fast, `own` are left out.

    PackageDatabaseError where a package database cannot be read; trouble with single files is in the warnings.
    """
    began, taken = time.monotonic(), time.time_ns()
    noted = Noted(progress)
    with Root(system.root) as root:
        noted.prefix = b"/" if root.live else root.path
        inspection = Inspection(root, system, cache=cache, own=own, progress=noted, cancellation=cancellation)
        scopes = inspection.run().rows
    return audit_of(
        scopes, root=system.root, taken=taken, warnings=noted.kept, warning_count=noted.count,
        seconds=time.monotonic() - began,
    )  # fmt: skip


def packages_in_doubt(audit: Audit) -> list[Package]:
    """Those of dpkg's packages whose files may be as shipped for all that the database knows, or may not be."""
    names = {
        name
        for row in audit.files
        if row.cls == Class.CHANGED and _IN_DOUBT.intersection(row.changes)
        for name in row.package.split()
    }
    return [
        package
        for package in audit.packages
        if package.manager == "dpkg" and names.intersection({package.name, f"{package.name}:{package.arch}"})
    ]


def audit_of(
    scopes: dict[str, tuple[Row, ...]], *, root: bytes, taken: int, warnings: Iterable[Warned] = (),
    warning_count: int = 0, seconds: float = 0.0,
) -> Audit:  # fmt: skip
    """The audit that the rows of all scopes amount to, live ones or those of a snapshot."""

    def rows(scope: str, kind: type[T]) -> tuple[T, ...]:
        return tuple(row for row in scopes.get(scope, ()) if isinstance(row, kind))

    return Audit(
        root=root,
        taken=taken,
        settings=rows("os", Setting),
        packages=rows("packages", Package),
        repositories=rows("repos", Repository),
        keys=rows("repos", SigningKey),
        users=rows("users", User),
        groups=rows("users", Group),
        units=rows("services", Unit),
        ports=rows("services", Port),
        files=rows("files", FileRow),
        totals=rows("completeness", ClassTotal),
        rules=rows("completeness", RuleTotal),
        policies=rows("completeness", Policy),
        scopes=scopes,
        warnings=tuple(warnings),
        warning_count=warning_count,
        seconds=seconds,
    )
