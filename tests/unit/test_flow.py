"""Stages keep order and bound, hand failures to whoever feeds them, and end their threads."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from typing import TypeVar

import pytest

from snapstore.errors import CancelledError
from snapstore.flow import Background, BufferPool, Cancellation, OrderedStage, worker_count

SOON = 5.0
R = TypeVar("R")


class Counter:
    """How many items are inside a stage, and the most there ever were."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.now = 0
        self.most = 0

    def enter(self) -> None:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)

    def leave(self) -> None:
        with self._lock:
            self.now -= 1


@pytest.fixture(autouse=True)
def no_thread_is_left_behind() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    until = time.monotonic() + SOON
    while set(threading.enumerate()) - before and time.monotonic() < until:
        time.sleep(0.001)
    assert not set(threading.enumerate()) - before


def test_there_is_at_least_one_worker() -> None:
    assert worker_count() >= 1


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_results_come_in_the_order_of_the_items(workers: int) -> None:
    rng = random.Random(workers)
    delays = [rng.random() * 0.002 for _ in range(200)]
    found: list[int] = []

    def work(item: int) -> int:
        time.sleep(delays[item])
        return item * item

    stage = OrderedStage(work, found.append, workers=workers, depth=10)
    for item in range(200):
        stage.put(item)
    stage.finish()
    assert found == [item * item for item in range(200)]


def test_work_runs_in_parallel_and_the_sink_in_one_thread() -> None:
    both = threading.Barrier(2, timeout=SOON)
    sinks: set[int] = set()
    stage: OrderedStage[int, int] = OrderedStage(
        lambda _: both.wait(), lambda _: sinks.add(threading.get_ident()), workers=2, depth=4
    )
    for item in range(8):
        stage.put(item)
    stage.finish()
    assert len(sinks) == 1
    assert threading.get_ident() not in sinks


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_never_more_than_depth_items_are_inside(depth: int) -> None:
    inside = Counter()

    def sink(_: None) -> None:
        time.sleep(0.001)
        inside.leave()

    stage: OrderedStage[None, None] = OrderedStage(lambda _: inside.enter(), sink, workers=8, depth=depth)
    for _ in range(60):
        stage.put(None)
    stage.finish()
    assert inside.now == 0
    # An item leaves the counter before its place is free, so the counter can only be too low.
    assert 1 <= inside.most <= depth


def test_put_blocks_while_the_stage_is_full() -> None:
    gate = threading.Event()
    stage: OrderedStage[int, bool] = OrderedStage(lambda _: gate.wait(SOON), lambda _: None, workers=1, depth=2)
    stage.put(0)
    stage.put(1)
    through = threading.Event()

    def third() -> None:
        stage.put(2)
        through.set()

    feeder = threading.Thread(target=third)
    feeder.start()
    assert not through.wait(0.05)
    gate.set()
    assert through.wait(SOON)
    feeder.join()
    stage.finish()


def feed(stage: OrderedStage[int, R], count: int) -> None:
    for item in range(count):
        stage.put(item)


class BrokenError(Exception):
    """What goes wrong in these tests."""


def test_a_failure_in_work_reaches_the_feeder() -> None:
    found: list[int] = []

    def work(item: int) -> int:
        if item == 3:
            raise BrokenError("three")
        return item

    stage = OrderedStage(work, found.append, workers=2, depth=2)
    with pytest.raises(BrokenError, match="three"):
        feed(stage, 1000)
    with pytest.raises(BrokenError, match="three"):
        stage.put(0)
    with pytest.raises(BrokenError, match="three"):
        stage.finish()
    assert found == [0, 1, 2]


def test_a_failure_in_the_sink_reaches_the_feeder_and_nothing_is_sunk_after_it() -> None:
    found: list[int] = []

    def sink(item: int) -> None:
        if item == 2:
            raise BrokenError("two")
        found.append(item)

    stage = OrderedStage(lambda item: item, sink, workers=4, depth=3)
    with pytest.raises(BrokenError, match="two"):
        feed(stage, 1000)
    with pytest.raises(BrokenError, match="two"):
        stage.finish()
    assert found == [0, 1]


def test_the_first_failure_in_order_wins() -> None:
    def work(item: int) -> None:
        time.sleep(0.01 if item == 0 else 0)
        raise BrokenError(str(item))

    stage = OrderedStage(work, lambda _: None, workers=4, depth=8)
    for item in range(3):
        stage.put(item)
    with pytest.raises(BrokenError, match="0"):
        stage.finish()


def test_a_full_stage_that_failed_does_not_hang() -> None:
    def sink(_: int) -> None:
        raise BrokenError("sink")

    stage = OrderedStage(lambda item: item, sink, workers=1, depth=1)
    with pytest.raises(BrokenError):
        feed(stage, 100)
    stage.close()


def test_even_an_exit_is_kept_for_the_feeder() -> None:
    def work(_: int) -> None:
        raise KeyboardInterrupt

    stage = OrderedStage(work, lambda _: None, workers=1, depth=1)
    stage.put(0)
    with pytest.raises(KeyboardInterrupt):
        stage.finish()


def test_close_waits_raises_nothing_and_may_be_repeated() -> None:
    found: list[int] = []

    def work(item: int) -> int:
        time.sleep(0.01)
        if item == 1:
            raise BrokenError("one")
        return item

    stage = OrderedStage(work, found.append, workers=2, depth=4)
    for item in range(3):
        stage.put(item)
    stage.close()
    stage.close()
    assert found == [0]
    with pytest.raises(BrokenError):
        stage.finish()


def test_an_empty_stage_ends() -> None:
    stage: OrderedStage[int, int] = OrderedStage(lambda item: item, lambda _: None, workers=3, depth=3)
    stage.finish()
    stage.finish()


def test_cancellation() -> None:
    cancellation = Cancellation()
    cancellation.check()
    seen = [cancellation.cancelled]
    other = threading.Thread(target=cancellation.cancel)
    other.start()
    other.join()
    seen.append(cancellation.cancelled)
    assert seen == [False, True]
    for _ in range(2):
        with pytest.raises(CancelledError):
            cancellation.check()


def test_cancellation_stops_a_stage_at_its_next_item() -> None:
    cancellation = Cancellation()
    found: list[int] = []

    def work(item: int) -> int:
        cancellation.check()
        return item

    def sink(item: int) -> None:
        found.append(item)
        if item == 5:
            cancellation.cancel()

    stage = OrderedStage(work, sink, workers=2, depth=2)
    with pytest.raises(CancelledError):
        feed(stage, 10_000)
    stage.close()
    # What was inside already may still come out: as much as the depth.
    assert found == list(range(len(found)))
    assert 6 <= len(found) <= 8


def test_background_calls_run_in_order_in_one_other_thread() -> None:
    found: list[int] = []
    threads: set[int] = set()
    background = Background(depth=3)

    def call(number: int) -> None:
        found.append(number)
        threads.add(threading.get_ident())

    for number in range(50):
        background.submit(lambda number=number: call(number))  # type: ignore[misc]
    background.finish()
    assert found == list(range(50))
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_background_failure() -> None:
    def fail() -> None:
        raise BrokenError("behind")

    background = Background(depth=1)
    background.submit(fail)
    # There is room for one: it is free only when the failure is known.
    with pytest.raises(BrokenError, match="behind"):
        background.submit(fail)
    with pytest.raises(BrokenError, match="behind"):
        background.finish()
    background.close()


def test_a_lease_goes_back_when_its_last_holder_has_let_go() -> None:
    pool = BufferPool(size=10, count=1)
    lease = pool.lease()
    assert len(lease.buffer) == 10
    lease.hold()
    lease.hold()
    for _ in range(2):
        lease.release()
        assert pool.try_lease() is None
    lease.release()
    again = pool.try_lease()
    assert again is not None
    assert again.buffer is lease.buffer


def test_a_pool_holds_so_many_buffers_and_no_more() -> None:
    pool = BufferPool(size=4, count=3)
    leases = [pool.lease() for _ in range(3)]
    assert pool.try_lease() is None
    for number, lease in enumerate(leases):
        lease.buffer[:] = bytes([number]) * 4
    assert [bytes(lease.buffer) for lease in leases] == [bytes([number]) * 4 for number in range(3)]


def test_lease_blocks_until_a_buffer_is_free() -> None:
    pool = BufferPool(size=1, count=1)
    held = pool.lease()
    got = threading.Event()

    def take() -> None:
        pool.lease().release()
        got.set()

    taker = threading.Thread(target=take)
    taker.start()
    assert not got.wait(0.05)
    held.release()
    assert got.wait(SOON)
    taker.join()
    assert pool.try_lease() is not None


def test_holders_in_many_threads() -> None:
    pool = BufferPool(size=1, count=1)
    lease = pool.lease()
    threads = []
    for _ in range(8):
        lease.hold()
        threads.append(threading.Thread(target=lease.release))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert pool.try_lease() is None
    lease.release()
    assert pool.try_lease() is not None
    assert pool.try_lease() is None
