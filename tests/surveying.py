"""A survey of a small tree, with packages made up by the test, and an independent count of what is on disk."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from dataclasses import dataclass, field
from typing import Any

from snapstore.flow import Cancellation
from snapstore.fs.filters import Filter, FilterRules
from snapstore.fs.surveycache import SurveyCacheWriter, open_survey
from snapstore.model import Kind
from snapstore.ops.judging import Judge
from snapstore.ops.survey import Survey, Surveyed
from snapstore.ops.verdict import Owners
from snapstore.system.packages import Digest, Owned, Ownership
from snapstore.system.root import Root
from snapstore.system.rulebook import RuleBook
from snapstore.system.rules import Rule
from snapstore.system.scopes.files import Class, FileRow
from tests.drive import Recorded

KEY = bytes(32)


def packaged(root: bytes, path: bytes, package: str = "pack", **other: Any) -> Owned:
    """The record of what is at a path now."""
    place = root + path
    status = os.lstat(place)
    kind = Kind.DIRECTORY
    values: dict[str, Any] = {"uid": status.st_uid, "gid": status.st_gid}
    if stat.S_ISLNK(status.st_mode):
        kind, values["target"] = Kind.SYMLINK, os.readlink(place)
    elif stat.S_ISREG(status.st_mode):
        kind = Kind.FILE
        with open(place, "rb") as file:
            values["digest"] = Digest("md5", hashlib.md5(file.read(), usedforsecurity=False).digest())
        values["mode"] = stat.S_IMODE(status.st_mode)
    else:
        values["mode"] = stat.S_IMODE(status.st_mode)
    return Owned(path, package, kind=kind)._replace(**{**values, **other})


def everything(root: bytes) -> list[Owned]:
    """Records of all that is in a tree."""
    found = [packaged(root, b"/")._replace(path=b"/")]
    for folder, directories, files in os.walk(root):
        inside = folder[len(root) :]
        found += [packaged(root, inside + b"/" + name) for name in (*directories, *files)]
    return found


def on_disk(root: bytes) -> tuple[int, int, int, int]:
    """(files, directories, others, bytes) of a tree, its top included: counted by nothing that snapstore uses."""
    files, directories, others, size = 0, 1, 0, 0
    for folder, folders, names in os.walk(root):
        for name in (*folders, *names):
            status = os.lstat(os.path.join(folder, name))
            if stat.S_ISDIR(status.st_mode):
                directories += 1
            elif stat.S_ISREG(status.st_mode):
                files += 1
                size += status.st_size
            else:
                others += 1
    return files, directories, others, size


def counted(surveyed: Surveyed) -> tuple[int, int, int, int]:
    """The same from a survey, all classes of what is there together."""
    there = [counts for (cls, _), counts in surveyed.counts.items() if cls is not Class.MISSING]
    return (
        sum(each.files for each in there),
        sum(each.directories for each in there),
        sum(each.others for each in there),
        sum(each.size for each in there),
    )


@dataclass
class Site:
    """A tree to survey. `owned` are the records, `asked` counts how often they were asked for."""

    root: bytes
    cache: bytes
    owned: list[Owned] = field(default_factory=list)
    rules: tuple[Rule, ...] = ()
    excludes: tuple[str, ...] = ()
    tag: bytes = bytes(16)
    skip_packaged: bool = True
    users: dict[int, str] = field(default_factory=lambda: {0: "root"})
    asked: int = 0
    progress: Recorded = field(default_factory=Recorded)

    def make(self, path: bytes, data: bytes | None = b"data", *, mode: int | None = None) -> bytes:
        """A file, or for None a directory, with the directories above it; long settled. Gives its place on disk."""
        place = self.root + path
        os.makedirs(os.path.dirname(place), exist_ok=True)
        if data is None:
            os.makedirs(place, exist_ok=True)
        else:
            with open(place, "wb") as file:
                file.write(data)
        if mode is not None:
            os.chmod(place, mode)
        return place

    def own_all(self) -> None:
        """Everything that is there belongs to a package now."""
        self.owned = everything(self.root)

    def _ownership(self) -> Ownership:
        self.asked += 1
        return Ownership(self.owned)

    def survey(self, *, settled: bool = True, cancellation: Cancellation | None = None) -> Surveyed:
        """What a survey comes to; `settled` has it believe that nothing changed just now."""
        with Root(self.root) as root:
            judge = Judge(
                ownership=self._ownership,
                owners=Owners(self.users, {0: "root"}),
                rules=RuleBook(self.rules, root=root),
                filters=Filter(FilterRules(excludes=self.excludes), root=self.root),
                skip_packaged=self.skip_packaged,
            )
            cache = open_survey(self.cache, key=KEY, tag=self.tag)
            records = SurveyCacheWriter(seed=cache.seed)
            survey = Survey(
                root, judge, cache=cache, records=records, progress=self.progress,
                cancellation=cancellation or Cancellation(),
            )  # fmt: skip
            if settled:
                survey.settled = time.time_ns() + (1 << 50)
            result = survey.run()
            records.save(self.cache, key=KEY, tag=self.tag)
            return result


def rows_by_path(surveyed: Surveyed) -> dict[bytes, FileRow]:
    """The rows by path; of what stands for contents, by the path and an asterisk."""
    return {row.path + (b"/*" if row.contents else b""): row for row in surveyed.rows}
