"""How names of any bytes are shown to a person and written to JSON."""

from __future__ import annotations

import base64
import re

_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_ASCII_PLAIN = re.compile(rb"[ -~]*\Z").match
_REPLACEMENT = "\ufffd"


def shown(name: bytes) -> str:
    r"""The name for a person: printable UTF-8 as it is, everything else escaped, so that no two names look the same.

    A backslash is doubled, control characters and bytes that are not UTF-8 become `\n`, `\x1b`, `\xff`, and other
    characters that do not print (such as those that turn the direction of writing) `\u202e`.
    """
    if _ASCII_PLAIN(name):
        text = name.decode("ascii")
        return text.replace("\\", "\\\\") if "\\" in text else text
    text = name.decode("utf-8", "surrogateescape")
    return "".join("\\\\" if each == "\\" else each if each.isprintable() else _escaped(each) for each in text)


def clean(text: str) -> str:
    """A text that is not a name, such as a message: the same, but backslashes stay as they are."""
    return text if text.isprintable() else "".join(c if c.isprintable() else _escaped(c) for c in text)


def path_fields(path: bytes, *, key: str = "path") -> dict[str, object]:
    """The JSON fields of a name: `key` approximately, and exactly in base64 where that is not the same.

    Whatever does not print is U+FFFD in the first; the second, `key` with `_b64`, is there whenever one was replaced.
    """
    if _ASCII_PLAIN(path):
        return {key: path.decode("ascii")}
    text = path.decode("utf-8", "surrogateescape")
    if text.isprintable():
        return {key: text}
    approximate = "".join(each if each.isprintable() else _REPLACEMENT for each in text)
    return {key: approximate, f"{key}_b64": base64.b64encode(path).decode("ascii")}


def shortened(text: str, width: int) -> str:
    """The text in at most `width` characters: the middle makes way for an ellipsis, the end is kept longest."""
    if len(text) <= width:
        return text
    tail = (width - 1) * 2 // 3
    if tail < 1:
        return text[:width]
    return f"{text[: width - 1 - tail]}…{text[-tail:]}"


def _escaped(char: str) -> str:
    if char in _SHORT:
        return _SHORT[char]
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
