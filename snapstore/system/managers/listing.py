"""What the lists of files in package databases have in common: which paths make sense, and where they are on disk."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from snapstore.system.packages import Warn, stamp_files
from snapstore.system.root import Root, RootError

PATH_LIMIT = 4096
DEPTH_LIMIT = 128
"""Longer or deeper than any path of a package. What is beyond costs more to look for than any list is worth."""

# An empty component, `.`, `..`, or a NUL: a list that has one was not written by a package manager.
_UNSOUND = re.compile(rb"(?:^|/)\.{0,2}(?:/|\Z)|\0").search


def is_sound(path: bytes) -> bool:
    """Whether a path, relative to the top of the root and without a slash at its end, can be one of a package."""
    return len(path) <= PATH_LIMIT and not _UNSOUND(path) and path.count(b"/") <= DEPTH_LIMIT


def quiet(path: bytes, reason: str) -> None:
    """Nothing. For looks at a database whose trouble is told by whoever reads it whole."""
    del path, reason


def text(raw: bytes) -> str:
    """Raw bytes of a database as the text of a record."""
    return raw.decode("utf-8", "surrogateescape")


class Places:
    """Where the directories of a list are. A look-up a directory, not one a path: lists have many files to one."""

    def __init__(self, root: Root, warn: Warn) -> None:
        self._root = root
        self._warn = warn
        self._known: dict[bytes, bytes] = {b"": b""}

    def directory(self, parent: bytes) -> bytes:
        """The canonical path of a relative directory, to put a slash and a name behind: empty for the top."""
        known = self._known.get(parent)
        if known is None:
            written = b"/" + parent
            try:
                known = self._root.resolve(written)
            except RootError as error:
                # It stays as it is written, where the look at the disk will meet the same trouble.
                self._warn(written, f"the directory cannot be resolved: {error.strerror}")
                known = written
            known = self._known[parent] = b"" if known == b"/" else known
        return known

    def canonical(self, path: bytes) -> bytes:
        """The canonical path of a relative one that is sound."""
        parent, _, name = path.rpartition(b"/")
        return self.directory(parent) + b"/" + name


def stamp_of(root: Root, paths: Iterable[bytes], *more: bytes) -> bytes:
    """32 bytes that differ when what stat(2) says of files, or what is in directories, differs; or one of `more`."""
    state = hashlib.blake2b(digest_size=32)
    for path in paths:
        try:
            part = stamp_files(root, (path,))
        except OSError as error:
            part = b"%b\0!%d\n" % (path, error.errno or 0)
        state.update(b"%d\n%b" % (len(part), part))
    for each in more:
        state.update(b"%d\n%b" % (len(each), each))
    return state.digest()
