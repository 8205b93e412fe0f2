"""Archives byte by byte: what is refused, and what other programs wrote."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from dataclasses import replace

import pytest

from snapstore.format.tarentry import entry_of, member_of
from snapstore.format.tarreader import HEADER_LIMIT, TarReader
from snapstore.format.tarstream import FILE, Member, TarError, TarWriter, header_blocks
from snapstore.model import Entry, Kind, Xattr

ACL = "user::rw-,user:1000:bob:r--,user:7::r--,group::r--,mask::r--,other::---"


def read_all(archive: bytes) -> list[Member]:
    reader = TarReader(io.BytesIO(archive).read)
    return list(reader)


def one(member: Member, data: bytes = b"") -> bytes:
    out = bytearray()
    writer = TarWriter(out.extend)
    writer.member(member)
    writer.data(data)
    writer.close()
    return bytes(out)


def checked(header: bytes) -> bytes:
    """The header with its checksum put right."""
    block = bytearray(header)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def changed(at: int, value: bytes) -> bytes:
    """An archive of one empty file in whose header something else stands."""
    archive = bytearray(one(Member(path=b"x")))
    archive[at : at + len(value)] = value
    return checked(bytes(archive[:512])) + bytes(archive[512:])


def pax(body: bytes, *, stated: int | None = None) -> bytes:
    """An archive of an empty file with that extended header."""
    size = len(body) if stated is None else stated
    header = bytearray(header_blocks(Member(path=b"p", size=size)))
    header[156:157] = b"x"
    return checked(bytes(header)) + body + bytes(-len(body) % 512) + one(Member(path=b"x"))


def test_a_writer_holds_members_to_their_sizes() -> None:
    writer = TarWriter(bytearray().extend)
    writer.member(Member(path=b"x", size=3))
    with pytest.raises(TarError):
        writer.data(b"four")
    writer.data(b"12")
    with pytest.raises(TarError):
        writer.close()


BAD: dict[str, bytes] = {
    "nothing": b"",
    "checksum": one(Member(path=b"x")).replace(b"x", b"y", 1),
    "text": b"this is not an archive at all" * 40,
    "old-kind": changed(257, bytes(8)),
    "type-V": changed(156, b"V"),
    "type-S": changed(156, b"S"),
    "type-g": changed(156, b"g"),
    "mode": changed(100, b"9999999\0"),
    "uid-negative": changed(108, b"\xff" * 8),
    "size-negative": changed(124, b"\xff" * 12),
    "size-huge": changed(124, b"\x80\x7f" + b"\xff" * 10),
    "size-lies": changed(124, b"%011o\0" % 5000),
    "directory-with-data": changed(124, b"%011o\0" % 512)[:156] + b"5" + changed(124, b"%011o\0" % 512)[157:],
    "no-end": one(Member(path=b"x"))[:512],
    "half-end": one(Member(path=b"x"))[:1024],
    "data-behind": one(Member(path=b"x")) + b"more",
    "zeros-behind-without-end": one(Member(path=b"x")) + bytes(2 << 20),
    "pax-alone": pax(b"9 path=y\n")[:1024] + bytes(1024),
    "pax-empty-keyword": pax(b"5 =y\n"),
    "pax-no-equals": pax(b"6 abc\n"),
    "pax-length-long": pax(b"99 path=y\n"),
    "pax-length-short": pax(b"3 path=y\n"),
    "pax-length-zero": pax(b"0 path=y\n"),
    "pax-length-huge": pax(b"999999999999 path=y\n"),
    "pax-twice": pax(b"9 path=y\n9 path=z\n"),
    "pax-too-big": pax(b"", stated=HEADER_LIMIT + 1),
    "pax-charset": pax(b"21 hdrcharset=KOI8-R\n"),
    "pax-size-lies": pax(b"13 size=9999\n"),
    "pax-size-negative": pax(b"11 size=-1\n"),
    "pax-uid": pax(b"18 uid=4294967296\n"),
    "pax-time": pax(b"13 mtime=now\n"),
    "pax-path-long": pax(b"1048600 path=" + b"x" * 1048585 + b"\n"),
    "pax-many": pax(b"".join(b"13 k%06d=v\n" % number for number in range(70_000))),
    "sparse-0.1": pax(b"25 GNU.sparse.map=0,1,2,3\n"),
    "sparse-2": pax(b"22 GNU.sparse.major=2\n22 GNU.sparse.minor=0\n26 GNU.sparse.realsize=10\n"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_archive_is_refused(name: str) -> None:
    with pytest.raises(TarError):
        read_all(BAD[name])


def sparse(text: bytes, *, size: int = 10, data: bytes = b"") -> bytes:
    """A sparse file with that map."""
    stored = text + bytes(-len(text) % 512) + data
    records = ((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"%d" % size))
    return one(Member(path=b"x", size=len(stored), records=records), stored)


@pytest.mark.parametrize(
    "archive",
    [
        sparse(b""),
        sparse(b"x\n"),
        sparse(b"1\n0\n11\n", data=b"01234567890"),
        sparse(b"1\n0\n5\n", data=b"0123"),
        sparse(b"1\n0\n5\n", data=b"012345"),
        sparse(b"2\n4\n2\n3\n2\n", data=b"0123"),
        sparse(b"1\n9223372036854775807\n9223372036854775807\n"),
        sparse(b"99999\n"),
        sparse(b"1\n" + b"0" * 600),
        sparse(b"1\n00\n0\n"),
    ],
)
def test_lying_maps_of_sparse_files_are_refused(archive: bytes) -> None:
    with pytest.raises(TarError):
        read_all(archive)


def test_holes_come_from_the_map() -> None:
    (member,) = read_all(sparse(b"3\n2\n3\n7\n0\n9\n1\n", size=12, data=b"0123"))
    assert (member.size, member.holes) == (12, ((0, 2), (5, 4), (10, 2)))
    (hole,) = read_all(sparse(b"1\n4611686018427387904\n0\n", size=1 << 62))
    assert hole.holes == ((0, 1 << 62),)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_what_python_writes_is_read(form: int) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        info = tarfile.TarInfo("d" * 60 + "/" + "f" * 90)
        info.size, info.mode, info.uid, info.uname, info.mtime = 5, 0o100644, 1000, "bob", 1_700_000_000
        tar.addfile(info, io.BytesIO(b"hello"))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "../there"
        tar.addfile(link)
        if form != tarfile.USTAR_FORMAT:
            long = tarfile.TarInfo("n" * 300)
            long.type, long.linkname = tarfile.LNKTYPE, "t" * 300
            tar.addfile(long)
    first, second, *rest = read_all(out.getvalue())
    assert first.path == b"d" * 60 + b"/" + b"f" * 90
    assert (first.size, first.mode, first.uid, first.user, first.mtime) == (5, 0o644, 1000, b"bob", (1_700_000_000, 0))
    assert (second.type, second.link) == (b"2", b"../there")
    assert [(each.path, each.link) for each in rest] in ([], [(b"n" * 300, b"t" * 300)])


def file(**more: object) -> Entry:
    return Entry(name=b"x", kind=Kind.FILE, mode=0o644, uid=0, gid=0, **more)  # type: ignore[arg-type]


def test_acls_are_said_as_star_says_them() -> None:
    records = dict(member_of(file(acl=ACL), b"x").records)
    star = b"user::rw-,user:bob:r--:1000,user:7:r--:7,group::r--,mask::r--,other::---"
    assert records == {b"SCHILY.acl.access": star}
    odd = ACL.replace("bob", "b%2Cob")
    assert dict(member_of(file(acl=odd), b"x").records)[b"SNAPSTORE.acl"] == odd.encode()


def test_names_of_attributes_are_written_as_gnu_tar_does() -> None:
    entry = file(xattrs=(Xattr(b"user.a=b%3Dc", b"\0\n"),))
    member = member_of(entry, b"x")
    assert member.records == ((b"SCHILY.xattr.user.a%3Db%253Dc", b"\0\n"),)
    assert entry_of(member, b"x").entry == entry


Change = Callable[[Member], Member]


def with_record(keyword: bytes, value: bytes) -> Change:
    return lambda member: replace(member, records=((keyword, value),))


@pytest.mark.parametrize(
    "change",
    [
        with_record(b"SNAPSTORE.links", b"01"),
        with_record(b"SNAPSTORE.links", b"\xff"),
        with_record(b"SNAPSTORE.links", b"4294967296"),
        with_record(b"SNAPSTORE.flags", b"i a"),
        with_record(b"SNAPSTORE.unread", b"oops"),
        with_record(b"SNAPSTORE.size", b"5"),
        with_record(b"SNAPSTORE.holes", b"0+1"),
        with_record(b"SNAPSTORE.hardlink", b"../x"),
        with_record(b"SNAPSTORE.hardlink", b"/x"),
        with_record(b"SNAPSTORE.type", b"door"),
        with_record(b"SNAPSTORE.other", b""),
        with_record(b"SCHILY.acl.access", b"user:bob:r--"),
        with_record(b"SCHILY.acl.access", b"\xff"),
        with_record(b"SCHILY.xattr.", b"x"),
        lambda member: replace(member, type=b"1"),
        lambda member: replace(member, type=b"2"),
        lambda member: replace(member, type=b"2", link=b"a\0b"),
        lambda member: replace(member, type=b"5", records=((b"SNAPSTORE.links", b"2"),)),
        lambda member: replace(member, type=b"6", records=((b"SNAPSTORE.flags", b"i"),)),
        lambda member: replace(member, size=1, records=((b"SNAPSTORE.unread", b"EIO"),)),
        lambda member: replace(member, size=1, records=((b"SNAPSTORE.type", b"socket"),)),
        lambda member: replace(member, mtime=(1 << 63, 0)),
        lambda member: replace(
            member,
            records=((b"SNAPSTORE.unread", b"EIO"), (b"SNAPSTORE.size", b"5"), (b"SNAPSTORE.holes", b"0+3 3+1")),
        ),
    ],
)
def test_records_that_make_no_sense_are_refused(change: Change) -> None:
    with pytest.raises(TarError):
        entry_of(change(Member(path=b"x", type=FILE)), b"x")


def test_what_is_not_known_is_named() -> None:
    records = ((b"LIBARCHIVE.creationtime", b"1"), (b"atime", b"2"))
    assert entry_of(Member(path=b"x", records=records), b"x").unknown == (b"LIBARCHIVE.creationtime",)
