"""Databases of every package manager, each of their files damaged in every way: refused or told of, and never believed.

In all of this the files of the packages have been altered, so that an audit which calls any of them pristine is wrong.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from snapstore.errors import PackageDatabaseError
from snapstore.model import Kind
from snapstore.system.packages import Owned
from snapstore.system.root import Root
from tests.contract.packagedaudits import audit, pristine
from tests.contract.packageddatabases import DIALECTS
from tests.contract.packagedroots import (
    ITEMS,
    UNPACKED,
    Database,
    Dialect,
    Looked,
    look,
    make_root,
    on_disk,
    stamp_of,
)

NOBODY = 65534
SECONDS = 6.0
"""No look at a damaged database may take longer; it takes a fraction of a second where nobody else is at work."""

_IN_ACCESS, _IN_OPEN = 0x1, 0x20
_CONTENT = {item.place: item.content for item in ITEMS if item.kind is not Kind.DIRECTORY}


@dataclass(frozen=True, slots=True)
class Scene:
    """A root of altered files with the database of one dialect; `outside` is beside it, and holds the same database."""

    dialect: Dialect
    root: Path
    outside: Path
    cache: Path
    database: Database
    whole: Looked

    @property
    def versions(self) -> set[tuple[str, str]]:
        """The packages of the whole database, with their versions."""
        return {(each.name, each.version) for each in self.whole.packages}

    def restore(self, name: str) -> None:
        """The file, or the directory, of the database as it was."""
        place = self.root / name
        if place.is_dir() and not place.is_symlink():
            place.chmod(0o755)
            shutil.rmtree(place)
        elif os.path.lexists(place):
            place.unlink()
        for each in self.database:
            if each == name or each.startswith(name + "/"):
                again = self.root / each
                again.parent.mkdir(parents=True, exist_ok=True)
                again.write_bytes(self.database[each])
                self.age(each)

    def age(self, name: str) -> None:
        """Nothing; a file looks as old as it was."""
        with contextlib.suppress(FileNotFoundError):
            os.utime(self.root / name, ns=(UNPACKED, UNPACKED), follow_symlinks=False)


@pytest.fixture(params=DIALECTS, ids=str)
def scene(request: pytest.FixtureRequest) -> Iterator[Scene]:
    """A scene that everybody may look at."""
    dialect = cast("Dialect", request.param)
    base = Path(tempfile.mkdtemp())
    try:
        base.chmod(0o755)
        root = make_root(base / "root", dialect)
        for item in ITEMS:
            place = on_disk(root, item.place)
            if item.kind is Kind.FILE:
                with open(place, "r+b") as file:
                    file.write(b"altered!")
            elif item.kind is Kind.SYMLINK and item.path != b"/bin":
                os.unlink(place)
                os.symlink(b"elsewhere", place)
        database = dialect.database(ITEMS)
        for name, data in database.items():
            (base / "outside" / name).parent.mkdir(parents=True, exist_ok=True)
            (base / "outside" / name).write_bytes(data)
        (base / "cache").mkdir()
        (base / "cache").chmod(0o777)
        yield Scene(dialect, root, base / "outside", base / "cache", database, look(root, dialect.manager()))
    finally:
        for folder, _, _ in os.walk(base):
            os.chmod(folder, 0o755)
        shutil.rmtree(base)


# -- how a place is watched -------------------------------------------------------------------------------------------


@contextlib.contextmanager
def unopened(*places: Path) -> Iterator[None]:
    """Nothing; whoever opens or reads one of the places meanwhile, this process or another, fails the test."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    assert fd >= 0, os.strerror(ctypes.get_errno())
    try:
        for place in places:
            watch = libc.inotify_add_watch(fd, os.fsencode(place), _IN_OPEN | _IN_ACCESS)
            assert watch > 0, os.strerror(ctypes.get_errno())
        yield
        with contextlib.suppress(BlockingIOError):
            raise AssertionError("it has been opened", os.read(fd, 1 << 16))
    finally:
        os.close(fd)


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


# -- what must never be -----------------------------------------------------------------------------------------------


def check(scene: Scene, *, strictly: bool = False) -> bool:
    """Whether something was told of the database: that it is refused, or a warning. Everything else has to hold.

    With `strictly`, whatever is vouched for is as it is in the whole database.
    """
    began = time.monotonic()
    dialect = scene.dialect
    told = False
    with Root(os.fsencode(scene.root)) as opened:
        assert isinstance(dialect.manager().detect(opened), bool)
    with contextlib.suppress(PackageDatabaseError):
        stamp_of(scene.root, dialect.manager())
    try:
        looked = look(scene.root, dialect.manager())
    except PackageDatabaseError:
        told = True
    else:
        told = bool(looked.warned)
        assert told or {(each.name, each.version) for each in looked.packages} <= scene.versions
        for each in looked.owned:
            assert each.path.startswith(b"/")
            assert _is_true(each), each
        if strictly:
            assert _vouched(looked.owned) <= _vouched(scene.whole.owned)
    try:
        audited = audit(scene.root, dialect, cache=scene.cache)
    except PackageDatabaseError:
        assert told
    else:
        files, _, others = pristine(audited)
        assert files == 0
        assert others <= 1  # /bin, which was left as it is
    assert time.monotonic() - began < SECONDS
    return told


def _vouched(owned: list[Owned]) -> set[Owned]:
    """The records that are vouched for and say what a path is, without what is no matter of how it should be.

    Among that is the name of the package: with one of two architectures lost, the other needs no telling apart. A list
    of dpkg may end at any line, and then it is not known any more that what it still has were directories.
    """
    stated = (each for each in owned if each.vouched and (each.kind, each.digest) != (None, None))
    return {each._replace(package="", config=False, installed=0) for each in stated}


def _is_true(owned: Owned) -> bool:
    """Whether a digest, where one is stated, is of what the package really has."""
    content = _CONTENT.get(owned.path)
    if content is None or owned.digest is None:
        return True
    return hashlib.new(owned.digest.algorithm, content).digest().startswith(owned.digest.value)


def test_the_altered_files_are_seen_with_a_whole_database(scene: Scene) -> None:
    assert not check(scene)
    files, _, others = pristine(audit(scene.root, scene.dialect, cache=scene.cache))
    assert files == 0
    assert others == (0 if os.getuid() and not scene.dialect.owners else 1)


# -- every file in turn -----------------------------------------------------------------------------------------------

Damage = Callable[[Path, Path], object]
"""Something done to a file of a database; the second path is a copy of it that is outside of the root."""


def _fill(place: Path, data: bytes) -> None:
    place.write_bytes(data)


def _link(place: Path, target: str) -> None:
    place.unlink()
    place.symlink_to(target)


def _special(place: Path, make: Callable[[Path], object]) -> None:
    place.unlink()
    make(place)


UNREADABLE: dict[str, Damage] = {
    "a directory": lambda place, _: _special(place, Path.mkdir),
    "a pipe": lambda place, _: _special(place, os.mkfifo),
    "no rights": lambda place, _: place.chmod(0),
}
LEADING: dict[str, Damage] = {
    "a link to itself": lambda place, _: _link(place, place.name),
    "a link out of the root": lambda place, outside: _link(place, str(outside)),
    "a link far up": lambda place, outside: _link(place, "../" * 40 + str(outside)[1:]),
}
RUBBISH: dict[str, Damage] = {
    "0xff": lambda place, _: _fill(place, b"\xff" * place.stat().st_size),
    "one long line": lambda place, _: _fill(place, b"x" * (2 << 20)),
    "one long line of words": lambda place, _: _fill(place, b"/a: 1" * (2 << 18)),
    "one long line behind the first": lambda place, _: _fill(place, place.read_bytes()[:40] + b"%/:" * (2 << 19)),
}


def damaged(scene: Scene, damage: Damage) -> Iterator[tuple[str, bool]]:
    """The name of each file of the database, and whether anything was told when that alone was damaged."""
    for name in scene.database:
        place, outside = scene.root / name, scene.outside / name
        damage(place, outside)
        if not place.is_fifo():
            scene.age(name)
        watched = [outside, *([place] if place.is_fifo() else [])]
        with unopened(*watched), as_nobody():
            told = check(scene)
        yield name, told
        scene.restore(name)


@pytest.mark.parametrize("how", UNREADABLE)
def test_a_file_that_cannot_be_read_is_told_of(scene: Scene, how: str) -> None:
    assert [name for name, told in damaged(scene, UNREADABLE[how]) if not told] == []


@pytest.mark.parametrize("how", LEADING)
def test_a_link_is_not_followed_out_of_the_root(scene: Scene, how: str) -> None:
    silent = {name for name, told in damaged(scene, LEADING[how]) if not told}
    assert silent & set(scene.dialect.required) == set()


@pytest.mark.parametrize("how", RUBBISH)
def test_rubbish_is_told_of(scene: Scene, how: str) -> None:
    silent = {name for name, told in damaged(scene, RUBBISH[how]) if not told}
    assert silent & set(scene.dialect.required) == set()


def test_an_empty_file_is_believed_to_own_nothing(scene: Scene) -> None:
    silent = {name for name, told in damaged(scene, lambda place, _: place.write_bytes(b"")) if not told}
    assert silent & set(scene.dialect.required) - {"var/lib/dpkg/info/tool.md5sums"} == set()


def test_a_file_that_is_gone_is_believed_to_own_nothing(scene: Scene) -> None:
    for name in scene.database:
        (scene.root / name).unlink()
        told = check(scene)
        with Root(os.fsencode(scene.root)) as opened:
            assert told or name not in scene.dialect.required or not scene.dialect.manager().detect(opened)
        scene.restore(name)


def test_a_file_that_was_cut_off_makes_nothing_up(scene: Scene) -> None:
    for name, whole in scene.database.items():
        step = max(64, len(whole) // 12 // 64 * 64) if scene.dialect.slow else 64 if len(whole) > 256 else 13
        for at in range(step, len(whole), step):
            (scene.root / name).write_bytes(whole[:at])
            scene.age(name)
            check(scene, strictly=name in scene.dialect.required)
        scene.restore(name)


@pytest.mark.parametrize("scene", [each for each in DIALECTS if each.checked], indirect=True, ids=str)
def test_what_does_not_fit_its_checksum_is_not_believed(scene: Scene) -> None:
    for name in scene.dialect.checked:
        whole = scene.database[name]
        for at in range(50, len(whole), len(whole) // 4 + 1):
            (scene.root / name).write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            check(scene, strictly=True)
        for path in (b"/usr/bin/tool", b"/etc/tool.conf", b"/usr/share/twin/notice"):
            digest = hashlib.sha256(_CONTENT[path]).hexdigest().encode()
            if digest in whole:
                (scene.root / name).write_bytes(whole.replace(digest, digest[::-1]))
                assert check(scene, strictly=True)
        scene.restore(name)


# -- directories of a database ----------------------------------------------------------------------------------------

INSTEAD: dict[str, Damage] = {
    "a file": lambda place, _: place.write_bytes(b"x" * 100),
    "a pipe": lambda place, _: os.mkfifo(place),
    "a link to itself": lambda place, _: place.symlink_to(place.name),
    "a link out of the root": lambda place, outside: place.symlink_to(outside),
    "a link far up": lambda place, outside: place.symlink_to("../" * 40 + str(outside)[1:]),
    "a directory without rights": lambda place, _: place.mkdir(mode=0),
    "an empty directory": lambda place, _: place.mkdir(),
}


@pytest.mark.parametrize("how", INSTEAD)
def test_something_else_in_place_of_a_directory_is_told_of_or_no_database(scene: Scene, how: str) -> None:
    for name in scene.dialect.directories:
        place, outside = scene.root / name, scene.outside / name
        shutil.rmtree(place)
        INSTEAD[how](place, outside)
        watched = [outside, *(outside.rglob("*")), *([place] if place.is_fifo() else [])]
        with unopened(*watched), as_nobody(), Root(os.fsencode(scene.root)) as opened:
            there = scene.dialect.manager().detect(opened)
            assert check(scene) or not there or how == "an empty directory", name
        scene.restore(name)
