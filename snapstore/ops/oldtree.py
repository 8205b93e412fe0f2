"""The elements of a directory's previous tree, paired with the hashes that the stat cache has for them."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import NamedTuple

from snapstore.errors import CorruptObjectError, MissingObjectError, StoreError
from snapstore.fs.statcache import CachedDirectory
from snapstore.store import trees
from snapstore.store.reader import Reader

_NAME = re.compile(rb'<[a-z]+ name(-b64)?="([^"]*)"').match
_HARDLINK = re.compile(rb' hardlink(-b64)?="([^"]*)"').search
_ENTITIES = ((b"&lt;", b"<"), (b"&gt;", b">"), (b"&quot;", b'"'), (b"&amp;", b"&"))


class OldElement(NamedTuple):
    """An entry as it was last time: raw name, hash of what stat said, canonical element."""

    name: bytes
    hash: bytes
    element: bytes


class OldTree:
    """Reads previous trees from the store; where there is no previous snapshot, it knows none."""

    def __init__(self, reader: Reader | None) -> None:
        self._reader = reader
        self.damaged: list[StoreError] = []

    def elements(self, cached: CachedDirectory) -> Iterator[OldElement]:
        """The elements of the tree that the cache names, in order, one document in memory at a time.

        They end early where the tree cannot be read any more: then the files are read again, and `damaged` says so.
        """
        if self._reader is None:
            return
        try:
            yield from self._elements(self._reader, cached)
        except (CorruptObjectError, MissingObjectError) as error:
            self.damaged.append(error)

    @staticmethod
    def _elements(reader: Reader, cached: CachedDirectory) -> Iterator[OldElement]:
        number = 0
        hashes = cached.hashes
        for document in trees.documents(reader, cached.tree):
            for element in split_elements(document):
                if 8 * number + 8 > len(hashes):
                    return  # The cache is not of this tree after all; without it everything is read again.
                yield OldElement(element_name(element), hashes[8 * number : 8 * number + 8], element)
                number += 1


def split_elements(document: bytes) -> Iterator[bytes]:
    """The entry elements of a canonical tree document, each with its children and final line feed."""
    lines = document.split(b"\n")[2:-2]
    at = 0
    while at < len(lines):
        line = lines[at]
        if line.endswith(b"/>"):
            yield line + b"\n"
            at += 1
            continue
        end = at + 1
        while not lines[end].startswith(b"</"):
            end += 1
        yield b"\n".join(lines[at : end + 1]) + b"\n"
        at = end + 1


def element_name(element: bytes) -> bytes:
    """The raw name that an entry element states."""
    match = _NAME(element)
    if match is None:
        raise StoreError("a tree holds an element without a name", advice="run `snapstore check`")
    return _raw(match)


def element_hardlink(element: bytes) -> bytes:
    """The path of the first name that an entry element states; empty if it is the first name itself."""
    match = _HARDLINK(element)
    return _raw(match) if match is not None else b""


def _raw(match: re.Match[bytes]) -> bytes:
    if match[1]:
        return base64.b64decode(match[2])
    text: bytes = match[2]
    if b"&" in text:
        for entity, character in _ENTITIES:
            text = text.replace(entity, character)
    return text
