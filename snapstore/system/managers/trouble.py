"""Trouble with one file of a database, told a bounded number of times."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from snapstore.system.packages import Warn

LIMIT = 20
"""A file of which everything is wrong is not worth more lines than this."""

_SHOWN = 120


class Trouble:
    """Tells of what is wrong with one file: the first reasons as they come, the rest as a number at the end."""

    def __init__(self, warn: Warn, path: bytes) -> None:
        self._warn = warn
        self.path = path
        self.count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.count > LIMIT:
            self._warn(self.path, f"{self.count - LIMIT} more of its records make no sense")

    def __call__(self, reason: str) -> None:
        """Nothing; the reason is told, unless there were too many."""
        self.count += 1
        if self.count <= LIMIT:
            self._warn(self.path, reason)


def shown(raw: bytes) -> str:
    """Text of a hostile file for a message: one line, not long."""
    text = ascii(raw[:_SHOWN].decode("utf-8", "replace"))
    return text if len(raw) <= _SHOWN else text + "…"
