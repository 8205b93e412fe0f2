"""Package files made by hand, right ones and wrong ones."""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
from collections.abc import Callable, Sequence

import zstandard

PACK: dict[str, Callable[[bytes], bytes]] = {
    "": lambda data: data,
    ".gz": lambda data: gzip.compress(data, mtime=0),
    ".xz": lambda data: lzma.compress(data, format=lzma.FORMAT_XZ),
    ".zst": zstandard.compress,
}
CONTROL = b"Package: a\nVersion: 1.0-1\nArchitecture: all\n"


def member(name: str, data: bytes = b"", **attributes: object) -> tuple[tarfile.TarInfo, bytes]:
    """A member of a tar archive, root:root 0644 if nothing else is said."""
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.uname, info.gname = len(data), 0o644, "root", "root"
    for key, value in attributes.items():
        setattr(info, key, value)
    return info, data


def tar(members: Sequence[tuple[tarfile.TarInfo, bytes]], *, form: int = tarfile.GNU_FORMAT) -> bytes:
    """A tar archive."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def ar(parts: Sequence[tuple[str, bytes]]) -> bytes:
    """An ar archive."""
    pieces = [b"!<arch>\n"]
    for name, data in parts:
        pieces += [
            f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode(),
            data,
            b"\n" * (len(data) % 2),
        ]
    return b"".join(pieces)


def deb(
    members: Sequence[tuple[tarfile.TarInfo, bytes]], *, control: bytes = CONTROL, ending: str = ".xz",
    form: int = tarfile.GNU_FORMAT,
) -> bytes:  # fmt: skip
    """A package file."""
    pack = PACK[ending]
    return ar(
        [
            ("debian-binary", b"2.0\n"),
            (f"control.tar{ending}", pack(tar([member("./", type=tarfile.DIRTYPE), member("./control", control)]))),
            (f"data.tar{ending}", pack(tar(members, form=form))),
        ]
    )
