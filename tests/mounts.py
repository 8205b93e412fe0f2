"""A file system of a test's own, where this process may mount one."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator

import pytest


@contextlib.contextmanager
def mounted_tmpfs(path: bytes, *, size: str) -> Iterator[None]:
    """Nothing; a new tmpfs of that size (mount(8)'s "1m") is at the directory, and is taken away in the end.

    Skips the test where nothing may be mounted: that takes CAP_SYS_ADMIN, which root has not got everywhere, so the
    mount itself is the question.
    """
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", os.fsdecode(path)]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount(8) here")
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.decode(errors='replace').strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", path], check=True)
