"""Writes a snapshot as one tar archive that other programs can read (docs/bundle.md).

At its top are the records of the scopes, whole, and the commit record; below `root/` is everything that the snapshot
holds. The same snapshot gives the same bytes. Memory: one piece of a file, one manifest document a level, and a
bounded number of files with several names.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from snapstore.errors import CorruptObjectError, RequestError, UnknownPathError
from snapstore.flow import Cancellation
from snapstore.format.chunker import ChunkerParameters
from snapstore.format.scope import ScopeShard, read_scope
from snapstore.format.snapshot import write_snapshot
from snapstore.format.tarentry import OURS, member_of
from snapstore.format.tarstream import HARD_LINK, Member, TarWriter
from snapstore.format.wholescope import whole_document
from snapstore.model import Buffer, Entry, Kind, Root, Snapshot
from snapstore.ops.browse import find_path, walk
from snapstore.ops.progress import Progress
from snapstore.ops.scopes import BY_NAME, scope_rows
from snapstore.store import trees
from snapstore.store.reader import Reader
from snapstore.system.record import Row, Scope, Type

TREE = b"root"
"""What the snapshot's files lie below in a bundle."""
SOCKETS = b"sockets"
"""What stands for sockets, which tar cannot hold, lies below this: an empty file each."""
RECORD = "snapshot"
CHUNKS = OURS + b"chunks"
"""A record of the commit record's member: the bounds of chunk lengths of the store that the snapshot was in."""
_FIRST_NAMES = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was written: entries by kind, bytes of the files, bytes of the archive, and how many warnings there were."""

    files: int
    directories: int
    others: int
    size: int
    written: int
    warnings: int


def scope_document(reader: Reader, snapshot: Snapshot, scope: Scope, *, reveal: bool = True) -> Iterator[bytes]:
    """The pieces of a scope's record as one whole document; secrets are left out of it unless they are to be revealed.

    RequestError, when called and not later, if the snapshot has no such record.
    """
    rows = scope_rows(reader, snapshot, scope)
    if not reveal:
        rows = (without_secrets(scope, row) for row in rows)
    return whole_document(scope.name, (scope.element(row) for row in rows))


def without_secrets(scope: Scope, row: Row) -> Row:
    """The row with nothing in its secret fields."""
    secrets = [field for field in scope.table_of(row).fields if field.secret]
    if not secrets:
        return row
    empty = {field.attribute: b"" if field.type is Type.RAW else "" for field in secrets}
    if isinstance(row, tuple):
        named: Row = row
        return named._replace(**empty)
    return replace(row, **empty)


def row_count(reader: Reader, snapshot: Snapshot, scope: Scope) -> int:
    """How many rows a snapshot's record of a scope has, as it states; RequestError if it has none."""
    chunk = dict(snapshot.scopes).get(scope.name)
    if chunk is None:
        raise RequestError(f"snapshot {snapshot.id[:8]} has no record of {scope.name}")
    items = read_scope(reader.document(chunk), scope=scope.name, name=f"record {chunk.hex()} of {scope.name}")
    return sum(item.elements if isinstance(item, ScopeShard) else 1 for item in items)


def export_bundle(
    reader: Reader,
    snapshot: Snapshot,
    write: Callable[[Buffer], object],
    *,
    parameters: ChunkerParameters,
    progress: Progress,
    cancellation: Cancellation,
) -> Exported:
    """What went to `write`: the snapshot as a bundle. `parameters` are those of its store.

    StoreError where the store cannot give every byte; what has been written then is no whole archive.
    """
    export = Export(reader, snapshot, write, progress=progress, cancellation=cancellation)
    seconds = max(snapshot.started // 1_000_000_000, 0)
    for name, _ in snapshot.scopes:
        scope = BY_NAME.get(name)
        if scope is None:
            export.warn(b"", f"the record of {name} is of a kind that this release does not know, and left out")
            continue
        size = 0
        for piece in scope_document(reader, snapshot, scope):
            cancellation.check()
            size += len(piece)
        export.document(f"{name}.xml", scope_document(reader, snapshot, scope), size=size, seconds=seconds)
    record = write_snapshot(snapshot)
    bounds = b"%d %d %d" % (parameters.minimum, parameters.average, parameters.maximum)
    export.document(f"{RECORD}.xml", iter([record]), size=len(record), seconds=seconds, records=((CHUNKS, bounds),))
    return export.tree()


class Export:
    """One run of an export. What would be at a `reserved` place of the archive is left out."""

    def __init__(
        self,
        reader: Reader,
        snapshot: Snapshot,
        write: Callable[[Buffer], object],
        *,
        progress: Progress,
        cancellation: Cancellation,
        prefix: bytes = TREE,
        reserved: frozenset[bytes] = frozenset(),
    ) -> None:
        self._reader = reader
        self._snapshot = snapshot
        self._progress = progress
        self._cancellation = cancellation
        self._prefix = prefix
        self._reserved = reserved
        self._tar = TarWriter(write)
        self._warnings = 0
        self._sockets = False
        self._first: OrderedDict[bytes, Entry] = OrderedDict()
        self._files = self._directories = self._others = self._size = 0
        totals = snapshot.totals
        progress.phase("export", files=totals.files, size=totals.size)

    def warn(self, path: bytes, reason: str) -> None:
        """Something cannot be in the archive as it is in the snapshot."""
        self._warnings += 1
        self._progress.warn(path, reason)

    def document(
        self, name: str, pieces: Iterator[bytes], *, size: int, seconds: int,
        records: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:  # fmt: skip
        """A file at the top of the archive."""
        self._tar.member(
            Member(path=name.encode(), size=size, mtime=(seconds, 0), records=records, user=b"root", group=b"root")
        )
        for piece in pieces:
            self._cancellation.check()
            self._tar.data(piece)

    def tree(self) -> Exported:
        """What has been written; the contents come last."""
        for root, path, entry in self._walk():
            self._progress.at(path)
            self._entry(root, path, entry)
        if self._sockets:
            # Behind everything: GNU tar takes a directory for finished as soon as it sees a path outside of it.
            for _, path, entry in self._walk():
                if entry.kind is Kind.SOCKET:
                    self._tar.member(member_of(entry, self._place(path, below=SOCKETS)))
        self._tar.close()
        return self.result()

    def _walk(self) -> Iterator[tuple[Root, bytes, Entry]]:
        roots = {root.path: root for root in self._snapshot.roots}
        root: Root | None = None
        for path, entry in walk(self._reader, self._snapshot) if roots else ():
            self._cancellation.check()
            root = roots.get(path, root)
            if root is not None:
                yield root, path, entry

    def result(self) -> Exported:
        """What has been written."""
        return Exported(
            files=self._files, directories=self._directories, others=self._others, size=self._size,
            written=self._tar.size, warnings=self._warnings,
        )  # fmt: skip

    def _place(self, path: bytes, *, below: bytes | None = None) -> bytes:
        prefix = self._prefix if below is None else below
        return (prefix + path.rstrip(b"/")).lstrip(b"/")

    def _entry(self, root: Root, path: bytes, entry: Entry) -> None:
        if entry.kind is Kind.SOCKET:
            self._socket(path)
            return
        place = self._place(path)
        if not place or place in self._reserved:
            if place:
                self.warn(path, "its name is that of a list in the archive, and it is left out")
            else:
                self._directories += 1
            return
        member = member_of(entry, place)
        first = self._first_name(root, path, entry)
        if first:
            member = replace(member, type=HARD_LINK, link=self._place(first), size=0, holes=(), rdev=(0, 0), records=())
        self._tar.member(member)
        if entry.unread:
            self.warn(path, f"it could not be read when the snapshot was taken ({entry.unread}); it is empty here")
        if entry.kind is Kind.FILE:
            self._files += 1
            self._size += entry.size
            if not first:
                self._contents(entry, member.data_size)
            self._progress.advance(files=1)
        elif entry.kind is Kind.DIRECTORY:
            self._directories += 1
        else:
            self._others += 1

    def _socket(self, path: bytes) -> None:
        if self._prefix:
            self._others += 1
            self._sockets = True
        else:
            self.warn(path, "it is a socket, which the archive cannot hold, and left out")

    def _contents(self, entry: Entry, size: int) -> None:
        """The chunks of a file, which hold the bytes between its holes."""
        for chunk in trees.chunks(self._reader, entry):
            self._cancellation.check()
            piece = self._reader.read(chunk)
            size -= len(piece)
            if size < 0:
                break
            self._tar.data(piece)
            self._progress.advance(size=len(piece))
        if size:
            raise CorruptObjectError(f"file {entry.name!r}", "its chunks do not hold as many bytes as its size says")

    def _first_name(self, root: Root, path: bytes, entry: Entry) -> bytes:
        """The path of a file's first name, if a hard link to it is all that there is to say; else nothing."""
        if not entry.hardlink:
            if entry.links > 1 and entry.kind is not Kind.DIRECTORY:
                self._remember(path, entry)
            return b""
        first = root.path.rstrip(b"/") + b"/" + entry.hardlink
        known = self._first.get(first)
        if known is None:
            known = self._look_up(first, path)
            self._remember(first, known)
        if first.split(b"/") >= path.split(b"/"):
            raise CorruptObjectError(f"tree of {root.path!r}", f"the first name of {path!r} does not come before it")
        same = replace(known, name=entry.name, hardlink=entry.hardlink) == entry
        return first if same and not known.hardlink else b""

    def _look_up(self, first: bytes, path: bytes) -> Entry:
        try:
            return find_path(self._reader, self._snapshot, first)[1]
        except UnknownPathError as error:
            raise CorruptObjectError(f"entry of {path!r}", f"its first name {first!r} is not there") from error

    def _remember(self, path: bytes, entry: Entry) -> None:
        self._first[path] = entry
        if len(self._first) > _FIRST_NAMES:
            self._first.popitem(last=False)
