"""The kernel to use: compiled where it was built, else its Python twin, or the one asked for by name."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final, Protocol, cast

from snapstore.errors import KernelUnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from _typeshed import ReadableBuffer, WriteableBuffer

MODULES: Final = {"native": "snapstore.kernel._native", "reference": "snapstore.kernel.reference"}
"""The module of each kernel; which are imported only when chosen."""


class Kernel(Protocol):
    """The four functions; `snapstore.kernel.reference` defines and documents them."""

    @property
    def NAME(self) -> str:  # noqa: N802 a constant in modules
        """`native` or `reference`."""

    def cut_points(
        self, data: ReadableBuffer, gear: ReadableBuffer, minimum: int, average: int, maximum: int
    ) -> list[int]:
        """The ends of the chunks of `data`."""

    def scan_directory(self, fd: int) -> tuple[bytes, bytes, tuple[int, ...], int]:
        """Names, ENTRY records, devices, and newest time in nanoseconds."""

    def read_files(
        self, fd: int, names: ReadableBuffer, expected: ReadableBuffer, buffer: WriteableBuffer, offset: int
    ) -> bytes:
        """RESULT records of the files read into `buffer`."""

    def write_files(
        self,
        fd: int,
        names: ReadableBuffer,
        specs: ReadableBuffer,
        segments: ReadableBuffer,
        buffers: Sequence[ReadableBuffer],
    ) -> bytes:
        """WRITTEN records of the files created."""


def load(name: str | None = None) -> Kernel:
    """The kernel of that name; for None the native one if it was built, else the reference.

    A name is a demand: KernelUnavailableError if that kernel was not built, cannot be loaded, or does not exist.
    Without a name, too, an extension that is there but broken raises (ImportError) rather than going slow unnoticed.
    """
    if name is None:
        try:
            return _module("native")
        except ModuleNotFoundError as error:
            if error.name != MODULES["native"]:
                raise
            return _module("reference")
    if name not in MODULES:
        raise KernelUnavailableError(f"there is no kernel named {name!r}", advice="choose native or reference")
    try:
        return _module(name)
    except ImportError as error:
        raise KernelUnavailableError(
            f"the {name} kernel cannot be loaded: {error}", advice="install snapstore on a machine with gcc"
        ) from error


def _module(name: str) -> Kernel:
    return cast("Kernel", importlib.import_module(MODULES[name]))
