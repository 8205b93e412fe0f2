"""Whether what a restore has done is right. Nothing is written."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field

from snapstore.flow import Cancellation, OrderedStage, worker_count
from snapstore.format.acl import encode_acl
from snapstore.format.ids import chunk_id
from snapstore.fs.descent import Descent, Folder
from snapstore.fs.existing import kind_of
from snapstore.fs.metadata import CAPABILITY, Extras, OwnerNames, data_extents, read_extras
from snapstore.model import Entry, Kind, Snapshot, Warned
from snapstore.ops.pieces import placements
from snapstore.ops.progress import Progress
from snapstore.ops.restore import WARNING_LIMIT, RestoreOptions
from snapstore.ops.selection import Selected, selected
from snapstore.store.reader import Reader
from snapstore.store.repository import View

_BATCH = 256
_FOLDERS = 32
_PRIVILEGED_FLAGS = str.maketrans("", "", "ia")


@dataclass(frozen=True, slots=True)
class Verified:
    """The first differences between a snapshot and what was restored of it, and how many there are."""

    found: tuple[Warned, ...]
    count: int


@dataclass(slots=True)
class _Batch:
    """Entries to be compared, each with the folder that holds it."""

    items: list[tuple[Folder, bytes, Selected]] = field(default_factory=list)
    folders: int = 0

    def release(self) -> None:
        """Let go of the folders; does nothing a second time."""
        items, self.items = self.items, []
        for folder, _, _ in items:
            folder.release()


@dataclass(slots=True)
class _Outcome:
    """What came of a batch: differences, the inodes of names of linked files in order, and progress."""

    differences: list[Warned] = field(default_factory=list)
    linked: list[tuple[tuple[bytes, bytes], tuple[int, int], bytes]] = field(default_factory=list)
    files: int = 0
    size: int = 0


def verify_restore(
    view: View, snapshot: Snapshot, *, options: RestoreOptions, progress: Progress, cancellation: Cancellation
) -> Verified:
    """Every difference between the snapshot and what is now at the target; none if the restore is perfect.

    Each file is read again and each of its chunks hashed. Compared besides: kind, size, mode, modification time, link
    targets, device numbers, extended attributes, ACLs, chattr flags, and which names are one inode; for root also the
    owner. Without root's rights only `user.*` attributes are compared, and not the immutable and append-only flags. Of
    the target directory itself, when it stands for one of the snapshot, only kind and mode. Raises StoreError when the
    snapshot itself cannot be read.
    """
    progress.phase("verify", files=snapshot.totals.files, size=snapshot.totals.size)
    run = _Verification(view.reader, options, progress, cancellation)
    workers = worker_count()
    stage = OrderedStage(run.check, run.collect, workers=workers, depth=2 * workers)
    descent = Descent(options.target)
    batch = _Batch()
    try:
        last: Folder | None = None
        for each in selected(view.reader, snapshot, paths=options.paths, strip=options.strip):
            cancellation.check()
            directory, _, name = each.path.rpartition(b"/")
            folder = descent.folder(directory).hold()
            batch.items.append((folder, name, each))
            batch.folders += folder is not last
            last = folder
            # Folders that wait are open files.
            if len(batch.items) == _BATCH or batch.folders == _FOLDERS:
                stage.put(batch)
                batch = _Batch()
        stage.put(batch)
        stage.finish()
    except BaseException:
        cancellation.cancel()
        stage.close()
        batch.release()
        raise
    finally:
        descent.close()
    return Verified(tuple(run.found), run.count)


class _Verification:
    """One verification."""

    def __init__(self, reader: Reader, options: RestoreOptions, progress: Progress, cancellation: Cancellation) -> None:
        self._reader = reader
        self._owners = OwnerNames(numeric=options.numeric_owner)
        self._root = os.geteuid() == 0
        self._progress = progress
        self._cancellation = cancellation
        self._first: dict[tuple[bytes, bytes], tuple[tuple[int, int], bytes]] = {}
        self.found: list[Warned] = []
        self.count = 0

    # -- in the stage's threads ---------------------------------------------------------------------------------------

    def check(self, batch: _Batch) -> _Outcome:
        outcome = _Outcome()
        try:
            for folder, name, each in batch.items:
                self._cancellation.check()
                outcome.differences += [
                    Warned(each.path, why) for why in self._differences(folder, name, each, outcome)
                ]
                outcome.files += each.entry.kind is Kind.FILE
                outcome.size += each.entry.size
        finally:
            batch.release()
        return outcome

    def _differences(self, folder: Folder, name: bytes, each: Selected, outcome: _Outcome) -> Iterator[str]:
        entry = each.entry
        if entry.kind is Kind.SOCKET or entry.unread:
            return
        try:
            status = folder.status(name)
        except OSError as error:
            yield f"it is not there: {error.strerror}"
            return
        if kind_of(status) is not entry.kind:
            yield f"it is no {entry.kind.value}"
            return
        if entry.links > 1 and entry.kind is not Kind.DIRECTORY:
            group = each.start.root, entry.hardlink or each.inside
            outcome.linked.append((group, (status.st_dev, status.st_ino), each.path))
        if entry.kind is not Kind.SYMLINK and stat.S_IMODE(status.st_mode) != entry.mode:
            yield f"its mode is {stat.S_IMODE(status.st_mode):04o}, not {entry.mode:04o}"
        if name:
            yield from self._metadata_differences(folder, name, entry, status)
        try:
            yield from self._substance_differences(folder, name, entry, status)
        except OSError as error:
            yield f"it cannot be read back: {error.strerror}"

    def _metadata_differences(self, folder: Folder, name: bytes, entry: Entry, status: os.stat_result) -> Iterator[str]:
        if divmod(status.st_mtime_ns, 1_000_000_000) != entry.mtime:
            yield "its modification time differs"
        if self._root:
            uid, gid = self._owners.owner(entry)
            if (status.st_uid, status.st_gid) != (uid, gid):
                yield f"its owner is {status.st_uid}:{status.st_gid}, not {uid}:{gid}"
        extras = read_extras(folder.fd, self._owners, name=name, kind=entry.kind)
        for trouble in extras.troubles:
            yield f"it cannot be compared: {trouble}"
        yield from self._attribute_differences(entry, extras)
        for what, ours, theirs in (
            ("ACL", extras.acl, entry.acl),
            ("default ACL", extras.default_acl, entry.default_acl),
        ):
            if ours != theirs and not self._same_acl(ours, theirs):
                yield f"its {what} is {ours or 'none'}, not {theirs or 'none'}"
        flags, wanted = extras.flags, entry.flags
        if not self._root:
            flags, wanted = flags.translate(_PRIVILEGED_FLAGS), wanted.translate(_PRIVILEGED_FLAGS)
        if flags != wanted:
            yield f"its flags are {flags or 'none'}, not {wanted or 'none'}"

    def _attribute_differences(self, entry: Entry, extras: Extras) -> Iterator[str]:
        ours = {each.name: each.value for each in extras.xattrs}
        theirs = {each.name: each.value for each in entry.xattrs}
        for name in sorted(ours.keys() | theirs.keys()):
            # Labels of the machine's own security modules come and go with its policy.
            removable = name.startswith((b"user.", b"trusted.")) or name == CAPABILITY
            if ours.get(name) == theirs.get(name) or not (self._root or name.startswith(b"user.")):
                continue
            if name in theirs or removable:
                yield f"its attribute {name.decode('utf-8', 'backslashreplace')} differs"

    def _same_acl(self, ours: str, theirs: str) -> bool:
        try:
            return bool(ours and theirs) and encode_acl(ours, self._owners) == encode_acl(theirs, self._owners)
        except ValueError:
            return False

    def _substance_differences(
        self, folder: Folder, name: bytes, entry: Entry, status: os.stat_result
    ) -> Iterator[str]:
        if entry.kind is Kind.SYMLINK and os.readlink(name, dir_fd=folder.fd) != entry.target:
            yield "it points elsewhere"
        elif entry.kind in (Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE):
            if (os.major(status.st_rdev), os.minor(status.st_rdev)) != entry.rdev:
                yield "it is another device"
        elif entry.kind is Kind.FILE:
            if status.st_size != entry.size:
                yield f"it has {status.st_size} bytes, not {entry.size}"
            else:
                yield from _content_differences(self._reader, folder, name, entry)

    # -- in order -----------------------------------------------------------------------------------------------------

    def collect(self, outcome: _Outcome) -> None:
        for each in outcome.differences:
            self._tell(each)
        for group, inode, path in outcome.linked:
            first, first_path = self._first.setdefault(group, (inode, path))
            if first != inode:
                other = first_path.decode("utf-8", "backslashreplace")
                self._tell(Warned(path, f"it is another inode than {other}, of which it is a hard link"))
        self._progress.advance(files=outcome.files, size=outcome.size)

    def _tell(self, difference: Warned) -> None:
        self.count += 1
        if len(self.found) < WARNING_LIMIT:
            self.found.append(difference)
        self._progress.warn(difference.path, difference.reason)


def _content_differences(reader: Reader, folder: Folder, name: bytes, entry: Entry) -> Iterator[str]:
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder.fd)
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
