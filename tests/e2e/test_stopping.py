"""Signals: the process is gone within a second with code 130, and the store is valid."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import Snapstore

PATIENCE = 1.5
"""The promise is a second; the rest is for a machine that has other things to do."""


def stop(process: subprocess.Popen[bytes], *signals: signal.Signals) -> tuple[float, bytes]:
    """Seconds from the first signal to the end, and standard error."""
    began = time.monotonic()
    for each in signals:
        process.send_signal(each)
        time.sleep(0.05)
    process.wait(timeout=30)
    seconds = time.monotonic() - began
    assert process.stderr is not None
    errors = process.stderr.read()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            stream.close()
    return seconds, errors


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def announced(command: Snapstore) -> bool:
    assert command.store is not None
    return any((command.store / "sessions").iterdir())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_snapshot_is_stopped_within_a_second_and_the_next_one_succeeds(
    fresh: Snapstore, tmp_path: Path, number: signal.Signals
) -> None:
    # The standard library, at a level that takes much longer than the test waits.
    process = fresh.start("snapshot", sysconfig.get_path("stdlib"), "--level", "22")
    wait_until(lambda: announced(fresh))
    time.sleep(0.2)
    assert process.poll() is None
    seconds, errors = stop(process, number)
    assert process.returncode == 130
    assert seconds < PATIENCE
    assert errors.startswith(b"snapstore: stopping\nsnapstore: stopped")
    fresh.ok("check", "--read-data")
    assert fresh.ok("snapshots").out == b""
    (tmp_path / "small").mkdir()
    fresh.ok("snapshot", tmp_path / "small")
    assert len(fresh.ok("snapshots", "--json").messages) == 1


def test_a_snapshot_that_waits_for_standard_input_is_stopped(fresh: Snapstore) -> None:
    process = fresh.start("snapshot", "--stdin-name", "x", "--json", stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(os.urandom(1 << 20))
    process.stdin.flush()
    wait_until(lambda: announced(fresh))
    seconds, errors = stop(process, signal.SIGINT)
    assert process.returncode == 130
    assert seconds < PATIENCE
    assert b'"message_type":"exit_error","code":130' in errors.splitlines()[-1]
    fresh.ok("check", "--read-data")


def stuck(command: Snapstore) -> subprocess.Popen[bytes]:
    """A command that waits for somebody to read its output, which nothing but the end of the process interrupts."""
    command.ok("snapshot", "--stdin-name", "large", stdin=os.urandom(4 << 20))
    process = command.start("cat", "latest", "/large")
    assert process.stdout is not None
    select.select([process.stdout], [], [], 30)
    time.sleep(0.3)
    assert process.poll() is None
    return process


def test_a_command_that_cannot_stop_is_ended(fresh: Snapstore) -> None:
    process = stuck(fresh)
    seconds, errors = stop(process, signal.SIGTERM)
    assert process.returncode == 130
    assert 0.5 < seconds < PATIENCE
    assert b"stopped before it was done" in errors


def test_the_second_signal_ends_at_once(fresh: Snapstore) -> None:
    process = stuck(fresh)
    seconds, _ = stop(process, signal.SIGINT, signal.SIGINT)
    assert process.returncode == 130
    assert seconds < 0.7


def test_an_ignored_signal_stays_ignored(fresh: Snapstore) -> None:
    def ignore() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    process = fresh.start("snapshot", "--stdin-name", "x", stdin=subprocess.PIPE, preexec_fn=ignore)
    wait_until(lambda: announced(fresh))
    process.send_signal(signal.SIGHUP)
    _, errors = process.communicate(b"content", timeout=30)
    assert (process.returncode, errors) == (0, b"")


# -- on a terminal


class Terminal:
    """A pseudo-terminal that remembers what was shown on it."""

    def __init__(self) -> None:
        self._master, self.slave = pty.openpty()
        self.shown = b""

    def read(self, seconds: float = 0.05) -> bytes:
        while select.select([self._master], [], [], seconds)[0]:
            try:
                piece = os.read(self._master, 65536)
            except OSError:
                break
            if not piece:
                break
            self.shown += piece
        return self.shown

    def close(self) -> None:
        os.close(self._master)
        os.close(self.slave)


def feed(process: subprocess.Popen[bytes], terminal: Terminal, rounds: int) -> None:
    assert process.stdin is not None
    for _ in range(rounds):
        process.stdin.write(os.urandom(1 << 20))
        process.stdin.flush()
        terminal.read()


def test_a_bar_on_a_terminal_and_none_without(fresh: Snapstore) -> None:
    terminal = Terminal()
    process = fresh.start("snapshot", "--stdin-name", "x", stdin=subprocess.PIPE, stderr=terminal.slave)
    feed(process, terminal, 25)
    out, _ = process.communicate(timeout=30)
    shown = terminal.read()
    terminal.close()
    assert process.returncode == 0
    assert b"snapshot: " in shown
    assert b"MiB/s" in shown
    assert shown.count(b"\x1b[?25h") >= shown.count(b"\x1b[?25l") > 0
    assert out.startswith(b"snapshot ")


@pytest.mark.parametrize("option", ["--quiet", "--no-progress"])
def test_no_bar_where_none_is_wanted(fresh: Snapstore, option: str) -> None:
    terminal = Terminal()
    process = fresh.start("snapshot", "--stdin-name", "x", option, stdin=subprocess.PIPE, stderr=terminal.slave)
    feed(process, terminal, 15)
    process.communicate(timeout=30)
    assert terminal.read() == b""
    terminal.close()


def test_the_cursor_is_back_after_a_stop(fresh: Snapstore) -> None:
    terminal = Terminal()
    process = fresh.start("snapshot", "--stdin-name", "x", stdin=subprocess.PIPE, stderr=terminal.slave)
    feed(process, terminal, 20)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130
    shown = terminal.read()
    terminal.close()
    assert shown.count(b"\x1b[?25h") >= shown.count(b"\x1b[?25l") > 0
    assert b"stopped" in shown
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


def test_status_objects_at_most_once_a_second(fresh: Snapstore) -> None:
    process = fresh.start("snapshot", "--stdin-name", "x", "--json", stdin=subprocess.PIPE)
    assert process.stdin is not None
    began = time.monotonic()
    for _ in range(26):
        process.stdin.write(os.urandom(1 << 18))
        process.stdin.flush()
        time.sleep(0.1)
    out, _ = process.communicate(timeout=30)
    seconds = time.monotonic() - began
    found = out.count(b'"message_type":"status"')
    assert 1 <= found <= seconds
    assert b'"phase":"snapshot"' in out
