"""Attributes of real files, read and applied."""

from __future__ import annotations

import grp
import itertools
import os
import pwd
import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapstore import kernel
from snapstore.fs import metadata
from snapstore.fs.metadata import OwnerNames, data_extents, flags_text, flags_value, read_extras
from snapstore.model import Entry, Kind, Xattr
from tests.oddities import ACL, raw_acl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

OWNERS = OwnerNames()


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[str], int]]:
    fds: list[int] = []

    def make(name: str) -> int:
        fds.append(os.open(tmp_path / name, os.O_RDWR | os.O_CREAT, 0o600))
        return fds[-1]

    yield make
    for fd in fds:
        metadata.apply_flags(fd, "", exact=True)
        os.close(fd)


def entry(**fields: object) -> Entry:
    return Entry(name=b"x", kind=Kind.FILE, mode=0o644, uid=0, gid=0, **fields)  # type: ignore[arg-type]


def apply(fd: int, wanted: Entry, *, exact: bool = False) -> list[str]:
    """Trouble with all that an entry says besides owner, mode and times."""
    return [
        *metadata.apply_xattrs(fd, wanted, exact=exact),
        *metadata.apply_acls(fd, wanted, OWNERS),
        *metadata.apply_flags(fd, wanted.flags, exact=exact),
    ]


def test_owner_names_are_those_of_the_system() -> None:
    for user in pwd.getpwall():
        assert OWNERS.user(user.pw_uid) == pwd.getpwuid(user.pw_uid).pw_name
        assert OWNERS.uid(user.pw_name) == pwd.getpwnam(user.pw_name).pw_uid
    for group in grp.getgrall():
        assert OWNERS.group(group.gr_gid) == grp.getgrgid(group.gr_gid).gr_name
        assert OWNERS.gid(group.gr_name) == grp.getgrnam(group.gr_name).gr_gid
    assert OWNERS.user(4294967290) == OWNERS.group(4294967290) == ""
    assert OWNERS.uid("no such user") is None
    assert OWNERS.gid("no such group") is None


def test_a_known_name_wins_unless_numbers_are_asked_for() -> None:
    moved = Entry(name=b"x", kind=Kind.FILE, mode=0, uid=4000, gid=4001, user="root", group="root")
    assert OwnerNames().owner(moved) == (0, 0)
    assert OwnerNames(numeric=True).owner(moved) == (4000, 4001)
    stranger = Entry(name=b"x", kind=Kind.FILE, mode=0, uid=4000, gid=4001, user="no such user", group="")
    assert OwnerNames().owner(stranger) == (4000, 4001)


def test_flags_have_one_text() -> None:
    assert flags_text(0) == ""
    assert flags_text(0x30) == "ia"
    assert flags_text(0x80000 | 0x10) == "i"
    assert flags_value("ia") == 0x30
    for wrong in ("ai", "ii", "e", "z", "i "):
        with pytest.raises(ValueError):
            flags_value(wrong)


def test_flags_are_the_ones_the_kernel_room_reports() -> None:
    assert metadata.SETTABLE_FLAGS == kernel.CHATTR_FLAGS


@given(st.integers(0, 2**32 - 1))
def test_flags_round_trip(value: int) -> None:
    assert flags_value(flags_text(value)) == value & metadata.SETTABLE_FLAGS


def test_extras_of_a_file_by_descriptor_and_by_name(tmp_path: Path, opened: Callable[[str], int]) -> None:
    fd = opened("file")
    for name, value in ((b"user.b", b"\0\xff"), (b"user.a", b""), (b"user.\xff", b"z")):
        os.setxattr(fd, name, value)
    os.setxattr(fd, b"system.posix_acl_access", ACL)
    metadata.write_flags(fd, metadata.read_flags(fd) | 0x40)
    expected = metadata.Extras(
        xattrs=(Xattr(b"user.a", b""), Xattr(b"user.b", b"\0\xff"), Xattr(b"user.\xff", b"z")),
        acl="user::rw-,user:0:root:r--,user:12345::rwx,group::r--,group:54321::rwx,mask::r-x,other::---",
        flags="d",
    )
    assert read_extras(fd, OWNERS, kind=Kind.FILE) == expected
    folder = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    assert read_extras(folder, OWNERS, name=b"file", kind=Kind.FILE) == expected
    assert read_extras(folder, OWNERS, name=b"file", kind=Kind.FILE, flags=False).flags == ""
    os.symlink("file", tmp_path / "link")
    assert read_extras(folder, OWNERS, name=b"link", kind=Kind.SYMLINK) == metadata.Extras()
    # Between the scan and now the file became a link: its target's attributes are not taken for its own.
    swapped = read_extras(folder, OWNERS, name=b"link", kind=Kind.FILE)
    assert (swapped.xattrs, swapped.acl) == ((), "")
    assert swapped.troubles == ("attributes: ELOOP",)
    assert read_extras(folder, OWNERS, name=b"gone", kind=Kind.FILE).troubles == ("attributes: ENOENT",)
    os.mkfifo(tmp_path / "fifo")
    assert read_extras(folder, OWNERS, name=b"fifo", kind=Kind.FIFO) == metadata.Extras()
    os.close(folder)


def test_apply_gives_back_what_read_gave(opened: Callable[[str], int]) -> None:
    source, target = opened("source"), opened("target")
    os.setxattr(source, b"user.keep", b"1")
    os.setxattr(source, b"system.posix_acl_access", ACL)
    metadata.write_flags(source, metadata.read_flags(source) | 0x30 | 0x80)
    extras = read_extras(source, OWNERS, kind=Kind.FILE)
    os.setxattr(target, b"user.stray", b"2")
    metadata.write_flags(target, metadata.read_flags(target) | 0x40)
    wanted = entry(xattrs=extras.xattrs, acl=extras.acl, flags=extras.flags)
    assert apply(target, wanted, exact=True) == []
    assert read_extras(target, OWNERS, kind=Kind.FILE) == extras
    assert extras.flags == "iaA"
    assert os.getxattr(target, b"system.posix_acl_access") == ACL


def test_without_exact_nothing_is_taken_away(opened: Callable[[str], int]) -> None:
    fd = opened("file")
    os.setxattr(fd, b"user.stray", b"2")
    metadata.write_flags(fd, metadata.read_flags(fd) | 0x40)
    assert apply(fd, entry(flags="A")) == []
    after = read_extras(fd, OWNERS, kind=Kind.FILE)
    assert (after.xattrs, after.flags) == ((Xattr(b"user.stray", b"2"),), "dA")


def test_what_cannot_be_set_is_trouble_and_the_rest_is_set(opened: Callable[[str], int]) -> None:
    fd = opened("file")
    wanted = entry(
        xattrs=(Xattr(b"nonsense", b""), Xattr(b"user.nul\0", b""), Xattr(b"user.good", b"1")),
        acl="not an ACL",
        flags="zz",
    )
    troubles = apply(fd, wanted)
    assert len(troubles) == 4
    assert troubles[0] == "extended attribute nonsense: ENOTSUP"
    assert read_extras(fd, OWNERS, kind=Kind.FILE).xattrs == (Xattr(b"user.good", b"1"),)


def test_flags_are_tried_singly_where_the_set_is_refused(opened: Callable[[str], int]) -> None:
    fd = opened("file")
    # "D" is for directories and "C" is unknown to ext4 and tmpfs; whatever is refused, "d" and "i" are set.
    troubles = metadata.apply_flags(fd, "DidC", exact=True)
    assert set(read_extras(fd, OWNERS, kind=Kind.FILE).flags) >= {"i", "d"}
    assert all(each.startswith("flag ") and each[5] in "DC" for each in troubles)


def test_an_acl_that_is_no_text_stays_an_attribute() -> None:
    odd = Xattr(metadata.ACCESS_ACL, raw_acl((1, 6, 0)))
    assert metadata._split_acls([odd], OWNERS) == ({}, (odd,))


def test_inherits(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    assert not metadata.inherits(fd)
    os.setxattr(fd, b"system.posix_acl_default", ACL)
    assert metadata.inherits(fd)
    os.removexattr(fd, b"system.posix_acl_default")
    metadata.write_flags(fd, metadata.read_flags(fd) | 0x40)
    assert metadata.inherits(fd)
    os.close(fd)


BLOCK = 65536


@pytest.mark.parametrize(
    ("size", "written", "holes"),
    [
        (0, (), ()),
        (1, (0,), ()),
        (BLOCK, (), ((0, BLOCK),)),
        (1 << 40, (), ((0, 1 << 40),)),
        (BLOCK * 3, (0, 2), ((BLOCK, BLOCK),)),
        (BLOCK * 3, (1,), ((0, BLOCK), (BLOCK * 2, BLOCK))),
        (BLOCK * 3 + 5, (3,), ((0, BLOCK * 3),)),
    ],
)
def test_holes(
    opened: Callable[[str], int], size: int, written: tuple[int, ...], holes: tuple[tuple[int, int], ...]
) -> None:
    fd = opened("file")
    os.ftruncate(fd, size)
    for block in written:
        os.pwrite(fd, b"x" * min(BLOCK, size - block * BLOCK), block * BLOCK)
    found, data = data_extents(fd, size)
    assert found == holes
    pieces = sorted([*found, *data])
    assert sum(length for _, length in pieces) == size
    assert all(a[0] + a[1] == b[0] for a, b in itertools.pairwise(pieces))


def test_holes_of_a_file_that_shrank(opened: Callable[[str], int]) -> None:
    fd = opened("file")
    os.write(fd, b"x" * 100)
    assert data_extents(fd, 1000)[0] in (((100, 900),), ())
    os.ftruncate(fd, 0)
    assert data_extents(fd, 1000) == (((0, 1000),), [])


def test_the_ioctl_numbers_hold_a_long() -> None:
    size = (metadata._GETFLAGS >> 16) & 0x3FFF
    assert size == struct.calcsize("l")
