"""What a check has found, gathered object by object."""

from __future__ import annotations

import enum
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from snapstore.errors import StoreError
from snapstore.model import Snapshot
from snapstore.store.verify import reason_of

_KEPT = 4
"""So many messages about one object are kept in full."""

_PACK_ADVICE = "put the same object from another copy of the store in its place; nothing else brings it back"


class Severity(enum.StrEnum):
    """How bad it is: an error loses data, a warning may, a note does not."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


_ORDER = (Severity.ERROR, Severity.WARNING, Severity.NOTE)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about one object: how bad, the object's name, what is the matter (a clause), and what to do."""

    severity: Severity
    name: str
    message: str
    advice: str = ""


@dataclass(slots=True)
class _About:
    messages: list[str] = field(default_factory=list)
    more: int = 0
    advice: str = ""
    needed: int = 0
    example: str = ""
    last: bytes = b""


class Findings:
    """Takes findings in any order; of the same object and severity there is one in the end. One thread at a time."""

    def __init__(self) -> None:
        self._about: dict[tuple[Severity, str], _About] = {}

    def error(self, name: str, message: str, *, advice: str = "") -> None:
        """The object is damaged or missing."""
        self._add(Severity.ERROR, name, message, advice or (_PACK_ADVICE if name.startswith("packs/") else ""))

    def warning(self, name: str, message: str, *, advice: str = "") -> None:
        """The object is not as it should be, and nothing is lost for certain."""
        self._add(Severity.WARNING, name, message, advice)

    def note(self, name: str, message: str, *, advice: str = "") -> None:
        """Worth knowing."""
        self._add(Severity.NOTE, name, message, advice)

    def _add(self, severity: Severity, name: str, message: str, advice: str) -> None:
        about = self._about.setdefault((severity, name), _About())
        about.advice = about.advice or advice
        if message in about.messages:
            return
        if len(about.messages) < _KEPT:
            about.messages.append(message)
        else:
            about.more += 1

    def needed(self, name: str, snapshot: Snapshot, path: bytes) -> None:
        """Notes that a path needs the object, which an error was or will be found about; calls in a row count once."""
        about = self._about.setdefault((Severity.ERROR, name), _About())
        about.needed += path != about.last
        about.last = path
        if not about.example:
            about.example = f"{os.fsdecode(path)!r} of snapshot {snapshot.id[:8]}"

    @contextmanager
    def about(self, name: str, *, advice: str = "") -> Iterator[None]:
        """Turns a StoreError that the block raises into an error about the object of that name."""
        try:
            yield
        except StoreError as error:
            self.error(name, reason_of(error, name), advice=advice)

    def result(self) -> tuple[Finding, ...]:
        """The findings, errors first, by name."""
        found = []
        for (severity, name), about in sorted(
            self._about.items(), key=lambda item: (_ORDER.index(item[0][0]), item[0][1])
        ):
            message = "; ".join(about.messages)
            if about.more:
                message += f"; and {about.more} more"
            if about.needed:
                many = "1 path needs it," if about.needed == 1 else f"{about.needed} paths need it, such as"
                message += f"; {many} {about.example}"
            found.append(Finding(severity, name, message, about.advice))
        return tuple(found)
