"""Package files: every kind of member and packing is read, and everything that is wrong with one is a DebError."""

from __future__ import annotations

import hashlib
import tarfile
import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snapstore.model import Kind
from snapstore.system.managers import debarchive
from snapstore.system.managers.debarchive import Deb, DebError, Shipped, read_control, read_deb
from tests.unit.system.managers.debs import CONTROL, PACK, ar, deb, member, tar


def read(data: bytes) -> Deb:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        return read_deb(file.fileno())


LONG = "./" + "d/" * 90 + "n" * 200
MEMBERS = [
    member("./", type=tarfile.DIRTYPE, mode=0o755),
    member("./bin/", type=tarfile.DIRTYPE, mode=0o2775, gname="staff", gid=50),
    member("./bin/su", b"x" * 70_000, mode=0o4755),
    member("./bin/again", type=tarfile.LNKTYPE, linkname="./bin/su"),
    member("./bin/link", type=tarfile.SYMTYPE, linkname="t" * 300, mode=0o777),
    member("./dev/null", type=tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666),
    member("./dev/disk", type=tarfile.BLKTYPE, devmajor=8, devminor=0),
    member("./run/pipe", type=tarfile.FIFOTYPE),
    member("./number", b"", uname="", gname="", uid=70_000, gid=3_000_000),
    member(LONG, b"deep"),
    member("./\udcff and \n", b"odd"),
]


@pytest.mark.parametrize("ending", PACK)
def test_every_kind_of_member(ending: str) -> None:
    found = read(deb(MEMBERS, ending=ending))
    su = hashlib.md5(b"x" * 70_000, usedforsecurity=False).digest()
    assert found.control == CONTROL
    assert list(found.paths) == [
        b"/.", b"/bin", b"/bin/su", b"/bin/again", b"/bin/link", b"/dev/null", b"/dev/disk", b"/run/pipe", b"/number",
        LONG[1:].encode(), b"/\xff and \n",
    ]  # fmt: skip
    assert found.paths[b"/bin"] == Shipped(Kind.DIRECTORY, 0o2775, "root", "staff", 0, 50)
    assert found.paths[b"/bin/su"] == Shipped(Kind.FILE, 0o4755, "root", "root", 0, 0, size=70_000, md5=su)
    assert found.paths[b"/bin/again"] == found.paths[b"/bin/su"]
    assert found.paths[b"/bin/link"].target == b"t" * 300
    assert found.paths[b"/dev/null"].rdev == (1, 3)
    assert found.paths[b"/dev/disk"].kind is Kind.BLOCK_DEVICE
    assert found.paths[b"/run/pipe"].kind is Kind.FIFO
    assert found.paths[b"/number"][1:6] == (0o644, "", "", 70_000, 3_000_000)


def test_the_ustar_form() -> None:
    path = "./" + "p" * 120 + "/" + "n" * 90
    assert read(deb([member(path, b"1")], form=tarfile.USTAR_FORMAT)).paths.keys() == {path[1:].encode()}


def test_the_control_file_alone() -> None:
    with tempfile.TemporaryFile() as file:
        file.write(ar([("debian-binary/", b"2.0\n"), ("control.tar/", tar([member("control", CONTROL)]))]))
        file.flush()
        assert read_control(file.fileno()) == CONTROL


def data_of(raw: bytes, ending: str = "") -> bytes:
    return ar(
        [("debian-binary", b"2.0\n"), ("control.tar", tar([member("./control", CONTROL)])), ("data.tar" + ending, raw)]
    )


GOOD = tar([member("./a", b"1")])
BAD = {
    "empty": b"",
    "no ar": b"PK\x03\x04" * 99,
    "only the magic": b"!<arch>\n",
    "another format": ar([("debian-binary", b"3.0\n"), ("control.tar", GOOD)]),
    "no debian-binary": ar([("control.tar", tar([member("./control", CONTROL)]))]),
    "no data": ar([("debian-binary", b"2.0\n"), ("control.tar", tar([member("./control", CONTROL)]))]),
    "no control file": ar([("debian-binary", b"2.0\n"), ("control.tar", GOOD), ("data.tar", GOOD)]),
    "unknown packing": data_of(GOOD, ".lz4"),
    "not what it says": data_of(GOOD, ".xz"),
    "nor this": data_of(GOOD, ".zst"),
    "nor that": data_of(GOOD, ".gz"),
    "cut xz": data_of(PACK[".xz"](GOOD)[:-30], ".xz"),
    "cut gz": data_of(PACK[".gz"](GOOD)[:-9], ".gz"),
    "cut header": data_of(GOOD[:300]),
    "cut content": data_of(tar([member("./a", b"1" * 5000)])[:2000]),
    "no end": data_of(GOOD[:1024]),
    "a wrong checksum": data_of(GOOD[:1] + b"X" + GOOD[2:]),
    "out of the root": data_of(tar([member("./../../etc/passwd", b"1")])),
    "two slashes": data_of(tar([member("./a//b", b"1")])),
    "too long": data_of(tar([member("./" + "a/" * 2100 + "b", b"1")])),
    "an extended header": data_of(tar([member("./\u00e9" * 90, b"1")], form=tarfile.PAX_FORMAT)),
    "a sparse file": data_of(tar([member("./a", b"1", type=tarfile.GNUTYPE_SPARSE)])),
    "a second name first": data_of(tar([member("./b", type=tarfile.LNKTYPE, linkname="./a"), member("./a", b"1")])),
    "a second name of a link": data_of(
        tar([member("./a", type=tarfile.SYMTYPE, linkname="x"), member("./b", type=tarfile.LNKTYPE, linkname="./a")])
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_told(case: str) -> None:
    with pytest.raises(DebError):
        read(BAD[case])


def test_what_is_read_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = deb([member("./a", bytes(3 << 20))])
    assert len(bomb) < 20_000
    assert read(bomb).paths[b"/a"].size == 3 << 20
    monkeypatch.setattr(debarchive, "UNPACKED_LIMIT", 2 << 20)
    with pytest.raises(DebError, match="too much"):
        read(bomb)
    monkeypatch.setattr(debarchive, "ENTRY_LIMIT", 2)
    with pytest.raises(DebError, match="too many"):
        read(deb([member(f"./{number}") for number in range(9)]))


def test_a_control_file_is_bounded() -> None:
    with pytest.raises(DebError):
        read(deb([], control=bytes(5 << 20)))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(list(PACK)), st.integers(0, 1 << 30), st.binary(min_size=1, max_size=8))
def test_damage_anywhere_is_a_deb_error_or_nothing(ending: str, place: int, damage: bytes) -> None:
    data = bytearray(deb(MEMBERS, ending=ending))
    place %= len(data)
    data[place : place + len(damage)] = damage
    try:
        found = read(bytes(data))
    except DebError:
        return
    assert all(path.startswith(b"/") and b"/../" not in path for path in found.paths)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=2000))
def test_anything_as_data_is_a_deb_error_or_nothing(raw: bytes) -> None:
    for ending in PACK:
        try:
            read(data_of(raw, ending))
        except DebError:
            continue
        assert not raw.strip(b"\0")  # nothing but zeros is an archive, an empty one
