"""Why rpm packages are installed, and from which repository: what dnf and zypp remember, as rpm itself does not.

libdnf5 keeps `packages.toml` (the reason by `name.arch`) and `nevras.toml` (the repository by full name), dnf 4 its
history of transactions, zypp a list of what it installed for others. Trouble with any of them is a warning, and then
the reason is unknown.
"""

from __future__ import annotations

import os
import sqlite3
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from snapstore.system.managers.rpmcopy import are_tables, opened_sqlite, private_copy
from snapstore.system.packages import Warn
from snapstore.system.root import Root, RootError

LIBDNF5 = (b"/usr/lib/sysimage/libdnf5/packages.toml", b"/usr/lib/sysimage/libdnf5/nevras.toml")
HISTORY = b"/var/lib/dnf/history.sqlite"
ZYPP = b"/var/lib/zypp/AutoInstalled"
SOURCES = (*LIBDNF5, HISTORY, HISTORY + b"-wal", ZYPP)

_WORDS = {
    "user": "manual", "external user": "manual", "group": "manual",
    "dependency": "auto", "weak dependency": "auto", "clean": "auto",
}  # fmt: skip
_HISTORY_REASONS = {1: "auto", 2: "manual", 3: "auto", 4: "auto", 5: "manual"}
"""libdnf's numbers: dependency, user, clean, weak dependency, group."""

_DOWNGRADED, _OBSOLETED, _UPGRADED, _REMOVED, _REINSTALLED = 3, 5, 7, 8, 10
_OLD_HALVES = (_DOWNGRADED, _OBSOLETED, _UPGRADED, _REINSTALLED)
"""What happened to the package that a transaction replaced; the one that is there has a row of its own."""

_DONE = 1
_ROWS = 1 << 22


@dataclass(slots=True)
class Reasons:
    """What is remembered. `names` are those of packages that zypp installed for others, None without zypp."""

    by_arch: dict[tuple[str, str], str] = field(default_factory=dict)
    repositories: dict[str, str] = field(default_factory=dict)
    names: frozenset[str] | None = None

    def reason(self, name: str, arch: str) -> str:
        """One of REASONS."""
        found = self.by_arch.get((name, arch))
        if found is not None:
            return found
        if self.names is None:
            return "unknown"
        return "auto" if name in self.names else "manual"

    def repository(self, name: str, version: str, arch: str) -> str:
        """The id of the repository; empty where nobody knows, or it came from a file. `version` may have no epoch."""
        epoch, _, rest = version.rpartition(":")
        return self.repositories.get(f"{name}-{epoch or 0}:{rest}.{arch}", "")


def read_reasons(root: Root, warn: Warn) -> Reasons:
    """What is remembered in a root. libdnf5 is believed before dnf 4, as a system has the history of both."""
    reasons = Reasons()
    _read_history(root, reasons, warn)
    _read_libdnf5(root, reasons, warn)
    try:
        listed = root.read(ZYPP)
    except RootError as error:
        warn(ZYPP, f"why packages are installed cannot be read: {error.strerror}")
        listed = None
    if listed is not None:
        lines = listed.decode("utf-8", "surrogateescape").splitlines()
        reasons.names = frozenset(line.strip() for line in lines if line.strip() and not line.startswith("#"))
    return reasons


def read_toml(root: Root, path: bytes, warn: Warn) -> dict[str, Any]:
    """A TOML file; empty if there is none, and with a warning if it cannot be read."""
    try:
        text = root.read(path)
        return {} if text is None else tomllib.loads(text.decode("utf-8"))
    except RootError as error:
        warn(path, f"it cannot be read: {error.strerror}")
    except (ValueError, RecursionError) as error:
        warn(path, f"it is no valid TOML: {str(error).splitlines()[0][:120] if str(error) else 'too deep'}")
    return {}


def _read_libdnf5(root: Root, reasons: Reasons, warn: Warn) -> None:
    for key, value in _entries(root, LIBDNF5[0], "packages", "reason", warn).items():
        name, _, arch = key.rpartition(".")
        reason = _WORDS.get(value.lower())
        if name and reason is not None:
            reasons.by_arch[name, arch] = reason
    for key, value in _entries(root, LIBDNF5[1], "nevras", "from_repo", warn).items():
        _note_repository(reasons, _with_epoch(key), value)


def _entries(root: Root, path: bytes, table: str, attribute: str, warn: Warn) -> Mapping[str, str]:
    """One attribute of each entry of a table, where that is a text."""
    entries = read_toml(root, path, warn).get(table, {})
    if not isinstance(entries, dict):
        warn(path, f"{table} is no table")
        return {}
    found = {}
    for key, entry in entries.items():
        value = entry.get(attribute) if isinstance(entry, dict) else None
        if isinstance(value, str):
            found[key] = value
    if len(found) < len(entries):
        warn(path, f"{len(entries) - len(found)} entries have no {attribute}")
    return found


def _with_epoch(nevra: str) -> str:
    """`name-epoch:version-release.arch`, with an epoch of 0 where there is none."""
    rest, dash, release = nevra.rpartition("-")
    name, other, version = rest.rpartition("-")
    return nevra if ":" in version else f"{name}{other}0:{version}{dash}{release}"


def _note_repository(reasons: Reasons, nevra: str, repository: str) -> None:
    # A name that starts with @ is none of a repository: @commandline, @System.
    if repository and not repository.startswith("@"):
        reasons.repositories[nevra] = repository


def _read_history(root: Root, reasons: Reasons, warn: Warn) -> None:
    """Nothing; of dnf 4, the last row of a package that is not the old half of a replacement is what counts."""
    try:
        if root.status(HISTORY, follow=True) is None:
            return
        with (
            private_copy(root, (HISTORY, HISTORY + b"-wal")) as directory,
            opened_sqlite(os.path.join(directory, os.path.basename(HISTORY))) as connection,
        ):
            if not are_tables(connection, "rpm", "trans", "trans_item", "repo"):
                warn(HISTORY, "it is no history of dnf that is known here, so why packages are installed is not known")
                return
            rows = connection.execute(
                "SELECT rpm.name, rpm.arch, rpm.epoch, rpm.version, rpm.release, trans_item.action, trans_item.reason,"
                " repo.repoid FROM trans_item INNER JOIN trans ON trans.id = trans_item.trans_id"
                " INNER JOIN rpm ON rpm.item_id = trans_item.item_id LEFT JOIN repo ON repo.id = trans_item.repo_id"
                " WHERE trans.state = ? ORDER BY trans_item.trans_id, trans_item.id LIMIT ?",
                (_DONE, _ROWS),
            )
            for row in rows:
                _note_history(reasons, row)
    except OSError as error:
        warn(HISTORY, f"why packages are installed cannot be read: {error.strerror}")
    except sqlite3.Error as error:
        warn(HISTORY, f"why packages are installed cannot be read: {error}")


def _note_history(reasons: Reasons, row: tuple[object, ...]) -> None:
    name, arch, epoch, version, release, action, reason, repository = row
    if not isinstance(name, str) or not isinstance(arch, str) or action in _OLD_HALVES:
        return
    known = _HISTORY_REASONS.get(reason) if isinstance(reason, int) and action != _REMOVED else None
    if known is None:
        reasons.by_arch.pop((name, arch), None)
    else:
        reasons.by_arch[name, arch] = known
    if isinstance(repository, str) and isinstance(version, str) and isinstance(release, str):
        _note_repository(
            reasons, f"{name}-{epoch if isinstance(epoch, int) else 0}:{version}-{release}.{arch}", repository
        )
