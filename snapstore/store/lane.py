"""A writer's identity: who wrote which commit after which (the chain of docs/format.md, section 10.3).

Each run of a client takes a lane: a small state file that it keeps locked. Runs at the same time take different lanes,
so that every chain is a line and never a fork. Losing the state starts a new chain and loses nothing else.
"""

from __future__ import annotations

import fcntl
import os
import struct
from types import TracebackType
from typing import Self

from snapstore.atomic import write_atomically
from snapstore.errors import RequestError

_STATE = struct.Struct("<8s16sQ32s")
_MAGIC = b"SNAPLANE"
_LANES = 256


class Lane:
    """One lane, locked.

    `writer` is its 16-byte name, `sequence` the number of its last commit, `previous` that commit's hash (empty before
    the first).
    """

    def __init__(self, directory: bytes) -> None:
        """Takes the first lane that is free; `directory` exists and belongs to one store. RequestError if none is."""
        for number in range(_LANES):
            path = os.path.join(directory, b"lane-%d" % number)
            lock = os.open(path + b".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                continue
            self._lock = lock
            self._path = path
            break
        else:
            raise RequestError(
                f"{_LANES} snapshots run at once from this account", advice="wait until one of them has ended"
            )
        self.writer, self.sequence, self.previous = self._load()

    def _load(self) -> tuple[bytes, int, bytes]:
        try:
            with open(self._path, "rb") as file:
                state = file.read(_STATE.size + 1)
        except FileNotFoundError:
            state = b""
        if len(state) == _STATE.size:
            magic, writer, sequence, previous = _STATE.unpack(state)
            if magic == _MAGIC:
                return writer, sequence, previous if sequence else b""
        return os.urandom(16), 0, b""

    def catch_up(self, sequence: int, digest: bytes) -> None:
        """Takes note of a commit of this lane that the store has; one that is not the newest changes nothing.

        A run that ended between its commit and `advance` leaves the state behind the store, and the chain would fork.
        """
        if sequence > self.sequence:
            self.sequence = sequence
            self.previous = digest

    def advance(self, digest: bytes) -> None:
        """Notes that this lane's next commit was made and has that hash. Durable."""
        self.sequence += 1
        self.previous = digest
        write_atomically(self._path, _STATE.pack(_MAGIC, self.writer, self.sequence, digest), durable=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._lock)
