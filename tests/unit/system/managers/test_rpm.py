"""The dialect as a whole, on databases made of recorded headers."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from snapstore.errors import PackageDatabaseError
from snapstore.model import Kind
from snapstore.system.managers import rpm as module
from snapstore.system.managers.rpm import Rpm
from snapstore.system.managers.rpmdatabase import Database
from snapstore.system.managers.rpmquery import FILES, PACKAGE, Header, Tags, read_answer
from snapstore.system.managers.rpmrecords import SQLITE
from snapstore.system.packages import Owned, Package, PackageManager
from snapstore.system.root import Root, RootError
from tests.rpmanswers import HEADER, RECORDED, Value, answer, bdb, write_sqlite

needs_rpm = pytest.mark.skipif(shutil.which("rpm") is None, reason="the program rpm is not here")
RPM = Rpm()


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    (tmp_path / "var/lib/rpm").mkdir(parents=True)
    with Root(bytes(tmp_path)) as opened:
        yield opened


def unheard(path: bytes, reason: str) -> None:
    """Nothing is to be said."""
    raise AssertionError(path, reason)


def answers(monkeypatch: pytest.MonkeyPatch, *headers: dict[str, Value]) -> None:
    """There is a database, and it gives these headers, whatever it is asked for."""

    def ask(_root: Root, _database: Database, tags: Tags, *_: object) -> list[Header]:
        known = [{tag: value for tag, value in each.items() if tag in tags} for each in headers]
        parts = [answer(number, tags, values) for number, values in enumerate(known, start=1)]
        return list(read_answer(b"".join(parts), tags))

    monkeypatch.setattr(module, "find_databases", lambda *_: [Database(b"/var/lib/rpm/rpmdb.sqlite", SQLITE)])
    monkeypatch.setattr(module, "ask", ask)


def recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is a database, and it gives what was recorded."""

    def ask(_root: Root, _database: Database, tags: Tags, *_: object) -> list[Header]:
        name = {id(PACKAGE): "packages", id(FILES): "files"}[id(tags)]
        return list(read_answer((RECORDED / f"{name}.answer").read_bytes(), tags))

    monkeypatch.setattr(module, "find_databases", lambda *_: [Database(b"/var/lib/rpm/rpmdb.sqlite", SQLITE)])
    monkeypatch.setattr(module, "ask", ask)


def named(name: str, version: str = "1", arch: str = "noarch", **more: Value) -> dict[str, Value]:
    return {"NAME": name.encode(), "VERSION": version.encode(), "RELEASE": b"1", "ARCH": arch.encode(), **more}


def test_it_is_a_package_manager() -> None:
    manager: PackageManager = RPM
    assert manager.name == "rpm"


def test_detection(root: Root, tmp_path: Path) -> None:
    assert not RPM.detect(root)
    (tmp_path / "var/lib/rpm/Packages").touch()
    assert RPM.detect(root)


def test_what_cannot_be_looked_at_is_there(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: bytes, *, follow: bool = False) -> os.stat_result:
        raise RootError(13, "Permission denied", path)

    monkeypatch.setattr(root, "status", refuse)
    assert RPM.detect(root)
    with pytest.raises(PackageDatabaseError, match="/usr/lib/sysimage/rpm cannot be looked into: Permission denied"):
        list(RPM.owned(root, unheard))
    assert RPM.stamp(root)


def test_a_closed_home_of_root_is_told_of(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    status = root.status

    def refuse(path: bytes, *, follow: bool = False) -> os.stat_result | None:
        if path.startswith(b"/root/"):
            raise RootError(13, "Permission denied", path)
        return status(path, follow=follow)

    monkeypatch.setattr(root, "status", refuse)
    told: list[bytes] = []
    assert not RPM.detect(root)
    assert RPM.packages(root, lambda path, _: told.append(path)) == []
    assert told == [b"/root/.rpmdb"]


@pytest.mark.parametrize(
    "path",
    ["var/lib/rpm/rpmdb.sqlite", "var/lib/rpm/rpmdb.sqlite-wal", "root/.rpmdb/Packages", "var/lib/dnf/history.sqlite",
     "etc/dnf/plugins/versionlock.list", "usr/lib/sysimage/libdnf5/packages.toml"],
)  # fmt: skip
def test_the_stamp_differs_when_a_file_does(root: Root, tmp_path: Path, path: str) -> None:
    stamps = [RPM.stamp(root)]
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_bytes(b"a")
    stamps.append(RPM.stamp(root))
    assert RPM.stamp(root) == stamps[-1]
    (tmp_path / path).write_bytes(b"ab")
    stamps.append(RPM.stamp(root))
    os.utime(tmp_path / path, ns=(1, 1))
    stamps.append(RPM.stamp(root))
    assert len(set(stamps)) == 4


def test_recorded_packages(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded(monkeypatch)
    packages = RPM.packages(root, unheard)
    assert len(packages) == 16
    assert packages[0] == Package(
        manager="rpm", name="alpha", version="2:1.0-3", arch="noarch", origin="Örtlich", size=243
    )
    by_name = {each.name: each for each in packages}
    assert by_name["alpha-tools"].source == "alpha"
    assert by_name["epsilon"].arch == "aarch64"
    assert [each.version for each in packages if each.name == "delta"] == ["5.1-1", "5.2-1"]


def test_recorded_owners(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded(monkeypatch)
    owned = list(RPM.owned(root, unheard))
    by_path: dict[bytes, list[Owned]] = {}
    for each in owned:
        by_path.setdefault(each.path, []).append(each)
    assert len(by_path) == 114
    assert [each.package for each in by_path[b"/usr/share/common/shared"]] == ["eta"]
    assert {each.package for each in by_path[b"/usr/share/common/agreed"]} == {"zeta", "eta"}
    assert by_path[b"/usr/share/delta-5.1"][0].package == "delta-5.1-1.noarch"
    assert by_path[b"/dev/alpha-null"][0].kind is Kind.CHARACTER_DEVICE


def test_keys_are_no_packages(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, named("gpg-pubkey", FILENAMES=[b"/a"], FILEMODES=[0o100644]), named("a"))
    assert [each.name for each in RPM.packages(root, unheard)] == ["a"]
    assert list(RPM.owned(root, unheard)) == []


def test_order_and_doubles(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, named("b"), named("a", arch="y"), named("a", "2", "x"), named("a", "1", "x"), named("b"))
    told: list[str] = []
    packages = RPM.packages(root, lambda _, reason: told.append(reason))
    assert [(each.name, each.arch, each.version) for each in packages] == [
        ("a", "x", "1-1"), ("a", "x", "2-1"), ("a", "y", "1-1"), ("b", "noarch", "1-1"),
    ]  # fmt: skip
    assert told == ["b-1-1.noarch is there twice"]


def test_headers_that_are_no_packages_are_told_of(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    files: dict[str, Value] = {"FILENAMES": [b"/a"], "FILEMODES": [0o100644]}
    answers(monkeypatch, {"VERSION": b"1", "RELEASE": b"1", **files}, {"NAME": 3, **files}, named("c"))
    told: list[str] = []
    assert [each.name for each in RPM.packages(root, lambda _, reason: told.append(reason))] == ["c"]
    assert told == ["record 1 is no package: it has no name", "record 2 is no package: NAME is no text"]
    assert [each.package for each in RPM.owned(root, unheard)] == ["record-1", "record-2"]


@pytest.mark.parametrize(
    ("source", "expected"),
    [("alpha-1.0-3.src.rpm", "alpha"), ("a-b-c-1-2.nosrc.rpm", "a-b-c"), ("name-1-1.src.rpm", ""), ("", ""),
     ("(none)", ""), ("x.rpm", "")],
)  # fmt: skip
def test_source_packages(root: Root, monkeypatch: pytest.MonkeyPatch, source: str, expected: str) -> None:
    answers(monkeypatch, named("name", SOURCERPM=source.encode()))
    (package,) = RPM.packages(root, unheard)
    assert package.source == expected


def test_what_other_programs_know(root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, named("a", EPOCH=1, VENDOR=b"Somebody"), named("b", VENDOR=b"Somebody"))
    (tmp_path / "usr/lib/sysimage/libdnf5").mkdir(parents=True)
    (tmp_path / "usr/lib/sysimage/libdnf5/packages.toml").write_text('[packages]\n"a.noarch" = {reason = "User"}\n')
    (tmp_path / "usr/lib/sysimage/libdnf5/nevras.toml").write_text('[nevras]\n"a-1:1-1.noarch" = {from_repo = "r"}\n')
    (tmp_path / "etc/dnf").mkdir(parents=True)
    (tmp_path / "etc/dnf/versionlock.toml").write_text('[[packages]]\nname = "b"\n')
    first, second = RPM.packages(root, unheard)
    assert (first.reason, first.origin, first.held) == ("manual", "r", False)
    assert (second.reason, second.origin, second.held) == ("unknown", "Somebody", True)
    assert len(RPM.decisions(root, unheard)) == 1


@needs_rpm
def test_all_the_way_through(root: Root, tmp_path: Path) -> None:
    write_sqlite(tmp_path / "var/lib/rpm/rpmdb.sqlite", {1: HEADER.read_bytes()})
    assert [(each.name, each.version) for each in RPM.packages(root, unheard)] == [("alpha", "2:1.0-3")]
    owned = list(RPM.owned(root, unheard))
    assert len(owned) == 40
    assert all(each.vouched for each in owned)
    assert {each.digest.algorithm for each in owned if each.digest} == {"sha256"}


@needs_rpm
def test_several_databases_are_one_list(root: Root, tmp_path: Path) -> None:
    (tmp_path / "root/.rpmdb").mkdir(parents=True)
    write_sqlite(tmp_path / "var/lib/rpm/rpmdb.sqlite", {1: HEADER.read_bytes()})
    (tmp_path / "root/.rpmdb/Packages").write_bytes(bdb())
    told: list[str] = []
    packages = RPM.packages(root, lambda _, reason: told.append(reason))
    assert [each.name for each in packages] == ["alpha"]
    assert told == ["alpha-2:1.0-3.noarch is there twice"]
    assert len(list(RPM.owned(root, unheard))) == 80


@needs_rpm
def test_an_altered_header_is_never_taken_for_the_truth(root: Root, tmp_path: Path) -> None:
    altered = HEADER.read_bytes().replace(b"with space\0", b"with\nspace\0")
    write_sqlite(tmp_path / "var/lib/rpm/rpmdb.sqlite", {1: altered})
    told: list[str] = []
    owned = list(RPM.owned(root, lambda _, reason: told.append(reason)))
    assert b"/usr/share/alpha/with\nspace" in {each.path for each in owned}
    assert {(each.package, each.vouched, each.digest, each.kind) for each in owned} == {("alpha", False, None, None)}
    assert told == ["record 1 does not match its own digest, and proves nothing"]
