"""Headers as owned paths: flags, states, digests, and what is damaged."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from snapstore.model import Kind
from snapstore.system.managers.rpmfiles import is_mixed, owned_by, settled
from snapstore.system.managers.rpmquery import FILES, Header, read_answer
from snapstore.system.managers.trouble import Trouble
from snapstore.system.packages import Digest, Owned
from snapstore.system.root import Root
from tests.rpmanswers import RECORDED, Value, header_of

SHA256 = hashlib.sha256(b"x").hexdigest().encode()
MD5 = hashlib.md5(b"x", usedforsecurity=False).hexdigest().encode()


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "bin").symlink_to("usr/bin")
    with Root(bytes(tmp_path)) as opened:
        yield opened


def owned(header: Header, root: Root) -> tuple[list[Owned], list[str]]:
    """What a header owns, and what was said about it."""
    told: list[str] = []
    with Trouble(lambda _, reason: told.append(reason), b"/db") as trouble:
        return list(owned_by(header, "alpha", root, trouble)), told


def one(root: Root, **values: Value) -> Owned:
    """The only path of a header with one file, about which nothing is said."""
    defaults: dict[str, Value] = {
        "FILENAMES": [b"/bin/a"], "FILEMODES": [0o100755], "FILEDIGESTS": [SHA256], "FILEDIGESTALGO": 8,
        "LONGFILESIZES": [1], "FILEUSERNAME": [b"root"], "FILEGROUPNAME": [b"adm"], "INSTALLTIME": 77,
        "FILELINKTOS": [b"target"], "FILERDEVS": [0x0103],
    }  # fmt: skip
    found, told = owned(header_of(**{**defaults, **values}), root)
    assert told == []
    (only,) = found
    return only


def test_a_file(root: Root) -> None:
    assert one(root) == Owned(
        b"/usr/bin/a", "alpha", kind=Kind.FILE, digest=Digest("sha256", bytes.fromhex(SHA256.decode())), mode=0o755,
        user="root", group="adm", size=1, capabilities="", installed=77,
    )  # fmt: skip


def test_other_kinds(root: Root) -> None:
    link = one(root, FILEMODES=[0o120777], FILEDIGESTS=[b""])
    assert (link.kind, link.target, link.mode, link.size, link.capabilities) == (
        Kind.SYMLINK, b"target", None, None, None,
    )  # fmt: skip
    directory = one(root, FILEMODES=[0o041777], FILEDIGESTS=[b""])
    assert (directory.kind, directory.mode, directory.size, directory.target) == (Kind.DIRECTORY, 0o1777, None, None)
    device = one(root, FILEMODES=[0o020666], FILEDIGESTS=[b""])
    assert (device.kind, device.rdev, device.digest) == (Kind.CHARACTER_DEVICE, (1, 3), None)
    assert one(root, FILEMODES=[0o010600], FILEDIGESTS=[b""]).kind is Kind.FIFO


def test_flags(root: Root) -> None:
    assert one(root).config is False
    for flags in (1, 17):
        assert (one(root, FILEFLAGS=[flags]).config, one(root, FILEFLAGS=[flags]).optional) == (True, False)
    missingok = one(root, FILEFLAGS=[9])
    assert (missingok.config, missingok.optional, missingok.digest is None) == (True, False, False)
    ghost = one(root, FILEFLAGS=[64], FILEMODES=[0o100640], FILELINKTOS=[b""])
    assert (ghost.ghost, ghost.digest, ghost.size, ghost.mode, ghost.group) == (True, None, None, 0o640, "adm")
    assert one(root, FILEFLAGS=[64], FILEMODES=[0o100000]).mode is None
    assert one(root, FILEFLAGS=[64], FILEMODES=[0]).kind is None
    link = one(root, FILEFLAGS=[64], FILEMODES=[0o120777])
    assert (link.kind, link.target) == (Kind.SYMLINK, None)


def test_states(root: Root) -> None:
    assert one(root, FILESTATES=[0]) == one(root)
    assert one(root, FILESTATES=[1]) == Owned(b"/usr/bin/a", "alpha", installed=77)
    for state in (2, 3):
        assert one(root, FILESTATES=[state]) == one(root)._replace(optional=True)
    assert one(root, FILESTATES=[4]) == one(root)._replace(digest=None, size=None)


@pytest.mark.parametrize(
    ("algorithm", "name"),
    [(None, "md5"), (1, "md5"), (2, "sha1"), (8, "sha256"), (9, "sha384"), (10, "sha512"), (11, "sha224"),
     (12, "sha3_256"), (14, "sha3_512")],
)  # fmt: skip
def test_algorithms(root: Root, algorithm: int | None, name: str) -> None:
    value = hashlib.new(name, b"x", usedforsecurity=False).digest()
    for shown in (value.hex(), value.hex().upper()):
        found = one(root, FILEDIGESTALGO=algorithm, FILEDIGESTS=[shown.encode()])
        assert found.digest == Digest(name, value)


def test_an_unknown_algorithm_is_told_once(root: Root) -> None:
    header = header_of(FILENAMES=[b"/a", b"/b"], FILEMODES=[0o100644] * 2, FILEDIGESTS=[SHA256] * 2, FILEDIGESTALGO=77)
    found, told = owned(header, root)
    assert [each.digest for each in found] == [None, None]
    assert told == [
        "the digests of alpha are of an unknown algorithm (77), so the content of its files cannot be compared"
    ]


@pytest.mark.parametrize("digest", [MD5, SHA256[:-1], SHA256[:-1] + b"g", b"z"])
def test_digests_that_are_none(root: Root, digest: bytes) -> None:
    header = header_of(FILENAMES=[b"/a"], FILEMODES=[0o100644], FILEDIGESTS=[digest], FILEDIGESTALGO=8)
    (found,), told = owned(header, root)
    assert found.digest is None
    assert len(told) == 1
    assert "no sha256 digest" in told[0]


def test_capabilities(root: Root) -> None:
    assert one(root, FILECAPS=[b""]).capabilities == ""
    assert one(root, FILECAPS=[b"cap_net_raw,cap_net_admin=ep"]).capabilities == "cap_net_admin,cap_net_raw=ep"
    assert one(root, FILECAPS=[b"= cap_net_raw+ep"]).capabilities == "cap_net_raw=ep"


ARRAYS: dict[str, Value] = {
    "FILEMODES": [0o100644], "FILEFLAGS": [0], "FILESTATES": [0], "LONGFILESIZES": [1], "FILERDEVS": [0],
    "FILEDIGESTS": [SHA256], "FILELINKTOS": [b""], "FILEUSERNAME": [b"root"], "FILEGROUPNAME": [b"root"],
    "FILECAPS": [b""],
}  # fmt: skip


@pytest.mark.parametrize("tag", sorted(ARRAYS))
def test_arrays_of_another_length_vouch_for_nothing(root: Root, tag: str) -> None:
    values = {**ARRAYS, "FILEDIGESTALGO": 8, "FILENAMES": [b"/a", b"/b"]}
    doubled = {
        each: [*value, *value] for each, value in ARRAYS.items() if not isinstance(value, (bytes, int, type(None)))
    }
    found, told = owned(header_of(**{**values, **doubled, tag: ARRAYS[tag]}), root)
    assert found == [Owned(b"/a", "alpha", vouched=False), Owned(b"/b", "alpha", vouched=False)]
    assert told == [f"nothing but the names of the files of alpha is known: {tag} has 1 elements for 2 files"]


def test_what_a_damaged_header_says_proves_nothing(root: Root) -> None:
    found, told = owned(header_of(FILENAMES=[b"/bin/a"], **ARRAYS)._replace(damaged=True), root)
    assert found == [Owned(b"/usr/bin/a", "alpha", vouched=False)]
    assert told == []


def test_values_that_make_no_sense(root: Root) -> None:
    def with_(**values: Value) -> tuple[list[Owned], list[str]]:
        return owned(header_of(**{"FILENAMES": [b"/a"], **ARRAYS, "FILEDIGESTALGO": 8, **values}), root)

    unknown = Owned(b"/a", "alpha", vouched=False)
    for values, reason in (
        ({"FILESTATES": [255]}, "unknown state"),
        ({"FILEMODES": [0o644]}, "a mode that makes no sense"),
        ({"FILEMODES": [b"text"]}, "FILEMODES is no list of numbers"),
        ({"FILEDIGESTALGO": b"sha256"}, "FILEDIGESTALGO is no number"),
        ({"INSTALLTIME": b"now"}, "INSTALLTIME is no number"),
    ):
        found, told = with_(**values)
        assert found == [unknown]
        assert len(told) == 1
        assert reason in told[0]
    found, told = with_(FILENAMES=[b"relative"])
    assert (found, len(told)) == ([], 1)
    found, told = with_(FILENAMES=[1])
    assert (found, len(told)) == ([], 1)


def test_no_modes_are_no_vouching(root: Root) -> None:
    found, told = owned(header_of(FILENAMES=[b"/a"]), root)
    assert found == [Owned(b"/a", "alpha", vouched=False)]
    assert "FILEMODES is not there" in told[0]


def test_what_cannot_be_located_is_told(root: Root, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    found, told = owned(header_of(FILENAMES=[b"/loop/a"], FILEMODES=[0o100644]), root)
    assert found == []
    assert len(told) == 1
    assert "cannot be told" in told[0]


def test_paths_never_leave_the_root(root: Root, tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to("../../../../etc")
    found, _ = owned(header_of(FILENAMES=[b"/out/passwd", b"/../../x"], FILEMODES=[0o100644] * 2), root)
    assert [each.path for each in found] == [b"/etc/passwd", b"/x"]


def test_replaced_files_give_way_to_those_that_are_there() -> None:
    digest = Digest("sha256", bytes(32))
    there = Owned(b"/a", "new", kind=Kind.FILE, digest=digest)
    replaced, alone = Owned(b"/a", "old"), Owned(b"/b", "old")
    colour = Owned(b"/c", "old", kind=Kind.FILE, mode=0o755)
    other = Owned(b"/c", "new", kind=Kind.FILE, digest=digest)
    mine = Owned(b"/d", "old", kind=Kind.DIRECTORY)
    assert list(settled([replaced, alone, colour, mine], [there, other])) == [mine, there, other, alone]


def test_two_that_know_nothing_both_stay() -> None:
    first, second = Owned(b"/a", "one"), Owned(b"/a", "two", vouched=False)
    assert set(settled([first], [second])) == {first, second}


def test_which_headers_are_mixed() -> None:
    assert not is_mixed(header_of())
    assert not is_mixed(header_of(FILESTATES=[0, 2, 3]))
    assert is_mixed(header_of(FILESTATES=[0, 1]))
    assert is_mixed(header_of(FILESTATES=[4]))
    assert not is_mixed(header_of(FILESTATES=[b"x"]))


def test_recorded_files(root: Root) -> None:
    found: dict[tuple[str, bytes], Owned] = {}
    for header in read_answer((RECORDED / "files.answer").read_bytes(), FILES):
        told: list[str] = []
        with Trouble(lambda _, reason, told=told: told.append(reason), b"/db") as trouble:  # type: ignore[misc]
            rows = list(owned_by(header, header.text("NAME"), root, trouble))
        assert told == []
        found.update({(each.package, each.path): each for each in rows})
    assert len({path for _, path in found}) == 114
    capable = found["alpha-tools", b"/usr/bin/alpha-capable"]
    assert (capable.capabilities, capable.mode) == ("cap_net_admin,cap_net_raw=ep", 0o755)
    unverified = found["alpha-ghosts", b"/var/lib/alpha/unverified"]
    assert unverified.digest == Digest("sha256", hashlib.sha256(b"unverified\n").digest())
    assert found["theta", b"/usr/share/doc/theta-1/README"].optional
    assert found["zeta", b"/usr/share/common/shared"].kind is None
    assert found["eta", b"/usr/share/common/shared"].digest is not None
    links = {found["alpha", b"/usr/share/alpha/" + name].digest for name in (b"hard1", b"hard2", b"deep/hard3")}
    assert links == {Digest("sha256", hashlib.sha256(b"linked\n").digest())}
