"""Scope records: what a snapshot knows of one part of the system, as XML (docs/format.md, section 10.5).

This module knows their frame: a root element, elements of one line in an order of their own, cut into shards like a
tree. What the elements mean belongs to whoever owns the scope.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import xxhash
from lxml import etree

from snapstore.errors import CorruptObjectError
from snapstore.format import xml
from snapstore.format.ids import parse_id
from snapstore.format.sharding import Run, ShardedWriter
from snapstore.model import ChunkId

_RUN_MINIMUM = 32 << 10
_RUN_MAXIMUM = 256 << 10
_CUT_MASK = 0x7F
ELEMENT_LIMIT = 4 << 20
"""An element has at most so many bytes, or a document could not hold it."""
_SHARD = re.compile(rb'<shard elements="[0-9]+" id="([0-9a-f]{64})"/>\n')


@dataclass(frozen=True, slots=True)
class ScopeShard:
    """A run of elements kept in its own document, and how many elements it stands for."""

    elements: int
    id: ChunkId


def namespace(scope: str) -> str:
    """The namespace of a scope's documents."""
    return f"urn:snapstore:{scope}:1"


class _Rule:
    def __init__(self, scope: str) -> None:
        self._tag = scope.encode()
        self._namespace = namespace(scope).encode()

    def cut_after(self, key: bytes, *, size: int, count: int) -> bool:  # noqa: ARG002 - cut by size
        return size >= _RUN_MINIMUM and (size >= _RUN_MAXIMUM or not xxhash.xxh3_64_intdigest(key) & _CUT_MASK)

    def document(self, elements: list[bytes]) -> bytes:
        return xml.document(self._tag, self._namespace, elements)

    def key(self, run: Run) -> bytes:
        return run.id

    def shard(self, run: Run) -> bytes:
        return b'<shard elements="%d" id="%b"/>\n' % (run.leaves, run.id.hex().encode())


class ScopeWriter(ShardedWriter):
    """Takes the elements of a scope in order, each under its key; `finish` gives the record's id."""

    def __init__(self, scope: str, put: Callable[[bytes], ChunkId]) -> None:
        super().__init__(_Rule(scope), put)


def read_scope(data: bytes, *, scope: str, name: str) -> list[etree._Element] | list[ScopeShard]:
    """The elements of one document of a scope, or its shards; an empty record gives an empty list.

    Raises CorruptObjectError if its frame breaks the format; what is in the elements is for the caller to check.
    """
    root = xml.parse(data, tag=scope, namespace=namespace(scope), name=name)
    shard_tag = f"{{{namespace(scope)}}}shard"
    try:
        xml.Attributes(root).close()
        elements = list(root)
        shards = [_read_shard(element) for element in elements if element.tag == shard_tag]
        if shards and len(shards) != len(elements):
            raise xml.XmlError("a scope holds elements or shards")
        for element in elements:
            xml.check_leaf(element)
    except ValueError as error:
        raise CorruptObjectError(name, str(error)) from error
    return shards or elements


def _read_shard(element: etree._Element) -> ScopeShard:
    attributes = xml.Attributes(element)
    shard = ScopeShard(attributes.number("elements"), parse_id(attributes.required("id")))
    attributes.close()
    if not shard.elements:
        raise xml.XmlError("a shard stands for nothing")
    return shard


def shard_ids(data: bytes) -> list[ChunkId]:
    """The documents that a document of any scope names; none where it holds its elements itself."""
    return [parse_id(each.decode()) for each in _SHARD.findall(data)]


def element_lines(data: bytes) -> list[bytes]:
    """The elements of a canonical document, one each, the line feed included."""
    return [line + b"\n" for line in data.split(b"\n")[2:-2]]
