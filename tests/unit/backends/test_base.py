"""What the final methods hold against any implementation."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import pytest

from snapstore.backends import Listed, MemoryBackend
from snapstore.errors import CorruptObjectError, StoreError, StoreFullError
from tests.crash.faulty import Fail, Fault, FaultyBackend


class Rogue(MemoryBackend):
    """Lists what it should not, and gives back one byte, whatever was asked for."""

    def _list(self, prefix: str) -> Iterator[Listed]:
        yield Listed(f"{prefix}good", 1)
        yield Listed(f"{prefix}../bad", 1)
        yield Listed(f"{prefix}Bad", 1)
        yield Listed("elsewhere/bad", 1)

    def _get(self, name: str, offset: int, length: int | None) -> bytes:
        del name, offset, length
        return b"x"


def test_a_listing_holds_object_names_below_the_prefix_only() -> None:
    assert list(Rogue().list("packs/")) == [Listed("packs/good", 1)]


@pytest.mark.parametrize("length", [0, 2])
def test_an_answer_of_the_wrong_length_is_damage(length: int) -> None:
    assert Rogue().get("config", length=1) == b"x"
    with pytest.raises(CorruptObjectError, match=f"{length} bytes asked for at 5, 1 came back"):
        Rogue().get("config", offset=5, length=length)


def test_after_a_failed_write_a_staged_object_is_over() -> None:
    inner = MemoryBackend()
    staged = FaultyBackend(inner, [Fault(2, Fail(errno.ENOSPC), "write")]).stage()
    staged.write(b"one")
    with pytest.raises(StoreFullError):
        staged.write(b"two")
    assert staged.size == 3
    with pytest.raises(StoreError, match="published or discarded"):
        staged.write(b"three")
    with pytest.raises(StoreError, match="published or discarded"):
        staged.publish("config")
    assert list(inner.list("")) == []
