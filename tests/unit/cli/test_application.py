"""What becomes of everything that can end a command."""

from __future__ import annotations

import errno
import json

import click
import pytest

from snapstore import errors
from snapstore.cli import application
from snapstore.cli.output import Output, OutputError, ReaderGone
from snapstore.cli.settings import Settings

CODES = [
    (errors.NoStoreError("gone"), 10),
    (errors.WrongKeyError("no key"), 12),
    (errors.CorruptObjectError("packs/x", "torn"), 1),
    (errors.CancelledError("stopped"), 130),
    (KeyboardInterrupt(), 130),
    (click.Abort(), 130),
    (click.UsageError("what?"), 2),
    (MemoryError(), 1),
    (OSError(errno.ENOSPC, "No space left on device"), 1),
    (PermissionError(errno.EACCES, "Permission denied", "/some/where"), 1),
    (RuntimeError("a\nbug"), 1),
    (RecursionError("deep"), 1),
]


@pytest.mark.parametrize(("error", "code"), CODES, ids=lambda each: type(each).__name__)
def test_every_end_has_a_code_and_a_reason(
    error: BaseException, code: int, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SNAPSTORE_DEBUG", raising=False)
    assert application._ended(error, Output(Settings())) == code
    text = capfd.readouterr().err
    assert text.count("\n") == 1
    assert application._ended(error, Output(Settings(json=True))) == code
    message = json.loads(capfd.readouterr().err)
    assert (message["message_type"], message["code"]) == ("exit_error", code)


@pytest.mark.parametrize(("error", "code"), [(ReaderGone("x"), 141), (OutputError("full"), 1), (SystemExit(1), 141)])
def test_output_that_fails_is_dropped(error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    dropped: list[bool] = []
    monkeypatch.setattr(application, "drop_output", lambda: dropped.append(True))
    assert application._ended(error, Output(Settings())) == code
    assert dropped == [True]


def test_internal_errors_show_no_trace_unless_asked(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SNAPSTORE_DEBUG", raising=False)
    application._ended(RuntimeError("bug"), Output(Settings()))
    quiet = capfd.readouterr().err
    assert quiet == (
        "snapstore: internal error: RuntimeError: bug (please report; SNAPSTORE_DEBUG=1 shows the trace)\n"
    )
    monkeypatch.setenv("SNAPSTORE_DEBUG", "1")
    application._ended(RuntimeError("bug"), Output(Settings()))
    assert capfd.readouterr().err.endswith(quiet)


def test_an_unnamed_oserror_is_a_bug_but_a_named_one_is_not(capfd: pytest.CaptureFixture[str]) -> None:
    application._ended(OSError(errno.EBADF, "Bad file descriptor"), Output(Settings()))
    assert "internal error" in capfd.readouterr().err
    application._ended(OSError(errno.ENOTDIR, "Not a directory", b"/a\x1b"), Output(Settings()))
    assert capfd.readouterr().err == "snapstore: /a\\x1b: Not a directory\n"
