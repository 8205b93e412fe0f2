from __future__ import annotations

from collections.abc import Callable

import pytest

from snapstore.backends import DeleteBackend, MemoryBackend, ReadOnlyBackend
from snapstore.errors import ReadOnlyStoreError

CHANGES: dict[str, Callable[[DeleteBackend], object]] = {
    "prepare": lambda backend: backend.prepare(["packs/"]),
    "put": lambda backend: backend.put("other", [b"content"]),
    "put again": lambda backend: backend.put("config", [b"content"]),
    "stage": lambda backend: backend.stage(),
    "barrier": lambda backend: backend.barrier(),
    "delete": lambda backend: backend.delete("config"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_is_refused(change: str) -> None:
    inner = MemoryBackend("read only", objects={"config": b"content"})
    with ReadOnlyBackend(inner) as backend, pytest.raises(ReadOnlyStoreError, match="memory:read only"):
        CHANGES[change](backend)
    assert [listed.name for listed in inner.list("")] == ["config"]
    assert inner.get("config") == b"content"
