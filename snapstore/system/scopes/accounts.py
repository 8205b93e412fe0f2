"""Scope `users`: accounts, groups, their ageing, subordinate ids, and who may become whom."""

from __future__ import annotations

from dataclasses import dataclass

from snapstore.system.record import Field, Scope, Table, Type


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """passwd(5) with shadow(5). Days are counted from the epoch, None where the field is empty.

    `password` is "x" where it is kept in a shadow file that has nothing about it or could not be read. `number` is the
    place among the lines with the same name (from 0); the first one counts.
    """

    name: str
    uid: int
    gid: int
    gecos: str = ""
    home: bytes = b""
    shell: bytes = b""
    password: str = ""
    changed: int | None = None
    minimum: int | None = None
    maximum: int | None = None
    warning: int | None = None
    inactive: int | None = None
    expires: int | None = None
    number: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """group(5) with gshadow(5). `password` and `number` as for a user."""

    name: str
    gid: int
    password: str = ""
    members: tuple[str, ...] = ()
    administrators: tuple[str, ...] = ()
    number: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SubordinateIds:
    """subuid(5), subgid(5): `kind` is uid or gid."""

    kind: str
    owner: str
    start: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SudoRule:
    """One logical line of sudoers(5), comments left out, blanks squeezed; `number` is its place in the file."""

    file: bytes
    rule: str
    number: int = 0


USERS = Scope(
    "users",
    Table(
        "user",
        User,
        (
            Field("name", key=True),
            Field("uid", Type.NUMBER, key=True),
            Field("gid", Type.NUMBER, key=True),
            Field("gecos"),
            Field("home", Type.RAW),
            Field("shell", Type.RAW),
            Field("password", secret=True),
            Field("changed", Type.OPTIONAL),
            Field("minimum", Type.OPTIONAL),
            Field("maximum", Type.OPTIONAL),
            Field("warning", Type.OPTIONAL),
            Field("inactive", Type.OPTIONAL),
            Field("expires", Type.OPTIONAL),
            Field("number", Type.NUMBER),
        ),
        order=lambda row: (row.name, row.number),
    ),
    Table(
        "group",
        Group,
        (
            Field("name", key=True),
            Field("gid", Type.NUMBER, key=True),
            Field("password", secret=True),
            Field("members", Type.WORDS),
            Field("administrators", Type.WORDS),
            Field("number", Type.NUMBER),
        ),
        order=lambda row: (row.name, row.number),
    ),
    Table(
        "subid",
        SubordinateIds,
        (
            Field("kind", Type.WORD, key=True, choices=("gid", "uid")),
            Field("owner", key=True),
            Field("start", Type.NUMBER, key=True),
            Field("count", Type.NUMBER, key=True),
        ),
    ),
    Table(
        "sudo",
        SudoRule,
        (Field("file", Type.RAW, key=True), Field("rule", key=True), Field("number", Type.NUMBER)),
        order=lambda row: (row.file, row.number, row.rule),
    ),
)
