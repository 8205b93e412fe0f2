"""The states of units against systemctl(1) itself, on trees of units and on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snapstore.system.capture.systemd import Units
from snapstore.system.packages import Ownership
from snapstore.system.root import Root

SYSTEMCTL = shutil.which("systemctl")
pytestmark = pytest.mark.skipif(
    SYSTEMCTL is None, reason="systemctl is what the states are compared with, and is not here"
)

ETC, USR, LOCAL = "etc/systemd/system", "usr/lib/systemd/system", "usr/local/lib/systemd/system"


def version() -> str:
    if SYSTEMCTL is None:
        return ""
    return subprocess.run([SYSTEMCTL, "--version"], capture_output=True, text=True, check=False).stdout.split()[1]


def asked(top: Path, *arguments: str) -> list[str]:
    answer = subprocess.run(
        [str(SYSTEMCTL), "--root", top, *arguments, "--no-legend", "--no-pager"],
        capture_output=True, text=True, check=False, env={"LC_ALL": "C.UTF-8", "PATH": os.environ["PATH"]},
    )  # fmt: skip
    return answer.stdout.splitlines()


def theirs(top: Path) -> dict[str, str]:
    words = [line.split() for line in asked(top, "list-unit-files", "--full")]
    return {each[0]: each[1].removesuffix("-runtime") for each in words}


def ours(top: Path, warned: list[tuple[bytes, str]]) -> dict[str, str]:
    with Root(os.fsencode(top)) as root:
        units = Units(root, Ownership([]), lambda path, reason: warned.append((path, reason)))
        return {os.fsdecode(name): units.unit(name).state for name in units.names()}


def compare(top: Path) -> None:
    """Nothing; all states are the same. Enabled instances are not in systemctl's list, but it answers for each."""
    found = ours(top, [])
    listed = theirs(top)
    for name in set(found) - set(listed):
        assert "@" in name
        answer = asked(top, "is-enabled", name)
        listed[name] = answer[0] if answer else "bad"
    assert found == listed


def test_this_machine() -> None:
    warned: list[tuple[bytes, str]] = []
    top = Path("/")
    if os.path.isdir("/run/systemd/system"):
        pytest.skip("systemd runs here, and units of its own making are not in both lists")
    compare(top)
    assert "getty@.service" in ours(top, warned) or not os.path.isdir(f"/{USR}")
    assert warned == []


NAMES = ("a.service", "b.service", "b.socket", "c@.service", "c@x.service", "d.target")
INSTALL = st.sampled_from(
    [
        "",
        "[Install]\nWantedBy=d.target\n",
        "[Install]\nRequiredBy=d.target\n",
        "[Install]\nAlias=z.service\n",
        "[Install]\nAlso=b.socket\n",
        "[Install]\nWantedBy=d.target\nWantedBy=\n",
        "[Install]\n# WantedBy=d.target\n",
        "[Other]\nWantedBy=d.target\n",
        "[Install]\nwantedby=d.target\n",
    ]
)
UNIT = INSTALL.map(lambda install: "[Unit]\nDescription=x\n" + install)
ELSEWHERE = ["/dev/null", "/opt/a.service", "/opt/other.service", "/opt/empty.service", "/none/a.service"]
TARGETS = st.one_of(
    st.sampled_from([f"/{USR}/{name}" for name in NAMES]),
    st.sampled_from([f"/{ETC}/{name}" for name in NAMES]),
    st.sampled_from([*ELSEWHERE, "../../../usr/lib/systemd/system/a.service"]),
)
LINKING = [f"{ETC}/d.target.wants", f"{ETC}/d.target.requires", f"{USR}/d.target.wants"]
WHERE = st.one_of(
    st.tuples(st.sampled_from([ETC, USR, LOCAL]), st.sampled_from([*NAMES, "z.service"])),
    st.tuples(st.sampled_from(LINKING), st.sampled_from(NAMES)),
).map("/".join)
DROPINS = st.sampled_from(["a.service.d", "c@.service.d", "c@x.service.d"])
TREES = st.tuples(
    st.dictionaries(st.tuples(st.just(USR), st.sampled_from(NAMES)).map("/".join), UNIT, max_size=5),
    st.dictionaries(WHERE, st.one_of(UNIT, st.just(""), TARGETS.map(lambda target: ("link", target))), max_size=5),
    st.dictionaries(st.tuples(st.sampled_from([ETC, USR]), DROPINS).map("/".join), UNIT, max_size=2),
)


@pytest.mark.skipif(version() != "252", reason="of odd links it expects what systemd 252 says")
@settings(max_examples=60, deadline=None)
@given(TREES)
def test_any_tree(
    tree: tuple[dict[str, str], dict[str, str | tuple[str, str]], dict[str, str]],
) -> None:
    packaged, local, dropins = tree
    with tempfile.TemporaryDirectory() as base:
        top = Path(base)
        for directory in (ETC, USR, LOCAL, "opt", "dev"):
            (top / directory).mkdir(parents=True)
        (top / "opt" / "a.service").write_text("[Install]\nWantedBy=d.target\n")
        (top / "opt" / "other.service").write_text("[Unit]\n")
        (top / "opt" / "empty.service").write_text("")
        for path, what in (*packaged.items(), *local.items()):
            place = top / path
            place.parent.mkdir(exist_ok=True)
            if isinstance(what, tuple):
                place.unlink(missing_ok=True)
                place.symlink_to(what[1])
            else:
                place.unlink(missing_ok=True)
                place.write_text(what)
        for path, text in dropins.items():
            (top / path).mkdir()
            (top / path / "x.conf").write_text(text)
        compare(top)
