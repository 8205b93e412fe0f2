"""A second writer of the format, made from docs/format.md alone: it shares no line with the package.

It gives the bytes that golden vectors are compared with, and forges hostile objects whose tags are right: in the plain
suite anybody can compute a tag, so the readers behind it have to stand on their own.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from blake3 import blake3

STORE = bytes.fromhex("000102030405060708090a0b0c0d0e0f")
SESSION = bytes.fromhex("f0e1d2c3b4a5968778695a4b3c2d1e0f")
NONE16 = bytes(16)
TRAILER_SLOT = 0xFFFFFFFF
CONFIG, ANNOUNCEMENT, FINAL, INDEX, DATA_PACK, METADATA_PACK, CONDEMNED, KEY_SLOT, TOMBSTONE = range(1, 10)
RAW, ZSTD, DELTA, PADDING = range(4)


def noise(size: int, seed: str) -> bytes:
    """Bytes that look random and are the same everywhere: extended BLAKE3 output of the seed."""
    return blake3(seed.encode()).digest(length=size)


def header(
    kind: int,
    *,
    session: bytes = SESSION,
    magic: bytes = b"SNAP",
    version: int = 1,
    suite: int = 0,
    flags: int = 0,
    reserved: int = 0,
    salt: bytes = bytes(32),
    commitment: bytes = bytes(32),
) -> bytes:
    """The 96 bytes of section 2."""
    head = magic + struct.pack("<HBBII", version, kind, suite, flags, reserved) + session + salt + commitment
    assert len(head) == 96
    return head


def tag(head: bytes, payload: bytes, *, slot: int, codec: int, raw_length: int, store: bytes = STORE) -> bytes:
    """The 16 bytes behind a section of suite 0 (section 3)."""
    covered = head + store + struct.pack("<IBQ", slot, codec, raw_length) + payload
    return blake3(covered, key=blake3(b"snapstore 1 plain tag").digest()).digest()[:16]


def small(
    kind: int,
    payload: bytes,
    *,
    codec: int = RAW,
    raw_length: int | None = None,
    reserved: bytes = bytes(3),
    store: bytes | None = None,
    head: bytes | None = None,
) -> bytes:
    """A small object around a payload as it is to be stored (section 4)."""
    if head is None:
        head = header(kind, session=NONE16 if kind == CONFIG else SESSION)
    if store is None:
        store = NONE16 if kind == CONFIG else STORE
    length = len(payload) if raw_length is None else raw_length
    seal = tag(head, payload, slot=0, codec=codec, raw_length=length, store=store)
    return head + bytes([codec]) + reserved + struct.pack("<I", length) + payload + seal


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One block to be put into a pack; what is None is filled in truthfully."""

    payload: bytes
    codec: int = RAW
    chunks: Sequence[bytes] = ()
    bases: Sequence[bytes] = ()
    raw_length: int | None = None
    lengths: Sequence[int] | None = None
    ids: Sequence[bytes] | None = None
    offset: int | None = None
    stored_length: int | None = None
    reserved: int = 0

    def sizes(self) -> Sequence[int]:
        """The lengths that the trailer states."""
        return [len(chunk) for chunk in self.chunks] if self.lengths is None else self.lengths

    def names(self) -> Sequence[bytes]:
        """The ids that the trailer states."""
        return [blake3(chunk).digest() for chunk in self.chunks] if self.ids is None else self.ids

    def raw(self) -> int:
        """The raw length that the trailer states."""
        if self.raw_length is not None:
            return self.raw_length
        return len(self.payload) if self.codec == PADDING else sum(self.sizes())


def whole(*chunks: bytes) -> Block:
    """A block of codec 0 that holds these chunks."""
    return Block(payload=b"".join(chunks), chunks=chunks)


def trailer(blocks: Sequence[Block], *, counts: tuple[int, int, int, int] | None = None) -> bytes:
    """The raw trailer of section 7."""
    if counts is None:
        counts = (len(blocks), sum(len(b.bases) for b in blocks), sum(len(b.sizes()) for b in blocks), 0)
    rows = []
    at = 96
    for b in blocks:
        stored = len(b.payload) + 16 if b.stored_length is None else b.stored_length
        offset = at if b.offset is None else b.offset
        rows.append(struct.pack("<QIIIBBH", offset, stored, b.raw(), len(b.sizes()), b.codec, len(b.bases), b.reserved))
        at += len(b.payload) + 16
    bases = [base for b in blocks for base in b.bases]
    lengths = [struct.pack("<I", size) for b in blocks for size in b.sizes()]
    ids = [name for b in blocks for name in b.names()]
    return b"".join([struct.pack("<IIII", *counts), *rows, *bases, *lengths, *ids])


def pack(
    blocks: Sequence[Block],
    *,
    kind: int = DATA_PACK,
    raw_trailer: bytes | None = None,
    stored_trailer: bytes | None = None,
    trailer_codec: int = RAW,
    trailer_raw_length: int | None = None,
    footer_length: int | None = None,
    footer_reserved: bytes = bytes(3),
    footer_magic: bytes = b"PEND",
    head: bytes | None = None,
) -> bytes:
    """A whole pack (section 7); `stored_trailer` is the trailer's payload where it is not the raw one."""
    head = header(kind) if head is None else head
    parts = [head]
    for slot, b in enumerate(blocks):
        parts += [b.payload, tag(head, b.payload, slot=slot, codec=b.codec, raw_length=b.raw())]
    raw = trailer(blocks) if raw_trailer is None else raw_trailer
    payload = raw if stored_trailer is None else stored_trailer
    length = len(raw) if trailer_raw_length is None else trailer_raw_length
    parts += [payload, tag(head, payload, slot=TRAILER_SLOT, codec=trailer_codec, raw_length=length)]
    stored = len(payload) + 16 if footer_length is None else footer_length
    parts.append(struct.pack("<IIB", stored, length, trailer_codec) + footer_reserved + footer_magic)
    return b"".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockRow:
    """A block as an index states it."""

    pack: int = 0
    first_base: int = 0
    offset: int = 96
    stored: int = 116
    raw: int = 100
    slot: int = 0
    codec: int = RAW
    bases: int = 0
    reserved: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PackRow:
    """A pack as an index states it."""

    digest: bytes = bytes(range(32))
    session: bytes = SESSION
    size: int = 1000
    kind: int = DATA_PACK
    reserved: bytes = bytes(7)


def fan_bits(count: int) -> int:
    """The bits whose mean bucket has between 4 and 8 ids (section 8)."""
    return next(bits for bits in range(25) if bits == 24 or count / (1 << bits) < 8)


def fan_out(ids: Sequence[bytes], bits: int) -> Iterator[int]:
    """How many ids have a smaller bit prefix than each number up to 2^bits."""
    prefixes = [int.from_bytes(name, "big") >> (256 - bits) for name in ids]
    for number in range((1 << bits) + 1):
        yield sum(prefix < number for prefix in prefixes)


def index(
    places: Sequence[tuple[bytes, tuple[int, int, int]]],
    blocks: Sequence[BlockRow],
    packs: Sequence[PackRow],
    *,
    bases: Sequence[bytes] = (),
    bits: int | None = None,
    fan: Sequence[int] | None = None,
    counts: tuple[int, int, int, int] | None = None,
    reserved: tuple[bytes, bytes] = (bytes(3), bytes(8)),
    head: bytes | None = None,
) -> bytes:
    """A whole index (section 8); `places` in the order in which they are to stand there."""
    ids = [name for name, _ in places]
    bits = fan_bits(len(ids)) if bits is None else bits
    n_packs, n_blocks, n_bases, n_chunks = counts or (len(packs), len(blocks), len(bases), len(ids))
    body = [bytes([bits]), reserved[0], struct.pack("<IIIQ", n_packs, n_blocks, n_bases, n_chunks), reserved[1]]
    body += [struct.pack("<I", number) for number in (fan_out(ids, bits) if fan is None else fan)]
    body += ids
    body += [struct.pack("<III", *place) for _, place in places]
    body += [
        struct.pack("<IIQIIIBBH", b.pack, b.first_base, b.offset, b.stored, b.raw, b.slot, b.codec, b.bases, b.reserved)
        for b in blocks
    ]
    body += bases
    body += [p.digest + p.session + struct.pack("<QB", p.size, p.kind) + p.reserved for p in packs]
    raw = b"".join(body)
    head = header(INDEX) if head is None else head
    return head + raw + tag(head, raw, slot=0, codec=RAW, raw_length=len(raw))


def cut_points(data: bytes, minimum: int, average: int, maximum: int) -> list[int]:
    """Ends of the chunks of `data` by the rule of section 5, a byte at a time."""
    gear = struct.unpack("<256Q", blake3(b"snapstore 1 gear table").digest(length=2048))
    b = average.bit_length() - 1
    masks = [((1 << bits) - 1) << (64 - bits) for bits in (b + 2, b - 2)]
    ends: list[int] = []
    start = 0
    while start < len(data):
        left = len(data) - start
        length = min(left, maximum)
        if left > minimum:
            fingerprint = 0
            for i in range(minimum, length):
                fingerprint = ((fingerprint << 1) + gear[data[start + i]]) % (1 << 64)
                if not fingerprint & masks[i >= average]:
                    length = i + 1
                    break
        start += length
        ends.append(start)
    return ends
