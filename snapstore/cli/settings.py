"""What the global options and the environment say, and where things are on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from snapstore.errors import RequestError

STORE_VARIABLE = "SNAPSTORE_STORE"
KERNEL_VARIABLE = "SNAPSTORE_KERNEL"
DEBUG_VARIABLE = "SNAPSTORE_DEBUG"
COMPLETE_VARIABLE = "_SNAPSTORE_COMPLETE"

_CACHE_TAG = b"""Signature: 8a477f597d28d172789f06886806bc55
# This directory holds caches of snapstore; it may be deleted at any time.
# About cache directory tags: https://bford.info/cachedir/
"""


@dataclass(slots=True)
class Settings:
    """The global options, as parsed so far: they may stand before the command and after it."""

    store: str | None = None
    json: bool = False
    quiet: bool = False
    verbose: bool = False
    progress: bool = True

    @property
    def chosen_store(self) -> str | None:
        """The store that the person named, by option or environment; None where the default one is meant."""
        return self.store or os.environ.get(STORE_VARIABLE) or None


def debugging() -> bool:
    """Whether internal errors are to show where they came from."""
    return os.environ.get(DEBUG_VARIABLE, "") not in ("", "0")


def _own(directory: Callable[..., str]) -> str:
    """The directory of ours that platformdirs knows; RequestError for a user who has no home to put it in."""
    try:
        return directory("snapstore", appauthor=False)
    except RuntimeError as error:
        advice = "set HOME, or XDG_DATA_HOME, XDG_CACHE_HOME and XDG_STATE_HOME"
        raise RequestError("it is not known where this user's home directory is", advice=advice) from error


def default_store() -> str:
    """The path of the store that is used where none is named."""
    import platformdirs

    return os.path.join(_own(platformdirs.user_data_dir), "store")


def cache_directory(*, make: bool = True) -> bytes:
    """The directory for caches, made and tagged (CACHEDIR.TAG) if need be. OSError where that is impossible."""
    import platformdirs

    path = os.fsencode(_own(platformdirs.user_cache_dir))
    if not make:
        return path
    os.makedirs(path, mode=0o700, exist_ok=True)
    tag = os.path.join(path, b"CACHEDIR.TAG")
    if not os.path.lexists(tag):
        from snapstore.atomic import write_atomically

        write_atomically(tag, _CACHE_TAG, durable=False, mode=0o644)
    return path


def state_directory(*, make: bool = True) -> bytes:
    """The directory for what names this machine's writers. OSError where it cannot be made."""
    import platformdirs

    path = os.fsencode(_own(platformdirs.user_state_dir))
    if make:
        os.makedirs(path, mode=0o700, exist_ok=True)
    return path


def demand_kernel() -> None:
    """Nothing; the kernel that the environment names runs, or KernelUnavailableError. Call it before the first verb.

    The functions are rebound in the package before any other room has imported them from there.
    """
    name = os.environ.get(KERNEL_VARIABLE)
    if not name:
        return
    from snapstore import kernel

    chosen = kernel.load(name)
    kernel.NAME = chosen.NAME
    kernel.cut_points = chosen.cut_points
    kernel.scan_directory = chosen.scan_directory
    kernel.read_files = chosen.read_files
    kernel.write_files = chosen.write_files
