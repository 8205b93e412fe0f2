"""What `snapstore audit --json` says of a root, and how that compares with what was done to it."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.system.mutations import SILENT, Mutation, Said

REPOSITORY = Path(__file__).resolve().parents[2]
_CLASSES = ("changed", "missing", "unmanaged", "generated", "excluded")
_LISTED = ("changed", "missing", "unmanaged")
_DONE = (0, 3)
"""Exit codes of an audit that was made, without and with warnings."""


@dataclass(frozen=True, slots=True)
class Report:
    """One audit: the rows of `files` by path, class and rule, and everything else that it printed by message type."""

    rows: Mapping[tuple[bytes, str, str], Mapping[str, Any]]
    others: Mapping[str, Sequence[Mapping[str, Any]]]

    def said_of(self, path: bytes) -> set[Said]:
        """What the report may mean for a path: one thing, or several where rows stand for contents by rule."""
        own = {_said(row) for (here, _, _), row in self.rows.items() if here == path and not row.get("contents")}
        if own:
            return own
        meant: set[Said] = set()
        above = path
        while above not in (b"/", b""):
            above = os.path.dirname(above)
            for row in self._standing(above):
                if not row.get("contents"):
                    return meant | {Said(row["class"])}
                meant.add(Said(row["class"]))
        return meant or {SILENT}

    def _standing(self, path: bytes) -> list[Mapping[str, Any]]:
        return [row for (here, _, _), row in self.rows.items() if here == path and row.get("tree")]


@dataclass(frozen=True, slots=True)
class Score:
    """How a report after mutations compares with the one before.

    `found` are the paths that it lists as what they are and did not list so before; what rules account for is not among
    them. `missed` is what it does not say, `wrong` what it says beside.
    """

    found: frozenset[bytes]
    missed: Mapping[bytes, tuple[Said, frozenset[Said]]]
    wrong: tuple[str, ...] = field(default=())

    @property
    def precision(self) -> float:
        """The part of what was reported that was done; 1.0 of nothing."""
        told = len(self.found) + len(self.wrong)
        return len(self.found) / told if told else 1.0

    @property
    def recall(self) -> float:
        """The part of what was done that was reported; 1.0 of nothing."""
        done = len(self.found) + len(self.missed)
        return len(self.found) / done if done else 1.0


def audit(root: bytes, home: bytes, *, reference: bytes = b"") -> Report:
    """The report of the command as people run it; `home` holds its caches, `reference` .deb files if there are any."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SNAPSTORE", "XDG_"))}
    environment |= {"HOME": os.fsdecode(home), "PYTHONPATH": str(REPOSITORY), "LC_ALL": "C.UTF-8"}
    environment |= {f"XDG_{kind}_HOME": os.path.join(os.fsdecode(home), kind.lower()) for kind in ("CACHE", "STATE")}
    command: list[str | bytes] = [sys.executable, "-m", "snapstore", "--json", "audit", "--root", root]
    command += [word for each in _CLASSES for word in ("--class", each)]
    command += ["--reference", reference] if reference else []
    done = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=600)
    assert done.returncode in _DONE, done.stderr.decode(errors="replace")
    return read_report(done.stdout)


def read_report(printed: bytes) -> Report:
    """The report that JSON lines are."""
    rows: dict[tuple[bytes, str, str], Mapping[str, Any]] = {}
    others: dict[str, list[Mapping[str, Any]]] = {}
    for line in printed.splitlines():
        message = json.loads(line)
        kind = message.pop("message_type")
        if kind == "file":
            key = raw_path(message), message["class"], message.get("rule", "") if message.get("contents") else ""
            assert key not in rows, key
            rows[key] = message
        else:
            others.setdefault(kind, []).append(message)
    return Report(rows, others)


def raw_path(message: Mapping[str, Any]) -> bytes:
    """The path of a message, whatever bytes it has."""
    if "path_b64" in message:
        return base64.b64decode(message["path_b64"], validate=True)
    return os.fsencode(message["path"])


def score(before: Report, after: Report, mutations: Iterable[Mutation]) -> Score:
    """What the second report says that it must say, does not say, and says without cause.

    A row that is new, gone or different has a cause if it names a path of a mutation, or stands for one below it.
    """
    expected: dict[bytes, Said] = {}
    causes: set[bytes] = set()
    for mutation in mutations:
        for path, said in mutation.expected.items():
            assert expected.setdefault(path, said) == said, f"two mutations disagree about {path!r}"
        causes.update(mutation.expected, mutation.beside)
    found, missed = set(), {}
    for path, said in expected.items():
        meant = after.said_of(path)
        listed = said.cls in _LISTED
        if said not in meant or (listed and said in before.said_of(path)):
            missed[path] = said, frozenset(meant)
        elif listed:
            found.add(path)
    wrong = []
    for key in sorted({*before.rows, *after.rows}):
        old, new = before.rows.get(key), after.rows.get(key)
        if old != new and not _has_cause(key[0], new or old or {}, causes):
            wrong.append(f"{key[0]!r}: {_shown(old)} became {_shown(new)}")
    # A path of which nothing may be said must have no row of its own either.
    for path, said in expected.items():
        own = [row for (here, _, _), row in after.rows.items() if here == path and not row.get("contents")]
        if said == SILENT and own:
            wrong.append(f"{path!r}: {_shown(own[0])} although nothing was changed")
    return Score(frozenset(found), {path: each for path, each in missed.items() if each[0] != SILENT}, tuple(wrong))


def _has_cause(path: bytes, row: Mapping[str, Any], causes: set[bytes]) -> bool:
    if path in causes:
        return True
    below = path.rstrip(b"/") + b"/"
    return bool(row.get("tree")) and any(each.startswith(below) for each in causes)


def _said(row: Mapping[str, Any]) -> Said:
    return Said(row["class"], tuple(row.get("changes", ())))


def _shown(row: Mapping[str, Any] | None) -> str:
    return (
        "nothing" if row is None else f"{row['class']} {' '.join(row.get('changes', ()))} {row.get('rule', '')}".strip()
    )
