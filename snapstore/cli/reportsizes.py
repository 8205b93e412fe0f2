"""Where the bytes of a list of paths are: a few directories that tell most about it, and how they are drawn.

Everything is bounded but the pass over the rows: directories deeper than a few levels count for the one above, and the
largest ones are opened one after the other until there are as many as a person can look at.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from snapstore.cli.names import shortened, shown
from snapstore.cli.quantities import count_text, size_text
from snapstore.cli.treemap import Rectangle, squarified
from snapstore.model import Kind
from snapstore.system.scopes.files import FileRow

PLACES = 36
TONES = 6
"""So many colours has the map; `report.css` names them."""
_DEPTH = 8
_SMALLEST = 200  # a directory is shown on its own if it has at least this part of the whole
_OPENED = 12  # and is opened if it has at least this part
_GAP = 1.5
_CHARACTER = 7.9  # width of a letter of the labels, rather too wide than too narrow
_LEAST_BAR = 8


class Counts(NamedTuple):
    """Numbers of files, directories and others, and bytes of the files."""

    files: int = 0
    directories: int = 0
    others: int = 0
    size: int = 0

    @property
    def paths(self) -> int:
        """All of them."""
        return self.files + self.directories + self.others

    def plus(self, other: Counts) -> Counts:
        """Both together."""
        return Counts(*(one + two for one, two in zip(self, other, strict=True)))


def counts_of(row: FileRow) -> Counts:
    """What a row stands for."""
    if row.tree:
        return Counts(row.files, row.directories, row.others, row.size)
    if row.kind == Kind.FILE:
        return Counts(files=1, size=row.size)
    return Counts(directories=1) if row.kind == Kind.DIRECTORY else Counts(others=1)


class Place(NamedTuple):
    """A directory with everything in it, or (`rest`) what is in it beside the places that stand for themselves.

    An empty path stands for everything too small to be shown.
    """

    path: bytes
    counts: Counts
    rest: bool = False

    @property
    def top(self) -> bytes:
        """The directory at the top of the root that it is in."""
        return self.path[: self.path.find(b"/", 1)] if self.path.count(b"/") > 1 else self.path

    @property
    def text(self) -> str:
        """What it is called."""
        if not self.path:
            return "everything else"
        return f"{shown(self.path)}, the rest" if self.rest else shown(self.path)


@dataclass(slots=True)
class _Directory:
    direct: Counts = field(default_factory=Counts)
    total: Counts = field(default_factory=Counts)
    children: set[bytes] = field(default_factory=set)


def largest_places(rows: Iterable[FileRow], *, limit: int = PLACES) -> list[Place]:
    """At most so many places that all rows are in, each in one, the largest first."""
    directories = _directories(rows)
    whole = directories[b"/"].total
    if not whole.paths:
        return []
    waiting = [(-whole.size, b"/")]
    places: list[Place] = []
    remainder = Counts()
    while waiting:
        _, path = heapq.heappop(waiting)
        directory = directories[path]
        total = directory.total
        large = [
            each
            for each in directory.children
            if directories[each].total.size and directories[each].total.size * _SMALLEST >= whole.size
        ]
        wanted = path == b"/" or total.size * _OPENED >= whole.size
        if not large or not wanted or len(waiting) + len(places) + len(large) + 2 > limit:
            places.append(Place(path, total))
            continue
        for each in large:
            heapq.heappush(waiting, (-directories[each].total.size, each))
        small = [directories[each].total for each in directory.children.difference(large)]
        rest = _sum([directory.direct, *small])
        if rest.size and rest.size * _SMALLEST >= whole.size:
            places.append(Place(path, rest, rest=True))
        else:
            remainder = remainder.plus(rest)
    if remainder.paths:
        places.append(Place(b"", remainder))
    return sorted(places, key=lambda place: (-place.counts.size, -place.counts.paths, place.path))


def _directories(rows: Iterable[FileRow]) -> dict[bytes, _Directory]:
    """Directories by path, what is directly in them, and everything below them."""
    numbers: dict[bytes, list[int]] = {}
    for row in rows:
        path = row.path
        if not (row.tree or row.kind == Kind.DIRECTORY):
            path = path.rpartition(b"/")[0]
        held = numbers.get(path)
        if held is None:
            held = numbers[path] = [0] * 4
        for at, number in enumerate(counts_of(row)):
            held[at] += number
    sums: dict[bytes, Counts] = {}
    for path, held in numbers.items():
        above = b"/".join(path.split(b"/")[: _DEPTH + 1]).rstrip(b"/") or b"/"
        sums[above] = sums.get(above, Counts()).plus(Counts(*held))
    directories = {b"/": _Directory()}
    for path, counts in sums.items():
        directories.setdefault(path, _Directory()).direct = counts
        here = path
        while True:
            directory = directories.setdefault(here, _Directory())
            directory.total = directory.total.plus(counts)
            if here == b"/":
                break
            parent = here.rpartition(b"/")[0] or b"/"
            directories.setdefault(parent, _Directory()).children.add(here)
            here = parent
    return directories


def _sum(counts: Iterable[Counts]) -> Counts:
    total = Counts()
    for each in counts:
        total = total.plus(each)
    return total


class Shape(NamedTuple):
    """One rectangle of a drawn map, with what stands in it; a label is empty where there is no room."""

    x: float
    y: float
    width: float
    height: float
    tone: int
    label: str
    detail: str
    title: str


def drawn_map(places: Sequence[Place], *, width: int, height: int) -> list[Shape]:
    """The map of places: those of one directory at the top stand together and have one colour."""
    tops: dict[bytes, list[Place]] = {}
    for place in places:
        if place.counts.size:
            tops.setdefault(place.top, []).append(place)
    groups = sorted(tops.values(), key=lambda group: -sum(place.counts.size for place in group))
    spaces = squarified([sum(place.counts.size for place in group) for group in groups], Rectangle(0, 0, width, height))
    shapes: list[Shape] = []
    for tone, (group, space) in enumerate(zip(groups, spaces, strict=True)):
        cells = squarified([place.counts.size for place in group], space.inset(_GAP))
        shapes += [_shape(place, cell.inset(_GAP / 2), tone % TONES) for place, cell in zip(group, cells, strict=True)]
    return [shape for shape in shapes if shape.width >= 1 and shape.height >= 1]


def _shape(place: Place, cell: Rectangle, tone: int) -> Shape:
    text, size = place.text, size_text(place.counts.size)
    letters = int((cell.width - 14) / _CHARACTER)
    label = _label(text, letters) if letters >= 5 and cell.height >= 22 else ""
    detail = size if label and len(size) <= letters and cell.height >= 42 else ""
    title = f"{text}: {size}, {count_text(place.counts.files, 'file')}"
    x, y, across, down = (round(each, 1) for each in cell)
    return Shape(x, y, across, down, tone, label, detail, title)


def _label(text: str, letters: int) -> str:
    """The text, or as much of its end as fits, from the beginning of a name if it can be."""
    if len(text) <= letters:
        return text
    cut = text.find("/", len(text) - letters + 1)
    return f"…{text[cut:]}" if 0 <= cut < len(text) - 1 else shortened(text, letters)


class Segment(NamedTuple):
    """One part of the bar: the class, and where it stands in a width of 1000."""

    cls: str
    x: float
    width: float


def drawn_bar(sizes: Sequence[tuple[str, int]]) -> list[Segment]:
    """The bar of sizes, in order, without those of 0; the small ones are drawn wide enough to be seen."""
    present = [(cls, size) for cls, size in sizes if size]
    total = sum(size for _, size in present)
    widths = [max(_LEAST_BAR, size / total * 1000) for _, size in present]
    segments: list[Segment] = []
    x = 0.0
    for (cls, _), width in zip(present, widths, strict=True):
        share = width / sum(widths) * 1000
        segments.append(Segment(cls, round(x, 2), round(share, 2)))
        x += share
    return segments
