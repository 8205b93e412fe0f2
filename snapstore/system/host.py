"""Runs programs of this machine: the only place in this room that starts a process.

Programs are given as argument lists and never through a shell. They get a clean environment, no standard input, a time
limit, and a bound on what they may print; what is printed comes from a program that read a hostile file, so whoever
asks for it parses it as such.
"""

from __future__ import annotations

import os
import select
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass

from snapstore.errors import HostError

TIME_LIMIT = 300.0
OUTPUT_LIMIT = 1 << 30
_ERROR_LIMIT = 1 << 16
_PIECE = 1 << 18
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "LANG": "C.UTF-8"}


@dataclass(frozen=True, slots=True)
class Ran:
    """What a program left behind: exit code (negative for a signal), standard output, the start of standard error."""

    code: int
    out: bytes
    err: bytes


def find_program(name: str) -> str:
    """The absolute path of a program of this machine; empty if there is none of that name (a path is no name)."""
    return "" if "/" in name else shutil.which(name, path=_ENVIRONMENT["PATH"]) or ""


def run(
    arguments: Sequence[str | bytes], *, seconds: float = TIME_LIMIT, limit: int = OUTPUT_LIMIT,
    directory: str | bytes = "/",
) -> Ran:  # fmt: skip
    """What became of a program. HostError if it cannot be started, runs too long, or prints more than `limit` bytes."""
    try:
        process = subprocess.Popen(
            list(arguments), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            cwd=directory, env=dict(_ENVIRONMENT), start_new_session=True, close_fds=True,
        )  # fmt: skip
    except OSError as error:
        raise HostError(f"{_shown(arguments)} cannot be started: {error.strerror}") from error
    except ValueError as error:
        raise HostError(f"{_shown(arguments)} cannot be started: an argument holds a NUL byte") from error
    with process:
        try:
            return _gather(process, arguments, time.monotonic() + seconds, limit)
        finally:
            _end(process)  # before the `with` waits for it


def _gather(process: subprocess.Popen[bytes], arguments: Sequence[str | bytes], deadline: float, limit: int) -> Ran:
    assert process.stdout is not None  # noqa: S101 - asked for above
    assert process.stderr is not None  # noqa: S101
    out, err = bytearray(), bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ, out)
        selector.register(process.stderr, selectors.EVENT_READ, err)
        while selector.get_map():
            ready = selector.select(max(0.0, deadline - time.monotonic()))
            if not ready or time.monotonic() > deadline:  # what prints without end is always ready
                _end(process)
                raise HostError(f"{_shown(arguments)} did not end in time")
            for key, _ in ready:
                piece = os.read(key.fd, _PIECE)
                if not piece:
                    selector.unregister(key.fileobj)
                elif key.data is out:
                    out += piece
                    if len(out) > limit:
                        _end(process)
                        raise HostError(f"{_shown(arguments)} printed more than {limit} bytes")
                elif len(err) < _ERROR_LIMIT:
                    err += piece[: _ERROR_LIMIT - len(err)]
    if not _has_ended(process.pid, deadline):
        _end(process)
        raise HostError(f"{_shown(arguments)} did not end in time")
    _end(process)  # what it left running; the number of its group is ours until its exit code has been fetched
    code = process.wait()
    return Ran(code, bytes(out), bytes(err))


def _has_ended(pid: int, deadline: float) -> bool:
    """Whether a program has ended by then; its exit code is not fetched yet."""
    fd = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        return bool(poll.poll(max(0.0, deadline - time.monotonic()) * 1000))
    finally:
        os.close(fd)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Nothing; the program and whatever it started in its group are told to end, unless that has been done."""
    if process.returncode is None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            process.kill()


def _shown(arguments: Sequence[str | bytes]) -> str:
    first = arguments[0]
    return os.fsdecode(first)
