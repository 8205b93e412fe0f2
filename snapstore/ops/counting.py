"""A backend that counts what is read through it."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from snapstore.backends import Listed, ReadBackend


class CountingBackend(ReadBackend):
    """Reads come from `inner`; `count` is how many bytes were asked of it. It can write nothing."""

    def __init__(self, inner: ReadBackend) -> None:
        super().__init__(inner.url)
        self._inner = inner
        self._lock = threading.Lock()
        self.count = 0

    def _counted(self, size: int) -> None:
        with self._lock:
            self.count += size

    def _get(self, name: str, offset: int, length: int | None) -> bytes:
        data = self._inner.get(name, offset=offset, length=length)
        self._counted(len(data))
        return data

    def _view(self, name: str) -> memoryview:
        view = self._inner.view(name)
        self._counted(len(view))
        return view

    def _size(self, name: str) -> int:
        return self._inner.size(name)

    def _exists(self, name: str) -> bool:
        return self._inner.exists(name)

    def _list(self, prefix: str) -> Iterator[Listed]:
        return self._inner.list(prefix)
