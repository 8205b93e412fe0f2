"""Objects in this process's memory: for tests, dry runs and stores that need not outlive the process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock

from snapstore.backends.base import DeleteBackend, Listed, Staged, range_end
from snapstore.backends.names import ancestors, check_name, parent
from snapstore.errors import MissingObjectError, ObjectExistsError, StoreError
from snapstore.model import Buffer


@dataclass(slots=True)
class _Place:
    """What the backends of one name share. `prefixes` are what a file system would call directories."""

    objects: dict[str, bytes] = field(default_factory=dict)
    prefixes: set[str] = field(default_factory=set)
    lock: Lock = field(default_factory=Lock)


_named: dict[str, _Place] = {}
_named_lock = Lock()


class MemoryBackend(DeleteBackend):
    """Backends of the same name in one process hold the same objects; a backend without a name is alone.

    `objects` are there from the start.
    """

    def __init__(self, name: str = "", *, objects: Mapping[str, bytes] | None = None) -> None:
        super().__init__(f"memory:{name}")
        self._place = _place(name)
        for object_name, data in (objects or {}).items():
            self._add(check_name(object_name), data)

    def _get(self, name: str, offset: int, length: int | None) -> bytes:
        data = self._whole(name)
        return data[offset : range_end(name, size=len(data), offset=offset, length=length)]

    def _size(self, name: str) -> int:
        return len(self._whole(name))

    def _exists(self, name: str) -> bool:
        return name in self._place.objects

    def _list(self, prefix: str) -> Iterator[Listed]:
        with self._place.lock:
            found = [Listed(name, len(data)) for name, data in self._place.objects.items() if name.startswith(prefix)]
        yield from found

    def _prepare(self, prefixes: Sequence[str]) -> None:
        with self._place.lock:
            for prefix in prefixes:
                self._make(prefix)

    def _put(self, name: str, parts: Sequence[Buffer]) -> bool:
        return self._add(name, b"".join(parts))

    def _stage(self) -> Staged:
        return _MemoryStaged(self)

    def _barrier(self, touched: Sequence[str] | None) -> None:
        del touched  # memory is as durable as it gets

    def _delete(self, name: str) -> None:
        with self._place.lock:
            if self._place.objects.pop(name, None) is None:
                raise MissingObjectError(name)

    def _whole(self, name: str) -> bytes:
        data = self._place.objects.get(name)
        if data is None:
            raise MissingObjectError(name)
        return data

    def _add(self, name: str, data: bytes) -> bool:
        with self._place.lock:
            there = self._place.objects.get(name)
            if there == data:
                return False
            if there is not None or f"{name}/" in self._place.prefixes:
                raise ObjectExistsError(name)
            self._make(parent(name))
            self._place.objects[name] = data
            return True

    def _make(self, prefix: str) -> None:
        for each in [*ancestors(prefix)[1:], prefix]:
            if each[:-1] in self._place.objects:
                raise StoreError(f"{each} cannot hold objects: {each[:-1]} is one itself")
            self._place.prefixes.add(each)


class _MemoryStaged(Staged):
    def __init__(self, backend: MemoryBackend) -> None:
        super().__init__()
        self._backend = backend
        self._parts: list[bytes] = []

    def _write(self, part: memoryview) -> None:
        self._parts.append(bytes(part))

    def _publish(self, name: str) -> bool:
        return self._backend.put(name, self._parts)

    def _discard(self) -> None:
        self._parts.clear()


def _place(name: str) -> _Place:
    if not name:
        return _Place()
    with _named_lock:
        return _named.setdefault(name, _Place())
