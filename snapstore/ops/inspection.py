"""Inspects a system: every scope of it, and the class of every path."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import xxhash
from blake3 import blake3

from snapstore.flow import Cancellation
from snapstore.fs.filters import Filter, FilterRules
from snapstore.fs.surveycache import SurveyCacheWriter, open_survey
from snapstore.ops.inspected import Inspected
from snapstore.ops.judging import EXCLUDE_PREFIX, GHOST, MOUNT_POINT, OWN_PLACE, Judge
from snapstore.ops.places import Places
from snapstore.ops.progress import Progress
from snapstore.ops.survey import Survey, Surveyed
from snapstore.ops.surveyed import Counts
from snapstore.ops.verdict import Owners
from snapstore.system.capture.accounts import capture_accounts
from snapstore.system.capture.osrelease import capture_os
from snapstore.system.capture.repositories import capture_repositories
from snapstore.system.capture.services import capture_services
from snapstore.system.managers.apk import Apk
from snapstore.system.managers.debreference import DebReference
from snapstore.system.managers.dpkg import Dpkg
from snapstore.system.managers.pacman import Pacman
from snapstore.system.managers.rpm import Rpm
from snapstore.system.managers.rpmkeys import imported_keys
from snapstore.system.packages import Owned, Ownership, PackageManager, Warn
from snapstore.system.record import Row, Scope
from snapstore.system.root import Root
from snapstore.system.rulebook import RuleBook, load_rules
from snapstore.system.schema import SCOPES
from snapstore.system.scopes.accounts import Group, User
from snapstore.system.scopes.files import Class, ClassTotal, Policy, RuleTotal
from snapstore.version import VERSION

_BUILT_IN = {
    GHOST.rule: "its package says that it is made at run time (%ghost)",
    MOUNT_POINT.rule: "another file system is mounted there",
    OWN_PLACE.rule: "the store, or snapstore's own caches and state",
}


def managers(references: tuple[bytes, ...] = (), *, cache: bytes | None = None) -> tuple[PackageManager, ...]:
    """Every dialect there is.

    `references` are directories of .deb files that say more than dpkg's database; what was read of them is kept in the
    directory `cache`.
    """
    return Dpkg(reference=DebReference(references, cache=cache) if references else None), Rpm(), Pacman(), Apk()


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemOptions:
    """Which system, and how it is looked at.

    `root` is where its file system is. `skip_packaged` False stores what packages would bring back as well.
    `enter_mounts` looks into other file systems that are mounted below. `excludes` are gitignore lines, relative to the
    root. `managers` are the dialects to try.
    """

    root: bytes = b"/"
    skip_packaged: bool = True
    enter_mounts: bool = False
    filters: FilterRules = field(default_factory=FilterRules)
    managers: tuple[PackageManager, ...] = field(default_factory=managers)


class Inspection:
    """One look at one root."""

    def __init__(
        self, root: Root, options: SystemOptions, *, cache: bytes, own: Places, progress: Progress,
        cancellation: Cancellation,
    ) -> None:  # fmt: skip
        self._root = root
        self._options = options
        self._cache = cache
        self._progress = progress
        self._cancellation = cancellation
        self._managers = [manager for manager in options.managers if manager.detect(root)]
        self._filter = Filter(options.filters, root=root.path, forced=own)
        self._ownership: Ownership | None = None
        self._database_trouble = False
        self._told: set[tuple[bytes, str]] = set()

    def run(self) -> Inspected:
        """The system as it is. PackageDatabaseError where a database cannot be read; small trouble is a warning."""
        warn = self._progress.warn
        self._progress.phase("inspect")
        packages = [row for manager in self._managers for row in manager.packages(self._root, self._database_warn)]
        decisions = [row for manager in self._managers for row in manager.decisions(self._root, warn)]
        accounts = capture_accounts(self._root, warn)
        users = {row.uid: row.name for row in reversed(accounts) if isinstance(row, User)}
        groups = {row.gid: row.name for row in reversed(accounts) if isinstance(row, Group)}
        rules = load_rules(self._root, [package.name for package in packages], warn)
        self._progress.phase("survey")
        surveyed = self._survey(rules, Owners(users, groups))
        services = capture_services(self._root, self.ownership(), warn)
        by_name: dict[str, Iterable[Row]] = {
            "os": capture_os(self._root, warn),
            "packages": [*packages, *decisions],
            "repos": self._repositories(),
            "users": accounts,
            "services": services,
            "files": surveyed.rows,
            "completeness": self._completeness(surveyed, rules),
        }
        rows = {scope.name: _ordered(scope, by_name[scope.name], warn) for scope in SCOPES}
        skips = {path.removeprefix(b"/"): names for path, names in surveyed.skips.items()}
        return Inspected(rows=rows, skips=skips, users=users, groups=groups)

    def _repositories(self) -> list[Row]:
        rows: list[Row] = list(capture_repositories(self._root, self._progress.warn))
        for manager in self._managers:
            if isinstance(manager, Rpm):
                rows += imported_keys(self._root, self._database_warn)
        return rows

    # -- ownership ----------------------------------------------------------------------------------------------------

    def ownership(self) -> Ownership:
        """The paths that packages own, read at first use."""
        if self._ownership is None:
            self._ownership = Ownership(self._owned())
        return self._ownership

    def _owned(self) -> Iterator[Owned]:
        for manager in self._managers:
            self._cancellation.check()
            yield from manager.owned(self._root, self._database_warn)

    def _database_warn(self, path: bytes, reason: str) -> None:
        self._database_trouble = True
        if (path, reason) not in self._told:
            # A database is asked more than once, and says the same each time.
            self._told.add((path, reason))
            self._progress.warn(path, reason)

    # -- the survey ---------------------------------------------------------------------------------------------------

    def _survey(self, rules: RuleBook, owners: Owners) -> Surveyed:
        options = self._options
        judge = Judge(
            ownership=self.ownership, owners=owners, rules=rules, filters=self._filter,
            enter_mounts=options.enter_mounts, skip_packaged=options.skip_packaged,
        )  # fmt: skip
        tag = self._tag(rules, owners)
        place = os.path.join(self._cache, blake3(self._root.path).hexdigest(16).encode() + b".survey")
        key = blake3(b"survey\0" + self._root.path).digest()
        cache = open_survey(place, key=key, tag=tag)
        records = SurveyCacheWriter(seed=cache.seed)
        survey = Survey(
            self._root, judge, cache=cache, records=records, progress=self._progress, cancellation=self._cancellation
        )
        surveyed = survey.run()
        # With trouble in a database nothing is taken over the next time, so that it is told again.
        records.save(place, key=key, tag=os.urandom(16) if self._database_trouble else tag)
        return surveyed

    def _tag(self, rules: RuleBook, owners: Owners) -> bytes:
        """16 bytes over everything besides the tree itself that verdicts hang on."""
        state = xxhash.xxh3_128(VERSION.encode())
        for manager in self._managers:
            stamp = manager.stamp(self._root)
            state.update(b"%b %d\0" % (manager.name.encode(), len(stamp)))
            state.update(stamp)
        # Where owned paths are hangs on links as well, which may lead anywhere. They are asked for after the stamps, so
        # that a database that changes meanwhile is another one the next time.
        self.ownership()
        state.update(repr(self._root.detours).encode())
        state.update(rules.digest)
        state.update(self._filter.digest)
        state.update(owners.digest)
        state.update(b"%d%d" % (self._options.enter_mounts, self._options.skip_packaged))
        return state.digest()

    def _completeness(self, surveyed: Surveyed, rules: RuleBook) -> list[Row]:
        by_class = {cls: Counts() for cls in Class}
        rows: list[Row] = []
        for (cls, rule), counts in surveyed.counts.items():
            by_class[cls].add(counts)
            if rule:
                reason, source = self._explained(rule, rules)
                rows.append(
                    RuleTotal(
                        rule=rule, cls=cls.value, reason=reason, source=source, files=counts.files,
                        directories=counts.directories, others=counts.others, size=counts.size,
                    )
                )  # fmt: skip
        rows += [
            ClassTotal(
                cls=cls.value, files=counts.files, directories=counts.directories, others=counts.others,
                size=counts.size,
            )
            for cls, counts in by_class.items()
        ]  # fmt: skip
        managers = {manager.name for manager in self._managers}
        rows += [
            Policy(name="skip-packaged", value="yes" if self._options.skip_packaged else "no"),
            Policy(name="all-file-systems", value="yes" if self._options.enter_mounts else "no"),
            Policy(name="managers", value=" ".join(sorted(managers))),
            Policy(name="rules-refused", value=str(rules.refused)),
        ]
        rows += [
            Policy(name=f"not-entered {number}", value=os.fsdecode(path))
            for number, path in enumerate(surveyed.not_entered, start=1)
        ]
        return rows

    @staticmethod
    def _explained(rule: str, rules: RuleBook) -> tuple[str, str]:
        if rule.startswith(EXCLUDE_PREFIX):
            return "left out on request", "--exclude"
        if rule in _BUILT_IN:
            return _BUILT_IN[rule], "snapstore"
        known = rules.by_id(rule)
        return (known.reason, known.source) if known is not None else ("", "")


def _ordered(scope: Scope, rows: Iterable[Row], warn: Warn) -> tuple[Row, ...]:
    """The rows in the order of the scope, none twice."""
    ordered: list[Row] = []
    for row in sorted(rows, key=scope.order):
        if ordered and scope.order(ordered[-1]) == scope.order(row):
            if ordered[-1] != row:
                warn(b"", f"the record of {scope.name} cannot hold two rows for one {scope.table_of(row).tag}")
            continue
        ordered.append(row)
    return tuple(ordered)
