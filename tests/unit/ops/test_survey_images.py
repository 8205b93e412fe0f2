"""One image after another, mounted at the same place: what is known of one says nothing about the next."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from snapstore import kernel
from snapstore.flow import Cancellation
from snapstore.ops.inspection import SystemOptions
from snapstore.ops.running import SnapshotOptions, SnapshotResult
from snapstore.ops.systemsnapshot import snapshot_system
from snapstore.system.managers.pacman import Pacman
from tests.drive import Machine, Recorded, machine
from tests.tinysystem import TinySystem, tiny_system


@pytest.fixture
def system(tmp_path: Path) -> TinySystem:
    return tiny_system(tmp_path)


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr("snapstore.ops.running.SETTLED_NANOSECONDS", -(1 << 70))
    monkeypatch.setattr("snapstore.ops.survey.SETTLED_NANOSECONDS", -(1 << 70))
    result = machine(os.fsencode(tmp_path / "machine"))
    os.makedirs(result.local.cache)
    return result


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    names: list[bytes] = []
    original = kernel.read_files

    def noted(fd: int, listed: bytes, expected: bytes, buffer: bytearray, offset: int) -> bytes:
        names.extend(bytes(listed)[:-1].split(b"\0"))
        return original(fd, listed, expected, buffer, offset)

    monkeypatch.setattr(kernel, "read_files", noted)
    return names


def take(made: Machine, system: TinySystem) -> SnapshotResult:
    return snapshot_system(
        made.store, SystemOptions(root=os.fsencode(system.root), managers=(Pacman(),)), options=SnapshotOptions(),
        local=made.local, progress=Recorded(), cancellation=Cancellation(),
    )  # fmt: skip


def seen_as(monkeypatch: pytest.MonkeyPatch, change: Callable[[list[int]], list[int]]) -> None:
    real = os.fstatvfs
    monkeypatch.setattr(os, "fstatvfs", lambda fd: os.statvfs_result(change([*real(fd), real(fd).f_fsid])))


def test_another_file_system_is_read_whole_and_once(
    made: Machine, system: TinySystem, read: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    take(made, system)
    assert {b"tool", b"one", b"passwd"} <= set(read)
    read.clear()
    take(made, system)
    assert read == []
    seen_as(monkeypatch, lambda values: [*values[:10], values[10] ^ 1])
    take(made, system)
    assert {b"tool", b"one", b"passwd"} <= set(read)
    read.clear()
    take(made, system)
    assert read == []


def test_what_is_mounted_to_be_read_only_is_read_every_time(
    made: Machine, system: TinySystem, read: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen_as(monkeypatch, lambda values: [*values[:8], values[8] | os.ST_RDONLY, *values[9:]])
    for _ in range(2):
        read.clear()
        assert take(made, system).warnings == ()
        assert {b"tool", b"one", b"passwd"} <= set(read)
