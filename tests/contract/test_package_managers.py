"""What every package manager's dialect gives: the same little system out of any database."""

from __future__ import annotations

import hashlib
import os
import time
from collections import Counter
from pathlib import Path
from typing import cast

import pytest

from snapstore.model import Kind
from snapstore.system.packages import Owned, Ownership
from snapstore.system.root import Root
from snapstore.system.scopes.packagelist import PACKAGES
from tests.contract.packageddatabases import DIALECTS
from tests.contract.packagedroots import (
    ITEMS,
    PACKED,
    UNPACKED,
    Dialect,
    look,
    make_root,
    on_disk,
    stamp_of,
    write,
)


@pytest.fixture(params=DIALECTS, ids=str)
def dialect(request: pytest.FixtureRequest) -> Dialect:
    return cast("Dialect", request.param)


@pytest.fixture
def made(tmp_path: Path, dialect: Dialect) -> Path:
    """The little system, with a database of the dialect."""
    return make_root(tmp_path / "root", dialect)


def detects(root: Path, dialect: Dialect) -> bool:
    with Root(os.fsencode(root)) as opened:
        return dialect.manager().detect(opened)


def refuse(path: bytes, reason: str) -> None:
    raise AssertionError(path, reason)


# -- whether there is a database --------------------------------------------------------------------------------------


def test_an_empty_root_has_no_database(tmp_path: Path, dialect: Dialect) -> None:
    assert not detects(tmp_path, dialect)


def test_the_database_of_another_manager_is_none(tmp_path: Path, dialect: Dialect) -> None:
    others = [other for other in DIALECTS if other.name != dialect.name and not other.slow]
    made = make_root(tmp_path / "root", *others)
    assert detects(made, dialect) == any(other.manager is dialect.manager for other in others)


def test_a_whole_database_is_one(made: Path, dialect: Dialect) -> None:
    assert detects(made, dialect)


@pytest.mark.parametrize("how", ["empty", "cut", "rubbish", "directory", "dangling", "loop"])
def test_a_damaged_database_is_one_too(tmp_path: Path, dialect: Dialect, how: str) -> None:
    database = dialect.database(ITEMS)
    for name in dialect.mains:
        place = tmp_path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if how == "directory":
            place.mkdir()
        elif how in ("dangling", "loop"):
            place.symlink_to("nowhere" if how == "dangling" else place.name)
        else:
            whole = database[name]
            place.write_bytes({"empty": b"", "cut": whole[: len(whole) // 2], "rubbish": b"\xff" * 999}[how])
    assert detects(tmp_path, dialect)


# -- stamps -----------------------------------------------------------------------------------------------------------


def test_a_stamp_stays_as_it_is_in_whatever_order_things_are_read(made: Path, dialect: Dialect) -> None:
    manager = dialect.manager()
    with Root(os.fsencode(made)) as root:
        first = manager.stamp(root)
        list(manager.owned(root, refuse))
        manager.packages(root, refuse)
        assert manager.stamp(root) == first
    with Root(os.fsencode(made)) as root:
        other = dialect.manager()
        other.packages(root, refuse)
        assert other.stamp(root) == first
    assert stamp_of(made, dialect.manager()) == first


def test_a_stamp_is_another_when_any_file_of_the_database_has_other_content(made: Path, dialect: Dialect) -> None:
    time.sleep(0.02)  # so that the kernel's clock has another time for what follows
    for name, data in dialect.database(ITEMS).items():
        before = stamp_of(made, dialect.manager())
        with open(made / name, "r+b") as file:
            file.write(data[::-1])
        os.utime(made / name, ns=(UNPACKED, UNPACKED))
        assert stamp_of(made, dialect.manager()) != before, name


def test_a_stamp_is_another_when_any_file_of_the_database_has_another_time(made: Path, dialect: Dialect) -> None:
    for number, name in enumerate(dialect.database(ITEMS), start=1):
        before = stamp_of(made, dialect.manager())
        os.utime(made / name, ns=(UNPACKED, UNPACKED + number))
        assert stamp_of(made, dialect.manager()) != before, name


def test_a_stamp_is_another_when_any_file_of_the_database_has_another_name(made: Path, dialect: Dialect) -> None:
    for name in dialect.database(ITEMS):
        before = stamp_of(made, dialect.manager())
        (made / name).rename(made / f"{name}.old")
        assert stamp_of(made, dialect.manager()) != before, name


def test_a_stamp_says_nothing_of_the_files_of_packages(made: Path, dialect: Dialect) -> None:
    before = stamp_of(made, dialect.manager())
    write(made, {"usr/bin/tool": b"another", "usr/share/tool/new": b"new"})
    assert stamp_of(made, dialect.manager()) == before


# -- packages ---------------------------------------------------------------------------------------------------------


def test_packages(made: Path, dialect: Dialect) -> None:
    looked = look(made, dialect.manager())
    assert not looked.warned
    found = looked.packages
    order = [(each.name, each.arch, each.version) for each in found]
    assert order == sorted(set(order))
    gone = ["gone"] if dialect.name == "dpkg" else []
    twins = ["twin"] * (len(dialect.twins) - 1)
    assert Counter(each.name for each in found) == Counter([*(packed.name for packed in PACKED), *gone, *twins])
    by_name = {packed.name: packed for packed in PACKED}
    assert {each.manager for each in found} == {dialect.manager().name}
    for each in found:
        PACKAGES.element(each)
        if each.name == "gone":
            assert each.state == "removed"
            continue
        packed = by_name[each.name]
        assert each.state == ("broken" if packed.broken and dialect.states else "installed")
        assert each.held == packed.held
        if not packed.several:
            assert each.reason == ("auto" if packed.automatic else "manual")
        assert each.version.startswith(dialect.tool if each.name == "tool" else packed.version)
    for row in looked.decisions:
        PACKAGES.element(row)


# -- what packages own ------------------------------------------------------------------------------------------------


def test_every_path_is_owned_once_by_each_of_its_packages(made: Path, dialect: Dialect) -> None:
    owned = look(made, dialect.manager()).owned
    found = Counter((each.path, each.package, each.kind is Kind.DIRECTORY) for each in owned)
    assert set(found.values()) == {1}
    expected = {(item.place, name) for item in ITEMS for name in dialect.packages_of(item)}
    paths = {(path, name) for path, name, _ in found}
    assert expected <= paths
    above = {place[:end] or b"/" for place, _ in expected for end in range(len(place)) if place[end : end + 1] == b"/"}
    gone = {b"/etc/gone.conf", b"/etc/gone.ucf"} if dialect.name == "dpkg" else set()
    assert {path for path, _ in paths - expected} <= (above | {b"/bin"} | gone if dialect.parents else set())


def test_paths_are_where_the_root_has_them(made: Path, dialect: Dialect) -> None:
    with Root(os.fsencode(made)) as root:
        for each in dialect.manager().owned(root, refuse):
            assert each.path.startswith(b"/")
            assert not each.path.startswith(b"/bin/")
            assert root.canonical(each.path) == each.path


def test_a_path_never_leads_out_of_the_root(made: Path, dialect: Dialect, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (made / "bin").unlink()
    (made / "bin").symlink_to(outside)
    for each in look(made, dialect.manager()).owned:
        if each.path.endswith(b"/tool") and each.kind is not Kind.DIRECTORY and each.digest is not None:
            # Within the root the link leads to the same names as outside of it, where there is nothing.
            assert each.path == os.fsencode(outside) + b"/tool"
            break
    else:
        raise AssertionError("the tool is gone")


def test_kinds_modes_and_targets_are_those_on_disk_as_far_as_they_are_stated(made: Path, dialect: Dialect) -> None:
    items = {item.place: item for item in ITEMS}
    seen = set()
    for each in look(made, dialect.manager()).owned:
        item = items.get(each.path)
        if item is None or (item.kind is Kind.SYMLINK and each.kind is Kind.DIRECTORY):
            continue  # a directory that leads to another name, as some list it
        seen.add(each.path)
        assert each.kind in (None, item.kind)
        assert each.vouched
        assert each.mode in (None, item.mode)
        if item.kind is Kind.SYMLINK:
            assert each.target in (None, item.content)
        if item.kind is Kind.FILE:
            assert each.digest is not None
            assert each.size in (None, len(item.content))
            assert each.config == item.config
    assert seen == set(items)


def test_the_digest_of_a_file_is_that_of_its_bytes(made: Path, dialect: Dialect) -> None:
    digests = 0
    for each in look(made, dialect.manager()).owned:
        place = on_disk(made, each.path)
        if each.digest is None or not os.path.lexists(place):
            continue
        if os.path.islink(place):
            data = os.readlink(place)
        else:
            with open(place, "rb") as file:
                data = file.read()
        digests += 1
        assert len(each.digest.value) >= 16
        assert hashlib.new(each.digest.algorithm, data).digest().startswith(each.digest.value), each.path
    assert digests >= sum(item.kind is Kind.FILE for item in ITEMS)


def test_setuid_is_known(made: Path, dialect: Dialect) -> None:
    assert [each.mode for each in look(made, dialect.manager()).owned if each.path == b"/usr/bin/raise"] == [0o4755]


def test_directories_that_packages_share_belong_to_both(made: Path, dialect: Dialect) -> None:
    ownership = Ownership(look(made, dialect.manager()).owned)
    assert ownership.packages_of(b"/usr/share/tool") == ("library", "tool")
    assert ownership.packages_of(b"/usr/share/twin/notice") == tuple(sorted(dialect.twins))


def test_whatever_is_owned_has_owned_directories_above_it(made: Path, dialect: Dialect) -> None:
    owned = look(made, dialect.manager()).owned
    ownership = Ownership(owned)
    assert ownership.count == len(owned)
    for each in owned:
        here = each.path
        while here not in (b"", b"/"):
            parent, _, name = here.rpartition(b"/")
            assert name in ownership.inside(parent), here
            here = parent


def test_two_looks_see_the_same(made: Path, dialect: Dialect) -> None:
    def everything(owned: list[Owned]) -> list[str]:
        return sorted(map(repr, owned))

    manager = dialect.manager()
    first, second = look(made, manager), look(made, manager)
    assert (first.packages, first.decisions) == (second.packages, second.decisions)
    assert everything(first.owned) == everything(second.owned) == everything(look(made, dialect.manager()).owned)
