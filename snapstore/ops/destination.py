"""A file that is written as a whole: under another name until it is complete."""

from __future__ import annotations

import errno
import os
import stat
from types import TracebackType
from typing import Self

from snapstore.errors import TargetError
from snapstore.model import Buffer

_DESCRIPTORS = b"/proc/self/fd"


def check_destination(path: bytes) -> None:
    """Nothing, and nothing is written; TargetError if a Destination of that path could not even be begun."""
    place, shown = os.path.realpath(path), os.fsdecode(path)
    above = os.path.dirname(place)
    try:
        status = os.stat(place)
    except FileNotFoundError:
        status = None
    except OSError as error:
        raise TargetError(f"{shown} cannot be written: {error.strerror}") from error
    number = 0
    if path.endswith(b"/") or (status is not None and stat.S_ISDIR(status.st_mode)):
        number = errno.EISDIR
    elif not os.path.isdir(above):
        number = errno.ENOTDIR if os.path.lexists(above) else errno.ENOENT
    elif status is None or stat.S_ISREG(status.st_mode):
        read_only = os.statvfs(above).f_flag & os.ST_RDONLY
        number = errno.EROFS if read_only else 0 if os.access(above, os.W_OK | os.X_OK) else errno.EACCES
    elif not os.access(place, os.W_OK):
        number = errno.EACCES
    if number:
        raise TargetError(f"{shown} cannot be written: {os.strerror(number)}")


class Destination:
    """Where an archive goes. A context: the file has its name after it, or, if something went wrong, never had it.

    What had the name before is replaced, at once and not before. The file is for its owner alone, since what it holds
    may be secret, and durable when the context ends. Where the file system can (open(2), O_TMPFILE) it has no name at
    all until then, so that not even a process that is killed leaves a part of it. Something of that name that is no
    regular file, such as a pipe or a tape, is written to as it is. Every trouble is a TargetError.
    """

    def __init__(self, path: bytes) -> None:
        self._given = path
        # A link of that name stands for the file that it leads to.
        self._path = os.path.realpath(path)
        self._shown = os.fsdecode(path)
        self._temporary = b""
        self._named = False
        self._directory = self._fd = -1

    def __enter__(self) -> Self:
        check_destination(self._given)
        try:
            self._open()
        except OSError as error:
            self._close()
            raise self._failed(error) from error
        return self

    def _open(self) -> None:
        above, leaf = os.path.split(self._path)
        self._directory = os.open(above, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            special = not stat.S_ISREG(os.stat(leaf, dir_fd=self._directory).st_mode)
        except FileNotFoundError:
            special = False
        if special:
            self._fd = os.open(leaf, os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC, dir_fd=self._directory)
            return
        self._temporary = b"." + os.urandom(16).hex().encode() + b".tmp"
        flags = os.O_WRONLY | os.O_CLOEXEC
        if os.path.isdir(_DESCRIPTORS):
            try:
                self._fd = os.open(b".", flags | os.O_TMPFILE, 0o600, dir_fd=self._directory)
            except OSError:
                self._fd = -1  # not every file system has such files; what else is wrong shows below
        if self._fd < 0:
            flags |= os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            self._fd = os.open(self._temporary, flags, 0o600, dir_fd=self._directory)
            self._named = True

    def write(self, data: Buffer) -> None:
        """Takes the next bytes."""
        rest = memoryview(data).cast("B")
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError as error:
            raise self._failed(error) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and self._temporary:
                os.fsync(self._fd)
                if not self._named:
                    # With a directory to link into, Python follows the link that /proc has of the descriptor.
                    os.link(b"%b/%d" % (_DESCRIPTORS, self._fd), self._temporary, dst_dir_fd=self._directory)
                    self._named = True
                os.rename(
                    self._temporary, os.path.basename(self._path),
                    src_dir_fd=self._directory, dst_dir_fd=self._directory,
                )  # fmt: skip
                self._named = False
                os.fsync(self._directory)
        except OSError as failure:
            raise self._failed(failure) from failure
        finally:
            self._close()

    def _close(self) -> None:
        if self._temporary and self._named:
            os.unlink(self._temporary, dir_fd=self._directory)
        for fd in (self._fd, self._directory):
            if fd >= 0:
                os.close(fd)
        self._fd = self._directory = -1

    def _failed(self, error: OSError) -> TargetError:
        return TargetError(f"{self._shown} cannot be written: {error.strerror}")
