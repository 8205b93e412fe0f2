"""Hostile objects: what each breaks, which reader refuses it, with which error and which words.

Nearly all of them carry right tags and lengths, as somebody who writes to a plain store can make them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace

from tests.vectors import forge, golden
from tests.vectors.case import CORRUPT, NEWER, Case
from tests.vectors.forge import Block, BlockRow, PackRow, header, noise, whole

FENCE = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n'
    b'<fence xmlns="urn:snapstore:fence:1" session="f0e1d2c3b4a5968778695a4b3c2d1e0f"/>\n'
)


def cases() -> list[Case]:
    """All of them."""
    return [*_short(), *_headers(), *_small(), *_frames(), *_packs(), *_indexes(), *_configs()]


def _short() -> Iterator[Case]:
    for size in (0, 1, 7):
        data = b"SNAP\x01\x00\x05"[:size]
        for reader in ("config", "final", "pack", "index"):
            yield Case(f"short-{size}.bin", reader, data, f"it has {size} bytes, fewer than a header")
        for reader in ("tree", "chunks", "record"):
            yield Case(f"short-{size}.bin", reader, data, "does not begin with the XML declaration")
    yield Case("header-only.bin", "final", header(forge.FINAL), "it ends inside its header")
    yield Case("pack-header-only.bin", "pack", header(forge.DATA_PACK), "too few for a pack")
    yield Case("index-header-only.bin", "index", header(forge.INDEX), "it ends inside its counts")
    yield Case("final-no-tag.bin", "final", header(forge.FINAL) + bytes(8), "section 0 is shorter than its tag")


def _headers() -> Iterator[Case]:
    def final(file: str, phrase: str, error: str = CORRUPT, **changes: object) -> Case:
        head = header(forge.FINAL, **changes)  # type: ignore[arg-type] # one test per field of the header
        return Case(f"header-{file}.bin", "final", forge.small(forge.FINAL, FENCE, head=head), phrase, error)

    yield final("magic", "does not begin with SNAP", magic=b"SNAQ")
    yield final("version-0", "format version 0", NEWER, version=0)
    yield final("version-2", "format version 2", NEWER, version=2)
    yield final("suite-1", "encrypted (AES_256_GCM)", NEWER, suite=1)
    yield final("suite-2", "encrypted (CHACHA20_POLY1305)", NEWER, suite=2)
    yield final("suite-3", "unknown suite 3", NEWER, suite=3)
    yield final("flag-1", "reserved parts of its header are not zero", flags=2)
    yield final("flag-31", "reserved parts of its header are not zero", flags=1 << 31)
    yield final("reserved", "reserved parts of its header are not zero", reserved=1)
    yield final("salt", "reserved parts of its header are not zero", salt=bytes(31) + b"\x01")
    yield final("commitment", "reserved parts of its header are not zero", commitment=b"\x01" + bytes(31))
    yield final("signed", "this release cannot verify signatures", NEWER, flags=1)
    for kind, phrase in ((0, "type 0, not 3"), (9, "type 9, not 3"), (200, "type 200, not 3")):
        data = forge.small(forge.FINAL, FENCE, head=header(kind))
        yield Case(f"header-type-{kind}.bin", "final", data, phrase)
    signed = header(forge.DATA_PACK, flags=1)
    yield Case("pack-signed.bin", "pack", forge.pack([whole(b"x")], head=signed), "it claims a signature")
    yield Case("index-signed.bin", "index", forge.index([], [], [], head=header(forge.INDEX, flags=1)), "a signature")


def _small() -> Iterator[Case]:
    def small(file: str, data: bytes, phrase: str) -> Case:
        return Case(f"small-{file}.bin", "final", data, phrase)

    good = forge.small(forge.FINAL, FENCE)
    yield small("tag", good[:-1] + bytes([good[-1] ^ 1]), "section 0 does not match its tag")
    yield small("payload", good[:150] + bytes([good[150] ^ 1]) + good[151:], "section 0 does not match its tag")
    yield small("other-store", forge.small(forge.FINAL, FENCE, store=bytes(16)), "section 0 does not match its tag")
    yield small("cut", good[:-1], "section 0 does not match its tag")
    yield small("longer", good + b"\n", "section 0 does not match its tag")
    yield small("reserved", forge.small(forge.FINAL, FENCE, reserved=b"\0\0\1"), "reserved bytes are not zero")
    for codec in (2, 3, 4, 255):
        data = forge.small(forge.FINAL, FENCE, codec=codec)
        yield small(f"codec-{codec}", data, f"it has the codec {codec}, which small objects do not use")
    yield small("raw-length", forge.small(forge.FINAL, FENCE, raw_length=1), "where 1 were stated")
    huge = forge.small(forge.FINAL, FENCE, raw_length=(16 << 20) + 1)
    yield small("too-long", huge, "claims 16777217 bytes, more than the format allows")


def frame(
    blocks: list[tuple[int, bytes, int]],
    *,
    size: int | None,
    window: int | None = None,
    dictionary: bytes = b"",
    reserved: int = 0,
) -> bytes:
    """A zstd frame by RFC 8878: `blocks` are (type, bytes, size) with type 0 raw and 1 run-length.

    `size` is the content size that it states, in 8 bytes; without `window`, the byte of a window descriptor, it is one
    segment.
    """
    descriptor = (0xC0 if size is not None else 0) | (0x20 if window is None else 0) | reserved << 3
    descriptor |= {0: 0, 1: 1, 2: 2, 4: 3}[len(dictionary)]
    parts = [bytes.fromhex("28b52ffd"), bytes([descriptor])]
    parts.append(b"" if window is None else bytes([window]))
    parts += [dictionary, b"" if size is None else struct.pack("<Q", size)]
    for number, (kind, data, length) in enumerate(blocks):
        last = number == len(blocks) - 1
        parts += [struct.pack("<I", last | kind << 1 | length << 3)[:3], data]
    return b"".join(parts)


def _frames() -> Iterator[Case]:
    def sealed(file: str, payload: bytes, raw_length: int, phrase: str) -> Case:
        data = forge.small(forge.FINAL, payload, codec=forge.ZSTD, raw_length=raw_length)
        return Case(f"frame-{file}.bin", "final", data, phrase)

    fence = [(0, FENCE, len(FENCE))]
    n = len(FENCE)
    good = frame(fence, size=n)
    bomb = [(1, b"\0", 1 << 17)] * 8192
    gibi = 1 << 30
    yield sealed("bomb", frame(bomb, size=gibi), gibi, "claims 1073741824 bytes, more than the format allows")
    yield sealed("bomb-in-frame", frame(bomb, size=gibi), 1 << 24, "a frame claims 1073741824 bytes where 16777216")
    yield sealed("bomb-hidden", frame(bomb, size=n), n, "does not decompress")
    yield sealed("bomb-hidden-window", frame(bomb, size=n, window=14 << 3), n, "does not decompress")
    yield sealed("content-more", frame(fence, size=n + 1), n + 1, "does not decompress")
    yield sealed("content-less", frame(fence, size=n - 1), n - 1, "does not decompress")
    yield sealed("content-other", good, n + 1, f"a frame claims {n} bytes where {n + 1} were stated")
    unknown = frame(fence, size=None, window=0)
    yield sealed("no-content-size", unknown, n, "a frame claims")
    yield sealed("two", good + good, n, "does not decompress")
    yield sealed("two-sum", good + good, 2 * n, f"a frame claims {n} bytes")
    yield sealed("bytes-behind", good + b"\0", n, "does not decompress")
    skippable = struct.pack("<II", 0x184D2A50, n) + FENCE
    yield sealed("skippable", skippable, n, "does not begin with a zstd frame")
    yield sealed("skippable-first", skippable + good, n, "does not begin with a zstd frame")
    yield sealed("skippable-behind", good + skippable, n, "does not decompress")
    yield sealed("dictionary", frame(fence, size=n, dictionary=b"\x07"), n, "names the dictionary 7")
    yield sealed("window-32m", frame(fence, size=n, window=15 << 3), n, "asks for a window of 33554432 bytes")
    yield sealed("window-2t", frame(fence, size=n, window=31 << 3), n, "does not decompress")
    yield sealed("reserved-bit", frame(fence, size=n, reserved=1), n, "does not decompress")
    yield sealed("cut", good[:-1], n, "does not decompress")
    yield sealed("cut-in-header", good[:6], n, "does not decompress")
    yield sealed("block-type-3", frame([(3, FENCE, n)], size=n), n, "does not decompress")
    yield sealed("none", b"", n, "does not begin with a zstd frame")
    yield sealed("empty", frame([(0, b"", 0)], size=0), 0, "a section of no bytes is compressed")
    yield sealed("magicless", good[4:], n, "does not begin with a zstd frame")


def _packs() -> Iterator[Case]:
    def pack(file: str, phrase: str, data: bytes, reader: str = "pack") -> Case:
        return Case(f"pack-{file}.bin", reader, data, phrase)

    one, two = whole(noise(50, "a"), noise(20, "b")), whole(noise(30, "c"))
    good = [one, two]
    data = forge.pack(good)
    size = len(data)
    yield pack("cut", "it does not end like a pack", data[:-1])
    yield pack("longer", "it does not end like a pack", data + b"\0")
    yield pack("of-other-type", "an object of type 5, not 6", data, "metadata pack")
    yield pack("footer-magic", "it does not end like a pack", forge.pack(good, footer_magic=b"PENE"))
    yield pack("footer-reserved", "it does not end like a pack", forge.pack(good, footer_reserved=b"\0\1\0"))
    for length in (0, 15, size - 111, 1 << 31, 0xFFFFFFFF):
        footer = forge.pack(good, footer_length=length)
        yield pack(f"trailer-length-{length}", f"its footer claims a trailer of {length} bytes", footer)
    yield pack("trailer-length-16", "does not match its tag", forge.pack(good, footer_length=16))
    yield pack("trailer-codec-2", "its trailer has the codec 2", forge.pack(good, trailer_codec=2))
    yield pack("trailer-codec-9", "its trailer has the codec 9", forge.pack(good, trailer_codec=9))
    raw = forge.trailer(good)
    yield pack("trailer-raw-length", "where 1 were stated", forge.pack(good, trailer_raw_length=1))
    bomb = frame([(1, b"\0", 1 << 17)] * 8192, size=1 << 30)
    yield pack(
        "trailer-bomb",
        "claims 1073741824 bytes, more than",
        forge.pack(good, stored_trailer=bomb, trailer_codec=1, trailer_raw_length=1 << 30),
    )
    yield pack("trailer-empty", "ends inside its counts", forge.pack(good, raw_trailer=b""))
    yield pack("trailer-short", "counts do not match its length", forge.pack(good, raw_trailer=raw[:-1]))
    yield pack("trailer-long", "counts do not match its length", forge.pack(good, raw_trailer=raw + b"\0"))
    for number, what in enumerate(("blocks", "bases", "chunks", "reserved")):
        counts = [2, 0, 3, 0]
        counts[number] += 1
        forged = forge.trailer(good, counts=(counts[0], counts[1], counts[2], counts[3]))
        yield pack(f"count-{what}", "counts do not match its length", forge.pack(good, raw_trailer=forged))
    most = forge.trailer([], counts=(0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0))
    yield pack("counts-most", "counts do not match its length", forge.pack([], raw_trailer=most))

    def bad(file: str, phrase: str, *blocks: Block) -> Case:
        return pack(file, phrase, forge.pack(blocks))

    wrong = "describes block 1 wrongly"
    yield bad("overlap", wrong, one, replace(two, offset=100))
    yield bad("gap", wrong, one, replace(two, offset=96 + 70 + 16 + 1))
    yield bad("out-of-order", "describes block 0 wrongly", replace(one, offset=96 + 46), replace(two, offset=96))
    yield bad("offset-2-63", wrong, one, replace(two, offset=1 << 63))
    yield bad("stored-too-short", "describes block 0 wrongly", replace(one, stored_length=15), two)
    yield bad("block-reserved", wrong, one, replace(two, reserved=1))
    yield bad("not-filled", "do not fill it exactly", one, replace(two, stored_length=45, raw_length=29, lengths=[29]))
    yield bad("beyond", "do not fill it exactly", one, replace(two, stored_length=47, raw_length=31, lengths=[31]))
    yield bad("lengths-less", "the chunks of block 0 do not add up", replace(one, lengths=[50, 19], raw_length=70), two)
    yield bad(
        "lengths-wrap", "the chunks of block 0 do not add up", replace(one, lengths=[71, 0xFFFFFFFF], raw_length=70)
    )
    yield bad("length-zero", "the chunks of block 0 do not add up", replace(one, lengths=[70, 0], raw_length=70))
    yield bad("raw-length", "block 0 is not as long as its bytes", replace(one, lengths=[50, 21]))
    yield bad("codec-4", "block 0 has the unknown codec 4", replace(one, codec=4))
    yield bad("raw-limit", "block 0 claims 16777217 bytes", replace(one, codec=1, lengths=[1 << 24, 1]))
    base = noise(32, "base")
    allowed = "chunks or bases that its codec does not allow"
    yield bad("delta-without-bases", allowed, replace(one, codec=forge.DELTA))
    yield bad("raw-with-bases", allowed, replace(one, bases=[base]))
    yield bad("whole-with-bases", allowed, replace(one, codec=forge.ZSTD, bases=[base]))
    yield bad("five-bases", "block 0 names 5 bases", replace(one, codec=forge.DELTA, bases=[base] * 5))
    yield bad("no-chunks", allowed, Block(payload=b""))
    yield bad("padding-with-chunks", allowed, Block(payload=bytes(9), codec=forge.PADDING, lengths=[9], ids=[base]))
    chunks_of = replace(one, lengths=[50, 20, 30], ids=[*one.names(), *two.names()], raw_length=70)
    yield bad("chunks-of-next", "do not add up", chunks_of, replace(two, lengths=[], ids=[], raw_length=30))
    slots = bytearray(forge.pack([one, whole(noise(50, "d"), noise(20, "e"))]))
    slots[96:182], slots[182:268] = slots[182:268], slots[96:182]
    yield pack("blocks-swapped", "block 0 is damaged: section 0 does not match its tag", bytes(slots))


def _indexes() -> Iterator[Case]:
    blocks, packs = golden.index_rows()
    ids = golden.indexed(20)
    bits = forge.fan_bits(20)
    fan = list(forge.fan_out([name for name, _ in ids], bits))

    def index(file: str, phrase: str, data: bytes) -> Case:
        return Case(f"index-{file}.bin", "index", data, phrase)

    good = forge.index(ids, blocks, packs)
    yield index("tag", "does not match its tag", good[:-1] + bytes([good[-1] ^ 128]))
    yield index("cut", "does not match its tag", good[:-1])
    yield index("bits-less", "its counts are not valid", forge.index(ids, blocks, packs, bits=bits - 1))
    yield index("bits-more", "its counts are not valid", forge.index(ids, blocks, packs, bits=bits + 1))
    yield index("bits-25", "its counts are not valid", forge.index([], blocks, packs, bits=25, fan=[]))
    yield index("bits-255", "its counts are not valid", forge.index([], blocks, packs, bits=255, fan=[]))
    for place, reserved in enumerate(((b"\0\0\1", bytes(8)), (bytes(3), bytes(7) + b"\1"))):
        data = forge.index(ids, blocks, packs, reserved=reserved)
        yield index(f"reserved-{place}", "its counts are not valid", data)
    for number, what in enumerate(("packs", "blocks", "bases", "chunks")):
        counts = [2, 2, 0, 20]
        counts[number] += 1
        data = forge.index(ids, blocks, packs, counts=(counts[0], counts[1], counts[2], counts[3]))
        yield index(f"count-{what}", "its counts do not match its length", data)
    most = forge.index(ids, blocks, packs, counts=(0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, (1 << 64) - 1), bits=24, fan=[])
    yield index("counts-most", "its counts do not match its length", most)
    yield index("fan-end", "does not end with its count", forge.index(ids, blocks, packs, fan=[*fan[:-1], 19]))
    order = [fan[0], fan[2], fan[1], *fan[3:]]
    yield index("fan-order", "its fan-out is not in order at", forge.index(ids, blocks, packs, fan=order))
    beyond = [*fan[:-2], 0xFFFFFFFF, fan[-1]]
    yield index("fan-beyond", "its fan-out is not in order at", forge.index(ids, blocks, packs, fan=beyond))
    start = [1, *fan[1:]]
    yield index("fan-start", "its fan-out is not in order at 0", forge.index(ids, blocks, packs, fan=start))
    yield index("ids-order", "not in order", forge.index([ids[1], ids[0], *ids[2:]], blocks, packs))
    yield index("ids-equal", "its ids are not in order at 1", forge.index([ids[0], ids[0], *ids[2:]], blocks, packs))

    def at(*place: int) -> bytes:
        return forge.index([(ids[0][0], (place[0], place[1], place[2])), *ids[1:]], blocks, packs)

    yield index("location-block", "it points to block 2 of 2", at(2, 0, 1))
    yield index("location-offset", "lies outside of its block", at(0, 100, 1))
    yield index("location-length", "lies outside of its block", at(0, 0, 101))
    yield index("location-wrap", "lies outside of its block", at(0, 0xFFFFFFFF, 0xFFFFFFFF))
    yield index("location-empty", "lies outside of its block", at(0, 0, 0))

    def row(file: str, phrase: str, block: BlockRow, *bases: bytes) -> Case:
        return index(file, phrase, forge.index(golden.indexed(1), [block], packs[:1], bases=bases))

    invalid, outside = "its record of block 0 is not valid", "its block 0 lies outside of its pack"
    yield row("block-pack", invalid, BlockRow(pack=1))
    yield row("block-reserved", invalid, BlockRow(reserved=1))
    yield row("block-bases-beyond", invalid, BlockRow(codec=forge.DELTA, bases=2), bytes(32))
    yield row("block-first-base", invalid, BlockRow(codec=forge.DELTA, bases=1, first_base=0xFFFFFFFF), bytes(32))
    yield row("block-five-bases", invalid, BlockRow(codec=forge.DELTA, bases=5), *[bytes(32)] * 5)
    yield row("block-delta-without-bases", invalid, BlockRow(codec=forge.DELTA))
    yield row("block-whole-with-bases", invalid, BlockRow(codec=forge.ZSTD, bases=1), bytes(32))
    yield row("block-in-header", outside, BlockRow(offset=95))
    yield row("block-beyond", outside, BlockRow(offset=1000 - 115))
    yield row("block-offset-2-64", outside, BlockRow(offset=(1 << 64) - 1))
    yield row("block-short", outside, BlockRow(stored=15))

    def listed(file: str, pack: PackRow) -> Case:
        return index(file, "its list of packs is not valid", forge.index(golden.indexed(1), [BlockRow()], [pack]))

    yield listed("pack-reserved", PackRow(reserved=b"\1" + bytes(6)))
    yield listed("pack-type", PackRow(kind=forge.INDEX))
    yield listed("pack-type-0", PackRow(kind=0))


def _configs() -> Iterator[Case]:
    good = golden.CONFIG_DOCUMENT

    def config(file: str, old: bytes, new: bytes, phrase: str, error: str = CORRUPT) -> Case:
        assert good.count(old) == 1
        return Case(f"config-{file}.bin", "config", forge.small(forge.CONFIG, good.replace(old, new)), phrase, error)

    yield config("format-2", b'format="1"', b'format="2"', "format version 2, not 1", NEWER)
    yield config("suite", b'"plain"', b'"aegis"', "unknown suite 'aegis'", NEWER)
    yield config("chunker", b'"gear-nc2"', b'"rabin"', "unknown chunker 'rabin'", NEWER)
    feature = b'>\n<feature name="teleport"/>\n</store>\n'
    yield config("feature", b"/>\n", feature, "unknown feature 'teleport'", NEWER)
    yield config("minimum", b'"16384"', b'"65537"', "chunk sizes have to satisfy")
    yield config("minimum-small", b'"16384"', b'"63"', "chunk sizes have to satisfy")
    yield config("maximum", b'"262144"', b'"16777217"', "chunk sizes have to satisfy")
    yield config("average", b'"65536"', b'"65535"', "power of two")
    yield config("id", b'0e0f"', b'0E0F"', "not a session id")
    yield config("created", b'created="1700000000.123456789" ', b"", "lacks created in its place")
    yield config("attribute", b"/>", b' extra="1"/>', "unknown or misplaced attribute extra")
    head = header(forge.CONFIG, session=forge.SESSION)
    data = forge.small(forge.CONFIG, good, head=head)
    yield Case("config-session.bin", "config", data, "it names a session")
