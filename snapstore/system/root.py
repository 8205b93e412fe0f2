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
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
_PATH_LIMIT = 4000
"""A path that is longer than this is gone along name by name: the kernel takes 4,095 bytes at once."""
_DEPTH_LIMIT = 8192
"""What a path may lead to has at most so many bytes in its name, or the time to get there would be without bound."""


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
        if b".." in path:
            # What `..` leads to depends on the links before it, so that it cannot be taken out of the text.
            parts = [part for part in path.split(b"/") if part not in (b"", b".")]
            if b".." in parts:
                return (
                    self.resolve(path)
                    if parts[-1] == b".."
                    else self._join(self.resolve(b"/" + b"/".join(parts[:-1])), parts[-1])
                )
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
            if len(here) > _DEPTH_LIMIT:
                raise RootError(errno.EOVERFLOW, "it leads too deep", path)
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

    @property
    def detours(self) -> tuple[tuple[bytes, bytes], ...]:
        """The paths resolved so far that lead elsewhere than they say, each with the place, sorted."""
        return tuple(sorted((path, place) for path, place in self._directories.items() if path != place))

    @staticmethod
    def _join(directory: bytes, name: bytes) -> bytes:
        return directory + name if directory == b"/" else directory + b"/" + name

    def _readlink(self, resolved: bytes) -> bytes | None:
        """The target of a link whose parent is resolved; None if it is no link or is not there."""
        try:
            if len(resolved) < _PATH_LIMIT:
                return os.readlink(resolved.lstrip(b"/"), dir_fd=self.fd)
            parent = self._enter(os.path.dirname(resolved))
            try:
                return os.readlink(os.path.basename(resolved), dir_fd=parent)
            finally:
                os.close(parent)
        except ValueError:
            return None  # a name with a NUL byte, which nothing can have
        except OSError as error:
            if error.errno in (*_ABSENT, errno.EINVAL):
                return None
            raise RootError(error.errno, error.strerror, resolved) from error

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
        """A descriptor for reading the regular file, or with `directory` the directory, that a path leads to. OSError.

        Anything else is not opened at all: to open a device can already be to do something.
        """
        if b"\0" in path:
            raise RootError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        resolved = self.resolve(path)
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        if resolved == b"/":
            return os.open(b".", flags | os.O_DIRECTORY, dir_fd=self.fd)
        parent, name = self._enter(os.path.dirname(resolved)), os.path.basename(resolved)
        try:
            if directory:
                return os.open(name, flags | os.O_DIRECTORY, dir_fd=parent)
            kind = stat.S_IFMT(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
            if kind == stat.S_IFLNK:  # it has become one after it was resolved, or leads too far
                raise RootError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            if kind != stat.S_IFREG:
                raise RootError(errno.EINVAL, "it is no regular file", path)
            return os.open(name, flags, dir_fd=parent)
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
            if isinstance(error, RootError):
                raise
            raise RootError(error.errno, error.strerror, path) from error
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
            raise RootError(error.errno, error.strerror, path) from error
        finally:
            os.close(fd)

    def list(self, path: bytes) -> list[bytes]:
        """The sorted raw names in a directory; none if there is no directory. RootError where it cannot be read."""
        try:
            fd = self.open(path, directory=True)
        except OSError as error:
            if error.errno in _ABSENT:
                return []
            raise RootError(error.errno, error.strerror, path) from error
        try:
            return sorted(os.fsencode(name) for name in os.listdir(fd))
        except OSError as error:
            raise RootError(error.errno, error.strerror, path) from error
        finally:
            os.close(fd)

    def status(self, path: bytes, *, follow: bool = False) -> os.stat_result | None:
        """What stat(2) says of the path itself, or with `follow` of what it leads to; None if nothing is there."""
        if b"\0" in path:
            return None
        try:
            place = self.resolve(path) if follow else self.canonical(path)
            if place == b"/":
                return os.fstat(self.fd)
            parent = self._enter(os.path.dirname(place))
        except OSError as error:
            if error.errno in _ABSENT:
                return None
            raise RootError(error.errno, error.strerror, path) from error
        try:
            return os.stat(os.path.basename(place), dir_fd=parent, follow_symlinks=False)
        except OSError as error:
            if error.errno in _ABSENT:
                return None
            raise RootError(error.errno, error.strerror, path) from error
        finally:
            os.close(parent)

    def readlink(self, path: bytes) -> bytes | None:
        """The target of a link, as it is written; None if the path is no link, or nothing is there."""
        try:
            place = self.canonical(path)
        except RootError as error:
            if error.errno == errno.ELOOP:
                return None
            raise
        return self._readlink(place)
