"""The places that the contract is checked on; a new backend is one more line in PLACES."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from snapstore.backends import DeleteBackend, LocalBackend, MemoryBackend
from tests.crash.faulty import FaultyBackend
from tests.crash.powerloss import PowerLossBackend

PREFIXES = ("packs/00/", "packs/01/", "index/", "refs/")

Opener = Callable[[], DeleteBackend]


def _local(directory: str) -> Opener:
    return lambda: LocalBackend(os.fsencode(directory))


def _local_named(directory: str) -> Opener:
    return lambda: LocalBackend(os.fsencode(directory), anonymous=False)


def _memory(directory: str) -> Opener:
    name = secrets.token_hex(8) + os.path.basename(directory)
    return lambda: MemoryBackend(name)


def _faultless(directory: str) -> Opener:
    opened = _memory(directory)
    return lambda: FaultyBackend(opened())


def _power_loss(directory: str) -> Opener:
    del directory
    backend = PowerLossBackend()
    return lambda: backend


PLACES = {
    "local": _local,
    "local-named": _local_named,
    "memory": _memory,
    "faultless": _faultless,
    "power-loss": _power_loss,
}


@dataclass(frozen=True, slots=True)
class Place:
    """One place to keep bytes. Whatever is opened is closed after the test."""

    opener: Opener
    opened: ExitStack

    def open(self) -> DeleteBackend:
        """Another backend of the same place."""
        return self.opened.enter_context(self.opener())


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("place") / "store"
    with ExitStack() as opened:
        yield Place(PLACES[cast("str", request.param)](str(directory)), opened)


@pytest.fixture
def backend(place: Place) -> DeleteBackend:
    """An empty, prepared backend."""
    backend = place.open()
    backend.prepare(PREFIXES)
    return backend


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where a local store may be made."""
    return tmp_path / "store"


def put(backend: DeleteBackend, name: str, data: bytes) -> bool:
    return backend.put(name, [data])


def stage_and_publish(backend: DeleteBackend, name: str, data: bytes) -> bool:
    with backend.stage() as staged:
        staged.write(data)
        return staged.publish(name)


both_ways = pytest.mark.parametrize("make", [put, stage_and_publish])
Make = Callable[[DeleteBackend, str, bytes], bool]
anonymous_or_named = pytest.mark.parametrize("anonymous", [True, False], ids=["anonymous", "named"])
