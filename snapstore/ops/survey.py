"""Surveys a root: puts every path on disk in exactly one class, and every packaged path that is not there in another.

The walk takes one directory at a time. What packages own is compared with what they say of it, contents by their
digests (`ops.verification`); what nobody owns gets a label from the rules; and paths with one label are gathered into
spans, so that a tree that is nobody's is one row. A directory that is as it was the last time, while nothing else has
changed that verdicts depend on, is taken over from the cache without looking at what is in it.
"""

from __future__ import annotations

import errno
import os
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import xxhash

from snapstore import kernel
from snapstore.flow import Cancellation
from snapstore.fs.identity import file_system_identity
from snapstore.fs.limits import allow_many_descriptors
from snapstore.fs.statcache import SETTLED_NANOSECONDS
from snapstore.fs.surveycache import UNTRUSTED, SurveyCache, SurveyCacheWriter
from snapstore.model import Kind
from snapstore.ops.ingest import errno_name
from snapstore.ops.judging import CHANGED, Directory, Judge
from snapstore.ops.progress import Progress
from snapstore.ops.surveyed import MERGED, SPANNED, Counts, Share, Span, Sub, joined, unpack_share
from snapstore.ops.verdict import is_settled
from snapstore.ops.verification import Outcome, Verification
from snapstore.system.packages import Warn
from snapstore.system.root import Root
from snapstore.system.scopes.files import Class, FileRow, order_of
from snapstore.version import VERSION

DEPTH_LIMIT = 4096
_TELL = 64
"""After so many directories progress is told of."""
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


@dataclass(frozen=True, slots=True, kw_only=True)
class Surveyed:
    """What came of a survey: rows in the order of the scope, counts by class and rule, mount points not entered.

    `skips` are, by directory (a path in the root, empty for the top), the names that a snapshot of the system leaves
    out; nothing is said of what lies below those.
    """

    rows: tuple[FileRow, ...]
    counts: Mapping[tuple[Class, str], Counts]
    not_entered: tuple[bytes, ...]
    skips: Mapping[bytes, frozenset[bytes]]


class _Level:
    """One directory being judged: its share, and what the cache will know it by."""

    __slots__ = ("entry_kept", "fingerprint", "open", "settled", "share", "warnings")

    def __init__(self, share: Share, fingerprint: bytes, *, settled: bool, entry_kept: bool) -> None:
        self.share = share
        self.fingerprint = fingerprint
        self.settled = settled
        self.entry_kept = entry_kept
        self.open = 0
        self.warnings: list[tuple[bytes, str]] = []


class Survey:
    """One root, surveyed once. `settled` is the time, in nanoseconds, before which a change is certain to be seen."""

    def __init__(
        self, root: Root, judge: Judge, *, cache: SurveyCache, records: SurveyCacheWriter, progress: Progress,
        cancellation: Cancellation,
    ) -> None:  # fmt: skip
        self._root = root
        self._judge = judge
        self._cache = cache
        self._records = records
        self._progress = progress
        self._cancellation = cancellation
        self.settled = time.time_ns() - SETTLED_NANOSECONDS
        self._verification = Verification(judge.owners)
        self._done: deque[_Level] = deque()
        self._counts: dict[tuple[Class, str], Counts] = {}
        self._rows: list[FileRow] = []
        self._spans: list[Span] = []
        self._not_entered: list[bytes] = []
        self._infos: list[tuple[bytes, bool, bool, list[bytes]]] = []
        self._contexts: dict[int, bytes] = {}
        self._shares = self._files = self._size = 0
        allow_many_descriptors()

    def run(self) -> Surveyed:
        """The survey. OSError if the root cannot be listed; trouble with what is below is a warning."""
        try:
            self._walk()
            self._verification.finish()
            self._fold()
            self._tell()
        finally:
            self._verification.close()
        rows = [*self._rows, *(span.row() for span in joined(self._spans))]
        rows.sort(key=order_of)
        return Surveyed(
            rows=tuple(rows), counts=self._counts, not_entered=tuple(sorted(self._not_entered)), skips=self._pruned()
        )

    # -- the walk -----------------------------------------------------------------------------------------------------

    def _walk(self) -> None:
        fd = os.dup(self._root.fd)
        stack: list[tuple[int, Iterator[tuple[Sub, Span | None]], bytes]] = [(fd, iter(()), b"")]
        try:
            stack[0] = (fd, iter(self._enter(fd, b"", None, entry_kept=self._top(fd))), b"")
            while stack:
                fd, subs, path = stack[-1]
                following = next(subs, None)
                if following is None:
                    stack.pop()
                    os.close(fd)
                    continue
                sub, span = following
                inner = path + b"/" + sub.name
                if len(stack) >= DEPTH_LIMIT:
                    self._unreadable(inner, span, OSError(errno.ELOOP, os.strerror(errno.ELOOP)))
                    continue
                try:
                    child = os.open(sub.name, _OPEN_DIRECTORY, dir_fd=fd)
                except OSError as error:
                    self._unreadable(inner, span, error)
                    continue
                stack.append((child, iter(()), inner))
                try:
                    stack[-1] = (child, iter(self._enter(child, inner, span, entry_kept=sub.kept)), inner)
                except OSError as error:
                    self._unreadable(inner, span, error)
        finally:
            for fd, _, _ in stack:
                os.close(fd)

    def _unreadable(self, path: bytes, span: Span | None, error: OSError) -> None:
        """What is below is in no class and in no count; a snapshot has the directory, with the reason.

        Unless it is left out with all that is below it: that it cannot be read changes nothing for the snapshot.
        """
        if error.errno not in (errno.ENOENT, errno.ESTALE):
            self._progress.warn(path, errno_name(error.errno or 0))
            kept = span is None or not span.label.whole
            self._infos.append((path, kept, kept, []))

    def _top(self, fd: int) -> bool:
        """Whether a snapshot stores anything of the root directory itself, once that has been judged."""
        status = os.fstat(fd)
        seen = (status.st_ino, status.st_mode, status.st_uid, status.st_gid, status.st_ctime_ns)
        hasher = xxhash.xxh3_128(b"%d %d %d %d %d" % seen, self._cache.seed)
        hasher.update(self._context(fd, status.st_dev))
        fingerprint = hasher.digest()
        cached = self._cache.get(b"/")
        if cached is not None and self._cache.current and cached.fingerprint == fingerprint:
            share = unpack_share(b"/", cached.payload)
            self._records.carry(cached)
        else:
            share = self._judge.top(fd)
            settled = status.st_ctime_ns < self.settled
            self._records.add(b"/", fingerprint if settled else UNTRUSTED, share.pack(), b"")
        self._sum(share, entry_kept=True)
        return share.kept

    def _context(self, fd: int, device: int) -> bytes:
        """What stat records say nothing of and all that is remembered hangs on: this release, the file system."""
        context = self._contexts.get(device)
        if context is None:
            context = self._contexts[device] = VERSION.encode() + b"\0" + file_system_identity(fd)
        return context

    def _enter(self, fd: int, path: bytes, span: Span | None, *, entry_kept: bool) -> list[tuple[Sub, Span | None]]:
        """The subdirectories to enter, each with its span, once the open directory has been judged."""
        self._cancellation.check()
        self._fold()
        names, records, devices, newest = kernel.scan_directory(fd)
        hasher = xxhash.xxh3_128(records, self._cache.seed)
        hasher.update(names)
        context = self._context(fd, devices[0])
        hasher.update(context)
        if span is not None:
            hasher.update(span.context)
        fingerprint = hasher.digest()
        cached = self._cache.get(path)
        if cached is not None and self._cache.current and cached.fingerprint == fingerprint:
            share = unpack_share(path, cached.payload)
            self._records.carry(cached)
            self._sum(share, entry_kept=entry_kept)
        else:
            self._progress.at(path)
            share = Share(path)
            level = _Level(share, fingerprint, settled=newest < self.settled, entry_kept=entry_kept)
            verified = b"" if cached is None else cached.verified
            directory = Directory(
                fd, path, names, records, devices=devices, span=span, verified=verified, context=context
            )
            candidates = self._judge.directory(directory, share, seed=self._cache.seed, warn=self._teller(level))
            level.open = len(candidates)
            if candidates:
                self._verification.put(fd, candidates, lambda outcomes: self._verified(level, outcomes))
            else:
                self._done.append(level)
        self._spans += share.spans
        if span is not None:
            span.below.add(share.merged)
        return [(sub, self._span(sub, span, share)) for sub in share.subs]

    def _teller(self, level: _Level) -> Warn:
        """Tells of trouble in a directory, which then has to be looked at again the next time."""

        def warn(path: bytes, reason: str) -> None:
            level.settled = False
            self._progress.warn(path, reason)

        return warn

    @staticmethod
    def _span(sub: Sub, around: Span | None, share: Share) -> Span | None:
        if sub.how == SPANNED:
            return share.spans[sub.span]
        return around if sub.how == MERGED else None

    # -- what is done -------------------------------------------------------------------------------------------------

    def _verified(self, level: _Level, outcomes: list[Outcome]) -> None:
        """Takes what came of candidates; in the thread of the stage, which alone touches the share until it is done."""
        share = level.share
        for candidate, row, warning, gone in outcomes:
            if warning:
                level.warnings.append((candidate.path, warning))
                level.settled = False
            if gone:
                continue
            if row is None:
                self._judge.pristine(share, candidate.name, candidate.info.size)
                if is_settled(candidate.info, self.settled):
                    share.verified += candidate.hash
            else:
                share.count(CHANGED, Kind.FILE, candidate.info.size)
                share.rows.append(row)
                share.kept = True
        level.open -= len(outcomes)
        if not level.open:
            self._done.append(level)

    def _fold(self) -> None:
        """Takes the directories that are done into the whole."""
        done = self._done
        while done:
            level = done.popleft()
            share = level.share
            for path, reason in level.warnings:
                self._progress.warn(path, reason)
            fingerprint = level.fingerprint if level.settled else UNTRUSTED
            self._records.add(share.path, fingerprint, share.pack(), bytes(share.verified))
            self._sum(share, entry_kept=level.entry_kept)

    def _sum(self, share: Share, *, entry_kept: bool) -> None:
        files = size = 0
        for key, counts in share.counts.items():
            known = self._counts.get(key)
            if known is None:
                known = self._counts[key] = Counts()
            known.add(counts)
            files += counts.files
            size += counts.size
        self._files += files
        self._size += size
        self._shares += 1
        if self._shares % _TELL == 0:
            self._tell()
        self._rows += share.rows
        self._not_entered += share.not_entered
        if share.skips or not entry_kept:
            self._infos.append((share.path, share.kept, entry_kept, share.skips))

    def _tell(self) -> None:
        self._progress.advance(files=self._files, size=self._size)
        self._files = self._size = 0

    def _pruned(self) -> dict[bytes, frozenset[bytes]]:
        """The names to leave out by directory, once directories without anything to store are left out as well."""
        skips: dict[bytes, set[bytes]] = {}
        kept: set[bytes] = set()
        for path, holds, entry_kept, names in sorted(self._infos, key=lambda info: info[0].count(b"/"), reverse=True):
            if path == b"/":
                continue
            parent, _, name = path.rpartition(b"/")
            if holds or entry_kept or path in kept or not path:
                kept.add(parent)
                skips.setdefault(path, set()).update(names)
            else:
                skips.pop(path, None)
                skips.setdefault(parent, set()).add(name)
        return {path: frozenset(names) for path, names in skips.items() if names}
