from __future__ import annotations

import time
from typing import Any

from snapstore.ops.systemdiff import RowChange, compare_rows
from snapstore.system.packages import Package
from snapstore.system.scopes.accounts import USERS, SudoRule
from snapstore.system.scopes.packagelist import PACKAGES


def package(name: str, version: str, arch: str = "amd64") -> Package:
    return Package(manager="dpkg", name=name, version=version, arch=arch)


def name_of(row: Any) -> str:
    return str(row.name)


def test_packages_go_up_and_down_and_come_and_go() -> None:
    before = [package("a", "1"), package("b", "2"), package("c", "1"), package("e", "1", "i386")]
    after = [package("a", "2"), package("b", "1"), package("d", "1"), package("e", "1", "amd64")]
    told = [
        (each.kind, name_of(each.after if each.before is None else each.before))
        for each in compare_rows(PACKAGES, before, after)
    ]
    assert told == [
        (RowChange.UP, "a"), (RowChange.DOWN, "b"), (RowChange.REMOVED, "c"), (RowChange.ADDED, "d"),
        (RowChange.ADDED, "e"), (RowChange.REMOVED, "e"),
    ]  # fmt: skip


def test_of_several_versions_of_a_package_the_others_are_told() -> None:
    (told,) = compare_rows(PACKAGES, [package("linux", "1")], [package("linux", "1"), package("linux", "2")])
    assert (told.kind, told.after) == (RowChange.ADDED, package("linux", "2"))


def test_versions_that_are_none_are_compared_all_the_same() -> None:
    long = "9" * 10_000
    (told,) = compare_rows(PACKAGES, [package("a", "1." + long)], [package("a", "2.²")])
    assert told.kind is RowChange.UP


def test_thousands_of_rows_for_one_thing_take_no_time() -> None:
    rows = [SudoRule(file=b"/etc/sudoers", rule="the same", number=number) for number in range(30_000)]
    began = time.process_time()
    assert [each.kind for each in compare_rows(USERS, rows, rows[1:])] == [RowChange.REMOVED]
    assert time.process_time() - began < 5
