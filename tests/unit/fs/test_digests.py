from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from snapstore import kernel
from snapstore.fs import digests
from snapstore.fs.digests import BUFFER_SIZE, Hashed, Wanted, hash_files
from snapstore.kernel import ENTRY


@dataclass
class Folder:
    path: bytes
    fd: int

    def write(self, name: bytes, data: bytes) -> None:
        with open(os.path.join(self.path, name), "wb") as file:
            file.write(data)

    def wanted(self, *algorithms: str) -> list[Wanted]:
        names, records, _, _ = kernel.scan_directory(self.fd)
        size = ENTRY.size
        return [
            Wanted(name, records[at * size : (at + 1) * size], algorithms)
            for at, name in enumerate(names[:-1].split(b"\0") if names else ())
        ]

    def hashed(self, wanted: list[Wanted]) -> dict[bytes, Hashed]:
        found = hash_files(self.fd, wanted, bytearray(BUFFER_SIZE))
        return {each.name: result for each, result in zip(wanted, found, strict=True)}


@pytest.fixture
def folder(tmp_path: os.PathLike[str]) -> Iterator[Folder]:
    path = os.fsencode(tmp_path)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    yield Folder(path, fd)
    os.close(fd)


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256", "sha384", "sha512"])
def test_the_hashes_are_those_of_the_bytes(folder: Folder, algorithm: str) -> None:
    contents = {b"%d" % size: os.urandom(size) for size in (0, 1, 2047, 70_000, 1 << 20, (1 << 20) + 1, 5 << 20)}
    for name, data in contents.items():
        folder.write(name, data)
    found = folder.hashed(folder.wanted(algorithm))
    for name, data in contents.items():
        assert found[name].values == {algorithm: hashlib.new(algorithm, data).digest()}
        assert not found[name].trouble


def test_several_algorithms_at_once(folder: Folder) -> None:
    folder.write(b"a", b"data")
    (result,) = folder.hashed(folder.wanted("md5", "sha256")).values()
    assert set(result.values) == {"md5", "sha256"}


def test_more_than_a_buffer_of_small_files(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "SMALL_LIMIT", 1 << 16)
    contents = {b"%03d" % number: os.urandom(60_000) for number in range(100)}
    for name, data in contents.items():
        folder.write(name, data)
    found = folder.hashed(folder.wanted("md5"))
    assert {name: each.values["md5"] for name, each in found.items()} == {
        name: hashlib.md5(data, usedforsecurity=False).digest() for name, data in contents.items()
    }


def test_holes_are_zeros(folder: Folder) -> None:
    with open(os.path.join(folder.path, b"sparse"), "wb") as file:
        file.truncate(300_000)
        file.seek(200_000)
        file.write(b"data")
    data = bytes(200_000) + b"data" + bytes(99_996)
    (result,) = folder.hashed(folder.wanted("md5")).values()
    assert result.values == {"md5": hashlib.md5(data, usedforsecurity=False).digest()}


@pytest.mark.parametrize("size", [10, 2 << 20])
def test_a_file_that_is_another_one_is_not_hashed(folder: Folder, size: int) -> None:
    folder.write(b"a", bytes(size))
    wanted = folder.wanted("md5")
    os.utime(os.path.join(folder.path, b"a"), (0, 0))
    (result,) = folder.hashed(wanted).values()
    assert (result.values, result.trouble) == ({}, "changed")


@pytest.mark.parametrize("size", [10, 2 << 20])
def test_what_went_away_is_gone(folder: Folder, size: int) -> None:
    folder.write(b"gone", bytes(size))
    folder.write(b"link", bytes(size))
    folder.write(b"stays", bytes(size))
    wanted = folder.wanted("md5")
    for name in (b"gone", b"link"):
        os.unlink(os.path.join(folder.path, name))
    os.symlink(b"stays", os.path.join(folder.path, b"link"))
    found = folder.hashed(wanted)
    assert found[b"gone"].gone
    assert found[b"link"].gone
    assert found[b"stays"].values


def test_a_fifo_in_the_place_of_a_file_does_not_block(folder: Folder) -> None:
    for name, size in ((b"small", 10), (b"large", 2 << 20)):
        folder.write(name, bytes(size))
    wanted = folder.wanted("md5")
    for name in (b"small", b"large"):
        os.unlink(os.path.join(folder.path, name))
        os.mkfifo(os.path.join(folder.path, name))
    found = folder.hashed(wanted)
    assert all(not each.values and each.trouble for each in found.values())


def test_attributes_are_seen(folder: Folder) -> None:
    folder.write(b"plain", b"1")
    folder.write(b"with", b"1")
    try:
        os.setxattr(os.path.join(folder.path, b"with"), "user.note", b"1")
    except OSError:
        pytest.skip("this file system has no user attributes")
    found = folder.hashed(folder.wanted("md5"))
    assert found[b"with"].attributes
    assert not found[b"plain"].attributes
