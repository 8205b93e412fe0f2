"""Which files a snapshot leaves out: gitignore patterns, sizes, cache directories.

The patterns of the command line are one gitignore list in the order given: `--exclude P` is the line `P`, `--include P`
the line `!P`, the lines of `--exclude-from` stand where the option stood. The last line that matches a path decides
(gitignore(5)). A directory that is left out is not entered, so nothing below it can be brought back.

Paths are relative to the snapshot's root. Beyond gitignore, a pattern that starts with `/` may also be absolute: where
its first components match those of the root's own path, the rest of it applies below the root too. So `/home/x/.cache`
leaves out the same directory from snapshots of `/`, `/home` and `/home/x`; it never leaves out a root itself. As `?`
and `[…]` stand for a character, not a byte, names are decoded as UTF-8; bytes that are not UTF-8 match as one each.

The library translates globs; what surrounds them is done here, because its answers are for whole path lists and differ
from git's in brackets, trailing spaces, `x/**` and names with newlines, while a walker asks about one name at a time
and has dealt with all its parents.
"""

from __future__ import annotations

import functools
import os
import re
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

import xxhash

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

CACHE_TAG = b"CACHEDIR.TAG"
CACHE_SIGNATURE = b"Signature: 8a477f597d28d172789f06886806bc55"
"""The first 43 bytes of a CACHEDIR.TAG (bford.info/cachedir)."""

_NEVER = "(?!)"
_PLACEHOLDERS = 0xF0000  # a private plane, whose characters stand for brackets while the library translates the rest
_PLACEHOLDERS_END = 0xFFFFD
_CLASSES = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "blank": " \\t",
    "cntrl": "\\x00-\\x1f\\x7f",
    "digit": "0-9",
    "graph": "\\x21-\\x7e",
    "lower": "a-z",
    "print": "\\x20-\\x7e",
    "punct": "\\x21-\\x2f\\x3a-\\x40\\x5b-\\x60\\x7b-\\x7e",
    "space": " \\t-\\r",
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterRules:
    """What the person asked to leave out.

    `excludes` are gitignore lines in the order given, includes among them as `!` lines (`include_line`). `larger_than`
    leaves out files of more bytes than that. `exclude_caches` and `one_file_system` are for the walker to look at.
    """

    excludes: tuple[str, ...] = ()
    larger_than: int | None = None
    exclude_caches: bool = False
    one_file_system: bool = False


def include_line(pattern: str) -> str:
    """The gitignore line for an `--include` pattern."""
    return f"!{pattern}"


@dataclass(frozen=True, slots=True)
class _Line:
    """One compiled pattern line."""

    text: str
    regex: re.Pattern[str]
    exclude: bool
    directory_only: bool


class Filter:
    """The rules compiled for one root. `active` False means that every verdict is "keep" and need not be asked for.

    `forced` are (device, inode) pairs of directories that are left out whatever the rules say: the store, our own
    caches. `digest` is 16 bytes over everything that changes verdicts, for keying what was cached under them.
    """

    def __init__(self, rules: FilterRules, *, root: bytes, forced: frozenset[tuple[int, int]] = frozenset()) -> None:
        self.rules = rules
        self.forced = forced
        self._lines = tuple(reversed(list(_compile(rules.excludes, root))))
        self.active = bool(self._lines) or rules.larger_than is not None
        self.digest = _digest(rules, root, forced)

    def verdict(self, path: bytes, *, directory: bool, size: int = 0) -> str:
        """Empty to keep `path` (relative to the root, its parents all kept), else the rule that leaves it out."""
        limit = self.rules.larger_than
        if limit is not None and size > limit and not directory:
            return f"larger than {limit} bytes"
        if self._lines:
            text = path.decode("utf-8", "surrogateescape")
            for line in self._lines:
                if (directory or not line.directory_only) and line.regex.fullmatch(text):
                    return line.text if line.exclude else ""
        return ""

    def is_forced(self, device: int, inode: int) -> bool:
        """Whether the directory is one that is always left out."""
        return (device, inode) in self.forced


def is_cache_directory(fd: int) -> bool:
    """Whether the open directory holds a CACHEDIR.TAG with the right signature; unreadable tags are none."""
    try:
        tag = os.open(CACHE_TAG, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=fd)
    except OSError:
        return False
    try:
        return stat.S_ISREG(os.fstat(tag).st_mode) and os.read(tag, len(CACHE_SIGNATURE)) == CACHE_SIGNATURE
    except OSError:
        return False
    finally:
        os.close(tag)


def _digest(rules: FilterRules, root: bytes, forced: frozenset[tuple[int, int]]) -> bytes:
    state = xxhash.xxh3_128(b"filter 1\0")
    fields = [root, b"%d" % (-1 if rules.larger_than is None else rules.larger_than)]
    fields += [b"%d%d" % (rules.exclude_caches, rules.one_file_system)]
    fields += [line.encode("utf-8", "surrogateescape") for line in rules.excludes]
    # Inodes only: device numbers change from boot to boot, and would take every cached directory with them.
    fields += [b"forced", *(b"%d" % inode for inode in sorted({inode for _, inode in forced}))]
    for each in fields:
        state.update(len(each).to_bytes(8, "little"))
        state.update(each)
    return state.digest()


def _compile(lines: Iterable[str], root: bytes) -> Iterator[_Line]:
    components = [part.decode("utf-8", "surrogateescape") for part in root.split(b"/") if part]
    for text in lines:
        line = _strip_spaces(text)
        if line.startswith("#"):
            continue
        exclude = not line.startswith("!")
        body = line if exclude else line[1:]
        directory_only = body.endswith("/")
        body = body.removesuffix("/")
        for each in _with_absolute(body, components):
            source = _regex(each)
            if source != _NEVER:
                yield _Line(text, re.compile(source, re.DOTALL), exclude, directory_only)


def _strip_spaces(line: str) -> str:
    """The line without its trailing spaces, but for one that a backslash protects, as git does it."""
    line = line.removesuffix("\n").removesuffix("\r")
    kept = line.rstrip(" ")
    if len(kept) < len(line) and (len(kept) - len(kept.rstrip("\\"))) % 2:
        kept += " "
    return kept


def _with_absolute(body: str, components: list[str]) -> list[str]:
    """The pattern itself, and what is left of it below the root if it is an absolute path to there."""
    bodies = [body]
    if body.startswith("/") and components:
        for rest in _remainders(tuple(body[1:].split("/")), tuple(components)):
            absolute = "/" + "/".join(rest)
            if any(rest) and absolute not in bodies:
                bodies.append(absolute)
    return bodies


def _remainders(parts: tuple[str, ...], components: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Every way in which leading pattern components use up all components of the root."""
    if not components:
        yield parts
    elif not parts:
        return
    elif parts[0] == "**":
        yield from _remainders(parts, components[1:])
        yield from _remainders(parts[1:], components)
    elif _component(parts[0]).fullmatch(components[0]):
        yield from _remainders(parts[1:], components[1:])


@functools.lru_cache(maxsize=256)
def _component(part: str) -> re.Pattern[str]:
    return re.compile(_regex("/" + part) if part else _NEVER, re.DOTALL)


def _regex(body: str) -> str:
    """A regular expression that matches all of exactly the paths that the pattern names; `_NEVER` if there are none."""
    hidden, classes = _hide(body)
    if not hidden or hidden == "/" or hidden.endswith("/"):
        return _NEVER
    # A slash anywhere anchors, even one in a bracket that was just hidden.
    if "/" in body and "/" not in hidden:
        hidden = "/" + hidden
    if hidden == "**":
        hidden = "*"
    elif hidden.endswith("/**"):
        hidden += "/*"
    # Imported late: it takes longer than an unchanged directory tree does, and most snapshots have no patterns.
    from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern  # noqa: PLC0415

    source: str | None = GitIgnoreSpecPattern.pattern_to_regex(hidden)[0]
    if source is None:
        return _NEVER
    if source == ".":
        return ".+"
    for placeholder, regex in classes.items():
        source = source.replace(placeholder, regex)
    return source


def _hide(body: str) -> tuple[str, dict[str, str]]:
    """The pattern with brackets and escapes replaced by placeholders, and the regular expression of each.

    The first is empty where git would never match anything: an unclosed bracket, a backslash with nothing after it.
    """
    out: list[str] = []
    classes: dict[str, str] = {}

    def hide(regex: str) -> None:
        placeholder = chr(_PLACEHOLDERS + len(classes))
        classes[placeholder] = regex
        out.append(placeholder)

    at = 0
    while at < len(body):
        char = body[at]
        if char == "\\":
            if at + 1 == len(body):
                return "", {}
            hide(re.escape(body[at + 1]))
            at += 2
        elif char == "[":
            regex, at = _bracket(body, at + 1)
            if not regex:
                return "", {}
            hide(regex)
        else:
            # The library takes these for its own: white space at the end, marks of comments and negation.
            if char.isspace() or char in "#!" or _PLACEHOLDERS <= ord(char) <= _PLACEHOLDERS_END:
                hide(re.escape(char))
            else:
                out.append(char)
            at += 1
    return "".join(out), classes


def _bracket(body: str, at: int) -> tuple[str, int]:
    """The regular expression of the bracket whose inside starts at `at`, and where it ends; empty if it is malformed.

    Follows git's wildmatch: `!` or `^` negates, a first `]` is itself, backslash escapes, `[:class:]` works, a range
    the wrong way round is its first character, and nothing ever matches a slash.
    """
    negated = body[at : at + 1] in ("!", "^")
    at += negated
    items: list[str] = []
    first = True
    while first or body[at : at + 1] != "]":
        first = False
        char = body[at : at + 1]
        if char == "[" and body[at + 1 : at + 2] == ":":
            end = body.find("]", at + 2)
            if end < 0:
                return "", at
            if body[end - 1] == ":" and end - 1 > at + 1:
                named = _CLASSES.get(body[at + 2 : end - 1])
                if named is None:
                    return "", at
                items.append(named)
                at = end + 1
                continue
        low, at = _literal(body, at)
        if not low:
            return "", at
        items.append(re.escape(low))
        if body[at : at + 1] == "-" and body[at + 1 : at + 2] not in ("", "]"):
            high, at = _literal(body, at + 1)
            if not high:
                return "", at
            if low <= high:
                items.append(f"{re.escape(low)}-{re.escape(high)}")
    inside = "".join(items)
    if negated:
        return f"[^/{inside}]", at + 1
    return (f"(?!/)[{inside}]" if inside else _NEVER), at + 1


def _literal(body: str, at: int) -> tuple[str, int]:
    """One character, a backslash before it taken off, and the position after it; empty at the end of the pattern."""
    if body[at : at + 1] == "\\":
        at += 1
    return body[at : at + 1], at + 1
