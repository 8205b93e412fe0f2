from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from snapstore.model import Entry, Kind
from snapstore.ops.hunks import LINE_LIMIT, LINE_WIDTH, TEXT_LIMIT, live_contents, text_hunks
from snapstore.system.root import Root


def entry(data: bytes, kind: Kind = Kind.FILE) -> Entry:
    return Entry(name=b"x", kind=kind, mode=0o644, uid=0, gid=0, size=len(data))


def hunks(old: bytes, new: bytes, path: bytes = b"/etc/app.conf") -> tuple[str, ...]:
    def given(data: bytes) -> Callable[[bytes, Entry], bytes]:
        return lambda _path, _entry: data

    return text_hunks(path, entry(old), entry(new), old=given(old), new=given(new))


def test_lines_that_changed_are_shown() -> None:
    assert hunks(b"a\nb\nc\n", b"a\nB\nc\n") == ("@@ -1,3 +1,3 @@", " a", "-b", "+B", " c")
    assert hunks(b"", b"a\n") == ("@@ -0,0 +1 @@", "+a")


def test_only_a_line_feed_ends_a_line() -> None:
    assert hunks(b"a\r\n", b"a\n") == ("@@ -1 +1 @@", "-a\r", "+a")
    assert hunks("a\u2028b\x0cc\n".encode(), b"a\n")[1] == "-a\u2028b\x0cc"
    assert hunks(b"a\n", b"a") == ("@@ -1 +1,2 @@", " a", "+\\ no line feed at the end")


@pytest.mark.parametrize("data", [b"a\0b\n", b"\xff\xfe\n", b"x" * (TEXT_LIMIT + 1)])
def test_what_is_no_text_is_not_shown(data: bytes) -> None:
    assert hunks(b"a\n", data) == ()
    assert hunks(data, b"a\n") == ()


def test_neither_long_lines_nor_many_fill_the_screen() -> None:
    (_, old, new) = hunks(b"a" * 100_000 + b"\n", b"b" * 100_000 + b"\n")
    assert (len(old), len(new)) == (LINE_WIDTH + 1, LINE_WIDTH + 1)
    many = hunks(b"", b"".join(b"%d\n" % number for number in range(LINE_LIMIT * 2)))
    assert len(many) == LINE_LIMIT + 1
    assert many[-1] == f"… and {LINE_LIMIT + 1} more lines"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"password = hunter2hunter2\n", b""),
        (b"", b"password = hunter2hunter2\n"),
        (b"password = hunter2hunter2\nx = 1\n", b"password = other\nx = 2\n"),
        (b"x\n", b"a" * 2000 + b" password = hunter2hunter2\n"),
    ],
)
def test_secrets_show_in_no_line_whether_it_went_or_came(old: bytes, new: bytes) -> None:
    shown = "\n".join(hunks(old, new))
    assert "hunter2" not in shown
    assert "other" not in shown


def test_what_is_live_is_read_from_the_root_and_no_further(tmp_path: os.PathLike[str]) -> None:
    base = os.fsencode(tmp_path)
    os.makedirs(base + b"/root/etc")
    for path, data in ((b"/secret", b"out"), (b"/root/etc/in", b"in"), (b"/root/etc/big", b"x" * (TEXT_LIMIT + 1))):
        with open(base + path, "wb") as file:
            file.write(data)
    os.symlink(base + b"/secret", base + b"/root/etc/out")
    os.mkfifo(base + b"/root/etc/fifo")
    with Root(base + b"/root") as root:
        read = live_contents(root)
        found = {name: read(b"/etc/" + name, entry(b"")) for name in (b"in", b"out", b"big", b"fifo", b"none")}
    assert found == {b"in": b"in", b"out": None, b"big": None, b"fifo": None, b"none": None}
