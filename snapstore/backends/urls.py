"""Which backend a URL stands for."""

from __future__ import annotations

import os
import re
from urllib.parse import unquote_to_bytes

from snapstore.backends.base import DeleteBackend
from snapstore.backends.local import Durability, LocalBackend
from snapstore.backends.memory import MemoryBackend
from snapstore.errors import RequestError

# Whatever has a colon before its first slash reads as an address; a path of that form can be written "./a:b".
_SCHEME = re.compile(r"([^/:]*):(.*)", re.DOTALL)
_KNOWN = "a path, file:///path, memory:NAME"


def open_backend(url: str | bytes, *, durability: Durability = "full") -> DeleteBackend:
    """The backend that the URL stands for; bytes are always a local path. Nothing is touched yet.

    RequestError where the scheme is not known or the address makes no sense.
    """
    if isinstance(url, bytes):
        return _local(url, url, durability)
    scheme = _SCHEME.fullmatch(url)
    if scheme is None:
        return _local(os.fsencode(url), url, durability)
    match scheme[1]:
        case "memory":
            return MemoryBackend(scheme[2])
        case "file" if scheme[2].startswith(("///", "//localhost/")):
            path = scheme[2].removeprefix("//").removeprefix("localhost")
            return _local(unquote_to_bytes(os.fsencode(path)), url, durability)
        case "file":
            raise RequestError(f"{url!r} names no local path", advice="write file:///path")
        case _:
            raise RequestError(f"{url!r} is not a place for a store that is known here", advice=f"known are {_KNOWN}")


def _local(path: bytes, url: str | bytes, durability: Durability) -> LocalBackend:
    if not path or b"\0" in path:
        raise RequestError(f"{url!r} names no place for a store", advice=f"known are {_KNOWN}")
    return LocalBackend(path, durability=durability)
