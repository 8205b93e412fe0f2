"""The small objects of a store: what they say of its sessions, and whether they can be believed."""

from __future__ import annotations

import contextlib
import re
from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise

from snapstore.backends import ReadBackend
from snapstore.errors import CorruptObjectError, MissingObjectError, StoreError
from snapstore.format import xml
from snapstore.format.ids import parse_session_id
from snapstore.format.seal import ObjectType
from snapstore.format.smallobject import read_small
from snapstore.format.snapshot import (
    SESSION_NAMESPACE,
    announcement_name,
    final_name,
    tombstone_name,
    write_snapshot,
)
from snapstore.model import SessionId
from snapstore.ops.findings import Findings
from snapstore.store.catalog import Commit, check_tombstone, read_commit
from snapstore.store.verify import reason_of

_NAME = re.compile(r"(?:refs/([0-9a-f]{32})\.(final|forgotten)|sessions/([0-9a-f]{32})\.(open))\Z").match
_LOST_ADVICE = "put the same object from another copy of the store in its place; until then its snapshot is lost"


class Records:
    """Commit records, fences, tombstones and announcements, read in that order, before anything they name is listed.

    `commits` are the records that can be read, by session; `decided` every session that has a final; `unreadable` those
    whose final is damaged or gone; `announced` those that have not ended; `late` those that were decided while the
    store was being looked at, of which nothing is looked at.
    """

    def __init__(self, backend: ReadBackend, findings: Findings, *, store: bytes) -> None:
        self._backend = backend
        self._findings = findings
        self._store = store
        self.commits: dict[SessionId, Commit] = {}
        self.decided: set[SessionId] = set()
        self.unreadable: set[SessionId] = set()
        self.announced: set[SessionId] = set()
        self.late: set[SessionId] = set()
        self._tombstones: set[SessionId] = set()

    def read_finals(self) -> None:
        """Nothing; commits and fences are known, damage is among the findings."""
        finals: list[SessionId] = []
        for listed in self._backend.list("refs/"):
            match = _NAME(listed.name)
            if match is not None and match[1]:
                session = parse_session_id(match[1])
                if match[2] == "final":
                    finals.append(session)
                else:
                    self._tombstones.add(session)
        for session in finals:
            self.decided.add(session)
            self._read_final(session)

    def _read_final(self, session: SessionId) -> None:
        name = final_name(session)
        try:
            commit = read_commit(self._backend, session, store=self._store, forgotten=session in self._tombstones)
        except StoreError as error:
            self.unreadable.add(session)
            self._findings.error(name, reason_of(error, name), advice=_LOST_ADVICE)
            return
        if commit is None:
            return
        self.commits[session] = commit
        with self._findings.about(name):
            _, payload = read_small(self._backend.get(name), ObjectType.FINAL, store=self._store, name=name)
            if write_snapshot(commit.record) != payload:
                raise CorruptObjectError(name, "it is not in canonical form")

    def take(self, name: str) -> bool:
        """Whether an object of that name is one of these; an announcement is noted."""
        match = _NAME(name)
        if match is not None and match[4]:
            self.announced.add(parse_session_id(match[3]))
        return match is not None

    def read_others(self) -> None:
        """Nothing; tombstones and announcements have been read, damage is among the findings."""
        for session in self._tombstones:
            self._read_tombstone(session)
        for session in self.announced:
            self._read_announcement(session)

    def _read_tombstone(self, session: SessionId) -> None:
        name = tombstone_name(session)
        with self._findings.about(name), contextlib.suppress(MissingObjectError):  # A collector may have removed it.
            check_tombstone(self._backend, session, store=self._store)
        if session not in self.decided:
            self._findings.note(name, "the snapshot that it is about has been collected")

    def _read_announcement(self, session: SessionId) -> None:
        name = announcement_name(session)
        try:
            stored = self._backend.get(name)
        except MissingObjectError:
            return  # The session has ended meanwhile.
        with self._findings.about(name):
            header, payload = read_small(stored, ObjectType.ANNOUNCEMENT, store=self._store, name=name)
            root = xml.parse(payload, tag="session", namespace=SESSION_NAMESPACE, name=name)
            if header.session != session or root.get("session") != session.hex():
                raise CorruptObjectError(name, "it is the announcement of another session")

    def find_lost(self, sessions: Iterable[SessionId]) -> None:
        """Nothing; of these sessions, which wrote something, those whose final is gone are among the findings.

        An announcement goes only after its session has been decided. So where there is neither, there was a decision.
        """
        for session in sessions:
            if session in self.decided or session in self.announced:
                continue
            name = final_name(session)
            if self._backend.exists(name):
                self.late.add(session)
            else:
                self.unreadable.add(session)
                self._findings.error(name, "is missing, though its session was decided", advice=_LOST_ADVICE)

    def check_chains(self) -> None:
        """Nothing; each writer's commits follow each other, or a warning says where they do not.

        A gap was left by a commit that someone removed. Those that cannot be read, and those whose tombstone is still
        there, are known and explain as many.
        """
        chains: dict[bytes, list[Commit]] = defaultdict(list)
        for commit in self.commits.values():
            chains[commit.record.writer].append(commit)
        explained = len(self.unreadable) + len(self._tombstones - self.decided)
        for chain in chains.values():
            chain.sort(key=lambda commit: (commit.record.sequence, commit.record.started))
            self._gap(chain[0], chain[0].record.sequence - 1, explained)
            for one, two in pairwise(chain):
                self._follows(one, two, explained)

    def _follows(self, one: Commit, two: Commit, explained: int) -> None:
        name = final_name(two.record.session)
        before = final_name(one.record.session)
        gap = two.record.sequence - one.record.sequence - 1
        if gap < 0:
            advice = "was the state of that writer copied, or put back?"
            self._findings.warning(name, f"it has the same number as {before} of the same writer", advice=advice)
        elif gap == 0 and two.record.previous != one.digest:
            self._findings.warning(name, f"it does not follow {before}, as its number says")
        else:
            self._gap(two, gap, explained)

    def _gap(self, commit: Commit, gap: int, explained: int) -> None:
        if gap > explained:
            self._findings.warning(
                final_name(commit.record.session),
                f"{gap} commits that its writer made before it are gone",
                advice="expected where snapshots were forgotten and collected; otherwise someone removed them",
            )
