"""The rules of sudoers(5), from all files that are read for them."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from snapstore.system.capture.lines import LINE_LIMIT, names_in, numbered_lines, read_file, text_of
from snapstore.system.packages import Warn
from snapstore.system.redaction import redact_text
from snapstore.system.root import Root
from snapstore.system.scopes.accounts import SudoRule

SUDOERS = b"/etc/sudoers"
_DEPTH_LIMIT = 128
_FILES_LIMIT = 4096
_INCLUDE = re.compile(rb"[#@](include|includedir)[ \t]+(.*)\Z", re.DOTALL).match
_PATH = re.compile(rb'"([^"]*)"[ \t]*(?:#.*)?\Z|((?:\\.|[^\s"#\\])+)[ \t]*(?:#.*)?\Z', re.DOTALL).match
_TAG = re.compile(rb"(\b(?:NO)?PASSWD:)")
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
# A quoted string, an escaped character, a user id (#1000, %#1000), a comment, blanks, or anything else.
_TOKEN = re.compile(
    rb'"(?:\\.|[^"\\])*+"?|\\.|(?<![A-Za-z0-9_])%?#-?[0-9]+|(?P<comment>#)|(?P<blank>[ \t]+)|[^"\\#% \t]+|%|\\\Z',
    re.DOTALL,
)


def capture_sudoers(root: Root, warn: Warn) -> list[SudoRule]:
    """The rules that /etc/sudoers and what it includes hold, each with its place in its file: the last match counts.

    None if there is no such file. A file that is included twice is recorded once.
    """
    data = read_file(root, SUDOERS, warn)
    found: dict[bytes, list[SudoRule]] = {}
    if data is not None:
        _take(root, SUDOERS, data, found=found, depth=0, warn=warn)
    return [rule for rules in found.values() for rule in rules]


def _take(root: Root, path: bytes, data: bytes, *, found: dict[bytes, list[SudoRule]], depth: int, warn: Warn) -> None:
    """Nothing; the rules of one file, and of those that it includes, are in `found`."""
    rules: list[SudoRule] = []
    found[path] = rules
    for line in logical_lines(path, data, warn):
        include = _INCLUDE(line)
        if include is None:
            rule = squeeze(line)
            if rule:
                rules.append(SudoRule(file=path, rule=text_of(_without_secrets(rule)), number=len(rules)))
            continue
        stated = _PATH(include[2].strip())
        if stated is None:
            warn(path, "an include names no file that could be understood")
            continue
        name = stated[1] if stated[1] is not None else _ESCAPED.sub(rb"\1", stated[2])
        if b"%h" in name:
            host = (read_file(root, b"/etc/hostname", warn) or b"").strip().partition(b".")[0]
            name = name.replace(b"%h", host)
        target = posixpath.normpath(posixpath.join(posixpath.dirname(path), name))
        if include[1] == b"include":
            targets = [target]
        else:
            # sudo leaves out names that editors and package managers leave behind.
            names = [each for each in names_in(root, target, warn) if b"." not in each and not each.endswith(b"~")]
            targets = [posixpath.join(target, each) for each in names]
        for each in targets:
            _follow(root, each, by=path, found=found, depth=depth, warn=warn)


def _follow(root: Root, path: bytes, *, by: bytes, found: dict[bytes, list[SudoRule]], depth: int, warn: Warn) -> None:
    if path in found:
        warn(path, f"{text_of(by)!r} includes it again, which is not recorded")
        return
    if depth + 1 >= _DEPTH_LIMIT or len(found) >= _FILES_LIMIT:
        warn(path, "it is included too deep, or with too many others, and was not read")
        return
    data = read_file(root, path, warn)
    if data is None:
        warn(path, f"{text_of(by)!r} includes it, and nothing of it was read")
        return
    _take(root, path, data, found=found, depth=depth + 1, warn=warn)


def logical_lines(path: bytes, data: bytes, warn: Warn) -> Iterator[bytes]:
    """The lines of a file, those that end in a backslash joined with the next; comments are still in them."""
    waiting: list[bytes] = []
    size = 0
    for number, line in numbered_lines(path, data, warn):
        size += len(line)
        if size > LINE_LIMIT:
            warn(path, f"the rule that ends in line {number} has more than {LINE_LIMIT} bytes and was not read")
            waiting, size = [], 0
            continue
        # A backslash at the end of a comment continues nothing: the comment ends with its line.
        if (len(line) - len(line.rstrip(b"\\"))) % 2 and not (not waiting and _is_comment(line)):
            waiting.append(line[:-1])
            continue
        yield b" ".join([*waiting, line]).strip()
        waiting, size = [], 0
    if waiting:
        yield b" ".join(waiting).strip()


def _without_secrets(rule: bytes) -> bytes:
    """The rule without what its commands give as passwords; the file itself is among the files."""
    # The words that say whether sudo asks for a password are no names of one.
    parts = _TAG.split(rule)
    return b"".join([part if at % 2 else redact_text(b"", part).rstrip(b"\n") for at, part in enumerate(parts)])


def _is_comment(line: bytes) -> bool:
    stripped = line.lstrip()
    return stripped.startswith(b"#") and not stripped[1:2].isdigit() and _INCLUDE(stripped) is None


def squeeze(line: bytes) -> bytes:
    """A logical line without its comment, each run of blanks outside quotes one blank; empty if nothing is left."""
    parts = []
    for token in _TOKEN.finditer(line):
        if token["comment"] is not None:
            break
        parts.append(b" " if token["blank"] is not None else token[0])
    return b"".join(parts).strip()
