"""A reader that knows documents besides those of the store: those of a snapshot that was not taken."""

from __future__ import annotations

from collections.abc import Mapping

from snapstore.backends import ReadBackend
from snapstore.model import ChunkId
from snapstore.store.catalog import Catalog
from snapstore.store.reader import Reader


class OverlayReader(Reader):
    """Reads manifest documents from `documents` first; contents come from the store alone."""

    def __init__(
        self, backend: ReadBackend, catalog: Catalog, *, store: bytes, documents: Mapping[ChunkId, bytes]
    ) -> None:
        super().__init__(backend, catalog, store=store)
        self._documents = documents

    def document(self, chunk: ChunkId) -> bytes:
        """The bytes of a manifest chunk."""
        known = self._documents.get(chunk)
        return super().document(chunk) if known is None else known
