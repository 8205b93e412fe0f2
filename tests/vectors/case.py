"""The form of a should-fail vector."""

from __future__ import annotations

from dataclasses import dataclass

CORRUPT = "CorruptObjectError"
NEWER = "FormatVersionError"


@dataclass(frozen=True, slots=True)
class Case:
    """One vector and what has to become of it."""

    file: str
    reader: str
    data: bytes
    phrase: str
    error: str = CORRUPT
