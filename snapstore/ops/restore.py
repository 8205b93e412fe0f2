"""Restores a snapshot, or a part of it, below a directory."""

from __future__ import annotations

import os
import sys
import threading
import time
from dataclasses import dataclass, field

from snapstore.errors import CorruptObjectError, MissingObjectError, StoreError, TargetError, TargetNotEmptyError
from snapstore.flow import Cancellation, OrderedStage, worker_count
from snapstore.fs.existing import MOUNTED
from snapstore.fs.metadata import OwnerNames
from snapstore.fs.place import Directory, LargeFile, Policy, SmallFile, Target
from snapstore.model import ChunkId, Entry, Kind, Snapshot, Warned
from snapstore.ops.pieces import Blocks, placements
from snapstore.ops.places import refuse_inside
from snapstore.ops.progress import Progress
from snapstore.ops.selection import Start, components, starts
from snapstore.ops.surplus import Surplus
from snapstore.store import trees
from snapstore.store.reader import Reader
from snapstore.store.repository import View

LARGE = 4 << 20
"""Files above this size are written in parts of about as much, by several threads."""
DAMAGE = (CorruptObjectError, MissingObjectError)
"""What costs one file; every other StoreError means that the store cannot be reached, and ends the restore."""
JOB_SIZE = 1 << 22
JOB_FILES = 1024
HELD = 16 << 20
"""Bytes of decoded blocks that one job holds, give or take one block."""
FEW = 8
"""A small file of fewer chunks is put together in memory without a look at how many blocks they are spread over."""
WARNING_LIMIT = 10_000
"""So many warnings are kept in full; the count goes on."""
DEPTH_LIMIT = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreOptions:
    """What to restore, and over what.

    `paths` are absolute paths in the snapshot, all of it if there are none; `strip` is the directory of the snapshot
    that is to become the target itself. `overwrite` None refuses a target that holds anything. `delete` removes from
    restored directories what the snapshot does not have, except for what its patterns exclude, and for other file
    systems that are mounted there. Directories of `protected`, by (device, inode), are left alone whatever the options
    say.
    """

    target: bytes
    paths: tuple[bytes, ...] = ()
    strip: bytes = b""
    overwrite: Policy | None = None
    delete: bool = False
    numeric_owner: bool = False
    protected: frozenset[tuple[int, int]] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreResult:
    """What was written (bytes for `size`), kept as it was, deleted, or passed over.

    `warnings` are the first ones, `warned` how many there were.
    """

    files: int
    directories: int
    others: int
    size: int
    links: int
    kept: int
    deleted: int
    skipped: int
    warnings: tuple[Warned, ...]
    warned: int
    seconds: float


@dataclass(slots=True)
class _Large:
    """A large file on its way; `broken` once a part of it could not be had from the store."""

    file: LargeFile
    broken: bool = False


@dataclass(slots=True)
class _Part:
    """A run of chunks of a large file, as `placements` gives them; the last part finishes the file."""

    large: _Large
    pieces: list[tuple[int, int, int, ChunkId]]
    last: bool = False


@dataclass(slots=True)
class _Job:
    """A portion of the work: files by directory, parts of large files, later names, and what to let go of after."""

    small: list[tuple[Directory, list[tuple[Entry, list[ChunkId]]]]] = field(default_factory=list)
    parts: list[_Part] = field(default_factory=list)
    links: list[tuple[Directory, Entry, tuple[bytes, ...]]] = field(default_factory=list)
    holds: list[Directory] = field(default_factory=list)
    size: int = 0
    files: int = 0


def restore(
    view: View, snapshot: Snapshot, *, options: RestoreOptions, progress: Progress, cancellation: Cancellation
) -> RestoreResult:
    """What was restored.

    Each chunk is compared with its id before it is written. A file whose chunks are missing or damaged does not get
    its name; the restore goes on with the others and raises StoreError at the end. Before anything is written it raises
    TargetNotEmptyError, UnknownPathError, and RequestError for a target inside a protected directory. Raises
    TargetError when the target fails as a whole (disk full), CancelledError when stopped.
    """
    check_target(options)
    selected = list(starts(view.reader, snapshot, paths=options.paths, strip=options.strip))
    return _Restore(view.reader, options, progress, cancellation).run(snapshot, selected)


def check_target(options: RestoreOptions) -> None:
    """Nothing; RequestError or TargetError for a target that may not be written to."""
    refuse_inside(options.target, options.protected)
    if options.overwrite is None and _holds_something(options.target):
        shown = options.target.decode("utf-8", "backslashreplace")
        raise TargetNotEmptyError(
            f"{shown} is not empty", advice="choose a new directory, or say --overwrite=never, changed or always"
        )


def _holds_something(path: bytes) -> bool:
    """Whether there is a directory with anything in it; TargetError if something else is there."""
    try:
        with os.scandir(path) as entries:
            return next(entries, None) is not None
    except FileNotFoundError:
        return False
    except NotADirectoryError as error:
        raise TargetError(f"{path.decode('utf-8', 'backslashreplace')} is not a directory") from error
    except OSError as error:
        raise TargetError(f"{path.decode('utf-8', 'backslashreplace')}: {error.strerror}") from error


class _Restore:
    """One restore."""

    def __init__(self, reader: Reader, options: RestoreOptions, progress: Progress, cancellation: Cancellation) -> None:
        self._reader = reader
        self._options = options
        self._progress = progress
        self._cancellation = cancellation
        self._lock = threading.Lock()
        self._warnings: list[Warned] = []
        self._warned = 0
        self._damage: StoreError | None = None
        self._damages = 0
        self._broken: set[bytes] = set()
        self._root = b""
        self._surplus: Surplus | None = None
        self._device: int | None = None
        self._mounts: set[int] = set()
        self._links: dict[tuple[bytes, bytes], tuple[bytes, ...]] = {}
        self._unread = 0
        self._job = _Job()
        self._stage: OrderedStage[_Job, _Job] | None = None
        self._target: Target | None = None
        sys.setrecursionlimit(max(sys.getrecursionlimit(), 4 * DEPTH_LIMIT))

    def run(self, snapshot: Snapshot, selected: list[Start]) -> RestoreResult:
        began = time.monotonic()
        totals = snapshot.totals
        whole = len(selected) == len(snapshot.roots) and not self._options.strip
        self._progress.phase("restore", files=totals.files if whole else 0, size=totals.size if whole else 0)
        workers = worker_count()
        with Target.open(
            self._options.target,
            owners=OwnerNames(numeric=self._options.numeric_owner),
            overwrite=self._options.overwrite or Policy.NEVER,
            warn=self._warn,
            protected=self._options.protected,
        ) as target:
            self._target = target
            stage = self._stage = OrderedStage(self._work, self._after, workers=workers, depth=2 * workers + 2)
            try:
                for start in selected:
                    if self._options.delete:
                        self._surplus = Surplus(snapshot.excludes, root=start.root)
                    self._start(target, start)
                self._submit()
                stage.finish()
            except BaseException:
                self._cancellation.cancel()
                stage.close()
                raise
        if self._damage is not None:
            raise StoreError(
                f"{self._damages} paths could not be restored, the store is damaged: {self._damage.message}",
                advice="everything else was restored; run `snapstore check --read-data`",
            )
        counts = target.report.counts
        return RestoreResult(
            files=counts.get("files", 0),
            directories=counts.get("directories", 0),
            others=counts.get("others", 0),
            size=counts.get("bytes", 0),
            links=counts.get("links", 0),
            kept=counts.get("kept", 0),
            deleted=counts.get("removed", 0),
            skipped=counts.get("skipped", 0) + counts.get("sockets", 0) + self._unread,
            warnings=tuple(self._warnings),
            warned=self._warned,
            seconds=time.monotonic() - began,
        )

    def _warn(self, path: bytes, reason: str) -> None:
        with self._lock:
            self._warned += 1
            if len(self._warnings) < WARNING_LIMIT:
                self._warnings.append(Warned(path, reason))
        self._progress.warn(path, reason)

    # -- the walk, in the calling thread ------------------------------------------------------------------------------

    def _start(self, target: Target, start: Start) -> None:
        self._root = start.root
        place = target.root.hold()
        try:
            for name in start.parents:
                deeper = place.through(name)
                if deeper is None:
                    return
                place.release()
                place = deeper
            # A root of the snapshot may be a file system of its own. What is mounted below it, or where a part of it
            # lands, was perhaps not looked into (--one-file-system), and what is in there is not to be judged.
            whole = start.spread or start.path == start.root
            self._device = None if whole else os.fstat(place.fd).st_dev
            if start.spread:
                place.adopt(start.entry)
                self._fill(place, start.entry, start.path, start.inside, 0)
            else:
                self._entry(place, start.entry, start.path, start.inside, 0)
        finally:
            place.release()

    def _fill(self, place: Directory, entry: Entry, path: bytes, inside: bytes, depth: int) -> None:
        """Restores the contents of a directory; `inside` is its path from the snapshot's root."""
        if entry.tree is None:
            self._warn(path, f"its content is not in the snapshot ({entry.unread})")
            return
        if depth > DEPTH_LIMIT:
            raise CorruptObjectError(f"tree {entry.tree.hex()}", "directories are nested too deeply")
        if self._device is None:
            self._device = os.fstat(place.fd).st_dev
        present = set(place.names()) if self._surplus is not None else set()
        prefix = path.rstrip(b"/") + b"/"
        inner = inside + b"/" if inside else b""
        try:
            for child in trees.entries(self._reader, entry.tree):
                present.discard(child.name)
                self._entry(place, child, prefix + child.name, inner + child.name, depth)
        except DAMAGE as error:
            self._damaged(place.path or path, error)
            return
        if present and self._surplus is not None:
            self._delete(place, self._surplus, sorted(present), inside)

    def _delete(self, place: Directory, surplus: Surplus, names: list[bytes], inside: bytes) -> None:
        """Deletes what the snapshot does not have, but for what it could not have."""
        device = os.fstat(place.fd).st_dev
        if device != self._device:
            if device not in self._mounts:
                self._mounts.add(device)
                self._warn(place.path, f"nothing in it is deleted: {MOUNTED}")
            return
        for name in names:
            try:
                excluded = surplus.excluded(place.fd, name, inside=inside)
            except FileNotFoundError:
                continue
            if not excluded:
                place.remove(name, spare=surplus.spare(inside + b"/" + name if inside else name))

    def _entry(self, place: Directory, entry: Entry, path: bytes, inside: bytes, depth: int) -> None:
        self._cancellation.check()
        kind = entry.kind
        if kind is Kind.DIRECTORY:
            self._progress.at(path)
            child = place.enter(entry)
            if child is not None:
                try:
                    self._fill(child, entry, path, inside, depth + 1)
                finally:
                    child.release()
            return
        if entry.unread:
            self._warn(path, f"its content is not in the snapshot ({entry.unread})")
            self._unread += 1
            return
        if entry.links > 1:
            # A hard link's path is relative to its root, and every root has its own.
            group = self._root, entry.hardlink or inside
            first = self._links.get(group)
            if first is not None:
                self._job.links.append((self._held(place), entry, first))
                self._count(0)
                return
            self._links[group] = (*components(place.path), entry.name)
        if place.keep(entry):
            if entry.links > 1 and not _resembles(place, entry):
                # What is kept is something else: the other names of the file cannot be names of that.
                del self._links[group]
            self._progress.advance(files=1, size=entry.size)
            return
        if kind is not Kind.FILE:
            place.place_special(entry)
            self._progress.advance(files=1)
        elif entry.size > LARGE or entry.chunk_list is not None:
            self._large(place, entry)
        else:
            self._small(place, entry)

    def _held(self, place: Directory) -> Directory:
        self._job.holds.append(place.hold())
        return place

    def _small(self, place: Directory, entry: Entry) -> None:
        job = self._job
        if not job.small or job.small[-1][0] is not place:
            job.small.append((self._held(place), []))
        job.small[-1][1].append((entry, list(entry.chunks)))
        self._count(entry.size)

    def _count(self, size: int) -> None:
        job = self._job
        job.size += size
        job.files += 1
        if job.size >= JOB_SIZE or job.files >= JOB_FILES:
            self._submit()

    def _submit(self) -> None:
        job, self._job = self._job, _Job()
        if self._stage is not None and (job.files or job.parts):
            self._stage.put(job)

    def _large(self, place: Directory, entry: Entry) -> None:
        file = place.begin_large(entry)
        if file is None:
            return
        large = _Large(file)
        part = _Part(large, [])
        size = 0
        try:
            for piece in placements(self._reader, entry):
                part.pieces.append(piece)
                size += piece[2]
                if size >= LARGE:
                    self._job.parts.append(part)
                    self._count(size)
                    part, size = _Part(large, []), 0
        except DAMAGE as error:
            large.broken = True
            self._damaged(file.path, error)
        part.last = True
        self._job.parts.append(part)
        self._count(size)

    # -- the work, in the stage's threads -----------------------------------------------------------------------------

    def _work(self, job: _Job) -> _Job:
        self._cancellation.check()
        blocks = Blocks(self._reader)
        for place, files in job.small:
            self._write_small(blocks, place, files)
        for part in job.parts:
            self._write_part(blocks, part)
        return job

    def _write_small(self, blocks: Blocks, place: Directory, files: list[tuple[Entry, list[ChunkId]]]) -> None:
        ready: list[SmallFile] = []
        size = 0
        for entry, chunks in files:
            if blocks.size >= HELD:
                place.write_small(ready, blocks.buffers)
                ready = []
                blocks.clear()
            try:
                if len(chunks) == 1 and not entry.holes:
                    ready.append(SmallFile(entry, [blocks.following(chunks[0], entry.size)]))
                elif self._spread(chunks) >= HELD:
                    self._write_alone(place, entry)
                else:
                    ready.append(SmallFile(entry, [blocks.segment(chunk) for chunk in chunks]))
            except DAMAGE as error:
                self._damaged(place.path + b"/" + entry.name if place.path else entry.name, error)
            size += entry.size
        place.write_small(ready, blocks.buffers)
        self._progress.advance(files=len(files), size=size)

    def _spread(self, chunks: list[ChunkId]) -> int:
        """The bytes of the blocks that the chunks lie in; 0 without a look where they are few."""
        if len(chunks) < FEW:
            return 0
        blocks = {(id(index), number): index for index, number, _, _ in map(self._reader.locate, chunks)}
        return sum(index.block(number).raw_length for (_, number), index in blocks.items())

    def _write_part(self, blocks: Blocks, part: _Part) -> None:
        size = 0
        try:
            for offset, skip, length, chunk in part.pieces:
                if blocks.size >= HELD:
                    blocks.clear()
                number, at, _ = blocks.segment(chunk)
                data = memoryview(blocks.buffers[number])[at + skip : at + skip + length]
                part.large.file.write_at(offset, data)
                size += length
        except DAMAGE as error:
            part.large.broken = True
            self._damaged(part.large.file.path, error)
        self._progress.advance(files=1 if part.last else 0, size=size)

    def _damaged(self, path: bytes, error: StoreError) -> None:
        with self._lock:
            self._damage = self._damage or error
            self._damages += 1
            self._broken.add(path)
        self._warn(path, error.message)

    def _after(self, job: _Job) -> None:
        """In the order of the walk, and after everything earlier has been written: later names, last parts."""
        for part in job.parts:
            if part.last and part.large.broken:
                part.large.file.abandon()
            elif part.last:
                part.large.file.finish()
        for place, entry, first in job.links:
            # What now has the name of a damaged first one may be an older file.
            linked = b"/".join(first) not in self._broken and place.link(entry, first)
            if not linked and entry.kind is Kind.FILE:
                self._write_alone(place, entry)
            elif not linked:
                place.place_special(entry)
            self._progress.advance(files=1)
        for place in job.holds:
            place.release()

    def _write_alone(self, place: Directory, entry: Entry) -> None:
        """A later name that could not become a link, as a file of its own, one chunk in memory at a time."""
        file = place.begin_large(entry)
        if file is None:
            return
        try:
            for offset, skip, length, chunk in placements(self._reader, entry):
                file.write_at(offset, self._reader.read(chunk)[skip : skip + length])
        except DAMAGE as error:
            file.abandon()
            self._damaged(file.path, error)
        else:
            file.finish()


def _resembles(place: Directory, entry: Entry) -> bool:
    """Whether what has the entry's name looks like what it had in the snapshot."""
    try:
        status = os.stat(entry.name, dir_fd=place.fd, follow_symlinks=False)
    except OSError:
        return False
    if entry.kind is Kind.FILE and status.st_size != entry.size:
        return False
    return divmod(status.st_mtime_ns, 1_000_000_000) == entry.mtime
