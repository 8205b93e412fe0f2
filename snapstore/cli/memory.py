"""How this process treats memory: what is freed is kept, and cycles are looked for rarely."""

from __future__ import annotations

import gc

# malloc.h of glibc
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_KEEP = 256 << 20
_LARGE = 32 << 20
_OBJECTS = 200_000


def keep_freed_memory() -> None:
    """Nothing; blocks of a few megabytes are used again instead of going back to the kernel each time.

    Compression makes and frees thousands of buffers of about 1 MiB. By default each is mapped, faulted in page by page
    and unmapped, which costs a snapshot a tenth of its processor time. A C library that does not know these settings
    is left as it is.
    """
    import ctypes

    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return
    mallopt(_M_MMAP_THRESHOLD, _LARGE)
    mallopt(_M_TRIM_THRESHOLD, _KEEP)


def collect_rarely() -> None:
    """Nothing; the garbage collector looks for cycles after so many more objects, not after 700.

    What a command makes many of (rows, records, stat results) holds no cycles. Looking through all of it again and
    again costs an audit of a machine a tenth of its time.
    """
    gc.set_threshold(_OBJECTS, 20, 50)
