"""The rules that cruft(8) and cruft-ng keep in a root, as far as they are taken.

Their authors wrote them to keep a list of oddities short, not to say what may be forgotten: among them are rules for
databases, keys, home pages and the settings of people. So a rule of theirs never says that something need not be
stored, and most are not taken at all. Taken are only those for places that hold nothing but what programs make again
by their purpose (hier(7): caches and logs), and for files below /usr whose names say that they are an index or cache.
Nothing in /etc, /home, /opt, /root, /srv, /usr/local, /var/lib, /var/mail, /var/spool or /var/www, and nothing that
could be run. A rule set that somebody changed can say no more than that either.

The programs that come with them, which print further paths, are never run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

from snapstore.system.managers.trouble import Trouble, shown
from snapstore.system.packages import Warn
from snapstore.system.patterns import DEEP, Pattern, PatternError, literal, parse_pattern
from snapstore.system.root import Root, RootError
from snapstore.system.rules import GENERATED, Rule

RULE_SETS = (b"/usr/share/cruft/ruleset",)
"""Files with the names of packages between their rules."""

RULE_DIRECTORIES = (
    b"/usr/share/cruft/rules",
    b"/usr/lib/cruft/filters-unex",
    b"/usr/lib/cruft/filters",
    b"/etc/cruft/filters",
)
"""Directories with a file for each package."""

_FILE_LIMIT = 4 << 20
_RULE_LIMIT = 20_000
_FILES_LIMIT = 5_000

_MADE_AGAIN = ((b"var", b"cache"), (b"var", b"log"))
_PACKAGED = ((b"usr", b"lib"), (b"usr", b"share"))
_INDEXES = (b".cache", b".compiled", b".dat", b".idx", b".index", b".jsa", b".uuid", b"ls-R")


class CruftRules(NamedTuple):
    """The rules taken, and how many were not because of where they reach."""

    rules: list[Rule]
    refused: int


class _Line(NamedTuple):
    package: str
    pattern: str
    source: str


def cruft_rules(root: Root, packages: Collection[str], warn: Warn) -> CruftRules:
    """The rules of cruft in a root that hold with these packages installed."""
    rules: dict[str, Rule] = {}
    refused = 0
    for line in _lines(root, frozenset(packages), warn):
        pattern = parse_pattern(line.pattern)
        if not is_taken(pattern):
            refused += 1
        elif len(rules) >= _RULE_LIMIT:
            warn(line.source.encode("utf-8", "surrogateescape"), f"only the first {_RULE_LIMIT} rules are taken")
            break
        else:
            identity = f"cruft:{line.package}:{line.pattern}"
            rules.setdefault(
                identity,
                Rule(
                    id=identity,
                    cls=GENERATED,
                    pattern=line.pattern,
                    reason="the distribution says that a package makes it",
                    source=line.source,
                ),
            )
    return CruftRules(list(rules.values()), refused)


def is_taken(pattern: Pattern) -> bool:
    """Whether a pattern of cruft's reaches only what no person keeps anything in."""
    parts = pattern.components
    area = tuple(literal(part) for part in parts[:2])
    if len(parts) < 3:
        return False
    if area in _MADE_AGAIN:
        return parts[2][:1] not in b"*?["  # it has to name something
    # The last component says what the file is; a `**` would reach whatever is put there later.
    return area in _PACKAGED and len(parts) > 3 and DEEP not in parts and parts[-1].endswith(_INDEXES)


def read_rule_set(data: bytes) -> Iterator[tuple[str, str]]:
    """Pairs of a package and a line of its rules. A name in capitals is no package: those rules always hold."""
    package = ""
    for line in _texts(data):
        if line.startswith("/"):
            yield package, line
        else:
            package = line


def _texts(data: bytes) -> Iterator[str]:
    for line in data.split(b"\n"):
        text = line.strip(b" \t\r").decode("utf-8", "surrogateescape")
        if text and not text.startswith("#"):
            yield text


def _lines(root: Root, packages: frozenset[str], warn: Warn) -> Iterator[_Line]:
    for path in RULE_SETS:
        data = _read(root, path, warn)
        yield from _sound(path, list(read_rule_set(data)), packages, warn)
    for directory in RULE_DIRECTORIES:
        try:
            names = root.list(directory)
        except RootError as error:
            warn(directory, f"its rules are not taken: {error.strerror}")
            continue
        if len(names) > _FILES_LIMIT:
            warn(directory, f"only the first {_FILES_LIMIT} of its files are read")
        for name in names[:_FILES_LIMIT]:
            path = directory + b"/" + name
            package = name.decode("utf-8", "surrogateescape")
            if package.isupper() or package in packages:
                pairs = [(package, text) for text in _texts(_read(root, path, warn))]
                yield from _sound(path, pairs, packages, warn)


def _sound(path: bytes, pairs: list[tuple[str, str]], packages: frozenset[str], warn: Warn) -> Iterator[_Line]:
    source = path.decode("utf-8", "surrogateescape")
    with Trouble(warn, path) as trouble:
        for package, text in pairs:
            if not package:
                trouble(f"{shown(text.encode('utf-8', 'surrogateescape'))} stands under no package")
            if not (package.isupper() or package in packages):
                continue
            pattern = text.replace("[^", "[!")
            try:
                parse_pattern(pattern)
            except PatternError as error:
                trouble(f"{shown(text.encode('utf-8', 'surrogateescape'))} is no rule: {error}")
            else:
                yield _Line(package, pattern, source)


def _read(root: Root, path: bytes, warn: Warn) -> bytes:
    try:
        return root.read(path, limit=_FILE_LIMIT) or b""
    except RootError as error:
        warn(path, f"its rules are not taken: {error.strerror}")
        return b""
