"""Sizes, times and durations as people write and read them."""

from __future__ import annotations

import re
import time

_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_SIZE = re.compile(r"([0-9]{1,19})(?:\.([0-9]{1,9}))?[ ]?(?:([KMGTPE])(iB|B)?|B)?\Z", re.IGNORECASE).match
_LETTERS = "KMGTPE"


def parse_size(text: str) -> int:
    """Bytes for `4096`, `10M`, `1.5GiB`, `20MB`: K, KiB and so on are powers of 1024, KB and so on of 1000.

    Raises ValueError for anything else, and for more than 2^63 - 1 bytes.
    """
    match = _SIZE(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a size; write 4096, 10M, 1.5GiB or 20MB")
    whole, fraction, letter, suffix = match.groups()
    base = 1000 if suffix and suffix.upper() == "B" else 1024
    factor = base ** (1 + _LETTERS.index(letter.upper())) if letter else 1
    if fraction and factor == 1:
        raise ValueError(f"{text!r} is not a whole number of bytes")
    size = int(whole) * factor + (int(fraction) * factor // 10 ** len(fraction) if fraction else 0)
    if size >= 1 << 63:
        raise ValueError(f"{text!r} is larger than any file")
    return size


def size_text(size: int) -> str:
    """Bytes in the largest IEC unit that leaves at least 1: `512 B`, `1.5 KiB`, `12.0 GiB`."""
    if abs(size) < 1024:
        return f"{size} B"
    value = float(size)
    for unit in _UNITS:
        value /= 1024
        if abs(value) < 1023.95 or unit == _UNITS[-1]:
            break
    return f"{value:.1f} {unit}"


def count_text(count: int, one: str, many: str = "") -> str:
    """`1 file`, `1,234 files`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def duration_text(seconds: float) -> str:
    """`0.84 s`, `12.3 s`, `3:07 min`, `1:02:09 h`."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes}:{rest:02d} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d} h"


def rfc3339(nanoseconds: int) -> str:
    """Nanoseconds since the epoch as RFC 3339, in UTC and with nine digits; longer years as in ISO 8601."""
    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    return f"{_civil(seconds)}.{fraction:09d}Z"


def local_time(nanoseconds: int) -> str:
    """Nanoseconds since the epoch as the local date and time, `2026-11-23 07:20:23`."""
    seconds = nanoseconds // 1_000_000_000
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
    except (OverflowError, ValueError, OSError):
        return _civil(seconds).replace("T", " ")


def _civil(seconds: int) -> str:
    """Date and time in UTC, for any number of seconds: file systems hold years that datetime does not."""
    days, rest = divmod(seconds, 86400)
    # Howard Hinnant's days-to-civil: eras of 400 years, counted from 0000-03-01.
    era, day = divmod(days + 719468, 146097)
    year_of_era = (day - day // 1460 + day // 36524 - day // 146096) // 365
    day_of_year = day - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * day_of_year + 2) // 153
    month = shifted + 3 if shifted < 10 else shifted - 9
    year = year_of_era + era * 400 + (month <= 2)
    sign = "" if 0 <= year <= 9999 else "-" if year < 0 else "+"
    date = f"{sign}{abs(year):04d}-{month:02d}-{day_of_year - (153 * shifted + 2) // 5 + 1:02d}"
    return f"{date}T{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"
