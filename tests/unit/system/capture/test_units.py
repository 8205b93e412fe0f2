"""Units, scripts and drop-in files of small roots; what systemctl itself says is compared in tests/system."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from snapstore.errors import HostError
from snapstore.system import host
from snapstore.system.capture.services import active_units, capture_services, listening_units
from snapstore.system.capture.unitfiles import is_unit_name, may_be_alias, template_of
from snapstore.system.packages import Owned, Ownership
from snapstore.system.record import Row
from snapstore.system.root import Root
from snapstore.system.scopes.services import SERVICES, Unit
from tests.unit.system.capture.tree import Warnings, build, captured

ETC, USR = "/etc/systemd/system", "/usr/lib/systemd/system"
OWNED = Ownership([Owned(f"{USR}/{name}".encode(), "pkg") for name in ("a.service", "c@.service", "m.service")])
WANTED = "[Unit]\n[Install]\nWantedBy=d.target\n"


def units(
    top: Path, files: dict[str, str | bytes | None], ownership: Ownership = OWNED
) -> tuple[dict[str, Unit], Warnings]:
    rows, warned = captured(top, files, lambda root, warn: capture_services(root, ownership, warn))
    assert rows == sorted(rows, key=SERVICES.order)
    for row in rows:
        assert SERVICES.element(row)
    return {row.name: row for row in rows if isinstance(row, Unit)}, warned


def test_files_packages_and_dropins(tmp_path: Path) -> None:
    found, warned = units(
        tmp_path,
        {
            "/lib": "-> usr/lib",
            f"{USR}/a.service": WANTED,
            f"{USR}/c@.service": WANTED + "DefaultInstance=one\n",
            f"{USR}/m.service": WANTED,
            f"{USR}/s-t.service": "[Unit]\n",
            f"{USR}/README": "x",
            f"{USR}/a.service.wants": None,
            f"{ETC}/d.target.wants/a.service": f"-> /lib{USR.removeprefix('/usr/lib')}/a.service",
            f"{ETC}/d.target.wants/c@two.service": f"-> {USR}/c@.service",
            f"{ETC}/z.service": f"-> {USR}/a.service",
            f"{ETC}/m.service": "-> /dev/null",
            f"{ETC}/mine.service": "[Unit]\n",
            f"{ETC}/empty.service": "",
            f"{ETC}/a.service.d/10 x.conf": "[Service]\n",
            f"{ETC}/a.service.d/20.conf": "[Service]\n",
            f"{USR}/a.service.d/20.conf": "[Service]\n",
            f"{USR}/a.service.d/30.conf": "[Service]\n",
            f"{USR}/a.service.d/notes": "no",
            f"{ETC}/c@.service.d/t.conf": "[Service]\n",
            f"{ETC}/s-.service.d/p.conf": "[Service]\n",
            f"{ETC}/service.d/all.conf": "[Service]\n",
            f"{ETC}/gone.service": "-> /nowhere/gone.service",
        },
    )
    assert warned == []
    assert {name: row.state for name, row in found.items()} == {
        "a.service": "enabled",
        "c@.service": "indirect",
        "c@two.service": "enabled",
        "empty.service": "masked",
        "gone.service": "bad",
        "m.service": "masked",
        "mine.service": "static",
        "s-t.service": "static",
        "z.service": "alias",
    }
    assert {name: row.file.decode() for name, row in found.items() if name not in ("gone.service", "s-t.service")} == {
        "a.service": f"{USR}/a.service",
        "c@.service": f"{USR}/c@.service",
        "c@two.service": f"{USR}/c@.service",
        "empty.service": f"{ETC}/empty.service",
        "m.service": f"{ETC}/m.service",
        "mine.service": f"{ETC}/mine.service",
        "z.service": f"{USR}/a.service",
    }
    assert {name for name, row in found.items() if row.local} == {
        "mine.service", "empty.service", "m.service", "gone.service", "s-t.service",
    }  # fmt: skip
    assert {name for name, row in found.items() if row.package == "pkg"} == {
        "a.service", "c@.service", "c@two.service", "z.service",
    }  # fmt: skip
    assert found["a.service"].dropins == (
        f"{ETC}/a.service.d/10%20x.conf", f"{ETC}/a.service.d/20.conf", f"{USR}/a.service.d/30.conf",
    )  # fmt: skip
    assert found["c@two.service"].dropins == (f"{ETC}/c@.service.d/t.conf",)
    assert found["s-t.service"].dropins == (f"{ETC}/s-.service.d/p.conf",)
    assert not any(row.running for row in found.values())


def test_run_is_of_no_image(tmp_path: Path) -> None:
    found, _ = units(tmp_path, {"/run/systemd/system/x.service": WANTED, "/run/systemd/generator/y.service": WANTED})
    assert found == {}


def test_linked_units(tmp_path: Path) -> None:
    found, _ = units(tmp_path, {"/opt/x.service": WANTED, f"{ETC}/x.service": "-> /opt/x.service"})
    assert (found["x.service"].state, found["x.service"].file, found["x.service"].local) == (
        "linked",
        b"/opt/x.service",
        True,
    )


def test_hostile_directories(tmp_path: Path) -> None:
    found, warned = units(
        tmp_path,
        {
            f"{USR}/loop.service": "-> loop.service",
            f"{USR}/p.service": "-> q.service",
            f"{USR}/q.service": "-> p.service",
            f"{USR}/out.service": "-> ../../../../../../../../etc/passwd",
            f"{USR}/dir.service": None,
            f"{USR}/dir.d": "a file",
            f"{USR}/file.wants": "a file",
            f"{USR}/sub.wants": "-> sub.wants",
            f"{USR}/x.service.d": "-> /",
            "/y.conf": "[Install]\nWantedBy=z\n",
            f"{USR}/x.service": b"[Install]\n\xff=\x00\n= \n[" + b"x" * 1000,
        },
    )
    assert {name: row.state for name, row in found.items()} == {
        "loop.service": "bad",
        "p.service": "bad",
        "q.service": "bad",
        "out.service": "bad",
        "x.service": "disabled",
    }
    assert {path for path, _ in warned} <= {f"{USR}/{name}.service".encode() for name in ("loop", "p", "q", "out")}


def test_scripts(tmp_path: Path) -> None:
    top = tmp_path
    build(
        top,
        {
            "/etc/init.d/one": "#!/bin/sh\n",
            "/etc/init.d/two.sh": "#!/bin/sh\n",
            "/etc/init.d/a": "#!/bin/sh\n",
            "/etc/init.d/README": "x",
            "/etc/init.d/off": "not to be run",
            "/etc/init.d/three": "-> one",
            "/etc/init.d/gone": "-> none",
            "/etc/rc2.d/S01one": "-> ../init.d/one",
            "/etc/rc5.d/S99one": "-> ../init.d/one",
            "/etc/rc0.d/K01one": "-> ../init.d/one",
            "/etc/rcS.d/S05two.sh": "-> ../init.d/two.sh",
            "/etc/runlevels/default/three": "-> /etc/init.d/three",
            f"{USR}/a.service": "[Unit]\n",
        },
    )
    for name in ("one", "two.sh", "a", "README"):
        (top / "etc/init.d" / name).chmod(0o755)
    owned = Ownership([Owned(b"/etc/init.d/one", "pkg")])
    warned = Warnings()
    with Root(os.fsencode(top)) as root:
        rows = [row for row in capture_services(root, owned, warned) if isinstance(row, Unit)]
    assert warned == []
    assert [(row.name, row.state, row.runlevels, row.package, row.local) for row in rows] == [
        ("a.service", "static", (), "", True),
        ("one.service", "generated", ("2", "5"), "pkg", False),
        ("three.service", "generated", ("default",), "", True),
        ("two.service", "generated", ("S",), "", True),
    ]


@pytest.mark.parametrize("name", ["a.service", "a@.service", "a@b.timer", "a\\x2db.mount", "-.slice", "a:b_c.path"])
def test_names_of_units(name: str) -> None:
    assert is_unit_name(name.encode())


@pytest.mark.parametrize(
    "name",
    [
        "a",
        ".service",
        "a.conf",
        "a b.service",
        "@x.service",
        "a.service.d",
        "a\n.service",
        "a" * 250 + ".service",
        "a.service\n",
    ],
)
def test_names_of_no_units(name: str) -> None:
    assert not is_unit_name(name.encode())


def test_templates_and_aliases() -> None:
    assert template_of(b"a@b.service") == b"a@.service"
    assert template_of(b"a@.service") == template_of(b"a.service") == b""
    assert may_be_alias(b"a.service", b"b.service")
    assert may_be_alias(b"a@x.service", b"b@.service")
    assert not may_be_alias(b"a.service", b"b.socket")
    assert not may_be_alias(b"a@.service", b"b.service")
    assert not may_be_alias(b"a@.service", b"b@x.service")


LISTED = b"""\
  a.service                 loaded active   running A service
\xe2\x97\x8f f.service                 loaded failed   failed  Another
  c@one.service             loaded active   exited  An instance
  c@3-10.0.0.1:22-h.service loaded active   running Per connection
  user@1000.service         loaded active   running A person
  dev-sda.device            loaded active   plugged Not here
  i.service                 loaded inactive dead    Idle
nonsense
"""
SOCKETS = b"""\
0.0.0.0:22 ssh.socket ssh.service
[::]:80 web.socket web.service
/run/x.sock x.socket x.service
nonsense
"""


def test_what_systemctl_lists() -> None:
    warned = Warnings()
    assert active_units(LISTED, warned) == {
        b"a.service", b"c@one.service", b"c@3-10.0.0.1:22-h.service", b"user@1000.service", b"dev-sda.device",
    }  # fmt: skip
    assert listening_units(SOCKETS, warned) == {
        "0.0.0.0:22": "ssh.socket", "[::]:80": "web.socket", "0.0.0.0:80": "web.socket", "/run/x.sock": "x.socket",
    }  # fmt: skip
    assert warned == []


def live(top: Path, monkeypatch: pytest.MonkeyPatch, ran: host.Ran | HostError) -> tuple[list[Row], Warnings]:
    """What is captured of a tree that is taken for the live one, whose systemctl answers so."""

    def run(arguments: list[str], **_limits: object) -> host.Ran:
        assert arguments[1] in ("list-units", "list-sockets")
        if isinstance(ran, HostError):
            raise ran
        return ran if arguments[1] == "list-units" or ran.code else host.Ran(0, SOCKETS, b"")

    monkeypatch.setattr(host, "run", run)
    monkeypatch.setattr(host, "find_program", lambda _name: "/bin/systemctl")
    warned = Warnings()
    with Root(os.fsencode(top)) as root:
        root.live = True
        return list(capture_services(root, OWNED, warned)), warned


LIVE: dict[str, str | bytes | None] = {
    "/run/systemd/system": None,
    "/run/systemd/generator.late/s.service": "[Unit]\nSourcePath=/etc/init.d/s\n",
    "/run/systemd/generator/g.service": "[Unit]\n",
    "/run/systemd/transient/t.service": "[Unit]\n",
    "/etc/init.d/s": "#!/bin/sh\n",
    f"{USR}/a.service": WANTED,
    f"{USR}/i.service": WANTED,
    f"{USR}/c@.service": WANTED,
    f"{USR}/user@.service": WANTED,
}


def test_the_live_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(tmp_path, LIVE)
    (tmp_path / "etc/init.d/s").chmod(0o755)
    rows, warned = live(tmp_path, monkeypatch, host.Ran(0, LISTED, b""))
    assert warned == []
    assert [(row.name, row.state, row.running) for row in rows] == [
        ("a.service", "disabled", True),
        ("c@.service", "disabled", False),
        ("c@one.service", "disabled", True),
        ("g.service", "generated", False),
        ("i.service", "disabled", False),
        ("s.service", "generated", False),
        ("t.service", "transient", False),
        ("user@.service", "disabled", False),
    ]
    assert [row.file for row in rows if row.name == "s.service"] == [b"/etc/init.d/s"]


@pytest.mark.parametrize(
    "ran", [host.Ran(1, b"", b"Failed to connect to bus\nmore"), HostError("systemctl did not end in time")]
)
def test_a_systemctl_that_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ran: host.Ran | HostError
) -> None:
    build(tmp_path, LIVE)
    rows, warned = live(tmp_path, monkeypatch, ran)
    assert not any(row.running for row in rows)
    assert len(rows) == 7
    assert warned.text.count("it is not known what runs") == 2
