from collections.abc import Sequence
from typing import Final

from _typeshed import ReadableBuffer, WriteableBuffer

NAME: Final[str]
CHATTR_FLAGS: Final[int]

def cut_points(data: ReadableBuffer, gear: ReadableBuffer, minimum: int, average: int, maximum: int) -> list[int]: ...
def scan_directory(fd: int) -> tuple[bytes, bytes, tuple[int, ...], int]: ...
def read_files(
    fd: int, names: ReadableBuffer, expected: ReadableBuffer, buffer: WriteableBuffer, offset: int
) -> bytes: ...
def write_files(
    fd: int, names: ReadableBuffer, specs: ReadableBuffer, segments: ReadableBuffer, buffers: Sequence[ReadableBuffer]
) -> bytes: ...
