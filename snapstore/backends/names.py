"""The names that objects may have, the same on every backend.

A name is one to four components joined by "/", each of `a-z 0-9 . _ -` and not starting with ".", at most 200
characters in all. That is the part of every file system's and every object store's alphabet that none of them folds,
escapes or gives a meaning to; whatever starts with "." is left to the backend's own temporaries.
A prefix is "" (everything) or a name followed by "/".
"""

from __future__ import annotations

import re

from snapstore.errors import StoreError

MAX_LENGTH = 200
MAX_COMPONENTS = 4

_COMPONENT = r"[a-z0-9_-][a-z0-9._-]*"
_NAME = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT}){{0,{MAX_COMPONENTS - 1}}}")


def is_name(name: str) -> bool:
    """Whether an object may be called that."""
    return len(name) <= MAX_LENGTH and _NAME.fullmatch(name) is not None


def check_name(name: str) -> str:
    """The name itself, where an object may be called that. StoreError otherwise."""
    if not is_name(name):
        raise StoreError(f"{name!r} is not an object name")
    return name


def check_prefix(prefix: str) -> str:
    """The prefix itself, where objects may lie below it: "" or a name and "/". StoreError otherwise."""
    below = prefix == "" or (prefix.endswith("/") and is_name(prefix[:-1]) and prefix.count("/") < MAX_COMPONENTS)
    if not below:
        raise StoreError(f"{prefix!r} is not an object prefix")
    return prefix


def parent(name: str) -> str:
    """The prefix that the object lies directly below: "packs/00/" for "packs/00/x", "" for "config"."""
    return name[: name.rfind("/") + 1]


def ancestors(prefix: str) -> list[str]:
    """Every prefix above this one, outermost first: ["", "packs/"] for "packs/00/", nothing for ""."""
    parts = prefix.split("/")[:-1]
    return ["".join(f"{part}/" for part in parts[:depth]) for depth in range(len(parts))]
