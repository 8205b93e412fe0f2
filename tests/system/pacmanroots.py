"""A root that pacman itself filled, with packages made here the way that makepkg(8) makes them, in about a second.

makepkg refuses to run as root, so its last steps are done by hand: `.PKGINFO`, `.MTREE` by bsdtar, and the archive.
"""

from __future__ import annotations

import functools
import gzip
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from tests.debian import install

PROGRAMS = {"pacman": "pacman-package-manager", "bsdtar": "libarchive-tools"}
CONFIGURATION = b"""[options]
HoldPkg = pacman
IgnorePkg = demo-conf*
NoExtract = usr/share/locale/* !usr/share/locale/en/*
Architecture = auto
SigLevel = Never
"""
_MTREE = "--options=!all,use-set,type,uid,gid,mode,time,size,md5,sha256,link"
_TIME = 1_700_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One path: a link with a `target`, another name of the file `same_as`, else a directory or a file with content."""

    path: bytes
    content: bytes | None = None
    target: bytes = b""
    same_as: bytes = b""
    mode: int = 0
    owner: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One package to be."""

    name: str
    version: str
    items: Sequence[Item]
    backups: tuple[str, ...] = ()
    dependency: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PacmanRoot:
    """A root with packages in it."""

    path: bytes

    def pacman(self, *arguments: str | bytes, check: bool = True) -> bytes:
        """What pacman prints about this root, its warnings included, in English."""
        return _run(
            "pacman", "--root", self.path, "--dbpath", os.path.join(self.path, b"var/lib/pacman"),
            "--config", os.path.join(self.path, b"etc/pacman.conf"), *arguments, check=check,
        )  # fmt: skip


def _file(path: str, content: bytes | None = None, mode: int = 0o644, *, owner: tuple[int, int] = (0, 0)) -> Item:
    raw = path.encode()
    return Item(path=raw, content=b"of " + raw + b"\n" if content is None else content, mode=mode, owner=owner)


def _directory(path: str, mode: int = 0o755) -> Item:
    return Item(path=path.encode(), mode=mode)


def _link(path: str, target: str) -> Item:
    return Item(path=path.encode(), target=target.encode())


RECIPES = (
    Recipe(
        name="filesystem", version="2023.09.18-1", backups=("etc/hosts", "etc/fstab"),
        items=(
            *(_directory(each) for each in ("etc", "usr", "usr/bin", "usr/lib", "usr/share", "var", "opt", "srv")),
            _directory("root", 0o750), _directory("tmp", 0o1777), _directory("var/empty", 0o555),
            _directory("var/mail", 0o2775), _link("bin", "usr/bin"), _link("lib", "usr/lib"), _link("sbin", "usr/bin"),
            _file("etc/hosts"), _file("etc/fstab"), _file("etc/issue"), _file("etc/empty", b""),
        ),
    ),
    Recipe(
        name="pacman", version="6.0.2-7", backups=("etc/pacman.conf",), items=(_file("etc/pacman.conf", CONFIGURATION),)
    ),
    Recipe(
        name="demo-tools", version="1:2.5-3",
        items=(
            _file("usr/bin/tool", b"#!/bin/sh\nexit 0\n", 0o755), _file("usr/bin/sutool", b"\x7fELF su\n", 0o4755),
            _file("usr/bin/sgtool", b"\x7fELF sg\n", 0o2755, owner=(0, 5)), _file("usr/bin/private", mode=0o700),
            Item(path=b"usr/bin/twin", same_as=b"usr/bin/tool", mode=0o755), _link("usr/bin/alias", "tool"),
            _file("usr/lib/libdemo.so.1.2", bytes(range(256)) * 300, 0o755),
            _link("usr/lib/libdemo.so", "libdemo.so.1"),
            _link("usr/lib/libdemo.so.1", "libdemo.so.1.2"), _link("usr/lib/dangling", "/nowhere/a b/\u00fc"),
            *(_file(f"usr/share/demo/data{number:02}.txt", b"data %d\n" % number) for number in range(24)),
            _directory("usr/share/demo/nothing"),
        ),
    ),
    Recipe(
        name="demo-config", version="0.1-1", backups=("etc/demo/main.conf", "etc/demo/secret.conf"),
        items=(
            _file("etc/demo/main.conf"), _file("etc/demo/secret.conf", mode=0o600, owner=(33, 33)),
            _file("etc/demo/plain.conf"), _directory("etc/demo/conf.d", 0o700),
        ),
    ),
    Recipe(
        name="demo-names", version="3-1", dependency=True,
        items=(
            _file("usr/share/names/a b  c"), _file("usr/share/names/gr\u00fcn"), _file("usr/share/names/back\\slash"),
            _file("usr/share/names/#hash=1"), _file("usr/share/names/two\nlines"), _file("usr/share/names/tab\there"),
            _file("usr/share/names/ *?[x]"), _file("usr/share/names/a/..b"),
            _link("usr/share/names/to blank", "a b  c"),
        ),
    ),
    Recipe(
        name="demo-locale", version="1-1", dependency=True,
        items=(_file("usr/share/locale/de/demo.mo"), _file("usr/share/locale/en/demo.mo")),
    ),
)  # fmt: skip


@functools.cache
def missing_tools() -> str:
    """Why no pacman root can be built here; empty if one can. As root, tools that are missing are installed first."""
    if os.getuid() != 0:
        return "building a root of pacman needs root"
    packages = [package for program, package in PROGRAMS.items() if not shutil.which(program)]
    return install(*packages) if packages else ""


def require_tools() -> None:
    """Nothing; skips the test, with the reason, where no pacman root can be built."""
    if reason := missing_tools():
        pytest.skip(reason)


def build_pacman_root(directory: bytes) -> PacmanRoot:
    """A root in `directory`/root, all of RECIPES installed into it. Needs root and the PROGRAMS."""
    path = os.path.join(directory, b"root")
    os.makedirs(os.path.join(path, b"var/lib/pacman"))
    configuration = os.path.join(directory, b"pacman.conf")
    with open(configuration, "wb") as file:
        file.write(CONFIGURATION)
    archives = {recipe.name: build_package(recipe, directory) for recipe in RECIPES}
    for dependency in (False, True):
        chosen = [archives[each.name] for each in RECIPES if each.dependency == dependency]
        _run(
            "pacman", "--root", path, "--dbpath", os.path.join(path, b"var/lib/pacman"), "--config", configuration,
            "--noconfirm", "--noscriptlet", "--noprogressbar", *(("--asdeps",) if dependency else ()), "-U", *chosen,
        )  # fmt: skip
    return PacmanRoot(path=path)


def build_package(recipe: Recipe, directory: bytes) -> bytes:
    """The path of a new package archive."""
    stage = os.path.join(directory, b"stage", recipe.name.encode())
    os.makedirs(stage)
    for item in recipe.items:
        _lay(item, stage)
    for parent, directories, files in os.walk(stage, topdown=False):
        for name in (*directories, *files):
            os.utime(os.path.join(parent, name), (_TIME, _TIME), follow_symlinks=False)
    lines = [f"pkgname = {recipe.name}", f"pkgbase = {recipe.name.partition('-')[0]}", f"pkgver = {recipe.version}"]
    lines += ["pkgdesc = made by a test", f"builddate = {_TIME}", "packager = a test", "size = 4096", "arch = any"]
    lines += [f"backup = {each}" for each in recipe.backups]
    with open(os.path.join(stage, b".PKGINFO"), "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    # The order of makepkg: the package's own files, then the tree, each directory before what is in it.
    names = sorted(
        os.path.relpath(os.path.join(parent, name), stage)
        for parent, directories, files in os.walk(stage)
        for name in (*directories, *files)
    )
    given = b"\0".join(names) + b"\0"
    tar = ("bsdtar", "--numeric-owner", "--null", "--files-from", "-", "-cnf")
    mtree = _run(*tar, "-", "--format=mtree", _MTREE, directory=stage, given=given)
    with open(os.path.join(stage, b".MTREE"), "wb") as file:
        file.write(gzip.compress(mtree, mtime=0))
    archive = os.path.join(directory, f"{recipe.name}-{recipe.version}-any.pkg.tar.zst".encode())
    _run(*tar, archive, "--zstd", directory=stage, given=b".MTREE\0" + given)
    return archive


def _lay(item: Item, stage: bytes) -> None:
    place = os.path.join(stage, item.path)
    os.makedirs(os.path.dirname(place), exist_ok=True)
    if item.target:
        os.symlink(item.target, place)
        return
    if item.same_as:
        os.link(os.path.join(stage, item.same_as), place)
        return
    if item.content is None:
        os.makedirs(place, exist_ok=True)
    else:
        with open(place, "wb") as file:
            file.write(item.content)
    os.chown(place, *item.owner)
    os.chmod(place, item.mode)


def _run(
    *command: str | bytes, directory: bytes | None = None, given: bytes | None = None, check: bool = True
) -> bytes:
    done = subprocess.run(
        command, cwd=directory, input=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env=os.environ | {"LC_ALL": "C.UTF-8"}, check=False,
    )  # fmt: skip
    assert not check or done.returncode == 0, done.stdout.decode(errors="replace")
    return done.stdout
