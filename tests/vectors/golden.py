"""What the golden vectors are made of: fixed values, and the bytes that they have to become.

Documents come from the package's writers and were read through by hand once. Objects and packs come from `forge`, the
second writer, so that two programs have to agree on every byte. What is compressed depends on the release of libzstd:
whether a writer takes a frame at all, and each bit of it. So only vectors that no writer would compress are `exact`;
the others hold the readers down, and a writer is compared with them section by section, decompressed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import zstandard
from blake3 import blake3

from snapstore.format.chunklist import ChunkListWriter
from snapstore.format.snapshot import write_announcement, write_fence, write_snapshot, write_tombstone
from snapstore.format.tree import TreeWriter, entry_element
from snapstore.model import ChunkId, Entry, IndexRef, Kind, Root, SessionId, Snapshot, Totals, Xattr
from tests.vectors import forge
from tests.vectors.forge import SESSION, Block, BlockRow, PackRow, noise

STARTED = 1_700_000_000_123_456_789
ENDED = 1_700_000_042_000_000_001
WRITER = bytes.fromhex("00112233445566778899aabbccddeeff")
CONFIG_DOCUMENT = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n'
    b'<store xmlns="urn:snapstore:config:1" format="1" id="000102030405060708090a0b0c0d0e0f"'
    b' created="1700000000.123456789" suite="plain" chunker="gear-nc2" minimum="16384" average="65536"'
    b' maximum="262144"/>\n'
)


@dataclass(frozen=True, slots=True)
class Vector:
    """One golden file: `exact` if writers have to give these bytes, `compressed` if it holds a zstd frame."""

    file: str
    data: bytes
    meaning: str
    exact: bool = True
    compressed: bool = False


def name_of(text: str) -> ChunkId:
    """The id of a chunk that holds this text."""
    return ChunkId(blake3(text.encode()).digest())


def some(name: bytes, kind: Kind) -> Entry:
    """An entry with what each has to have."""
    return Entry(name=name, kind=kind, mode=0o644, uid=1000, gid=100, mtime=(1_700_000_000, 123_456_789))


def owned(name: bytes, kind: Kind) -> Entry:
    """The same with names of owner and group."""
    return replace(some(name, kind), user="anna", group="users")


def every_entry() -> list[Entry]:
    """Every kind of entry with every attribute that it can have, in order."""
    acl = "user::rw-,user:1000:bob:r--,group::r--,mask::r--,other::---"
    most = (1 << 63) - 1
    entries = [
        some(b"\x01control", Kind.FILE),
        replace(some(b" leading blank", Kind.FILE), mtime=(-1, 500_000_000)),
        owned(b"\"&<>'", Kind.FIFO),
        replace(owned(b"block", Kind.BLOCK_DEVICE), rdev=(8, 1)),
        replace(owned(b"char", Kind.CHARACTER_DEVICE), rdev=((1 << 32) - 1, 0)),
        replace(
            owned(b"dir", Kind.DIRECTORY),
            mode=0o7777,
            tree=name_of("a tree"),
            flags="A",
            acl=acl,
            default_acl="user::rwx,group::r-x,other::r-x",
            xattrs=(Xattr(b"user.comment", b"\x00\xff"), Xattr(b"user.\xff", b"")),
        ),
        replace(owned(b"dir-unread", Kind.DIRECTORY), unread="EACCES"),
        replace(
            owned(b"file", Kind.FILE),
            size=most,
            links=3,
            hardlink=b"a/\xffb/c",
            flags="ai",
            acl=acl,
            holes=((0, 4096), (8192, most - 8192)),
            chunks=(name_of("one"), name_of("two")),
            xattrs=(Xattr(b"security.capability", noise(20, "capability")),),
        ),
        replace(owned(b"file-list", Kind.FILE), size=70_000_000, chunk_list=name_of("a chunk list")),
        replace(some(b"file-one", Kind.FILE), size=5, chunks=(name_of("one"),)),
        replace(owned(b"file-unread", Kind.FILE), size=5, unread="EIO"),
        replace(owned(b"hole", Kind.FILE), size=1 << 20, holes=((0, 1 << 20),)),
        replace(owned(b"link", Kind.SYMLINK), mode=0o777, target=b"../caf\xc3\xa9 & more"),
        replace(owned(b"link-b64", Kind.SYMLINK), mode=0o777, target=b"\xff/\n", links=2),
        replace(some(b"socket", Kind.SOCKET), mode=0, uid=(1 << 32) - 1),
        replace(some(b"user", Kind.FILE), user="caf\udce9", group="a b"),
        some("ünïcode \U0001f600".encode(), Kind.FILE),
        some(b"\xff", Kind.FILE),
        some(b"\xff" * 255, Kind.FILE),
    ]
    return sorted(entries, key=lambda entry: entry.name)


def plain_entries(count: int) -> list[Entry]:
    """That many plain files, in order."""
    return [
        Entry(name=b"file-%05d" % i, kind=Kind.FILE, mode=0o644, uid=0, gid=0, size=3, chunks=(name_of(f"file {i}"),))
        for i in range(count)
    ]


def snapshot_record() -> Snapshot:
    """A commit record with everything in it."""
    entry = Entry(name=b"etc", kind=Kind.DIRECTORY, mode=0o755, uid=0, gid=0, tree=name_of("a tree"))
    oddity = Entry(
        name=b"\xfe", kind=Kind.FILE, mode=0o600, uid=1, gid=2, size=3, chunks=(name_of("one"),),
        xattrs=(Xattr(b"user.a", b"1"),),
    )  # fmt: skip
    return Snapshot(
        session=SessionId(SESSION),
        name='before "it"',
        tags=("daily", "\udcff"),
        host="host",
        os_release="Debian GNU/Linux 12",
        user="anna",
        tool="snapstore 1.0",
        started=STARTED,
        ended=ENDED,
        writer=WRITER,
        sequence=7,
        previous=name_of("the one before"),
        roots=(Root(path=b"/etc", entry=entry), Root(path=b"/srv/\xfe", entry=oddity)),
        scopes=(("packages", name_of("a scope")),),
        excludes=("*.o", "/srv/<x>"),
        indexes=(IndexRef(digest=name_of("an index"), size=1234),),
        totals=Totals(
            files=1, directories=2, others=3, size=4, new_chunks=5, new_data=6, new_manifest=7, stored_data=8,
            stored_manifest=9, warnings=18_446_744_073_709_551_615,
        ),
    )  # fmt: skip


def checkpoint_record() -> Snapshot:
    """The least that a commit record can hold."""
    return Snapshot(session=SessionId(SESSION), kind="checkpoint", started=-1, ended=0, writer=WRITER)


def tree_documents(entries: list[Entry]) -> list[bytes]:
    """The documents of a directory in the order in which they are put; the directory's own is the last."""
    documents: list[bytes] = []
    writer = TreeWriter(_collect(documents))
    for entry in entries:
        writer.add(entry.name, entry_element(entry))
    writer.finish()
    return documents


def list_documents(count: int) -> list[bytes]:
    """The documents of a chunk list of `count` chunks; the list's own is the last."""
    documents: list[bytes] = []
    writer = ChunkListWriter(_collect(documents))
    for number in range(count):
        writer.take(name_of(f"chunk {number}"), 1000 + number)
    writer.finish()
    return documents


def _collect(documents: list[bytes]) -> Callable[[bytes], ChunkId]:
    def put(document: bytes) -> ChunkId:
        documents.append(document)
        return ChunkId(blake3(document).digest())

    return put


def documents() -> list[Vector]:
    """Every kind of XML document."""
    session = SessionId(SESSION)
    announcement = write_announcement(session, host="ho<st>", tool="snapstore \udc80", started=STARTED)
    return [
        Vector("config.xml", CONFIG_DOCUMENT, "the document in `config`"),
        Vector("announcement.xml", announcement, "an announcement; the tool is not UTF-8"),
        Vector("snapshot.xml", write_snapshot(snapshot_record()), "a commit record with everything in it"),
        Vector("checkpoint.xml", write_snapshot(checkpoint_record()), "the least commit record; started at -1 ns"),
        Vector("fence.xml", write_fence(session), "a fence"),
        Vector("forgotten.xml", write_tombstone(session), "a tombstone"),
        Vector("tree-empty.xml", tree_documents([])[-1], "an empty directory"),
        Vector("tree-every-kind.xml", tree_documents(every_entry())[-1], "every kind of entry and attribute"),
        Vector("tree-sharded.xml", tree_documents(plain_entries(1500))[-1], "1,500 plain files: the list of shards"),
        Vector("chunks.xml", list_documents(65)[-1], "a chunk list in one document"),
        Vector("chunks-sharded.xml", list_documents(3000)[-1], "3,000 chunks: the list of shards"),
    ]


def delta_frame(raw: bytes, bases: bytes) -> bytes:
    """One zstd frame against a raw-content dictionary, without a dictionary id."""
    dictionary = zstandard.ZstdCompressionDict(bases, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    return zstandard.ZstdCompressor(level=3, dict_data=dictionary, write_dict_id=False).compress(raw)


BASE_CHUNKS = (noise(700, "base 0"), noise(500, "base 1"))
DELTA_CHUNKS = (BASE_CHUNKS[0][:650] + b"changed" + BASE_CHUNKS[1], BASE_CHUNKS[1][::-1])
TEXT_CHUNKS = (b"the same line again and again\n" * 20, b"x", b"another line\n" * 30)


def pack_blocks() -> list[Block]:
    """A block of every codec: raw, whole, delta on the chunks of the first, padding."""
    return [
        forge.whole(*BASE_CHUNKS),
        Block(payload=zstandard.compress(b"".join(TEXT_CHUNKS), 3), codec=forge.ZSTD, chunks=TEXT_CHUNKS),
        Block(
            payload=delta_frame(b"".join(DELTA_CHUNKS), b"".join(BASE_CHUNKS)),
            codec=forge.DELTA,
            chunks=DELTA_CHUNKS,
            bases=[blake3(chunk).digest() for chunk in BASE_CHUNKS],
        ),
        Block(payload=bytes(64), codec=forge.PADDING),
    ]


def metadata_blocks() -> list[Block]:
    """Blocks whose pack is exact: nothing in them is compressed, the trailer least of all."""
    return [forge.whole(noise(40, "tree 0"), noise(1, "tree 1")), forge.whole(noise(300, "tree 2"))]


def indexed(count: int) -> list[tuple[bytes, tuple[int, int, int]]]:
    """That many ids with places in two blocks of 100 bytes, in order."""
    ids = sorted(blake3(b"indexed %d" % i).digest() for i in range(count))
    return [(name, (i % 2, i // 2, 1)) for i, name in enumerate(ids)]


def index_rows() -> tuple[list[BlockRow], list[PackRow]]:
    """Two packs with a block each."""
    blocks = [BlockRow(), BlockRow(pack=1, offset=200, slot=3)]
    return blocks, [PackRow(), PackRow(digest=bytes(range(1, 33)), size=500, kind=forge.METADATA_PACK)]


def objects() -> list[Vector]:
    """Every kind of object, as it is stored."""
    found = []
    stored = {document.file.removesuffix(".xml"): document.data for document in documents()}
    for stem, kind in (
        ("config", forge.CONFIG),
        ("announcement", forge.ANNOUNCEMENT),
        ("snapshot", forge.FINAL),
        ("checkpoint", forge.FINAL),
        ("fence", forge.FINAL),
        ("forgotten", forge.TOMBSTONE),
    ):
        raw = stored[stem]
        frame = zstandard.compress(raw, 3)
        plain = forge.small(kind, raw)
        packed = forge.small(kind, frame, codec=forge.ZSTD, raw_length=len(raw))
        found.append(Vector(f"{stem}.raw.bin", plain, f"{stem}.xml as an object, codec 0", exact=False))
        found.append(
            Vector(f"{stem}.zstd.bin", packed, f"{stem}.xml as an object, codec 1", exact=False, compressed=True)
        )
    blocks, packs = index_rows()
    unused = BlockRow(pack=1, offset=320, slot=4, bases=2, codec=forge.DELTA)
    bases = [blake3(chunk).digest() for chunk in BASE_CHUNKS]
    found += [
        Vector(
            "data.pack",
            forge.pack(pack_blocks()),
            "a raw, a whole, a delta, a padding block",
            exact=False,
            compressed=True,
        ),
        Vector(
            "metadata.pack",
            forge.pack(metadata_blocks(), kind=forge.METADATA_PACK),
            "two raw blocks, trailer codec 0",
            exact=False,
        ),
        Vector("index-0.bin", forge.index([], [], []), "an index of nothing: no fan-out bits"),
        Vector("index-1.bin", forge.index(indexed(1), blocks[:1], packs[:1]), "one chunk"),
        Vector("index-7.bin", forge.index(indexed(7), blocks, packs), "the most chunks without a fan-out bit"),
        Vector("index-8.bin", forge.index(indexed(8), blocks, packs), "the fewest chunks with a fan-out bit"),
        Vector(
            "index-100.bin",
            forge.index(indexed(100), [*blocks, unused], packs, bases=bases),
            "100 chunks, 4 fan-out bits, and a delta block with two bases",
        ),
    ]
    return found


CUT_PARAMETERS = ((64, 256, 1024), (16 << 10, 64 << 10, 256 << 10), (64, 64, 64), (2048, 4096, 4096), (100, 4096, 9999))


def cut_buffer() -> bytes:
    """600,000 bytes: noise, zeros, noise again, a short period, noise."""
    return (
        noise(200_000, "cut 0") + bytes(100_000) + noise(100_000, "cut 1") + b"abc" * 30_000 + noise(110_000, "cut 2")
    )
