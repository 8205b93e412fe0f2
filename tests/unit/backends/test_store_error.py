from __future__ import annotations

import errno
import os

import pytest

from snapstore.backends.base import store_error, store_errors
from snapstore.errors import MissingObjectError, ReadOnlyStoreError, StoreError, StoreFullError


@pytest.mark.parametrize(
    ("number", "writing", "kind"),
    [
        (errno.ENOSPC, True, StoreFullError),
        (errno.EDQUOT, True, StoreFullError),
        (errno.EROFS, True, ReadOnlyStoreError),
        (errno.EACCES, True, ReadOnlyStoreError),
        (errno.EPERM, True, ReadOnlyStoreError),
        (errno.EACCES, False, StoreError),
        (errno.EIO, True, StoreError),
        (errno.EIO, False, StoreError),
        (errno.EMFILE, False, StoreError),
        (errno.ETIMEDOUT, False, StoreError),
    ],
)
def test_each_errno_has_its_consequence(number: int, kind: type[StoreError], *, writing: bool) -> None:
    error = store_error(OSError(number, os.strerror(number)), "packs/00/aa", writing=writing)
    assert type(error) is kind
    assert error.message == f"packs/00/aa: {os.strerror(number)}"
    assert error.advice
    assert "\n" not in str(error)


def test_other_errors_pass_as_they_are() -> None:
    with pytest.raises(MissingObjectError), store_errors("x", writing=False):
        raise MissingObjectError("config")
    with pytest.raises(StoreError, match="x: No such file") as caught, store_errors("x", writing=False):
        os.stat("/nowhere/at/all")
    assert isinstance(caught.value.__cause__, FileNotFoundError)
