"""Damage is found, all of it, and only as an error of the store: no other exception leaves a reader."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from snapstore.errors import CorruptObjectError, FormatVersionError, StoreError
from snapstore.format import codec as codecs
from snapstore.format.index import Index
from snapstore.format.pack import parse_footer, parse_pack
from snapstore.format.seal import ObjectType
from snapstore.format.smallobject import read_small
from tests.vectors import forge, golden, hostile, hostile_xml
from tests.vectors.forge import STORE
from tests.vectors.readers import READERS

OBJECTS: dict[str, tuple[str, bytes]] = {
    vector.file: (reader, vector.data)
    for vector in golden.objects()
    for reader, files in {
        "config": ("config.raw.bin", "config.zstd.bin"),
        "final": ("snapshot.raw.bin", "snapshot.zstd.bin", "fence.raw.bin", "checkpoint.zstd.bin"),
        "pack": ("data.pack",),
        "metadata pack": ("metadata.pack",),
        "index": ("index-0.bin", "index-1.bin", "index-8.bin", "index-100.bin"),
    }.items()
    if vector.file in files
}
SMALLEST = ("config.zstd.bin", "fence.raw.bin", "metadata.pack", "index-1.bin", "checkpoint.zstd.bin", "index-0.bin")


@pytest.mark.parametrize("file", SMALLEST)
def test_every_flipped_bit_is_found(file: str) -> None:
    reader, data = OBJECTS[file]
    read = READERS[reader]
    read(data)
    for bit in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises((CorruptObjectError, FormatVersionError)):
            read(bytes(flipped))


@pytest.mark.parametrize("file", OBJECTS)
def test_every_truncation_is_damage(file: str) -> None:
    reader, data = OBJECTS[file]
    read = READERS[reader]
    for length in range(len(data)):
        with pytest.raises(CorruptObjectError):
            read(data[:length])


@pytest.mark.parametrize("vector", golden.documents(), ids=lambda vector: vector.file)
def test_every_truncated_document_is_damage(vector: golden.Vector) -> None:
    reader = READERS[{"tree": "tree", "chun": "chunks"}.get(vector.file[:4], "record")]
    for length in range(0, len(vector.data), 1 if len(vector.data) < 2000 else 7):
        with pytest.raises(CorruptObjectError):
            reader(vector.data[:length])


@pytest.mark.parametrize("file", OBJECTS)
def test_nothing_may_follow_an_object(file: str) -> None:
    reader, data = OBJECTS[file]
    for tail in (b"\0", b"\n", data):
        with pytest.raises(CorruptObjectError):
            READERS[reader](data + tail)


OF_ANOTHER_STORE: list[Callable[[bytes], object]] = [
    lambda store: read_small(OBJECTS["fence.raw.bin"][1], ObjectType.FINAL, store=store, name="x"),
    lambda store: parse_pack(OBJECTS["data.pack"][1], kind=ObjectType.DATA_PACK, store=store, name="x"),
    lambda store: Index(OBJECTS["index-8.bin"][1], store=store, name="x"),
]


@pytest.mark.parametrize("read", OF_ANOTHER_STORE, ids=["small", "pack", "index"])
def test_an_object_is_of_its_store_only(read: Callable[[bytes], object]) -> None:
    assert read(STORE)
    with pytest.raises(CorruptObjectError, match="does not match its tag"):
        read(bytes(16))


def survives(reader: Callable[[bytes], object], data: bytes) -> None:
    """Nothing; whatever a reader makes of the bytes, only an error of the store may leave it."""
    message = "accepted"
    try:
        reader(data)
    except StoreError as error:
        message = str(error)
    assert message
    assert "\n" not in message


GOOD = [data for _, data in OBJECTS.values()] + [vector.data for vector in golden.documents()]
BAD = [case.data for case in [*hostile.cases(), *hostile_xml.cases()] if len(case.data) < 5000]
SMALL = [data for data in GOOD if len(data) < 6000]
EDITS = st.lists(
    st.tuples(st.integers(0, 6000), st.integers(0, 16), st.one_of(st.binary(max_size=16), st.sampled_from(SMALL))),
    min_size=1,
    max_size=4,
)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(sorted(READERS)), st.one_of(st.binary(max_size=400), st.sampled_from(SMALL + BAD)), st.booleans()
)
@example("pack", b"SNAP\1\0\5" + bytes(200), True)
def test_any_bytes_are_survived(reader: str, data: bytes, headed: bool) -> None:  # noqa: FBT001 - a strategy's value
    head = {"config": 1, "final": 3, "index": 4, "pack": 5, "metadata pack": 6}.get(reader)
    if headed and head is not None:
        data = forge.header(head) + data
    survives(READERS[reader], data)


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(sorted(READERS)), st.sampled_from(SMALL + BAD), EDITS)
def test_any_mutation_is_survived(reader: str, data: bytes, edits: list[tuple[int, int, bytes]]) -> None:
    for at, length, piece in edits:
        place = at % (len(data) + 1)
        data = data[:place] + piece + data[place + length :]
    survives(READERS[reader], data)


# With right tags the mutation reaches what lies behind them, as a hostile writer's would.


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([0, 1, 8, 100]), EDITS)
def test_any_sealed_index_is_survived(count: int, edits: list[tuple[int, int, bytes]]) -> None:
    data = OBJECTS[f"index-{count}.bin"][1]
    body = data[96:-16]
    for at, length, piece in edits:
        place = at % (len(body) + 1)
        # Of the same length most of the time, so that not every case ends at the sum of the counts.
        body = body[:place] + piece[:length] + body[place + length :]
    head = data[:96]
    sealed = head + body + forge.tag(head, body, slot=0, codec=0, raw_length=len(body))
    survives(READERS["index"], sealed)
    try:
        index = Index(sealed, store=STORE, name="index")
    except CorruptObjectError:
        return
    for name, _ in golden.indexed(20):
        survives(lambda chunk, index=index: index.find(chunk), name)  # type: ignore[misc]
    for number in range(5):
        survives(lambda _, index=index, number=number: index.block(number), b"")  # type: ignore[misc]


@settings(max_examples=300, deadline=None)
@given(EDITS, st.integers(0, 4))
def test_any_sealed_trailer_is_survived(edits: list[tuple[int, int, bytes]], codec: int) -> None:
    blocks = golden.metadata_blocks()
    raw = forge.trailer(blocks)
    for at, length, piece in edits:
        place = at % (len(raw) + 1)
        raw = raw[:place] + piece[:length] + raw[place + length :]
    packed = forge.pack(blocks, kind=forge.METADATA_PACK, raw_trailer=raw, trailer_codec=codec)

    def read(data: bytes) -> object:
        try:
            return READERS["metadata pack"](data)
        except (AssertionError, KeyError):
            return None  # The test's own reader compares ids and looks bases up; the package got that far.

    survives(read, packed)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 5), st.binary(max_size=60), st.integers(0, 1 << 25), st.booleans())
def test_any_section_is_survived(codec: int, payload: bytes, length: int, magic: bool) -> None:  # noqa: FBT001 - a value
    data = bytes.fromhex("28b52ffd") + payload if magic else payload
    for stated in (length, len(data), payload[0] if payload else 0):
        survives(lambda data: codecs.decompress(codec, data, raw_length=stated, name="x", bases=b"base"), data)  # noqa: B023 - called at once


@given(st.binary(min_size=0, max_size=40), st.integers(0, 1 << 40))
def test_any_footer_is_survived(data: bytes, size: int) -> None:
    survives(lambda data: parse_footer(data, size=size, name="pack"), data)
    survives(lambda data: parse_footer(data + b"\0\0\0PEND", size=size, name="pack"), data)
