"""What an administrator told dnf, yum and zypp to keep as it is.

Sources: dnf-versionlock(8), dnf.conf(5), zypper(8) and /etc/zypp/locks; the TOML form is that of dnf 5.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Callable, Iterator
from typing import Any

from snapstore.system.managers.rpmreasons import read_toml
from snapstore.system.managers.trouble import Trouble, shown
from snapstore.system.packages import Warn
from snapstore.system.root import Root, RootError
from snapstore.system.scopes.packagelist import Lock

LISTS = (
    b"/etc/dnf/plugins/versionlock.list",
    b"/etc/yum/pluginconf.d/versionlock.list",
    b"/etc/yum/plugins/versionlock.list",
)
TOML = b"/etc/dnf/versionlock.toml"
ZYPP = b"/etc/zypp/locks"
CONFIGURATIONS = (b"/etc/dnf/dnf.conf", b"/etc/yum.conf")
SOURCES = (*LISTS, TOML, ZYPP, *CONFIGURATIONS)

_EXCLUDES = ("exclude", "excludepkgs")
_EXCLUDE = "exclude"
_EPOCH_FIRST = re.compile(r"[0-9]+:(?=[^:]*\Z)").match
_NEVRA = re.compile(r"(.+)-((?:[0-9*?]+:)?[0-9*?][^-]*)-([^-]+)\Z").match
_GLOB = re.compile(r"[*?\[]").search
_COUNT_LIMIT = 10_000


def read_locks(root: Root, warn: Warn) -> list[Lock]:
    """All locks of a root, sorted, each once."""
    found: dict[tuple[str, str], Lock] = {}
    for lock in _all(root, warn):
        if len(found) == _COUNT_LIMIT:
            warn(lock.file, f"there are more than {_COUNT_LIMIT} locks, and the rest is left out")
            break
        found.setdefault((lock.package, lock.rule), lock)
    return [found[key] for key in sorted(found)]


def _all(root: Root, warn: Warn) -> Iterator[Lock]:
    for path in LISTS:
        yield from _lines(root, path, warn, _versionlock)
    yield from _toml(root, warn)
    with Trouble(warn, ZYPP) as trouble:
        yield from _zypp(_read(root, ZYPP, warn), trouble)
    for path in CONFIGURATIONS:
        for words in _option(_read(root, path, warn)):
            yield from (Lock(manager="rpm", package=word, rule=_EXCLUDE, file=path) for word in words)


def _read(root: Root, path: bytes, warn: Warn) -> list[str]:
    """The lines of a file; none if there is none, and with a warning if it cannot be read."""
    try:
        text = root.read(path)
    except RootError as error:
        warn(path, f"what it locks is not known, as it cannot be read: {error.strerror}")
        return []
    return [] if text is None else text.decode("utf-8", "surrogateescape").split("\n")


def _lines(root: Root, path: bytes, warn: Warn, read: Callable[[str, bytes], Lock]) -> Iterator[Lock]:
    for line in _read(root, path, warn):
        text = line.strip()
        if text and not text.startswith("#"):
            yield read(text, path)


def _versionlock(line: str, path: bytes) -> Lock:
    """One entry, a glob of full names with the epoch before the name or the version; `!` in front keeps it out."""
    bare = line.lstrip("!")
    first = _EPOCH_FIRST(bare)
    match = _NEVRA(bare[first.end() :] if first else bare)
    return Lock(manager="rpm", package=match.group(1) if match else bare, rule=line, file=path)


def _toml(root: Root, warn: Warn) -> Iterator[Lock]:
    with Trouble(warn, TOML) as trouble:
        entries = read_toml(root, TOML, warn).get("packages", [])
        for entry in entries if isinstance(entries, list) else [None]:
            name = entry.get("name") if isinstance(entry, dict) else None
            conditions = entry.get("conditions", []) if isinstance(entry, dict) else None
            if not isinstance(name, str) or not name or not isinstance(conditions, list):
                trouble("an entry makes no sense")
                continue
            rule = " and ".join(_condition(each) for each in conditions)
            yield Lock(manager="rpm", package=name, rule=rule, file=TOML)


def _condition(condition: Any) -> str:
    if not isinstance(condition, dict):
        return str(condition)
    return " ".join(str(condition.get(key, "?")) for key in ("key", "comparator", "value"))


def _zypp(lines: list[str], trouble: Trouble) -> Iterator[Lock]:
    """Stanzas of `key: value` lines, which stand for what has all of that."""
    stanza: dict[str, str] = {}
    for line in (*lines, ""):
        text = line.strip()
        if text.startswith("#"):
            continue
        if text:
            key, colon, value = text.partition(":")
            if not colon:
                trouble(f"a line makes no sense: {shown(os.fsencode(text))}")
            else:
                stanza[key.strip()] = value.strip()
        elif stanza:
            name = stanza.get("solvable_name", "")
            rule = "; ".join(f"{key}: {value}" for key, value in stanza.items() if key != "solvable_name")
            yield Lock(manager="rpm", package=name, rule=rule, file=ZYPP)
            stanza = {}


def _option(lines: list[str]) -> Iterator[list[str]]:
    """The words of the options of [main] that leave packages out; an indented line goes on with the one before."""
    section, option = "", ""
    for line in lines:
        text = line.strip()
        if not text or text.startswith(("#", ";")):
            continue
        if line[0].isspace():
            value = text
        elif text.startswith("["):
            section, option = text.strip("[]").strip(), ""
            continue
        else:
            option, _, value = text.partition("=")
            option = option.strip()
        if section == "main" and option in _EXCLUDES:
            yield [word for word in value.replace(",", " ").split() if word]


class Holds:
    """Which packages the locks keep as they are. One that only keeps single versions out does not."""

    def __init__(self, locks: list[Lock]) -> None:
        names = {lock.package for lock in locks if _holds(lock)} - {""}
        self._plain = frozenset(name for name in names if not _GLOB(name))
        self._globs = [re.compile(fnmatch.translate(name)).match for name in sorted(names - self._plain)]

    def __contains__(self, name: str) -> bool:
        return name in self._plain or any(match(name) for match in self._globs)


def _holds(lock: Lock) -> bool:
    if lock.file == TOML:
        return "!=" not in lock.rule.split()
    if lock.file == ZYPP:
        types = [part for part in lock.rule.split("; ") if part.startswith("type: ")]
        return types in ([], ["type: package"])
    return not lock.rule.startswith("!")
