"""Objects as files below one directory, made durable in the order that survives a loss of power.

An object's file is written without a name, fsynced, and only then linked to its name, which fails where the name is
taken; a name is durable once its directory was fsynced (`barrier`). Directories between the root and an object are
opened one by one without following links, so nothing planted below the root leads out of it.

With `durability="batch"` a staged object that is published keeps its file open until the next barrier, which fsyncs all
of them in one sweep and then links them; the disk writes meanwhile. Until that barrier such an object cannot be seen,
and a name taken by other bytes is reported there. `put` is never put off: its answer is a decision.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import stat
import weakref
from collections.abc import Iterable, Iterator, Sequence
from threading import Lock
from typing import Literal

from snapstore.backends.base import DeleteBackend, Listed, Staged, range_end, store_error, store_errors
from snapstore.backends.names import ancestors, is_name, parent
from snapstore.backends.temporary import DIRECTORY, DIRECTORY_MODE, TEMPORARIES, Temporary, is_temporary
from snapstore.errors import CorruptObjectError, MissingObjectError, NoStoreError, ObjectExistsError, StoreError
from snapstore.model import Buffer

Durability = Literal["full", "batch"]

_ROOT = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # not to hang on a FIFO that someone left there
_LINK_TRIES = 4  # each further one needs the object to be made and deleted by others in between
_MOST_POSTPONED = 64  # each one keeps a descriptor


class LocalBackend(DeleteBackend):
    """The objects below the directory `path`, which is opened at first use and may itself be a link.

    `anonymous` says whether files without a name may be used before an object is published, where there are such.
    The directory need not exist before `prepare`; everything else raises NoStoreError until it does.
    """

    def __init__(self, path: bytes, *, durability: Durability = "full", anonymous: bool = True) -> None:
        self.path = os.path.join(os.getcwdb(), path)
        super().__init__(os.fsdecode(self.path))
        self._durability = durability
        self._anonymous = anonymous
        self._lock = Lock()  # guards the attributes below; held for moments only
        self._root = -1
        self._closed = False
        self._close_root: weakref.finalize[[int], LocalBackend] | None = None
        self._touched: set[str] = set()  # prefixes with names that are not durable yet
        self._anchored: set[str] = set()  # prefixes known to be durably reachable from the root
        self._postponed: list[tuple[Temporary, str]] = []
        self._barrier_lock = Lock()  # a barrier that found nothing to do must wait for the one that took the work
        self._broken = ""
        self._swept = False

    def close(self) -> None:
        """Nothing; the root is closed, and objects that still waited for a barrier are dropped."""
        with self._lock:
            dropped, self._postponed = self._postponed, []
            self._closed = True
            if self._close_root is not None:
                self._close_root()
        for temporary, _ in dropped:
            temporary.close()

    # Reading

    def _get(self, name: str, offset: int, length: int | None) -> bytes:
        with self._object(name) as (fd, size):
            end = range_end(name, size=size, offset=offset, length=length)
            data = _read(fd, offset, end)
        if len(data) != end - offset:
            raise CorruptObjectError(name, f"it ended at {offset + len(data)} while it was read")
        return data

    def _view(self, name: str) -> memoryview:
        with self._object(name) as (fd, size):
            if size == 0:
                return memoryview(b"")  # there is nothing to map
            return memoryview(mmap.mmap(fd, size, prot=mmap.PROT_READ))

    def _size(self, name: str) -> int:
        found = self._stat(name)
        if found is None or not stat.S_ISREG(found.st_mode):
            raise MissingObjectError(name)
        return found.st_size

    def _exists(self, name: str) -> bool:
        found = self._stat(name)
        return found is not None and stat.S_ISREG(found.st_mode)

    def _list(self, prefix: str) -> Iterator[Listed]:
        deeper: list[str] = []
        found: list[Listed] = []
        with store_errors(self._place(prefix), writing=False):
            try:
                directory = self._open(prefix)
            except FileNotFoundError:
                return
            try:
                with os.scandir(directory) as entries:
                    for entry in entries:
                        name = prefix + entry.name
                        if not is_name(name):
                            continue
                        if entry.is_dir(follow_symlinks=False):
                            deeper.append(f"{name}/")
                        elif entry.is_file(follow_symlinks=False):
                            try:
                                found.append(Listed(name, entry.stat(follow_symlinks=False).st_size))
                            except FileNotFoundError:
                                continue  # deleted since
            finally:
                os.close(directory)
        yield from found
        for each in deeper:
            yield from self._list(each)

    def _is_empty(self, besides: Sequence[str]) -> bool:
        ours = {*besides}.union(*(ancestors(prefix) for prefix in besides))
        pending = [""]
        while pending:
            prefix = pending.pop()
            with (
                store_errors(self._place(prefix), writing=False),
                self._directory(prefix) as directory,
                os.scandir(directory) as entries,
            ):
                for entry in entries:
                    name = f"{prefix}{entry.name}/"
                    if not entry.is_dir(follow_symlinks=False):
                        if prefix != TEMPORARIES or not is_temporary(entry.name):
                            return False
                    elif name in ours or name == TEMPORARIES:
                        pending.append(name)
                    else:
                        return False
        return True

    def _stat(self, name: str) -> os.stat_result | None:
        with store_errors(self._place(name), writing=False):
            try:
                with self._directory(parent(name)) as directory:
                    return os.stat(_leaf(name), dir_fd=directory, follow_symlinks=False)
            except FileNotFoundError:
                return None

    @contextlib.contextmanager
    def _object(self, name: str) -> Iterator[tuple[int, int]]:
        """Descriptor and size of the object's file; MissingObjectError, or CorruptObjectError if it is no file."""
        with store_errors(self._place(name), writing=False):
            try:
                with self._directory(parent(name)) as directory:
                    fd = os.open(_leaf(name), _READ, dir_fd=directory)
            except FileNotFoundError:
                raise MissingObjectError(name) from None
            except OSError as error:
                if error.errno in (errno.ELOOP, errno.ENXIO):  # a symbolic link; a socket
                    raise CorruptObjectError(name, "it is not a regular file") from error
                raise
            try:
                found = os.fstat(fd)
                if stat.S_ISDIR(found.st_mode):
                    raise MissingObjectError(name)
                if not stat.S_ISREG(found.st_mode):
                    raise CorruptObjectError(name, "it is not a regular file")
                yield fd, found.st_size
            finally:
                os.close(fd)

    # Writing

    def _prepare(self, prefixes: Sequence[str]) -> None:
        with store_errors(self.url, writing=True):
            try:
                _make_path(self.path)
            except (FileExistsError, NotADirectoryError) as error:
                raise NoStoreError(f"{self.url}: it is, or is below, something else than a directory") from error
            every = {"", *prefixes}.union(*(ancestors(prefix) for prefix in prefixes))
            # What lies deeper first, so that a directory is fsynced with all its entries in it, whoever made them.
            for prefix in sorted(every, reverse=True):
                with self._directory(prefix, make=True) as directory:
                    os.fsync(directory)
        with self._lock:
            self._anchored |= every

    def _put(self, name: str, parts: Sequence[Buffer]) -> bool:
        if self._is_taken(name, parts):
            return False
        with store_errors(self._place(name), writing=True):
            temporary = self._written(parts)
            try:
                return self._link(temporary, name)
            finally:
                temporary.close()

    def _stage(self) -> Staged:
        with store_errors(self.url, writing=True):
            return _LocalStaged(self, self._temporary())

    def _written(self, parts: Sequence[Buffer]) -> Temporary:
        """A durable temporary that holds the parts. After a failed fsync only a new file can be believed: one is."""
        for last in (False, True):
            temporary = self._temporary()
            try:
                for part in parts:
                    temporary.write(part)
                temporary.sync()
            except OSError as error:
                temporary.close()
                if last or error.errno != errno.EIO:
                    raise
            except BaseException:
                temporary.close()
                raise
            else:
                return temporary
        raise AssertionError("the last try either returns or raises")

    def _temporary(self) -> Temporary:
        temporary = Temporary(self._root_descriptor(), anonymous=self._anonymous)
        if not self._swept:
            self._swept = True
            temporary.sweep()
        return temporary

    def publish(self, temporary: Temporary, name: str) -> bool:
        """As `put` for the temporary, which is closed now, or at the barrier if publishing is put off."""
        if self._durability == "batch":
            with self._lock:
                self._postponed.append((temporary, name))
                many = len(self._postponed) >= _MOST_POSTPONED
            if many:
                with self._barrier_lock:
                    self._publish_postponed()
            return True
        try:
            with store_errors(self._place(name), writing=True):
                temporary.sync()
                return self._link(temporary, name)
        finally:
            temporary.close()

    def _link(self, temporary: Temporary, name: str) -> bool:
        """True if the name is now the temporary's, False if the bytes there are the same; ObjectExistsError if not."""
        for _ in range(_LINK_TRIES):
            with self._directory(parent(name), make=True) as directory:
                try:
                    temporary.link(directory, _leaf(name))
                except FileExistsError:
                    if self._is_taken(name, temporary.blocks()):
                        return False
                else:
                    self._touch(parent(name))
                    return True
        raise ObjectExistsError(name)

    def _is_taken(self, name: str, parts: Iterable[Buffer]) -> bool:
        """True where the object holds them, False where there is none. ObjectExistsError where it holds others."""
        try:
            with self._object(name) as (fd, size):
                offset = 0
                for part in parts:
                    expected = memoryview(part).cast("B")
                    if _read(fd, offset, offset + len(expected)) != expected:
                        raise ObjectExistsError(name)
                    offset += len(expected)
                if offset != size:
                    raise ObjectExistsError(name)
        except MissingObjectError:
            return False
        self._touch(parent(name))  # its maker may not have made the name durable yet, and now we rely on it
        return True

    def _delete(self, name: str) -> None:
        with store_errors(self._place(name), writing=True):
            try:
                with self._directory(parent(name)) as directory:
                    os.unlink(_leaf(name), dir_fd=directory)
            except (FileNotFoundError, IsADirectoryError):
                raise MissingObjectError(name) from None
        self._touch(parent(name))

    # Durable names

    def _barrier(self, touched: Sequence[str] | None) -> None:
        with self._barrier_lock:
            self._publish_postponed()
            with self._or_broken():
                asked = {each if each.endswith("/") else parent(each) for each in touched or ()}
                self._sync_directories(self._take_touched(touched), asked)

    def _publish_postponed(self) -> None:
        """Nothing; what was put off is durable and has its names. Only under the lock of barriers."""
        if self._broken:
            raise StoreError(self._broken, advice="open the store again and repeat what was not committed")
        with self._lock:
            batch, self._postponed = self._postponed, []
        try:
            with self._or_broken():
                for temporary, name in batch:
                    with store_errors(self._place(name), writing=True):
                        temporary.sync()
                for temporary, name in batch:
                    with store_errors(self._place(name), writing=True):
                        self._link(temporary, name)
        finally:
            for temporary, _ in batch:
                temporary.close()

    @contextlib.contextmanager
    def _or_broken(self) -> Iterator[None]:
        """Nothing; after an error inside no barrier succeeds any more, for an fsync tried again would tell a lie."""
        try:
            yield
        except BaseException as error:
            self._broken = f"{self.url}: an earlier barrier failed: {error}"
            raise

    def _touch(self, prefix: str) -> None:
        with self._lock:
            self._touched.add(prefix)

    def _take_touched(self, asked: Sequence[str] | None) -> set[str]:
        with self._lock:
            if asked is None:
                taken, self._touched = self._touched, set()
                return taken
            above = tuple(each for each in asked if each.endswith("/") or not each)
            exactly = {parent(each) for each in asked}
            taken = {prefix for prefix in self._touched if prefix in exactly or prefix.startswith(above)}
            self._touched -= taken
            return taken

    def _sync_directories(self, touched: set[str], asked: set[str]) -> None:
        # A directory that someone else made may itself not be durable yet: once per backend its parents are made so.
        fresh = (touched | asked) - self._anchored
        for prefix in sorted((touched | asked).union(*(ancestors(each) for each in fresh))):
            with store_errors(self._place(prefix), writing=True):
                try:
                    with self._directory(prefix) as directory:
                        os.fsync(directory)
                except FileNotFoundError:
                    if prefix in touched:
                        raise
                    fresh.discard(prefix)  # asked for, but nobody ever put anything there
        with self._lock:
            self._anchored |= fresh

    # Directories

    @contextlib.contextmanager
    def _directory(self, prefix: str, *, make: bool = False) -> Iterator[int]:
        directory = self._open(prefix, make=make)
        try:
            yield directory
        finally:
            os.close(directory)

    def _open(self, prefix: str, *, make: bool = False) -> int:
        """A new descriptor of the directory; FileNotFoundError if it is not there and not to be made."""
        directory = os.open(".", DIRECTORY, dir_fd=self._root_descriptor())
        for part in prefix.split("/")[:-1]:
            above = directory
            try:
                try:
                    directory = os.open(part, DIRECTORY, dir_fd=above)
                except FileNotFoundError:
                    if not make:
                        raise
                    directory = _make_directory(part, above)
                except NotADirectoryError as error:
                    raise StoreError(
                        f"{self._place(prefix)} is not a directory", advice="nothing else belongs there"
                    ) from error
            finally:
                os.close(above)
        return directory

    def _root_descriptor(self) -> int:
        with self._lock:
            if self._closed:
                raise StoreError(f"{self.url} was closed")
            if self._root < 0:
                try:
                    self._root = os.open(self.path, _ROOT)
                except (FileNotFoundError, NotADirectoryError) as error:
                    raise NoStoreError(
                        f"{self.url}: {error.strerror}", advice="make one with `snapstore init`"
                    ) from error
                except OSError as error:
                    raise store_error(error, self.url, writing=False) from error
                self._close_root = weakref.finalize(self, os.close, self._root)
            return self._root

    def _place(self, name: str) -> str:
        return f"{name or 'the root'} in {self.url}"


class _LocalStaged(Staged):
    def __init__(self, backend: LocalBackend, temporary: Temporary) -> None:
        super().__init__()
        self._backend = backend
        self._temporary = temporary

    def _write(self, part: memoryview) -> None:
        with store_errors(f"a new object in {self._backend.url}", writing=True):
            self._temporary.write(part)

    def _publish(self, name: str) -> bool:
        return self._backend.publish(self._temporary, name)

    def _discard(self) -> None:
        self._temporary.close()


def _leaf(name: str) -> str:
    return name[name.rfind("/") + 1 :]


def _read(fd: int, offset: int, end: int) -> bytes:
    """The bytes of the file from `offset` to `end`, fewer only where it ends before."""
    data = os.pread(fd, end - offset, offset)
    if len(data) == end - offset:
        return data
    parts = [data]  # a signal, or more than the 2 GiB that one call gives
    while data and (offset := offset + len(data)) < end:
        data = os.pread(fd, end - offset, offset)
        parts.append(data)
    return b"".join(parts)


def _make_directory(name: str, above: int) -> int:
    """A descriptor of a new directory whose entry in the directory `above` is durable."""
    with contextlib.suppress(FileExistsError):  # another writer made it first, and may not have come to its fsync
        os.mkdir(name, DIRECTORY_MODE, dir_fd=above)
    os.fsync(above)
    return os.open(name, DIRECTORY, dir_fd=above)


def _make_path(path: bytes) -> None:
    """Nothing; the directory is there, and the entries of those that had to be made are durable."""
    missing: list[bytes] = []
    while not os.path.isdir(path):
        missing.append(path)
        above = os.path.dirname(path.rstrip(b"/"))
        if above in (path, b""):
            break
        path = above
    for each in reversed(missing):
        try:
            os.mkdir(each, DIRECTORY_MODE)
        except FileExistsError:
            if not os.path.isdir(each):
                raise
        above_fd = os.open(os.path.dirname(each.rstrip(b"/")), _ROOT)
        try:
            os.fsync(above_fd)
        finally:
            os.close(above_fd)
