"""Whatever bytes and links a root is made of, a capture ends with rows that can be written, in order and each once."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snapstore.system.capture import accounts, aptsources, inisources, osrelease, ports, repositories, services, sudoers
from snapstore.system.capture.sources import Source
from snapstore.system.openpgp import read_keyring
from snapstore.system.packages import Ownership, Warn
from snapstore.system.record import Row, Scope
from snapstore.system.root import Root
from snapstore.system.scopes.accounts import USERS
from snapstore.system.scopes.osrelease import OS
from snapstore.system.scopes.repositories import REPOS
from snapstore.system.scopes.services import SERVICES
from tests.unit.system.keys import armored, keyring, public_key

FRAGMENTS = st.sampled_from(
    [
        *(
            b"root",
            b":",
            b"x",
            b"0",
            b"1000",
            b"\n",
            b"\n",
            b"\n",
            b" ",
            b"\t",
            b"#",
            b"\\",
            b'"',
            b"'",
            b"[",
            b"]",
            b"=",
            b",",
        ),
        *(b"deb", b"http://u:p@h/", b"Types: deb\nURIs: u\nSuites: s\n", b"[repo]\nbaseurl=http://h\n", b"Signed-By: "),
        *(
            b"@include /etc/sudoers",
            b"@includedir /etc/sudoers.d",
            b"%h",
            b"[Install]\nWantedBy=a.target",
            b"\r",
            b"@tag",
        ),
        *(
            b"\xff",
            b"\0",
            b"\xc2\x85",
            b"\x1c",
            b"4294967296",
            b"-1",
            b"/etc/shadow",
            b"../..",
            b"gpgkey=file:///etc/k",
        ),
        *(b"$y$j9T$x", b"ID=debian", b"Include = /etc/*"),
    ]
)
TEXT = st.lists(FRAGMENTS, max_size=25).map(b"".join)
CONTENT = st.one_of(TEXT, st.binary(max_size=40), st.just(keyring(public_key(b"a"), "A")), st.just(b""))
UNITS, PACKAGED = "etc/systemd/system", "usr/lib/systemd/system"
LINKS = st.sampled_from(
    ["/dev/null", "/etc/passwd", "../../..", ".", "loop", "/etc", f"/{UNITS}/a.service", f"/{PACKAGED}/c@.service"]
)
PATHS = st.sampled_from(
    [
        *(
            "etc/os-release",
            "usr/lib/os-release",
            "etc/hostname",
            "etc/localtime",
            "etc/timezone",
            "etc/default/locale",
        ),
        *("bin/sh", "sbin/init", "etc/debian_version", "etc/passwd", "etc/shadow", "etc/group", "etc/gshadow"),
        *("etc/subuid", "etc/subgid", "etc/sudoers", "etc/sudoers.d/a", "etc/sudoers.d/b c", "etc/apt/sources.list"),
        *("etc/apt/sources.list.d/a.list", "etc/apt/sources.list.d/a.sources", "etc/apt/trusted.gpg"),
        *("etc/apt/trusted.gpg.d/a.gpg", "etc/apt/keyrings/a.asc", "etc/yum.repos.d/a.repo", "etc/dnf/dnf.conf"),
        *("etc/zypp/repos.d/a.repo", "etc/pacman.conf", "etc/apk/repositories", "etc/apk/keys/a.pub", "etc/k"),
        *("etc/pki/rpm-gpg/k", "etc/init.d/a", "etc/rc2.d/S01a", UNITS, "etc/apt", "etc/sudoers.d", "lib"),
        *(f"{UNITS}/a.service", f"{UNITS}/b.service", f"{UNITS}/a.target.wants/b.service"),
        *(f"{UNITS}/a.target.wants/c@x.service", f"{UNITS}/a.service.d/x y.conf"),
        *(f"{PACKAGED}/a.service", f"{PACKAGED}/c@.service"),
    ]
)
TREES = st.dictionaries(PATHS, st.one_of(CONTENT, LINKS, st.none()), max_size=10)


def build(top: Path, tree: dict[str, bytes | str | None]) -> None:
    """Nothing; the tree is there, as far as its paths do not need two things at one place."""
    for path, what in sorted(tree.items(), reverse=True):
        place = top / path
        if any(parent.is_symlink() or parent.is_file() for parent in place.parents if parent != top.parent):
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.exists() or place.is_symlink():
            continue
        if what is None:
            os.mkfifo(place)
        elif isinstance(what, str):
            place.symlink_to(what)
        else:
            place.write_bytes(what)
            place.chmod(0o755)


def capture_services(root: Root, warn: Warn) -> list[Row]:
    return list(services.capture_services(root, Ownership([]), warn))


CAPTURES: list[tuple[Scope, Callable[[Root, Warn], list[Any]]]] = [
    (OS, osrelease.capture_os),
    (REPOS, repositories.capture_repositories),
    (USERS, accounts.capture_accounts),
    (SERVICES, capture_services),
]


@pytest.mark.parametrize(("scope", "capture"), CAPTURES, ids=lambda value: getattr(value, "name", ""))
@settings(max_examples=120, deadline=None)
@given(tree=TREES)
def test_any_root(
    scope: Scope, capture: Callable[[Root, Warn], list[Any]], tree: dict[str, bytes | str | None]
) -> None:
    warned: list[tuple[bytes, str]] = []
    with tempfile.TemporaryDirectory() as base:
        top = Path(base) / "top"
        top.mkdir()
        build(top, tree)
        with Root(os.fsencode(top)) as root:
            rows = capture(root, lambda path, reason: warned.append((path, reason)))
        with Root(os.fsencode(top)) as root:
            again = capture(root, lambda _path, _reason: None)
    assert rows == again
    orders = [scope.order(row) for row in rows]
    assert all(first < second for first, second in pairwise(orders))
    for row in rows:
        assert scope.element(row)
    for path, reason in warned:
        assert isinstance(path, bytes)
        assert reason
        assert "\n" not in reason


def ignored(_path: bytes, _reason: str) -> None:
    """Warnings are of no interest here."""


def sources(data: bytes) -> Iterator[Source]:
    yield from aptsources.parse_one_line(b"/f", data, ignored)
    yield from aptsources.parse_deb822(b"/f", data, ignored)
    yield from inisources.parse_repo(b"/f", data, ignored, checked=True)
    yield from inisources.parse_apk(b"/f", data, ignored)


@settings(max_examples=300, deadline=None)
@given(st.one_of(TEXT, st.binary(max_size=60)))
def test_any_bytes_for_any_parser(data: bytes) -> None:
    for source in sources(data):
        assert REPOS.element(source.row)
        assert "u:p@" not in " ".join((*source.row.uris, *source.row.options, *source.row.keys))
    for user in accounts.parse_passwd(b"/f", data, ignored):
        assert USERS.element(user)
    for group in accounts.parse_group(b"/f", data, ignored):
        assert USERS.element(group)
    accounts.parse_shadow(b"/f", data, ignored)
    accounts.parse_gshadow(b"/f", data, ignored)
    for row in accounts.parse_subordinate(b"/f", data, ignored, kind="uid"):
        assert USERS.element(row)
    for line in sudoers.logical_lines(b"/f", data, ignored):
        rule = sudoers.squeeze(line)
        assert sudoers.squeeze(rule) == rule
    osrelease.read_assignments(b"/f", data, ignored)
    osrelease.elf_machine(data)
    repositories.keys_of(b"/f", data, ignored)
    services.active_units(data, ignored)
    services.listening_units(data, ignored)
    ports.unit_of_cgroup(data)
    for protocol in ("tcp", "udp"):
        list(ports.read_table(b"/f", data, ignored, protocol=protocol))


RING = keyring(public_key(b"a"), "A") + keyring(public_key(b"b"), "B", old=True)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(RING)), st.binary(max_size=6), st.booleans())
def test_a_damaged_keyring(at: int, patch: bytes, armour: bool) -> None:  # noqa: FBT001 - drawn
    data = RING[:at] + patch + RING[at + len(patch) :]
    keys, trouble = read_keyring(armored(data).encode() if armour else data)
    assert len(keys) <= len(data)
    assert keys or trouble


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(RING) - 1))
def test_a_keyring_that_breaks_off(at: int) -> None:
    """It never passes for a whole one, except where it breaks off between two packets."""
    whole, _ = read_keyring(RING)
    keys, trouble = read_keyring(RING[:at])
    assert [key.fingerprint for key in keys] == [key.fingerprint for key in whole][: len(keys)]
    assert trouble or len(keys) >= 1
