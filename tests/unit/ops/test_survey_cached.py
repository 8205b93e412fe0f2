"""What a survey may take over from the last one, and what it must look at again."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from snapstore import kernel
from snapstore.fs.digests import Hashed, Wanted, hash_files
from snapstore.kernel import ENTRY
from snapstore.ops import verification
from snapstore.system.scopes.files import Class
from tests.surveying import Site, rows_by_path


@pytest.fixture
def site(tmp_path: os.PathLike[str]) -> Site:
    base = os.fsencode(tmp_path)
    made = Site(os.path.join(base, b"root"), os.path.join(base, b"cache"))
    os.mkdir(made.root, 0o755)
    for name in (b"a", b"b", b"c"):
        made.make(b"/usr/" + name, b"content of " + name)
    made.own_all()
    return made


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The names of the files whose content is read, as it happens."""
    names: list[bytes] = []

    def noted(directory: int, wanted: Sequence[Wanted], buffer: bytearray) -> Iterator[Hashed]:
        names.extend(each.name for each in wanted)
        return hash_files(directory, wanted, buffer)

    monkeypatch.setattr(verification, "hash_files", noted)
    return names


def test_what_has_settled_is_read_once(site: Site, read: list[bytes]) -> None:
    site.survey()
    assert sorted(read) == [b"a", b"b", b"c"]
    site.tag = b"1" * 16
    site.survey()
    assert len(read) == 3


def test_what_was_written_just_now_is_read_again(site: Site, read: list[bytes]) -> None:
    # A write in the same tick of the clock would leave size and times as they are.
    site.survey(settled=False)
    site.survey(settled=False)
    assert sorted(read) == [b"a", b"a", b"b", b"b", b"c", b"c"]


def test_what_has_not_settled_is_read_again_among_what_has(site: Site, read: list[bytes]) -> None:
    site.survey()
    site.make(b"/usr/b", b"Content of b")
    site.survey(settled=False)
    site.survey(settled=False)
    assert sorted(read) == [b"a", b"b", b"b", b"b", b"c"]


@pytest.mark.parametrize(
    ("values", "changes"),
    [
        ({"mode": 0o600}, ("mode",)),
        ({"uid": 4242}, ("owner",)),
        ({"uid": None, "user": "nobody-here"}, ("owner",)),
        ({"capabilities": "cap_net_raw=ep"}, ("capabilities",)),
        ({"obsolete": True}, ("obsolete",)),
        ({"vouched": False}, ("unverified",)),
    ],
)
def test_a_package_that_asks_for_something_else_is_asked_again(
    site: Site, values: dict[str, Any], changes: tuple[str, ...]
) -> None:
    """The content is the same, and the file has not been touched: the database or the reference changed."""
    assert site.survey().rows == ()
    site.owned = [each._replace(**values) if each.path == b"/usr/a" else each for each in site.owned]
    site.tag = b"1" * 16
    found = rows_by_path(site.survey())
    assert {path: row.changes for path, row in found.items()} == {b"/usr/a": changes}


def test_an_owner_of_another_name_is_another_owner(site: Site) -> None:
    uid = os.getuid()
    site.users = {uid: "someone"}
    site.owned = [each._replace(uid=None, user="someone") for each in site.owned]
    assert site.survey().rows == ()
    site.users = {uid: "other"}
    site.tag = b"1" * 16
    found = rows_by_path(site.survey())
    assert found[b"/usr/a"].changes == ("owner",)
    assert (found[b"/usr/a"].owner.partition(":")[0], found[b"/usr/a"].packaged_owner.partition(":")[0]) == (
        "other", "someone",
    )  # fmt: skip


def test_trouble_is_told_every_time(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    scan = kernel.scan_directory

    def failing(fd: int) -> tuple[bytes, bytes, tuple[int, ...], int]:
        names, records, devices, newest = scan(fd)
        if b"b" not in names.split(b"\0"):
            return names, records, devices, newest
        at = names.split(b"\0").index(b"b") * ENTRY.size
        broken = ENTRY.pack(*[0] * 13, errno.EIO, 0)
        return names, records[:at] + broken + records[at + ENTRY.size :], devices, newest

    monkeypatch.setattr(kernel, "scan_directory", failing)
    for _ in range(3):
        site.progress.warned.clear()
        site.survey()
        assert [(each.path, each.reason) for each in site.progress.warned] == [(b"/usr/b", "EIO")]


def test_another_file_system_at_the_same_place_is_read(
    site: Site, read: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    site.survey()
    real = os.fstatvfs

    def other(fd: int) -> os.statvfs_result:
        values = list(real(fd))
        return os.statvfs_result((*values[:10], 77))

    monkeypatch.setattr(os, "fstatvfs", other)
    site.survey()
    assert sorted(read) == [b"a", b"a", b"b", b"b", b"c", b"c"]
    site.survey()
    assert len(read) == 6


def test_an_image_is_read_every_time(site: Site, read: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    # Two images made alike agree in inodes and times, whatever is in their files.
    real = os.fstatvfs

    def image(fd: int) -> os.statvfs_result:
        values = list(real(fd))
        values[8] |= os.ST_RDONLY
        return os.statvfs_result(values)

    monkeypatch.setattr(os, "fstatvfs", image)
    site.survey()
    site.survey()
    assert len(read) == 6


def test_the_top_is_judged_again_until_it_has_settled(site: Site) -> None:
    site.survey(settled=False)
    before = site.asked
    site.survey(settled=False)
    assert site.asked > before


def test_a_file_restored_to_what_it_was_is_pristine_again(site: Site) -> None:
    site.survey()
    site.make(b"/usr/a", b"altered")
    assert [row.cls for row in site.survey().rows] == [Class.CHANGED]
    site.make(b"/usr/a", b"content of a")
    assert site.survey().rows == ()
