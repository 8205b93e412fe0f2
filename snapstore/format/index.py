"""The index: where the chunks of a session are, sorted and searchable in place (docs/format.md, section 8)."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from snapstore.errors import CorruptObjectError
from snapstore.format.codec import Codec
from snapstore.format.ids import ID_SIZE
from snapstore.format.pack import BASES_LIMIT, PackBlock
from snapstore.format.seal import HEADER_SIZE, TAG_SIZE, Header, ObjectType, Sealer, parse_header
from snapstore.model import Buffer, ChunkId, SessionId

_COUNTS = struct.Struct("<B3sIIIQ8s")
_FAN = struct.Struct("<II")
_LOCATION = struct.Struct("<III")
_BLOCK = struct.Struct("<IIQIIIBBH")
_PACK = struct.Struct("<32s16sQB7s")
FAN_BITS_LIMIT = 24


class IndexedPack(NamedTuple):
    """A pack that an index points into; `size` in bytes."""

    digest: bytes
    session: SessionId
    size: int
    kind: ObjectType

    @property
    def name(self) -> str:
        """The object's name in the store."""
        return pack_name(self.digest, self.session)


class IndexedBlock(NamedTuple):
    """A block, with all that is needed to read it without its pack's trailer."""

    pack: int
    offset: int
    stored_length: int
    raw_length: int
    slot: int
    codec: int
    bases: tuple[ChunkId, ...]


class Location(NamedTuple):
    """Where a chunk is: number of the block in its index, offset and length in the raw block."""

    block: int
    offset: int
    length: int


_new_location = tuple.__new__
"""Makes a named tuple of a tuple in a third of the time that `_make` takes; look-ups are many."""


def pack_name(digest: bytes, session: SessionId) -> str:
    """The name of a pack."""
    return f"packs/{digest[:1].hex()}/{digest.hex()}-{session.hex()}"


def index_name(digest: bytes, session: SessionId) -> str:
    """The name of an index."""
    return f"index/{digest.hex()}-{session.hex()}"


@dataclass(frozen=True, slots=True)
class PackContents:
    """A finished pack and its blocks, as an index takes them in."""

    pack: IndexedPack
    blocks: Sequence[PackBlock]


def _fan_bits(chunks: int) -> int:
    bits = 0
    while chunks >> (bits + 3):
        bits += 1
    return min(bits, FAN_BITS_LIMIT)


def write_index(contents: Iterable[PackContents], *, session: SessionId, store: bytes) -> bytes:
    """The stored bytes of an index over the given packs.

    A chunk that stands in several blocks keeps its first place. Memory is about 150 bytes a chunk while it runs.
    """
    packs: list[bytes] = []
    blocks: list[bytes] = []
    bases: list[bytes] = []
    places: dict[bytes, bytes] = {}
    n_bases = 0
    for number, content in enumerate(contents):
        digest, sid, size, kind = content.pack
        packs.append(_PACK.pack(digest, sid, size, kind, bytes(7)))
        for block in content.blocks:
            here = len(blocks)
            count = len(block.bases) // ID_SIZE
            blocks.append(
                _BLOCK.pack(
                    number,
                    n_bases,
                    block.offset,
                    block.stored_length,
                    block.raw_length,
                    block.slot,
                    block.codec,
                    count,
                    0,
                )
            )
            bases.append(block.bases)
            n_bases += count
            ids = block.ids
            for i, (offset, length) in enumerate(zip(block.offsets(), block.lengths, strict=True)):
                places.setdefault(ids[i * ID_SIZE : (i + 1) * ID_SIZE], _LOCATION.pack(here, offset, length))
    ordered = sorted(places)
    bits = _fan_bits(len(ordered))
    fan = [0] * ((1 << bits) + 1)
    for key in ordered:
        fan[(int.from_bytes(key[:4], "big") >> (32 - bits)) + 1] += 1
    for i in range(1, len(fan)):
        fan[i] += fan[i - 1]
    body = b"".join(
        (
            _COUNTS.pack(bits, bytes(3), len(packs), len(blocks), n_bases, len(ordered), bytes(8)),
            struct.pack(f"<{len(fan)}I", *fan),
            *ordered,
            *(places[key] for key in ordered),
            *blocks,
            *bases,
            *packs,
        )
    )
    header = Header(ObjectType.INDEX, session).pack()
    return b"".join((header, *Sealer(header, store).seal(body, slot=0, codec=Codec.RAW, raw_length=len(body))))


class Index:
    """Reads one index in place.

    `data` is the whole object, often a map of a file: nothing of it is copied but what is asked for. Construction
    checks the seal and every bound, so that look-ups afterwards cannot leave the object; CorruptObjectError otherwise.
    """

    __slots__ = (
        "_bases_at", "_bits", "_blocks_at", "_body", "_fan_at", "_ids_at", "_places_at", "_search", "_shift", "blocks",
        "chunks", "name", "packs", "session",
    )  # fmt: skip

    def __init__(self, data: Buffer, *, store: bytes, name: str) -> None:
        self.name = name
        header = parse_header(data, name=name, expect=ObjectType.INDEX)
        self.session = header.session
        view = memoryview(data)
        length = len(view) - HEADER_SIZE - TAG_SIZE
        if length < _COUNTS.size:
            raise CorruptObjectError(name, "it ends inside its counts")
        sealer = Sealer(bytes(view[:HEADER_SIZE]), store)
        body = sealer.open(view[HEADER_SIZE:], slot=0, codec=Codec.RAW, raw_length=length, name=name)
        self._body = body
        # bytes and maps can be searched in place; whatever else holds the object is copied once.
        whole = view.obj if isinstance(view.obj, bytes | mmap.mmap) and len(view.obj) == len(view) else bytes(view)
        self._search = whole.find
        self._bits, r1, n_packs, self.blocks, n_bases, self.chunks, r2 = _COUNTS.unpack_from(body, 0)
        if any(r1) or any(r2) or self._bits != _fan_bits(self.chunks):
            raise CorruptObjectError(name, "its counts are not valid")
        self._fan_at = _COUNTS.size
        self._shift = 32 - self._bits
        self._ids_at = self._fan_at + ((1 << self._bits) + 1) * 4
        self._places_at = self._ids_at + self.chunks * ID_SIZE
        self._blocks_at = self._places_at + self.chunks * _LOCATION.size
        self._bases_at = self._blocks_at + self.blocks * _BLOCK.size
        packs_at = self._bases_at + n_bases * ID_SIZE
        if packs_at + n_packs * _PACK.size != length:
            raise CorruptObjectError(name, "its counts do not match its length")
        if struct.unpack_from("<I", body, self._ids_at - 4)[0] != self.chunks:
            raise CorruptObjectError(name, "its fan-out does not end with its count")
        self.packs: tuple[IndexedPack, ...] = tuple(
            _checked_pack(_PACK.unpack_from(body, packs_at + i * _PACK.size), name) for i in range(n_packs)
        )

    def find(self, chunk: ChunkId) -> Location | None:
        """Where the chunk is, or None. Costs one bucket of the fan-out, whatever the index's size."""
        bucket = int.from_bytes(chunk[:4], "big") >> self._shift
        low, high = _FAN.unpack_from(self._body, self._fan_at + bucket * 4)
        if not low <= high <= self.chunks:
            raise CorruptObjectError(self.name, f"its fan-out is not in order at {bucket}")
        origin = HEADER_SIZE + self._ids_at
        end = origin + high * ID_SIZE
        at = self._search(chunk, origin + low * ID_SIZE, end)
        while at >= 0:
            number, astray = divmod(at - origin, ID_SIZE)
            if not astray:
                place = _LOCATION.unpack_from(self._body, self._places_at + number * _LOCATION.size)
                return _new_location(Location, place)
            at = self._search(chunk, at + 1, end)
        return None

    def __contains__(self, chunk: ChunkId) -> bool:
        return self.find(chunk) is not None

    def block(self, number: int) -> IndexedBlock:
        """The block with that number; CorruptObjectError if the index has no such block or contradicts itself."""
        if number >= self.blocks:
            raise CorruptObjectError(self.name, f"it points to block {number} of {self.blocks}")
        pack, base, offset, stored, raw, slot, codec, count, reserved = _BLOCK.unpack_from(
            self._body, self._blocks_at + number * _BLOCK.size
        )
        bases_end = len(self._body) - len(self.packs) * _PACK.size
        start = self._bases_at + base * ID_SIZE
        if reserved or count > BASES_LIMIT or (count > 0) != (codec == Codec.ZSTD_DELTA):
            raise CorruptObjectError(self.name, f"its record of block {number} is not valid")
        if pack >= len(self.packs) or start + count * ID_SIZE > bases_end:
            raise CorruptObjectError(self.name, f"its record of block {number} is not valid")
        if offset < HEADER_SIZE or offset + stored > self.packs[pack].size or stored < TAG_SIZE:
            raise CorruptObjectError(self.name, f"its block {number} lies outside of its pack")
        bases = tuple(ChunkId(bytes(self._body[start + i * ID_SIZE : start + (i + 1) * ID_SIZE])) for i in range(count))
        return IndexedBlock(pack, offset, stored, raw, slot, codec, bases)

    def check(self) -> None:
        """Nothing, if everything in it fits together; it costs a look at every record.

        Look-ups check what they touch. This finds the rest, CorruptObjectError then: ids out of order, which would hide
        chunks, a fan-out that leads past them, and places outside of a block.
        """
        raw_lengths = [self.block(number).raw_length for number in range(self.blocks)]
        fan = struct.unpack_from(f"<{(1 << self._bits) + 1}I", self._body, self._fan_at)
        last = b""
        for number, (chunk, place) in enumerate(self):
            if chunk <= last:
                raise CorruptObjectError(self.name, f"its ids are not in order at {number}")
            last = chunk
            bucket = int.from_bytes(chunk[:4], "big") >> (32 - self._bits)
            if not fan[bucket] <= number < fan[bucket + 1]:
                raise CorruptObjectError(self.name, f"its fan-out is not in order at {bucket}")
            if place.block >= self.blocks:
                raise CorruptObjectError(self.name, f"it points to block {place.block} of {self.blocks}")
            if not place.length or place.offset + place.length > raw_lengths[place.block]:
                raise CorruptObjectError(self.name, f"chunk {chunk.hex()} lies outside of its block")

    def __iter__(self) -> Iterator[tuple[ChunkId, Location]]:
        for i in range(self.chunks):
            at = self._ids_at + i * ID_SIZE
            place = _LOCATION.unpack_from(self._body, self._places_at + i * _LOCATION.size)
            yield ChunkId(bytes(self._body[at : at + ID_SIZE])), Location._make(place)


def _checked_pack(row: tuple[bytes, bytes, int, int, bytes], name: str) -> IndexedPack:
    digest, session, size, kind, reserved = row
    if any(reserved) or kind not in (ObjectType.DATA_PACK, ObjectType.METADATA_PACK):
        raise CorruptObjectError(name, "its list of packs is not valid")
    return IndexedPack(digest, SessionId(session), size, ObjectType(kind))
