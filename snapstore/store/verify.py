"""Proves packs: their bytes against their names, their trailers against the indexes, their chunks against their ids.

Nothing here stops at the first fault, and nothing writes. Damage is a value: what is wrong, and with what.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from blake3 import blake3

from snapstore.backends import ReadBackend
from snapstore.errors import CorruptObjectError, StoreError
from snapstore.format import codec as codecs
from snapstore.format.codec import Codec
from snapstore.format.ids import ID_SIZE, chunk_id
from snapstore.format.index import Index, IndexedPack, PackContents, write_index
from snapstore.format.pack import FOOTER_SIZE, PackBlock, parse_footer, parse_pack, parse_trailer
from snapstore.format.seal import HEADER_SIZE, ObjectType, Sealer, parse_header
from snapstore.model import Buffer, ChunkId, SessionId

PACK_KINDS = (ObjectType.DATA_PACK, ObjectType.METADATA_PACK)
_PACK_NAME = re.compile(r"packs/([0-9a-f]{2})/(\1[0-9a-f]{62})-([0-9a-f]{32})\Z").match
_TAIL = 64 << 10
_KIND_OFFSET = 6

Bases = Callable[[Sequence[ChunkId]], bytes]
"""Gives the bytes of a delta's bases, end to end; StoreError where they cannot be read."""


class PackName(NamedTuple):
    """What the name of a pack states."""

    name: str
    digest: bytes
    session: SessionId


def parse_pack_name(name: str) -> PackName | None:
    """The parts of a pack's name; None if no pack can be called that."""
    match = _PACK_NAME(name)
    return PackName(name, bytes.fromhex(match[2]), SessionId(bytes.fromhex(match[3]))) if match else None


def reason_of(error: StoreError, name: str) -> str:
    """What an error says, without the name of the object where it begins with that."""
    if isinstance(error, CorruptObjectError):
        return error.reason if error.name == name else f"{error.name}: {error.reason}"
    return error.message.removeprefix(f"{name} ")


def read_trailer(
    backend: ReadBackend, pack: PackName, *, size: int, kind: ObjectType | None, store: bytes
) -> tuple[ObjectType, list[PackBlock]]:
    """(kind, blocks) of a pack, from its first and last bytes; `kind` None takes either kind of pack.

    Raises MissingObjectError, or CorruptObjectError unless header, footer and trailer are whole and agree.
    """
    head = backend.get(pack.name, length=HEADER_SIZE)
    header = parse_header(head, name=pack.name, expect=kind or _kind(head, pack.name))
    if header.session != pack.session:
        raise CorruptObjectError(pack.name, "its header states another session than its name")
    start = max(HEADER_SIZE, size - _TAIL)
    tail = backend.get(pack.name, offset=start, length=size - start)
    footer = parse_footer(tail, size=size, name=pack.name)
    trailer_at = size - FOOTER_SIZE - footer.stored_length
    if trailer_at >= start:
        section: Buffer = memoryview(tail)[trailer_at - start : len(tail) - FOOTER_SIZE]
    else:
        section = backend.get(pack.name, offset=trailer_at, length=footer.stored_length)
    return header.type, parse_trailer(section, footer, sealer=Sealer(head, store), size=size, name=pack.name)


def _kind(head: Buffer, name: str) -> ObjectType:
    for kind in PACK_KINDS:
        if len(head) > _KIND_OFFSET and head[_KIND_OFFSET] == kind:
            return kind
    raise CorruptObjectError(name, "it is not a pack")


def rebuild_index(contents: Iterable[PackContents], *, session: SessionId, store: bytes) -> Index:
    """An index in memory over packs whose trailers have been read, for a session that has lost its own."""
    name = f"rebuilt index of session {session.hex()}"
    return Index(write_index(contents, session=session, store=store), store=store, name=name)


class IndexComparison:
    """Compares one index with the trailers of its packs, pack by pack. Each fault is a sentence about the pack."""

    def __init__(self, index: Index) -> None:
        """Raises CorruptObjectError where a record of the index cannot be read."""
        self._index = index
        self._confirmed = 0
        self._complete = True
        self._numbers: dict[tuple[int, int], int] = {}
        for number in range(index.blocks):
            block = index.block(number)
            self._numbers[block.pack, block.slot] = number

    def skip(self, pack: int) -> None:
        """Leaves out a pack whose trailer could not be read."""
        self._complete = False
        self._numbers = {key: number for key, number in self._numbers.items() if key[0] != pack}

    def add(self, pack: int, blocks: Sequence[PackBlock]) -> str:
        """What the index states otherwise than the trailer of its pack of that number; empty if they agree."""
        index = self._index
        for block in blocks:
            number = self._numbers.pop((pack, block.slot), None)
            if number is None:
                return f"its block {block.slot} is not in {index.name}"
            known = index.block(number)
            here = (block.offset, block.stored_length, block.raw_length, block.codec, block.bases)
            if here != (known.offset, known.stored_length, known.raw_length, known.codec, b"".join(known.bases)):
                return f"{index.name} describes its block {block.slot} otherwise"
            for chunk, offset, length in zip(block.chunk_ids(), block.offsets(), block.lengths, strict=True):
                found = index.find(chunk)
                if found is None or found.length != length:
                    return f"{index.name} does not hold its chunk {chunk.hex()}"
                # A chunk that stands in several places is found at the first of them.
                self._confirmed += found.block == number and found.offset == offset
        return ""

    def finish(self) -> str:
        """What the index holds that no pack of it does; empty if nothing, or if packs had to be left out."""
        if self._numbers:
            return f"it describes {len(self._numbers)} blocks that its packs do not hold"
        if self._complete and self._confirmed != self._index.chunks:
            return f"it places {self._index.chunks - self._confirmed} chunks where no pack has them"
        return ""


@dataclass(frozen=True, slots=True)
class PackProof:
    """What came of proving one pack: bytes read, chunks proven, faults as sentences, and the slots that are damaged.

    `unusable` says that not even the trailer could be read, so every block has to be taken for damaged.
    """

    pack: PackName
    size: int
    chunks: int
    faults: tuple[str, ...]
    damaged: frozenset[int] = frozenset()
    unusable: bool = False


def prove_pack(
    backend: ReadBackend, pack: PackName, *, kind: ObjectType | None, store: bytes, bases: Bases
) -> PackProof:
    """The proof of a pack from all of its bytes: hash, trailer, and every chunk, decompressed and hashed again.

    Raises nothing of the store's: whatever is wrong is in the proof. Memory is the pack and one raw block.
    """
    faults: list[str] = []
    try:
        data = backend.view(pack.name)
    except StoreError as error:
        return PackProof(pack, 0, 0, (reason_of(error, pack.name),), unusable=True)
    if blake3(data).digest() != pack.digest:
        faults.append("its bytes do not have the hash in its name")
    try:
        header, blocks = parse_pack(data, kind=kind or _kind(data, pack.name), store=store, name=pack.name)
        if header.session != pack.session:
            raise CorruptObjectError(pack.name, "its header states another session than its name")
    except StoreError as error:
        faults.append(reason_of(error, pack.name))
        return PackProof(pack, len(data), 0, tuple(faults), unusable=True)
    sealer = Sealer(bytes(data[:HEADER_SIZE]), store)
    damaged = set()
    chunks = 0
    for block in blocks:
        try:
            prove_block(data, block, sealer=sealer, name=pack.name, bases=bases)
        except StoreError as error:
            damaged.add(block.slot)
            faults.append(reason_of(error, pack.name))
        chunks += len(block.lengths)
    return PackProof(pack, len(data), chunks, tuple(faults), frozenset(damaged))


def prove_block(data: memoryview, block: PackBlock, *, sealer: Sealer, name: str, bases: Bases) -> None:
    """Nothing; the block of the pack in `data` opens, decompresses, and holds the chunks that it states.

    Raises CorruptObjectError, or whatever reading the bases of a delta raises.
    """
    section = data[block.offset : block.offset + block.stored_length]
    payload = sealer.open(section, slot=block.slot, codec=block.codec, raw_length=block.raw_length, name=name)
    base = None
    if block.codec == Codec.ZSTD_DELTA:
        ids = [ChunkId(block.bases[i : i + ID_SIZE]) for i in range(0, len(block.bases), ID_SIZE)]
        base = bases(ids)
    raw = memoryview(codecs.decompress(block.codec, payload, raw_length=block.raw_length, name=name, bases=base))
    if block.codec == Codec.PADDING:
        if any(raw):
            raise CorruptObjectError(name, f"the padding in block {block.slot} is not zero")
        return
    at = 0
    for number, length in enumerate(block.lengths):
        if chunk_id(raw[at : at + length]) != block.ids[number * ID_SIZE : (number + 1) * ID_SIZE]:
            raise CorruptObjectError(name, f"chunk {number} of block {block.slot} does not have its id")
        at += length


def contents_of(pack: PackName, *, size: int, kind: ObjectType, blocks: Sequence[PackBlock]) -> PackContents:
    """A pack and its blocks, as an index takes them in."""
    return PackContents(IndexedPack(pack.digest, pack.session, size, kind), blocks)
