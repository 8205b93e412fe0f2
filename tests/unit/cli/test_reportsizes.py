"""Where the bytes are, and how that is drawn."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snapstore.cli.reportsizes import TONES, Counts, Place, counts_of, drawn_bar, drawn_map, largest_places
from snapstore.system.scopes.files import Class, FileRow


def file(path: bytes, size: int = 1) -> FileRow:
    return FileRow(path=path, cls=Class.UNMANAGED, kind="file", size=size)


def tree(path: bytes, counts: Counts, *, contents: bool = False) -> FileRow:
    return FileRow(
        path=path, cls=Class.UNMANAGED, kind="dir", tree=True, contents=contents,
        files=counts.files, directories=counts.directories, others=counts.others, size=counts.size,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("row", "counts"),
    [
        (file(b"/a", 7), Counts(1, 0, 0, 7)),
        (FileRow(path=b"/d", cls=Class.UNMANAGED, kind="dir"), Counts(0, 1, 0, 0)),
        (FileRow(path=b"/l", cls=Class.UNMANAGED, kind="link", size=9), Counts(0, 0, 1, 0)),
        (FileRow(path=b"/?", cls=Class.MISSING), Counts(0, 0, 1, 0)),
        (tree(b"/t", Counts(4, 3, 2, 11)), Counts(4, 3, 2, 11)),
        (tree(b"/t", Counts(4, 0, 2, 11), contents=True), Counts(4, 0, 2, 11)),
    ],
)
def test_what_a_row_stands_for(row: FileRow, counts: Counts) -> None:
    assert counts_of(row) == counts


def test_large_directories_are_opened_and_small_ones_put_together() -> None:
    rows = [
        file(b"/srv/a/one", 500),
        file(b"/srv/b/two", 300),
        file(b"/srv/three", 100),
        file(b"/home/x/y/four", 96),
        *(file(b"/opt/%d/f" % each, 1) for each in range(4)),
    ]
    places = largest_places(rows)
    assert [(place.text, place.counts.size) for place in places] == [
        ("/srv/a", 500), ("/srv/b", 300), ("/srv, the rest", 100), ("/home/x/y", 96), ("everything else", 4),
    ]  # fmt: skip


def test_the_top_itself_is_a_place() -> None:
    (place,) = largest_places([file(b"/swapfile", 10)])
    assert (place.path, place.text, place.counts) == (b"/", "/", Counts(1, 0, 0, 10))


def test_nothing_has_no_places() -> None:
    assert largest_places([]) == []


def test_places_without_bytes_are_there_and_not_drawn() -> None:
    places = largest_places([FileRow(path=b"/run/x", cls=Class.UNMANAGED, kind="socket")])
    assert [place.counts for place in places] == [Counts(0, 0, 1, 0)]
    assert drawn_map(places, width=100, height=100) == []


_NAMES = st.sampled_from([b"a", b"b", b"c", b"\xff", b"d e"])
_PATHS = st.lists(_NAMES, min_size=1, max_size=12).map(lambda names: b"/" + b"/".join(names))
_ROWS = st.lists(
    st.one_of(
        st.builds(file, _PATHS, st.integers(0, 1 << 44)),
        st.builds(tree, _PATHS, st.builds(Counts, *[st.integers(0, 1 << 40)] * 4)),
    ),
    max_size=40,
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(_ROWS, st.integers(2, 40))
def test_every_row_is_in_exactly_one_place(rows: list[FileRow], limit: int) -> None:
    places = largest_places(rows, limit=limit)
    assert len(places) <= limit
    total = Counts()
    for row in rows:
        total = total.plus(counts_of(row))
    found = Counts()
    for place in places:
        found = found.plus(place.counts)
    assert found == total
    assert [place.counts.size for place in places] == sorted((place.counts.size for place in places), reverse=True)
    assert len({(place.path, place.rest) for place in places}) == len(places)


@settings(max_examples=60, deadline=None)
@given(_ROWS)
def test_a_map_stays_in_its_space_and_labels_in_their_rectangles(rows: list[FileRow]) -> None:
    for shape in drawn_map(largest_places(rows), width=340, height=440):
        assert min(shape.x, shape.y) >= 0
        assert shape.x + shape.width <= 340.2
        assert shape.y + shape.height <= 440.2
        assert shape.tone in range(TONES)
        assert len(shape.label) * 7 <= max(0, shape.width - 8)
        assert shape.label or not shape.detail


def test_labels_keep_the_end_of_a_path() -> None:
    places = [Place(b"/srv/www/shop/static/assets", Counts(1, 0, 0, 50)), Place(b"/var/x", Counts(1, 0, 0, 50))]
    labels = [shape.label for shape in drawn_map(places, width=300, height=100)]
    assert labels == ["…/static/assets", "/var/x"]


def test_places_of_one_top_have_one_colour() -> None:
    places = [
        Place(b"/srv/a", Counts(1, 0, 0, 60)),
        Place(b"/opt/b", Counts(1, 0, 0, 50)),
        Place(b"/srv/c", Counts(1, 0, 0, 40)),
    ]
    tones = {shape.title.partition(":")[0]: shape.tone for shape in drawn_map(places, width=300, height=300)}
    assert tones == {"/srv/a": 0, "/srv/c": 0, "/opt/b": 1}


def test_a_bar_fills_its_width_and_shows_what_is_small() -> None:
    segments = drawn_bar([("pristine", 10**12), ("changed", 1), ("generated", 0), ("unmanaged", 10**12)])
    assert [segment.cls for segment in segments] == ["pristine", "changed", "unmanaged"]
    assert sum(segment.width for segment in segments) == pytest.approx(1000, abs=0.1)
    assert segments[1].width > 7
    assert segments[0].width == pytest.approx(segments[2].width)
    assert drawn_bar([("pristine", 0)]) == []
