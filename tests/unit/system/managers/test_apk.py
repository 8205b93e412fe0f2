"""The dialect of apk: a recorded database with the tree that belongs to it, and records that are wrong in one way."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
from pathlib import Path

import pytest

from snapstore.errors import PackageDatabaseError
from snapstore.model import Kind
from snapstore.system.managers.apk import Apk
from snapstore.system.packages import Digest, Owned, Package
from snapstore.system.root import Root
from snapstore.system.scopes.packagelist import Lock

RECORDED = Path(__file__).resolve().parents[3] / "recorded" / "apk"
INSTALLED = "lib/apk/db/installed"
Warnings = list[tuple[bytes, str]]

# What the recorded packages unpack, links with their targets; every file holds "of /its/path" and a line feed.
DIRECTORIES = {
    "bin": 0o755, "etc": 0o755, "etc/crontabs": 0o755, "etc/init.d": 0o755, "etc/apk": 0o755, "lib": 0o755,
    "proc": 0o555, "root": 0o700, "tmp": 0o1777, "usr": 0o755, "usr/bin": 0o755, "usr/share": 0o755, "var": 0o755,
    "var/empty": 0o555, "var/mail": 0o2775, "var/spool": 0o755, "var/spool/cron": 0o755, "usr/share/grün": 0o755,
    "usr/share/newform": 0o755, "usr/share/half": 0o755, "usr/share/tagged": 0o755,
}  # fmt: skip
FILES = {
    "etc/fstab": 0o644, "etc/motd": 0o644, "etc/shadow": 0o640, "etc/crontabs/root": 0o600,
    "lib/ld-musl-x86_64.so.1": 0o755,
    "usr/bin/getconf": 0o755, "usr/bin/getent": 0o755, "bin/busybox": 0o755, "bin/bbsuid": 0o4111, "bin/ping": 0o755,
    "etc/securetty": 0o644, "etc/udhcpd.conf": 0o644, "etc/init.d/demo": 0o755, "usr/share/grün/a b": 0o644,
    "usr/share/grün/back\\slash": 0o644, "usr/share/newform/short": 0o644, "usr/share/newform/whole": 0o644,
    "usr/share/half/there": 0o644, "usr/share/tagged/file": 0o644,
}  # fmt: skip
LINKS = {
    "var/spool/cron/crontabs": "../../../etc/crontabs",
    "lib/libc.musl-x86_64.so.1": "ld-musl-x86_64.so.1",
    "usr/share/newform/link": "short",
}
UNKNOWN = "usr/share/tagged/old-link"


def write(root: Path, installed: bytes, world: bytes | None = b"demo\n") -> Path:
    """The root, with a database in it."""
    for path, data in ((INSTALLED, installed), ("etc/apk/world", world)):
        if data is not None:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(data)
    return root


def owned(root: Path) -> tuple[list[Owned], Warnings]:
    warnings: Warnings = []
    with Root(os.fsencode(root)) as opened:
        return list(Apk().owned(opened, lambda path, reason: warnings.append((path, reason)))), warnings


def packages(root: Path) -> tuple[list[Package], Warnings]:
    warnings: Warnings = []
    with Root(os.fsencode(root)) as opened:
        return Apk().packages(opened, lambda path, reason: warnings.append((path, reason))), warnings


def refuse(path: bytes, reason: str) -> None:
    raise AssertionError(path, reason)


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """A root with the recorded database, the world, and everything that the packages unpack."""
    for path in DIRECTORIES:
        (tmp_path / path).mkdir(parents=True, exist_ok=True)
    for path in FILES:
        (tmp_path / path).write_text(f"of /{path}\n", encoding="utf-8")
    for path, target in LINKS.items():
        (tmp_path / path).symlink_to(target)
    (tmp_path / "lib/apk/db").mkdir(parents=True)
    shutil.copy(RECORDED / "installed", tmp_path / INSTALLED)
    shutil.copy(RECORDED / "world", tmp_path / "etc/apk/world")
    return tmp_path


def test_the_recorded_packages(recorded: Path) -> None:
    found, warnings = packages(recorded)
    assert not warnings
    assert [
        (each.name, each.version, each.reason, each.held, each.state, each.source, each.origin) for each in found
    ] == [
        (".build-deps", "20231101.101010", "manual", True, "installed", "", ""),
        ("alpine-baselayout", "3.4.3-r2", "manual", False, "installed", "", ""),
        ("busybox", "1.36.1-r5", "manual", False, "installed", "", ""),
        ("half", "2.0-r1", "auto", False, "broken", "", ""),
        ("iputils", "20221126-r2", "manual", False, "installed", "", ""),
        ("musl", "1.2.4-r2", "auto", False, "installed", "", ""),
        ("musl-utils", "1.2.4-r2", "manual", True, "installed", "musl", ""),
        ("newform", "1.0-r0", "auto", False, "installed", "", ""),
        ("tagged", "0.1-r0", "manual", False, "installed", "", "testing"),
    ]
    assert {(each.name, each.size) for each in found if each.size != 4096} == {
        ("alpine-baselayout", 331776), ("musl", 667648), (".build-deps", 0),
    }  # fmt: skip
    assert {each.arch for each in found} == {"x86_64", "noarch"}


def test_every_digest_of_the_recorded_database_is_that_of_the_tree(recorded: Path) -> None:
    found, warnings = owned(recorded)
    assert not warnings
    by_path = {os.fsdecode(each.path[1:]): each for each in found}
    assert set(by_path) == {*DIRECTORIES, *FILES, *LINKS, UNKNOWN}
    for path, each in by_path.items():
        place = recorded / path
        if path in DIRECTORIES:
            assert (each.kind, each.mode, each.digest, each.vouched) == (Kind.DIRECTORY, DIRECTORIES[path], None, True)
            continue
        assert each.kind is None
        if path == UNKNOWN:
            assert (each.digest, each.vouched) == (None, False)
            continue
        assert each.digest is not None
        assert each.vouched
        assert each.mode == FILES.get(path, 0o777)
        raw = os.fsencode(os.readlink(place)) if path in LINKS else place.read_bytes()
        assert hashlib.new(each.digest.algorithm, raw).digest().startswith(each.digest.value)


def test_owners_capabilities_and_kinds_of_digest(recorded: Path) -> None:
    by_path = {each.path: each for each in owned(recorded)[0]}
    assert (by_path[b"/etc/shadow"].uid, by_path[b"/etc/shadow"].gid) == (0, 42)
    assert by_path[b"/var/mail"].gid == 12
    assert by_path[b"/bin/ping"].capabilities is None
    assert by_path[b"/bin/busybox"].capabilities == ""
    kinds = {path: (each.digest.algorithm, len(each.digest.value)) for path, each in by_path.items() if each.digest}
    assert kinds[b"/bin/busybox"] == ("sha1", 20)
    assert kinds[b"/usr/share/newform/short"] == kinds[b"/usr/share/newform/link"] == ("sha256", 20)
    assert kinds[b"/usr/share/newform/whole"] == ("sha256", 32)


def test_a_directory_that_another_package_states_is_as_that_one_says(recorded: Path) -> None:
    assert {(each.package, each.mode) for each in owned(recorded)[0] if each.path == b"/root"} == {
        ("alpine-baselayout", 0o700),
        ("busybox", 0o700),
    }


def test_protected_paths(recorded: Path) -> None:
    def config() -> set[bytes]:
        return {each.path for each in owned(recorded)[0] if each.config}

    built_in = {
        b"/etc/fstab",
        b"/etc/motd",
        b"/etc/shadow",
        b"/etc/crontabs/root",
        b"/etc/securetty",
        b"/etc/udhcpd.conf",
    }
    assert config() == built_in
    (recorded / "etc/apk/protected_paths.d").mkdir()
    (recorded / "etc/apk/protected_paths.d/a.list").write_text(
        "# more\n\n-etc/cron*\nbin/b[ab]*\n!/usr/share/*/file/\n@etc/m*\n"
    )
    (recorded / "etc/apk/protected_paths.d/b.conf").write_text("-etc\n")
    (recorded / "etc/apk/protected_paths.d/.b.list").write_text("-etc\n")
    assert config() == (built_in - {b"/etc/crontabs/root", b"/etc/motd"}) | {b"/bin/bbsuid", b"/usr/share/tagged/file"}
    (recorded / "etc/apk/protected_paths.d/c.list").write_text("-etc\n" * 2000)
    assert config() == built_in
    assert len(owned(recorded)[1]) == 1


def test_decisions(recorded: Path) -> None:
    with Root(os.fsencode(recorded)) as root:
        locks = Apk().decisions(root, refuse)
    assert locks == [
        Lock(manager="apk", package=package, rule=rule, file=b"/etc/apk/world")
        for package, rule in (
            (".build-deps", "=20231101.101010"), ("busybox", "<1.37"), ("musl-utils", "=1.2.4-r2"), ("postfix", "!"),
            ("tagged", "@testing"),
        )
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("word", "rule", "held"),
    [
        (b"demo", "", False), (b"demo=1.0-r0", "=1.0-r0", True), (b"demo@edge=1.0", "@edge=1.0", True),
        (b"demo~1", "~1", False), (b"demo>=1", ">=1", False), (b"demo@edge", "@edge", False),
        (b"demo<=1.0", "<=1.0", False),
    ],
)  # fmt: skip
def test_constraints(tmp_path: Path, word: bytes, rule: str, held: bool) -> None:  # noqa: FBT001 - a table's column
    write(tmp_path, b"P:demo\nV:1.0-r0\n\n", word)
    (found,), warnings = packages(tmp_path)
    assert (found.reason, found.held, warnings) == ("manual", held, [])
    with Root(os.fsencode(tmp_path)) as root:
        assert [each.rule for each in Apk().decisions(root, refuse) if isinstance(each, Lock)] == (
            [rule] if rule else []
        )


def test_without_a_world_reasons_are_unknown(tmp_path: Path) -> None:
    write(tmp_path, b"P:demo\nV:1\n\n", None)
    (found,), warnings = packages(tmp_path)
    assert found.reason == "unknown"
    assert len(warnings) == 1
    write(tmp_path, b"P:demo\nV:1\n\n", b"!demo \0 =1 a@ x!y")
    (found,), warnings = packages(tmp_path)
    assert found.reason == "auto"
    assert len(warnings) == 4


@pytest.mark.parametrize("place", ["lib/apk/db/installed.adb", "usr/lib/apk/db/installed.adb"])
def test_a_database_of_version_3_is_refused(tmp_path: Path, place: str) -> None:
    write(tmp_path, b"P:demo\nV:1\n\n")
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).write_bytes(b"ADBdxyz")
    with Root(os.fsencode(tmp_path)) as root:
        assert Apk().detect(root)
    with pytest.raises(PackageDatabaseError, match="version 3"):
        packages(tmp_path)
    with pytest.raises(PackageDatabaseError, match="version 3"):
        owned(tmp_path)


@pytest.mark.parametrize(
    "data", [b"ADB.xyz", b"\0" * 1000, b"rubbish\n\n", b"P:\nV:\n\n", b"p:demo\n\n", b"F:etc\nR:x\n\n"]
)
def test_what_is_no_database_is_refused(tmp_path: Path, data: bytes) -> None:
    write(tmp_path, data)
    with pytest.raises(PackageDatabaseError):
        packages(tmp_path)
    with pytest.raises(PackageDatabaseError):
        owned(tmp_path)


def test_a_database_that_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / INSTALLED).mkdir(parents=True)
    with pytest.raises(PackageDatabaseError, match="cannot be read"):
        packages(tmp_path)


def test_no_database_and_an_empty_one(tmp_path: Path) -> None:
    with Root(os.fsencode(tmp_path)) as root:
        assert not Apk().detect(root)
    write(tmp_path, b"\n\n", b"demo\n")
    assert [len(each) for each in packages(tmp_path)] == [0, 1]
    write(tmp_path, b"\n\n", b"")
    assert packages(tmp_path) == ([], [])
    assert owned(tmp_path) == ([], [])


def test_the_newer_place_is_read_too(tmp_path: Path) -> None:
    (tmp_path / "usr/lib/apk/db").mkdir(parents=True)
    (tmp_path / "usr/lib/apk/db/installed").write_bytes(b"P:demo\nV:1\nF:lib\n\n")
    with Root(os.fsencode(tmp_path)) as root:
        assert Apk().detect(root)
    assert [each.path for each in owned(tmp_path)[0]] == [b"/lib"]


GOOD_DIGEST = "Q1" + base64.b64encode(b"\x01" * 20).decode()
DIGESTS = [
    (GOOD_DIGEST, "", Digest("sha1", b"\x01" * 20)),
    (GOOD_DIGEST, "S", Digest("sha256", b"\x01" * 20)),
    ("Q1" + base64.b64encode(b"\x02" * 32).decode(), "", Digest("sha256", b"\x02" * 32)),
    ("Q2" + base64.b64encode(b"\x02" * 32).decode(), "S", Digest("sha256", b"\x02" * 32)),
    ("X1" + "03" * 20, "", Digest("sha1", b"\x03" * 20)),
    ("X2" + "03" * 32, "", Digest("sha256", b"\x03" * 32)),
]


@pytest.mark.parametrize(("digits", "flags", "digest"), DIGESTS)
def test_digests(tmp_path: Path, digits: str, flags: str, digest: Digest) -> None:
    write(tmp_path, f"P:demo\nV:1\nf:{flags}\nF:bin\nR:x\nZ:{digits}\n\n".encode())
    found, warnings = owned(tmp_path)
    assert (found[0].digest, found[0].vouched, warnings) == (digest, True, [])


@pytest.mark.parametrize(
    "line",
    [
        "Z:", "Z:Q1", "Z:" + GOOD_DIGEST[:-1], "Z:" + GOOD_DIGEST[:-4], "Z:Q2" + GOOD_DIGEST[2:],
        "Z:Q3" + GOOD_DIGEST[2:],
        "Z:Q1" + "*" * 28, "Z:X1" + "0g" * 20, "Z:Q1" + "A" * 28, "Z:" + "0" * 32, "a:0:0", "a:0:0:8", "a:-1:0:755",
        "a:4294967296:0:755", "a:0:0:77777", "a:0:0:755:", "a:0:0:755:x:y", "no line", "Z" + GOOD_DIGEST, "1:x", "M:x",
    ],
)  # fmt: skip
def test_a_line_that_makes_no_sense_takes_the_digest_away(tmp_path: Path, line: str) -> None:
    good = f"Z:{GOOD_DIGEST}\n" if line[0] != "Z" else ""
    write(tmp_path, f"P:demo\nV:1\nF:bin\nR:x\n{good}{line}\n\nP:other\nV:1\nF:etc\nR:y\nZ:{GOOD_DIGEST}\n\n".encode())
    found, warnings = owned(tmp_path)
    by_path = {each.path: each for each in found}
    assert set(by_path) == {b"/bin", b"/bin/x", b"/etc", b"/etc/y"}
    assert (by_path[b"/bin/x"].digest if line != "M:x" else None, by_path[b"/bin"].vouched) == (None, False)
    assert by_path[b"/bin/x"].vouched is (line == "M:x")
    assert by_path[b"/etc/y"].vouched
    assert len(warnings) == 1


@pytest.mark.parametrize(
    "body",
    ["R:x\nF:bin\n", "M:0:0:755\nF:bin\n", "F:bin\na:0:0:755\n", "F:bin\nZ:" + GOOD_DIGEST + "\n", "F:/bin\nF:bin\n"],
)
def test_lines_out_of_their_places(tmp_path: Path, body: str) -> None:
    write(tmp_path, f"P:demo\nV:1\n{body}\n".encode())
    found, warnings = owned(tmp_path)
    assert [(each.path, each.vouched) for each in found] == [(b"/bin", False)]
    assert len(warnings) == 1


@pytest.mark.parametrize("name", ["../x", "a/b", ".", "..", "", "x" * 5000])
def test_names_that_lead_elsewhere(tmp_path: Path, name: str) -> None:
    write(tmp_path, f"P:demo\nV:1\nF:bin\nR:{name}\nZ:{GOOD_DIGEST}\nF:../../{name}\nR:y\n\n".encode())
    found, warnings = owned(tmp_path)
    assert [(each.path, each.vouched) for each in found] == [(b"/bin", False)]
    assert len(warnings) == 1


def test_a_record_that_was_cut_off(tmp_path: Path) -> None:
    write(
        tmp_path, f"P:one\nV:1\nF:etc\nR:y\nZ:{GOOD_DIGEST}\n\nP:two\nV:1\nF:bin\nR:x\nZ:{GOOD_DIGEST}\nR:sh".encode()
    )
    found, warnings = owned(tmp_path)
    assert {each.path: each.vouched for each in found} == {
        b"/etc": True, b"/etc/y": True, b"/bin": False, b"/bin/x": False, b"/bin/sh": False,
    }  # fmt: skip
    assert len(warnings) == 1
    assert {each.name: each.state for each in packages(tmp_path)[0]} == {"one": "installed", "two": "broken"}


def test_a_record_without_a_name_owns_what_it_owns(tmp_path: Path) -> None:
    write(tmp_path, f"P:demo\nV:1\n\nV:2\nF:bin\nR:x\nZ:{GOOD_DIGEST}\n\nF:etc\n\nP:demo\nV:1\n\n".encode())
    found, warnings = owned(tmp_path)
    assert [(each.path, each.package, each.digest, each.vouched) for each in found] == [
        (b"/bin/x", "record 2", None, False),
        (b"/bin", "record 2", None, False),
        (b"/etc", "record 3", None, False),
    ]
    assert len(warnings) == 2
    found_packages, warnings = packages(tmp_path)
    assert [each.name for each in found_packages] == ["demo"]
    assert len(warnings) == 3


def test_the_top_directory_and_links_on_the_way(tmp_path: Path) -> None:
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "bin").symlink_to("/usr/bin")
    write(tmp_path, b"P:demo\nV:1\nF:\nM:0:0:700\nR:top\nF:bin\nR:x\n\n")
    found = {each.path: each for each in owned(tmp_path)[0]}
    assert set(found) == {b"/", b"/top", b"/bin", b"/usr/bin/x"}
    assert found[b"/"].mode == 0o700


def test_a_database_of_nothing_but_rubbish_records_does_not_flood(tmp_path: Path) -> None:
    write(tmp_path, b"P:demo\nV:1\n\n" + b"x\n\n" * 5000)
    assert len(owned(tmp_path)[1]) < 50


def test_the_stamp_changes_with_whatever_may_matter(tmp_path: Path) -> None:
    def stamp() -> bytes:
        with Root(os.fsencode(tmp_path)) as root:
            return Apk().stamp(root)

    stamps = [stamp()]
    write(tmp_path, b"P:demo\nV:1\n\n")
    stamps.append(stamp())
    assert stamp() == stamps[-1]
    (tmp_path / "etc/apk/world").unlink()
    stamps.append(stamp())
    (tmp_path / "etc/apk/protected_paths.d").mkdir()
    stamps.append(stamp())
    (tmp_path / "etc/apk/protected_paths.d/x.list").write_text("-etc\n")
    stamps.append(stamp())
    (tmp_path / "lib/apk/db/installed.adb").touch()
    stamps.append(stamp())
    assert len(set(stamps)) == len(stamps)
