"""Entries and findings as text and fields."""

from __future__ import annotations

import pytest

from snapstore.cli.messages import EntryLine, SnapshotLine, entry_fields, mode_text
from snapstore.model import Entry, Kind, Root, SessionId, Snapshot, Xattr


def entry(kind: Kind = Kind.FILE, mode: int = 0o644, **more: object) -> Entry:
    return Entry(name=b"x", kind=kind, mode=mode, uid=0, gid=7, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "mode", "text"),
    [
        (Kind.FILE, 0o644, "-rw-r--r--"),
        (Kind.DIRECTORY, 0o1777, "drwxrwxrwt"),
        (Kind.DIRECTORY, 0o1776, "drwxrwxrwT"),
        (Kind.FILE, 0o4755, "-rwsr-xr-x"),
        (Kind.FILE, 0o2644, "-rw-r-Sr--"),
        (Kind.SYMLINK, 0o777, "lrwxrwxrwx"),
        (Kind.CHARACTER_DEVICE, 0, "c---------"),
        (Kind.BLOCK_DEVICE, 0, "b---------"),
        (Kind.FIFO, 0, "p---------"),
        (Kind.SOCKET, 0, "s---------"),
    ],
)
def test_modes_as_ls_writes_them(kind: Kind, mode: int, text: str) -> None:
    assert mode_text(entry(kind, mode)) == text


def test_an_acl_is_a_plus() -> None:
    assert mode_text(entry(acl="user::rw-")) == "-rw-r--r--+"


def test_fields_leave_out_what_says_nothing() -> None:
    plain = entry_fields(entry(size=3, mtime=(-1, 5)))
    assert plain == {
        "type": "file",
        "mode": "0644",
        "uid": 0,
        "gid": 7,
        "user": "",
        "group": "",
        "mtime": "1969-12-31T23:59:59.000000005Z",
        "size": 3,
    }
    rich = entry_fields(entry(links=2, hardlink=b"\xff", xattrs=(Xattr(b"user.a", b"\0"),), holes=((0, 4096),)))
    assert rich["links"] == 2
    assert rich["hardlink_b64"] == "/w=="
    assert rich["xattrs"] == [{"name": "user.a", "value_b64": "AA=="}]
    assert rich["holes"] == [[0, 4096]]
    assert entry_fields(entry(Kind.BLOCK_DEVICE, rdev=(8, 1)))["rdev"] == [8, 1]


def test_devices_show_their_numbers_and_links_their_escaped_targets() -> None:
    assert " 8, 1 " in EntryLine(b"/d", entry(Kind.BLOCK_DEVICE, rdev=(8, 1)), long=True).text(verbose=False)
    text = EntryLine(b"/l", entry(Kind.SYMLINK, target=b"\x1b[m"), long=True).text(verbose=False)
    assert text.endswith("/l -> \\x1b[m")


def test_nothing_in_a_record_reaches_the_terminal_raw() -> None:
    bad = "\x1b[2J\u202e"
    record = Snapshot(
        session=SessionId(bytes(16)), name=bad, tags=(bad,), host=bad, roots=(Root(path=b"/\x1b", entry=entry()),)
    )
    assert all(cell.isprintable() for cell in SnapshotLine(record).cells(verbose=True))
    hostile = entry(user=bad, group=bad, unread=bad)
    assert EntryLine(b"/\x1b\n", hostile, long=True).text(verbose=True).isprintable()
