"""Frozen values that two or more rooms share."""

from __future__ import annotations

import enum
import stat
from dataclasses import dataclass, field
from typing import Final, NewType

ChunkId = NewType("ChunkId", bytes)
"""32 bytes: BLAKE3-256 of a chunk's bytes (keyed where the store is encrypted)."""

SessionId = NewType("SessionId", bytes)
"""16 random bytes; 32 lower-case hexadecimal digits wherever it is shown. A snapshot is named by its session."""

Buffer = bytes | bytearray | memoryview


class Kind(enum.StrEnum):
    """What a directory entry is; the value is the element's name in a tree."""

    FILE = "file"
    DIRECTORY = "dir"
    SYMLINK = "link"
    CHARACTER_DEVICE = "chardev"
    BLOCK_DEVICE = "blockdev"
    FIFO = "fifo"
    SOCKET = "socket"


KIND_OF_TYPE: Final = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFDIR: Kind.DIRECTORY,
    stat.S_IFLNK: Kind.SYMLINK,
    stat.S_IFCHR: Kind.CHARACTER_DEVICE,
    stat.S_IFBLK: Kind.BLOCK_DEVICE,
    stat.S_IFIFO: Kind.FIFO,
    stat.S_IFSOCK: Kind.SOCKET,
}
"""What the file type of st_mode (`stat.S_IFMT`) stands for."""


@dataclass(frozen=True, slots=True)
class Xattr:
    """One extended attribute: raw name, raw value."""

    name: bytes
    value: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One name in a directory, with everything that a restore needs.

    `mode` holds the permission bits only (0o7777); `size` counts bytes, holes included, and is 0 for all but files.
    `mtime` is (seconds since the epoch, nanoseconds). `user` and `group` are empty where the number has no name.
    `acl` and `default_acl` are the text forms of `snapstore.format.acl`, empty where there is none.
    `holes` are (offset, length) pairs in order; a chunk list holds the bytes between the holes only.
    `links` is the link count for files that have several names, else 1; `hardlink` is the path, relative to the
    snapshot's root, of the first name of the same file in walk order, empty for that first name itself.
    `unread` is the symbolic errno of a file or directory whose content could not be read, else empty.
    A file's content is in `chunks`, or, where there are more than fit, in the list document `chunk_list`.
    """

    name: bytes
    kind: Kind
    mode: int
    uid: int
    gid: int
    user: str = ""
    group: str = ""
    mtime: tuple[int, int] = (0, 0)
    size: int = 0
    links: int = 1
    hardlink: bytes = b""
    rdev: tuple[int, int] = (0, 0)
    target: bytes = b""
    flags: str = ""
    acl: str = ""
    default_acl: str = ""
    xattrs: tuple[Xattr, ...] = ()
    holes: tuple[tuple[int, int], ...] = ()
    tree: ChunkId | None = None
    chunks: tuple[ChunkId, ...] = ()
    chunk_list: ChunkId | None = None
    unread: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """One path that was snapshot: where it was, and its entry (a directory, or a single file)."""

    path: bytes
    entry: Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What a snapshot holds and what it cost; bytes unless it says otherwise."""

    files: int = 0
    directories: int = 0
    others: int = 0
    size: int = 0
    new_chunks: int = 0
    new_data: int = 0
    new_manifest: int = 0
    stored_data: int = 0
    stored_manifest: int = 0
    warnings: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexRef:
    """An index object named by a commit record: its hash (of the stored bytes) and stored size."""

    digest: bytes
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A commit record: all that a snapshot states about itself.

    `started` and `ended` are nanoseconds since the epoch by the client's clock. `kind` is "snapshot", or "checkpoint"
    for the work of a run that had not finished. `previous` is the BLAKE3-256 of the writer's previous stored commit
    record, empty for its first. `scopes` pairs the name of a scope with the chunk of its record.
    """

    session: SessionId
    kind: str = "snapshot"
    name: str = ""
    tags: tuple[str, ...] = ()
    host: str = ""
    os_release: str = ""
    user: str = ""
    tool: str = ""
    started: int = 0
    ended: int = 0
    writer: bytes = b""
    sequence: int = 0
    previous: bytes = b""
    roots: tuple[Root, ...] = ()
    scopes: tuple[tuple[str, ChunkId], ...] = ()
    excludes: tuple[str, ...] = ()
    indexes: tuple[IndexRef, ...] = ()
    totals: Totals = field(default_factory=Totals)

    @property
    def id(self) -> str:
        """The name a person uses: 32 hexadecimal digits."""
        return self.session.hex()


@dataclass(frozen=True, slots=True)
class Warned:
    """Trouble with one source file, recorded and passed over."""

    path: bytes
    reason: str
