"""Entries to be placed, and looks at what came of them."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess

from snapstore.fs.place import SmallFile
from snapstore.model import Entry, Kind

ME = (os.geteuid(), os.getegid())


def file(name: bytes, content: bytes = b"", **fields: object) -> Entry:
    known = {"mode": 0o644, "uid": ME[0], "gid": ME[1], "mtime": (1_600_000_000, 5), "size": len(content)} | fields
    return Entry(name=name, kind=Kind.FILE, **known)  # type: ignore[arg-type]


def folder(name: bytes, **fields: object) -> Entry:
    known = {"mode": 0o755, "uid": ME[0], "gid": ME[1], "mtime": (1_500_000_000, 7)} | fields
    return Entry(name=name, kind=Kind.DIRECTORY, **known)  # type: ignore[arg-type]


def symlink(name: bytes, target: bytes) -> Entry:
    return Entry(name=name, kind=Kind.SYMLINK, mode=0o777, uid=ME[0], gid=ME[1], mtime=(1, 2), target=target)


def small(name: bytes, content: bytes, **fields: object) -> tuple[list[SmallFile], list[bytes]]:
    return [SmallFile(file(name, content, **fields), [(0, 0, len(content))])], [content]


def read(path: bytes) -> bytes:
    with open(path, "rb") as handle:
        return handle.read()


def tree_digest(path: bytes) -> str:
    """A hash of everything about a tree but access times."""
    digest = hashlib.sha256()
    for where, directories, files in sorted(os.walk(path)):
        for name in [b".", *sorted(directories), *sorted(files)]:
            each = os.path.join(where, name)
            status = os.lstat(each)
            content = read(each) if stat.S_ISREG(status.st_mode) else b""
            shown = (each, status.st_mode, status.st_ino, status.st_nlink, status.st_uid, status.st_mtime_ns, content)
            digest.update(repr((shown, status.st_ctime_ns, os.listxattr(each, follow_symlinks=False))).encode())
    return digest.hexdigest()


def temporaries(path: bytes) -> list[bytes]:
    # os.walk recurses, and the trees are deeper than Python's stack.
    found = subprocess.run(["find", path, "-name", ".snapstore-*", "-print0"], capture_output=True, check=True)
    return [each for each in found.stdout.split(b"\0") if each]
