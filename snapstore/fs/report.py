"""What a restore tells about itself while it runs: counts, and trouble with single entries."""

from __future__ import annotations

import errno
import threading
from collections import Counter
from typing import TYPE_CHECKING

from snapstore.errors import TargetError
from snapstore.fs.metadata import reason
from snapstore.model import Warned

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# With these no later file fares better: the restore stops instead of listing every file there is.
_FATAL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM})
_ADVICE = {
    errno.ENOSPC: "make room on the target's file system and restore again",
    errno.EDQUOT: "raise the quota on the target's file system and restore again",
    errno.EROFS: "mount the target's file system for writing",
    errno.EIO: "check the target's disk",
    errno.EMFILE: "allow more open files with `ulimit -n`",
    errno.ENFILE: "the machine allows no more open files",
    errno.ENOMEM: "the machine is out of memory",
}
_KEPT_TROUBLES = 10_000


class Report:
    """Thread-safe counts and troubles. `warn` gets each trouble as it happens, one call at a time.

    `counts` knows: files, bytes, directories, links, others, kept (matched already), skipped (the policy says never),
    sockets (recorded in snapshots, not made), removed, troubles, owners (entries whose owner could not be set).
    """

    def __init__(self, warn: Callable[[bytes, str], None] | None = None) -> None:
        self._lock = threading.Lock()
        self._warn = warn
        self._counts: Counter[str] = Counter()
        self._troubles: list[Warned] = []
        self._owner_reason = ""

    @property
    def counts(self) -> dict[str, int]:
        """How many of each so far."""
        with self._lock:
            return dict(self._counts)

    @property
    def troubles(self) -> tuple[Warned, ...]:
        """The first ten thousand troubles; `counts` has their true number."""
        with self._lock:
            return tuple(self._troubles)

    def count(self, what: str, number: int = 1) -> None:
        """Add to a count."""
        with self._lock:
            self._counts[what] += number

    def trouble(self, path: bytes, why: str) -> None:
        """Record trouble with one entry."""
        with self._lock:
            self._counts["troubles"] += 1
            if len(self._troubles) < _KEPT_TROUBLES:
                self._troubles.append(Warned(path, why))
            if self._warn is not None:
                self._warn(path, why)

    def all_troubles(self, path: bytes, reasons: Iterable[str]) -> None:
        """Record several troubles with one entry."""
        for why in reasons:
            self.trouble(path, why)

    def failed(self, path: bytes, doing: str, failure: OSError) -> None:
        """Record an operation's failure, or raise TargetError where going on is pointless (disk full and the like)."""
        self.raise_if_fatal(path, failure.errno or 0)
        self.trouble(path, f"{doing}: {reason(failure)}")

    def raise_if_fatal(self, path: bytes, number: int) -> None:
        """Nothing, or TargetError for an errno that ends the whole restore."""
        if number in _FATAL:
            shown = path.decode("utf-8", "backslashreplace")
            raise TargetError(f"cannot write {shown}: {errno.errorcode[number]}", advice=_ADVICE[number])

    def owner_failed(self, number: int) -> None:
        """Count one entry whose owner could not be set; `summarise` says so once for all."""
        with self._lock:
            self._counts["owners"] += 1
            self._owner_reason = self._owner_reason or errno.errorcode.get(number, str(number))

    def summarise(self) -> None:
        """Record the trouble that was only counted so far. Call it once, at the end."""
        with self._lock:
            number, why = self._counts["owners"], self._owner_reason
        if number:
            self.trouble(b"", f"the owner of {number} entries could not be set: {why}")
