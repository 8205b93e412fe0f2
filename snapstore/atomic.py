"""The durable replacement of one small local file: caches, state, configuration."""

from __future__ import annotations

import os

from snapstore.model import Buffer


def write_atomically(path: bytes | str, data: Buffer, *, durable: bool, mode: int = 0o600) -> None:
    """Nothing; the file holds exactly `data` and has exactly these permission bits, replacing what had its name.

    At any moment, also after a crash of this process, the name leads to the old content or to the new, never to a
    part. After a loss of power that is promised only if `durable`, and then the new content is there once this
    returns: the file is fsynced before the rename and its directory after it (rename(2), fsync(2)). A symbolic link
    of that name is replaced, not followed. OSError as it comes; the name then leads to the old content, except where
    only the last step, the fsync of the directory, has failed.
    """
    above, leaf = os.path.split(os.fsencode(path))
    directory = os.open(above or b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    temporary = b"." + os.urandom(16).hex().encode() + b".tmp"
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(temporary, flags, 0o600, dir_fd=directory)
        try:
            _fill(fd, data, durable=durable, mode=mode)
            os.rename(temporary, leaf, src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException:
            os.unlink(temporary, dir_fd=directory)
            raise
        if durable:
            os.fsync(directory)
    finally:
        os.close(directory)


def _fill(fd: int, data: Buffer, *, durable: bool, mode: int) -> None:
    try:
        rest = memoryview(data).cast("B")
        while rest:
            rest = rest[os.write(fd, rest) :]
        os.fchmod(fd, mode)
        if durable:
            os.fsync(fd)
    finally:
        os.close(fd)
