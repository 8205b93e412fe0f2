"""What an inspection of a system came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from snapstore.system.record import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspected:
    """Everything that is known of a system: the rows of each scope by its name, in order, and what to leave out.

    `skips` are names by directory, the path of which has no slash in front. `users` and `groups` are the names of the
    root's owners by number.
    """

    rows: dict[str, tuple[Row, ...]]
    skips: Mapping[bytes, frozenset[bytes]]
    users: dict[int, str]
    groups: dict[int, str]
