"""Compiled loops and their Python twin: `cut_points`, `scan_directory`, `read_files`, `write_files`.

The functions here are those of the default kernel, `NAME` says which that is, and `load` gives either by name.
"""

from snapstore.kernel.choice import Kernel, load
from snapstore.kernel.records import (
    ATTRIBUTES,
    CHATTR_FLAGS,
    ENTRY,
    KEEP_ID,
    LARGEST_XATTR_LIST,
    RESULT,
    SEGMENT,
    SPARSE_CHECK_SIZE,
    WRITE,
    WRITTEN,
    Status,
    Step,
)

_default = load()

NAME = _default.NAME
cut_points = _default.cut_points
scan_directory = _default.scan_directory
read_files = _default.read_files
write_files = _default.write_files

__all__ = [
    "ATTRIBUTES",
    "CHATTR_FLAGS",
    "ENTRY",
    "KEEP_ID",
    "LARGEST_XATTR_LIST",
    "NAME",
    "RESULT",
    "SEGMENT",
    "SPARSE_CHECK_SIZE",
    "WRITE",
    "WRITTEN",
    "Kernel",
    "Status",
    "Step",
    "cut_points",
    "load",
    "read_files",
    "scan_directory",
    "write_files",
]
