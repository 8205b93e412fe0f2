"""Bounded, ordered, cancellable stages: the only module that starts threads.

Everything heavy here (file reads, BLAKE3, zstd, ciphers, writes) runs without the interpreter lock, so a handful of
threads fills every core.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

from snapstore.errors import CancelledError

T = TypeVar("T")
R = TypeVar("R")


def worker_count() -> int:
    """How many threads fill the processors that this process may use."""
    return max(1, len(os.sched_getaffinity(0)))


class Cancellation:
    """A flag that any thread may raise; stages look at it between items."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = threading.Event()

    def cancel(self) -> None:
        """Asks every stage to stop at its next item. Safe in a signal handler."""
        self._event.set()

    @property
    def cancelled(self) -> bool:
        """Whether someone asked to stop."""
        return self._event.is_set()

    def check(self) -> None:
        """CancelledError if someone asked to stop."""
        if self._event.is_set():
            raise CancelledError("stopped")


class OrderedStage(Generic[T, R]):
    """Runs `work` on items in parallel and hands the results to `sink` in the order the items came.

    At most `depth` items are inside at a time: `put` blocks beyond that, which bounds memory. `sink` runs in one
    thread of its own. The first exception of either stops the stage; `put` and `finish` raise it. Results that come
    after it go to `drop`, which gives back what they hold: somebody may be waiting for that and not for the stage.
    """

    def __init__(
        self,
        work: Callable[[T], R],
        sink: Callable[[R], None],
        *,
        workers: int,
        depth: int,
        drop: Callable[[R], None] | None = None,
    ) -> None:
        self._work = work
        self._sink = sink
        self._drop = drop
        self._room = threading.Semaphore(depth)
        self._order: queue.SimpleQueue[Future[R] | None] = queue.SimpleQueue()
        self._failure: BaseException | None = None
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="stage")
        self._drain_thread = threading.Thread(target=self._drain, name="stage-sink", daemon=True)
        self._drain_thread.start()

    def put(self, item: T) -> None:
        """Gives the stage one more item; blocks while it is full."""
        self._room.acquire()
        if self._failure is not None:
            self._room.release()
            raise self._failure
        self._order.put(self._pool.submit(self._work, item))

    def _drain(self) -> None:
        while (future := self._order.get()) is not None:
            try:
                result = future.result()
                if self._failure is None:
                    self._sink(result)
                elif self._drop is not None:
                    self._drop(result)
            except BaseException as error:  # noqa: BLE001 - kept, and raised in the thread that feeds the stage
                if self._failure is None:
                    self._failure = error
            finally:
                self._room.release()

    def finish(self) -> None:
        """Waits until every item has gone through; raises the first failure."""
        self.close()
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """Waits for what is inside, ends the threads, raises nothing. May be called again."""
        if self._drain_thread.is_alive():
            self._order.put(None)
            self._drain_thread.join()
        self._pool.shutdown()


class Background:
    """One thread that runs calls in order, at most `depth` of them waiting; for slow tails such as fsync."""

    def __init__(self, *, depth: int) -> None:
        self._stage: OrderedStage[Callable[[], None], None] = OrderedStage(
            lambda call: call(), lambda _: None, workers=1, depth=depth
        )

    def submit(self, call: Callable[[], None]) -> None:
        """Queues a call; blocks while the queue is full; raises the failure of an earlier one."""
        self._stage.put(call)

    def finish(self) -> None:
        """Waits for every call; raises the first failure."""
        self._stage.finish()

    def close(self) -> None:
        """Waits and ends the thread, raises nothing."""
        self._stage.close()


class Lease:
    """One buffer of a pool, in use until every holder has released it. Made with one hold."""

    __slots__ = ("_holds", "_lock", "_pool", "buffer")

    def __init__(self, pool: queue.SimpleQueue[memoryview], buffer: memoryview) -> None:
        self._pool = pool
        self.buffer = buffer
        self._holds = 1
        self._lock = threading.Lock()

    def hold(self) -> None:
        """One more holder."""
        with self._lock:
            self._holds += 1

    def release(self) -> None:
        """One holder less; the last one gives the buffer back, and nobody may look into it afterwards."""
        with self._lock:
            self._holds -= 1
            last = self._holds == 0
        if last:
            self._pool.put(self.buffer)


class BufferPool:
    """A fixed number of equal buffers; `lease` blocks while all are in use, which bounds memory."""

    def __init__(self, *, size: int, count: int) -> None:
        self._free: queue.SimpleQueue[memoryview] = queue.SimpleQueue()
        for _ in range(count):
            self._free.put(memoryview(bytearray(size)))

    def lease(self) -> Lease:
        """A buffer with arbitrary contents."""
        return Lease(self._free, self._free.get())

    def try_lease(self) -> Lease | None:
        """The same, or None while all are in use."""
        try:
            return Lease(self._free, self._free.get_nowait())
        except queue.Empty:
            return None
