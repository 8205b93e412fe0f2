"""Files that have no name in the store until their content is durable.

The first choice is a file without any name at all (O_TMPFILE, open(2)), which the kernel drops if we die; linkat(2)
through /proc gives it its name. Where the file system has no such files, or /proc is missing, it is a file in the
store's `tmp` directory under a name that no object can have. A process that dies leaves that file behind; who writes to
the store a day later or more removes it. The file is locked (flock(2)) for as long as its process lives.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import time
from collections.abc import Iterator

from snapstore.model import Buffer

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE_MODE = 0o600
DIRECTORY_MODE = 0o700
NAMED_IN = "tmp"
TEMPORARIES = f"{NAMED_IN}/"
LEFT_BEHIND = 24 * 60 * 60
"""So many seconds after it was last written to, a temporary that nobody has locked is taken for left behind."""

is_temporary = re.compile(r"\.[0-9a-f]{32}").fullmatch

_COMPARED_AT_ONCE = 1 << 20
# EISDIR is what kernels without O_TMPFILE say, EOPNOTSUPP and EINVAL what file systems without it say.
_NO_ANONYMOUS_FILES = frozenset({errno.EISDIR, errno.EOPNOTSUPP, errno.EINVAL})


class Temporary:
    """A new file, open for reading and writing, on the file system of the directory `root`.

    The methods raise OSError as it comes. `close` is due on every way out; it takes the name in `tmp` with it.
    """

    def __init__(self, root: int, *, anonymous: bool) -> None:
        self._directory = -1
        self._name = ""
        if anonymous and os.path.exists("/proc/self/fd"):
            try:
                self.fd = os.open(".", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, FILE_MODE, dir_fd=root)
            except OSError as error:
                if error.errno not in _NO_ANONYMOUS_FILES:
                    raise
            else:
                return
        self._directory = _open_or_make(root, NAMED_IN)
        self._name = f".{os.urandom(16).hex()}"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self.fd = os.open(self._name, flags, FILE_MODE, dir_fd=self._directory)
        except OSError:
            os.close(self._directory)
            raise
        with contextlib.suppress(OSError):  # where there are no locks, nothing is ever taken for left behind
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def write(self, part: Buffer) -> None:
        """Nothing; all of the bytes are appended."""
        rest = memoryview(part).cast("B")
        while rest:
            rest = rest[os.write(self.fd, rest) :]

    def sync(self) -> None:
        """Nothing; the content is durable. Not to be tried again: after an error the kernel forgets what was lost."""
        os.fsync(self.fd)

    def link(self, directory: int, leaf: str) -> None:
        """Nothing; the file has that name as well. FileExistsError if something else has it."""
        if self._name:
            os.link(self._name, leaf, src_dir_fd=self._directory, dst_dir_fd=directory, follow_symlinks=False)
        else:
            # With a directory descriptor this is linkat(2) with AT_SYMLINK_FOLLOW, as open(2) shows for O_TMPFILE.
            os.link(f"/proc/self/fd/{self.fd}", leaf, dst_dir_fd=directory, follow_symlinks=True)

    def blocks(self) -> Iterator[bytes]:
        """The content from the start, a piece at a time."""
        offset = 0
        while block := os.pread(self.fd, _COMPARED_AT_ONCE, offset):
            yield block
            offset += len(block)

    def sweep(self) -> None:
        """Nothing; what processes that died left behind is gone, if this temporary is one that has a name.

        Trouble is passed over: what cannot be removed takes room and does no harm.
        """
        if not self._name:
            return
        with contextlib.suppress(OSError), os.scandir(self._directory) as entries:
            for entry in entries:
                if is_temporary(entry.name) and entry.name != self._name:
                    with contextlib.suppress(OSError):
                        _remove_left_behind(self._directory, entry.name)

    def close(self) -> None:
        """Nothing; without a name in the store the file is gone."""
        # What was linked was fsynced before, and what was not is nobody's: no error here can be one of the store's.
        with contextlib.suppress(OSError):
            os.close(self.fd)
        if self._name:
            with contextlib.suppress(OSError):
                os.unlink(self._name, dir_fd=self._directory)
            os.close(self._directory)


def _open_or_make(root: int, name: str) -> int:
    try:
        return os.open(name, DIRECTORY, dir_fd=root)
    except FileNotFoundError:
        with contextlib.suppress(FileExistsError):  # another thread or process made it first
            os.mkdir(name, DIRECTORY_MODE, dir_fd=root)
        return os.open(name, DIRECTORY, dir_fd=root)


def _remove_left_behind(directory: int, name: str) -> None:
    if os.stat(name, dir_fd=directory, follow_symlinks=False).st_mtime > time.time() - LEFT_BEHIND:
        return
    fd = os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(name, dir_fd=directory)
    finally:
        os.close(fd)
