"""Shell patterns over raw bytes, as fnmatch(3) without flags reads them, compiled so that none takes long to match."""

from __future__ import annotations

import re
from collections.abc import Callable

PATTERN_LIMIT = 4096

_CLASSES = {
    b"alnum": bytes.isalnum,
    b"alpha": bytes.isalpha,
    b"digit": bytes.isdigit,
    b"lower": bytes.islower,
    b"space": bytes.isspace,
    b"upper": bytes.isupper,
}
_MAGIC = re.compile(rb"[*?\[\\]").search


def is_glob(pattern: bytes) -> bool:
    """Whether a pattern means anything but itself."""
    return _MAGIC(pattern) is not None


def compile_glob(pattern: bytes) -> Callable[[bytes], object]:
    """A function that says whether a whole string matches; `*` and `?` match slashes too.

    ValueError for a pattern of more than PATTERN_LIMIT bytes.
    """
    if len(pattern) > PATTERN_LIMIT:
        raise ValueError(f"a pattern has more than {PATTERN_LIMIT} bytes")
    pieces = [b""]
    at = 0
    while at < len(pattern):
        byte = pattern[at : at + 1]
        at += 1
        if byte == b"*":
            pieces.append(b"")
        elif byte == b"?":
            pieces[-1] += b"."
        elif byte == b"[" and (parsed := _bracket(pattern, at)):
            pieces[-1] += parsed[0]
            at = parsed[1]
        else:
            if byte == b"\\" and at < len(pattern):
                byte = pattern[at : at + 1]
                at += 1
            pieces[-1] += re.escape(byte)
    first, *rest = pieces
    if not rest:
        return re.compile(first + rb"\Z", re.DOTALL).match
    # The first place where the piece after a star fits is as good as any later one, so nothing is tried twice.
    between = b"".join(b"(?>.*?%b)" % piece for piece in rest[:-1])
    return re.compile(b"%b%b.*%b\\Z" % (first, between, rest[-1]), re.DOTALL).match


def _bracket(pattern: bytes, at: int) -> tuple[bytes, int] | None:
    """The expression for a bracket whose inside begins at `at`, and where it ends; None if it is not closed."""
    negated = pattern[at : at + 1] in (b"!", b"^")
    at += negated
    members: set[int] = set()
    start = at
    while True:
        byte = pattern[at : at + 1]
        if not byte:
            return None
        if byte == b"]" and at > start:
            break
        end = pattern.find(b":]", at + 2) if pattern[at : at + 2] == b"[:" else -1
        if end >= 0 and (member := _CLASSES.get(pattern[at + 2 : end])):
            members.update(each for each in range(128) if member(bytes([each])))
            at = end + 2
            continue
        if byte == b"\\" and at + 1 < len(pattern):
            at += 1
        low = high = pattern[at]
        at += 1
        if pattern[at : at + 1] == b"-" and pattern[at + 1 : at + 2] not in (b"", b"]"):
            at += 1
            if pattern[at : at + 1] == b"\\" and at + 1 < len(pattern):
                at += 1
            high = pattern[at]
            at += 1
        members.update(range(low, high + 1))
    chosen = [each for each in range(256) if (each in members) != negated]
    expression = b"[%b]" % b"".join(b"\\x%02x" % each for each in chosen) if chosen else b"(?!)"
    return expression, at + 1
