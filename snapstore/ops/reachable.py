"""Goes through everything that snapshots reach, each tree and chunk list once, and says what cannot be had."""

from __future__ import annotations

import re
from collections.abc import Mapping

from snapstore.errors import CorruptObjectError, MissingObjectError, StoreError
from snapstore.flow import Cancellation
from snapstore.format.chunklist import ChunkListWriter
from snapstore.format.ids import chunk_id
from snapstore.format.scope import ScopeWriter, element_lines, read_scope, shard_ids
from snapstore.format.snapshot import final_name
from snapstore.format.tree import TreeWriter, entry_element
from snapstore.model import ChunkId, Entry, Snapshot
from snapstore.ops.browse import join
from snapstore.ops.findings import Findings
from snapstore.ops.progress import Progress
from snapstore.store import trees
from snapstore.store.catalog import Found
from snapstore.store.reader import BlockKey, Reader
from snapstore.store.verify import reason_of

_PACK = re.compile(r"packs/\S+").search
_BROKEN = -1


class Reachability:
    """Checks snapshots one after the other. Memory: about 120 bytes for each distinct tree and chunk list.

    `lost_packs` and `lost_blocks` are known to be damaged, with findings of their own. `substitutes` are the names of
    indexes that were found in the place of lost objects, and the names of these: what is found there is not lost, but
    without this check nobody would find it.
    """

    def __init__(
        self,
        reader: Reader,
        findings: Findings,
        *,
        lost_packs: set[str],
        lost_blocks: set[BlockKey],
        substitutes: Mapping[str, str],
        progress: Progress,
        cancellation: Cancellation,
    ) -> None:
        self._reader = reader
        self._findings = findings
        self._lost_packs = lost_packs
        self._lost_blocks = lost_blocks
        self._substitutes = substitutes
        self._any_lost = bool(lost_packs) or bool(lost_blocks) or bool(substitutes)
        self._progress = progress
        self._cancellation = cancellation
        self._trees: set[ChunkId] = set()
        self._lists: dict[ChunkId, int] = {}

    def snapshot(self, snapshot: Snapshot) -> None:
        """Nothing; what the snapshot lacks is among the findings."""
        for name, record in snapshot.scopes:
            self._scope(snapshot, name, record)
        for root in snapshot.roots:
            self._file(snapshot, root.path, root.entry)
            self._below(snapshot, join(root.path, b""), root.entry.tree)

    def _scope(self, snapshot: Snapshot, name: str, record: ChunkId) -> None:
        """The record of a scope, of any: what its elements mean belongs to whoever owns the scope."""
        writer = ScopeWriter(name, chunk_id)
        try:
            for document in trees.scope_documents(self._reader, record):
                if self._any_lost:
                    self._charge(self._reader.catalog.get(document), snapshot, name.encode())
                data = self._reader.document(document)
                read_scope(data, scope=name, name=f"record {document.hex()} of {name}")
                if not shard_ids(data):
                    for element in element_lines(data):
                        writer.add(element, element)
            if writer.finish() != record:
                raise CorruptObjectError(f"record {record.hex()} of {name}", "it is not in canonical form")
        except StoreError as error:
            self._fault(error, snapshot, name.encode())

    def _below(self, snapshot: Snapshot, prefix: bytes, tree: ChunkId | None) -> None:
        if tree is None or tree in self._trees:
            return
        stack = [(prefix, tree)]
        self._trees.add(tree)
        while stack:
            self._cancellation.check()
            here, tree = stack.pop()
            self._progress.at(here)
            for name, inner in self._directory(snapshot, here, tree):
                if inner not in self._trees:
                    self._trees.add(inner)
                    stack.append((here + name + b"/", inner))

    def _directory(self, snapshot: Snapshot, prefix: bytes, tree: ChunkId) -> list[tuple[bytes, ChunkId]]:
        """(name, tree) of the subdirectories, after everything else in the directory has been checked."""
        name = f"tree {tree.hex()}"
        below: list[tuple[bytes, ChunkId]] = []
        # Written again from what was read, by the rules that cut it into shards: the one canonical form has this id.
        writer = TreeWriter(chunk_id)
        try:
            if self._any_lost:
                self._charge(self._reader.catalog.get(tree), snapshot, prefix)
            for entry in trees.entries(self._reader, tree):
                writer.add(entry.name, entry_element(entry))
                if entry.tree is not None:
                    below.append((entry.name, entry.tree))
                elif entry.size:
                    self._file(snapshot, prefix + entry.name, entry)
            if writer.finish() != tree:
                raise CorruptObjectError(name, "it is not in canonical form")
        except StoreError as error:
            self._fault(error, snapshot, prefix)
        self._progress.advance(files=1)
        return below

    # -- files --------------------------------------------------------------------------------------------------------

    def _file(self, snapshot: Snapshot, path: bytes, entry: Entry) -> None:
        if entry.unread or not entry.size:
            return
        if entry.chunk_list is not None:
            held = self._list(snapshot, path, entry.chunk_list)
        else:
            held = 0
            for chunk in entry.chunks:
                length = self._chunk(snapshot, path, chunk)
                held = held + length if length >= 0 and held >= 0 else _BROKEN
        stated = entry.size - sum(length for _, length in entry.holes)
        if held not in (_BROKEN, stated):
            name = f"{path.decode('utf-8', 'backslashreplace')} of snapshot {snapshot.id}"
            self._findings.error(name, f"its chunks hold {held} bytes where its size says {stated}")

    def _list(self, snapshot: Snapshot, path: bytes, chunk_list: ChunkId) -> int:
        """How many bytes the chunks of a list hold; _BROKEN if that cannot be said."""
        known = self._lists.get(chunk_list)
        if known is not None:
            return known
        held = 0
        writer = ChunkListWriter(chunk_id)
        try:
            for chunk in trees.listed_chunks(self._reader, chunk_list):
                length = self._chunk(snapshot, path, chunk)
                held = held + length if length >= 0 and held >= 0 else _BROKEN
                writer.take(chunk, length)
            if held >= 0 and writer.finish() != chunk_list:
                raise CorruptObjectError(f"chunk list {chunk_list.hex()}", "it is not in canonical form")
        except StoreError as error:
            self._fault(error, snapshot, path)
            held = _BROKEN
        self._lists[chunk_list] = held
        return held

    def _chunk(self, snapshot: Snapshot, path: bytes, chunk: ChunkId) -> int:
        """The length of a chunk, as the index has it; _BROKEN, with a finding, if it is nowhere."""
        try:
            found = self._reader.catalog.get(chunk)
            if self._any_lost:
                self._charge(found, snapshot, path)
        except StoreError as error:
            self._fault(error, snapshot, path)
            return _BROKEN
        return found.location.length

    def _charge(self, found: Found, snapshot: Snapshot, path: bytes) -> None:
        """Notes that the path needs what is lost, if the chunk that was found for it is in there."""
        block = found.block()
        pack = found.source.packs[block.pack].name
        if pack in self._lost_packs or BlockKey(pack, block.slot) in self._lost_blocks:
            self._findings.needed(pack, snapshot, path)
        lost = self._substitutes.get(found.source.name)
        if lost is not None:
            self._findings.needed(lost, snapshot, path)

    def _fault(self, error: StoreError, snapshot: Snapshot, path: bytes) -> None:
        """Records what went wrong with the object that is to blame for it."""
        name = error.name if isinstance(error, CorruptObjectError | MissingObjectError) else ""
        match = _PACK(name)
        if match is not None:
            name = match[0]
        elif isinstance(error, MissingObjectError) and self._substitutes:
            # It was in the lost index, and in a pack that is lost as well.
            self._findings.needed(next(iter(self._substitutes.values())), snapshot, path)
            return
        name = name or final_name(snapshot.session)
        if name not in self._lost_packs:
            self._findings.error(name, reason_of(error, name))
        self._findings.needed(name, snapshot, path)
