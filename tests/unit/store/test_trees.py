from __future__ import annotations

from snapstore.model import ChunkId, Entry
from snapstore.store import trees
from tests.stores import Node, Writer, file, memory_store


def test_the_documents_of_a_tree_are_those_that_hold_it() -> None:
    store = memory_store()
    crowd: dict[bytes, Node] = {b"%05d" % number: file() for number in range(2000)}
    snapshot = Writer(store).commit({b"/small": {b"x": b""}, b"/crowd": crowd})
    reader = store.view().reader
    [many, one] = [root.entry.tree for root in snapshot.roots]
    assert one is not None
    assert many is not None
    assert list(trees.tree_documents(reader, one)) == [one]
    assert not trees.is_sharded(reader, one)
    assert trees.is_sharded(reader, many)
    documents = list(trees.tree_documents(reader, many))
    assert documents[0] == many
    assert len(documents) == len(set(documents)) > 3
    held: list[Entry] = []
    for document in documents[1:]:
        held += [item for item in reader.tree(ChunkId(document)) if isinstance(item, Entry)]
    assert held == list(trees.entries(reader, many))
    assert [entry.name for entry in held] == sorted(crowd)
