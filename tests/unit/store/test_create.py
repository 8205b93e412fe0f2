"""Where a store may be made, and where not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from snapstore.backends import DeleteBackend, LocalBackend, MemoryBackend
from snapstore.errors import RequestError
from snapstore.store.repository import PREFIXES, create_store, open_store


def local(path: Path) -> LocalBackend:
    return LocalBackend(os.fsencode(path))


@pytest.mark.parametrize("name", [".hidden", "Upper", "plain", "lost+found/", "empty/", "packs/Upper", "refs/.x"])
def test_a_directory_that_holds_anything_is_refused_and_left_alone(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    if name.endswith("/"):
        path.mkdir()
    else:
        path.touch()
    before = sorted(tmp_path.rglob("*"))
    with local(tmp_path) as backend, pytest.raises(RequestError, match="is not empty"):
        create_store(backend)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_link_to_nowhere_is_something(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    with local(tmp_path) as backend, pytest.raises(RequestError, match="is not empty"):
        create_store(backend)


def test_making_a_store_can_be_repeated_after_it_was_cut_short(tmp_path: Path) -> None:
    for made in (0, 1, 100, len(PREFIXES)):
        with local(tmp_path / str(made)) as backend:
            backend.prepare(PREFIXES[:made])
            config = create_store(backend)
            assert open_store(backend).id == config.id
            with pytest.raises(RequestError, match="holds a store already"):
                create_store(backend)


def test_of_two_that_make_a_store_at_once_one_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    winner, loser = MemoryBackend("made twice at once"), MemoryBackend("made twice at once")
    prepare = DeleteBackend.prepare

    def overtaken(self: DeleteBackend, prefixes: tuple[str, ...]) -> None:
        prepare(self, prefixes)
        if self is loser:
            create_store(winner)

    monkeypatch.setattr(DeleteBackend, "prepare", overtaken)
    with pytest.raises(RequestError, match="holds a store already"):
        create_store(loser)
    assert open_store(loser).id == open_store(winner).id
