"""One run of a snapshot, from its roots to its commit record."""

from __future__ import annotations

import contextlib
import os
import platform
import pwd
import stat
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from blake3 import blake3

from snapstore.errors import CancelledError, RequestError, StoreError
from snapstore.flow import Cancellation
from snapstore.format.codec import DEFAULT_LEVEL
from snapstore.fs.filters import Filter, FilterRules
from snapstore.fs.identity import file_system_identity
from snapstore.fs.metadata import OwnerNames, flags_text, read_extras
from snapstore.fs.statcache import SETTLED_NANOSECONDS, StatCacheWriter, empty_cache, open_cache
from snapstore.kernel import ENTRY
from snapstore.model import ChunkId, Entry, Kind, Root, SessionId, Snapshot, Totals, Warned
from snapstore.ops.elements import Elements
from snapstore.ops.ingest import Ingest
from snapstore.ops.inspected import Inspected
from snapstore.ops.oldtree import OldTree
from snapstore.ops.places import Places, own_places, refuse_inside
from snapstore.ops.progress import Progress
from snapstore.ops.recorder import CheckpointRule, DryRecorder, Recorder
from snapstore.ops.walk import Walk
from snapstore.store.lane import Lane
from snapstore.store.repository import Store, View
from snapstore.store.session import WriteOptions
from snapstore.system.root import Root as SystemRoot
from snapstore.system.schema import SCOPES
from snapstore.version import VERSION

TOOL = f"snapstore {VERSION}"
WARNING_LIMIT = 10_000
"""So many warnings are kept in full; the count goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalState:
    """Directories of this machine: `cache` may be deleted at any time, `state` names the writer."""

    cache: bytes
    state: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotOptions:
    """How to take a snapshot. `level` is zstd's."""

    name: str = ""
    tags: tuple[str, ...] = ()
    rules: FilterRules = field(default_factory=FilterRules)
    level: int = DEFAULT_LEVEL
    read_back: bool = True
    checkpoint: CheckpointRule = field(default_factory=CheckpointRule)


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotResult:
    """What came of it: the record (of a dry run: as it would have been), the first warnings, and counts.

    `damaged` is what could not be read of the store and was done without: the snapshot does not rely on it.
    """

    snapshot: Snapshot
    warnings: tuple[Warned, ...]
    unchanged: int = 0
    excluded: int = 0
    seconds: float = 0.0
    dry: bool = False
    damaged: tuple[StoreError, ...] = ()


class Noted:
    """Passes progress on and keeps the warnings, with the path as a person knows it."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.prefix = b""
        self.kept: list[Warned] = []
        self._told: set[tuple[bytes, str]] = set()
        self.count = 0

    def phase(self, name: str, *, files: int = 0, size: int = 0) -> None:
        """As for Progress."""
        self._progress.phase(name, files=files, size=size)

    def advance(self, *, files: int = 0, size: int = 0) -> None:
        """As for Progress."""
        self._progress.advance(files=files, size=size)

    def at(self, path: bytes) -> None:
        """As for Progress, with a path from the root that is being read."""
        self._progress.at(self._full(path))

    def warn(self, path: bytes, reason: str) -> None:
        """The same; kept for the result as well. What a system's survey said its walk need not say again."""
        full = self._full(path)
        if (full, reason) in self._told:
            return
        self.count += 1
        if len(self.kept) < WARNING_LIMIT:
            self.kept.append(Warned(full, reason))
            self._told.add((full, reason))
        self._progress.warn(full, reason)

    def _full(self, path: bytes) -> bytes:
        return b"/".join((self.prefix.rstrip(b"/"), path.lstrip(b"/"))) if path else self.prefix


class SnapshotRun:
    """One run of a snapshot."""

    def __init__(
        self, store: Store, options: SnapshotOptions, local: LocalState, progress: Progress, cancellation: Cancellation
    ) -> None:
        self._store = store
        self._options = options
        self._local = local
        self._warnings = Noted(progress)
        self._cancellation = cancellation
        self._began = time.monotonic()
        self._owners = OwnerNames()
        self._host = os.uname().nodename
        self._os_release = _os_release()
        self._caches: list[tuple[bytes, bytes, StatCacheWriter]] = []
        self._unchanged = self._excluded = 0
        self._damaged: list[StoreError] = []
        self._counts = Totals()
        self._started = time.time_ns()

    def begin(self, lane: Lane) -> Recorder:
        """Where the run writes, as a session of that lane."""
        os.makedirs(self._cache_directory(), mode=0o700, exist_ok=True)
        options = WriteOptions(level=self._options.level, read_back=self._options.read_back)
        return Recorder(self._store, lane, tool=TOOL, options=options, rule=self._options.checkpoint)

    def guarded(self, recorder: Recorder, work: Callable[[], Snapshot]) -> SnapshotResult:
        """Runs the work and commits; on the way out of trouble leaves the session decided."""
        try:
            record = work()
            commit = recorder.commit(record)
        except CancelledError:
            kept = recorder.interrupt(self._record(()))
            raise CancelledError(
                "stopped; no snapshot was made",
                advice="what was finished is kept, the next run goes on from there" if kept else "",
            ) from None
        except BaseException:
            recorder.abort()
            raise
        for path, key, cache in self._caches:
            cache.save(path, key=key, session=commit.record.session)
        return self.result(commit.record, dry=False)

    def result(self, record: Snapshot, *, dry: bool) -> SnapshotResult:
        """What came of the run, whose record is this."""
        return SnapshotResult(
            snapshot=record,
            warnings=tuple(self._warnings.kept),
            unchanged=self._unchanged,
            excluded=self._excluded,
            seconds=time.monotonic() - self._began,
            dry=dry,
            damaged=tuple(self._damaged),
        )

    def _record(self, roots: tuple[Root, ...], scopes: tuple[tuple[str, ChunkId], ...] = ()) -> Snapshot:
        return Snapshot(
            session=SessionId(bytes(16)),
            name=self._options.name,
            tags=self._options.tags,
            host=self._host,
            os_release=self._os_release,
            user=_user_name(),
            tool=TOOL,
            started=self._started,
            ended=self._started,
            writer=bytes(16),
            roots=roots,
            scopes=scopes,
            excludes=self._options.rules.excludes,
            totals=replace(self._counts, warnings=self._warnings.count),
        )

    # -- trees --------------------------------------------------------------------------------------------------------

    def roots(self, recorder: Recorder | DryRecorder, paths: Sequence[bytes]) -> Snapshot:
        """The record of trees and files at absolute paths; everything they hold is stored."""
        own = self._own_places()
        for path in paths:
            refuse_inside(path, own)
        self._expect(recorder.view, paths)
        self._damaged += recorder.view.damaged
        ingest = self._ingest(recorder)
        done = []
        for path in paths:
            self._warnings.prefix = path
            done.append(self._root(recorder, ingest, path))
        self._warnings.prefix = b""
        return self._record(tuple(done))

    def system(
        self,
        recorder: Recorder | DryRecorder,
        root: SystemRoot,
        rules: FilterRules,
        inspect: Callable[[SystemRoot, Places, Progress], Inspected],
    ) -> Snapshot:
        """The record of a system: its scopes are stored, and of its files those that packages do not bring back."""
        own = self._own_places()
        refuse_inside(root.path, own)
        self._damaged += recorder.view.damaged
        self._options = replace(self._options, rules=rules)
        self._warnings.prefix = b"/" if root.live else root.path
        inspected = inspect(root, own, self._warnings)
        scopes = tuple((scope.name, scope.write(inspected.rows[scope.name], recorder.put_manifest)) for scope in SCOPES)
        settings = {row.name: row.value for row in inspected.rows["os"]}
        self._os_release = settings.get("title", self._os_release)
        if not root.live:
            self._owners = OwnerNames(users=inspected.users, groups=inspected.groups)
            self._host = settings.get("hostname", "")
            self._os_release = settings.get("title", "")  # this machine's says nothing of another one
        self._expect(recorder.view, [b"/"])
        entry = self._directory(
            recorder, self._ingest(recorder), root.path, fd=root.fd, status=os.fstat(root.fd), skips=inspected.skips
        )
        self._warnings.prefix = b""
        return self._record((Root(path=b"/", entry=replace(entry, name=b"root")),), scopes)

    def _expect(self, view: View, paths: Sequence[bytes]) -> None:
        for snapshot in reversed(view.finals.snapshots()):
            if [root.path for root in snapshot.roots] == list(paths):
                totals = snapshot.totals
                self._warnings.phase("snapshot", files=totals.files, size=totals.size)
                return
        self._warnings.phase("snapshot")

    def _root(self, recorder: Recorder | DryRecorder, ingest: Ingest, path: bytes) -> Root:
        # The path as the person gave it may end in a link to the directory meant; below it no link is followed.
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise RequestError(f"{os.fsdecode(path)} cannot be read: {error.strerror}") from error
        try:
            status = os.fstat(fd)
            if stat.S_ISDIR(status.st_mode):
                return Root(path=path, entry=self._directory(recorder, ingest, path, fd=fd, status=status))
            if stat.S_ISREG(status.st_mode):
                return Root(path=path, entry=self._file(ingest, path, fd, status))
        finally:
            os.close(fd)
        raise RequestError(f"{os.fsdecode(path)} is neither a directory nor a regular file")

    def _directory(
        self, recorder: Recorder | DryRecorder, ingest: Ingest, path: bytes, *, fd: int, status: os.stat_result,
        skips: Mapping[bytes, frozenset[bytes]] | None = None,
    ) -> Entry:  # fmt: skip
        view = recorder.view
        rules = Filter(self._options.rules, root=path, forced=self._own_places())
        place, key = self._cache_place(path, rules, system=None if skips is None else fd)
        cache = open_cache(place, key=key)
        committed = {c.record.session for c in view.finals.commits if not c.forgotten}
        if cache.session not in committed or view.damaged:
            # Where an index cannot be read, what the cache refers to may be in the store and still be out of reach.
            cache = empty_cache()
        records = StatCacheWriter(seed=cache.seed)
        self._caches.append((place, key, records))
        old = OldTree(view.reader if any(cache.session) else None)
        walk = Walk(
            ingest, cache=cache, records=records, old=old, rules=rules,
            settled=time.time_ns() - SETTLED_NANOSECONDS, progress=self._warnings, cancellation=self._cancellation,
            elements=Elements(self._owners, self._warnings), tick=self._ticker(recorder), skips=skips,
        )  # fmt: skip
        extras = read_extras(fd, self._owners, kind=Kind.DIRECTORY)
        for trouble in extras.troubles:
            self._warnings.warn(b"", trouble)
        try:
            tree, _ = walk.directory(fd, b"")
        except OSError as error:
            raise RequestError(f"{os.fsdecode(path)} cannot be listed: {error.strerror}") from error
        counts = walk.counts
        self._damaged += old.damaged
        self._unchanged += counts.unchanged
        self._excluded += counts.excluded
        self._count(files=counts.files, directories=counts.directories + 1, others=counts.others, size=counts.size)
        return replace(
            self._entry(path, Kind.DIRECTORY, status), acl=extras.acl, default_acl=extras.default_acl,
            xattrs=extras.xattrs, flags=extras.flags, tree=tree,
        )  # fmt: skip

    def _ingest(self, recorder: Recorder | DryRecorder) -> Ingest:
        return Ingest(
            recorder,
            self._store.chunker(),
            progress=self._warnings,
            cancellation=self._cancellation,
            tick=self._ticker(recorder),
        )

    def _ticker(self, recorder: Recorder | DryRecorder) -> Callable[[], None]:
        if isinstance(recorder, DryRecorder):
            return lambda: None
        return lambda: recorder.tick(lambda: self._record(()))

    def _file(self, ingest: Ingest, path: bytes, fd: int, status: os.stat_result) -> Entry:
        parent, name = os.path.split(os.path.realpath(path))
        directory = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            content = ingest.large(directory, name, _entry_record(status))
        finally:
            os.close(directory)
        if content.vanished or content.unread:
            raise RequestError(f"{os.fsdecode(path)} cannot be read: {content.unread or content.changed}")
        if content.changed:
            self._warnings.warn(b"", content.changed)
        extras = read_extras(fd, self._owners, kind=Kind.FILE, flags=False)
        for trouble in extras.troubles:
            self._warnings.warn(b"", trouble)
        self._count(files=1, size=content.size)
        return replace(
            self._entry(path, Kind.FILE, status), size=content.size, chunks=content.chunks,
            chunk_list=content.chunk_list, holes=content.holes, acl=extras.acl, xattrs=extras.xattrs,
            flags=flags_text(content.flags),
        )  # fmt: skip

    def _entry(self, path: bytes, kind: Kind, status: os.stat_result) -> Entry:
        return Entry(
            name=os.path.basename(path) or b"root",
            kind=kind,
            mode=stat.S_IMODE(status.st_mode),
            uid=status.st_uid,
            gid=status.st_gid,
            user=self._owners.user(status.st_uid),
            group=self._owners.group(status.st_gid),
            mtime=divmod(status.st_mtime_ns, 1_000_000_000),
        )

    def _count(self, *, files: int = 0, directories: int = 0, others: int = 0, size: int = 0) -> None:
        old = self._counts
        self._counts = Totals(
            files=old.files + files,
            directories=old.directories + directories,
            others=old.others + others,
            size=old.size + size,
        )

    def _own_places(self) -> Places:
        return own_places(self._store, (self._local.cache, self._local.state))

    def _cache_directory(self) -> bytes:
        return os.path.join(self._local.cache, self._store.id.hex().encode())

    def _cache_place(self, path: bytes, rules: Filter, *, system: int | None) -> tuple[bytes, bytes]:
        """Where the cache of a root is, and its key. `system` is the descriptor of a system's root."""
        directory = self._cache_directory()
        p = self._store.config.parameters
        key = blake3(self._store.id + rules.digest + b"%d %d %d " % (p.minimum, p.average, p.maximum) + path)
        for names in (b"etc/passwd", b"etc/group"):
            # Trees hold the names of owners, which change without the files changing.
            with contextlib.suppress(OSError):
                status = os.stat(os.path.join(b"/" if system is None else path, names))
                key.update(b"%d %d " % (status.st_mtime_ns, status.st_size))
        if system is not None:
            # One image after another is mounted at the same place.
            key.update(file_system_identity(system))
        name = blake3((b"" if system is None else b"system\0") + path).hexdigest(16).encode()
        return os.path.join(directory, name + b".stat"), key.digest()

    # -- streams ------------------------------------------------------------------------------------------------------

    def stream(self, recorder: Recorder, stream: Callable[[memoryview], int], path: bytes) -> Snapshot:
        """The record of a stream, whose content is stored."""
        self._warnings.phase("snapshot")
        self._damaged += recorder.view.damaged
        self._warnings.prefix = path
        self._warnings.at(b"")
        ingest = self._ingest(recorder)
        size = 0

        def counted(buffer: memoryview) -> int:
            nonlocal size
            count = stream(buffer)
            size += count
            return count

        chunks, chunk_list = ingest.stream(counted)
        self._count(files=1, size=size)
        entry = Entry(
            name=os.path.basename(path), kind=Kind.FILE, mode=0o600, uid=os.geteuid(), gid=os.getegid(),
            user=self._owners.user(os.geteuid()), group=self._owners.group(os.getegid()),
            mtime=divmod(time.time_ns(), 1_000_000_000), size=size, chunks=chunks, chunk_list=chunk_list,
        )  # fmt: skip
        return self._record((Root(path=path, entry=entry),))


def _entry_record(status: os.stat_result) -> bytes:
    """The kernel's ENTRY record for what os.stat said."""
    mtime, mtime_ns = divmod(status.st_mtime_ns, 1_000_000_000)
    ctime, ctime_ns = divmod(status.st_ctime_ns, 1_000_000_000)
    return ENTRY.pack(
        status.st_ino, status.st_size, status.st_rdev, mtime, ctime, mtime_ns, ctime_ns, status.st_mode,
        status.st_uid, status.st_gid, status.st_nlink, 0, 0, 0, 0,
    )  # fmt: skip


def _os_release() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        return platform.system()


def _user_name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
