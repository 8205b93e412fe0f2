"""Scope `os`: which operating system this is, and how it is set up at the top."""

from __future__ import annotations

from dataclasses import dataclass

from snapstore.system.record import Field, Scope, Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One fact by name, such as `id`, `version`, `codename`, `architecture`, `hostname`, `timezone`, `locale`."""

    name: str
    value: str


OS = Scope("os", Table("setting", Setting, (Field("name", key=True), Field("value"))))
