"""Archives: what is written is read back, by us and by Python's tar, and damage is noticed or harmless."""

from __future__ import annotations

import io
import os
import tarfile
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snapstore.format.tarentry import entry_of, member_of
from snapstore.format.tarreader import TarReader
from snapstore.format.tarstream import DIRECTORY, FILE, HARD_LINK, SYMLINK, Member, TarError, TarWriter
from snapstore.model import Entry, Kind
from tests.property.format_values import entries, names, paths, times

U32 = (1 << 32) - 1
owners = st.binary(max_size=40).map(lambda raw: raw.replace(b"\0", b"_"))
long_paths = st.one_of(paths, st.integers(90, 300).map(lambda count: b"d/" * count + b"x"))


@st.composite
def found_members(draw: st.DrawFn) -> tuple[Member, bytes]:
    """A member and its contents without holes."""
    kind = draw(st.sampled_from((FILE, DIRECTORY, SYMLINK, HARD_LINK, b"3", b"4", b"6")))
    data = draw(st.binary(max_size=1500)) if kind == FILE else b""
    holes: list[tuple[int, int]] = []
    at = 0
    for length in draw(st.lists(st.integers(1, 1 << 40), max_size=4)) if kind == FILE else ():
        start = at + draw(st.integers(0 if not holes else 1, len(data) + 1))
        if start - sum(each[1] for each in holes) > len(data):
            break
        holes.append((start, length))
        at = start + length
    return (
        Member(
            path=draw(long_paths),
            type=kind,
            mode=draw(st.integers(0, 0o7777)),
            uid=draw(st.integers(0, U32)),
            gid=draw(st.integers(0, U32)),
            user=draw(owners),
            group=draw(owners),
            mtime=draw(times),
            size=len(data) + sum(length for _, length in holes),
            link=draw(long_paths) if kind in (SYMLINK, HARD_LINK) else b"",
            rdev=(draw(st.integers(0, U32)), draw(st.integers(0, U32))) if kind in (b"3", b"4") else (0, 0),
            holes=tuple(holes),
            records=tuple(sorted(draw(st.dictionaries(st.sampled_from((b"SNAPSTORE.x", b"SCHILY.xattr.user.a\n")),
                                                      st.binary(max_size=9))).items())),
        ),
        data,
    )  # fmt: skip


def archived(found: list[tuple[Member, bytes]]) -> bytes:
    out = bytearray()
    writer = TarWriter(out.extend)
    for member, data in found:
        writer.member(member)
        writer.data(data)
    writer.close()
    assert writer.size == len(out)
    return bytes(out)


def read_back(archive: bytes, *, step: int = 1 << 20) -> list[tuple[Member, bytes]]:
    source = io.BytesIO(archive)
    reader = TarReader(lambda count: source.read(min(count, step)))
    found = []
    for member in reader:
        parts = []
        while piece := reader.read(777):
            parts.append(piece)
        found.append((replace(member, records=tuple(sorted(member.records))), b"".join(parts)))
    return found


@settings(max_examples=150, deadline=None)
@given(st.lists(found_members(), max_size=4), st.integers(1, 600))
def test_members_come_back(found: list[tuple[Member, bytes]], step: int) -> None:
    archive = archived(found)
    assert len(archive) % 512 == 0
    assert read_back(archive, step=step) == found


@settings(max_examples=60, deadline=None)
@given(st.lists(found_members(), max_size=3))
def test_python_reads_the_same(found: list[tuple[Member, bytes]]) -> None:
    with tarfile.open(fileobj=io.BytesIO(archived(found)), encoding="utf-8", errors="surrogateescape") as tar:
        theirs = list(tar)
    assert len(theirs) == len(found)
    for one, (member, _) in zip(theirs, found, strict=True):
        assert os.fsencode(one.name) == member.path
        assert one.type == member.type
        assert (one.mode, one.uid, one.gid, one.size) == (member.mode, member.uid, member.gid, member.size)
        assert os.fsencode(one.linkname) == member.link.rstrip(b"/")
        for mine, name in ((member.user, one.uname), (member.group, one.gname)):
            assert os.fsencode(name) == mine
        if member.mtime[1]:
            whole, _, fraction = one.pax_headers["mtime"].partition(".")
            total = abs(int(whole)) * 10**9 + int(fraction)
            assert (-total if whole.startswith("-") else total) == member.mtime[0] * 10**9 + member.mtime[1]


@settings(max_examples=100, deadline=None)
@given(found_members(), found_members(), st.data())
def test_damage_is_an_error_or_another_archive(
    one: tuple[Member, bytes], two: tuple[Member, bytes], data: st.DataObject
) -> None:
    archive = bytearray(archived([one, two]))
    at = data.draw(st.integers(0, len(archive) - 1))
    archive[at] ^= data.draw(st.integers(1, 255))
    try:
        read_back(bytes(archive))
    except TarError:
        return


@settings(max_examples=60, deadline=None)
@given(found_members(), st.data())
def test_what_is_cut_off_is_noticed(found: tuple[Member, bytes], data: st.DataObject) -> None:
    archive = archived([found])
    with pytest.raises(TarError):
        read_back(archive[: data.draw(st.integers(0, len(archive) - 1))])


def bare(entry: Entry) -> Entry:
    """The entry without what a member does not hold."""
    return replace(entry, tree=None, chunks=(), chunk_list=None)


@settings(max_examples=200, deadline=None)
@given(entries(), names)
def test_entries_come_back(entry: Entry, place: bytes) -> None:
    entry = replace(entry, size=entry.size % (1 << 62))
    holes = tuple(hole for hole in entry.holes if sum(hole) <= entry.size)
    entry = replace(entry, holes=holes)
    # The contents are not of interest here, and may be larger than any disk: the header alone is read.
    out = bytearray()
    writer = TarWriter(out.extend)
    writer.member(member_of(entry, b"root/" + place))
    reader = TarReader(io.BytesIO(bytes(out)).read)
    member = next(iter(reader))
    found = entry_of(member, entry.name)
    assert found.entry == bare(entry)
    assert found.unknown == ()
    assert found.links == (None if entry.links == 1 else entry.links)
    if entry.kind is not Kind.SOCKET:
        assert member.path == b"root/" + place
