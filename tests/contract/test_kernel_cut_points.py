"""cut_points, of both kernels: golden cuts, the laws of content-defined chunking, refusals."""

from __future__ import annotations

import array
import hashlib
import itertools
import json
import random
import threading
import time
from pathlib import Path

import pytest

from snapstore import kernel
from snapstore.kernel import Kernel

GEAR = b"".join(hashlib.sha256(b"gear %d" % i).digest()[:8] for i in range(256))
VECTORS = Path(__file__).parents[1] / "vectors" / "kernel" / "cut_points.json"
SIZES = (256, 1024, 4096)


@pytest.fixture(params=["native", "reference"])
def chosen(request: pytest.FixtureRequest) -> Kernel:
    name: str = request.param
    return kernel.load(name)


def stream(seed: str, size: int) -> bytes:
    """So many bytes of SHA-256 in counter mode: the same everywhere and for ever."""
    blocks = (hashlib.sha256(f"{seed} {i}".encode()).digest() for i in range(size // 32 + 1))
    return b"".join(blocks)[:size]


def lengths(cuts: list[int]) -> list[int]:
    return [end - start for start, end in itertools.pairwise([0, *cuts])]


def test_golden_cuts(chosen: Kernel) -> None:
    vectors = json.loads(VECTORS.read_text())
    assert hashlib.sha256(GEAR).hexdigest() == vectors["gear_sha256"]
    for case in vectors["cases"]:
        data = stream(case["seed"], case["size"])
        assert chosen.cut_points(data, GEAR, *case["sizes"]) == case["cuts"], case["seed"]


def test_nothing_has_no_cuts(chosen: Kernel) -> None:
    assert chosen.cut_points(b"", GEAR, *SIZES) == []


@pytest.mark.parametrize("size", [1, 255, 256])
def test_up_to_the_minimum_is_one_chunk(chosen: Kernel, size: int) -> None:
    assert chosen.cut_points(bytes(size), GEAR, *SIZES) == [size]


def test_sizes_stay_within_their_bounds_and_near_the_average(chosen: Kernel) -> None:
    found = lengths(chosen.cut_points(stream("bounds", 400_000), GEAR, *SIZES))
    assert sum(found) == 400_000
    assert all(256 <= length <= 4096 for length in found[:-1])
    assert 0 < found[-1] <= 4096
    assert 900 < sum(found) / len(found) < 1500


def test_a_byte_that_never_cuts_gives_chunks_of_the_maximum(chosen: Kernel) -> None:
    never = (1 << 63).to_bytes(8, "little") * 256  # the fingerprint is 2^63 after every byte
    found = lengths(chosen.cut_points(bytes(10_000), never, 256, 1024, 4096))
    assert found == [4096, 4096, 10_000 - 2 * 4096]


def test_a_gear_of_zeros_cuts_right_after_the_minimum(chosen: Kernel) -> None:
    assert chosen.cut_points(bytes(1000), bytes(2048), 256, 1024, 4096) == [257, 514, 771, 1000]


def test_with_all_sizes_equal_chunks_are_of_that_size(chosen: Kernel) -> None:
    assert chosen.cut_points(stream("equal", 1000), GEAR, 256, 256, 256) == [256, 512, 768, 1000]


def test_what_follows_a_cut_is_cut_as_if_it_stood_alone(chosen: Kernel) -> None:
    data = stream("suffix", 60_000)
    cuts = chosen.cut_points(data, GEAR, *SIZES)
    for i in (0, 3, len(cuts) // 2):
        assert [cuts[i] + end for end in chosen.cut_points(data[cuts[i] :], GEAR, *SIZES)] == cuts[i + 1 :]


@pytest.mark.parametrize("extra", [1, 7, 500, 5000])
def test_an_insertion_moves_only_the_cuts_around_it(chosen: Kernel, extra: int) -> None:
    data = stream("locality", 200_000)
    before = set(chosen.cut_points(data, GEAR, *SIZES))
    after = {end - extra for end in chosen.cut_points(stream("front", extra) + data, GEAR, *SIZES)}
    assert len(before & after) > 0.8 * len(before)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda data: array.array("I", data)])
def test_any_contiguous_buffer_will_do(chosen: Kernel, kind: type) -> None:
    data = stream("buffers", 20_000)
    assert chosen.cut_points(kind(data), kind(GEAR), *SIZES) == chosen.cut_points(data, GEAR, *SIZES)


def test_arguments_may_be_named(chosen: Kernel) -> None:
    data = stream("named", 9000)
    named = chosen.cut_points(data=data, gear=GEAR, minimum=256, average=1024, maximum=4096)
    assert named == chosen.cut_points(data, GEAR, *SIZES)


@pytest.mark.parametrize(
    "sizes",
    [
        (63, 1024, 4096),
        (256, 1000, 4096),
        (2048, 1024, 4096),
        (256, 4096, 1024),
        (256, 1024, (1 << 30) + 1),
        (-1, 1024, 4096),
        (256, 1024, 1 << 80),
        (-(1 << 80), 1024, 4096),
    ],
)
def test_impossible_sizes_are_refused(chosen: Kernel, sizes: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError):
        chosen.cut_points(b"data", GEAR, *sizes)


@pytest.mark.parametrize("gear", [b"", GEAR[:-1], GEAR + b"x"])
def test_a_gear_of_another_size_is_refused(chosen: Kernel, gear: bytes) -> None:
    with pytest.raises(ValueError, match="gear"):
        chosen.cut_points(b"data", gear, *SIZES)


def test_things_that_are_no_buffers_or_numbers_are_refused(chosen: Kernel) -> None:
    with pytest.raises(TypeError):
        chosen.cut_points("text", GEAR, *SIZES)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        chosen.cut_points(b"data", None, *SIZES)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        chosen.cut_points(b"data", GEAR, 256, 1024.0, 4096)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        chosen.cut_points(b"data", GEAR, 256, 1024)  # type: ignore[call-arg]
    with pytest.raises(BufferError):
        chosen.cut_points(memoryview(bytes(2000))[::2], GEAR, *SIZES)


def test_the_native_kernel_lets_other_threads_run() -> None:
    native = kernel.load("native")
    data = random.Random(0).randbytes(1 << 20) * 64
    ticks: list[float] = []
    stop = threading.Event()

    def tick() -> None:
        while not stop.is_set():
            ticks.append(time.monotonic())
            time.sleep(0.0005)

    thread = threading.Thread(target=tick)
    thread.start()
    try:
        for _ in range(20):
            start = time.monotonic()
            native.cut_points(data, GEAR, 1 << 16, 1 << 20, 1 << 22)
            took = time.monotonic() - start
            inside = [at for at in list(ticks) if start + took / 4 < at < start + took * 3 / 4]
            if inside:
                break
    finally:
        stop.set()
        thread.join()
    assert inside
