"""Databases of pacman written by hand, as right or as wrong as a test wants them."""

from __future__ import annotations

import gzip
from pathlib import Path

LOCAL = "var/lib/pacman/local"
HEX = "0123456789abcdef" * 4
ENTRY = b"./usr/bin/tool uid=0 gid=0 mode=755 type=file size=3 sha256digest=" + HEX.encode()


def database(root: Path, version: bytes | None = b"9\n") -> Path:
    """The directory of a database without packages."""
    local = root / LOCAL
    local.mkdir(parents=True)
    if version is not None:
        (local / "ALPM_DB_VERSION").write_bytes(version)
    return local


def record(
    root: Path, name: str = "tool-1.0-1", *,
    desc: bytes | None = None, files: bytes | None = b"%FILES%\nusr/bin/tool\n\n", mtree: bytes | None = ENTRY,
) -> Path:  # fmt: skip
    """The directory of a new record; None leaves a file out. `mtree` gets its first line, and is compressed."""
    local = root / LOCAL
    if not local.exists():
        database(root)
    made = local / name
    made.mkdir()
    short, version = name.split("-", 1)
    described = desc if desc is not None else f"%NAME%\n{short}\n\n%VERSION%\n{version}\n\n%ARCH%\nany\n\n".encode()
    (made / "desc").write_bytes(described)
    if files is not None:
        (made / "files").write_bytes(files)
    if mtree is not None:
        (made / "mtree").write_bytes(gzip.compress(b"#mtree\n" + mtree + b"\n"))
    return made
