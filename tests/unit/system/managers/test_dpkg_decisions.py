"""What an administrator told dpkg, apt and ucf: as rows of the scope, and in what it means for files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from snapstore.system.managers.dpkg import Dpkg
from snapstore.system.packages import Digest
from snapstore.system.root import Root
from snapstore.system.scopes.packagelist import PACKAGES, Alternative, Diversion, Lock, Override
from tests.unit.system.managers.dpkgroots import ADMIN, INFO, Told, by_path, listed, look, made, recorded, stanza, write

MD5 = "0123456789abcdef0123456789ABCDEF"
RAW = bytes.fromhex(MD5)


def decisions_of(root: Path) -> tuple[list[object], Told]:
    told: Told = []
    with Root(os.fsencode(root)) as opened:
        found = Dpkg().decisions(opened, lambda path, reason: told.append((path, reason)))
    for row in found:
        PACKAGES.element(row)
    assert len({PACKAGES.order(row) for row in found}) == len(found)
    return found, told


def test_recorded_decisions(tmp_path: Path) -> None:
    root = recorded(tmp_path)
    write(
        root,
        {b"etc/apt/preferences.d/node": b"# why\nPackage: nodejs npm\nPin: origin deb.example\nPin-Priority: 600\n"},
    )
    decisions, told = decisions_of(root)
    assert told == []
    assert Diversion(path=b"/bin/sh", target=b"/bin/sh.distrib", package="dash") in decisions
    assert Override(path=b"/etc/ssl/private", user="root", group="ssl-cert", mode=0o710) in decisions
    assert Alternative(name="awk", link=b"/usr/bin/awk", target=b"/usr/bin/mawk") in decisions  # no package lists it
    assert decisions[-1] == Lock(
        manager="dpkg",
        package="nodejs npm",
        rule="Pin: origin deb.example, Pin-Priority: 600",
        file=b"/etc/apt/preferences.d/node",
    )
    assert len(decisions) == 3 + 3 + 1 + 1


def decided(tmp_path: Path, files: dict[bytes, bytes]) -> Path:
    """A root with one package that has /etc/a, /usr/bin/tool and documentation, and some decisions."""
    paths = [
        b"/bin",
        b"/bin/tool",
        b"/etc",
        b"/etc/a",
        b"/usr",
        b"/usr/share/doc",
        b"/usr/share/doc/a",
        b"/usr/share/doc/a/README",
    ]
    sums = "".join(f"{MD5}  {path}\n" for path in ("bin/tool", "etc/a", "usr/share/doc/a/README"))
    database = {
        ADMIN + b"status": stanza("a") + stanza("other"),
        INFO + b"a.list": listed(*paths),
        INFO + b"a.md5sums": sums.encode(),
    }
    root = made(tmp_path, {**database, INFO + b"other.list": listed(), INFO + b"other.md5sums": b"", **files})
    (root / "usr/bin").mkdir(parents=True)
    (root / "bin").symlink_to("usr/bin")
    return root


@pytest.mark.parametrize(
    ("diversion", "place"),
    [
        (b"/bin/tool\n/bin/tool.real\nother\n", b"/usr/bin/tool.real"),
        (b"/usr/bin/tool\n/usr/bin/tool.real\nother\n", b"/usr/bin/tool.real"),  # the other spelling of the same path
        (b"/bin/tool\n/bin/tool.real\n:\n", b"/usr/bin/tool.real"),
        (b"/bin/tool\n/bin/tool.real\na\n", b"/usr/bin/tool"),
    ],
)
def test_diversions(tmp_path: Path, diversion: bytes, place: bytes) -> None:
    owned, told = look(decided(tmp_path, {ADMIN + b"diversions": diversion}))
    assert told == []
    assert {each.path for each in owned if b"tool" in each.path} == {place}


def test_damaged_diversions(tmp_path: Path) -> None:
    data = b"/bin/tool\n/bin/tool.real\nother\n/x\n/y\nother\n/x\n/z\nother\nx\n/y\nother\n/etc/a\n/etc/b\n"
    root = decided(tmp_path, {ADMIN + b"diversions": data})
    decisions, told = decisions_of(root)
    assert [row.path for row in decisions if isinstance(row, Diversion)] == [b"/bin/tool", b"/x"]
    assert len(told) == 3
    assert b"/usr/bin/tool.real" in {each.path for each in look(root)[0]}


def test_overrides(tmp_path: Path) -> None:
    data = b"root adm 2755 /usr/bin/tool\n#0 #12 600 /etc/a\nnobody root 0700 /nowhere at all\n"
    root = decided(tmp_path, {ADMIN + b"statoverride": data})
    owned, told = look(root)
    assert told == []
    found = by_path(owned, "a")
    tool, file = found[b"/usr/bin/tool"], found[b"/etc/a"]
    assert (tool.mode, tool.user, tool.group, tool.uid, tool.gid) == (0o2755, "root", "adm", None, None)
    assert (file.mode, file.user, file.group, file.uid, file.gid) == (0o600, None, None, 0, 12)
    assert Override(path=b"/nowhere at all", user="nobody", group="root", mode=0o700) in decisions_of(root)[0]


@pytest.mark.parametrize(
    "line", [b"root adm /x", b"root adm 9 /x", b"root adm 10000 /x", b"#x adm 1 /x", b"root adm 755 x", b"\0"]
)
def test_damaged_overrides(tmp_path: Path, line: bytes) -> None:
    root = decided(tmp_path, {ADMIN + b"statoverride": line + b"\nroot adm 2755 /etc/a\nroot"})
    owned, told = look(root)
    assert len(told) == 2
    assert by_path(owned, "a")[b"/etc/a"].mode == 0o2755


def test_an_override_is_stronger_than_what_is_known(tmp_path: Path) -> None:
    root = recorded(tmp_path)
    write(root, {ADMIN + b"statoverride": b"root disk 0750 /usr/bin/mount\n"})
    mount = by_path(look(root)[0], "mount")[b"/usr/bin/mount"]
    assert (mount.mode, mount.group) == (0o750, "disk")


@pytest.mark.parametrize(
    ("configuration", "optional"),
    [
        (b"path-exclude=/usr/share/doc/*\n", {b"/usr/share/doc/a", b"/usr/share/doc/a/README"}),
        (b"path-exclude /usr/share/doc/*\n", {b"/usr/share/doc/a", b"/usr/share/doc/a/README"}),
        (b'path-exclude = "/usr/share/doc/*"\n', {b"/usr/share/doc/a", b"/usr/share/doc/a/README"}),
        (b"path-exclude=/usr/share/doc/*\npath-include=/usr/share/doc/*/READ*\n", {b"/usr/share/doc/a"}),
        (b"path-include=/usr/share/doc/*/README\npath-exclude=/usr/*/READM?\n", {b"/usr/share/doc/a/README"}),
        (b"#path-exclude=*\nno-debsig\npath-excluded=*\n", set()),
        (b"path-exclude=/etc/[!b]\n", {b"/etc/a"}),
        (b"path-exclude=/etc/[^b]\n", {b"/etc/a"}),
        (b"path-exclude=/etc/\\a\n", {b"/etc/a"}),
        (b"path-exclude=/etc/\\*\n", set()),
        (b"path-exclude=[\n", set()),
    ],
)
def test_path_filters(tmp_path: Path, configuration: bytes, optional: set[bytes]) -> None:
    files = {b"etc/dpkg/dpkg.cfg.d/docs": configuration, b"etc/dpkg/dpkg.cfg.d/not.read": b"path-exclude=*\n"}
    owned, told = look(decided(tmp_path, files))
    assert told == []
    assert {each.path for each in owned if each.optional} == optional


def test_dpkg_cfg_is_read_last(tmp_path: Path) -> None:
    files = {b"etc/dpkg/dpkg.cfg": b"path-include=/etc/a\n", b"etc/dpkg/dpkg.cfg.d/z": b"path-exclude=/etc/*\n"}
    assert not any(each.optional for each in look(decided(tmp_path, files))[0])


def test_alternatives(tmp_path: Path) -> None:
    auto = b"auto\n/usr/bin/t\nt.1\n/usr/share/t.1\n\n/usr/bin/tool\n10\n/usr/share/tool.1\n/opt/tool\n5\n\n\n"
    files = {
        ADMIN + b"alternatives/auto": auto,
        ADMIN + b"alternatives/chosen": b"manual\n/usr/bin/c\n\n/bin/tool\n10\n/opt/tool\n5\n\n",
        ADMIN + b"alternatives/broken": b"manual\n/usr/bin/c\n\n/bin/tool\n10\n",
        ADMIN + b"alternatives/strange": b"\xff\0",
    }
    root = decided(tmp_path, files)
    (root / "etc/alternatives").mkdir(parents=True)
    (root / "etc/alternatives/chosen").symlink_to("/opt/tool")
    decisions, told = decisions_of(root)
    assert decisions == [
        Alternative(name="auto", link=b"/usr/bin/t", target=b"/opt/tool"),
        Alternative(name="chosen", link=b"/usr/bin/c", target=b"/opt/tool", manual=True),
    ]
    assert {path.rpartition(b"/")[2] for path, _ in told} == {b"broken", b"strange"}


def test_ucf(tmp_path: Path) -> None:
    hashes = f"{MD5}  /etc/u\n{MD5}  /etc/unknown\n{MD5}  /etc/gone\n{MD5}  /etc/a\nnonsense\n"
    registry = b"a \t /etc/u\na\t/etc/new\nleft \t /etc/gone\na\t/etc/a\nnonsense\n"
    files = {
        b"var/lib/ucf/hashfile": hashes.encode(),
        b"var/lib/ucf/registry": registry,
        ADMIN + b"statoverride": b"root adm 640 /etc/u\n",
    }
    owned, told = look(decided(tmp_path, files))
    assert len(told) == 2
    found = {each.path: (each.package, each.digest, each.obsolete) for each in owned if each.config}
    digest = Digest("md5", RAW)
    assert by_path(owned, "a")[b"/etc/u"].mode == 0o640
    assert found == {
        b"/etc/u": ("a", digest, False),
        b"/etc/new": ("a", None, False),
        b"/etc/gone": ("left", digest, True),
    }


def test_pins(tmp_path: Path) -> None:
    files = {
        b"etc/apt/preferences": b"Explanation: x\nPackage: *\nPin: release a=stable\nPin-Priority: 900\n\n"
        b"Pin: version 1\n",
        b"etc/apt/preferences.d/a.pref": b"Package: b\nPin: version 5.10*\nPin-Priority: -1\n",
        b"etc/apt/preferences.d/a.bak": b"Package: c\nPin: version 1\nPin-Priority: 1\n",
    }
    decisions, told = decisions_of(decided(tmp_path, files))
    assert [row.rule for row in decisions if isinstance(row, Lock)] == [
        "Pin: version 5.10*, Pin-Priority: -1",
        "Pin: release a=stable, Pin-Priority: 900",
    ]
    assert len(told) == 1
