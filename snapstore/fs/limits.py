"""Limits that the system sets to a process."""

from __future__ import annotations

import contextlib
import resource


def allow_many_descriptors() -> None:
    """Nothing; the soft limit on open files is the hard one: each level of a deep tree keeps a directory open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        # Refused on systems whose hard limit is more than they really allow; the soft one then has to do.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
