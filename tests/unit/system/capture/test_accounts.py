from __future__ import annotations

from pathlib import Path

import pytest

from snapstore.system.capture.accounts import capture_accounts
from snapstore.system.record import Row
from snapstore.system.scopes.accounts import USERS, Group, SubordinateIds, User
from tests.unit.system.capture.tree import Warnings, captured

HASH = "$y$j9T$abc$def"


def accounts(top: Path, files: dict[str, str | bytes | None]) -> tuple[list[Row], Warnings]:
    rows, warned = captured(top, files, capture_accounts)
    assert rows == sorted(rows, key=USERS.order)
    keys = [USERS.order(row) for row in rows]
    assert len({repr(key) for key in keys}) == len(keys)
    for row in rows:
        assert USERS.element(row)
    return list(rows), warned


def test_everything_in_order(tmp_path: Path) -> None:
    rows, warned = accounts(
        tmp_path,
        {
            "/etc/passwd": "root:x:0:0:root:/root:/bin/sh\nme:x:1000:1000:Me,,,:/home/me:/bin/zsh\nold:ab:5:5::/:\n",
            "/etc/shadow": f"root:*:19000:0:99999:7:::\nme:{HASH}:19500:1:90:14:30:20000:\nold:!:::::::\n",
            "/etc/group": "root:x:0:\nsudo:x:27:me,root\nme:x:1000:\n",
            "/etc/gshadow": f"root:*::\nsudo:{HASH}:me:root,me\nme:!::\n",
            "/etc/subuid": "me:100000:65536\n",
            "/etc/subgid": "me:100000:65536\n1000:200000:10\n",
        },
    )
    assert warned == []
    me, old, root = (row for row in rows if isinstance(row, User))
    assert (me.uid, me.gid, me.gecos, me.home, me.shell) == (1000, 1000, "Me,,,", b"/home/me", b"/bin/zsh")
    assert (me.changed, me.minimum, me.maximum, me.warning, me.inactive, me.expires) == (19500, 1, 90, 14, 30, 20000)
    assert (root.changed, root.minimum, root.maximum, root.warning, root.inactive) == (19000, 0, 99999, 7, None)
    assert (old.name, old.home, old.shell, old.changed) == ("old", b"/", b"", None)
    assert [user.password for user in (me, old, root)] == [HASH, "ab", "*"]
    groups = [row for row in rows if isinstance(row, Group)]
    assert [(row.name, row.gid, row.password, row.members, row.administrators) for row in groups] == [
        ("me", 1000, "!", (), ()),
        ("root", 0, "*", (), ()),
        ("sudo", 27, HASH, ("me", "root"), ("me",)),
    ]
    assert rows[6:] == [
        SubordinateIds(kind="gid", owner="1000", start=200000, count=10),
        SubordinateIds(kind="gid", owner="me", start=100000, count=65536),
        SubordinateIds(kind="uid", owner="me", start=100000, count=65536),
    ]


def test_without_shadow_nothing_is_claimed(tmp_path: Path) -> None:
    rows, warned = accounts(tmp_path, {"/etc/passwd": "a:x:1:1::/:/x\nb::2:2::/:/x\n", "/etc/shadow": None})
    assert [(row.name, row.password, row.changed) for row in rows] == [("a", "x", None), ("b", "", None)]
    assert "it cannot be read" in warned.text
    assert "nothing is known of passwords" in warned.text


def test_without_anything(tmp_path: Path) -> None:
    rows, warned = accounts(tmp_path, {})
    assert rows == []
    assert warned.text == "/etc/passwd: there is none, so that nothing is known of the users"


def test_who_is_in_one_file_only(tmp_path: Path) -> None:
    _, warned = accounts(
        tmp_path,
        {
            "/etc/passwd": "a:x:1:1::/:/x\n",
            "/etc/shadow": f"b:{HASH}:::::::\n",
            "/etc/group": "a:x:1:c\n",
            "/etc/gshadow": "a:!::d\nb:!::\n",
        },
    )
    assert warned.text.splitlines() == [
        "/etc/shadow: there is no line for 'a'",
        "/etc/shadow: it has a line for 'b', who is no user",
        "/etc/gshadow: 'a' has other members than in /etc/group",
        "/etc/gshadow: it has a line for 'b', which is no group",
    ]
    assert HASH not in warned.text


@pytest.mark.parametrize(
    ("path", "line", "reason"),
    [
        ("passwd", "a:x:1:1::/", "not as it should be"),
        ("passwd", "a:x:1:1::/:/x:more", "not as it should be"),
        ("passwd", ":x:1:1::/:/x", "not as it should be"),
        ("passwd", "a:x:one:1::/:/x", "an id that is no number"),
        ("passwd", "a:x:4294967296:1::/:/x", "an id that is no number"),
        ("passwd", "a:x:1:-1::/:/x", "an id that is no number"),
        ("passwd", "+::::::", "asks a name service"),
        ("group", "a:x:1", "not as it should be"),
        ("group", "a:x:b:", "an id that is no number"),
        ("shadow", "k:x:1:2", "not as it should be"),
        ("shadow", "k:x:soon::::::", "a number of days that is none"),
        ("gshadow", "k:x", "not as it should be"),
        ("subuid", "a:1", "not as it should be"),
        ("subgid", "a:x:1", "a range that is none"),
    ],
)
def test_lines_that_make_no_sense(tmp_path: Path, path: str, line: str, reason: str) -> None:
    files: dict[str, str | bytes | None] = {
        "/etc/passwd": "k:x:7:7::/:/x\n",
        "/etc/shadow": "k:!:::::::\n",
        "/etc/group": "k:x:7:\n",
        "/etc/gshadow": "k:!::\n",
    }
    before, quiet = accounts(tmp_path / "before", files)
    assert quiet == []
    files[f"/etc/{path}"] = f"{line}\n".encode() + str(files.get(f"/etc/{path}", "")).encode()
    rows, warned = accounts(tmp_path / "after", files)
    assert [(row.name, row.password) for row in rows if row.name == "k"] == [("k", "!"), ("k", "!")] or "days" in reason
    assert len(rows) == len(before)
    assert f"/etc/{path}: line 1" in warned.text
    assert reason in warned.text


def test_names_that_are_there_twice(tmp_path: Path) -> None:
    rows, warned = accounts(
        tmp_path,
        {
            "/etc/passwd": "a:x:1:1::/:/x\na:x:0:0::/:/x\na:x:1:1::/:/x\n",
            "/etc/shadow": "a:!:::::::\na::::::::\n",
            "/etc/group": "g:x:1:\ng:x:1:b\n",
            "/etc/subuid": "a:1:1\na:1:1\n",
        },
    )
    assert [(row.uid, row.number, row.password) for row in rows if isinstance(row, User)] == [(1, 0, "!"), (0, 1, "!")]
    assert [(row.members, row.number) for row in rows if isinstance(row, Group)] == [((), 0), (("b",), 1)]
    assert len([row for row in rows if isinstance(row, SubordinateIds)]) == 1
    assert "'a' is there more than once, with a difference" in warned.text
    assert "'a' is there twice and the same" in warned.text
    assert "line 2 is about a name that an earlier line is about" in warned.text
    assert "line 2 is there twice" in warned.text


def test_names_of_any_bytes(tmp_path: Path) -> None:
    rows, _ = accounts(
        tmp_path,
        {"/etc/passwd": b"\xff\x00 \n:x:1:1:\xfe:/\xfd:/x\n a b:x:2:2:::\n", "/etc/group": b"g:x:1:a b,\xff\n"},
    )
    assert [row.name for row in rows] == [" a b", "g"]
    assert rows[1].members == ("a%20b", "\udcff")


def test_days_of_minus_one_mean_none(tmp_path: Path) -> None:
    rows, warned = accounts(tmp_path, {"/etc/passwd": "a:x:1:1:::\n", "/etc/shadow": "a:!:1:-1:-1: :-1:-1:\n"})
    assert (rows[0].changed, rows[0].maximum, rows[0].expires) == (1, None, None)
    assert warned == []
