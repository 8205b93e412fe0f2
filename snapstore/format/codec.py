"""Compression of sections, and the guard before decompression (docs/format.md, section 6)."""

from __future__ import annotations

import enum
import threading

import zstandard

from snapstore.errors import CorruptObjectError
from snapstore.model import Buffer

DEFAULT_LEVEL = 3
RAW_LIMIT = 16 << 20
WINDOW_LIMIT = RAW_LIMIT
"""A frame of one segment has its content size for a window, so the two bounds are one."""


class Codec(enum.IntEnum):
    """How a section's payload stands for its raw bytes."""

    RAW = 0
    ZSTD = 1
    ZSTD_DELTA = 2
    PADDING = 3


DOCUMENT_CODECS = (Codec.RAW, Codec.ZSTD)
"""What small objects and trailers may use: a delta needs an index, and padding says nothing."""

_FRAME_MAGIC = bytes.fromhex("28b52ffd")  # RFC 8878, 3.1.1; a skippable frame has another and decompresses to nothing


class _PerThread(threading.local):
    """One zstd context per thread and level: contexts are large and not to be shared."""

    def __init__(self) -> None:
        self.compressors: dict[int, zstandard.ZstdCompressor] = {}
        self.decompressor = zstandard.ZstdDecompressor(max_window_size=WINDOW_LIMIT)


_contexts = _PerThread()


def compress(raw: Buffer, *, level: int = DEFAULT_LEVEL) -> tuple[Codec, Buffer]:
    """(codec, payload) for raw bytes: one zstd frame, or the bytes themselves where that gains nothing."""
    compressor = _contexts.compressors.get(level)
    if compressor is None:
        compressor = zstandard.ZstdCompressor(level=level, write_checksum=False, write_content_size=True)
        _contexts.compressors[level] = compressor
    frame = compressor.compress(raw)
    if len(frame) >= len(raw):
        return Codec.RAW, raw
    return Codec.ZSTD, frame


def compress_delta(raw: Buffer, bases: Buffer, *, level: int = DEFAULT_LEVEL) -> bytes:
    """One zstd frame of `raw` against a raw-content dictionary of the base chunks' bytes."""
    dictionary = zstandard.ZstdCompressionDict(bytes(bases), dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    return zstandard.ZstdCompressor(level=level, dict_data=dictionary, write_dict_id=False).compress(raw)


def decompress(codec: int, payload: Buffer, *, raw_length: int, name: str, bases: Buffer | None = None) -> Buffer:
    """The raw bytes of a section.

    Raises CorruptObjectError for a frame that breaks the format's rules, before any memory is given to it: the
    `max_output_size` argument of zstd protects nothing when a frame declares its own size.
    """
    if raw_length > RAW_LIMIT:
        raise CorruptObjectError(name, f"a section claims {raw_length} bytes, more than the format allows")
    if codec in (Codec.RAW, Codec.PADDING):
        if len(payload) != raw_length:
            raise CorruptObjectError(name, f"a section holds {len(payload)} bytes where {raw_length} were stated")
        return payload
    if codec not in (Codec.ZSTD, Codec.ZSTD_DELTA):
        raise CorruptObjectError(name, f"a section has the unknown codec {codec}")
    try:
        if bytes(payload[:4]) != _FRAME_MAGIC:
            raise CorruptObjectError(name, "a section does not begin with a zstd frame")
        frame = zstandard.get_frame_parameters(payload)
        if frame.content_size != raw_length:
            raise CorruptObjectError(name, f"a frame claims {frame.content_size} bytes where {raw_length} were stated")
        if frame.dict_id:
            raise CorruptObjectError(name, f"a frame names the dictionary {frame.dict_id}")
        if frame.window_size > WINDOW_LIMIT:
            raise CorruptObjectError(name, f"a frame asks for a window of {frame.window_size} bytes")
        if not raw_length:
            # The library answers for an empty frame without looking at what follows it.
            raise CorruptObjectError(name, "a section of no bytes is compressed")
        if codec == Codec.ZSTD:
            return _contexts.decompressor.decompress(payload, raw_length, allow_extra_data=False)
        if bases is None:
            raise ValueError("a delta cannot be read without its bases")
        dictionary = zstandard.ZstdCompressionDict(bytes(bases), dict_type=zstandard.DICT_TYPE_RAWCONTENT)
        decompressor = zstandard.ZstdDecompressor(dict_data=dictionary, max_window_size=WINDOW_LIMIT)
        return decompressor.decompress(payload, raw_length, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise CorruptObjectError(name, f"a section does not decompress: {error}") from error
