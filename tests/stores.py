"""Small stores made of plain dictionaries, without a file system, so that a test can say all of what it stores."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import replace

from snapstore.backends import DeleteBackend, MemoryBackend
from snapstore.flow import BufferPool
from snapstore.format.chunker import ChunkerParameters
from snapstore.format.chunklist import INLINE_LIMIT, ChunkListWriter
from snapstore.format.ids import chunk_id
from snapstore.format.tree import TreeWriter, entry_element
from snapstore.model import ChunkId, Entry, Kind, Root, Snapshot, Totals
from snapstore.store.repository import Store, create_store, open_store
from snapstore.store.session import WriteOptions, WriteSession

SMALL_CHUNKS = ChunkerParameters(minimum=64, average=256, maximum=1024)
TIME = 1_700_000_000

Node = bytes | Entry | Mapping[bytes, "Node"]
"""The content of a file, an entry as it is, or the names in a directory."""


def memory_store(name: str = "", *, parameters: ChunkerParameters = SMALL_CHUNKS) -> Store:
    """A new store in memory, of small chunks."""
    backend = MemoryBackend(name)
    create_store(backend, parameters=parameters)
    return open_store(backend)


def objects(backend: DeleteBackend) -> dict[str, bytes]:
    """Everything that a backend holds."""
    return {listed.name: backend.get(listed.name) for listed in backend.list("")}


def changed(base: Mapping[str, bytes], name: str, data: bytes | None) -> Store:
    """A store in memory with the same objects but for one that holds `data`, or is gone."""
    rest = {each: held for each, held in base.items() if each != name}
    return open_store(MemoryBackend(objects=rest if data is None else {**rest, name: data}))


def file(content: bytes = b"", *, name: bytes = b"", **more: object) -> Entry:
    """A file whose content is given by `chunks` and `size` in `more`; of content, the size alone."""
    fields: dict[str, object] = {"mode": 0o644, "uid": 0, "gid": 0, "mtime": (TIME, 0), "size": len(content), **more}
    return Entry(name=name, kind=Kind.FILE, **fields)  # type: ignore[arg-type]


def link(target: bytes, *, name: bytes = b"") -> Entry:
    """A symbolic link."""
    return Entry(name=name, kind=Kind.SYMLINK, mode=0o777, uid=0, gid=0, mtime=(TIME, 0), target=target)


class Writer:
    """Commits trees of dictionaries as one writer, whose commits follow each other."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._id = secrets.token_bytes(16)
        self._sequence = 0
        self._previous = b""

    def commit(self, roots: Mapping[bytes, Node], *, kind: str = "snapshot", time: int = TIME) -> Snapshot:
        """The snapshot of these absolute paths; `time` in seconds is when it began."""
        return self.finish(self.begin(), roots, kind=kind, time=time)

    def begin(self) -> WriteSession:
        """An announced session that sees what the store holds now."""
        return self._store.begin(tool="tests", options=WriteOptions(workers=1, pack_target=16 << 10))[0]

    def finish(
        self, session: WriteSession, roots: Mapping[bytes, Node], *, kind: str = "snapshot", time: int = TIME
    ) -> Snapshot:
        """The same as `commit`, for a session that was begun before."""
        made = tuple(
            Root(path=path, entry=self._entry(session, path.rpartition(b"/")[2] or b"root", node))
            for path, node in sorted(roots.items())
        )
        size = sum(root.entry.size for root in made)
        moment = (time + self._sequence) * 10**9
        record = Snapshot(
            session=session.id, kind=kind, started=moment, ended=moment,
            writer=self._id, sequence=self._sequence + 1, previous=self._previous,
            roots=made if kind == "snapshot" else (), totals=Totals(size=size),
        )  # fmt: skip
        commit = session.commit(record)
        self._sequence += 1
        self._previous = commit.digest
        return commit.record

    def _entry(self, session: WriteSession, name: bytes, node: Node) -> Entry:
        if isinstance(node, Entry):
            return replace(node, name=name)
        if isinstance(node, bytes):
            chunks = put_content(self._store, session, node)
            if len(chunks) <= INLINE_LIMIT:
                return file(node, name=name, chunks=chunks)
            writer = ChunkListWriter(session.put_manifest)
            for chunk, length in zip(chunks, _lengths(self._store, node), strict=True):
                writer.take(chunk, length)
            return file(node, name=name, chunk_list=writer.finish())
        tree = TreeWriter(session.put_manifest)
        for each in sorted(node):
            tree.add(each, entry_element(self._entry(session, each, node[each])))
        return Entry(name=name, kind=Kind.DIRECTORY, mode=0o755, uid=0, gid=0, mtime=(TIME, 0), tree=tree.finish())


def put_content(store: Store, session: WriteSession, content: bytes) -> tuple[ChunkId, ...]:
    """The chunks of a content, stored where they are new."""
    if not content:
        return ()
    lease = BufferPool(size=len(content), count=1).lease()
    lease.buffer[:] = content
    chunks = []
    start = 0
    for end in store.chunker().cut(content):
        chunk = chunk_id(content[start:end])
        session.add(chunk, lease, start, end)
        chunks.append(chunk)
        start = end
    session.detach()
    lease.release()
    return tuple(chunks)


def _lengths(store: Store, content: bytes) -> list[int]:
    ends = store.chunker().cut(content)
    return [end - start for start, end in zip([0, *ends[:-1]], ends, strict=True)]
