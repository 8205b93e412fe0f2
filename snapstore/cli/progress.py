"""Shows how far a verb has come: a bar on a terminal, plain lines elsewhere, status objects with `--json`.

Verbs call from several threads and very often: counting is a lock and two additions, and the clock decides whether
there is anything to show. A run of less than a moment shows nothing, and on a terminal does not even load the bar.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from snapstore.cli.names import path_fields, shortened, shown
from snapstore.cli.output import Output, complain
from snapstore.cli.quantities import count_text, duration_text, size_text

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

BAR_INTERVAL = 0.1
STATUS_INTERVAL = 1.0
LINE_INTERVAL = 10.0
_FIRST = 0.4
"""Seconds before which no bar appears."""
_SHOW_CURSOR = b"\x1b[?25h\n"


@dataclass(frozen=True, slots=True)
class Status:
    """How far the work has come. Expected totals are 0 where nobody knows them."""

    message_type: ClassVar[str] = "status"

    phase: str
    files: int
    size: int
    files_expected: int
    size_expected: int
    seconds: float
    path: bytes

    @property
    def fraction(self) -> float | None:
        """From 0 to 1, None where it cannot be told: by bytes, or by files where those have no bytes."""
        done, expected = (self.size, self.size_expected) if self.size_expected else (self.files, self.files_expected)
        return min(done / expected, 1.0) if expected else None

    @property
    def rate(self) -> float:
        """Bytes a second since the phase began."""
        return self.size / self.seconds if self.seconds > 0 else 0.0

    @property
    def remaining(self) -> float | None:
        """Seconds that the rest takes if it goes on like this; None where that cannot be told."""
        fraction = self.fraction
        return self.seconds / fraction * (1 - fraction) if fraction else None

    def fields(self) -> dict[str, object]:
        """See docs/cli.md."""
        fraction, remaining = self.fraction, self.remaining
        return {
            "phase": self.phase,
            "files": self.files,
            "size": self.size,
            "files_expected": self.files_expected or None,
            "size_expected": self.size_expected or None,
            "percent": None if fraction is None else round(100 * fraction, 1),
            "seconds": round(self.seconds, 3),
            "seconds_remaining": None if remaining is None else round(remaining, 1),
            **path_fields(self.path),
        }

    def text(self, *, verbose: bool) -> str:
        """One line, without the path."""
        del verbose
        fraction, remaining = self.fraction, self.remaining
        parts = ["" if fraction is None else f"{100 * fraction:.0f}%", count_text(self.files, "file")]
        parts += [size_text(self.size), f"{size_text(int(self.rate))}/s"]
        parts += [f"about {duration_text(remaining)} left"] if remaining is not None and self.seconds > 2 else []
        return f"{self.phase}: {', '.join(part for part in parts if part)}"


class Display:
    """Counts, and passes warnings on. Shows nothing; the classes below do."""

    interval = LINE_INTERVAL

    def __init__(self, output: Output) -> None:
        self._output = output
        self._lock = threading.Lock()
        self._phase = ""
        self._files = self._size = self._files_expected = self._size_expected = 0
        self._path = b""
        self._began = time.monotonic()
        self._next = self._began + self.first()

    def first(self) -> float:
        """Seconds before anything is shown."""
        return self.interval

    def phase(self, name: str, *, files: int = 0, size: int = 0) -> None:
        """A new part of the work begins; counts start again."""
        with self._lock:
            self._phase, self._files_expected, self._size_expected = name, files, size
            self._files = self._size = 0
            self._began = time.monotonic()

    def advance(self, *, files: int = 0, size: int = 0) -> None:
        """So much more is done; shows it if it is time to."""
        now = time.monotonic()
        with self._lock:
            self._files += files
            self._size += size
            if now < self._next:
                return
            self._next = now + self.interval
            self.show(self._status(now))

    def at(self, path: bytes) -> None:
        """The work is at this path now."""
        self._path = path
        if time.monotonic() >= self._next:
            self.advance()

    def warn(self, path: bytes, reason: str) -> None:
        """Tells of the trouble at once."""
        with self._lock:
            self._output.warn(path, reason)

    def close(self) -> None:
        """Nothing is shown any more. May be called again, and by a thread that ends the process."""

    def show(self, status: Status) -> None:
        """Shows the status; called with the lock held."""

    def _status(self, now: float) -> Status:
        return Status(
            phase=self._phase,
            files=self._files,
            size=self._size,
            files_expected=self._files_expected,
            size_expected=self._size_expected,
            seconds=now - self._began,
            path=self._path,
        )


class Lines(Display):
    """A plain line every ten seconds, for logs."""

    def show(self, status: Status) -> None:
        """A line on standard error."""
        complain(status.text(verbose=False))


class StatusObjects(Display):
    """A JSON line a second among the results."""

    interval = STATUS_INTERVAL

    def show(self, status: Status) -> None:
        """A line on standard output."""
        if self._output.settings.progress:
            self._output.status(status)


class Bar(Display):
    """A bar on a terminal, drawn by rich."""

    interval = BAR_INTERVAL

    def __init__(self, output: Output) -> None:
        super().__init__(output)
        self._bar: RichProgress | None = None
        self._task: TaskID | None = None

    def first(self) -> float:
        """Most runs are over before a bar would help."""
        return _FIRST

    def show(self, status: Status) -> None:
        """Redraws the bar."""
        if self._bar is None:
            self._start()
        if self._bar is not None and self._task is not None:
            fraction = status.fraction
            width = self._bar.console.width
            facts = status.text(verbose=False)
            self._bar.update(
                self._task,
                total=None if fraction is None else 1.0,
                completed=fraction or 0.0,
                facts=shortened(facts, width - 2),
                path=shortened(shown(status.path), width - 2),
            )
            self._bar.refresh()

    def _start(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

        console = Console(stderr=True, highlight=False, markup=False, emoji=False)
        self._bar = Progress(
            SpinnerColumn(),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[facts]}\n{task.fields[path]}", markup=False),
            console=console,
            transient=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._bar.add_task("", total=None, facts="", path="")
        self._bar.start()

    def warn(self, path: bytes, reason: str) -> None:
        """Prints above the bar: it makes way, and is drawn again with the next status."""
        with self._lock:
            if self._bar is not None:
                self._bar.stop()
                self._bar = None
            self._output.warn(path, reason)

    def close(self) -> None:
        """The bar is taken away and the cursor is back."""
        # The lock may be held by a thread that will never run again when the process is about to end.
        if self._lock.acquire(timeout=0.05):
            try:
                if self._bar is not None:
                    self._bar.stop()
                    self._bar = None
            finally:
                self._lock.release()
        else:
            os.write(2, _SHOW_CURSOR)


def choose_display(output: Output) -> Display:
    """The display that the options and the streams ask for."""
    settings = output.settings
    if settings.quiet or not settings.progress:
        return Display(output)
    if settings.json:
        return StatusObjects(output)
    if sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        return Bar(output)
    return Lines(output)
