"""Whole audits of the little system, and what they say of single paths."""

from __future__ import annotations

import os
from pathlib import Path

from snapstore.flow import Cancellation
from snapstore.ops.audit import Audit, audit_system
from snapstore.ops.inspection import SystemOptions
from snapstore.ops.progress import Silent
from snapstore.system.scopes.files import Class
from tests.contract.packagedroots import Dialect

Said = tuple[Class, tuple[str, ...]]
"""The class of a path, and in what it differs."""


def audit(root: Path, *dialects: Dialect, cache: Path) -> Audit:
    """The system with the managers of those dialects alone. PackageDatabaseError."""
    options = SystemOptions(root=os.fsencode(root), managers=tuple(dialect.manager() for dialect in dialects))
    return audit_system(
        options, cache=os.fsencode(cache), own=frozenset(), progress=Silent(), cancellation=Cancellation()
    )


def different(audited: Audit) -> dict[bytes, Said]:
    """What is not as packages have it."""
    return {row.path: (row.cls, row.changes) for row in audited.files if row.cls in (Class.CHANGED, Class.MISSING)}


def unmanaged(audited: Audit) -> set[bytes]:
    """What is nobody's; a tree by its top."""
    return {row.path for row in audited.files if row.cls is Class.UNMANAGED}


def pristine(audited: Audit) -> tuple[int, int, int]:
    """How many files, directories and others are exactly as packaged."""
    ((files, directories, others),) = [
        (total.files, total.directories, total.others) for total in audited.totals if total.cls == Class.PRISTINE.value
    ]
    return files, directories, others
