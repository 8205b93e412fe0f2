"""What a restore would do to its target, and whether what it did is right. Neither writes anything."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from snapstore.errors import TargetNotEmptyError
from snapstore.flow import Cancellation, OrderedStage, worker_count
from snapstore.format.ids import chunk_id
from snapstore.fs.metadata import data_extents
from snapstore.fs.place import Policy
from snapstore.model import ChunkId, Entry, Kind, Snapshot, Warned
from snapstore.ops.browse import walk
from snapstore.ops.progress import Progress
from snapstore.ops.restore import RestoreOptions, holds_something, placements
from snapstore.ops.selection import starts
from snapstore.store import trees
from snapstore.store.reader import Reader
from snapstore.store.repository import View

Action = Literal["create", "replace", "keep", "delete"]
_BATCH = 256

_FORMATS = {
    Kind.FILE: stat.S_IFREG,
    Kind.DIRECTORY: stat.S_IFDIR,
    Kind.SYMLINK: stat.S_IFLNK,
    Kind.CHARACTER_DEVICE: stat.S_IFCHR,
    Kind.BLOCK_DEVICE: stat.S_IFBLK,
    Kind.FIFO: stat.S_IFIFO,
    Kind.SOCKET: stat.S_IFSOCK,
}


@dataclass(frozen=True, slots=True)
class Planned:
    """One step of a restore: what happens to a path below the target. A deletion has no entry."""

    action: Action
    path: bytes
    entry: Entry | None


def selected(view: View, snapshot: Snapshot, options: RestoreOptions) -> Iterator[tuple[bytes, Entry]]:
    """Every entry that a restore with these options means, with its path below the target (empty: the target)."""
    for start in starts(view.reader, snapshot, paths=options.paths, strip=options.strip):
        top = b"" if start.spread else b"/".join((*start.parents, start.entry.name))
        for path, entry in walk(view.reader, snapshot, start.path):
            inner = path[len(start.path) :].lstrip(b"/")
            yield top + b"/" + inner if top and inner else top + inner, entry


def preview_restore(view: View, snapshot: Snapshot, *, options: RestoreOptions) -> Iterator[Planned]:
    """The steps that `restore` would take, as far as the target shows them now.

    Raises what `restore` would raise before its first write.
    """
    if options.overwrite is None and holds_something(options.target):
        shown = options.target.decode("utf-8", "backslashreplace")
        raise TargetNotEmptyError(f"{shown} is not empty", advice="say --overwrite=never, changed or always")
    policy = options.overwrite or Policy.NEVER
    for path, entry in selected(view, snapshot, options):
        place = os.path.join(options.target, path)
        yield Planned(_action(place, entry, policy), path, entry)
        if options.delete and entry.kind is Kind.DIRECTORY and entry.tree is not None:
            yield from _deletions(view.reader, place, path, entry.tree)


def _deletions(reader: Reader, place: bytes, path: bytes, tree: ChunkId) -> Iterator[Planned]:
    try:
        present = set(os.listdir(place))
    except OSError:
        return  # There is no such directory yet, so there is nothing in it.
    for child in trees.entries(reader, tree):
        present.discard(child.name)
    for name in sorted(present):
        yield Planned("delete", path + b"/" + name if path else name, None)


def _action(place: bytes, entry: Entry, policy: Policy) -> Action:
    try:
        status = os.lstat(place)
    except OSError:
        return "create"
    same_kind = stat.S_IFMT(status.st_mode) == _FORMATS[entry.kind]
    if policy is Policy.NEVER or (entry.kind is Kind.DIRECTORY and same_kind):
        return "keep"
    same = same_kind and divmod(status.st_mtime_ns, 1_000_000_000) == entry.mtime
    if entry.kind is Kind.FILE:
        same = same and status.st_size == entry.size
    return "keep" if policy is Policy.CHANGED and same else "replace"


def verify_restore(
    view: View, snapshot: Snapshot, *, options: RestoreOptions, progress: Progress, cancellation: Cancellation
) -> tuple[Warned, ...]:
    """Every difference between the snapshot and what is now at the target; none if the restore is perfect.

    Each file is read again and each of its chunks hashed; kind, size, mode, times, link targets and device numbers are
    compared. Raises StoreError when the snapshot itself cannot be read.
    """
    found: list[Warned] = []
    workers = worker_count()
    progress.phase("verify", files=snapshot.totals.files, size=snapshot.totals.size)

    def collect(batch: tuple[list[Warned], int, int]) -> None:
        differences, files, size = batch
        for each in differences:
            progress.warn(each.path, each.reason)
        found.extend(differences)
        progress.advance(files=files, size=size)

    def check(batch: list[tuple[bytes, Entry]]) -> tuple[list[Warned], int, int]:
        cancellation.check()
        differences = [
            Warned(path, reason)
            for path, entry in batch
            for reason in _differences(view.reader, os.path.join(options.target, path), entry, whole=path != b"")
        ]
        files = sum(entry.kind is Kind.FILE for _, entry in batch)
        return differences, files, sum(entry.size for _, entry in batch)

    stage = OrderedStage(check, collect, workers=workers, depth=2 * workers)
    try:
        batch: list[tuple[bytes, Entry]] = []
        for item in selected(view, snapshot, options):
            cancellation.check()
            batch.append(item)
            if len(batch) == _BATCH:
                stage.put(batch)
                batch = []
        stage.put(batch)
        stage.finish()
    except BaseException:
        cancellation.cancel()
        stage.close()
        raise
    return tuple(found)


def _differences(reader: Reader, place: bytes, entry: Entry, *, whole: bool) -> Iterator[str]:
    if entry.kind is Kind.SOCKET or entry.unread:
        return
    try:
        status = os.lstat(place)
    except OSError as error:
        yield f"it is not there: {error.strerror}"
        return
    if stat.S_IFMT(status.st_mode) != _FORMATS[entry.kind]:
        yield f"it is no {entry.kind.value}"
        return
    if entry.kind is not Kind.SYMLINK and stat.S_IMODE(status.st_mode) != entry.mode:
        yield f"its mode is {stat.S_IMODE(status.st_mode):04o}, not {entry.mode:04o}"
    if whole and divmod(status.st_mtime_ns, 1_000_000_000) != entry.mtime:
        yield "its modification time differs"
    if entry.kind is Kind.SYMLINK and os.readlink(place) != entry.target:
        yield "it points elsewhere"
    if entry.kind in (Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE):
        if (os.major(status.st_rdev), os.minor(status.st_rdev)) != entry.rdev:
            yield "it is another device"
    elif entry.kind is Kind.FILE:
        if status.st_size != entry.size:
            yield f"it has {status.st_size} bytes, not {entry.size}"
        else:
            yield from _content_differences(reader, place, entry)


def _content_differences(reader: Reader, place: bytes, entry: Entry) -> Iterator[str]:
    try:
        fd = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        yield f"it cannot be read back: {error.strerror}"
        return
    try:
        data = bytearray()
        for offset, skip, length, chunk in placements(reader, entry):
            if skip == 0:
                data.clear()
            piece = os.pread(fd, length, offset)
            data += piece
            _, _, _, total = reader.locate(chunk)
            if len(piece) != length or (len(data) == total and chunk_id(data) != chunk):
                yield f"its content differs near byte {offset}"
                return
        holes = {offset for offset, _ in entry.holes}
        for offset, length in data_extents(fd, entry.size)[1] if holes else ():
            for hole, size in entry.holes:
                if offset < hole + size and hole < offset + length:
                    yield from _hole_differences(fd, max(offset, hole), min(offset + length, hole + size))
    except OSError as error:
        yield f"it cannot be read back: {error.strerror}"
    finally:
        os.close(fd)


def _hole_differences(fd: int, start: int, end: int) -> Iterator[str]:
    """Data where the snapshot has a hole: zeros are as good (not every file system has holes), all else is not."""
    while start < end:
        piece = os.pread(fd, min(1 << 20, end - start), start)
        if not piece or piece.count(0) != len(piece):
            yield f"it is not empty near byte {start}"
            return
        start += len(piece)
