"""A backend that misbehaves on demand: at a chosen call it fails, claims to have failed, damages a read, or dies.

Calls are counted from 1, per operation or over all of them, so a test can go through "fail at call n" for every n:
run once without a plan, look at `calls`, then run again for each of them.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from snapstore.backends.base import DeleteBackend, Listed, Staged, store_error
from snapstore.model import Buffer

Operation = Literal["get", "size", "exists", "list", "prepare", "put", "stage", "write", "publish", "barrier", "delete"]
Answer = TypeVar("Answer")

MUTATIONS: frozenset[Operation] = frozenset({"prepare", "put", "stage", "write", "publish", "barrier", "delete"})


@dataclass(frozen=True, slots=True)
class Fail:
    """The call raises what this errno means; it took effect first if `applied`, as with an answer lost on its way."""

    errno: int
    applied: bool = False


@dataclass(frozen=True, slots=True)
class Truncate:
    """The read gives back only this many of the bytes asked for."""

    keep: int


@dataclass(frozen=True, slots=True)
class FlipBit:
    """The read gives back one wrong bit; `bit` counts through the answer and wraps around at its end."""

    bit: int


@dataclass(frozen=True, slots=True)
class Die:
    """The process ends at once without any clean-up; the call took effect first if `applied`."""

    status: int = 70
    applied: bool = False


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens at call `at` of `operation`, or of all operations taken together where there is none given."""

    at: int
    action: Fail | Truncate | FlipBit | Die
    operation: Operation | None = None


class FaultyBackend(DeleteBackend):
    """`inner` with the faults of `plan`. `calls` lists (operation, name) as they came, `fired` the faults met."""

    def __init__(self, inner: DeleteBackend, plan: Sequence[Fault] = ()) -> None:
        super().__init__(inner.url)
        self.inner = inner
        self.calls: list[tuple[Operation, str]] = []
        self.fired: list[Fault] = []
        self._plan = plan
        self._counts: Counter[Operation] = Counter()

    def call(self, operation: Operation, name: str, act: Callable[[], Answer]) -> Answer:
        """The answer of `act`, unless a fault is planned for this call."""
        self.calls.append((operation, name))
        self._counts[operation] += 1
        for fault in self._plan:
            count = len(self.calls) if fault.operation is None else self._counts[operation]
            if fault.operation in (None, operation) and fault.at == count:
                self.fired.append(fault)
                return _struck(fault.action, name or self.url, act, writing=operation in MUTATIONS)
        return act()

    def close(self) -> None:
        self.inner.close()

    def _get(self, name: str, offset: int, length: int | None) -> bytes:
        return self.call("get", name, lambda: self.inner.get(name, offset=offset, length=length))

    def _size(self, name: str) -> int:
        return self.call("size", name, lambda: self.inner.size(name))

    def _exists(self, name: str) -> bool:
        return self.call("exists", name, lambda: self.inner.exists(name))

    def _list(self, prefix: str) -> Iterator[Listed]:
        return iter(self.call("list", prefix, lambda: [*self.inner.list(prefix)]))

    def _prepare(self, prefixes: Sequence[str]) -> None:
        self.call("prepare", "", lambda: self.inner.prepare(prefixes))

    def _put(self, name: str, parts: Sequence[Buffer]) -> bool:
        return self.call("put", name, lambda: self.inner.put(name, parts))

    def _stage(self) -> Staged:
        return self.call("stage", "", lambda: _FaultyStaged(self, self.inner.stage()))

    def _barrier(self, touched: Sequence[str] | None) -> None:
        self.call("barrier", "", lambda: self.inner.barrier(touched))

    def _delete(self, name: str) -> None:
        self.call("delete", name, lambda: self.inner.delete(name))


class _FaultyStaged(Staged):
    def __init__(self, owner: FaultyBackend, inner: Staged) -> None:
        super().__init__()
        self._owner = owner
        self._inner = inner

    def _write(self, part: memoryview) -> None:
        self._owner.call("write", "", lambda: self._inner.write(part))

    def _publish(self, name: str) -> bool:
        with self._inner:
            return self._owner.call("publish", name, lambda: self._inner.publish(name))

    def _discard(self) -> None:
        self._inner.discard()


def _struck(action: Fail | Truncate | FlipBit | Die, what: str, act: Callable[[], Answer], *, writing: bool) -> Answer:
    if isinstance(action, Fail):
        if action.applied:
            act()
        raise store_error(OSError(action.errno, os.strerror(action.errno)), what, writing=writing)
    if isinstance(action, Die):
        if action.applied:
            act()
        os._exit(action.status)
    answer = act()
    if not isinstance(answer, bytes):
        raise TypeError(f"{action} is a fault of reads, {what} was called for something else")
    return type(answer)(_damaged(answer, action))


def _damaged(data: bytes, action: Truncate | FlipBit) -> bytes:
    if isinstance(action, Truncate):
        return data[: action.keep]
    if not data:
        return data  # no bit to flip
    byte, bit = divmod(action.bit % (8 * len(data)), 8)
    return data[:byte] + bytes([data[byte] ^ 1 << bit]) + data[byte + 1 :]
