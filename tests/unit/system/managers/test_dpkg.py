"""dpkg's database, trap by trap: the recorded one of a real system, and small ones that are wrong in one way."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from snapstore.errors import PackageDatabaseError
from snapstore.model import Kind
from snapstore.system.managers.dpkg import Dpkg
from snapstore.system.packages import Digest, Package
from snapstore.system.root import Root
from tests.unit.system.managers.dpkgroots import ADMIN, INFO, Told, by_path, listed, look, made, recorded, stanza, write

MD5 = "0123456789abcdef0123456789ABCDEF"
RAW = bytes.fromhex(MD5)


def packages_of(root: Path) -> tuple[dict[str, Package], Told]:
    told: Told = []
    with Root(os.fsencode(root)) as opened:
        found = Dpkg().packages(opened, lambda path, reason: told.append((path, reason)))
    return {each.name: each for each in found}, told


# -- the recorded database --------------------------------------------------------------------------------------------


def test_recorded_packages(tmp_path: Path) -> None:
    packages, told = packages_of(recorded(tmp_path))
    assert told == []
    assert len(packages) == 8
    assert packages["dash"] == Package(
        manager="dpkg", name="dash", version="0.5.12-2", arch="amd64", reason="auto", size=191 << 10
    )
    assert packages["mount"].source == "util-linux"
    assert packages["libpq-dev"].reason == "manual"
    assert packages["postgresql-common"].arch == "all"
    assert packages["postgresql-common"].reason == "auto"  # apt states the machine's own architecture for it


def test_recorded_files(tmp_path: Path) -> None:
    owned, told = look(recorded(tmp_path))
    assert told == []
    assert len(owned) == 322
    assert all(each.vouched and each.usual for each in owned)
    assert {each.package for each in owned} >= {"dash", "libutempter0:amd64", "pkgconf:amd64"}
    dash = by_path(owned, "dash")
    assert dash[b"/usr/bin/dash"].kind is Kind.FILE  # listed as /bin/dash
    assert dash[b"/usr/share/doc/dash"].kind is Kind.DIRECTORY
    assert dash[b"/usr/bin/sh"].kind is None  # a link, which dpkg does not say
    assert dash[b"/"].kind is Kind.DIRECTORY
    assert dash[b"/bin"]._replace(installed=0) == dash[b"/bin"]._replace(
        kind=Kind.SYMLINK, target=b"usr/bin", installed=0
    )


def test_a_diverted_path_is_where_the_diversion_leads(tmp_path: Path) -> None:
    owned, _ = look(recorded(tmp_path))
    other, own = by_path(owned, "libpq-dev"), by_path(owned, "postgresql-common")
    assert b"/usr/bin/pg_config" not in other
    assert other[b"/usr/bin/pg_config.libpq-dev"].digest == Digest(
        "md5", bytes.fromhex("fc44e4e3d2057bcbe0a408fa6c669935")
    )
    assert own[b"/usr/bin/pg_config"].digest == Digest("md5", bytes.fromhex("51671503dc655e6b0c209893404354bf"))


def test_modes_and_owners_that_are_known(tmp_path: Path) -> None:
    owned, _ = look(recorded(tmp_path))
    base, mount = by_path(owned, "base-files"), by_path(owned, "mount")
    assert [base[path].mode for path in (b"/root", b"/tmp", b"/var/tmp", b"/var/local")] == [
        0o700,
        0o1777,
        0o1777,
        0o2775,
    ]
    assert base[b"/var/local"].group == "staff"
    assert base[b"/etc"].mode is None
    assert mount[b"/usr/bin/mount"].mode == 0o4755  # listed as /bin/mount
    helper = by_path(owned, "libpam-modules-bin")[b"/usr/sbin/unix_chkpwd"]
    assert (helper.mode, helper.user, helper.group) == (0o2755, "root", "shadow")
    postgres = by_path(owned, "postgresql-common")[b"/etc/postgresql"]
    assert (postgres.mode, postgres.user, postgres.group) == (0o755, "postgres", "postgres")


def test_what_ucf_keeps_is_a_configuration_file(tmp_path: Path) -> None:
    owned, _ = look(recorded(tmp_path))
    found = by_path(owned, "postgresql-common")[b"/etc/postgresql-common/createcluster.conf"]
    assert found.config
    assert found.kind is Kind.FILE
    assert found.digest == Digest("md5", bytes.fromhex("fbc910d4bc9889530c92c7e8b101689b"))


def test_nothing_there(tmp_path: Path) -> None:
    with Root(os.fsencode(tmp_path)) as root:
        assert not Dpkg().detect(root)


def test_an_empty_database_is_one(tmp_path: Path) -> None:
    root = made(tmp_path, {ADMIN + b"status": b""})
    with Root(os.fsencode(root)) as opened:
        assert Dpkg().detect(opened)
    assert packages_of(root) == ({}, [])
    assert look(root) == ([], [])


# -- the record of packages -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "state", "held"),
    [
        ("install ok installed", "installed", False),
        ("hold ok installed", "installed", True),
        ("install ok triggers-pending", "installed", False),
        ("install ok triggers-awaited", "installed", False),
        ("install ok unpacked", "broken", False),
        ("install ok half-configured", "broken", False),
        ("install ok half-installed", "broken", False),
        ("install reinstreq installed", "broken", False),
        ("deinstall ok config-files", "removed", False),
    ],
)
def test_states(tmp_path: Path, status: str, state: str, held: bool) -> None:  # noqa: FBT001 - a table's column
    root = made(tmp_path, {ADMIN + b"status": stanza("a", status=status)})
    packages, told = packages_of(root)
    assert told == []
    assert (packages["a"].state, packages["a"].held) == (state, held)


@pytest.mark.parametrize("status", ["install ok", "install ok lost", "keep ok installed", "", "install fine installed"])
def test_an_unknown_state_is_not_believed(tmp_path: Path, status: str) -> None:
    files = {ADMIN + b"status": stanza("a", status=status), INFO + b"a.list": listed(b"/a"), INFO + b"a.md5sums": b""}
    owned, told = look(made(tmp_path, files))
    assert len(told) == 1
    assert [each.vouched for each in owned] == [False, False]


def test_what_is_not_installed_is_no_package(tmp_path: Path) -> None:
    status = stanza("a", status="purge ok not-installed") + stanza("b")
    assert list(packages_of(made(tmp_path, {ADMIN + b"status": status}))[0]) == ["b"]


def test_the_journal_counts(tmp_path: Path) -> None:
    files = {
        ADMIN + b"status": stanza("a") + stanza("b"),
        ADMIN + b"updates/0000": stanza("a", status="install ok half-configured"),
        ADMIN + b"updates/0001": stanza("a", status="install ok unpacked")[:-1] + b"Source: later (2)\n",
        ADMIN + b"updates/tmp.i": stanza("b", status="install ok unpacked"),
    }
    packages, told = packages_of(made(tmp_path, files))
    assert told == []
    assert (packages["a"].state, packages["a"].source) == ("broken", "later")
    assert packages["b"].state == "installed"


def test_several_architectures(tmp_path: Path) -> None:
    same = "Multi-Arch: same\n"
    files = {
        ADMIN + b"status": stanza("lib", arch="amd64", more=same) + stanza("lib", arch="i386", more=same),
        INFO + b"lib:amd64.list": listed(b"/usr", b"/usr/lib", b"/usr/lib/x86", b"/usr/share"),
        INFO + b"lib:amd64.md5sums": f"{MD5}  usr/lib/x86\n".encode(),
        INFO + b"lib:i386.list": listed(b"/usr", b"/usr/lib", b"/usr/lib/i386"),
        INFO + b"lib:i386.md5sums": f"{MD5}  usr/lib/i386\n".encode(),
    }
    owned, told = look(made(tmp_path, files))
    assert told == []
    assert by_path(owned, "lib:amd64")[b"/usr/lib/x86"].digest == Digest("md5", RAW)
    assert by_path(owned, "lib:i386").keys() == {b"/", b"/usr", b"/usr/lib", b"/usr/lib/i386"}


def test_a_removed_package_keeps_its_configuration(tmp_path: Path) -> None:
    conffiles = f"Conffiles:\n /etc/a/b {MD5}\n"
    files = {
        ADMIN + b"status": stanza("a", status="deinstall ok config-files", more=conffiles),
        INFO + b"a.list": listed(b"/etc", b"/etc/a", b"/etc/a/b"),
    }
    root = made(tmp_path, files)
    owned, _ = look(root)
    assert all(each.obsolete and each.optional for each in owned)
    found = by_path(owned, "a")[b"/etc/a/b"]
    assert found.config
    assert found.digest == Digest("md5", RAW)


def test_a_cut_off_status_is_not_believed_in_its_last_record(tmp_path: Path) -> None:
    conffiles = f"Conffiles:\n /etc/b {MD5}\n /etc/c {MD5}\n"
    files = {ADMIN + b"status": stanza("a") + stanza("b", more=conffiles)[:-20]}
    for name in (b"a", b"b", b"lost"):
        files[INFO + name + b".list"] = listed(b"/etc", b"/etc/" + name)
        files[INFO + name + b".md5sums"] = f"{MD5}  etc/".encode() + name + b"\n"
    owned, told = look(made(tmp_path, files))
    reasons = " ".join(reason for _, reason in told)
    assert "the record of b may be cut off" in reasons
    assert "lost.list belongs to no package" in reasons
    assert {each.package: each.vouched for each in owned} == {"a": True, "b": False, "lost": False}


@pytest.mark.parametrize("status", [b"\0\xff\x80garbage" * 99, b"Package a\nStatus\n", b"\x7fELF" + bytes(5000)])
def test_garbage_is_no_database(tmp_path: Path, status: bytes) -> None:
    root = made(tmp_path, {ADMIN + b"status": status})
    with pytest.raises(PackageDatabaseError):
        packages_of(root)
    with pytest.raises(PackageDatabaseError):
        look(root)


def test_lists_without_a_status_are_no_database(tmp_path: Path) -> None:
    root = made(tmp_path, {INFO + b"a.list": listed(b"/a")})
    with pytest.raises(PackageDatabaseError, match="missing"):
        look(root)
    write(root, {ADMIN + b"status": b""})
    with pytest.raises(PackageDatabaseError, match="no package"):
        look(root)


def test_packages_without_an_info_directory_are_no_database(tmp_path: Path) -> None:
    root = made(tmp_path, {ADMIN + b"status": stanza("a")})
    with pytest.raises(PackageDatabaseError, match="info is missing"):
        look(root)


def test_a_package_recorded_twice_is_not_believed(tmp_path: Path) -> None:
    files = {ADMIN + b"status": stanza("a") * 2, INFO + b"a.list": listed(b"/a"), INFO + b"a.md5sums": b""}
    owned, told = look(made(tmp_path, files))
    assert [reason for _, reason in told] == ["a:all is recorded more than once"]
    assert len(owned) == 2
    assert not any(each.vouched for each in owned)


# -- configuration files ----------------------------------------------------------------------------------------------


def test_every_kind_of_configuration_file(tmp_path: Path) -> None:
    conffiles = (
        "Conffiles:\n"
        f" /etc/plain {MD5}\n"
        " /etc/new newconffile\n"
        f" /etc/old {MD5} obsolete\n"
        " /etc/away newconffile remove-on-upgrade\n"
        f" /etc/both {MD5} obsolete remove-on-upgrade\n"
        f" /etc/with a blank {MD5}\n"
        f" /etc/obsolete {MD5}\n"
    )
    files = {
        ADMIN + b"status": stanza("a", more=conffiles),
        INFO + b"a.list": listed(b"/etc", b"/etc/plain", b"/etc/new", b"/etc/with a blank", b"/etc/obsolete"),
        INFO + b"a.md5sums": b"ffffffffffffffffffffffffffffffff  etc/plain\n" + b"0" * 32 + b"  etc/new\n",
        INFO + b"a.conffiles": b"/etc/plain\n/etc/new\nremove-on-upgrade /etc/away\n/etc/with a blank\n/etc/obsolete\n",
    }
    owned, told = look(made(tmp_path, files))
    assert told == []
    found = by_path(owned, "a")
    digest = Digest("md5", RAW)
    shown = {path: (each.digest, each.obsolete, each.optional) for path, each in found.items() if each.config}
    assert shown == {
        b"/etc/plain": (digest, False, False),
        b"/etc/new": (None, False, False),
        b"/etc/old": (digest, True, True),
        b"/etc/away": (None, True, True),
        b"/etc/both": (digest, True, True),
        b"/etc/with a blank": (digest, False, False),
        b"/etc/obsolete": (digest, False, False),
    }
    assert all(each.kind is Kind.FILE and each.vouched for each in found.values() if each.config)


def test_a_configuration_file_that_status_does_not_have(tmp_path: Path) -> None:
    files = {
        ADMIN + b"status": stanza("a"),
        INFO + b"a.list": listed(b"/etc", b"/etc/a", b"/etc/b"),
        INFO + b"a.md5sums": f"{MD5}  etc/a\n{MD5}  etc/b\n".encode(),
        INFO + b"a.conffiles": b"/etc/a\n",
    }
    found = by_path(look(made(tmp_path, files))[0], "a")
    assert (found[b"/etc/a"].config, found[b"/etc/a"].digest, found[b"/etc/a"].vouched) == (True, None, False)
    assert (found[b"/etc/b"].config, found[b"/etc/b"].digest, found[b"/etc/b"].vouched) == (
        False,
        Digest("md5", RAW),
        True,
    )


@pytest.mark.parametrize(
    "line", [f"etc/a {MD5}", "/etc/a", "/etc/a 123", f"/etc/../a {MD5}", f"/{'x' * 5000} {MD5}", f"/etc/a {MD5} new"]
)
def test_a_configuration_file_that_makes_no_sense(tmp_path: Path, line: str) -> None:
    files = {
        ADMIN + b"status": stanza("a", more=f"Conffiles:\n {line}\n"),
        INFO + b"a.list": listed(b"/etc"),
        INFO + b"a.md5sums": b"",
    }
    owned, told = look(made(tmp_path, files))
    assert len(told) == 1
    assert {each.path: each.vouched for each in owned} == {b"/": False, b"/etc": False}


# -- the stamp --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        ADMIN + b"status",
        INFO + b"dash.md5sums",
        INFO + b"new.list",
        ADMIN + b"diversions",
        ADMIN + b"statoverride",
        ADMIN + b"alternatives/awk",
        b"var/lib/apt/extended_states",
        b"var/lib/ucf/registry",
        b"etc/dpkg/dpkg.cfg.d/new",
        b"etc/apt/preferences.d/new",
    ],
)
def test_the_stamp_changes_with_every_file(tmp_path: Path, path: bytes) -> None:
    root = recorded(tmp_path)

    def stamp() -> bytes:
        with Root(os.fsencode(root)) as opened:
            return Dpkg().stamp(opened)

    before = stamp()
    assert stamp() == before
    write(root, {path: b"changed"})
    assert stamp() != before
