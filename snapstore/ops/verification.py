"""Compares the contents of packaged files with their digests, on all cores, while the survey goes on."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

from snapstore.flow import OrderedStage, worker_count
from snapstore.fs.digests import BUFFER_SIZE, Hashed, Wanted, hash_files
from snapstore.model import Kind
from snapstore.ops.elements import Stat
from snapstore.ops.verdict import Found, Owners, best_match, changed_row, read_capabilities
from snapstore.system.packages import Digest, Owned
from snapstore.system.scopes.files import FileRow

_BATCH_FILES = 512
_BATCH_BYTES = 8 << 20


class Candidate(NamedTuple):
    """A file whose packages agree with all but its content, which has not been looked at yet."""

    name: bytes
    path: bytes
    record: bytes
    info: Stat
    owned: tuple[Owned, ...]
    digests: tuple[Digest, ...]
    hash: bytes


class Outcome(NamedTuple):
    """What came of it: no row for a file that is as packaged. `gone`: there is no such file any more."""

    candidate: Candidate
    row: FileRow | None = None
    warning: str = ""
    gone: bool = False


class _Part(NamedTuple):
    """Some candidates of one directory, which is open as `fd` for them alone; `done` is told of what came of them."""

    fd: int
    candidates: Sequence[Candidate]
    done: Callable[[list[Outcome]], None]


class Verification:
    """A stage that takes candidates by directory. What `done` is given comes in another thread, in order."""

    def __init__(self, owners: Owners) -> None:
        self._owners = owners
        self._buffers = threading.local()
        self._parts: list[_Part] = []
        self._files = self._bytes = 0
        workers = worker_count()
        self._stage: OrderedStage[list[_Part], list[tuple[_Part, list[Outcome]]]] = OrderedStage(
            self._verify, self._deliver, workers=workers, depth=2 * workers + 2
        )

    def put(self, fd: int, candidates: Sequence[Candidate], done: Callable[[list[Outcome]], None]) -> None:
        """Takes candidates of the directory that is open as `fd`; `done` is called once or more, with all of them."""
        first = 0
        size = 0
        for number, candidate in enumerate(candidates):
            size += candidate.info.size
            if size >= _BATCH_BYTES or number - first + 1 >= _BATCH_FILES:
                self._add(fd, candidates[first : number + 1], size, done)
                first, size = number + 1, 0
        if first < len(candidates):
            self._add(fd, candidates[first:], size, done)

    def _add(self, fd: int, candidates: Sequence[Candidate], size: int, done: Callable[[list[Outcome]], None]) -> None:
        self._parts.append(_Part(os.dup(fd), candidates, done))
        self._files += len(candidates)
        self._bytes += size
        if self._files >= _BATCH_FILES or self._bytes >= _BATCH_BYTES or len(self._parts) >= _BATCH_FILES // 8:
            self._flush()

    def _flush(self) -> None:
        parts = self._parts
        self._files = self._bytes = 0
        if parts:
            self._stage.put(parts)  # if it does not take them, they are closed by `close`
            self._parts = []

    def finish(self) -> None:
        """Waits until everything has been looked at."""
        self._flush()
        self._stage.finish()

    def close(self) -> None:
        """Ends the threads; what has not been looked at is dropped."""
        for part in self._parts:
            os.close(part.fd)
        self._parts = []
        self._stage.close()

    # -- in the pool --------------------------------------------------------------------------------------------------

    def _verify(self, parts: list[_Part]) -> list[tuple[_Part, list[Outcome]]]:
        try:
            buffer: bytearray | None = getattr(self._buffers, "buffer", None)
            if buffer is None:
                buffer = self._buffers.buffer = bytearray(BUFFER_SIZE)
            return [(part, self._verify_part(part, buffer)) for part in parts]
        finally:
            for part in parts:
                os.close(part.fd)

    def _verify_part(self, part: _Part, buffer: bytearray) -> list[Outcome]:
        wanted = [
            Wanted(each.name, each.record, tuple({digest.algorithm: None for digest in each.digests}))
            for each in part.candidates
        ]
        hashed = hash_files(part.fd, wanted, buffer)
        return [
            self._outcome(part.fd, candidate, each) for candidate, each in zip(part.candidates, hashed, strict=True)
        ]

    def _outcome(self, fd: int, candidate: Candidate, hashed: Hashed) -> Outcome:
        if hashed.gone:
            return Outcome(candidate, gone=True, warning=f"it vanished before it was verified ({hashed.trouble})")
        attributes: tuple[bytes, ...] = ()
        capabilities = ""
        trouble = hashed.trouble
        if hashed.attributes:
            place = b"/proc/self/fd/%d/%b" % (fd, candidate.name)
            try:
                attributes = tuple(os.fsencode(name) for name in os.listxattr(place, follow_symlinks=False))
                capabilities = read_capabilities(place, attributes)
            except OSError as error:
                trouble = trouble or f"extended attributes: {error.strerror}"
        unread = "it changed while it was verified" if trouble == "changed" else trouble
        found = Found(
            Kind.FILE, candidate.info, attributes=attributes, capabilities=capabilities,
            hashes=None if unread else hashed.values, unread=unread,
        )  # fmt: skip
        record, changes = best_match(candidate.owned, found, self._owners)
        if not changes:
            return Outcome(candidate)
        packages = " ".join(sorted({each.package for each in candidate.owned}))
        row = changed_row(candidate.path, packages, record, changes, found=found, owners=self._owners)
        return Outcome(candidate, row, f"it could not be verified: {unread}" if unread else "")

    @staticmethod
    def _deliver(results: list[tuple[_Part, list[Outcome]]]) -> None:
        for part, outcomes in results:
            part.done(outcomes)
