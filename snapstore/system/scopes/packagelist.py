"""Scope `packages`: what is installed, and what the administrator told the package managers."""

from __future__ import annotations

from dataclasses import dataclass

from snapstore.system.packages import REASONS, STATES, Package
from snapstore.system.record import Field, Scope, Table, Type


@dataclass(frozen=True, slots=True, kw_only=True)
class Diversion:
    """dpkg-divert(1): the file that packages other than `package` ship as `path` is at `target`.

    `package` is empty for a diversion that the administrator made.
    """

    path: bytes
    target: bytes
    package: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """dpkg-statoverride(1): owner and mode that a path is to have whatever its package says."""

    path: bytes
    user: str
    group: str
    mode: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """update-alternatives(1): a choice that a person made, or a candidate that no package owns."""

    name: str
    link: bytes
    target: bytes
    manual: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """A version rule: apt preferences, versionlock, IgnorePkg, /etc/apk/world constraints; as the manager has it."""

    manager: str
    package: str
    rule: str
    file: bytes = b""


PACKAGES = Scope(
    "packages",
    Table(
        "package",
        Package,
        (
            Field("manager", key=True),
            Field("name", key=True),
            Field("version", key=True),
            Field("arch", key=True),
            Field("reason", Type.WORD, choices=REASONS),
            Field("state", Type.WORD, choices=STATES),
            Field("held", Type.FLAG),
            Field("origin"),
            Field("source"),
            Field("size", Type.NUMBER),
        ),
        order=lambda row: (row.manager, row.name, row.arch, row.version),
    ),
    Table(
        "diversion",
        Diversion,
        (Field("path", Type.RAW, key=True), Field("target", Type.RAW), Field("package")),
    ),
    Table(
        "override",
        Override,
        (Field("path", Type.RAW, key=True), Field("user"), Field("group"), Field("mode", Type.MODE)),
    ),
    Table(
        "alternative",
        Alternative,
        (
            Field("name", key=True),
            Field("link", Type.RAW),
            Field("target", Type.RAW, key=True),
            Field("manual", Type.FLAG),
        ),
    ),
    Table(
        "lock",
        Lock,
        (Field("manager", key=True), Field("package", key=True), Field("rule", key=True), Field("file", Type.RAW)),
    ),
)
