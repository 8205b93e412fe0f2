"""The two streams: results on standard output as text or JSON lines, notices and errors on standard error.

A message knows both of its forms (`Message`), this module only which one is wanted. Output that cannot be written
raises OutputError; a reader that went away raises ReaderGone.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Sequence
from typing import ClassVar, Protocol

from snapstore.cli.names import clean, path_fields, shown
from snapstore.cli.settings import Settings
from snapstore.errors import SnapstoreError
from snapstore.model import Buffer

PIPE_EXIT = 141
"""What a shell shows for a program that SIGPIPE ended."""


class Message(Protocol):
    """Something to tell, in both forms."""

    message_type: ClassVar[str]

    def fields(self) -> dict[str, object]:
        """The fields of its JSON object, without `message_type`."""

    def text(self, *, verbose: bool) -> str:
        """Its text, one or more lines without the last line end, safe for a terminal."""


class Row(Message, Protocol):
    """A message that is a line of a table in text."""

    columns: ClassVar[tuple[str, ...]]

    def cells(self, *, verbose: bool) -> tuple[str, ...]:
        """One text for each column, safe for a terminal."""


class OutputError(SnapstoreError):
    """Standard output cannot be written."""


class ReaderGone(SnapstoreError):  # noqa: N818 not an error of anybody
    """Nobody reads standard output any more."""

    exit_code = PIPE_EXIT


def json_line(message_type: str, fields: dict[str, object]) -> str:
    """One JSON object on one line, in ASCII."""
    return json.dumps({"message_type": message_type, **fields}, separators=(",", ":"))


class Output:
    """Where messages go."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._terminal = sys.stdout is not None and sys.stdout.isatty()

    @property
    def json(self) -> bool:
        """Whether JSON is wanted."""
        return self.settings.json

    # -- standard output ----------------------------------------------------------------------------------------------

    def emit(self, message: Message) -> None:
        """A result: what the command was asked for."""
        if self.settings.json:
            self._line(json_line(message.message_type, message.fields()))
        else:
            self._line(message.text(verbose=self.settings.verbose))

    def emit_indented(self, message: Message, indent: str) -> None:
        """The same as a line below a heading."""
        self._line(indent + message.text(verbose=self.settings.verbose))

    def heading(self, text: str) -> None:
        """A line above others; for text output only."""
        self._line(text)

    def table(self, rows: Sequence[Row]) -> None:
        """Results in columns; nothing for none."""
        if self.settings.json:
            for row in rows:
                self.emit(row)
            return
        if not rows:
            return
        lines = [rows[0].columns, *(row.cells(verbose=self.settings.verbose) for row in rows)]
        widths = [max(len(line[at]) for line in lines) for at in range(len(lines[0]))]
        for line in lines:
            self._line("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())

    def summarise(self, message: Message) -> None:
        """The closing summary of a command that did something; `--quiet` leaves its text out."""
        if self.settings.json or not self.settings.quiet:
            self.emit(message)

    def status(self, message: Message) -> None:
        """A JSON status line, at once; a reader that has gone away is no reason to stop working."""
        try:
            self._line(json_line(message.message_type, message.fields()))
            self.flush()
        except (OutputError, ReaderGone):
            self.settings.progress = False

    def raw(self, data: Buffer) -> None:
        """Bytes as they are."""
        if sys.stdout is not None:
            try:
                sys.stdout.buffer.write(data)
            except OSError as error:
                raise _output_error(error) from error

    def flush(self) -> None:
        """Nothing; everything so far has been taken by the system."""
        if sys.stdout is not None:
            try:
                sys.stdout.buffer.flush()
            except OSError as error:
                raise _output_error(error) from error

    def _line(self, text: str) -> None:
        encoding = sys.stdout.encoding if sys.stdout is not None else "ascii"
        self.raw(text.encode(encoding, "backslashreplace") + b"\n")
        if self._terminal:
            self.flush()

    # -- standard error -----------------------------------------------------------------------------------------------

    def notice(self, text: str) -> None:
        """Something that the person may want to know."""
        if self.settings.quiet:
            return
        if self.settings.json:
            complain(json_line("notice", {"message": clean(text)}))
        else:
            complain(f"snapstore: {clean(text)}")

    def warn(self, path: bytes, reason: str) -> None:
        """Trouble with one file; with JSON, a line among the results."""
        if self.settings.json:
            try:
                self._line(json_line("warning", {**path_fields(path), "reason": clean(reason)}))
            except (OutputError, ReaderGone):
                self.settings.progress = False
            return
        where = f"{shown(path)}: " if path else ""
        complain(f"warning: {where}{clean(reason)}")

    def fail(self, code: int, message: str, advice: str = "") -> None:
        """The reason for which the command ends."""
        if self.settings.json:
            complain(json_line("exit_error", {"code": code, "message": clean(message), "advice": clean(advice)}))
        else:
            complain(clean(f"snapstore: {message}" + (f" ({advice})" if advice else "")))


def complain(line: str) -> None:
    """A line on standard error. Where even that cannot be written there is nobody left to tell."""
    data = line.encode("utf-8", "backslashreplace") + b"\n"
    try:
        while data:
            data = data[os.write(2, data) :]
    except OSError:
        return


def drop_output() -> None:
    """Nothing; what is still buffered for standard output goes nowhere, so that leaving cannot fail over it."""
    sink = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    os.dup2(sink, 1)
    os.close(sink)


def _output_error(error: OSError) -> SnapstoreError:
    if error.errno == errno.EPIPE:
        return ReaderGone("the reader of standard output has gone")
    return OutputError(f"standard output cannot be written: {error.strerror}")
