from __future__ import annotations

from dataclasses import replace

import pytest

from snapstore.errors import CorruptObjectError, MissingObjectError, RequestError
from snapstore.format.ids import chunk_id
from snapstore.model import ChunkId, Entry, Kind
from snapstore.ops.content import read_file
from snapstore.store.reader import Reader
from tests.oddities import noise
from tests.stores import Node, Writer, file, link, memory_store


def opened(roots: dict[bytes, Node]) -> tuple[Reader, list[Entry]]:
    store = memory_store()
    snapshot = Writer(store).commit(roots)
    return store.view().reader, [root.entry for root in snapshot.roots]


def content(reader: Reader, entry: Entry) -> bytes:
    return b"".join(read_file(reader, entry))


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 5000, 100_000])
def test_a_file_is_given_back(size: int) -> None:
    data = noise(size, 1)
    reader, [entry] = opened({b"/f": data})
    assert (entry.chunk_list is not None) == (size == 100_000)
    assert content(reader, entry) == data


@pytest.mark.parametrize(
    "holes",
    [
        ((0, 10),),
        ((5000, 10),),
        ((100, 1),),
        ((0, 1), (2, 1), (4, 3)),
        ((10, 3 << 20), ((3 << 20) + 11, 5)),
    ],
)
def test_holes_are_zeros_where_they_are(holes: tuple[tuple[int, int], ...]) -> None:
    data = noise(5000, 2)
    reader, [entry] = opened({b"/f": data})
    gaps = sum(length for _, length in holes)
    expected = data
    for offset, length in holes:
        expected = expected[:offset] + bytes(length) + expected[offset:]
    sparse = replace(entry, holes=holes, size=entry.size + gaps)
    assert content(reader, sparse) == expected


def test_a_file_of_one_hole_takes_no_memory_of_its_size() -> None:
    reader, _ = opened({})
    size = 1 << 40
    pieces = read_file(reader, file(size=size, holes=((0, size),)))
    assert [len(next(pieces)) for _ in range(100)] == [1 << 20] * 100


@pytest.mark.parametrize("by", [-1, 1])
def test_a_size_that_its_chunks_contradict_is_damage(by: int) -> None:
    reader, [entry] = opened({b"/f": noise(5000, 3)})
    with pytest.raises(CorruptObjectError, match=r"than the 4999|than the 5001"):
        content(reader, replace(entry, size=entry.size + by))


def test_a_chunk_that_is_nowhere_is_missing() -> None:
    reader, [entry] = opened({b"/f": b"x" * 100})
    lost = ChunkId(chunk_id(b"lost"))
    with pytest.raises(MissingObjectError, match=lost.hex()):
        content(reader, replace(entry, chunks=(lost,)))


def test_what_has_no_content_is_refused_when_asked() -> None:
    reader, _ = opened({})
    with pytest.raises(RequestError, match="is no file but a link"):
        read_file(reader, link(b"x", name=b"l"))
    with pytest.raises(RequestError, match="could not be read when the snapshot was taken"):
        read_file(reader, file(name=b"f", size=5, unread="EIO"))
    with pytest.raises(RequestError, match="is no file but a dir"):
        read_file(reader, Entry(name=b"d", kind=Kind.DIRECTORY, mode=0, uid=0, gid=0))
