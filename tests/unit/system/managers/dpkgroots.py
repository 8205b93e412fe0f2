"""Roots with a database of dpkg: the recorded one, and small ones made for a test."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from snapstore.system.managers.debreference import DebReference
from snapstore.system.managers.dpkg import Dpkg
from snapstore.system.packages import Owned, PackageManager
from snapstore.system.root import Root

RECORDED = Path(__file__).resolve().parents[3] / "recorded" / "dpkg"
ADMIN = b"var/lib/dpkg/"
INFO = ADMIN + b"info/"

Told = list[tuple[bytes, str]]


def recorded(base: Path) -> Path:
    """A merged root with the recorded database, and nothing else in it."""
    root = base / "root"
    shutil.copytree(RECORDED, root)
    for name in ("bin", "sbin", "lib"):
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    return root


def stanza(name: str, *, status: str = "install ok installed", more: str = "", arch: str = "all") -> bytes:
    """One record of a status file."""
    text = f"Package: {name}\nStatus: {status}\nArchitecture: {arch}\nVersion: 1.0-1\n{more}\n"
    return text.encode("utf-8", "surrogateescape")


def write(root: Path, files: Mapping[bytes, bytes]) -> None:
    """Nothing; the files are there, by path without a first slash."""
    for path, data in files.items():
        place = os.path.join(os.fsencode(root), path)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        with open(place, "wb") as file:
            file.write(data)


def made(base: Path, files: Mapping[bytes, bytes]) -> Path:
    """A root with only these files."""
    root = base / "root"
    root.mkdir()
    write(root, files)
    return root


def listed(*paths: bytes) -> bytes:
    """A list of dpkg's."""
    return b"".join(path + b"\n" for path in (b"/.", *paths))


def look(root: Path, *, reference: DebReference | None = None) -> tuple[list[Owned], Told]:
    """What a root's packages own, and what was told of."""
    told: Told = []
    with Root(os.fsencode(root)) as opened:
        manager: PackageManager = Dpkg(reference=reference)
        owned = list(manager.owned(opened, lambda path, reason: told.append((path, reason))))
    return owned, told


def by_path(owned: Iterable[Owned], package: str) -> dict[bytes, Owned]:
    """What one package owns."""
    return {each.path: each for each in owned if each.package == package}
