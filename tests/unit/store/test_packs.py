"""The writer of packs, where publishing fails behind its back."""

from __future__ import annotations

import pytest

from snapstore.backends import MemoryBackend, Staged
from snapstore.errors import StoreError
from snapstore.flow import Background
from snapstore.format.codec import DEFAULT_LEVEL
from snapstore.format.ids import chunk_id, new_session_id
from snapstore.format.seal import ObjectType
from snapstore.store.blocks import OpenBlock, make_ready
from snapstore.store.packs import PackWriter


class Watched(MemoryBackend):
    """Remembers what was staged."""

    def __init__(self) -> None:
        super().__init__()
        self.staged: list[Staged] = []

    def _stage(self) -> Staged:
        self.staged.append(super()._stage())
        return self.staged[-1]


def test_a_pack_that_cannot_be_handed_over_is_discarded() -> None:
    backend = Watched()
    background = Background(depth=1)

    def fail() -> None:
        raise StoreError("the disk is gone")

    background.submit(fail)
    writer = PackWriter(
        backend, ObjectType.METADATA_PACK, session=new_session_id(), store=bytes(16), background=background,
        on_stored=lambda contents: pytest.fail(f"{contents} was published"),
    )  # fmt: skip
    block = OpenBlock(ObjectType.METADATA_PACK)
    block.append(chunk_id(b"content"), b"content")
    writer.add(make_ready(block, level=DEFAULT_LEVEL, read_back=True))
    background.close()
    with pytest.raises(StoreError, match="the disk is gone"):
        writer.close()
    (staged,) = backend.staged
    with pytest.raises(StoreError, match="published or discarded"):
        staged.write(b"more")
    assert [*backend.list("")] == []
