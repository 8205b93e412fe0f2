"""Content-defined cut points under the parameters of one store (docs/format.md, section 5)."""

from __future__ import annotations

from dataclasses import dataclass

from blake3 import blake3

from snapstore import kernel
from snapstore.model import Buffer

NAME = "gear-nc2"
GEAR_CONTEXT = b"snapstore 1 gear table"
GEAR_SIZE = 2048

CHUNK_LIMIT = 16 << 20
"""No chunk of any store is longer than this (docs/format.md, section 5)."""


def plain_gear_table() -> bytes:
    """The gear table of stores without encryption: 256 u64, extended BLAKE3 output of a fixed string."""
    return blake3(GEAR_CONTEXT).digest(length=GEAR_SIZE)


@dataclass(frozen=True, slots=True)
class ChunkerParameters:
    """Bounds on chunk lengths in bytes; `average` is a power of two.

    Raises ValueError where 64 ≤ minimum ≤ average ≤ maximum ≤ 16 MiB does not hold.
    """

    minimum: int = 16 << 10
    average: int = 64 << 10
    maximum: int = 256 << 10

    def __post_init__(self) -> None:
        if not 64 <= self.minimum <= self.average <= self.maximum <= CHUNK_LIMIT:
            raise ValueError("chunk sizes have to satisfy 64 <= minimum <= average <= maximum <= 16 MiB")
        if self.average & (self.average - 1):
            raise ValueError("the average chunk size has to be a power of two")


class Chunker:
    """Cuts buffers into chunks, always in the same places for the same bytes."""

    __slots__ = ("_gear", "parameters")

    def __init__(self, parameters: ChunkerParameters, *, gear: bytes | None = None) -> None:
        self.parameters = parameters
        self._gear = plain_gear_table() if gear is None else gear

    def cut(self, data: Buffer) -> list[int]:
        """Ends of the chunks of `data`, increasing; the last is its length. Empty data has none.

        For a stream cut in pieces: the last chunk of a piece is only final at the end of the stream, so carry its
        bytes over to the front of the next piece.
        """
        p = self.parameters
        return kernel.cut_points(data, self._gear, p.minimum, p.average, p.maximum)
