"""Specifications of mtree(5): what bsdtar writes, what others may, and what makes no sense."""

from __future__ import annotations

import pytest

from snapstore.model import Kind
from snapstore.system.managers.mtree import LINE_LIMIT, MtreeEntry, MtreeTrouble, escape, read_mtree, unescape
from snapstore.system.packages import Digest

MD5 = "0123456789abcdef" * 2
SHA256 = "0123456789abcdef" * 4


def entries(text: str) -> list[MtreeEntry | MtreeTrouble]:
    return list(read_mtree(line.encode() + b"\n" for line in text.split("\n")))


def only(text: str) -> MtreeEntry | MtreeTrouble:
    (found,) = entries(text)
    return found


def test_defaults_hold_until_they_are_taken_back() -> None:
    assert entries(
        """#mtree
/set type=file uid=0 gid=0 mode=644
./a size=3
/set mode=4755
./b uid=7 gid=8
./c mode=0700 type=dir
/unset mode uid
./d
/unset all
./e"""
    ) == [
        MtreeEntry(b"a", Kind.FILE, 0o644, 0, 0, size=3),
        MtreeEntry(b"b", Kind.FILE, 0o4755, 7, 8),
        MtreeEntry(b"c", Kind.DIRECTORY, 0o700, 0, 0),
        MtreeEntry(b"d", Kind.FILE, None, None, 0),
        MtreeEntry(b"e"),
    ]


def test_the_strongest_digest_counts() -> None:
    found = only(f"./a md5digest={MD5} sha256digest={SHA256}")
    assert isinstance(found, MtreeEntry)
    assert found.digest == Digest("sha256", bytes.fromhex(SHA256))
    assert only(f"./a md5={MD5}") == MtreeEntry(b"a", digest=Digest("md5", bytes.fromhex(MD5)))


@pytest.mark.parametrize(
    ("word", "kind"), [("link", Kind.SYMLINK), ("fifo", Kind.FIFO), ("char", Kind.CHARACTER_DEVICE)]
)
def test_kinds(word: str, kind: Kind) -> None:
    assert only(f"./a type={word}") == MtreeEntry(b"a", kind)


def test_names_and_targets_are_decoded() -> None:
    assert only("./a\\040b/gr\\303\\274n type=link link=to\\012there uname=w\\040w gname=g optional") == MtreeEntry(
        b"a b/gr\xc3\xbcn", Kind.SYMLINK, user="w w", group="g", target=b"to\nthere", optional=True
    )


@pytest.mark.parametrize(
    ("encoded", "raw"),
    [
        (b"\\\\", b"\\"),
        (b"\\s\\t\\n\\#", b" \t\n#"),
        (b"\\M-a\\M^A\\^?\\^[", b"\xe1\x81\x7f\x1b"),
        (b"\\000\\377", b"\0\xff"),
    ],
)
def test_escapes(encoded: bytes, raw: bytes) -> None:
    assert unescape(encoded) == raw
    assert unescape(escape(raw)) == raw


@pytest.mark.parametrize("encoded", [b"a\\", b"\\4", b"\\400", b"\\04", b"\\q", b"\\M", b"\\M-"])
def test_what_is_no_escape_is_refused(encoded: bytes) -> None:
    with pytest.raises(ValueError, match="backslash"):
        unescape(encoded)


def test_plain_names_are_below_the_directory_that_was_entered() -> None:
    assert entries(". type=dir\nusr type=dir\nbin type=dir\ntool type=file\n..\nx\n..\ny\n..") == [
        MtreeEntry(b"", Kind.DIRECTORY),
        MtreeEntry(b"usr", Kind.DIRECTORY),
        MtreeEntry(b"usr/bin", Kind.DIRECTORY),
        MtreeEntry(b"usr/bin/tool", Kind.FILE),
        MtreeEntry(b"usr/x"),
        MtreeEntry(b"y"),
    ]


def test_who_is_lost_says_so_of_every_plain_name_but_not_of_full_ones() -> None:
    found = entries("usr type=dir mode=x\ntool type=file\n./usr/lib type=dir\n..\nother")
    assert [type(each) for each in found] == [MtreeTrouble, MtreeTrouble, MtreeEntry, MtreeTrouble]
    assert [each.line for each in found if isinstance(each, MtreeTrouble)] == [1, 2, 5]


def test_a_line_goes_on_after_a_backslash_and_comments_are_none() -> None:
    assert entries("# nothing\n\n./a \\\n  mode=700 \\\n  type=file\n./b\\134 mode=600") == [
        MtreeEntry(b"a", Kind.FILE, 0o700),
        MtreeEntry(b"b\\", None, 0o600),
    ]
    assert entries("./a mode=700 \\") == [MtreeEntry(b"a", None, 0o700)]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("mode=8", "mode"), ("mode=77777", "mode"), ("mode=", "mode"), ("mode=u=rw", "mode"), ("type=door", "type"),
        ("uid=-1", "uid"), ("uid=4294967296", "uid"), ("gid=1_0", "gid"), ("size=+3", "size"),
        ("size=9" + "9" * 30, "size"),
        (f"sha256digest={MD5}", "digest"), ("sha256digest=" + "g" * 64, "digest"), (f"md5={MD5} sha256=", "digest"),
        ("link=\\9", "backslash"),
    ],
)  # fmt: skip
def test_a_value_that_makes_no_sense_is_a_trouble_and_no_entry(words: str, reason: str) -> None:
    found = entries(f"./before\n./a type=file {words}\n./after")
    assert [type(each) for each in found] == [MtreeEntry, MtreeTrouble, MtreeEntry]
    assert isinstance(found[1], MtreeTrouble)
    assert found[1].line == 2
    assert reason in found[1].reason


def test_lines_without_end_are_refused() -> None:
    found = entries("./" + "a" * LINE_LIMIT + "\n./b\n" + "x \\\n" * LINE_LIMIT + "\n./c")
    assert [type(each) for each in found].count(MtreeEntry) == 2
    assert MtreeEntry(b"b") in found
    assert MtreeEntry(b"c") in found
