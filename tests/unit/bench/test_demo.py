"""What the demonstration takes for a difference, and what it passes over."""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator

import pytest

from bench.demo import path_of, unlike
from tests.compare import compare

NOBODY = 65534


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Without root's rights; whoever runs without them anyway stays who it is."""
    user, group = os.geteuid(), os.getegid()
    if user == 0:
        os.setegid(NOBODY)
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)
        os.setegid(group)


def write(path: bytes, content: bytes = b"x") -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)
    os.utime(path, ns=(0, 0))


@pytest.fixture
def trees() -> Iterator[tuple[bytes, bytes]]:
    """A tree, and a copy in which everything named with "secret" is missing or empty; anybody may come here."""
    base = os.fsencode(tempfile.mkdtemp())
    os.chmod(base, 0o755)
    source, copy = base + b"/source", base + b"/copy"
    for name in (b"/plain", b"/secret", b"/secret-not", b"/secret.d/inside", b"/odd\xff/secret"):
        write(source + name)
    shutil.copytree(os.fsdecode(source), os.fsdecode(copy))
    os.unlink(copy + b"/secret")
    os.unlink(copy + b"/odd\xff/secret")
    shutil.rmtree(copy + b"/secret.d")
    os.mkdir(copy + b"/secret.d")
    for top in (source, copy):
        os.chmod(top + b"/secret.d", 0)
        for where in (top, top + b"/secret.d", top + b"/odd\xff"):
            os.utime(where, ns=(0, 0))
    os.chmod(source + b"/secret", 0)
    yield source, copy
    for top in (source, copy):
        os.chmod(top + b"/secret.d", 0o700)
    shutil.rmtree(base)


def test_what_cannot_be_read_is_a_difference_and_no_crash(trees: tuple[bytes, bytes]) -> None:
    source, copy = trees
    os.unlink(copy + b"/secret-not")
    write(copy + b"/secret")
    with as_nobody():
        differences = compare(source, copy)
    assert [line for line in differences if line.endswith("cannot be read")] == [
        "secret: cannot be read",
        "secret.d: cannot be read",
    ]
    assert any(line.startswith("secret-not: names") for line in differences)


def test_only_what_was_not_read_is_passed_over(trees: tuple[bytes, bytes]) -> None:
    source, copy = trees
    unread = {source + b"/secret", source + b"/secret.d", source + b"/odd\xff/secret", b"/elsewhere/plain"}
    with as_nobody():
        assert unlike(source, copy, unread) == []
        assert len(unlike(source, copy, unread - {source + b"/odd\xff/secret"})) == 1
    write(copy + b"/secret-not", b"other")
    write(copy + b"/plain", b"other")
    with as_nobody():
        assert {line.partition(":")[0] for line in unlike(source, copy, unread)} == {"plain", "secret-not"}


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_owners_count_for_root_alone(trees: tuple[bytes, bytes]) -> None:
    source, copy = trees
    os.chown(copy + b"/plain", 1, 1)
    unread = {source + b"/secret", source + b"/secret.d", source + b"/odd\xff"}
    assert [line.split(":")[:2] for line in unlike(source, copy, unread)] == [["plain", " owner"]]
    with as_nobody():
        assert unlike(source, copy, unread) == []


def test_the_path_of_a_warning_is_exact() -> None:
    assert path_of({"path": "/etc/shadow"}) == b"/etc/shadow"
    assert path_of({"path": "/a\ufffd", "path_b64": base64.b64encode(b"/a\xff").decode()}) == b"/a\xff"
