"""Any data, any gear, any sizes: both kernels cut alike, and the cuts obey their laws."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from snapstore import kernel

if TYPE_CHECKING:
    from collections.abc import Callable

NATIVE = kernel.load("native")
REFERENCE = kernel.load("reference")
Sizes = tuple[int, int, int]


@st.composite
def sizes(draw: Callable[[st.SearchStrategy[int]], int]) -> Sizes:
    average = 1 << draw(st.integers(6, 12))
    return draw(st.integers(64, average)), average, draw(st.integers(average, 4 * average))


@st.composite
def data(draw: Callable[[st.SearchStrategy[int]], int]) -> bytes:
    """Noise, with few different byte values or many, and runs of one byte."""
    rng = random.Random(draw(st.integers(0, 2**32)))
    parts = []
    for _ in range(draw(st.integers(0, 4))):
        length = rng.randint(0, draw(st.sampled_from([60, 600, 6000])))
        kinds = draw(st.sampled_from([1, 2, 16, 256]))
        alphabet = rng.sample(range(256), kinds)
        parts.append(bytes(rng.choices(alphabet, k=length)))
    return b"".join(parts)


@st.composite
def gears(draw: Callable[[st.SearchStrategy[int]], int]) -> bytes:
    """Random numbers, of which some are degenerate."""
    rng = random.Random(draw(st.integers(0, 2**32)))
    numbers = [rng.getrandbits(64) for _ in range(256)]
    for _ in range(draw(st.integers(0, 200))):
        numbers[rng.randrange(256)] = rng.choice([0, 1, 1 << 63, 2**64 - 1, 1 << 46])
    return b"".join(number.to_bytes(8, "little") for number in numbers)


@settings(max_examples=150, deadline=None)
@given(data(), gears(), sizes())
def test_both_kernels_cut_alike_and_by_the_rules(data: bytes, gear: bytes, sizes: Sizes) -> None:
    cuts = NATIVE.cut_points(data, gear, *sizes)
    assert cuts == REFERENCE.cut_points(data, gear, *sizes)
    assert (cuts[-1] if cuts else 0) == len(data)
    lengths = [end - start for start, end in itertools.pairwise([0, *cuts])]
    assert all(sizes[0] <= length <= sizes[2] for length in lengths[:-1])
    assert all(0 < length <= sizes[2] for length in lengths[-1:])


@settings(max_examples=100, deadline=None)
@given(data(), gears(), sizes(), st.integers(0, 20))
def test_the_cuts_after_a_cut_depend_only_on_what_follows(data: bytes, gear: bytes, sizes: Sizes, skip: int) -> None:
    cuts = NATIVE.cut_points(data, gear, *sizes)
    start = cuts[skip % len(cuts)] if cuts else 0
    rest = NATIVE.cut_points(memoryview(data)[start:], gear, *sizes)
    assert [start + end for end in rest] == [end for end in cuts if end > start]


@settings(max_examples=100, deadline=None)
@given(data(), gears(), sizes(), st.binary(max_size=2000))
def test_all_but_the_last_cut_stay_when_more_follows(data: bytes, gear: bytes, sizes: Sizes, more: bytes) -> None:
    before = NATIVE.cut_points(data, gear, *sizes)
    after = NATIVE.cut_points(data + more, gear, *sizes)
    assert after[: len(before) - 1] == before[:-1]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 3000))
def test_after_an_insertion_the_cuts_fall_into_step_again(seed: int, extra: int) -> None:
    rng = random.Random(seed)
    content, gear = rng.randbytes(300_000), rng.randbytes(2048)
    before = set(NATIVE.cut_points(content, gear, 256, 1024, 4096))
    after = {end - extra for end in NATIVE.cut_points(rng.randbytes(extra) + content, gear, 256, 1024, 4096)}
    assert len(before & after) > 0.7 * len(before)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 64), st.sampled_from([0, 4096, 16_385, 100_000, 300_001]))
def test_large_data_at_any_alignment(seed: int, start: int, size: int) -> None:
    rng = random.Random(seed)
    content, gear = rng.randbytes(size + start), rng.randbytes(2048)
    view = memoryview(content)[start:]
    assert NATIVE.cut_points(view, gear, 4096, 16384, 65536) == REFERENCE.cut_points(view, gear, 4096, 16384, 65536)
