"""Listening sockets, from a made /proc and from real ones."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from snapstore.system.capture.ports import capture_ports, decode_address, read_table, unit_of_cgroup
from snapstore.system.packages import Owned, Ownership
from snapstore.system.root import Root
from snapstore.system.scopes.services import Port
from tests.unit.system.capture.tree import Warnings, build

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
little = pytest.mark.skipif(
    sys.byteorder != "little", reason="the recorded tables are those of a little-endian machine"
)


def row(local: str, state: str, inode: int, *, remote: str = "") -> str:
    zeros = remote or "0" * (len(local) - 5) + ":0000"
    times = "00000000:00000000 00:00000000 00000000     0        0"
    return f"   0: {local} {zeros} {state} {times} {inode} 1 0000000000000000\n"


V6_ANY, V6_ONE = "0" * 32, "00000000000000000000000001000000"
TCP = HEAD + row("0100007F:0CEA", "0A", 11) + row("00000000:0016", "0A", 12) + row("0100007F:9999", "01", 13)
TCP6 = HEAD + row(f"{V6_ANY}:0050", "0A", 14) + row(f"{V6_ONE}:1538", "0A", 15)
UDP = HEAD + row("00000000:0044", "07", 16) + row("0100007F:1000", "01", 17) + row("00000000:0000", "07", 18)


@little
@pytest.mark.parametrize(
    ("digits", "address"),
    [
        ("0100007F", "127.0.0.1"),
        ("00000000", "0.0.0.0"),  # noqa: S104 - what a table holds
        ("0101A8C0", "192.168.1.1"),
        (V6_ANY, "::"),
        (V6_ONE, "::1"),
        ("0000000000000000FFFF00000100007F", "::ffff:127.0.0.1"),
        ("B80D01200000000000000000 01000000".replace(" ", ""), "2001:db8::1"),
    ],
)
def test_addresses(digits: str, address: str) -> None:
    assert decode_address(digits.encode()) == address


@pytest.mark.parametrize(
    ("cgroup", "unit"),
    [
        ("0::/system.slice/ssh.service\n", "ssh.service"),
        ("0::/system.slice/system-getty.slice/getty@tty1.service\n", "getty@tty1.service"),
        ("12:cpu:/x.service\n1:name=systemd:/system.slice/a.service\n", "a.service"),
        ("0::/user.slice/user-1000.slice/session-3.scope\n", "user-1000.slice"),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/x.service\n", "user@1000.service"),
        ("0::/init.scope\n", "init.scope"),
        ("0::/\n", ""),
        ("", ""),
        ("nonsense", ""),
    ],
)
def test_units_of_processes(cgroup: str, unit: str) -> None:
    assert unit_of_cgroup(cgroup.encode()) == unit


@little
def test_tables() -> None:
    warned = Warnings()
    tcp = list(read_table(b"/t", (TCP + "nonsense\n").encode(), warned, protocol="tcp"))
    assert [(each.address, each.port, each.inode) for each in tcp] == [("127.0.0.1", 3306, 11), ("0.0.0.0", 22, 12)]  # noqa: S104
    assert warned.text == "/t: line 5 is no socket"
    udp = list(read_table(b"/u", UDP.encode(), warned, protocol="udp"))
    assert [(each.address, each.port, each.inode) for each in udp] == [("0.0.0.0", 68, 16)]  # noqa: S104


def process(
    number: int, *, exe: str, unit: str, sockets: tuple[int, ...], top: str = "../.."
) -> dict[str, str | bytes | None]:
    return {
        f"/proc/{number}/exe": f"-> {exe}",
        f"/proc/{number}/root": f"-> {top}",
        f"/proc/{number}/comm": "name\n",
        f"/proc/{number}/cgroup": f"0::/system.slice/{unit}\n",
        f"/proc/{number}/fd/0": "-> /dev/null",
        **{f"/proc/{number}/fd/{inode}": f"-> socket:[{inode}]" for inode in sockets},
    }


@little
def test_who_listens(tmp_path: Path) -> None:
    build(
        tmp_path,
        {
            "/bin": "-> usr/bin",
            "/proc/net/tcp": TCP,
            "/proc/net/tcp6": TCP6,
            "/proc/net/udp": UDP,
            "/usr/bin/sshd": "x",
            "/elsewhere": None,
            **process(1, exe="/lib/systemd/systemd", unit="init.scope", sockets=(12, 14, 15)),
            **process(20, exe="/bin/sshd (deleted)", unit="ssh.service", sockets=(12,)),
            **process(21, exe="/bin/sshd (deleted)", unit="ssh.service", sockets=(12,)),
            **process(30, exe="/usr/bin/sshd", unit="box.service", sockets=(11,), top="/elsewhere"),
        },
    )
    # A process in a container: its root is another directory.
    (tmp_path / "proc/30/root").unlink()
    (tmp_path / "proc/30/root").symlink_to(tmp_path / "elsewhere")
    warned = Warnings()
    owned = Ownership([Owned(b"/usr/bin/sshd", "openssh-server"), Owned(b"/lib/systemd/systemd", "systemd")])
    with Root(os.fsencode(tmp_path)) as root:
        found = capture_ports(root, owned, warned, sockets={"[::]:80": "web.socket"})
    assert warned == []
    assert found == [
        Port(protocol="tcp", address="127.0.0.1", port=3306, unit="box.service", process="name"),
        Port(protocol="tcp", address="0.0.0.0", port=22, unit="ssh.service", process="sshd", package="openssh-server"),  # noqa: S104
        Port(protocol="tcp", address="::", port=80, unit="web.socket", process="systemd", package="systemd"),
        Port(
            protocol="tcp",
            address="::1",
            port=5432,
            unit="init.scope",
            process="systemd",
            package="systemd",
        ),
        Port(protocol="udp", address="0.0.0.0", port=68),  # noqa: S104
    ]


def test_processes_that_may_not_be_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(tmp_path, {"/proc/net/tcp": TCP, "/proc/7/fd": None, "/proc/8/fd": None, "/proc/9": None})
    real = Root.open

    def refuse(self: Root, path: bytes, *, directory: bool = False) -> int:
        if path in (b"/proc/7/fd", b"/proc/8/fd"):
            raise PermissionError(13, "Permission denied")
        return real(self, path, directory=directory)

    monkeypatch.setattr(Root, "open", refuse)
    warned = Warnings()
    with Root(os.fsencode(tmp_path)) as root:
        found = capture_ports(root, Ownership([]), warned, sockets={})
    assert {(each.process, each.unit) for each in found} == {("", "")}
    assert warned.text == "/proc: the sockets of 2 processes may not be looked at"


@contextmanager
def listening(family: int, kind: int, address: str) -> Iterator[int]:
    with socket.socket(family, kind) as bound:
        bound.bind((address, 0))
        if kind == socket.SOCK_STREAM:
            bound.listen()
        port: int = bound.getsockname()[1]
        yield port


@pytest.mark.parametrize(
    ("family", "kind", "address"),
    [
        (socket.AF_INET, socket.SOCK_STREAM, "127.0.0.1"),
        (socket.AF_INET, socket.SOCK_DGRAM, "127.0.0.1"),
        (socket.AF_INET6, socket.SOCK_STREAM, "::1"),
        (socket.AF_INET6, socket.SOCK_DGRAM, "::1"),
    ],
)
def test_a_real_socket(family: int, kind: int, address: str) -> None:
    if family == socket.AF_INET6 and not os.path.exists("/proc/net/if_inet6"):
        pytest.skip("there is no IPv6 here")
    owned = Ownership([Owned(os.path.realpath(b"/proc/self/exe"), "python")])
    warned = Warnings()
    try:
        with listening(family, kind, address) as port, Root() as root:
            found = capture_ports(root, owned, warned, sockets={})
            again = capture_ports(root, owned, warned, sockets={})
    except OSError as error:
        pytest.skip(f"there is no address {address} here: {error.strerror}")
    ours = [each for each in found if each.port == port and each.address == address]
    protocol = "tcp" if kind == socket.SOCK_STREAM else "udp"
    program = os.path.basename(os.path.realpath("/proc/self/exe"))
    assert [(each.protocol, each.process, each.package) for each in ours] == [(protocol, program, "python")]
    assert set(ours) <= set(again)
