"""Chunk lists: the chunks of a long file (docs/format.md, section 10.2)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from snapstore.errors import CorruptObjectError
from snapstore.format import xml
from snapstore.format.ids import parse_id
from snapstore.format.sharding import Run, ShardedWriter
from snapstore.model import ChunkId

NAMESPACE = "urn:snapstore:chunks:1"
INLINE_LIMIT = 64
_RUN_MINIMUM = 128
_RUN_MAXIMUM = 2048

_HEAD = xml.start_tag(b"chunks", NAMESPACE.encode())
_TAIL = b"</chunks>\n"
_CHUNKS = re.compile(rb'(?:<c id="[0-9a-f]{64}"/>\n)+').fullmatch
_LINE = 75


@dataclass(frozen=True, slots=True)
class ListShard:
    """A run of a list kept in its own document: how many chunks and bytes it stands for."""

    id: ChunkId
    chunks: int
    size: int


class _Rule:
    def cut_after(self, key: bytes, *, size: int, count: int) -> bool:  # noqa: ARG002 - lists are cut by count
        return count >= _RUN_MAXIMUM or (count >= _RUN_MINIMUM and key[-1] == 0)

    def document(self, elements: list[bytes]) -> bytes:
        return xml.document(b"chunks", NAMESPACE.encode(), elements)

    def key(self, run: Run) -> bytes:
        return run.id

    def shard(self, run: Run) -> bytes:
        return b'<shard id="%b" chunks="%d" size="%d"/>\n' % (run.id.hex().encode(), run.leaves, run.weight)


class ChunkListWriter(ShardedWriter):
    """Takes the chunks of a file in order; `finish` gives the id of their list. `put` stores each document of it."""

    def __init__(self, put: Callable[[bytes], ChunkId]) -> None:
        super().__init__(_Rule(), put)

    def take(self, chunk: ChunkId, length: int) -> None:
        """The next chunk and its length in bytes."""
        self.add(chunk, b'<c id="%b"/>\n' % chunk.hex().encode(), weight=length)


def read_chunk_list(data: bytes, *, name: str) -> list[ChunkId] | list[ListShard]:
    """The chunks of one document, or its shards; CorruptObjectError if it breaks the format."""
    chunks = _read_plain(data)
    return chunks or define_chunk_list(data, name=name)


def _read_plain(data: bytes) -> list[ChunkId]:
    """The chunks of a document that holds nothing else, in a tenth of the time; none if it is not just that."""
    if len(data) > xml.DOCUMENT_LIMIT or not data.startswith(_HEAD) or not data.endswith(_TAIL):
        return []
    body = data[len(_HEAD) : -len(_TAIL)]
    if not _CHUNKS(body):
        return []
    return [ChunkId(bytes.fromhex(body[at : at + 64].decode())) for at in range(7, len(body), _LINE)]


def define_chunk_list(data: bytes, *, name: str) -> list[ChunkId] | list[ListShard]:
    """The same as `read_chunk_list`, slowly: the definition of what a chunk list document means."""
    root = xml.parse(data, tag="chunks", namespace=NAMESPACE, name=name)
    prefix = f"{{{NAMESPACE}}}"
    chunks: list[ChunkId] = []
    shards: list[ListShard] = []
    try:
        xml.Attributes(root).close()
        for element in root:
            attributes = xml.Attributes(element)
            chunk = parse_id(attributes.required("id"))
            if element.tag == prefix + "c":
                chunks.append(chunk)
            elif element.tag == prefix + "shard":
                shard = ListShard(chunk, attributes.number("chunks"), attributes.number("size"))
                if not shard.chunks or not shard.size:
                    raise xml.XmlError("a shard stands for nothing")
                shards.append(shard)
            else:
                raise xml.XmlError(f"unknown element {element.tag}")
            attributes.close()
            xml.check_leaf(element)
        if bool(chunks) == bool(shards):
            raise xml.XmlError("a chunk list holds chunks or shards")
    except ValueError as error:
        raise CorruptObjectError(name, str(error)) from error
    return chunks or shards
