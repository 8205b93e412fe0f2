"""Archives that are compressed, or are not: told apart by their first bytes and expanded as a stream.

What comes out is bounded: a stream of gzip or zstd may hold a thousand times its size and more in zeros.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import zstandard

from snapstore.format.codec import WINDOW_LIMIT

RATIO_FREE = 64 << 20
"""So many bytes come out of a stream before it is asked how many went in."""

_PIECE = 1 << 17
_EXPANDED = 1 << 18
_ZSTD_PIECE = 2 << 10
"""So much is given to zstd at once: an input of 4 bytes may expand to 128 KiB, and what comes out is not bounded."""
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_OTHERS = {b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"PK\x03\x04": "zip", b"7z\xbc\xaf": "7z", b"Salted__": "encrypted"}
_MAGIC = 8


class ExpansionError(ValueError):
    """The stream is damaged, cut off, of an unknown kind, or expands to more than it may."""


class Expansion:
    """Expands a stream. `read` is given a number of bytes and gives as many or fewer, none at the end.

    `ratio` bounds how many bytes may come out for one that goes in, once RATIO_FREE have; 0 for no bound.
    """

    def __init__(self, read: Callable[[int], bytes], *, ratio: int = 0) -> None:
        self._source = read
        self._ratio = ratio
        self._in = self._out = 0
        self._held = b""
        self._ended = False
        while len(self._held) < _MAGIC and (piece := self._take(_MAGIC)):
            self._held += piece
        self.kind = self._kind()
        self._expanded, self._at = b"", 0
        self._open()

    def _open(self) -> None:
        """Begins with the next of the streams that stand behind one another."""
        if self.kind == "gzip":
            self._gzip = zlib.decompressobj(wbits=31)
        elif self.kind == "zstd":
            self._zstd = zstandard.ZstdDecompressor(max_window_size=WINDOW_LIMIT).decompressobj()

    def _kind(self) -> str:
        if self._held.startswith(_GZIP):
            return "gzip"
        if self._held.startswith(_ZSTD):
            return "zstd"
        for magic, name in _OTHERS.items():
            if self._held.startswith(magic):
                raise ExpansionError(f"it is {name}, and not a tar archive, plain or compressed with gzip or zstd")
        return "plain"

    def _take(self, count: int) -> bytes:
        piece = self._source(count)
        self._in += len(piece)
        return piece

    def _feed(self, count: int) -> bytes:
        """What has not been expanded yet: what is held, then the source."""
        if self._held:
            piece, self._held = self._held[:count], self._held[count:]
            return piece
        return self._take(count)

    def read(self, count: int) -> bytes:
        """The next bytes, at most so many; none at the end. ExpansionError."""
        if self.kind == "plain":
            return self._feed(count)
        if self._at == len(self._expanded):
            self._expand()
        piece = self._expanded[self._at : self._at + count]
        self._at += len(piece)
        return piece

    def _expand(self) -> None:
        """Nothing; the next bytes are in `_expanded`, none at the end."""
        self._expanded, self._at = b"", 0
        try:
            while not self._expanded and not self._ended:
                self._expanded = self._step_gzip() if self.kind == "gzip" else self._step_zstd()
        except zlib.error as error:
            raise ExpansionError("its compressed data is damaged") from error
        except zstandard.ZstdError as error:
            raise ExpansionError("its compressed data is damaged, or needs more memory than is allowed") from error
        self._out += len(self._expanded)
        if self._ratio and self._out > RATIO_FREE and self._out > self._ratio * self._in:
            raise ExpansionError(f"it expands to more than {self._ratio} times its size")

    def _next_stream(self, unused: bytes) -> bool:
        """Whether there is another stream behind the one that has ended."""
        self._held = unused + self._held or self._take(_PIECE)
        if self._held:
            self._open()
        else:
            self._ended = True
        return not self._ended

    def _more(self, count: int) -> bytes:
        data = self._feed(count)
        if not data:
            raise ExpansionError("its compressed data is cut off")
        return data

    def _step_gzip(self) -> bytes:
        if self._gzip.eof and not self._next_stream(self._gzip.unused_data):
            return b""
        return self._gzip.decompress(self._gzip.unconsumed_tail or self._more(_PIECE), _EXPANDED)

    def _step_zstd(self) -> bytes:
        if self._zstd.eof and not self._next_stream(self._zstd.unused_data):
            return b""
        return self._zstd.decompress(self._more(_ZSTD_PIECE))
