"""A backend that reads through another one and refuses everything else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NoReturn

from snapstore.backends.base import DeleteBackend, Listed, ReadBackend, Staged
from snapstore.errors import ReadOnlyStoreError
from snapstore.model import Buffer


class ReadOnlyBackend(DeleteBackend):
    """Reads come from `inner`; whatever would change it raises ReadOnlyStoreError and changes nothing."""

    def __init__(self, inner: ReadBackend) -> None:
        super().__init__(inner.url)
        self._inner = inner

    def close(self) -> None:
        """Nothing; the inner backend is closed."""
        self._inner.close()

    def _get(self, name: str, offset: int, length: int | None) -> bytes:
        return self._inner.get(name, offset=offset, length=length)

    def _view(self, name: str) -> memoryview:
        return self._inner.view(name)

    def _size(self, name: str) -> int:
        return self._inner.size(name)

    def _exists(self, name: str) -> bool:
        return self._inner.exists(name)

    def _list(self, prefix: str) -> Iterator[Listed]:
        return self._inner.list(prefix)

    def _prepare(self, prefixes: Sequence[str]) -> None:
        del prefixes
        self._refuse("prepared")

    def _put(self, name: str, parts: Sequence[Buffer]) -> bool:
        del parts
        self._refuse(f"given {name}")

    def _stage(self) -> Staged:
        self._refuse("given an object")

    def _barrier(self, touched: Sequence[str] | None) -> None:
        del touched
        self._refuse("synchronised")

    def _delete(self, name: str) -> None:
        self._refuse(f"rid of {name}")

    def _refuse(self, what: str) -> NoReturn:
        raise ReadOnlyStoreError(f"{self.url} was opened for reading only and cannot be {what}")
