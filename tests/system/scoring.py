"""One copy of a root, all mutations made in it, and what the command says before and after."""

from __future__ import annotations

import os

from tests.system.mutations import Mutation
from tests.system.roots import copy_of
from tests.system.seen import Report, audit, score


def check(root: bytes, work: bytes, mutations: tuple[Mutation, ...], *, reference: bytes = b"") -> Report:
    """The report after all mutations of one copy, which differs from the one before in nothing else."""
    home = os.path.join(work, b"home")
    os.makedirs(home)
    with copy_of(root, os.path.join(work, b"copy")) as copy:
        before = audit(copy, home, reference=reference)
        for mutation in mutations:
            mutation.make(copy)
        after = audit(copy, home, reference=reference)
        verdict = score(before, after, mutations)
        assert (dict(verdict.missed), verdict.wrong) == ({}, ())
        assert (verdict.precision, verdict.recall) == (1.0, 1.0)
        # The second look took most from its cache; one that knows nothing says the same.
        assert audit(copy, os.path.join(work, b"new-home"), reference=reference).rows == after.rows
        return after
