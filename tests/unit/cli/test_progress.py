"""What the displays show, and when."""

from __future__ import annotations

import json
import time

import pytest

from snapstore.cli.output import Output
from snapstore.cli.progress import Display, Lines, Status, StatusObjects, choose_display
from snapstore.cli.settings import Settings


def status(**more: object) -> Status:
    values: dict[str, object] = {
        "phase": "snapshot", "files": 5, "size": 1 << 20, "files_expected": 0, "size_expected": 0,
        "seconds": 2.5, "path": b"/a\xff",
    }  # fmt: skip
    return Status(**{**values, **more})  # type: ignore[arg-type]


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(time, "monotonic", made.monotonic)
    return made


def test_percent_and_time_left_only_where_totals_are_known() -> None:
    unknown = status().fields()
    assert (unknown["percent"], unknown["seconds_remaining"], unknown["path_b64"]) == (None, None, "L2H/")
    known = status(size_expected=4 << 20).fields()
    assert (known["percent"], known["seconds_remaining"]) == (25.0, 7.5)
    assert status(files_expected=10).fields()["percent"] == 50.0
    assert status(size_expected=10).fields()["percent"] == 100.0
    assert status(size_expected=4 << 20).text(verbose=False) == (
        "snapshot: 25%, 5 files, 1.0 MiB, 409.6 KiB/s, about 7.50 s left"
    )


def test_lines_come_every_ten_seconds(clock: Clock, capfd: pytest.CaptureFixture[str]) -> None:
    display = Lines(Output(Settings()))
    display.phase("check", files=10)
    for _ in range(30):
        clock.now += 1
        display.advance(files=1)
    assert capfd.readouterr().err.splitlines() == [
        "check: 100%, 10 files, 0 B, 0 B/s, about 0.00 s left",
        "check: 100%, 20 files, 0 B, 0 B/s, about 0.00 s left",
        "check: 100%, 30 files, 0 B, 0 B/s, about 0.00 s left",
    ]


def test_status_objects_come_at_most_once_a_second(clock: Clock, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    display = StatusObjects(Output(Settings(json=True)))
    display.phase("snapshot")
    for _ in range(50):
        clock.now += 0.0625
        display.at(b"/here")
        display.advance(size=10)
    shown = [json.loads(line) for line in capfdbinary.readouterr().out.splitlines()]
    assert [each["message_type"] for each in shown] == ["status"] * 3
    assert shown[0]["path"] == "/here"


def test_warnings_are_told_at_once_even_if_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    choose_display(Output(Settings(quiet=True))).warn(b"/x\n", "it vanished\x1b")
    assert capfd.readouterr().err == "warning: /x\\n: it vanished\\x1b\n"


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        (Settings(quiet=True), Display),
        (Settings(progress=False), Display),
        (Settings(json=True), StatusObjects),
        (Settings(), Lines),
    ],
)
def test_the_display_fits_the_streams(settings: Settings, kind: type[Display]) -> None:
    assert type(choose_display(Output(settings))) is kind
