"""What a shell may complete from a store."""

from __future__ import annotations

from snapstore.cli.names import clean
from snapstore.cli.quantities import local_time
from snapstore.cli.settings import Settings, default_store
from snapstore.errors import SnapstoreError

_LIMIT = 200


def snapshot_names(settings: Settings, incomplete: str) -> list[tuple[str, str]]:
    """(id or name, what it is) of the snapshots that begin like that, newest first; none where the store cannot say.

    A person who presses a key did not ask for an error message.
    """
    try:
        return _snapshot_names(settings.chosen_store or default_store(), incomplete)
    except (SnapstoreError, OSError, ValueError):
        return []


def _snapshot_names(url: str, incomplete: str) -> list[tuple[str, str]]:
    from snapstore.backends import open_backend
    from snapstore.store.repository import open_store

    found: dict[str, str] = {}
    for snapshot in reversed(open_store(open_backend(url)).finals().snapshots()):
        about = clean(f"{local_time(snapshot.started)} {snapshot.host} {snapshot.name}")
        for name in (snapshot.name, snapshot.id[:8]):
            if name and name.isprintable() and name.startswith(incomplete) and len(found) < _LIMIT:
                found.setdefault(name, about)
    if "latest".startswith(incomplete):
        found["latest"] = "the newest snapshot"
    return list(found.items())
