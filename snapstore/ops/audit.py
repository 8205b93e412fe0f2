"""Audits a system: every path on disk in one class, and everything else that the scopes record."""

from __future__ import annotations

from dataclasses import dataclass

from snapstore.model import Warned
from snapstore.system.packages import Package
from snapstore.system.record import Row
from snapstore.system.scopes.accounts import Group, User
from snapstore.system.scopes.files import ClassTotal, FileRow, Policy, RuleTotal
from snapstore.system.scopes.osrelease import Setting
from snapstore.system.scopes.repositories import Repository, SigningKey
from snapstore.system.scopes.services import Port, Unit


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
    seconds: float
