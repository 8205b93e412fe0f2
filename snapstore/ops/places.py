"""Where snapstore itself lives, which snapshots leave out and restores leave alone."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable

from snapstore.backends import LocalBackend
from snapstore.errors import RequestError
from snapstore.store.repository import Store

Places = frozenset[tuple[int, int]]
"""(device, inode) of directories."""


def own_places(store: Store, directories: Iterable[bytes]) -> Places:
    """The directory of the store, if it is one of this machine, and those of `directories` that exist."""
    places = list(directories)
    if isinstance(store.backend, LocalBackend):
        places.append(store.backend.path)
    return directories_at(places)


def directories_at(places: Iterable[bytes]) -> Places:
    """Those of the directories that exist."""
    found = set()
    for place in places:
        with contextlib.suppress(FileNotFoundError):
            status = os.stat(place)
            found.add((status.st_dev, status.st_ino))
    return frozenset(found)


def refuse_inside(path: bytes, places: Places) -> None:
    """Nothing; RequestError if the path, which need not exist, leads into one of the places."""
    here = os.path.realpath(path)
    while True:
        with contextlib.suppress(OSError):
            status = os.stat(here)
            if (status.st_dev, status.st_ino) in places:
                shown = path.decode("utf-8", "backslashreplace")
                raise RequestError(
                    f"{shown} lies inside the store, or snapstore's own state", advice="choose another directory"
                )
        above = os.path.dirname(here)
        if above == here:
            return
        here = above
