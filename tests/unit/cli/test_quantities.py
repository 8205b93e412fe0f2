"""Sizes, times and durations."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapstore.cli.quantities import count_text, duration_text, parse_size, rfc3339, size_text


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("4096", 4096),
        ("4096B", 4096),
        ("10M", 10 << 20),
        ("10MiB", 10 << 20),
        ("10mb", 10_000_000),
        ("1.5G", 3 << 29),
        ("2 k", 2048),
        ("7E", 7 << 60),
    ],
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "M", "-1", "1.5", "1,5K", "0x10", "10MM", "9E", "1e3", "\u0661", "1K\n2"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"size|bytes|larger"):
        parse_size(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1 << 20, "1.0 MiB"),
        ((1 << 20) - 1, "1.0 MiB"),
        (1536, "1.5 KiB"),
        (1 << 62, "4.0 EiB"),
        (-2048, "-2.0 KiB"),
    ],
)
def test_sizes_are_written(size: int, text: str) -> None:
    assert size_text(size) == text


@given(st.integers(min_value=0, max_value=(1 << 63) - 1))
def test_a_written_size_is_read_as_about_the_same(size: int) -> None:
    text = size_text(size)
    assert len(text) <= 10
    if size < 1 << 62:
        assert abs(parse_size(text) - size) <= size / 19 + 1


@given(st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)), st.integers(0, 999_999_999))  # noqa: DTZ001
def test_rfc3339_agrees_with_the_calendar(time: datetime, fraction: int) -> None:
    seconds = round((time.replace(microsecond=0, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds())
    assert rfc3339(seconds * 1_000_000_000 + fraction) == f"{time:%Y-%m-%dT%H:%M:%S}.{fraction:09d}Z".rjust(30, "0")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-62167219200, "0000-01-01T00:00:00.000000000Z"),
        (-62167219201, "-0001-12-31T23:59:59.000000000Z"),
        (253402300800, "+10000-01-01T00:00:00.000000000Z"),
    ],
)
def test_years_that_the_calendar_does_not_have(seconds: int, text: str) -> None:
    assert rfc3339(seconds * 1_000_000_000) == text


def test_durations_and_counts() -> None:
    assert [duration_text(each) for each in (0.123, 12.34, 187, 3729)] == ["0.12 s", "12.3 s", "3:07 min", "1:02:09 h"]
    assert [count_text(n, "file") for n in (0, 1, 1234)] == ["0 files", "1 file", "1,234 files"]
    assert count_text(2, "directory", "directories") == "2 directories"
