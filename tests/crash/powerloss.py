"""A backend in memory that can say what a disk may hold after the power went out.

The worst file system that POSIX allows: names that were published or deleted since the last barrier of their directory
are each on the disk or not, in any combination, without any order between them. Content is durable when its name
appears, as a backend promises; with `syncs_content=False` it breaks that promise, and content that was published may
come back whole, empty or torn.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock

from snapstore.backends.base import DeleteBackend, Listed, Staged
from snapstore.backends.memory import MemoryBackend
from snapstore.backends.names import parent
from snapstore.model import Buffer

Objects = dict[str, bytes]


@dataclass(frozen=True, slots=True)
class _Change:
    """A name whose new meaning has not reached the disk: the object's content, or None where it was deleted."""

    name: str
    content: bytes | None

    def reach(self, disk: Objects) -> None:
        if self.content is None:
            disk.pop(self.name, None)
        else:
            disk[self.name] = self.content


class PowerLossBackend(DeleteBackend):
    """Starts with `durable` on the disk. `before_step` is called before every change and barrier: the crash points."""

    def __init__(
        self,
        durable: Mapping[str, bytes] | None = None,
        *,
        syncs_content: bool = True,
        before_step: Callable[[PowerLossBackend], None] | None = None,
    ) -> None:
        super().__init__("memory:")
        self._lock = Lock()
        self._durable: Objects = dict(durable or {})
        self._visible = MemoryBackend(objects=self._durable)
        self._pending: dict[str, list[_Change]] = {}
        self._syncs_content = syncs_content
        self._unsynced: set[str] = set()
        self._before_step = before_step

    def crash_states(self, *, limit: int = 4096, seed: int = 0) -> Iterator[Objects]:
        """Every distinct content that the disk may have now, or `limit` tries at random where there may be more.

        The random ones begin with "nothing pending got through" and "all of it did".
        """
        tries: Iterator[tuple[tuple[bool, ...], tuple[str, ...]]]
        changes = [change for pending in self._pending.values() for change in pending]
        unsynced = sorted(self._unsynced)
        if math.ldexp(3.0 ** len(unsynced), len(changes)) <= limit:
            landings = itertools.product((False, True), repeat=len(changes))
            tries = itertools.product(landings, itertools.product(("whole", "empty", "torn"), repeat=len(unsynced)))
        else:
            tries = _random_tries(len(changes), len(unsynced), limit, random.Random(seed))
        seen: set[frozenset[tuple[str, bytes]]] = set()
        for landed, fates in tries:
            state = self._disk(
                [change for change, there in zip(changes, landed, strict=True) if there],
                dict(zip(unsynced, fates, strict=True)),
            )
            key = frozenset(state.items())
            if key not in seen:
                seen.add(key)
                yield state

    def crashed(self, *, limit: int = 4096, seed: int = 0) -> Iterator[MemoryBackend]:
        """Each of `crash_states` as a backend of its own, as a process finds it after the machine came up again."""
        for state in self.crash_states(limit=limit, seed=seed):
            yield MemoryBackend(objects=state)

    def _disk(self, landed: Sequence[_Change], fates: Mapping[str, str]) -> Objects:
        disk = dict(self._durable)
        for change in landed:
            change.reach(disk)
        for name, fate in fates.items():
            if name in disk and fate != "whole":
                disk[name] = disk[name][: len(disk[name]) // 2] if fate == "torn" else b""
        return disk

    def _get(self, name: str, offset: int, length: int | None) -> bytes:
        return self._visible.get(name, offset=offset, length=length)

    def _size(self, name: str) -> int:
        return self._visible.size(name)

    def _exists(self, name: str) -> bool:
        return self._visible.exists(name)

    def _list(self, prefix: str) -> Iterator[Listed]:
        return self._visible.list(prefix)

    def _prepare(self, prefixes: Sequence[str]) -> None:
        self._visible.prepare(prefixes)

    def _put(self, name: str, parts: Sequence[Buffer]) -> bool:
        self._step()
        with self._lock:
            made = self._visible.put(name, parts)
            if made:
                self._pending.setdefault(parent(name), []).append(_Change(name, self._visible.get(name)))
                if not self._syncs_content:
                    self._unsynced.add(name)
            return made

    def _stage(self) -> Staged:
        return _PowerLossStaged(self)

    def _barrier(self, touched: Sequence[str] | None) -> None:
        self._step()
        with self._lock:
            for directory in [*self._pending]:
                if touched is None or any(_covers(each, directory) for each in touched):
                    for change in self._pending.pop(directory):
                        change.reach(self._durable)

    def _delete(self, name: str) -> None:
        self._step()
        with self._lock:
            self._visible.delete(name)
            self._pending.setdefault(parent(name), []).append(_Change(name, None))

    def _step(self) -> None:
        if self._before_step is not None:
            self._before_step(self)


class _PowerLossStaged(Staged):
    def __init__(self, backend: PowerLossBackend) -> None:
        super().__init__()
        self._backend = backend
        self._content = bytearray()

    def _write(self, part: memoryview) -> None:
        self._content += part

    def _publish(self, name: str) -> bool:
        return self._backend.put(name, [self._content])

    def _discard(self) -> None:
        self._content.clear()


def _covers(asked: str, directory: str) -> bool:
    if asked and not asked.endswith("/"):
        return directory == parent(asked)
    return directory.startswith(asked)


def _random_tries(
    changes: int, unsynced: int, limit: int, rng: random.Random
) -> Iterator[tuple[tuple[bool, ...], tuple[str, ...]]]:
    for landed in (False, True):
        yield (landed,) * changes, ("whole",) * unsynced
    for _ in range(limit - 2):
        # A different share each time, or nearly every try would be about half of a long list.
        share = rng.random()
        yield (
            tuple(rng.random() < share for _ in range(changes)),
            tuple(rng.choice(("whole", "empty", "torn")) for _ in range(unsynced)),
        )
