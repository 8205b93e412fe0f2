"""What the administrator told apk: the world (what is to be installed), and protected paths (what is configuration)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from snapstore.system.managers.globs import PATTERN_LIMIT, compile_glob
from snapstore.system.managers.listing import text
from snapstore.system.managers.trouble import Trouble, shown
from snapstore.system.packages import Warn
from snapstore.system.root import Root, RootError

WORLD = b"/etc/apk/world"
PROTECTED = b"/etc/apk/protected_paths.d"
_DEFAULTS = (b"+etc", b"@etc/init.d", b"!etc/apk")
_SIZE_LIMIT = 1 << 20
_RULE_LIMIT = 1000
# name, tag of a repository, version; `!` in front means that it must not be installed.
_WANTED = re.compile(rb"(!?)([^!@<>=~\0-\x20\x7f]+)((?:@[^<>=~\0-\x20\x7f]+)?(?:[<>=~]+[!-~]+)?)\Z").match


@dataclass(frozen=True, slots=True)
class World:
    """The world: for each name its rules, in their order; an empty rule is the wish for any version.

    `known` is False where there is no world to read, `names` are those that are to be installed.
    """

    known: bool
    wanted: dict[str, list[str]] = field(default_factory=dict)

    @property
    def names(self) -> frozenset[str]:
        """What was asked for by name."""
        return frozenset(name for name, rules in self.wanted.items() if any(rule != "!" for rule in rules))


def read_world(root: Root, warn: Warn) -> World:
    """The world of a root. Where there is none, or it cannot be read, that is a warning."""
    try:
        data = root.read(WORLD, limit=_SIZE_LIMIT)
    except RootError as error:
        warn(WORLD, f"it cannot be read: {error.strerror}")
        return World(known=False)
    if data is None:
        warn(WORLD, "it is missing, so that it is not known which packages were asked for")
        return World(known=False)
    wanted: dict[str, list[str]] = {}
    with Trouble(warn, WORLD) as trouble:
        for word in data.split():
            match = _WANTED(word) if len(word) <= PATTERN_LIMIT else None
            if not match:
                trouble(f"{shown(word)} is no constraint")
                continue
            rules = wanted.setdefault(text(match[2]), [])
            rule = text(match[1] + match[3])
            if rule not in rules:
                rules.append(rule)
    return World(known=True, wanted=wanted)


class _Rule(NamedTuple):
    """What is left of a pattern below some directory: tests of names, one a level, and whether edits are expected."""

    tests: tuple[Callable[[bytes], object], ...]
    edited: bool


class Protection:
    """The protected paths: a pattern holds for what it matches and all below, until another matches further down.

    `+` and `!` mean that the administrator's file is kept, which makes it a configuration file; `-` and, for all but
    links, `@` mean that it is not.
    """

    def __init__(self, lines: list[bytes]) -> None:
        rules = []
        for line in lines:
            edited = line[:1] not in (b"-", b"@")
            pattern = (line[1:] if line[:1] in (b"-", b"+", b"@", b"!") else line).strip(b"/")
            rules.append(_Rule(tuple(compile_glob(part) for part in pattern.split(b"/")), edited))
        self._known: dict[bytes, tuple[bool, list[_Rule]]] = {b"": (False, rules)}

    def covers(self, directory: bytes, name: bytes) -> bool:
        """Whether a file of a relative directory is a configuration file."""
        edited, rules = self._known.get(directory) or self._enter(directory)
        for rule in rules:
            if len(rule.tests) == 1 and rule.tests[0](name):
                edited = rule.edited
        return edited

    def _enter(self, directory: bytes) -> tuple[bool, list[_Rule]]:
        state = self._known[b""]
        for part in directory.split(b"/"):
            edited, rules = state
            below = []
            for rule in rules:
                if rule.tests[0](part):
                    if len(rule.tests) == 1:
                        edited = rule.edited
                    else:
                        below.append(_Rule(rule.tests[1:], rule.edited))
            state = (edited, below)
        self._known[directory] = state
        return state


def read_protection(root: Root, warn: Warn) -> Protection:
    """The protected paths of a root: the built-in ones, then those of the files in protected_paths.d."""
    lines = list(_DEFAULTS)
    with Trouble(warn, PROTECTED) as trouble:
        try:
            names = [name for name in root.list(PROTECTED) if name.endswith(b".list") and not name.startswith(b".")]
            for name in names:
                lines += (root.read(PROTECTED + b"/" + name, limit=_SIZE_LIMIT) or b"").splitlines()
        except RootError as error:
            trouble(f"it cannot be read: {error.strerror}")
        lines = [line for line in lines if line and not line.startswith(b"#")]
        if len(lines) > _RULE_LIMIT or any(len(line) > PATTERN_LIMIT for line in lines):
            trouble("it is not honoured: it has too many lines, or one that is too long")
            lines = list(_DEFAULTS)
    return Protection(lines)
