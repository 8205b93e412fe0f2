"""Programs are started in one way only, and none can keep us waiting, fill the memory, or stay behind."""

from __future__ import annotations

import os
import sys
import time

import pytest

from snapstore.errors import HostError
from snapstore.system import host

PYTHON = sys.executable


def test_what_a_program_leaves_behind() -> None:
    ran = host.run(["sh", "-c", "echo out; echo err >&2; exit 3"])
    assert ran == host.Ran(3, b"out\n", b"err\n")
    assert host.run(["true"]) == host.Ran(0, b"", b"")
    assert host.run(["sh", "-c", "kill -TERM $$"]).code == -15


def test_its_surroundings_are_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_PRELOAD_X", "secret")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    out = host.run(["sh", "-c", "env; pwd; cat; ls /proc/$$/fd"], directory=b"/usr").out.decode().split("\n")
    assert "LC_ALL=C.UTF-8" in out
    assert not [line for line in out if "secret" in line]
    assert "/usr" in out
    assert {line for line in out if line.isdigit()} <= {"0", "1", "2", "255"}


def test_arguments_are_no_shell_words() -> None:
    assert host.run(["printf", "%s|", "$(id)", b"a b\xff", "*"]).out == b"$(id)|a b\xff|*|"


def test_finding_programs() -> None:
    assert host.find_program("sh").endswith("/sh")
    assert host.find_program("no-such-program") == ""
    assert host.find_program("../../bin/sh") == ""


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["no-such-program"], "no-such-program cannot be started: No such file"),
        (["/etc/passwd"], "/etc/passwd cannot be started: Permission denied"),
        ([b"echo", b"a\0b"], "echo cannot be started: an argument holds a NUL byte"),
    ],
)
def test_what_cannot_be_started(arguments: list[str | bytes], reason: str) -> None:
    with pytest.raises(HostError, match=reason):
        host.run(arguments)


@pytest.mark.parametrize(
    "script",
    ["sleep 60", "exec >&- 2>&-; sleep 60", "sleep 60 & exit 0", "trap '' TERM INT; sleep 60; sleep 60", "yes"],
)
def test_time_is_bounded(script: str) -> None:
    started = time.monotonic()
    with pytest.raises(HostError, match="sh did not end in time"):
        host.run(["sh", "-c", script], seconds=0.3)
    assert time.monotonic() - started < 10


def test_output_is_bounded() -> None:
    assert len(host.run(["head", "-c", "100000", "/dev/zero"], limit=100_000).out) == 100_000
    with pytest.raises(HostError, match="head printed more than 100000 bytes"):
        host.run(["head", "-c", "100001", "/dev/zero"], limit=100_000)
    with pytest.raises(HostError, match="printed more"):
        host.run(["yes"], limit=1000)
    ran = host.run(["sh", "-c", "head -c 1000000 /dev/zero >&2; echo done"])
    assert ran.out == b"done\n"
    assert len(ran.err) == 1 << 16


def exists(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent does not."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] != b"Z"
    except FileNotFoundError:
        return False


def test_nothing_stays_behind() -> None:
    ran = host.run(["sh", "-c", "sleep 60 >&- 2>&- <&- & echo $!"])
    pid = int(ran.out)
    deadline = time.monotonic() + 5
    while exists(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not exists(pid)


def test_no_descriptor_and_no_child_is_left() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for script, seconds in (("true", 5.0), ("sleep 60", 0.05)):
        try:
            host.run(["sh", "-c", script], seconds=seconds)
        except HostError:
            assert script != "true"
    assert len(os.listdir("/proc/self/fd")) == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
