"""A root that pacman filled: what is read from its database is what pacman says, and what is on the disk."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from snapstore.model import Kind
from snapstore.system.managers.pacman import Pacman
from snapstore.system.packages import Owned
from snapstore.system.root import Root
from tests.system.pacmanroots import RECIPES, PacmanRoot, build_package, build_pacman_root, require_tools

pytestmark = pytest.mark.root

EXCLUDED = {b"/usr/share/locale/de", b"/usr/share/locale/de/demo.mo"}


@pytest.fixture
def built(tmp_path: Path) -> PacmanRoot:
    """A new root for each test; it takes a tenth of a second."""
    require_tools()
    return build_pacman_root(os.fsencode(tmp_path))


def refuse(path: bytes, reason: str) -> None:
    raise AssertionError(path, reason)


def owned(root: PacmanRoot) -> list[Owned]:
    with Root(root.path) as opened:
        return list(Pacman().owned(opened, refuse))


def differs(each: Owned, place: bytes) -> bool:
    """Whether what is on the disk is not what is expected, in anything that the database knows."""
    try:
        status = os.lstat(place)
    except FileNotFoundError:
        return True
    if (status.st_uid, status.st_gid) != (each.uid, each.gid):
        return True
    if each.kind is Kind.SYMLINK:
        return not stat.S_ISLNK(status.st_mode) or os.readlink(place) != each.target
    if stat.S_IMODE(status.st_mode) != each.mode:
        return True
    if each.kind is Kind.DIRECTORY:
        return not stat.S_ISDIR(status.st_mode)
    assert each.digest is not None
    with open(place, "rb") as file:
        content = file.read()
    return (len(content), hashlib.new(each.digest.algorithm, content).digest()) != (each.size, each.digest.value)


def retarget(place: bytes) -> None:
    os.unlink(place)
    os.symlink(b"private", place)


def altered(root: PacmanRoot) -> set[bytes]:
    """The paths that pacman itself finds changed; it mentions backup files, but does not count them."""
    said = root.pacman("-Qkk", check=False)
    return set(re.findall(rb": " + re.escape(root.path) + rb"(/[^(]+) \([A-Z]", said))


def test_pacman_lists_the_same_paths(built: PacmanRoot) -> None:
    listed = set(built.pacman("-Ql").splitlines())
    expected = set()
    for each in owned(built):
        # Its list has each part of a name with line feeds as a name of its own.
        for number, part in enumerate(each.path.split(b"\n")):
            whole = built.path + (b"/" if number else b"") + part
            expected.add(each.package.encode() + b" " + whole + (b"/" if each.kind is Kind.DIRECTORY else b""))
    assert expected == listed
    assert len(expected) > 70


def test_pacman_says_the_same_of_packages(built: PacmanRoot) -> None:
    with Root(built.path) as root:
        packages = Pacman().packages(root, refuse)
    for option, reason in (("-Qe", "manual"), ("-Qd", "auto")):
        said = built.pacman(option).decode().splitlines()
        assert [f"{each.name} {each.version}" for each in packages if each.reason == reason] == said


def test_every_path_on_the_disk_is_as_expected(built: PacmanRoot) -> None:
    found = owned(built)
    assert all(each.vouched for each in found)
    assert {each.path for each in found if differs(each, built.path + each.path)} == EXCLUDED
    assert all(each.optional for each in found if each.path in EXCLUDED)


def test_changes_are_found_where_pacman_finds_them(built: PacmanRoot) -> None:
    root = built.path
    changes: dict[bytes, Callable[[bytes], None]] = {
        b"/usr/share/demo/data01.txt": lambda place: os.truncate(place, 0),
        b"/usr/bin/sutool": lambda place: os.chmod(place, 0o755),
        b"/usr/bin/alias": retarget,
        b"/usr/share/demo/data02.txt": os.unlink,
        b"/etc/issue": lambda place: os.chown(place, 12, 0),
        b"/etc/demo/main.conf": lambda place: os.truncate(place, 3),
        "/usr/share/names/grün".encode(): lambda place: os.truncate(place, 1),
        b"/var/empty": lambda place: os.chmod(place, 0o777),
        b"/usr/share/names/two\nlines": lambda place: os.truncate(place, 1),
    }
    expected = owned(built)
    assert altered(built) == set()
    for path, change in changes.items():
        change(root + path)
    ours = {each.path for each in expected if differs(each, root + each.path)}
    assert ours == {*changes, *EXCLUDED}
    assert altered(built) == set(changes)


def test_after_an_upgrade_the_new_version_counts(built: PacmanRoot, tmp_path: Path) -> None:
    (recipe,) = (each for each in RECIPES if each.name == "demo-config")
    with Root(built.path) as opened:
        stamp = Pacman().stamp(opened)
    with open(built.path + b"/etc/demo/main.conf", "ab") as file:
        file.write(b"edited\n")
    items = [
        type(each)(path=each.path, content=b"new\n", mode=each.mode) if each.path.endswith(b"main.conf") else each
        for each in recipe.items
    ]
    shutil.rmtree(tmp_path / "stage")
    upgraded = type(recipe)(name=recipe.name, version="0.2-1", items=items, backups=recipe.backups)
    built.pacman("--noconfirm", "--noscriptlet", "-U", build_package(upgraded, os.fsencode(tmp_path)))
    assert os.path.exists(built.path + b"/etc/demo/main.conf.pacnew")
    with Root(built.path) as opened:
        assert Pacman().stamp(opened) != stamp
    (main,) = (each for each in owned(built) if each.path == b"/etc/demo/main.conf")
    assert main.config
    assert main.digest is not None
    assert main.digest.value == hashlib.sha256(b"new\n").digest()
    assert differs(main, built.path + main.path)
