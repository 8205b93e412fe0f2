"""How a verb tells what it is doing, without knowing who listens."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told from the thread that runs the verb, often; an implementation has to be cheap and must not raise."""

    def phase(self, name: str, *, files: int = 0, size: int = 0) -> None:
        """A new part of the work begins: so many files and bytes are expected, 0 where that is not known."""

    def advance(self, *, files: int = 0, size: int = 0) -> None:
        """So many more files and bytes are done."""

    def at(self, path: bytes) -> None:
        """The work is at this path now."""

    def warn(self, path: bytes, reason: str) -> None:
        """Trouble with one file was recorded and passed over."""


class Silent:
    """Listens to nothing."""

    def phase(self, name: str, *, files: int = 0, size: int = 0) -> None:
        """Nothing."""

    def advance(self, *, files: int = 0, size: int = 0) -> None:
        """Nothing."""

    def at(self, path: bytes) -> None:
        """Nothing."""

    def warn(self, path: bytes, reason: str) -> None:
        """Nothing."""
