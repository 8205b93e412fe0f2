"""Private copies of database files of a root, for programs and libraries that are not to work on the root itself.

A database is locked, recovered and cleaned up by whoever opens it, so none is opened where it lies.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import stat
import tempfile
import time
from collections.abc import Iterator, Sequence

from snapstore.system.root import Root, RootError

SIZE_LIMIT = 4 << 30
_ATTEMPTS = 3
_PIECE = 1 << 20
_SECONDS = 120.0
_VALUE_LIMIT = 1 << 28
"""Bytes of one value; rpm takes no header that is longer."""
_STEPS = 100_000
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


@contextlib.contextmanager
def private_copy(root: Root, paths: Sequence[bytes]) -> Iterator[bytes]:
    """A directory of this process alone with copies of those of the files that there are; it is gone in the end.

    The copies are of one moment: if a file changes meanwhile, all are taken again. OSError (RootError) for what cannot
    be read, is no regular file, has more than SIZE_LIMIT bytes, or does not stop changing.
    """
    with tempfile.TemporaryDirectory(prefix="snapstore-") as directory:
        place = os.fsencode(directory)
        for _ in range(_ATTEMPTS):
            before = [_state(root, path) for path in paths]
            for path in paths:
                _copy(root, path, os.path.join(place, os.path.basename(path)))
            if before == [_state(root, path) for path in paths]:
                break
        else:
            raise RootError(errno.EBUSY, "it does not stop changing", paths[0])
        yield place


def _state(root: Root, path: bytes) -> tuple[int, ...] | None:
    status = root.status(path, follow=True)
    return None if status is None else (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _copy(root: Root, path: bytes, target: bytes) -> None:
    try:
        source = root.open(path)
    except OSError as error:
        if error.errno not in _ABSENT:
            raise
        with contextlib.suppress(FileNotFoundError):
            os.unlink(target)  # it was there at the last attempt
        return
    try:
        if not stat.S_ISREG(os.fstat(source).st_mode):
            raise RootError(errno.EINVAL, "it is no regular file", path)
        size = 0
        with open(target, "wb") as file:
            while piece := os.read(source, _PIECE):
                size += len(piece)
                if size > SIZE_LIMIT:
                    raise RootError(errno.EFBIG, f"it has more than {SIZE_LIMIT} bytes", path)
                file.write(piece)
    finally:
        os.close(source)


@contextlib.contextmanager
def opened_sqlite(path: bytes, *, seconds: float = _SECONDS) -> Iterator[sqlite3.Connection]:
    """A connection to a copy that nobody vouches for; statements fail when the time is over. sqlite3.Error.

    Text is given as it is, what is not UTF-8 as surrogates.
    """
    deadline = time.monotonic() + seconds
    connection = sqlite3.connect(os.fsdecode(path))
    try:
        connection.text_factory = _text
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _VALUE_LIMIT)
        connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        connection.set_progress_handler(lambda: int(time.monotonic() > deadline), _STEPS)
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA cell_size_check = ON")
        yield connection
    except UnicodeDecodeError as error:  # sqlite3 raises it for its own messages, which quote what the file holds
        raise sqlite3.DatabaseError("its schema is no text") from error
    finally:
        connection.close()


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def are_tables(connection: sqlite3.Connection, *names: str) -> bool:
    """Whether all of them are plain tables: a view or a virtual table computes what it is made to. sqlite3.Error."""
    found = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND sql LIKE 'CREATE TABLE%'")
    return set(names) <= {name for (name,) in found.fetchmany(1000)}
