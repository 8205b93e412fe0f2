"""Walks manifests: the entries of a directory through all its shards, the chunks of a file through its lists."""

from __future__ import annotations

from collections.abc import Iterator

from snapstore.errors import CorruptObjectError
from snapstore.format.chunklist import ListShard
from snapstore.format.scope import shard_ids
from snapstore.format.tree import TreeShard
from snapstore.model import ChunkId, Entry
from snapstore.store.reader import Reader

_LEVELS = 8
"""Shards of shards: 16 runs a level at the very least, so eight levels are more than any store can fill."""


def is_sharded(reader: Reader, tree: ChunkId) -> bool:
    """Whether a tree document lists shards, and not entries."""
    return b"\n<shard " in reader.document(tree)[:200]


def documents(reader: Reader, tree: ChunkId, *, level: int = 0) -> Iterator[bytes]:
    """The documents that hold the entries of a tree, in order, shards resolved."""
    name = f"tree {tree.hex()}"
    if level > _LEVELS:
        raise CorruptObjectError(name, "its shards are nested too deeply")
    data = reader.document(tree)
    if b"\n<shard " not in data[:200]:
        yield data
        return
    for shard in reader.tree(tree):
        if isinstance(shard, TreeShard):
            yield from documents(reader, shard.id, level=level + 1)


def tree_documents(reader: Reader, tree: ChunkId, *, level: int = 0) -> Iterator[ChunkId]:
    """The ids of the documents that make up a tree, its own first."""
    if level > _LEVELS:
        raise CorruptObjectError(f"tree {tree.hex()}", "its shards are nested too deeply")
    yield tree
    if is_sharded(reader, tree):
        for shard in reader.tree(tree):
            if isinstance(shard, TreeShard):
                yield from tree_documents(reader, shard.id, level=level + 1)


def entries(reader: Reader, tree: ChunkId, *, level: int = 0) -> Iterator[Entry]:
    """The entries of a directory in the order of their raw names; one document is in memory at a time.

    Raises CorruptObjectError where the shards do not hold what they state.
    """
    name = f"tree {tree.hex()}"
    if level > _LEVELS:
        raise CorruptObjectError(name, "its shards are nested too deeply")
    for item in reader.tree(tree):
        if isinstance(item, Entry):
            yield item
            continue
        count = 0
        for entry in entries(reader, item.id, level=level + 1):
            if count == 0 and entry.name != item.first:
                raise CorruptObjectError(name, "a shard does not begin with the entry it states")
            count += 1
            yield entry
        if count != item.entries:
            raise CorruptObjectError(name, f"a shard holds {count} entries where {item.entries} were stated")


def chunks(reader: Reader, entry: Entry) -> Iterator[ChunkId]:
    """The chunks of a file, in order."""
    if entry.chunk_list is None:
        yield from entry.chunks
    else:
        yield from listed_chunks(reader, entry.chunk_list)


def listed_chunks(reader: Reader, chunk_list: ChunkId, *, level: int = 0) -> Iterator[ChunkId]:
    """The chunks that a chunk list names, in order, shards resolved."""
    name = f"chunk list {chunk_list.hex()}"
    if level > _LEVELS:
        raise CorruptObjectError(name, "its shards are nested too deeply")
    for item in reader.chunk_list(chunk_list):
        if isinstance(item, ListShard):
            count = 0
            for chunk in listed_chunks(reader, item.id, level=level + 1):
                count += 1
                yield chunk
            if count != item.chunks:
                raise CorruptObjectError(name, f"a shard holds {count} chunks where {item.chunks} were stated")
        else:
            yield item


def list_documents(reader: Reader, chunk_list: ChunkId, *, level: int = 0) -> Iterator[ChunkId]:
    """The ids of the documents that make up a chunk list, its own first."""
    if level > _LEVELS:
        raise CorruptObjectError(f"chunk list {chunk_list.hex()}", "its shards are nested too deeply")
    yield chunk_list
    for item in reader.chunk_list(chunk_list):
        if isinstance(item, ListShard):
            yield from list_documents(reader, item.id, level=level + 1)


def scope_documents(reader: Reader, record: ChunkId, *, level: int = 0) -> Iterator[ChunkId]:
    """The ids of the documents that make up the record of a scope, its own first."""
    if level > _LEVELS:
        raise CorruptObjectError(f"scope record {record.hex()}", "its shards are nested too deeply")
    yield record
    for shard in shard_ids(reader.document(record)):
        yield from scope_documents(reader, shard, level=level + 1)
