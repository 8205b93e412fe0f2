from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from snapstore.system.capture.osrelease import capture_os, elf_machine, read_assignments
from snapstore.system.root import Root
from tests.unit.system.capture.tree import Warnings, captured

DEBIAN = """\
PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"
NAME="Debian GNU/Linux"
VERSION_ID="12"
VERSION_CODENAME=bookworm
ID=debian
HOME_URL="https://www.debian.org/"
"""


def elf(machine: int, *, big: bool = False) -> bytes:
    order = ">" if big else "<"
    return b"\x7fELF\x02" + (b"\x02" if big else b"\x01") + bytes(12) + struct.pack(order + "H", machine) + bytes(44)


def settings(top: Path, files: dict[str, str | bytes | None]) -> tuple[dict[str, str], Warnings]:
    rows, warned = captured(top, files, capture_os)
    assert [row.name for row in rows] == sorted(row.name for row in rows)
    return {row.name: row.value for row in rows}, warned


def test_a_debian_root(tmp_path: Path) -> None:
    found, warned = settings(
        tmp_path,
        {
            "/usr/lib/os-release": DEBIAN,
            "/etc/os-release": "-> ../usr/lib/os-release",
            "/etc/debian_version": "12.5\n",
            "/bin": "-> usr/bin",
            "/usr/bin/dash": elf(62),
            "/usr/bin/sh": "-> dash",
            "/etc/hostname": "# a comment\nbox\n",
            "/etc/localtime": "-> /usr/share/zoneinfo/Europe/Vienna",
            "/etc/default/locale": 'LANG="de_AT.UTF-8"\nLC_TIME=C\n',
            "/sbin/init": "-> /lib/systemd/systemd",
            "/lib/systemd/systemd": elf(62),
        },
    )
    assert warned == []
    assert found == {
        "architecture": "x86_64",
        "codename": "bookworm",
        "hostname": "box",
        "id": "debian",
        "init": "systemd",
        "locale": "de_AT.UTF-8",
        "name": "Debian GNU/Linux",
        "release": "12.5",
        "timezone": "Europe/Vienna",
        "title": "Debian GNU/Linux 12 (bookworm)",
        "version": "12",
    }


def test_others(tmp_path: Path) -> None:
    found, warned = settings(
        tmp_path,
        {
            "/usr/lib/os-release": 'ID=x\nID_LIKE="a b"\nVARIANT_ID=server\nBUILD_ID=7\n',
            "/bin/busybox": elf(183),
            "/bin/sh": "-> /bin/busybox",
            "/sbin/init": "-> /bin/busybox",
            "/etc/sysconfig/network": "HOSTNAME=old\n",
            "/etc/timezone": "Etc/UTC\n",
            "/etc/locale.conf": "LANG=C.UTF-8\n",
        },
    )
    assert warned == []
    assert found == {
        "architecture": "aarch64",
        "build": "7",
        "hostname": "old",
        "id": "x",
        "init": "busybox",
        "like": "a b",
        "locale": "C.UTF-8",
        "timezone": "Etc/UTC",
        "variant": "server",
    }


def test_nothing_at_all(tmp_path: Path) -> None:
    found, warned = settings(tmp_path, {"/var/lib/dpkg/arch": "amd64\ni386\n"})
    assert found == {"architecture": "amd64"}
    assert warned.text == "/etc/os-release: there is none, so that it is not known which system this is"


def test_hostile_links_and_files(tmp_path: Path) -> None:
    found, warned = settings(
        tmp_path,
        {
            "/etc/os-release": None,
            "/bin/sh": "-> /bin/sh",
            "/sbin/init": "-> ../../../../../../etc/init",
            "/etc/init": "x",
            "/etc/hostname": "-> /etc/hostname",
            "/etc/localtime": "-> ../" + "x/" * 1000,
        },
    )
    assert found == {"init": "sysvinit"}
    assert "/etc/os-release: it cannot be read: it is no regular file" in warned.text


def test_the_running_system_says_the_same_twice() -> None:
    warned = Warnings()
    with Root() as root:
        first, second = capture_os(root, warned), capture_os(root, warned)
    assert first == second
    assert {"architecture", "id"} <= {row.name for row in first}
    if os.uname().machine == "x86_64":
        assert {row.value for row in first if row.name == "architecture"} <= {"x86_64", "i686"}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("A=b", {"A": "b"}),
        ("A='b c'", {"A": "b c"}),
        ('A="b\\"c"', {"A": 'b"c'}),
        ("export A=b", {"A": "b"}),
        ("  A=b  ", {"A": "b"}),
        ("A=", {"A": ""}),
        ("A=$(id)", {"A": "$(id)"}),
        ("A=1\nA=2", {"A": "2"}),
        ("# A=b\n\nB=c", {"B": "c"}),
    ],
)
def test_assignments(line: str, expected: dict[str, str]) -> None:
    warned = Warnings()
    assert read_assignments(b"/f", line.encode(), warned) == expected
    assert warned == []


@pytest.mark.parametrize("line", ["A", "a-b=c", "=c", "A='b", 'A="b'])
def test_lines_that_assign_nothing(line: str) -> None:
    warned = Warnings()
    assert read_assignments(b"/f", line.encode() + b"\nB=c\n", warned) == {"B": "c"}
    assert len(warned) == 1
    assert "line 1" in warned.text


@pytest.mark.parametrize(
    ("data", "machine"),
    [
        (elf(62), "x86_64"),
        (elf(22, big=True), "s390x"),
        (elf(21), "ppc64le"),
        (elf(21, big=True), "ppc64"),
        (elf(9999), "elf-9999"),
        (elf(62)[:19], ""),
        (b"#!/bin/sh\n" + bytes(20), ""),
        (b"\x7fELF\x02\x07" + bytes(40), ""),
        (b"", ""),
    ],
)
def test_machines(data: bytes, machine: str) -> None:
    assert elf_machine(data) == machine
