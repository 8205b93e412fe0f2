"""Walking, counting, copying and removing directory trees, in one order everywhere.

A directory's files come before its directories, and both are sorted as bytes.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def files_of(top: bytes) -> Iterator[tuple[bytes, os.stat_result]]:
    """Every regular file and symlink below `top` with its lstat, in walk order; `top` itself where it is a file.

    Unreadable directories are passed over: a corpus is made of what there is to read.
    """
    status = os.lstat(top)
    if not stat.S_ISDIR(status.st_mode):
        yield top, status
        return
    for parent, directories, names in os.walk(top):
        directories.sort()
        linked = [name for name in directories if os.path.islink(os.path.join(parent, name))]
        for name in sorted(names + linked):
            path = os.path.join(parent, name)
            status = os.lstat(path)
            if stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode):
                yield path, status


def count(top: bytes) -> tuple[int, int]:
    """How many regular files and symlinks are below `top`, and the sizes of the regular files added up.

    A file with several names counts once per name; a path that is not there counts as nothing.
    """
    if not os.path.lexists(top):
        return 0, 0
    files = size = 0
    for _, status in files_of(top):
        files += 1
        size += status.st_size if stat.S_ISREG(status.st_mode) else 0
    return files, size


def at_least(top: bytes, files: int) -> bool:
    """Whether `top` holds `files` regular files or symlinks; stops counting there."""
    return os.path.isdir(top) and any(number >= files for number, _ in enumerate(files_of(top), 1))


def copy(source: bytes, target: bytes, *, max_files: int, max_bytes: int) -> None:
    """Copy the first files of `source` in walk order into the new directory `target`, until a bound is reached.

    Modes, times, symlinks and hard links are kept. Files that cannot be read are left out.
    """
    os.mkdir(target)
    files = size = 0
    linked: dict[tuple[int, int], bytes] = {}
    made: list[tuple[bytes, bytes]] = [(source, target)]
    for path, status in files_of(source):
        if files >= max_files or size >= max_bytes:
            break
        if stat.S_ISREG(status.st_mode) and not os.access(path, os.R_OK):
            continue
        copied = os.path.join(target, os.path.relpath(path, source))
        _make_parents(os.path.dirname(path), os.path.dirname(copied), made)
        key = (status.st_dev, status.st_ino)
        if stat.S_ISLNK(status.st_mode):
            shutil.copy2(path, copied, follow_symlinks=False)
        elif key in linked:
            os.link(linked[key], copied)
        else:
            shutil.copy2(path, copied)
            size += status.st_size
            if status.st_nlink > 1:
                linked[key] = copied
        files += 1
    # Times of directories last, and the deepest first: every file made in one changes them.
    for original, directory in reversed(made):
        shutil.copystat(original, directory)


def remove(top: bytes) -> None:
    """Remove `top` and everything below it; nothing happens where it is not there."""
    # rm(1) removes a hundred thousand files several times faster than a loop here; there are hundreds of such trees.
    subprocess.run([b"rm", b"-rf", b"--", top], check=True)


def _make_parents(original: bytes, directory: bytes, made: list[tuple[bytes, bytes]]) -> None:
    """Make `directory` and its parents, noting which directory each one was copied from."""
    if os.path.isdir(directory):
        return
    _make_parents(os.path.dirname(original), os.path.dirname(directory), made)
    os.mkdir(directory)
    made.append((original, directory))
