"""What an administrator told dpkg and apt: diversions, stat overrides, alternatives, path filters, pins, ucf's files.

Formats: dpkg-divert(1), dpkg-statoverride(1), update-alternatives(1), dpkg.cfg(5), apt_preferences(5), ucf(1). A record
that makes no sense is told of and left out.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from dataclasses import dataclass

from snapstore.system.managers.deb822 import read_stanzas
from snapstore.system.managers.dpkgdatabase import ADMIN, is_path, list_quietly, read_quietly, unhex
from snapstore.system.managers.trouble import Trouble, shown
from snapstore.system.packages import Warn
from snapstore.system.root import Root
from snapstore.system.scopes.packagelist import Diversion, Lock, Override

DIVERSIONS = ADMIN + b"/diversions"
OVERRIDES = ADMIN + b"/statoverride"
ALTERNATIVES = ADMIN + b"/alternatives"
CONFIGURATION = b"/etc/dpkg/dpkg.cfg"
PREFERENCES = b"/etc/apt/preferences"
UCF_HASHES = b"/var/lib/ucf/hashfile"
UCF_REGISTRY = b"/var/lib/ucf/registry"

_WORD_LIMIT = 4096
_FILTER_LIMIT = 200
_is_owner = re.compile(rb"[^\s:,]{1,256}\Z").match
_is_mode = re.compile(rb"[0-7]{1,5}\Z").match
_is_option_file = re.compile(rb"[0-9A-Za-z_-]+\Z").match
_is_preference_file = re.compile(rb"[0-9A-Za-z_-][0-9A-Za-z_.-]*\Z").match
_option = re.compile(rb"(path-(?:ex|in)clude)[^0-9A-Za-z-]=?\s*(.*)\Z", re.DOTALL).match


def read_diversions(root: Root, warn: Warn) -> list[Diversion]:
    """The diversions, in the order of the file: three lines each, the package a `:` where a person made it."""
    found: dict[bytes, Diversion] = {}
    with Trouble(warn, DIVERSIONS) as trouble:
        lines = _lines(read_quietly(root, DIVERSIONS, trouble), trouble)
        if len(lines) % 3:
            trouble("it ends within a diversion")
        for path, target, package in zip(lines[::3], lines[1::3], lines[2::3], strict=False):
            if not is_path(path) or not is_path(target) or not package or len(package) > _WORD_LIMIT:
                trouble(f"a diversion makes no sense: {shown(path)}")
            elif path in found:
                trouble(f"a path is diverted twice: {shown(path)}")
            else:
                found[path] = Diversion(path=path, target=target, package="" if package == b":" else _text(package))
    return list(found.values())


def read_overrides(root: Root, warn: Warn) -> list[Override]:
    """The stat overrides: `user group mode path`, owners as names or as `#number`."""
    found: dict[bytes, Override] = {}
    with Trouble(warn, OVERRIDES) as trouble:
        for line in _lines(read_quietly(root, OVERRIDES, trouble), trouble):
            words = line.split(b" ", 3)
            if len(words) != 4 or not _is_owner(words[0]) or not _is_owner(words[1]) or not _is_mode(words[2]):
                trouble(f"an override makes no sense: {shown(line)}")
                continue
            user, group, digits, path = words
            mode = int(digits, 8)
            if not is_path(path) or mode > 0o7777 or number_of(_text(user)) == -1 or number_of(_text(group)) == -1:
                trouble(f"an override makes no sense: {shown(line)}")
            elif path in found:
                trouble(f"a path is overridden twice: {shown(path)}")
            else:
                found[path] = Override(path=path, user=_text(user), group=_text(group), mode=mode)
    return list(found.values())


def number_of(owner: str) -> int | None:
    """The number that an owner is stated as; None for a name, -1 for what is neither."""
    if not owner.startswith("#"):
        return None
    digits = owner[1:]
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 10 else -1


@dataclass(frozen=True, slots=True)
class Choice:
    """One group of alternatives: its name and link, whether a person chose, and the candidates for the link."""

    name: str
    link: bytes
    manual: bool
    candidates: tuple[bytes, ...]


def read_choices(root: Root, warn: Warn) -> list[Choice]:
    """The groups of alternatives, sorted by name."""
    found = []
    for name in list_quietly(root, ALTERNATIVES, warn):
        with Trouble(warn, ALTERNATIVES + b"/" + name) as trouble:
            data = read_quietly(root, trouble.path, trouble)
            choice = _choice(name, data.split(b"\n")) if data.endswith(b"\n") else None
            if choice is None:
                trouble("it makes no sense")
            else:
                found.append(choice)
    return found


def _choice(name: bytes, lines: list[bytes]) -> Choice | None:
    """What the lines of one group say, None where they make no sense.

    Mode, link, a name and a link for each slave, an empty line; then a candidate's path, its priority, and a target
    for each slave, as often as there are candidates; an empty line at the end.
    """
    if len(lines) < 4 or lines[0] not in (b"auto", b"manual") or not is_path(lines[1]):
        return None
    at = 2
    while at < len(lines) and lines[at]:
        at += 2
    slaves = (at - 2) // 2
    at += 1
    candidates = []
    while at < len(lines) and lines[at]:
        if not is_path(lines[at]):
            return None
        candidates.append(lines[at])
        at += 2 + slaves
    return Choice(_text(name), lines[1], lines[0] == b"manual", tuple(candidates)) if at < len(lines) - 1 else None


class PathFilter:
    """dpkg's path-exclude and path-include: which paths it was told not to unpack. The last rule that matches counts.

    The wild cards are those of fnmatch(3): `*` and `?` match `/` too, and a backslash takes a meaning away.
    """

    def __init__(self, rules: list[tuple[bool, bytes]]) -> None:
        self.active = any(excluded for excluded, _ in rules)
        self._rules = [(excluded, re.compile(_expression(glob)).match) for excluded, glob in reversed(rules)]

    def excludes(self, path: bytes) -> bool:
        """Whether a path was not to be unpacked."""
        for excluded, matches in self._rules:
            if matches(path):
                return excluded
        return False


def _expression(glob: bytes) -> bytes:
    text = re.sub(r"\\(.)", lambda found: f"[{found[1]}]", glob.decode("latin-1"), flags=re.DOTALL)
    return fnmatch.translate(text.replace("[^", "[!")).encode("latin-1")


def read_path_filter(root: Root, warn: Warn) -> PathFilter:
    """The path filters of /etc/dpkg, in the order in which dpkg reads them."""
    directory = CONFIGURATION + b".d"
    paths = [directory + b"/" + name for name in list_quietly(root, directory, warn) if _is_option_file(name)]
    rules: list[tuple[bool, bytes]] = []
    for path in (*paths, CONFIGURATION):
        with Trouble(warn, path) as trouble:
            for line in read_quietly(root, path, trouble).split(b"\n"):
                found = _option(line.strip())
                if found is None:
                    continue
                glob = found[2]
                if len(glob) > 1 and glob[:1] in (b'"', b"'") and glob[-1:] == glob[:1]:
                    glob = glob[1:-1]
                if len(glob) > _WORD_LIMIT or len(rules) >= _FILTER_LIMIT:
                    trouble(f"a path filter is left out, it is too long or there are too many: {shown(line)}")
                else:
                    rules.append((found[1] == b"path-exclude", glob))
    return PathFilter(rules)


def read_locks(root: Root, warn: Warn, *, manager: str) -> list[Lock]:
    """The pins of apt, one for each stanza of its preferences."""
    found: dict[tuple[str, str], Lock] = {}
    directory = PREFERENCES + b".d"
    paths = [
        directory + b"/" + name
        for name in list_quietly(root, directory, warn)
        if _is_preference_file(name) and (b"." not in name or name.endswith(b".pref"))
    ]
    for path in (*paths, PREFERENCES):
        with Trouble(warn, path) as trouble:
            for stanza in read_stanzas(read_quietly(root, path, trouble), trouble, comments=True):
                names = " ".join(stanza.words(b"package"))
                words = [
                    f"{title}: {' '.join(stanza.words(title.lower().encode()))}" for title in ("Pin", "Pin-Priority")
                ]
                rule = ", ".join(words)
                if not names or len(names) + len(rule) > _WORD_LIMIT:
                    trouble(f"the pin at line {stanza.line} makes no sense")
                else:
                    found.setdefault((names, rule), Lock(manager=manager, package=names, rule=rule, file=path))
    return list(found.values())


def read_ucf(root: Root, warn: Warn) -> Iterator[tuple[bytes, str, bytes | None]]:
    """(path, package, MD5 of the maintainer's version) of the files that ucf looks after and a package is known for.

    What stands in its table of digests only has no known owner, and so is nobody's.
    """
    digests: dict[bytes, bytes] = {}
    with Trouble(warn, UCF_HASHES) as trouble:
        for line in _lines(read_quietly(root, UCF_HASHES, trouble), trouble):
            word, _, path = line.partition(b" ")
            digest, path = unhex(word), path.strip()
            if digest is None or not is_path(path):
                trouble(f"a record makes no sense: {shown(line)}")
            else:
                digests[path] = digest
    seen = set()
    with Trouble(warn, UCF_REGISTRY) as trouble:
        for line in _lines(read_quietly(root, UCF_REGISTRY, trouble), trouble):
            package, _, path = line.partition(b"\t")
            package, path = package.strip(), path.strip()
            if not package or len(package) > _WORD_LIMIT or b" " in package or not is_path(path):
                trouble(f"a record makes no sense: {shown(line)}")
            elif path not in seen:
                seen.add(path)
                yield path, _text(package), digests.get(path)


def _lines(data: bytes, trouble: Trouble) -> list[bytes]:
    """The lines of a file; what follows the last line feed is told of and left out, the end of it may be missing."""
    lines = data.split(b"\n")
    if lines.pop():
        trouble("its last line may be cut off")
    return [line for line in lines if line]


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
