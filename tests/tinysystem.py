"""A system small enough to be made by a test, for any user: packages in pacman's database, and a few settings.

pacman's is the one database that states owners by number, so that the files of whoever runs the tests are as packaged.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

Content = bytes | str | None
"""A file's bytes, where a link leads, or None for a directory."""

LONG_AGO = time.time_ns() - 3600 * 10**9


@dataclass
class TinySystem:
    """A root that can be changed like a machine."""

    root: Path

    def __post_init__(self) -> None:
        self.local.mkdir(parents=True)
        (self.local / "ALPM_DB_VERSION").write_text("9\n")
        self.write("/etc/os-release", b'ID=tiny\nVERSION_ID="1"\nPRETTY_NAME="Tiny 1"\n')
        self.write("/etc/hostname", b"tiny\n")
        user, group = os.getuid(), os.getgid()
        self.write(
            "/etc/passwd", b"root:x:0:0:root:/root:/bin/sh\ntester:x:%d:%d::/home/t:/bin/sh\n" % (user + 1, group)
        )
        self.write("/etc/group", b"root:x:0:\nstaff:x:50:tester\n")
        self.write("/etc/shadow", b"root:$y$j9T$salt$hash-of-root:19000:0:99999:7:::\ntester:!:19000::::::\n")

    @property
    def local(self) -> Path:
        return self.root / "var/lib/pacman/local"

    def path(self, path: str | bytes) -> bytes:
        """Where a path of the system is on disk."""
        return os.fsencode(self.root) + (path if isinstance(path, bytes) else os.fsencode(path))

    def write(self, path: str | bytes, data: bytes, *, mode: int = 0o644) -> None:
        """A file, written in place."""
        place = self.path(path)
        os.makedirs(os.path.dirname(place), mode=0o755, exist_ok=True)
        with open(place, "wb") as file:
            file.write(data)
        os.chmod(place, mode)

    def install(self, name: str, version: str, files: Mapping[str, Content], *, backup: tuple[str, ...] = ()) -> None:
        """A package, in the database and on disk; an installed one of that name is replaced."""
        for old in self.local.glob(f"{name}-*-*"):
            shutil.rmtree(old)
        place = self.local / f"{name}-{version}"
        place.mkdir()
        lines = ["#mtree"]
        listed = []
        above = {str(each): None for path in files for each in PurePosixPath(path).parents if each.name}
        files = {**dict(sorted(above.items())), **files}
        for path, content in files.items():
            target = self.path(path)
            os.makedirs(os.path.dirname(target), mode=0o755, exist_ok=True)
            if content is None:
                os.makedirs(target, mode=0o755, exist_ok=True)
            elif isinstance(content, str):
                if os.path.lexists(target):
                    os.unlink(target)
                os.symlink(content, target)
            else:
                self.write(path, content)
            lines.append(_mtree(path, target))
            listed.append(path.lstrip("/") + ("/" if content is None else ""))
        (place / "desc").write_text(f"%NAME%\n{name}\n\n%VERSION%\n{version}\n\n%ARCH%\nany\n\n")
        kept = [f"{path.lstrip('/')}\t{_md5(self.path(path))}" for path in backup]
        (place / "files").write_text("%FILES%\n" + "\n".join(listed) + "\n\n%BACKUP%\n" + "\n".join(kept) + "\n")
        (place / "mtree").write_bytes(gzip.compress(("\n".join(lines) + "\n").encode(), mtime=0))

    def settle(self) -> None:
        """Everything looks as if it had been written an hour ago, as far as a time can be set."""
        for folder, directories, files in os.walk(self.path("")):
            for name in (*directories, *files):
                os.utime(os.path.join(folder, name), ns=(LONG_AGO, LONG_AGO), follow_symlinks=False)


def _mtree(path: str, place: bytes) -> str:
    status = os.lstat(place)
    common = f"uid={status.st_uid} gid={status.st_gid} mode={stat.S_IMODE(status.st_mode):o} time={status.st_mtime:.1f}"
    name = "." + path.replace(" ", "\\040")
    if stat.S_ISLNK(status.st_mode):
        return f"{name} type=link link={os.fsdecode(os.readlink(place))} {common.replace('mode=', 'mode=')}"
    if stat.S_ISDIR(status.st_mode):
        return f"{name} type=dir {common}"
    with open(place, "rb") as file:
        data = file.read()
    return f"{name} type=file size={len(data)} sha256digest={hashlib.sha256(data).hexdigest()} {common}"


def _md5(place: bytes) -> str:
    with open(place, "rb") as file:
        return hashlib.md5(file.read(), usedforsecurity=False).hexdigest()


def tiny_system(base: Path) -> TinySystem:
    """A system with two packages, something of nobody, and a repository."""
    system = TinySystem(base / "system")
    system.install(
        "tool", "1.0-1",
        {
            "/usr": None, "/usr/bin": None, "/usr/bin/tool": b"#!/bin/sh\necho tool\n" * 50, "/usr/bin/t": "tool",
            "/usr/share/tool/help text": b"help\n" * 100,
            "/etc/tool.conf": b"# settings of tool\nlevel = 1\nspeed = 2\n",
        },
        backup=("/etc/tool.conf",),
    )  # fmt: skip
    system.install("library", "2.5-3", {"/usr/lib/library.so": bytes(range(256)) * 40})
    system.write("/etc/pacman.conf", b"[core]\nServer = https://mirror.example/core\n")
    system.write("/srv/data/one", b"1" * 1000)
    system.write("/srv/data/two", b"2" * 2000)
    return system
