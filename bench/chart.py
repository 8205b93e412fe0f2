"""A bar chart of benchmark medians as an SVG picture that can be read on a light and on a dark page."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from bench.targets import OWN, added, stored, wall

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.results import Results, Run

_WIDTH, _LABEL, _VALUE = 720, 150, 110
_BAR, _STEP, _HEAD, _GAP = 14, 20, 30, 14
_STYLE = """
text { font: 13px system-ui, sans-serif; fill: currentColor }
.title { font-weight: 600 }
.own { fill: #0969da } .peer { fill: #8c959f } .floor { fill: none; stroke: #8c959f; stroke-dasharray: 3 2 }
svg { color: #1f2328 }
@media (prefers-color-scheme: dark) {
  svg { color: #e6edf3 }
  .own { fill: #58a6ff } .peer { fill: #6e7681 } .floor { stroke: #6e7681 }
}
""".strip()


@dataclass(frozen=True, slots=True)
class Panel:
    """One group of bars: (tool, role, value), in the order to draw them, and how to write a value."""

    title: str
    bars: tuple[tuple[str, str, float], ...]
    show: Callable[[float], str]


def panels(results: Results) -> list[Panel]:
    """The panels that `results` have runs for: the main times, the stored size and the bytes of a second version."""
    wanted: tuple[tuple[str, str, Callable[[Run], float | None], Callable[[float], str]], ...] = (
        ("first", "First snapshot, many small files", wall, seconds),
        ("unchanged", "Unchanged snapshot, many small files", wall, seconds),
        ("small-change", "Ten files edited, many small files", wall, seconds),
        ("restore", "Restore, many small files", wall, seconds),
        ("large-first", "First snapshot, one large file", wall, seconds),
        ("first", "Stored, many small files", stored, megabytes),
        ("dump-second-version", "Added by the second version of a dump", added, megabytes),
    )
    made: list[Panel] = []
    for workload, title, take, show in wanted:
        bars = tuple(
            (tool.name, tool.role, statistics.median(values.values()))
            for tool in results.tools
            if (values := results.values(workload, tool.name, take))
            # What a copy stores is the size of the source, which would flatten all the other bars.
            and not (take is stored and tool.name in {"cp -a", "rsync"})
        )
        if any(name == OWN for name, _, _ in bars) or len(bars) > 1:
            made.append(Panel(title, bars, show))
    return made


def svg(results: Results) -> str:
    """The whole picture; every panel has its own scale, shorter is better everywhere."""
    parts: list[str] = []
    top = 8
    for panel in panels(results):
        longest = max(value for _, _, value in panel.bars) or 1.0
        parts.append(f'<text class="title" x="8" y="{top + 16}">{escape(panel.title)}</text>')
        top += _HEAD
        for name, role, value in panel.bars:
            length = max(1.0, value / longest * (_WIDTH - _LABEL - _VALUE))
            middle = top + _BAR - 3
            parts += (
                f'<text x="{_LABEL - 8}" y="{middle}" text-anchor="end">{escape(name)}</text>',
                f'<rect class="{role}" x="{_LABEL}" y="{top}" width="{length:.1f}" height="{_BAR}" rx="2"/>',
                f'<text x="{_LABEL + length + 6:.1f}" y="{middle}">{escape(panel.show(value))}</text>',
            )
            top += _STEP
        top += _GAP
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top}" width="{_WIDTH}" height="{top}" '
        'role="img" aria-label="Medians of times and sizes per tool; shorter bars are better">'
    )
    return "\n".join((head, f"<style>{_STYLE}</style>", *parts, "</svg>", ""))


def seconds(value: float) -> str:
    """A time: milliseconds below one second."""
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s" if value < 10 else f"{value:.1f} s"


def megabytes(value: float) -> str:
    """A size in units of 1000, with about three digits."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}" if value < 1000 * size else f"{value / size:.0f} {unit}"
    return f"{value:.0f} B"
