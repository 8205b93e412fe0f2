"""The error tree, sorted by consequence rather than origin.

::

    SnapstoreError                      the root; `exit_code` is what the command line leaves with
    ├── StoreError                      the store: stops the run                                    1
    │   ├── NoStoreError                nothing there, or not a store                              10
    │   ├── WrongKeyError               no key slot opens                                          12
    │   ├── FormatVersionError          written by a newer snapstore                                1
    │   ├── CorruptObjectError          an object's bytes are not what its name or tag promise      1
    │   ├── MissingObjectError          an object that another one names is gone                    1
    │   ├── ObjectExistsError           put-if-absent lost                                          1
    │   ├── ReadOnlyStoreError          the place does not let us write                             1
    │   ├── StoreFullError              no room or quota left                                       1
    │   └── SessionFencedError          a collector decided this session                            1
    ├── RequestError                    what was asked for cannot be done; nothing was touched      1
    │   ├── UnknownSnapshotError        no snapshot, or more than one, answers to that name         1
    │   ├── UnknownPathError            the snapshot holds no such path                             1
    │   ├── TargetNotEmptyError         a restore would mix with what is there                      1
    │   ├── PackageDatabaseError        a package database cannot be understood                     1
    │   └── HostError                   a program of this machine failed                            1
    ├── TargetError                     writing a restored file failed                              1
    ├── KernelUnavailableError          the kernel asked for by name was not built                  1
    └── CancelledError                  stopped by the person                                     130

Trouble with one source file is not an error: it is recorded as a `Warned` and the run goes on (exit code 3), so that no
`except` written for it can swallow trouble with the store. Every message is one line, names the object, and `advice`
says what a person can do next.
"""

from __future__ import annotations

from typing import ClassVar


class SnapstoreError(Exception):
    """Anything this package raises on purpose."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, advice: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice

    def __str__(self) -> str:
        return f"{self.message} ({self.advice})" if self.advice else self.message


class StoreError(SnapstoreError):
    """The store cannot be trusted to hold what we give it, or to give back what it holds."""


class NoStoreError(StoreError):
    """There is no store at that place."""

    exit_code = 10


class WrongKeyError(StoreError):
    """No key slot of the store opens with the key offered."""

    exit_code = 12


class FormatVersionError(StoreError):
    """The object states a format version that this release does not accept."""


class CorruptObjectError(StoreError):
    """Bytes read from the store are not the bytes that were written."""

    def __init__(self, name: str, reason: str, *, advice: str = "run `snapstore check --read-data`") -> None:
        super().__init__(f"{name} is damaged: {reason}", advice=advice)
        self.name = name
        self.reason = reason


class MissingObjectError(StoreError):
    """An object that the store should hold is not there."""

    def __init__(self, name: str, *, advice: str = "run `snapstore check`") -> None:
        super().__init__(f"{name} is missing from the store", advice=advice)
        self.name = name


class ObjectExistsError(StoreError):
    """The name is taken: a put-if-absent was lost, and the bytes there differ or were not compared."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} exists already")
        self.name = name


class ReadOnlyStoreError(StoreError):
    """The backend refuses to write."""


class StoreFullError(StoreError):
    """The backend has no room left."""


class SessionFencedError(StoreError):
    """A collector ended this session; what it wrote is garbage and has to be written again."""


class RequestError(SnapstoreError):
    """The request makes no sense for this store; nothing was changed."""


class UnknownSnapshotError(RequestError):
    """The name matches no snapshot, or several."""


class UnknownPathError(RequestError):
    """The snapshot does not hold that path."""


class TargetNotEmptyError(RequestError):
    """The restore target holds files already."""


class PackageDatabaseError(RequestError):
    """A package database is there and cannot be read as a whole: what it owns cannot be told from what it does not."""


class HostError(RequestError):
    """A program of this machine could not be run, or did not do what it was asked for."""


class TargetError(SnapstoreError):
    """A restored file could not be written as it should."""


class KernelUnavailableError(SnapstoreError):
    """A kernel was asked for by name and cannot run here."""


class CancelledError(SnapstoreError):
    """The person stopped the run."""

    exit_code = 130
