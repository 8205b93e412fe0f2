"""What the report of an audit says, as values that its template writes down.

One pass over the paths sorts and counts them. Of every list at most `limit` rows are kept, worrying ones first, and
how many there were is kept with them; all counts are of everything.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from snapstore.cli.reportrows import (
    SEVERE,
    WARN,
    WORRIES,
    Mark,
    package_marks,
    repository_marks,
    user_marks,
    worries,
)
from snapstore.cli.reportsizes import Counts, Place, Segment, counts_of, drawn_bar, largest_places
from snapstore.model import Warned
from snapstore.ops.audit import Audit
from snapstore.system.packages import Package
from snapstore.system.record import Row
from snapstore.system.scopes.accounts import Group, User
from snapstore.system.scopes.files import Class, FileRow, order_of
from snapstore.system.scopes.repositories import Repository, SigningKey
from snapstore.system.scopes.services import Port, Unit

PAGE = 250
_OPEN = 60
"""A list of so few rows is shown open."""
_PERSON = 1000
_NOBODY = 65534
_NOT_ENTERED = "not-entered"

MEANINGS = {
    Class.PRISTINE: "as its package ships it, in every attribute",
    Class.CHANGED: "a package ships it, and it differs",
    Class.GENERATED: "made by a package or while the system runs, by a rule",
    Class.UNMANAGED: "no package knows it, and no rule",
    Class.EXCLUDED: "left out by a rule",
    Class.MISSING: "a package ships it, and it is not there",
}
"""The classes in the order of the report; the last one is not on disk."""

T = TypeVar("T")


class Page(NamedTuple):
    """Some rows of a list: the numbers of the first and last, from 1."""

    first: int
    last: int
    rows: Sequence[Row]


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """The rows shown of a list, and how many there are in all."""

    rows: Sequence[T]
    total: int

    @property
    def hidden(self) -> int:
        """How many are not shown."""
        return self.total - len(self.rows)

    @property
    def open(self) -> bool:
        """Whether it is short enough to be shown without being asked."""
        return self.total <= _OPEN

    def pages(self) -> Iterator[Page]:
        """The rows in pages."""
        for at in range(0, len(self.rows), PAGE):
            rows = self.rows[at : at + PAGE]
            yield Page(at + 1, at + len(rows), rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """Paths that belong together: those of a package, or of a rule (with its reason and source)."""

    name: str
    listing: Listing[FileRow]
    counts: Counts
    severe: int = 0
    reason: str = ""
    source: str = ""

    @property
    def open(self) -> bool:
        """Whether it is shown without being asked."""
        return self.listing.open and bool(self.severe)


class Line(NamedTuple):
    """One line of the completeness proof."""

    cls: str
    meaning: str
    counts: Counts


class Check(NamedTuple):
    """One statement of the proof, and whether it holds."""

    text: str
    good: bool


class Finding(NamedTuple):
    """Something to look at first: how many, what they are, the section that has them, and what finds them there."""

    number: int
    text: str
    section: str
    tone: str
    search: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that the template asks for."""

    audit: Audit
    settings: dict[str, str]
    policies: dict[str, str]
    not_entered: Sequence[bytes]
    lines: Sequence[Line]
    on_disk: Counts
    missing_counts: Counts
    bar: Sequence[Segment]
    checks: Sequence[Check]
    findings: Sequence[Finding]
    counts: dict[str, Counts]
    changed: Sequence[Bundle]
    changed_listing: Listing[FileRow]
    missing: Listing[FileRow]
    unmanaged: Listing[FileRow]
    places: Sequence[Place]
    generated: Sequence[Bundle]
    generated_listing: Listing[FileRow]
    excluded: Sequence[Bundle]
    excluded_listing: Listing[FileRow]
    packages: Listing[Package]
    noted_packages: Listing[Package]
    package_counts: dict[str, int]
    decisions: dict[str, Listing[Row]]
    repositories: Listing[Repository]
    keys: Listing[SigningKey]
    people: Listing[User]
    system_users: Listing[User]
    groups: Listing[Group]
    sudo: Listing[Row]
    own_units: Listing[Unit]
    units: Listing[Unit]
    ports: Listing[Port]
    warnings: Listing[Warned]


class _Paths:
    """The paths of one class: at most `limit` rows, worrying ones before others, and the counts of all."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._worrying: list[tuple[int, FileRow]] = []
        self._others: list[tuple[int, FileRow]] = []
        self.rows = 0
        self.counts = Counts()
        self.bundles: dict[str, list[int]] = {}
        """Of each bundle: rows, worrying rows, files, directories, others, bytes."""

    def add(self, row: FileRow, key: str, *, worrying: bool) -> None:
        kept = self._worrying if worrying else self._others
        if len(kept) < self._limit:
            kept.append((self.rows, row))
        self.rows += 1
        counts = counts_of(row)
        sums = self.bundles.setdefault(key, [0] * 6)
        for at, number in enumerate((1, worrying, *counts)):
            sums[at] += number

    def listing(self) -> Listing[FileRow]:
        """The rows, in their order."""
        kept = self._worrying + self._others[: self._limit - len(self._worrying)]
        return Listing([row for _, row in sorted(kept, key=lambda each: each[0])], self.rows)

    def total(self) -> Counts:
        """Everything that was added."""
        return Counts(*(sum(sums[at] for sums in self.bundles.values()) for at in range(2, 6)))


def report_of(audit: Audit, *, limit: int) -> Report:
    """The report of an audit, with at most `limit` rows in each of its lists."""
    paths = {cls: _Paths(limit) for cls in Class}
    worried: dict[str, Counter[str]] = {name: Counter() for name in WORRIES}
    ordered = True
    last: tuple[object, ...] | None = None
    for row in audit.files:
        order = order_of(row)
        ordered = ordered and (last is None or last < order)
        last = order
        found = worries(row)
        for name in found:
            worried[name][row.cls] += 1
        paths[row.cls].add(row, row.package if row.cls is Class.CHANGED else row.rule, worrying=bool(found))

    totals = {each.cls: Counts(each.files, each.directories, each.others, each.size) for each in audit.totals}
    counts = {cls.value: totals.get(cls, Counts()) for cls in Class}
    lines = [Line(cls.value, meaning, counts[cls]) for cls, meaning in MEANINGS.items() if cls is not Class.MISSING]
    on_disk = Counts()
    for line in lines:
        on_disk = on_disk.plus(line.counts)
    taken = {cls: each.listing() for cls, each in paths.items()}
    outside = [each for each in audit.policies if each.name.startswith(_NOT_ENTERED)]
    checks = _checks(audit, paths, counts, ordered=ordered)
    unmanaged = (row for row in audit.files if row.cls is Class.UNMANAGED)
    own_units = [unit for unit in audit.units if _is_own(unit)]
    people = [user for user in audit.users if user.uid == 0 or _PERSON <= user.uid < _NOBODY]
    known = {user.name for user in people}
    return Report(
        audit=audit,
        settings={each.name: each.value for each in audit.settings},
        policies={each.name: each.value for each in audit.policies if each not in outside},
        not_entered=[os.fsencode(each.value) for each in outside if each.value],
        lines=lines,
        on_disk=on_disk,
        missing_counts=counts[Class.MISSING],
        bar=drawn_bar([(line.cls, line.counts.size) for line in lines]),
        checks=checks,
        findings=_findings(audit, worried, checks),
        counts=counts,
        changed=sorted(
            _bundles(paths[Class.CHANGED], taken[Class.CHANGED], lambda row: row.package),
            key=lambda bundle: (not bundle.severe, bundle.name),
        ),
        changed_listing=taken[Class.CHANGED],
        missing=taken[Class.MISSING],
        unmanaged=taken[Class.UNMANAGED],
        places=largest_places(unmanaged),
        generated=_by_rule(audit, Class.GENERATED, paths, taken),
        generated_listing=taken[Class.GENERATED],
        excluded=_by_rule(audit, Class.EXCLUDED, paths, taken),
        excluded_listing=taken[Class.EXCLUDED],
        packages=_first(audit.packages, limit),
        noted_packages=_first([each for each in audit.packages if package_marks(each)], limit),
        package_counts=_package_counts(audit.packages),
        decisions={
            name: _first(rows, limit)
            for name in ("Diversion", "Override", "Alternative", "Lock")
            if (rows := _rows_named(audit, "packages", name))
        },
        repositories=_first(audit.repositories, limit),
        keys=_first(audit.keys, limit),
        people=_first(people, limit),
        system_users=_first([user for user in audit.users if user.name not in known], limit),
        groups=_first(audit.groups, limit),
        sudo=_first(_rows_named(audit, "users", "SudoRule"), limit),
        own_units=_first(own_units, limit),
        units=_first([unit for unit in audit.units if not _is_own(unit)], limit),
        ports=_first(audit.ports, limit),
        warnings=Listing(audit.warnings[:limit], max(audit.warning_count, len(audit.warnings))),
    )


def _is_own(unit: Unit) -> bool:
    """Whether a unit is as it is because somebody wanted it so, and not only its package."""
    return unit.local or bool(unit.dropins) or unit.state in ("masked", "bad")


def _first(rows: Sequence[T], limit: int) -> Listing[T]:
    return Listing(rows[:limit], len(rows))


def _rows_named(audit: Audit, scope: str, name: str) -> list[Row]:
    return [row for row in audit.scopes.get(scope, ()) if type(row).__name__ == name]


def _package_counts(packages: Iterable[Package]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for package in packages:
        counts[package.state] += 1
        if package.state != "removed":
            counts[package.reason] += 1
        counts["held"] += package.held
    return {name: counts[name] for name in ("installed", "manual", "auto", "unknown", "held", "broken", "removed")}


def _bundles(paths: _Paths, listing: Listing[FileRow], key: Callable[[FileRow], str]) -> Iterator[Bundle]:
    """The rows shown, put together by a key. Keys none of whose rows is shown are left to the count of the list."""
    shown: dict[str, list[FileRow]] = {}
    for row in listing.rows:
        shown.setdefault(key(row), []).append(row)
    for name, rows in shown.items():
        total, severe, *counts = paths.bundles[name]
        yield Bundle(name=name, listing=Listing(rows, total), counts=Counts(*counts), severe=severe)


def _by_rule(
    audit: Audit, cls: Class, paths: dict[Class, _Paths], taken: dict[Class, Listing[FileRow]]
) -> list[Bundle]:
    """The rules of a class, each with what it decided about; the largest first."""
    listed = {bundle.name: bundle for bundle in _bundles(paths[cls], taken[cls], lambda row: row.rule)}
    bundles = []
    for rule in audit.rules:
        if rule.cls != cls:
            continue
        counts = Counts(rule.files, rule.directories, rule.others, rule.size)
        found = listed.pop(rule.rule, None)
        bundles.append(
            Bundle(
                name=rule.rule,
                listing=found.listing if found else Listing((), paths[cls].bundles.get(rule.rule, (0,))[0]),
                counts=counts,
                severe=found.severe if found else 0,
                reason=rule.reason,
                source=rule.source,
            )
        )
    return sorted([*bundles, *listed.values()], key=lambda each: (-each.counts.size, -each.counts.paths, each.name))


def _checks(audit: Audit, paths: dict[Class, _Paths], counts: dict[str, Counts], *, ordered: bool) -> list[Check]:
    """What can be checked of the proof from the audit itself."""
    wrong = [cls.value for cls in Class if cls is not Class.PRISTINE and not _agree(cls, paths[cls], counts[cls])]
    checks = [
        Check("The list is in strict order, so no path is in it twice and none in two classes.", good=True)
        if ordered
        else Check("The list is not in order: a path may be in it twice.", good=False),
        Check(f"What the list says of {' and '.join(wrong)} is not what the totals say.", good=False)
        if wrong
        else Check("Everything in the list, counted again, adds up to the totals of each class.", good=True),
    ]
    by_rule: dict[str, Counts] = {}
    for rule in audit.rules:
        more = Counts(rule.files, rule.directories, rule.others, rule.size)
        by_rule[rule.cls] = by_rule.get(rule.cls, Counts()).plus(more)
    unequal = [cls for cls in (Class.GENERATED, Class.EXCLUDED) if by_rule.get(cls, Counts()) != counts[cls]]
    checks.append(
        Check(f"What the rules say of {' and '.join(unequal)} is not what the totals say.", good=False)
        if unequal
        else Check("What the rules decided adds up to the totals of generated and excluded.", good=True)
    )
    return checks


def _agree(cls: Class, paths: _Paths, counts: Counts) -> bool:
    """Whether list and totals agree; what is missing has no size that could."""
    total = paths.total()
    return total.paths == counts.paths if cls is Class.MISSING else total == counts


def _findings(audit: Audit, worried: dict[str, Counter[str]], checks: Sequence[Check]) -> list[Finding]:
    """What to look at first, the severe before the rest."""
    broken = sum(any(mark.tone == SEVERE for mark in package_marks(each)) for each in audit.packages)
    unsigned = sum(any(mark.tone == SEVERE for mark in repository_marks(each)) for each in audit.repositories)
    marks = [user_marks(user, taken=audit.taken) for user in audit.users]
    open_accounts = sum(Mark("no password", SEVERE) in each for each in marks)
    roots = sum(Mark("number 0", SEVERE) in each for each in marks)
    warned = max(audit.warning_count, len(audit.warnings))
    findings = [
        Finding(sum(not check.good for check in checks), "part of the proof does not hold", "summary", SEVERE),
        *(_worrying(name, worried[name]) for name in WORRIES),
        Finding(broken, "package is broken" if broken == 1 else "packages are broken", "packages", SEVERE),
        Finding(
            unsigned,
            "repository in use is not signed" if unsigned == 1 else "repositories in use are not signed",
            "repositories",
            SEVERE,
        ),
        Finding(
            open_accounts,
            "account has no password" if open_accounts == 1 else "accounts have no password",
            "users",
            SEVERE,
        ),
        Finding(roots, "account other than root has number 0", "users", SEVERE),
        Finding(warned, "warning" if warned == 1 else "warnings", "warnings", WARN),
    ]
    return [finding for finding in findings if finding.number]


def _worrying(name: str, classes: Counter[str]) -> Finding:
    """How many paths have one worry, and the section that has most of them."""
    worry = WORRIES[name]
    number = classes.total()
    cls = classes.most_common(1)[0][0] if number else ""
    section = "changes" if cls == Class.CHANGED else cls
    return Finding(number, worry.one if number == 1 else worry.many, section, SEVERE, worry.mark.text)
