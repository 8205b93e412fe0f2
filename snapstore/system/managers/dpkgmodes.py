"""Modes and owners of Debian packages that are not the usual ones, which dpkg's database does not hold.

The facts are in `dpkgmodes.txt`, each with its source. They stand in for the package file: where that is at hand
(`snapstore.system.managers.debreference`), what it says is taken instead, except for what a script changes afterwards.
"""

from __future__ import annotations

import functools
from fnmatch import fnmatchcase
from importlib import resources
from typing import NamedTuple


class Exceptional(NamedTuple):
    """What is known of one path. `capabilities` is None where nothing is; `scripted`: it is made so after unpacking."""

    versions: str
    mode: int
    user: str
    group: str
    capabilities: str | None
    scripted: bool


@functools.cache
def table() -> dict[str, dict[bytes, tuple[Exceptional, ...]]]:
    """All facts, by package and path as the package lists it."""
    text = resources.files(__package__).joinpath("dpkgmodes.txt").read_text(encoding="utf-8")
    found: dict[str, dict[bytes, tuple[Exceptional, ...]]] = {}
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        package, versions, mode, owner, path, capabilities, source = line.split("\t")
        user, _, group = owner.partition(":")
        row = Exceptional(
            versions,
            int(mode, 8),
            user,
            group,
            None if capabilities == "-" else capabilities,
            not source.startswith("shipped"),
        )
        paths = found.setdefault(package, {})
        paths[path.encode()] = (*paths.get(path.encode(), ()), row)
    return found


def exceptions_of(package: str, version: str) -> dict[bytes, Exceptional]:
    """The facts about one version of a package, by path as the package lists it."""
    return {
        path: row
        for path, rows in table().get(package, {}).items()
        for row in rows
        if fnmatchcase(version, row.versions)
    }
