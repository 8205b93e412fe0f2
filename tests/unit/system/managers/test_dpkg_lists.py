"""The lists of files and digests: which names and forms are fine, and what is made of damaged ones."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from snapstore.model import Kind
from snapstore.system.packages import Digest, Ownership
from tests.unit.system.managers.dpkgroots import ADMIN, INFO, by_path, listed, look, made, stanza, write

MD5 = "0123456789abcdef0123456789ABCDEF"
RAW = bytes.fromhex(MD5)


def test_names_as_they_come(tmp_path: Path) -> None:
    names = [b"/a b", b"/ ", b"/.hidden", b"/...", b"/a..", b"/\xff\xfe", b"/\r", b"/x:y", b"/-", b"/" + b"x" * 255]
    sums = b"".join(MD5.encode() + b"  " + name[1:] + b"\n" for name in names)
    files = {ADMIN + b"status": stanza("a"), INFO + b"a.list": listed(*names), INFO + b"a.md5sums": sums}
    owned, told = look(made(tmp_path, files))
    assert told == []
    assert by_path(owned, "a").keys() == {b"/", *names}
    assert {each.digest for each in owned} == {None, Digest("md5", RAW)}


BAD_LISTS = {
    "cut off": (listed(b"/usr") + b"/usr/bi", {b"/", b"/usr"}),
    "a line feed in a name": (listed(b"/usr", b"/usr/a\nb"), {b"/", b"/usr", b"/usr/a"}),
    "no first slash": (listed(b"usr", b"/usr"), {b"/", b"/usr"}),
    "a slash at the end": (listed(b"/usr/", b"/etc"), {b"/", b"/etc"}),
    "two slashes": (listed(b"//usr", b"/etc"), {b"/", b"/etc"}),
    "out of the root": (listed(b"/../../etc/shadow", b"/etc", b"/etc/.."), {b"/", b"/etc"}),
    "a dot": (listed(b"/./usr", b"/etc"), {b"/", b"/etc"}),
    "a NUL": (listed(b"/u\0sr", b"/etc"), {b"/", b"/etc"}),
    "too long": (listed(b"/" + b"x" * 5000, b"/etc"), {b"/", b"/etc"}),
    "too deep": (listed(b"/x" * 2100, b"/etc"), {b"/", b"/etc"}),
    "garbage": (bytes(range(256)) * 4, set()),
    "one long line": (b"/" * 3_000_000, set()),
}


@pytest.mark.parametrize("case", BAD_LISTS)
def test_a_damaged_list_is_not_vouched_for(tmp_path: Path, case: str) -> None:
    data, expected = BAD_LISTS[case]
    files = {ADMIN + b"status": stanza("a"), INFO + b"a.list": data, INFO + b"a.md5sums": b""}
    owned, told = look(made(tmp_path, files))
    assert {path for path, _ in told} == {b"/" + INFO + b"a.list"}
    assert {each.path for each in owned} == expected
    assert not any(each.vouched for each in owned)


def test_a_very_deep_path(tmp_path: Path) -> None:
    deep = b"/x" * 2000
    owned, told = look(
        made(tmp_path, {ADMIN + b"status": stanza("a"), INFO + b"a.list": listed(deep), INFO + b"a.md5sums": b""})
    )
    assert told == []
    assert [each.path for each in owned] == [b"/", deep]
    assert Ownership(owned).packages_of(deep) == ("a",)


BAD_SUMS = {
    "cut off": (f"{MD5}  etc/a\n{MD5}  etc".encode(), {b"/etc/a"}),
    "one blank": (f"{MD5} etc/a\n{MD5}  etc/b\n".encode(), {b"/etc/b"}),
    "binary marks": (f"{MD5} *etc/a\n{MD5}  etc/b\n".encode(), {b"/etc/b"}),
    "short digits": (f"{MD5[1:]}  etc/a\n{MD5}  etc/b\n".encode(), {b"/etc/b"}),
    "no digits": (f"{'g' * 32}  etc/a\n{MD5}  etc/b\n".encode(), {b"/etc/b"}),
    "out of the root": (f"{MD5}  ../../etc/a\n{MD5}  etc/b\n".encode(), {b"/etc/b"}),
    "two digests": (f"{MD5}  etc/a\n{'0' * 32}  etc/a\n{MD5}  etc/a\n{MD5}  etc/b\n".encode(), {b"/etc/b"}),
    "a NUL": (f"{MD5}  etc/a\0\n{MD5}  etc/b\n".encode(), {b"/etc/b"}),
    "garbage": (bytes(range(256)) * 9, set()),
}


@pytest.mark.parametrize("case", BAD_SUMS)
def test_damaged_digests_are_not_vouched_for(tmp_path: Path, case: str) -> None:
    data, expected = BAD_SUMS[case]
    files = {
        ADMIN + b"status": stanza("a"),
        INFO + b"a.list": listed(b"/etc", b"/etc/a", b"/etc/b"),
        INFO + b"a.md5sums": data,
    }
    owned, told = look(made(tmp_path, files))
    assert {path for path, _ in told} == {b"/" + INFO + b"a.md5sums"}
    assert {each.path for each in owned if each.digest is not None} == expected
    assert not any(each.vouched for each in owned)


def test_forms_of_digests_that_are_fine(tmp_path: Path) -> None:
    sums = f"{MD5.lower()}  etc/a\n\n{MD5.upper()}  ./etc/b\n{MD5.lower()}  etc/a\n".encode()
    files = {
        ADMIN + b"status": stanza("a"),
        INFO + b"a.list": listed(b"/etc", b"/etc/a", b"/etc/b"),
        INFO + b"a.md5sums": sums,
    }
    owned, told = look(made(tmp_path, files))
    assert told == []
    assert [each.digest for each in owned] == [None, None, Digest("md5", RAW), Digest("md5", RAW)]


def test_a_missing_list(tmp_path: Path) -> None:
    files = {
        ADMIN + b"status": stanza("a", more=f"Conffiles:\n /etc/c {MD5}\n"),
        INFO + b"a.md5sums": f"{MD5}  etc/a\n".encode(),
    }
    owned, told = look(made(tmp_path, files))
    assert (b"/" + INFO + b"a.list", "it is missing") in told
    assert {each.path for each in owned} == {b"/etc/a", b"/etc/c"}
    assert not any(each.vouched for each in owned)


def test_missing_digests(tmp_path: Path) -> None:
    owned, told = look(made(tmp_path, {ADMIN + b"status": stanza("a"), INFO + b"a.list": listed(b"/etc", b"/etc/a")}))
    assert told == [(b"/" + INFO + b"a.md5sums", "it is missing")]
    assert [(each.kind, each.digest, each.vouched) for each in owned] == [
        (Kind.DIRECTORY, None, False),
        (Kind.DIRECTORY, None, False),
        (None, None, False),
    ]


def test_digests_of_what_is_not_listed(tmp_path: Path) -> None:
    files = {
        ADMIN + b"status": stanza("a"),
        INFO + b"a.list": listed(),
        INFO + b"a.md5sums": f"{MD5}  etc/a\n".encode(),
    }
    owned, told = look(made(tmp_path, files))
    assert [reason for _, reason in told] == ["1 paths that the package has digests for are not in it"]
    assert {each.path: each.vouched for each in owned} == {b"/": False, b"/etc/a": False}


def test_what_is_no_regular_file_is_not_read(tmp_path: Path) -> None:
    root = made(tmp_path, {ADMIN + b"status": stanza("a") + stanza("b") + stanza("c"), INFO + b"b.md5sums": b""})
    os.mkfifo(root / "var/lib/dpkg/info/a.list")
    (root / "var/lib/dpkg/info/b.list").symlink_to("/var/lib/lists/b")  # within the root
    (root / "var/lib/dpkg/info/c.list").symlink_to("../../../../../../etc/passwd")
    write(root, {b"var/lib/lists/b": listed(b"/b")})
    owned, told = look(root)
    assert {each.path for each in owned} == {b"/", b"/b"}
    assert {path.rpartition(b"/")[2] for path, _ in told} == {b"a.list", b"c.list"}


def test_trouble_without_end_is_told_of_in_a_few_lines(tmp_path: Path) -> None:
    files = {ADMIN + b"status": stanza("a"), INFO + b"a.list": listed(*[b"x"] * 5000), INFO + b"a.md5sums": b""}
    _, told = look(made(tmp_path, files))
    assert len(told) == 21
    assert told[-1][1] == "4980 more of its records make no sense"
