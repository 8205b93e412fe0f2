"""Reads an archive into a store as a snapshot: a bundle, or a snapfile of Snap (docs/bundle.md).

Nothing of an archive is believed, and nothing is written but to the store and to a temporary file that bounds memory.
Whatever is wrong ends the import with RequestError and leaves no snapshot.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, pairwise

from snapstore.errors import CancelledError, CorruptObjectError, RequestError, StoreError
from snapstore.flow import Cancellation
from snapstore.format.expansion import Expansion, ExpansionError
from snapstore.format.snapshot import NAMESPACE, read_final, write_snapshot
from snapstore.format.tarentry import entry_of
from snapstore.format.tarreader import TarReader
from snapstore.format.tarstream import DIRECTORY, FILE, HARD_LINK, Member, TarError
from snapstore.format.tree import check_name
from snapstore.format.wholescope import START, begins_whole, read_whole
from snapstore.format.xml import DECLARATION, DOCUMENT_LIMIT, XmlError
from snapstore.model import ChunkId, Entry, Kind, Root, SessionId, Snapshot, Totals
from snapstore.ops.bundle import CHUNKS, RECORD, SOCKETS, TREE
from snapstore.ops.ingest import Ingest
from snapstore.ops.progress import Progress
from snapstore.ops.recorder import Recorder
from snapstore.ops.scopes import BY_NAME
from snapstore.ops.snapfile import ITEMS, LIST_LIMIT, read_list, rows_of
from snapstore.ops.snapshot import LocalState, open_lane
from snapstore.ops.spool import SPOOL_LIMIT, Counts, Key, Spool, SpoolError, key_of, shown_key
from snapstore.store.repository import Store
from snapstore.store.session import WriteOptions
from snapstore.system.schema import SCOPES
from snapstore.version import VERSION

TAG = "imported"
TOOL = f"snapstore {VERSION}"
ENTRY_LIMIT = 10_000_000
RATIO_LIMIT = 200
_LABEL_LIMIT = 200
_DAY = 86_400_000_000_000
_SIZE_LIMIT = (1 << 63) - 1
_UNKNOWN_LIMIT = 20
_TOP = b"root"
_DOCUMENTS = {scope.name for scope in SCOPES} | {RECORD} | set(ITEMS)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """How to import. `name` and `tags` come on top of what the archive says.

    `ratio` is how many bytes may come out of one compressed byte, 0 for any; `entries` and `spool` bound the number of
    members and the bytes of the temporary file.
    """

    name: str = ""
    tags: tuple[str, ...] = ()
    ratio: int = RATIO_LIMIT
    entries: int = ENTRY_LIMIT
    spool: int = SPOOL_LIMIT


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What came of it. `source` is "bundle" or "snapfile"; `verified` that its trees have the ids that it states.

    `damaged` is what could not be read of the store and was done without.
    """

    snapshot: Snapshot
    source: str
    verified: bool
    warnings: int
    seconds: float
    damaged: tuple[StoreError, ...] = ()


def import_archive(
    store: Store,
    read: Callable[[int], bytes],
    *,
    options: ImportOptions,
    local: LocalState,
    progress: Progress,
    cancellation: Cancellation,
) -> Imported:
    """The snapshot that an archive has become, committed and durable.

    `read` is given a number of bytes and gives as many or fewer, none at the end. RequestError where the archive is
    not what it should be, StoreError where the store fails, CancelledError when stopped: then there is no snapshot.
    """
    with open_lane(store, local) as lane, Spool(limit=options.spool) as spool:
        recorder = Recorder(store, lane, tool=TOOL, options=WriteOptions())
        try:
            run = _Import(store, recorder, spool, options=options, progress=progress, cancellation=cancellation)
            return run.finish(run.record(read))
        except CancelledError:
            recorder.abort()
            raise CancelledError("stopped; no snapshot was made") from None
        except (TarError, ExpansionError, XmlError, SpoolError) as error:
            recorder.abort()
            raise RequestError(f"the archive cannot be imported{run.where()}: {error}") from error
        except BaseException:
            recorder.abort()
            raise


class _Import:
    """One run of an import."""

    def __init__(
        self,
        store: Store,
        recorder: Recorder,
        spool: Spool,
        *,
        options: ImportOptions,
        progress: Progress,
        cancellation: Cancellation,
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._spool = spool
        self._options = options
        self._progress = progress
        self._cancellation = cancellation
        self._began = time.monotonic()
        self._started = time.time_ns()
        self._warnings = 0
        self._at: bytes | None = None
        self._members = 0
        self._unknown: set[bytes] = set()
        self._scopes: dict[str, ChunkId] = {}
        self._lists: dict[str, list[str]] = {}
        self._bundle: Snapshot | None = None
        self._parameters: tuple[int, ...] = ()
        self._damaged = recorder.view.damaged
        self._ingest = Ingest(
            recorder, store.chunker(), progress=progress, cancellation=cancellation,
            tick=lambda: recorder.tick(lambda: replace(self._draft(()), scopes=())),
        )  # fmt: skip
        self._source = ""
        self._verified = False
        progress.phase("import")

    def where(self) -> str:
        """At which member something went wrong, for a message."""
        return "" if self._at is None else f", at {shown_key(self._at)}"

    def _warn(self, path: bytes, reason: str) -> None:
        self._warnings += 1
        self._progress.warn(path, reason)

    # -- the members --------------------------------------------------------------------------------------------------

    def record(self, read: Callable[[int], bytes]) -> Snapshot:
        """The record of the snapshot to be; everything that it names is in the session."""
        stream = Expansion(read, ratio=self._options.ratio)
        tar = TarReader(stream.read)
        for member in tar:
            self._cancellation.check()
            self._at = member.path
            self._members += 1
            if self._members > self._options.entries:
                raise TarError(f"it holds more than {self._options.entries:,} members")
            self._progress.at(member.path)
            self._member(tar, member)
        self._at = None
        return self._of_bundle(self._bundle) if self._bundle is not None else self._of_snapfile()

    def _member(self, tar: TarReader, member: Member) -> None:
        parts = _parts(member.path)
        name = parts[0].removesuffix(b".xml").decode("ascii", "replace") if len(parts) == 1 else ""
        start = b""
        if name in _DOCUMENTS and parts[0].endswith(b".xml") and member.type == FILE and not member.holes:
            start = _read_up_to(tar.read, START)
            if self._document(tar, member, name, start):
                return
        key = key_of(parts)
        if not parts and member.type != DIRECTORY:
            raise TarError("its top is no directory")
        if member.type == HARD_LINK:
            self._spool.add_link(key, key_of(_parts(member.link)))
            return
        found = entry_of(member, parts[-1] if parts else _TOP)
        entry = found.entry
        for keyword in found.unknown:
            self._say_unknown(keyword)
        if entry.kind is Kind.SOCKET:
            if parts[0] != SOCKETS or len(parts) == 1:
                raise TarError("a socket does not lie where sockets do")
            key = key_of([TREE, *parts[1:]])
        if entry.kind is Kind.FILE and member.data_size:
            entry = self._with_content(entry, _joined(start, tar.read))
        self._spool.add(key, entry, links=found.links)
        self._progress.advance(files=entry.kind is Kind.FILE)

    def _say_unknown(self, keyword: bytes) -> None:
        if keyword not in self._unknown and len(self._unknown) < _UNKNOWN_LIMIT:
            self._unknown.add(keyword)
            shown = keyword[:60].decode("utf-8", "backslashreplace")
            self._warn(b"", f"what the archive says under {shown} is not known, and left out")

    def _with_content(self, entry: Entry, read: Callable[[int], bytes]) -> Entry:
        def read_into(buffer: memoryview) -> int:
            piece = read(len(buffer))
            buffer[: len(piece)] = piece
            return len(piece)

        chunks, chunk_list = self._ingest.stream(read_into)
        return replace(entry, chunks=chunks, chunk_list=chunk_list)

    # -- the documents ------------------------------------------------------------------------------------------------

    def _document(self, tar: TarReader, member: Member, name: str, start: bytes) -> bool:
        """Whether the file is one of the archive's own documents; it has been read then."""
        if name == RECORD:
            if not start.startswith(b'%b<snapshot xmlns="%b"' % (DECLARATION, NAMESPACE.encode())):
                return False
            self._read_record(_whole(start, tar.read, member.size, DOCUMENT_LIMIT), member)
            return True
        scope = BY_NAME.get(name)
        if scope is not None and begins_whole(name, start):
            self._once(name)
            rows = scope.read_all(read_whole(name, _joined(start, tar.read)))
            try:
                self._scopes[name] = scope.write(_checked(rows, self._cancellation), self._recorder.put_manifest)
            except ValueError as error:
                raise TarError(f"it is not in the form of its schema: {error}") from error
            return True
        if name not in ITEMS:
            return False
        self._once(name)
        try:
            self._lists[name] = read_list(name, _whole(start, tar.read, member.size, LIST_LIMIT))
        except ValueError as error:
            raise TarError(f"its list of {name} cannot be read: {error}") from error
        return True

    def _once(self, name: str) -> None:
        if name in self._scopes or name in self._lists:
            raise TarError("it is there twice")

    def _read_record(self, data: bytes, member: Member) -> None:
        if self._bundle is not None:
            raise TarError("it is there twice")
        try:
            record = read_final(data, name="snapshot.xml")
        except CorruptObjectError as error:
            raise TarError(error.reason) from error
        if record is None or record.kind != "snapshot" or write_snapshot(record) != data:
            raise TarError("it is not the record of a snapshot")
        self._bundle = record
        parameters = dict(member.records).get(CHUNKS, b"").split()
        self._parameters = tuple(int(each) for each in parameters if each.isdigit() and len(each) < 20)

    # -- what it becomes ----------------------------------------------------------------------------------------------

    def _of_bundle(self, record: Snapshot) -> Snapshot:
        self._source = "bundle"
        if self._lists:
            raise TarError(f"{min(self._lists)}.xml is not in the form of a bundle")
        counts = Counts()
        # The first is the top itself, which whoever packs a bundle again may have put in.
        allowed = {b"", TREE} if record.roots else {b""}
        for first, key in self._spool.tops():
            if first == SOCKETS and first not in allowed:
                self._warn(first, "sockets that are not marked as such are left out")
            elif first not in allowed:
                raise SpoolError(f"{shown_key(key)} is nothing that a bundle holds")
        self._check_scopes(record)
        paths = sorted(root.path.rstrip(b"/") + b"/" for root in record.roots)
        if any(inner.startswith(outer) for outer, inner in pairwise(paths)):
            raise TarError("its roots lie inside each other")
        roots = []
        above: set[Key] = set()
        placed = 0
        for root in record.roots:
            parts = [TREE, *_parts(root.path.lstrip(b"/"))]
            key = key_of(parts)
            above.update(key_of(parts[:end]) for end in range(1, len(parts)))
            placed += self._spool.below(key)
            entry = self._build(key, counts)
            roots.append(Root(path=root.path, entry=replace(entry, name=root.entry.name)))
        # Whoever packs a bundle again has the directories above the roots as well.
        placed += sum(self._spool.kind(key) == Kind.DIRECTORY for key in above)
        if placed != self._spool.below(TREE):
            raise SpoolError("it holds files outside of the paths that it names")
        self._verify(record, roots)
        return self._described(record, tuple(roots), counts)

    def _check_scopes(self, record: Snapshot) -> None:
        stated = dict(record.scopes)
        for name, chunk in stated.items():
            if name not in BY_NAME:
                self._warn(b"", f"the record of {name} is of a kind that this release does not know, and left out")
            elif self._scopes.get(name) != chunk:
                raise TarError(f"{name}.xml is not there, or not the one that the snapshot had")
        if not self._scopes.keys() <= stated.keys():
            raise TarError("it holds records that the snapshot did not have")

    def _build(self, key: Key, counts: Counts, *, missing: Entry | None = None) -> Entry:
        entry = self._spool.build(
            key, put=self._recorder.put_manifest, counts=counts, missing=missing, check=self._cancellation.check
        )
        if counts.size > _SIZE_LIMIT:
            raise SpoolError("its files are larger together than any storage")
        return entry

    def _verify(self, record: Snapshot, roots: list[Root]) -> None:
        """Where this store cuts contents as the other did, the same files have the same ids."""
        mine = self._store.config.parameters
        if self._parameters == (mine.minimum, mine.average, mine.maximum):
            if tuple(roots) != record.roots:
                raise TarError("its files are not those that the snapshot had: it was damaged or changed")
            self._verified = True

    def _described(self, record: Snapshot, roots: tuple[Root, ...], counts: Counts) -> Snapshot:
        """The record, with what it says of itself where that is fit to be repeated."""
        tags = [self._fit(tag, "tag") for tag in record.tags]
        started = record.started
        if not 0 <= started <= self._started + _DAY:
            self._warn(b"", "the archive says that it was begun at an impossible time; the time of the import counts")
            started = self._started
        return replace(
            self._draft(roots),
            name=self._options.name or self._fit(record.name, "name"),
            tags=self._tags(tag for tag in tags if tag),
            host=self._fit(record.host, "host"),
            os_release=self._fit(record.os_release, "operating system"),
            user=self._fit(record.user, "user"),
            tool=f"{TOOL}, imported {record.id[:8]} of {self._fit(record.tool, 'tool') or 'an unknown tool'}",
            started=started,
            ended=started,
            excludes=record.excludes,
            totals=self._totals(counts, record.totals.warnings),
        )

    def _fit(self, text: str, what: str) -> str:
        if len(text) <= _LABEL_LIMIT and text.isprintable() and text == text.strip():
            return text
        self._warn(b"", f"the {what} that the archive states is not fit to be one, and left out")
        return ""

    def _tags(self, tags: Iterator[str]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(chain(tags, self._options.tags, (TAG,))))

    def _totals(self, counts: Counts, warnings: int = 0) -> Totals:
        return Totals(
            files=counts.files, directories=counts.directories, others=counts.others, size=counts.size,
            warnings=min(warnings, _SIZE_LIMIT) + self._warnings,
        )  # fmt: skip

    def _of_snapfile(self) -> Snapshot:
        self._source = "snapfile"
        if not self._lists:
            raise TarError("it is neither a bundle nor a snapfile: it holds none of their documents")
        if self._scopes:
            raise TarError("it is a bundle that lacks the record of its snapshot, snapshot.xml")
        for name, items in self._lists.items():
            found = rows_of(name, items)
            if found is not None:
                scope, rows = found
                self._scopes[name] = scope.write(rows, self._recorder.put_manifest)
        lost = sum(
            self._spool.kind(key_of(_parts(_listed_path(each)))) is None for each in self._lists.get("files", ())
        )
        if lost:
            self._warn(b"", f"{lost} of the files that the archive lists are not in it")
        counts = Counts()
        made = Entry(name=_TOP, kind=Kind.DIRECTORY, mode=0o755, uid=0, gid=0, user="root", group="root")
        entry = self._build(b"", counts, missing=made)
        if counts.made:
            self._warn(b"", f"{counts.made} directories are not in the archive, and made as root's, with mode 0755")
        return replace(
            self._draft((Root(path=b"/", entry=replace(entry, name=_TOP)),)),
            name=self._options.name,
            tags=self._tags(iter(())),
            tool=f"{TOOL}, imported a snapfile",
            totals=self._totals(counts),
        )

    def _draft(self, roots: tuple[Root, ...]) -> Snapshot:
        return Snapshot(
            session=SessionId(bytes(16)),
            tool=TOOL,
            started=self._started,
            ended=self._started,
            writer=bytes(16),
            roots=roots,
            scopes=tuple((scope.name, self._scopes[scope.name]) for scope in SCOPES if scope.name in self._scopes),
        )

    def finish(self, record: Snapshot) -> Imported:
        """Makes the snapshot."""
        commit = self._recorder.commit(record)
        return Imported(
            snapshot=commit.record, source=self._source, verified=self._verified, warnings=self._warnings,
            seconds=time.monotonic() - self._began, damaged=self._damaged,
        )  # fmt: skip


def _parts(path: bytes) -> list[bytes]:
    """The components of a path in an archive, none for its top; TarError for one that leads elsewhere."""
    while path.startswith(b"./"):
        path = path[2:]
    if path in (b"", b"."):
        return []
    parts = path.split(b"/")
    try:
        for part in parts:
            check_name(part)
    except ValueError as error:
        if path.startswith(b"/"):
            raise TarError("its path is absolute") from error
        raise TarError(str(error)) from error
    return parts


def _listed_path(text: str) -> bytes:
    """A path of Snap's list as it is in the archive."""
    return text.encode("utf-8", "surrogateescape").lstrip(b"/")


def _read_up_to(read: Callable[[int], bytes], count: int) -> bytes:
    data = b""
    while len(data) < count and (piece := read(count - len(data))):
        data += piece
    return data


def _joined(start: bytes, read: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """Reads what has been read already, and then on."""
    held = start

    def read_on(count: int) -> bytes:
        nonlocal held
        if held:
            piece, held = held[:count], held[count:]
            return piece
        return read(count)

    return read_on


def _whole(start: bytes, read: Callable[[int], bytes], size: int, limit: int) -> bytes:
    if size > limit:
        raise TarError(f"it has {size:,} bytes, more than are allowed")
    parts = [start]
    while piece := read(1 << 20):
        parts.append(piece)
    return b"".join(parts)


def _checked(rows: Iterator[object], cancellation: Cancellation) -> Iterator[object]:
    for row in rows:
        cancellation.check()
        yield row
