"""What is said of a row, and what is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapstore.cli.reportrows import (
    SEVERE,
    WORRIES,
    Difference,
    Mark,
    differences,
    file_marks,
    group_marks,
    package_marks,
    password_state,
    port_marks,
    port_text,
    repository_marks,
    unit_marks,
    user_marks,
    without_secrets,
    worries,
)
from snapstore.system.packages import Package
from snapstore.system.scopes.accounts import Group, User
from snapstore.system.scopes.files import CHANGES, Class, FileRow
from snapstore.system.scopes.repositories import Repository
from snapstore.system.scopes.services import Port, Unit


def row(*changes: str, **more: object) -> FileRow:
    plain = FileRow(path=b"/usr/bin/x", cls=Class.CHANGED, kind="file", size=2048, changes=changes)
    return plain._replace(**more)  # type: ignore[arg-type]


def test_differences_name_the_packaged_value_and_the_found_one() -> None:
    found = differences(
        row(
            "content", "mode", "owner", "capabilities", packaged_digest="md5:" + "0" * 32, mode=0o4755,
            packaged_mode=0o755, owner="a:b", packaged_owner="root:root", capabilities="cap_net_raw=ep",
        )
    )  # fmt: skip
    assert found == [
        Difference("content", "md5:00…00000000000", "differs, 2.0 KiB", words=True),
        Difference("mode", "0755 rwxr-xr-x", "4755 rwsr-xr-x"),
        Difference("owner", "root:root", "a:b"),
        Difference("capabilities", "none", "cap_net_raw=ep"),
    ]


def test_a_link_that_leads_elsewhere() -> None:
    found = differences(row("target", kind="link", target=b"/etc/passwd", packaged_target=b"y"))
    assert found == [Difference("target", b"y", b"/etc/passwd")]


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_is_told_even_if_nothing_more_is_known(change: str) -> None:
    (found,) = differences(row(change))
    assert found.what == change
    assert found.now


@pytest.mark.parametrize(
    ("found", "names"),
    [
        (row("mode", mode=0o4755), ["setuid"]),
        (row("mode", mode=0o2755), ["setgid"]),
        (row("mode", mode=0o6777), ["setuid", "setgid", "writable"]),
        (row("mode", mode=0o2775, kind="dir"), []),
        (row("mode", mode=0o1777, kind="dir"), []),
        (row("mode", mode=0o777, kind="dir"), ["writable"]),
        (row("mode", mode=0o777, kind="link"), []),
        (row("content"), ["unpackaged content"]),
        (row("content", config=True), []),
        (row("unverified"), ["unverified"]),
        (row("type", kind="link"), ["type"]),
        (row("target", kind="link"), ["target"]),
        (row("capabilities"), ["capabilities"]),
        (row(cls=Class.UNMANAGED, mode=0o4755), ["setuid"]),
        (row(cls=Class.UNMANAGED, capabilities="cap_net_raw=ep"), ["capabilities"]),
        (row(cls=Class.UNMANAGED), []),
    ],
)
def test_what_is_worrying(found: FileRow, names: list[str]) -> None:
    assert worries(found) == names
    assert [mark for mark in file_marks(found) if mark.tone == SEVERE] == [WORRIES[name].mark for name in names]


def test_marks_of_paths() -> None:
    assert file_marks(row("content", config=True, omitted=True)) == [Mark("configuration", "info"), Mark("not stored")]
    assert file_marks(row(kind="dir", tree=True)) == [Mark("whole directory")]
    assert file_marks(row(kind="dir", tree=True, contents=True)) == [Mark("what is in it")]


@pytest.mark.parametrize(
    ("password", "state"),
    [
        ("", "no password"), ("!", "locked"), ("!!", "locked"), ("*", "locked"), ("!$6$salt$hash", "locked"),
        ("$6$salt$hash", "has password"), ("ab01FAX.bQRSU", "has password"), ("x", "not known"),
    ],
)  # fmt: skip
def test_what_is_said_of_a_password(password: str, state: str) -> None:
    assert password_state(password) == state


@given(st.text())
def test_no_part_of_a_password_is_said(password: str) -> None:
    assert password_state(password) in ("no password", "locked", "has password", "not known")


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("https://deb.example.org/debian", "https://deb.example.org/debian"),
        ("https://user:pw@example.org/x@y", "https://(hidden)@example.org/x@y"),
        ("https://token@example.org", "https://(hidden)@example.org"),
        ("baseurl=https://a:b@c/d", "baseurl=https://(hidden)@c/d"),
        ("http://a:p@ss@c/", "http://(hidden)@c/"),
        ("password=hunter2=x", "password=(hidden)"),
        ("Proxy-Password=a b", "Proxy-Password=(hidden)"),
        ("arch=amd64", "arch=amd64"),
        ("signed-by=/usr/share/keyrings/a.gpg", "signed-by=/usr/share/keyrings/a.gpg"),
    ],
)
def test_secrets_in_words(text: str, safe: str) -> None:
    assert without_secrets(text) == safe


@given(st.text(alphabet=st.characters(exclude_characters="/@", exclude_categories=("Z", "C")), min_size=1))
def test_what_stands_before_a_host_is_hidden(secret: str) -> None:
    assert without_secrets(f"https://{secret}:{secret}@host/dir") == "https://(hidden)@host/dir"


def test_marks_of_accounts() -> None:
    day = 86_400_000_000_000
    user = User(name="x", uid=0, gid=0, expires=10)
    assert user_marks(user, taken=10 * day) == [
        Mark("number 0", "severe"), Mark("no password", "severe"), Mark("expired 1970-01-11", "warn"),
    ]  # fmt: skip
    assert user_marks(user, taken=10 * day - 1)[-1] == Mark("expires 1970-01-11")
    assert user_marks(User(name="root", uid=0, gid=0, password="*"), taken=0) == [Mark("locked")]  # noqa: S106
    assert group_marks(Group(name="g", gid=1)) == []
    assert group_marks(Group(name="g", gid=1, password="$6$a$b")) == [Mark("has password", "warn")]  # noqa: S106


def test_marks_of_packages_and_repositories() -> None:
    package = Package(manager="dpkg", name="p", version="1", arch="all", state="broken", held=True)
    assert [mark.text for mark in package_marks(package)] == ["broken", "held"]
    unsigned = Repository(file=b"/f", kind="deb", unsigned=True)
    assert repository_marks(unsigned) == [Mark("not signed", "severe")]
    assert repository_marks(Repository(file=b"/f", kind="deb", unsigned=True, disabled=True)) == [
        Mark("not signed", "warn"), Mark("disabled"),
    ]  # fmt: skip


def test_marks_of_units() -> None:
    unit = Unit(name="a.service", state="masked", local=True, running=True, dropins=("/x.conf",))
    assert [mark.text for mark in unit_marks(unit)] == ["local", "masked", "drop-ins", "running"]
    assert unit_marks(Unit(name="a.service", state="enabled")) == []


@pytest.mark.parametrize(
    ("address", "text", "marks"),
    [
        ("0.0.0.0", "0.0.0.0:80", ["every address"]),  # noqa: S104
        ("::", "[::]:80", ["every address"]),
        ("*", "*:80", ["every address"]),
        ("127.0.0.53%lo", "127.0.0.53%lo:80", ["this machine only"]),
        ("::1", "[::1]:80", ["this machine only"]),
        ("192.0.2.7", "192.0.2.7:80", []),
        ("nonsense", "nonsense:80", []),
    ],
)
def test_who_can_reach_a_port(address: str, text: str, marks: list[str]) -> None:
    port = Port(protocol="tcp", address=address, port=80)
    assert port_text(port) == text
    assert [mark.text for mark in port_marks(port)] == marks
