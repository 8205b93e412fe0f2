from __future__ import annotations

import os
from pathlib import Path

import pytest

from snapstore.backends import LocalBackend, MemoryBackend, open_backend
from snapstore.errors import RequestError


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("/a/b", b"/a/b"),
        ("/a:b/c", b"/a:b/c"),
        (b"/a\xff", b"/a\xff"),
        (b"s3:raw", b"%(cwd)b/s3:raw"),
        ("relative/x", b"%(cwd)b/relative/x"),
        ("./a:b", b"%(cwd)b/./a:b"),
        ("file:///a/b%20c%FF", b"/a/b c\xff"),
        ("file://localhost/a", b"/a"),
        ("\udcff", b"%(cwd)b/\xff"),
    ],
)
def test_local_places(url: str | bytes, path: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    backend = open_backend(url)
    assert isinstance(backend, LocalBackend)
    assert backend.path == path.replace(b"%(cwd)b", os.fsencode(tmp_path))
    again = open_backend(backend.url)
    assert isinstance(again, LocalBackend)
    assert again.path == backend.path


def test_memory_is_shared_by_name() -> None:
    first, second, other = (open_backend(url) for url in ("memory:shared", "memory:shared", "memory:other"))
    assert isinstance(first, MemoryBackend)
    first.put("config", [b"content"])
    assert second.get("config") == b"content"
    assert not other.exists("config")
    assert first.url == "memory:shared"


def test_memory_without_a_name_is_alone() -> None:
    open_backend("memory:").put("config", [b"content"])
    assert not open_backend("memory:").exists("config")


@pytest.mark.parametrize("url", ["s3://bucket", "sftp://host/x", "host:path", "http://x", "C:\\x", ":x", "S3:b"])
def test_unknown_places_list_the_known(url: str) -> None:
    with pytest.raises(RequestError, match="memory:NAME"):
        open_backend(url)


@pytest.mark.parametrize("url", ["", b"", "file:", "file://host/a", "file:a", "/a\0b", "file:///a%00"])
def test_addresses_without_sense(url: str | bytes) -> None:
    with pytest.raises(RequestError):
        open_backend(url)
