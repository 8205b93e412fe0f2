from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from snapstore.errors import TargetError
from snapstore.ops.destination import Destination, check_destination

OPEN = os.open


@pytest.fixture(params=["nameless", "named"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of a file system that has files without a name, as far as the one of the tests does, or has none."""

    def refuse(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        return OPEN(path, flags, *arguments, **options)

    if request.param == "named":
        monkeypatch.setattr(os, "open", refuse)
    return tmp_path


def write(path: Path, *, raising: Exception | None = None, making: Path | None = None) -> None:
    """Nothing; half a file is written before an error, or before a directory comes to stand in its place."""
    with Destination(os.fsencode(path)) as destination:
        destination.write(b"half")
        if making is not None:
            making.mkdir()
        if raising is not None:
            raise raising


def test_the_file_has_its_name_when_it_is_complete(folder: Path) -> None:
    (folder / "file").write_bytes(b"old")
    with Destination(os.fsencode(folder / "file")) as destination:
        destination.write(b"new ")
        destination.write(memoryview(b"content"))
        assert (folder / "file").read_bytes() == b"old"
    assert [each.name for each in folder.iterdir()] == ["file"]
    assert (folder / "file").read_bytes() == b"new content"
    assert stat.S_IMODE((folder / "file").stat().st_mode) == 0o600


def test_what_goes_wrong_leaves_nothing(folder: Path) -> None:
    (folder / "file").write_bytes(b"old")
    for name in ("file", "other"):
        with pytest.raises(ValueError, match="trouble"):
            write(folder / name, raising=ValueError("trouble"))
    assert [each.name for each in folder.iterdir()] == ["file"]
    assert (folder / "file").read_bytes() == b"old"


def test_a_name_that_cannot_be_had_in_the_end(folder: Path) -> None:
    with pytest.raises(TargetError, match="Is a directory"):
        write(folder / "taken", making=folder / "taken")
    assert [each.name for each in folder.iterdir()] == ["taken"]


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("none/x", "No such file"), ("file/x", "Not a directory"), ("folder", "Is a directory"),
        ("new/", "Is a directory"),
    ],
)  # fmt: skip
def test_what_can_be_said_before(tmp_path: Path, place: str, told: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    path = os.fsencode(f"{tmp_path}/{place}")
    with pytest.raises(TargetError, match=told):
        check_destination(path)
    with pytest.raises(TargetError, match=told), Destination(path):
        pass
    check_destination(os.fsencode(tmp_path / "new"))
    check_destination(b"/dev/null")
    assert not (tmp_path / "new").exists()
