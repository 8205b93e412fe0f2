"""pacman.conf(5), as far as it says what belongs on the disk and what is to stay as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from snapstore.system.managers.globs import PATTERN_LIMIT, compile_glob, is_glob
from snapstore.system.managers.listing import is_sound
from snapstore.system.packages import Warn
from snapstore.system.root import Root, RootError

CONFIGURATION = b"/etc/pacman.conf"
DATABASE = b"/var/lib/pacman"
_SIZE_LIMIT = 1 << 20
_FILE_LIMIT = 100
_DEPTH_LIMIT = 10
_PATTERN_LIMIT = 1000
_LISTS = (b"IgnorePkg", b"IgnoreGroup", b"HoldPkg", b"NoExtract", b"NoUpgrade")


class Setting(NamedTuple):
    """One word of one of the lists in the section `[options]`, and the file that it stands in."""

    option: str
    word: bytes
    file: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PacmanConfig:
    """What the configuration says. `files` are those that were read, or looked for, to find out."""

    database: bytes = DATABASE
    settings: tuple[Setting, ...] = ()
    files: tuple[bytes, ...] = (CONFIGURATION,)

    def words(self, option: str) -> list[bytes]:
        """The words of one list, in their order."""
        return [each.word for each in self.settings if each.option == option]


class Matcher:
    """A list of patterns as pacman reads it: the last that matches decides, and `!` before it turns it round.

    With too many of them, or one that is too long, none is honoured: what they would excuse is then reported.
    """

    def __init__(self, patterns: Iterable[bytes], *, file: bytes, option: str, warn: Warn) -> None:
        self._tests: list[tuple[Callable[[bytes], object], bool]] = []
        patterns = list(patterns)
        if len(patterns) > _PATTERN_LIMIT or any(len(each) > PATTERN_LIMIT for each in patterns):
            warn(file, f"{option} is not honoured: it has too many patterns, or one that is too long")
            return
        for pattern in reversed(patterns):
            negated = pattern.startswith(b"!")
            self._tests.append((compile_glob(pattern[negated:]), not negated))

    def __bool__(self) -> bool:
        return bool(self._tests)

    def __call__(self, subject: bytes) -> bool:
        """Whether the list applies to a relative path, or to a name."""
        return next((verdict for test, verdict in self._tests if test(subject)), False)


def read_config(root: Root, warn: Warn) -> PacmanConfig:
    """The configuration of a root; the defaults where there is none. What cannot be read is a warning."""
    reader = _Reader(root, warn)
    reader.read(CONFIGURATION, depth=0)
    return PacmanConfig(
        database=reader.database or DATABASE, settings=tuple(reader.settings), files=tuple(reader.files)
    )


class _Reader:
    def __init__(self, root: Root, warn: Warn) -> None:
        self.database = b""
        self.settings: list[Setting] = []
        self.files: dict[bytes, None] = {}
        self._root = root
        self._warn = warn
        self._section = b""
        self._left = _FILE_LIMIT

    def read(self, file: bytes, *, depth: int) -> None:
        """Nothing; what the file and the files that it includes say has been taken over."""
        self.files[file] = None
        if not self._left or depth > _DEPTH_LIMIT:
            self._warn(file, "it is left out: too many files include each other")
            return
        self._left -= 1
        try:
            data = self._root.read(file, limit=_SIZE_LIMIT)
        except RootError as error:
            self._warn(file, f"the configuration of pacman cannot be read: {error.strerror}")
            return
        for line in (data or b"").splitlines():
            self._line(line.strip(), file, depth)

    def _line(self, line: bytes, file: bytes, depth: int) -> None:
        if not line or line.startswith(b"#"):
            return
        if line.startswith(b"[") and line.endswith(b"]"):
            self._section = line[1:-1]
            return
        key, _, value = (part.strip() for part in line.partition(b"="))
        if key == b"Include":
            for each in self._expand(value, file):
                self.read(each, depth=depth + 1)
        elif self._section != b"options":
            return
        elif key in _LISTS:
            self.settings += [Setting(key.decode(), word, file) for word in value.split()]
        elif key == b"DBPath" and not self.database:
            # The first one counts, as it does for pacman.
            database = value.rstrip(b"/")
            if not database.startswith(b"/") or not is_sound(database[1:]):
                self._warn(file, "the DBPath is no absolute path and is not honoured")
                return
            self.database = database

    def _expand(self, pattern: bytes, file: bytes) -> Iterator[bytes]:
        """The files that a pattern of an Include means, sorted; a path that is no pattern means itself."""
        relative = pattern.strip(b"/")
        if not pattern.startswith(b"/") or not is_sound(relative):
            self._warn(file, "an Include is no absolute path and is left out")
            return
        found = [b""]
        for part in relative.split(b"/"):
            if is_glob(part):
                test = compile_glob(part)
                found = [
                    directory + b"/" + name
                    for directory in found[:_FILE_LIMIT]
                    for name in self._names(directory, file)
                    if test(name) and (part.startswith(b".") or not name.startswith(b"."))
                ]
            else:
                found = [directory + b"/" + part for directory in found]
        yield from found[: _FILE_LIMIT + 1]

    def _names(self, directory: bytes, file: bytes) -> list[bytes]:
        try:
            return self._root.list(directory or b"/")
        except RootError as error:
            self._warn(file, f"an Include cannot be followed: {error.strerror}")
            return []
