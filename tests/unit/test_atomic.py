from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from snapstore.atomic import write_atomically


@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize("data", [b"", b"content", bytearray(b"x" * 100_000), memoryview(b"view")])
def test_the_file_holds_exactly_the_data(tmp_path: Path, data: bytes, *, durable: bool) -> None:
    path = tmp_path / "file"
    for _ in range(2):
        write_atomically(os.fsencode(path), data, durable=durable)
        assert path.read_bytes() == bytes(data)
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("name", [b"relative", b"odd \xff\n", b"n" * 255])
def test_any_path_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: bytes) -> None:
    monkeypatch.chdir(tmp_path)
    write_atomically(name, b"content", durable=True)
    assert os.listdir(os.fsencode(tmp_path)) == [name]


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o666])
def test_the_mode_is_exact_whatever_the_umask(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "file"
    path.touch(0o640)
    old = os.umask(0o077)
    try:
        write_atomically(str(path), b"content", durable=False, mode=mode)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_link_is_replaced_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"target")
    (tmp_path / "link").symlink_to("target")
    write_atomically(str(tmp_path / "link"), b"content", durable=False)
    assert not (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"target"


@pytest.mark.parametrize("durable", [True, False])
def test_fsyncs_before_and_after_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, durable: bool) -> None:
    events: list[tuple[str, int]] = []
    fsync, rename = os.fsync, os.rename

    def spy_fsync(fd: int) -> None:
        fsync(fd)
        events.append(("fsync", os.fstat(fd).st_ino))

    def spy_rename(src: bytes, dst: bytes, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        rename(src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        events.append(("rename", os.stat(dst, dir_fd=dst_dir_fd).st_ino))

    monkeypatch.setattr(os, "fsync", spy_fsync)
    monkeypatch.setattr(os, "rename", spy_rename)
    write_atomically(str(tmp_path / "file"), b"content", durable=durable)
    file, directory = (tmp_path / "file").stat().st_ino, tmp_path.stat().st_ino
    expected = [("fsync", file), ("rename", file), ("fsync", directory)]
    assert events == (expected if durable else [("rename", file)])


@pytest.mark.parametrize("call", ["write", "fsync", "fchmod", "rename"])
def test_an_error_leaves_the_old_content_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, call, fail)
        with pytest.raises(OSError, match="No space"):
            write_atomically(str(path), b"new", durable=True)
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_a_missing_directory_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_atomically(str(tmp_path / "nowhere/file"), b"content", durable=False)
    assert list(tmp_path.iterdir()) == []
