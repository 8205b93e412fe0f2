"""A restored tree written below one directory, so that nothing outside of it can be touched.

Every step is relative to a directory descriptor and follows no link. An existing file is never opened for writing: what
takes its place is a new inode, complete before it gets the name. Directories are 0700 while they are filled; their own
metadata comes last, bottom-up, when the last holder lets go of them.

Trouble with one entry is recorded in `Target.report` and the run goes on; what dooms every later entry too (disk full)
raises TargetError. All methods may be called from any thread.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from snapstore import kernel
from snapstore.errors import TargetError
from snapstore.fs import existing, inode
from snapstore.fs.inode import Policy, Settings
from snapstore.fs.limits import allow_many_descriptors
from snapstore.fs.metadata import OwnerNames, apply_flags, inherits, reason
from snapstore.fs.report import Report
from snapstore.model import Buffer, Entry, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

__all__ = ["Directory", "LargeFile", "Policy", "SmallFile", "Target"]


@dataclass(frozen=True, slots=True)
class SmallFile:
    """A file whose bytes (holes left out) are in memory: (buffer index, offset, length) triples in order."""

    entry: Entry
    segments: Sequence[tuple[int, int, int]]


class Target:
    """The directory that a restore writes into; a context manager that is `close` on success and `abort` on error."""

    def __init__(self, fd: int, path: bytes, *, made: bool, settings: Settings) -> None:
        self.path = path
        self.settings = settings
        self.report = settings.report
        self._lock = threading.Lock()
        self._open: set[Directory | LargeFile] = set()
        self.root = Directory(self, None, b"", fd, entry=None, made=made, exact=True, inheriting=inherits(fd))

    @classmethod
    def open(
        cls,
        path: bytes,
        *,
        owners: OwnerNames | None = None,
        overwrite: Policy = Policy.NEVER,
        warn: Callable[[bytes, str], None] | None = None,
        protected: frozenset[tuple[int, int]] = frozenset(),
    ) -> Self:
        """A target at `path`, made with its parents if need be (0700); links in `path` itself are followed.

        Directories of `protected`, by (device, inode), are neither entered nor removed, nor is what holds one removed.
        Raises TargetError. The process's soft limit of open files is raised to the hard one, since each level of a
        deep tree keeps a directory open.
        """
        allow_many_descriptors()
        try:
            parent = os.path.dirname(path.rstrip(b"/"))
            if parent:
                os.makedirs(parent, exist_ok=True)
            try:
                os.mkdir(path, 0o700)
                made = True
            except FileExistsError:
                made = False
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as failure:
            shown = path.decode("utf-8", "backslashreplace")
            raise TargetError(f"cannot use {shown} as a target: {reason(failure)}") from failure
        settings = Settings(
            owners=owners or OwnerNames(), overwrite=overwrite, report=Report(warn), protected=protected
        )
        return cls(fd, path, made=made, settings=settings)

    def close(self) -> None:
        """Finish the root, whose other holders are gone by now, and record the troubles that were only counted."""
        self.root.release()
        self.abort()
        self.report.summarise()

    def abort(self) -> None:
        """Let go of everything as it is; incomplete large files are removed, open directories keep mode 0700."""
        with self._lock:
            left = list(self._open)
        # Files first: they are removed through their directories' descriptors.
        for each in sorted(left, key=lambda each: isinstance(each, Directory)):
            each.abandon()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def track(self, each: Directory | LargeFile) -> None:
        """Count `each` among what `abort` has to let go of."""
        with self._lock:
            self._open.add(each)

    def untrack(self, each: Directory | LargeFile) -> bool:
        """Whether `each` was still open, and the caller is the one to close it."""
        with self._lock:
            if each not in self._open:
                return False
            self._open.remove(each)
            return True


class Directory:
    """One open directory of the target. Whoever gets one holds it once, and ends with `release`."""

    def __init__(
        self,
        target: Target,
        parent: Directory | None,
        path: bytes,
        fd: int,
        *,
        entry: Entry | None,
        made: bool,
        exact: bool,
        inheriting: bool,
    ) -> None:
        self.fd = fd
        self.path = path
        self._target = target
        self._settings = target.settings
        self._report = target.report
        self._parent = parent
        self._entry = entry
        self._made = made
        self._exact = exact
        self._inheriting = inheriting
        self._holds = 1
        self._lock = threading.Lock()
        target.track(self)

    # --- holding

    def hold(self) -> Directory:
        """The directory itself, held once more."""
        with self._lock:
            self._holds += 1
        return self

    def release(self) -> None:
        """Let go once. The last one out applies the directory's own metadata, closes it, and releases the parent."""
        directory: Directory | None = self
        while directory is not None:  # no recursion: trees are deeper than Python's stack
            directory = directory.let_go()

    def let_go(self) -> Directory | None:
        """The parent, to be released next, if this was the last hold."""
        with self._lock:
            self._holds -= 1
            if self._holds:
                return None
        self._complete()
        return self._parent

    def adopt(self, entry: Entry) -> None:
        """Take `entry` as what this directory is to be in the end, for a root that `enter` did not make."""
        self._entry = entry

    def abandon(self) -> None:
        """Close it as it is."""
        if self._target.untrack(self):
            os.close(self.fd)

    def _complete(self) -> None:
        if not self._target.untrack(self):  # aborted
            return
        try:
            entry = self._entry
            if entry is not None and (self._made or self._settings.overwrite is not Policy.NEVER):
                inode.finish(self._settings, self.fd, entry, self.path, exact=self._exact)
                self._report.all_troubles(self.path, apply_flags(self.fd, entry.flags, exact=self._exact))
        finally:
            os.close(self.fd)

    # --- directories

    def enter(self, entry: Entry) -> Directory | None:
        """The subdirectory of that name, made 0700 or, if it is a real directory, reused; None if trouble was recorded.

        Anything else in the way is replaced unless the policy is NEVER.
        """
        name = existing.check_name(entry.name)
        path = self._below(name)
        try:
            made = self._make_directory(name, path)
            fd = None if made is None else self._open(name, made=made)
        except OSError as failure:
            self._report.failed(path, "directory", failure)
            return None
        if made is None or fd is None:
            return None
        if not made and self._settings.overwrite is not Policy.NEVER:
            existing.make_writable(fd)
        inheriting = inherits(fd) if self._inheriting or not made else False
        exact = self._inheriting or not made
        self._report.count("directories")
        return Directory(
            self._target, self.hold(), path, fd, entry=entry, made=made, exact=exact, inheriting=inheriting
        )

    def through(self, name: bytes) -> Directory | None:
        """A subdirectory on the way to what is restored, made 0755 if need be, else left as it is; None if trouble.

        Where a directory is expected and something else is, that stays, whatever the policy.
        """
        path = self._below(existing.check_name(name))
        try:
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o755, dir_fd=self.fd)
            fd = self._open(name, made=False)
        except OSError as failure:
            self._report.failed(path, "directory", failure)
            return None
        if fd is None:
            return None
        return Directory(
            self._target, self.hold(), path, fd, entry=None, made=False, exact=False, inheriting=inherits(fd)
        )

    def _open(self, name: bytes, *, made: bool) -> int | None:
        """A descriptor of a subdirectory; None if it must be left alone, which is trouble."""
        fd = existing.open_directory(self.fd, name)
        if made or not existing.is_one_of(fd, self._settings.protected):
            return fd
        os.close(fd)
        self._report.trouble(self._below(name), f"left alone: {existing.HOLDS_STORE}")
        return None

    def _make_directory(self, name: bytes, path: bytes) -> bool | None:
        """True if it was made, False if it was there, None if something else is and stays."""
        try:
            os.mkdir(name, 0o700, dir_fd=self.fd)
        except FileExistsError:
            if stat.S_ISDIR(os.stat(name, dir_fd=self.fd, follow_symlinks=False).st_mode):
                return False
        else:
            return True
        if self._settings.overwrite is Policy.NEVER:
            self._report.trouble(path, "something that is no directory is in the way")
            return None
        existing.remove(self.fd, name, protected=self._settings.protected)
        os.mkdir(name, 0o700, dir_fd=self.fd)
        return True

    def names(self) -> list[bytes]:
        """The raw names in the directory, sorted."""
        return sorted(os.fsencode(each) for each in os.listdir(self.fd))

    def remove(self, name: bytes, *, spare: Callable[[bytes, bool], bool] | None = None) -> int:
        """How many names went: a file, or a tree without following links; what cannot be removed is trouble.

        A tree stays as a whole if there is an obstacle in it (`existing.obstacle`).
        """
        path = self._below(existing.check_name(name))
        try:
            why = existing.obstacle(self.fd, name, protected=self._settings.protected, spare=spare)
            if why:
                self._report.trouble(path, f"not deleted: {why}")
                return 0
            removed = existing.remove(self.fd, name, protected=self._settings.protected)
        except OSError as failure:
            self._report.failed(path, "removing", failure)
            return 0
        self._report.count("removed", removed)
        return removed

    # --- files

    def write_small(self, files: Sequence[SmallFile], buffers: Sequence[Buffer]) -> None:
        """Write files whose bytes are in `buffers`, all in one call of the kernel. Raises TargetError (disk full)."""
        plain: list[SmallFile] = []
        for file in files:
            entry = file.entry
            existing.check_name(entry.name)
            given = sum([length for _, _, length in file.segments])
            if given == entry.size and not entry.holes:
                plain.append(file)
            elif given == entry.size - sum(length for _, length in entry.holes):
                self._write_sparse(file, buffers)
            else:
                self._report.trouble(self._below(entry.name), f"the snapshot has {given} bytes for {entry.size}")
        taken = self._write(plain, [file.entry.name for file in plain], buffers)
        if self._settings.overwrite is Policy.NEVER:
            if taken:
                self._report.count("skipped", len(taken))
        elif taken:
            again = self._write(taken, [existing.temporary_name() for _ in taken], buffers)
            for file in again:
                self._report.trouble(self._below(file.entry.name), "temporary name: EEXIST")

    def _write(self, files: Sequence[SmallFile], names: Sequence[bytes], buffers: Sequence[Buffer]) -> list[SmallFile]:
        """The files whose name is taken; the others are written, also under temporary names, and complete."""
        if not files:
            return []
        specs: list[bytes] = []
        segments: list[bytes] = []
        slow: list[bool] = []
        write, segment, owner_of = kernel.WRITE.pack, kernel.SEGMENT.pack, self._settings.owners.owner
        for file in files:
            entry = file.entry
            by_hand = bool(self._inheriting or entry.xattrs or entry.acl or entry.default_acl or entry.flags)
            slow.append(by_hand)
            uid, gid = (kernel.KEEP_ID, kernel.KEEP_ID) if by_hand else owner_of(entry)
            mode = 0o600 if by_hand else entry.mode
            specs.append(write(*entry.mtime, mode, uid, gid, len(segments), len(file.segments)))
            segments += [segment(*each) for each in file.segments]
        written = kernel.write_files(self.fd, b"\0".join(names) + b"\0", b"".join(specs), b"".join(segments), buffers)
        taken: list[SmallFile] = []
        doomed: TargetError | None = None
        done = size = 0
        for file, name, by_hand, (step, number) in zip(
            files, names, slow, kernel.WRITTEN.iter_unpack(written), strict=True
        ):
            entry = file.entry
            if step == kernel.Step.DONE and not by_hand and name == entry.name:
                done += 1
                size += entry.size
                continue
            if step == kernel.Step.OPEN and number == errno.EEXIST:
                taken.append(file)
                continue
            path = self._below(entry.name)
            try:
                if step in (kernel.Step.OPEN, kernel.Step.WRITE, kernel.Step.CLOSE):
                    self._report.failed(path, "writing", OSError(number, os.strerror(number)))
                    continue
                if step == kernel.Step.CHOWN:
                    self._report.owner_failed(number)
                elif step != kernel.Step.DONE:
                    self._report.trouble(path, f"metadata: {errno.errorcode.get(number, number)}")
                if by_hand:
                    placed = inode.settle(self._settings, self.fd, name, entry, path, exact=self._inheriting)
                else:
                    placed = inode.give_name(self._settings, self.fd, name, entry.name, path)
                if placed:
                    done += 1
                    size += entry.size
            except TargetError as failure:
                doomed = failure  # the rest of the batch is on disk already and gets its names first
        if done:
            self._report.count("files", done)
            self._report.count("bytes", size)
        if doomed is not None:
            raise doomed
        return taken

    def _write_sparse(self, file: SmallFile, buffers: Sequence[Buffer]) -> None:
        large = self.begin_large(file.entry)
        if large is None:
            return
        content = b"".join(memoryview(buffers[index])[at : at + length] for index, at, length in file.segments)
        try:
            used = position = 0
            for offset, length in (*file.entry.holes, (file.entry.size, 0)):
                large.write_at(position, content[used : used + offset - position])
                used += offset - position
                position = offset + length
        except TargetError:
            large.abandon()
            raise
        large.finish()

    def begin_large(self, entry: Entry) -> LargeFile | None:
        """A file to be filled piece by piece under a temporary name; None if trouble was recorded. TargetError."""
        name = existing.temporary_name()
        path = self._below(existing.check_name(entry.name))
        try:
            fd = os.open(name, _CREATE, 0o600, dir_fd=self.fd)
        except OSError as failure:
            self._report.failed(path, "writing", failure)
            return None
        return LargeFile(self._target, self.hold(), entry, fd=fd, name=name, path=path, exact=self._inheriting)

    # --- everything else

    def place_special(self, entry: Entry) -> None:
        """Make a symbolic link, FIFO or device; sockets, which mean nothing without their process, are only counted."""
        path = self._below(existing.check_name(entry.name))
        if entry.kind is Kind.SOCKET:
            self._report.count("sockets")
        elif inode.make_special(self._settings, self.fd, entry, path, exact=self._inheriting):
            self._report.count("others")

    def link(self, entry: Entry, source: Sequence[bytes]) -> bool:
        """Whether nothing is left to do for another name of the inode at `source`, components below the target's root.

        False: trouble was recorded and the name does not exist; the caller may write it as a file of its own.
        """
        path = self._below(existing.check_name(entry.name))
        try:
            with existing.reached(self._target.root.fd, source) as (folder, first):
                return inode.link(self._settings, (folder, first), self.fd, entry, path)
        except OSError as failure:
            self._report.failed(path, "hard link", failure)
            return False

    def keep(self, entry: Entry) -> bool:
        """Whether what has this name stays, so that content need not be fetched; its metadata is in line then.

        Under NEVER anything stays, under CHANGED what matches the entry, under ALWAYS nothing does. Not for directories
        (`enter` reuses them) nor for later names of a hard-linked file (`link` compares).
        """
        name = existing.check_name(entry.name)
        return not self._made and inode.keep(self._settings, self.fd, entry, self._below(name))

    def _below(self, name: bytes) -> bytes:
        return self.path + b"/" + name if self.path else name


class LargeFile:
    """A file that is filled from any thread, in any order, under a temporary name. Ends with `finish` or `abandon`."""

    def __init__(
        self, target: Target, directory: Directory, entry: Entry, *, fd: int, name: bytes, path: bytes, exact: bool
    ) -> None:
        self.entry = entry
        self.path = path
        self._target = target
        self._directory = directory
        self._fd = fd
        self._name = name
        self._exact = exact
        self._failure: OSError | None = None
        target.track(self)

    def write_at(self, offset: int, buffer: Buffer) -> None:
        """Write the bytes there; what is never written becomes a hole. Raises TargetError where going on is pointless.

        Trouble with this file alone is kept for `finish` to record, and later writes do nothing.
        """
        rest = memoryview(buffer)
        try:
            while rest and self._failure is None:
                written = os.pwrite(self._fd, rest, offset)
                offset += written
                rest = rest[written:]
        except OSError as failure:
            self._target.report.raise_if_fatal(self.path, failure.errno or 0)
            self._failure = failure

    def finish(self) -> bool:
        """Whether the file is in place, with its size, metadata and name; if not, it is gone. Raises TargetError."""
        settings, report = self._target.settings, self._target.report
        try:
            if self._failure is not None:
                raise self._failure
            os.ftruncate(self._fd, self.entry.size)
        except OSError as failure:
            self.abandon()
            report.failed(self.path, "writing", failure)
            return False
        if not self._target.untrack(self):
            return False
        try:
            made = (self._directory.fd, self._name)
            inode.finish_as(settings, self._fd, made, self.entry, self.path, exact=self._exact)
            placed = inode.give_name(settings, self._directory.fd, self._name, self.entry.name, self.path)
            if placed:
                report.all_troubles(self.path, apply_flags(self._fd, self.entry.flags, exact=self._exact))
                report.count("files")
                report.count("bytes", self.entry.size)
        finally:
            os.close(self._fd)
            self._directory.release()
        return placed

    def abandon(self) -> None:
        """Remove what there is of it; does nothing after `finish`."""
        if self._target.untrack(self):
            try:
                existing.discard(self._directory.fd, self._name)
            finally:
                os.close(self._fd)
                self._directory.release()
