"""The rules that come with this program, and those for the swap files of a root."""

from __future__ import annotations

import fnmatch
import functools
import os
import tomllib
from collections.abc import Collection
from importlib import resources
from typing import Any

from snapstore.system.packages import Warn
from snapstore.system.patterns import literal_pattern, parse_pattern
from snapstore.system.root import Root, RootError
from snapstore.system.rules import EXCLUDED, Rule

FILES = ("excluded", "remade", "state", "defaults")
"""Our own rules, in the order in which they decide."""

FSTAB = b"/etc/fstab"
_SWAP_LIMIT = 16


@functools.cache
def own_rules() -> tuple[Rule, ...]:
    """All rules that come with this program, for every system."""
    folder = resources.files("snapstore.system").joinpath("data")
    rules = []
    for name in FILES:
        for entry in tomllib.loads(folder.joinpath(f"{name}.toml").read_text(encoding="utf-8"))["rule"]:
            rules += _read(entry)
    return tuple(rules)


def _read(entry: dict[str, Any]) -> list[Rule]:
    fields = dict(entry)
    patterns = fields.pop("patterns")
    return [Rule(cls=fields["class"], pattern=pattern, **_without_class(fields)) for pattern in patterns]


def _without_class(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name != "class"}


def holds(rule: Rule, packages: Collection[str]) -> bool:
    """Whether a rule's condition is met by the packages installed."""
    return not rule.package or any(
        name in packages if not _is_glob(name) else bool(fnmatch.filter(packages, name))
        for name in rule.package.split("|")
    )


def _is_glob(name: str) -> bool:
    return any(char in name for char in "*?[")


def swap_rules(root: Root, warn: Warn) -> list[Rule]:
    """A rule for every swap file that fstab(5) names; the file itself has to look like one as well."""
    try:
        data = root.read(FSTAB, limit=1 << 20) or b""
    except RootError as error:
        warn(FSTAB, f"its swap files are not known: {error.strerror}")
        return []
    rules: list[Rule] = []
    for line in data.split(b"\n"):
        fields = line.split()
        if len(fields) < 3 or fields[2] != b"swap" or not fields[0].startswith(b"/") or fields[0].startswith(b"/dev/"):
            continue
        if len(rules) == _SWAP_LIMIT:
            warn(FSTAB, f"only the first {_SWAP_LIMIT} swap files that it names are looked for")
            break
        try:
            pattern = literal_pattern(root.canonical(_unescape(fields[0])))
            parse_pattern(pattern)
        except (RootError, ValueError) as error:
            warn(FSTAB, f"a swap file that it names cannot be looked for: {error}")
            continue
        rules.append(
            Rule(
                id="swap",
                cls=EXCLUDED,
                pattern=pattern,
                reason="memory that was paged out",
                source="fstab(5), mkswap(8)",
                check="swap",
            )
        )
    return rules


def _unescape(field: bytes) -> bytes:
    for code, char in ((b"\\040", b" "), (b"\\011", b"\t"), (b"\\134", b"\\")):
        field = field.replace(code, char)
    return os.path.normpath(field)
