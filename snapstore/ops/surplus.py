"""What `restore --delete` may delete: what the snapshot does not have, and did not leave out by its patterns."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence

from snapstore.fs.filters import Filter, FilterRules


class Surplus:
    """The patterns of a snapshot, asked about names that are below one of its roots now."""

    def __init__(self, excludes: Sequence[str], *, root: bytes) -> None:
        self._filter = Filter(FilterRules(excludes=tuple(excludes)), root=root)

    def excluded(self, directory: int, name: bytes, *, inside: bytes) -> bool:
        """Whether the patterns leave out a name of an open directory, which is at `inside` from the root. OSError."""
        if not self._filter.active:
            return False
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        return bool(self._filter.verdict(_join(inside, name), directory=stat.S_ISDIR(status.st_mode)))

    def spare(self, inside: bytes) -> Callable[[bytes, bool], bool] | None:
        """As `excluded`, for what is below the directory `inside`: of (path from there, whether it is a directory)."""
        if not self._filter.active:
            return None
        return lambda path, directory: bool(self._filter.verdict(_join(inside, path), directory=directory))


def _join(inside: bytes, name: bytes) -> bytes:
    return inside + b"/" + name if inside else name
