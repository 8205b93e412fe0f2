"""A file system tree seen from its own top: absolute links lead to places inside it, and nothing leads out of it.

Every path is absolute within the root. Links are resolved here, one component at a time, and never by the kernel, so
that a link of an image to `/etc` means the image's, and `..` stops at the top. What is opened is opened by directory
descriptors without following links; a tree that changes meanwhile gives an error, never a file from outside.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Self

from snapstore.errors import RequestError

READ_LIMIT = 64 << 20
_LINKS = 40
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


class RootError(OSError):
    """A file of the root cannot be had as asked for; `errno` and `filename` say why and which."""


class Root:
    """One root, held open by its descriptor. Closing it is the owner's business (`close`, or a `with` statement).

    What has been resolved is remembered: a Root is for one look at a tree, not for watching it.
    """

    def __init__(self, path: bytes = b"/") -> None:
        self.path = os.path.abspath(path)
        try:
            self.fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise RequestError(f"{os.fsdecode(path)} cannot be used as a root: {error.strerror}") from error
        status, live = os.fstat(self.fd), os.stat("/")
        self.live = (status.st_dev, status.st_ino) == (live.st_dev, live.st_ino)
        """Whether this is the running system's own root."""
        self._directories: dict[bytes, bytes] = {b"/": b"/", b"": b"/"}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Nothing; the descriptor is closed."""
        os.close(self.fd)

    # -- where things are ---------------------------------------------------------------------------------------------

    def canonical(self, path: bytes) -> bytes:
        """The path with its parent directory resolved and its last component as it is.

        That is where a path that a package lists is found on disk, whatever links lead there (merged /usr). Parents
        that do not exist stay as they are written. RootError for too many links.
        """
        parent, name = os.path.split(os.path.normpath(b"/" + path.lstrip(b"/")))
        return self._join(self.resolve(parent), name) if name else b"/"

    def resolve(self, path: bytes) -> bytes:
        """The path with every link in it resolved, the last component too; what does not exist stays as written."""
        known = self._directories.get(path)
        return self._resolve(path) if known is None else known

    def _resolve(self, path: bytes) -> bytes:
        """Left to right. What stands before a component is remembered as long as no link has been followed."""
        done = written = b"/"
        rest = [part for part in path.split(b"/") if part not in (b"", b".")]
        rest.reverse()
        links = 0
        while rest:
            part = rest.pop()
            if part == b"..":
                done, written = os.path.dirname(done), b""
                continue
            if written:
                written = self._join(written, part)
                known = self._directories.get(written)
                if known is not None:
                    done = known
                    continue
            here = self._join(done, part)
            target = self._readlink(here)
            if target is not None:
                links += 1
                if links > _LINKS:
                    raise RootError(errno.ELOOP, os.strerror(errno.ELOOP), path)
                done = b"/" if target.startswith(b"/") else done
                written = b""
                rest += [each for each in reversed(target.split(b"/")) if each not in (b"", b".")]
                continue
            done = here
            if written:
                self._directories[written] = done
        self._directories[path] = done
        return done

    @staticmethod
    def _join(directory: bytes, name: bytes) -> bytes:
        return directory + name if directory == b"/" else directory + b"/" + name

    def _readlink(self, resolved: bytes) -> bytes | None:
        """The target of a link whose parent is resolved; None if it is no link or is not there."""
        try:
            return os.readlink(resolved.lstrip(b"/"), dir_fd=self.fd)
        except OSError as error:
            if error.errno in (*_ABSENT, errno.EINVAL, errno.ENAMETOOLONG):
                return None
            raise RootError(error.errno, os.strerror(error.errno or 0), resolved) from error

    def _enter(self, resolved: bytes) -> int:
        """A descriptor (O_PATH) of a directory whose path holds no links."""
        fd = os.dup(self.fd)
        for part in resolved.split(b"/"):
            if not part:
                continue
            try:
                inner = os.open(part, _DIRECTORY, dir_fd=fd)
            finally:
                os.close(fd)
            fd = inner
        return fd

    # -- what is there ------------------------------------------------------------------------------------------------

    def open(self, path: bytes, *, directory: bool = False) -> int:
        """A descriptor for reading the file, or with `directory` the directory, that the path leads to. OSError."""
        resolved = self.resolve(path)
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        if resolved == b"/":
            return os.open(b".", flags | os.O_DIRECTORY, dir_fd=self.fd)
        parent = self._enter(os.path.dirname(resolved))
        try:
            return os.open(os.path.basename(resolved), flags | (os.O_DIRECTORY if directory else 0), dir_fd=parent)
        finally:
            os.close(parent)

    def read(self, path: bytes, *, limit: int = READ_LIMIT) -> bytes | None:
        """The bytes of a regular file; None if there is none at that path.

        RootError for what is no regular file, for one of more than `limit` bytes, and for one that cannot be read.
        """
        try:
            fd = self.open(path)
        except OSError as error:
            if error.errno in _ABSENT:
                return None
            raise RootError(error.errno, os.strerror(error.errno or 0), path) from error
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise RootError(errno.EINVAL, "it is no regular file", path)
            pieces, size = [], 0
            while piece := os.read(fd, 1 << 20):
                pieces.append(piece)
                size += len(piece)
                if size > limit:
                    raise RootError(errno.EFBIG, f"it has more than {limit} bytes", path)
            return b"".join(pieces)
        except OSError as error:
            if isinstance(error, RootError):
                raise
            raise RootError(error.errno, os.strerror(error.errno or 0), path) from error
        finally:
            os.close(fd)

    def list(self, path: bytes) -> list[bytes]:
        """The sorted raw names in a directory; none if there is no directory. RootError where it cannot be read."""
        try:
            fd = self.open(path, directory=True)
        except OSError as error:
            if error.errno in _ABSENT:
                return []
            raise RootError(error.errno, os.strerror(error.errno or 0), path) from error
        try:
            return sorted(os.fsencode(name) for name in os.listdir(fd))
        except OSError as error:
            raise RootError(error.errno, os.strerror(error.errno or 0), path) from error
        finally:
            os.close(fd)

    def status(self, path: bytes, *, follow: bool = False) -> os.stat_result | None:
        """What stat(2) says of the path itself, or with `follow` of what it leads to; None if nothing is there."""
        place = self.resolve(path) if follow else self.canonical(path)
        if place == b"/":
            return os.fstat(self.fd)
        try:
            parent = self._enter(os.path.dirname(place))
        except OSError as error:
            if error.errno in _ABSENT:
                return None
            raise RootError(error.errno, os.strerror(error.errno or 0), path) from error
        try:
            return os.stat(os.path.basename(place), dir_fd=parent, follow_symlinks=False)
        except OSError as error:
            if error.errno in _ABSENT:
                return None
            raise RootError(error.errno, os.strerror(error.errno or 0), path) from error
        finally:
            os.close(parent)

    def readlink(self, path: bytes) -> bytes | None:
        """The target of a link, as it is written; None if the path is no link."""
        return self._readlink(self.canonical(path))
