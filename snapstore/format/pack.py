"""Packs: sealed blocks and the trailer that describes them (docs/format.md, sections 6 and 7)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from snapstore.errors import CorruptObjectError
from snapstore.format import codec as codecs
from snapstore.format.ids import ID_SIZE
from snapstore.format.seal import HEADER_SIZE, TAG_SIZE, Header, ObjectType, Sealer, parse_header
from snapstore.model import Buffer, ChunkId, SessionId

TRAILER_SLOT = 0xFFFFFFFF
BASES_LIMIT = 4
_FOOTER = struct.Struct("<IIB3s4s")
_COUNTS = struct.Struct("<IIII")
_BLOCK = struct.Struct("<QIIIBBH")
FOOTER_SIZE = _FOOTER.size
FOOTER_MAGIC = b"PEND"


@dataclass(frozen=True, slots=True)
class PackBlock:
    """One block of a pack: where it lies (bytes), how it is coded, and which chunks it holds, in order."""

    slot: int
    offset: int
    stored_length: int
    raw_length: int
    codec: int
    lengths: Sequence[int]
    ids: bytes
    bases: bytes = b""

    def chunk_ids(self) -> list[ChunkId]:
        """The ids of its chunks, in order."""
        return [ChunkId(self.ids[i : i + ID_SIZE]) for i in range(0, len(self.ids), ID_SIZE)]

    def offsets(self) -> list[int]:
        """Where in the raw block each chunk begins."""
        return list(accumulate(self.lengths[:-1], initial=0)) if self.lengths else []


class PackBuilder:
    """Lays out one pack; the caller writes the parts it returns, in the order they come. Not thread-safe."""

    def __init__(self, kind: ObjectType, *, session: SessionId, store: bytes) -> None:
        self.kind = kind
        self.header = Header(kind, session).pack()
        self.sealer = Sealer(self.header, store)
        self.size = HEADER_SIZE
        self.blocks: list[PackBlock] = []

    def add(
        self, codec: int, payload: Buffer, *, raw_length: int, lengths: Sequence[int], ids: bytes, bases: bytes = b""
    ) -> tuple[PackBlock, tuple[Buffer, bytes]]:
        """Seals a payload as the next block; (its record, its stored parts)."""
        slot = len(self.blocks)
        parts = self.sealer.seal(payload, slot=slot, codec=codec, raw_length=raw_length)
        stored = len(parts[0]) + len(parts[1])
        block = PackBlock(slot, self.size, stored, raw_length, codec, lengths, ids, bases)
        self.blocks.append(block)
        self.size += stored
        return block, parts

    def finish(self) -> tuple[Buffer, bytes, bytes]:
        """The trailer and footer as parts; `size` is then the object's size."""
        raw = _write_trailer(self.blocks)
        codec, payload = codecs.compress(raw)
        body, tag = self.sealer.seal(payload, slot=TRAILER_SLOT, codec=codec, raw_length=len(raw))
        footer = _FOOTER.pack(len(body) + len(tag), len(raw), codec, bytes(3), FOOTER_MAGIC)
        self.size += len(body) + len(tag) + len(footer)
        return body, tag, footer


def _write_trailer(blocks: Sequence[PackBlock]) -> bytes:
    chunks = sum(len(b.lengths) for b in blocks)
    parts = [_COUNTS.pack(len(blocks), sum(len(b.bases) for b in blocks) // ID_SIZE, chunks, 0)]
    parts += [
        _BLOCK.pack(b.offset, b.stored_length, b.raw_length, len(b.lengths), b.codec, len(b.bases) // ID_SIZE, 0)
        for b in blocks
    ]
    parts += [b.bases for b in blocks]
    parts += [struct.pack(f"<{len(b.lengths)}I", *b.lengths) for b in blocks]
    parts += [b.ids for b in blocks]
    return b"".join(parts)


@dataclass(frozen=True, slots=True)
class Footer:
    """The last 16 bytes of a pack: how to find and open its trailer (bytes)."""

    stored_length: int
    raw_length: int
    codec: int


def parse_footer(data: Buffer, *, size: int, name: str) -> Footer:
    """The footer in the last bytes of `data`; `size` is the whole object's, for the range check."""
    if size < HEADER_SIZE + TAG_SIZE + FOOTER_SIZE or len(data) < FOOTER_SIZE:
        raise CorruptObjectError(name, f"it has {size} bytes, too few for a pack")
    stored, raw, codec, reserved, magic = _FOOTER.unpack_from(data, len(data) - FOOTER_SIZE)
    if magic != FOOTER_MAGIC or any(reserved):
        raise CorruptObjectError(name, "it does not end like a pack: it is truncated or overwritten")
    if codec not in codecs.DOCUMENT_CODECS:
        raise CorruptObjectError(name, f"its trailer has the codec {codec}, which trailers do not use")
    if stored < TAG_SIZE or stored > size - HEADER_SIZE - FOOTER_SIZE:
        raise CorruptObjectError(name, f"its footer claims a trailer of {stored} bytes")
    return Footer(stored, raw, codec)


def parse_trailer(section: Buffer, footer: Footer, *, sealer: Sealer, size: int, name: str) -> list[PackBlock]:
    """The blocks that a sealed trailer lists; CorruptObjectError unless they tile the pack exactly."""
    payload = sealer.open(
        section, slot=TRAILER_SLOT, codec=footer.codec, raw_length=footer.raw_length, name=f"trailer of {name}"
    )
    raw = memoryview(codecs.decompress(footer.codec, payload, raw_length=footer.raw_length, name=f"trailer of {name}"))
    if len(raw) < _COUNTS.size:
        raise CorruptObjectError(name, "its trailer ends inside its counts")
    n_blocks, n_bases, n_chunks, reserved = _COUNTS.unpack_from(raw, 0)
    bases_at = _COUNTS.size + n_blocks * _BLOCK.size
    lengths_at = bases_at + n_bases * ID_SIZE
    ids_at = lengths_at + n_chunks * 4
    if reserved or len(raw) != ids_at + n_chunks * ID_SIZE:
        raise CorruptObjectError(name, "its trailer's counts do not match its length")
    blocks: list[PackBlock] = []
    at, base, chunk = HEADER_SIZE, 0, 0
    for slot in range(n_blocks):
        offset, stored, raw_length, count, codec, bases, reserved = _BLOCK.unpack_from(
            raw, _COUNTS.size + slot * _BLOCK.size
        )
        if reserved or offset != at or stored < TAG_SIZE or chunk + count > n_chunks or base + bases > n_bases:
            raise CorruptObjectError(name, f"its trailer describes block {slot} wrongly")
        if codec not in codecs.Codec.__members__.values():
            raise CorruptObjectError(name, f"block {slot} has the unknown codec {codec}")
        if raw_length > codecs.RAW_LIMIT:
            raise CorruptObjectError(name, f"block {slot} claims {raw_length} bytes, more than the format allows")
        if codec in (codecs.Codec.RAW, codecs.Codec.PADDING) and stored - TAG_SIZE != raw_length:
            raise CorruptObjectError(name, f"block {slot} is not as long as its bytes")
        lengths = struct.unpack_from(f"<{count}I", raw, lengths_at + chunk * 4)
        if codec != codecs.Codec.PADDING and (sum(lengths) != raw_length or not all(lengths)):
            raise CorruptObjectError(name, f"the chunks of block {slot} do not add up")
        if (codec == codecs.Codec.PADDING) != (count == 0) or (bases > 0) != (codec == codecs.Codec.ZSTD_DELTA):
            raise CorruptObjectError(name, f"block {slot} has chunks or bases that its codec does not allow")
        if bases > BASES_LIMIT:
            raise CorruptObjectError(name, f"block {slot} names {bases} bases")
        ids = bytes(raw[ids_at + chunk * ID_SIZE : ids_at + (chunk + count) * ID_SIZE])
        base_ids = bytes(raw[bases_at + base * ID_SIZE : bases_at + (base + bases) * ID_SIZE])
        blocks.append(PackBlock(slot, offset, stored, raw_length, codec, lengths, ids, base_ids))
        at, base, chunk = at + stored, base + bases, chunk + count
    if at != size - FOOTER_SIZE - footer.stored_length or base != n_bases or chunk != n_chunks:
        raise CorruptObjectError(name, "its blocks do not fill it exactly")
    return blocks


def parse_pack(data: Buffer, *, kind: ObjectType, store: bytes, name: str) -> tuple[Header, list[PackBlock]]:
    """(header, blocks) of a whole pack in memory."""
    header = parse_header(data, name=name, expect=kind)
    footer = parse_footer(data, size=len(data), name=name)
    end = len(data) - FOOTER_SIZE
    section = memoryview(data)[end - footer.stored_length : end]
    sealer = Sealer(bytes(memoryview(data)[:HEADER_SIZE]), store)
    return header, parse_trailer(section, footer, sealer=sealer, size=len(data), name=name)
