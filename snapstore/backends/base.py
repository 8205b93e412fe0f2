"""Places that keep named bytes: read, then write, then delete, each level a wider promise than the one before.

A function asks for the narrowest level that it needs. Objects are write-once: there is no replacing and no appending,
so whoever reads a name twice reads the same bytes twice. The public methods are final and check their arguments and
the answers once; an implementation fills in the private method of the same name.

Every backend is safe to use from several threads at once. Trouble is a StoreError, never an OSError.
"""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self, final

from snapstore.backends.names import check_name, check_prefix, is_name
from snapstore.errors import CorruptObjectError, ReadOnlyStoreError, StoreError, StoreFullError
from snapstore.model import Buffer

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_REFUSED = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})


@dataclass(frozen=True, slots=True, order=True)
class Listed:
    """One object as a listing shows it: its full name and its size in bytes."""

    name: str
    size: int


class ReadBackend(ABC):
    """A place to read objects from. `url` is what opens it again, and what messages call it."""

    def __init__(self, url: str) -> None:
        self.url = url

    @final
    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        """`length` bytes of the object from `offset`, or all that follow it.

        MissingObjectError where there is no such object; CorruptObjectError where it ends before the range does.
        """
        check_name(name)
        if offset < 0 or (length is not None and length < 0):
            raise ValueError(f"no range of bytes: offset {offset}, length {length}")
        data = self._get(name, offset, length)
        if length is not None and len(data) != length:
            raise CorruptObjectError(name, f"{length} bytes asked for at {offset}, {len(data)} came back")
        return data

    @final
    def view(self, name: str) -> memoryview:
        """The whole object, read-only and without a copy where the backend can (a local one maps the file).

        The memory stays valid for as long as the view or a slice of it is referenced, whatever becomes of the backend
        and of the object's name; drop views of large objects early. MissingObjectError where there is no such object.
        """
        return self._view(check_name(name))

    @final
    def size(self, name: str) -> int:
        """The object's size in bytes. MissingObjectError where there is no such object."""
        return self._size(check_name(name))

    @final
    def exists(self, name: str) -> bool:
        """Whether there is an object of that name."""
        return self._exists(check_name(name))

    @final
    def list(self, prefix: str) -> Iterator[Listed]:
        """Every object below the prefix, at any depth, in no order; "" lists all.

        An object put or deleted while the listing runs may or may not be in it; all others are, once. What is stored
        under a name that no object can have is not an object and is passed over. A prefix that holds nothing lists
        nothing.
        """
        check_prefix(prefix)
        return self._checked(prefix)

    @final
    def is_empty(self, *, besides: Iterable[str] = ()) -> bool:
        """Whether nothing at all lies here, besides these prefixes and what is above them.

        Unlike `list` it also sees what is no object: on a file system every entry counts, whatever its name and kind.
        What the backend itself may leave when it dies does not.
        """
        return self._is_empty([check_prefix(prefix) for prefix in besides])

    def close(self) -> None:
        """Nothing; the descriptors and connections are given back. No method may be called afterwards, or meanwhile."""
        return

    @final
    def __enter__(self) -> Self:
        return self

    @final
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _checked(self, prefix: str) -> Iterator[Listed]:
        for listed in self._list(prefix):
            if is_name(listed.name) and listed.name.startswith(prefix):
                yield listed

    @abstractmethod
    def _get(self, name: str, offset: int, length: int | None) -> bytes:
        """The range; CorruptObjectError for an offset past the end. An answer that is too short is noticed above."""

    def _view(self, name: str) -> memoryview:
        return memoryview(self._get(name, 0, None))

    @abstractmethod
    def _size(self, name: str) -> int: ...

    @abstractmethod
    def _exists(self, name: str) -> bool: ...

    @abstractmethod
    def _list(self, prefix: str) -> Iterator[Listed]: ...

    def _is_empty(self, besides: Sequence[str]) -> bool:
        del besides  # where prefixes are nothing by themselves, only objects count
        return next(iter(self._list("")), None) is None


class Staged(ABC):
    """An object on its way whose name is known only at the end; nobody sees it before `publish`.

    As a context manager it discards itself unless published. One thread at a time.
    """

    def __init__(self) -> None:
        self.size = 0
        self._over = False

    @final
    def write(self, part: Buffer) -> None:
        """Nothing; the bytes are appended. `size` counts them. After an error the object can only be discarded."""
        self._check_open()
        view = memoryview(part).cast("B")
        try:
            self._write(view)
        except BaseException:
            self.discard()
            raise
        self.size += len(view)

    @final
    def publish(self, name: str) -> bool:
        """As `WriteBackend.put` for the bytes written so far. Success or error, the staged object is over."""
        self._check_open()
        check_name(name)
        self._over = True
        return self._publish(name)

    @final
    def discard(self) -> None:
        """Nothing; what was written is dropped. Does nothing after `publish` or a second time."""
        if not self._over:
            self._over = True
            self._discard()

    @final
    def __enter__(self) -> Self:
        return self

    @final
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()

    def _check_open(self) -> None:
        if self._over:
            raise StoreError("a staged object was used after it was published or discarded")

    @abstractmethod
    def _write(self, part: memoryview) -> None: ...

    @abstractmethod
    def _publish(self, name: str) -> bool:
        """As `publish`; gives back the resources on every way out."""

    @abstractmethod
    def _discard(self) -> None: ...


class WriteBackend(ReadBackend):
    """A place that takes new objects, and never lets one object take another's name."""

    @final
    def prepare(self, prefixes: Iterable[str]) -> None:
        """Nothing; the place and these prefixes are there, durably, so that no later `put` has to make them.

        The one method that may be called where there is nothing yet, and again where all is there already.
        """
        self._prepare([check_prefix(prefix) for prefix in prefixes])

    @final
    def put(self, name: str, parts: Sequence[Buffer]) -> bool:
        """True if the object was made from the parts in order, False if it was there already with the same bytes.

        ObjectExistsError if the name is taken by other bytes: of several writers racing for a name exactly one wins.
        The object appears whole or not at all, and its content is durable before its name appears; the name itself is
        durable after the next `barrier`. StoreFullError, ReadOnlyStoreError, StoreError where it cannot be done; then
        the object may or may not be there.
        """
        check_name(name)
        return self._put(name, parts)

    @final
    def stage(self) -> Staged:
        """An empty staged object, to be written bit by bit and named at the end."""
        return self._stage()

    @final
    def barrier(self, touched: Iterable[str] | None = None) -> None:
        """Nothing; every name that this backend published or deleted before the call is durable, as it now is.

        With names or prefixes it covers only those, and with them what other writers did to these names or directly
        below these prefixes. StoreError if durability cannot be had; then none of the work since the last barrier may
        be relied on.
        """
        checked = None
        if touched is not None:
            checked = [check_name(each) if each and not each.endswith("/") else check_prefix(each) for each in touched]
        self._barrier(checked)

    @abstractmethod
    def _prepare(self, prefixes: Sequence[str]) -> None: ...

    @abstractmethod
    def _put(self, name: str, parts: Sequence[Buffer]) -> bool: ...

    @abstractmethod
    def _stage(self) -> Staged: ...

    @abstractmethod
    def _barrier(self, touched: Sequence[str] | None) -> None: ...


class DeleteBackend(WriteBackend):
    """A place that forgets objects too."""

    @final
    def delete(self, name: str) -> None:
        """Nothing; the object is gone, durably so after the next `barrier`. MissingObjectError if it was not there."""
        self._delete(check_name(name))

    @abstractmethod
    def _delete(self, name: str) -> None: ...


def range_end(name: str, *, size: int, offset: int, length: int | None) -> int:
    """Where the range ends in an object of `size` bytes. CorruptObjectError if it reaches past the end."""
    end = size if length is None else offset + length
    if offset > size or end > size:
        asked = "the rest" if length is None else f"{length} bytes"
        raise CorruptObjectError(name, f"{asked} asked for at {offset}, but it has {size} bytes")
    return end


def store_error(error: OSError, what: str, *, writing: bool) -> StoreError:
    """What an operating system's error means for the store; `what` names the object or the place."""
    message = f"{what}: {error.strerror or error}"
    if error.errno in _FULL:
        return StoreFullError(message, advice="make room; what was committed before is safe")
    if writing and error.errno in _REFUSED:
        return ReadOnlyStoreError(message, advice="check the store's owner, mode, mount and file system")
    if error.errno == errno.EIO:
        return StoreError(message, advice="suspect the disk; look at the kernel's log")
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return StoreError(message, advice="raise the limit on open files")
    return StoreError(message, advice="check that the store can be reached")


@contextmanager
def store_errors(what: str, *, writing: bool) -> Iterator[None]:
    """Nothing; an OSError inside leaves as the StoreError that it means."""
    try:
        yield
    except OSError as error:
        raise store_error(error, what, writing=writing) from error
