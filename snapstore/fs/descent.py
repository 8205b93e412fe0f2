"""The directories below one, each opened from the one above: no link is followed, and no path is too long."""

from __future__ import annotations

import os
import threading

from snapstore.fs.limits import allow_many_descriptors

_OPEN = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Folder:
    """A directory that was open when it was found, or the reason why there is none. Any thread may hold and release it.

    `barred` if it, or one above it, is among the protected directories of its `Descent`.
    """

    def __init__(self, path: bytes, fd: int, failure: OSError | None, *, barred: bool) -> None:
        self.path = path
        self.barred = barred
        self._fd = fd
        self._failure = failure
        self._holds = 1
        self._lock = threading.Lock()

    @property
    def fd(self) -> int:
        """A descriptor for *at(2) only (O_PATH); OSError if there is no such directory."""
        if self._failure is not None:
            raise self._failure
        return self._fd

    def hold(self) -> Folder:
        """The folder itself, held once more."""
        with self._lock:
            self._holds += 1
        return self

    def release(self) -> None:
        """Let go once; the last one out closes it."""
        with self._lock:
            self._holds -= 1
            last = not self._holds
        if last and self._fd >= 0:
            os.close(self._fd)

    def status(self, name: bytes) -> os.stat_result:
        """The status of a name in it, not followed; of the directory itself for an empty one. OSError."""
        if not name:
            return os.fstat(self.fd)
        return os.stat(name, dir_fd=self.fd, follow_symlinks=False)

    def names(self) -> list[bytes]:
        """The raw names in it, sorted. OSError."""
        fd = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.fd)
        try:
            return sorted(os.fsencode(each) for each in os.listdir(fd))
        finally:
            os.close(fd)


class Descent:
    """Folders below `top` (links in that path itself are followed) by their path from there; for one thread.

    The folders on the way to the last one asked for stay open, so a walk in depth-first order opens each once.
    """

    def __init__(self, top: bytes, *, protected: frozenset[tuple[int, int]] = frozenset()) -> None:
        allow_many_descriptors()
        self._protected = protected
        self._chain = [self._opened(b"", top, None)]

    def folder(self, path: bytes) -> Folder:
        """The folder at a path below the top, empty for the top; the caller holds it if it is to outlive the next."""
        chain = self._chain
        while len(chain) > 1 and path != chain[-1].path and not path.startswith(chain[-1].path + b"/"):
            chain.pop().release()
        for name in path[len(chain[-1].path) :].split(b"/"):
            if name:
                above = chain[-1]
                chain.append(self._opened(above.path + b"/" + name if above.path else name, name, above))
        return chain[-1]

    def close(self) -> None:
        """Let go of all folders."""
        while self._chain:
            self._chain.pop().release()

    def _opened(self, path: bytes, name: bytes, above: Folder | None) -> Folder:
        barred = above is not None and above.barred
        try:
            fd = os.open(name, _OPEN & ~os.O_NOFOLLOW) if above is None else os.open(name, _OPEN, dir_fd=above.fd)
        except OSError as failure:
            return Folder(path, -1, failure, barred=barred)
        if self._protected:
            status = os.fstat(fd)
            barred = barred or (status.st_dev, status.st_ino) in self._protected
        return Folder(path, fd, None, barred=barred)
