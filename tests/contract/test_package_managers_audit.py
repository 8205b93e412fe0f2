"""An audit of the same little system through any package manager: nothing of a fresh one, and exactly what was done."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import pytest

from snapstore.model import Kind
from snapstore.system.scopes.files import Class
from tests import surveying
from tests.contract.packagedaudits import Said, audit, different, pristine, unmanaged
from tests.contract.packageddatabases import DIALECTS
from tests.contract.packagedroots import ITEMS, LONG_AGO, Dialect, make_root, on_disk, write

DPKG, PACMAN, APK, RPM, _ = DIALECTS
AUDITED = [pytest.param(each, id=each.name, marks=() if each.owners else pytest.mark.root) for each in DIALECTS]
PLUGIN = b"/usr/share/tool/plugin"


@pytest.fixture(params=AUDITED)
def dialect(request: pytest.FixtureRequest) -> Dialect:
    asked = cast("Dialect", request.param)
    require_owners(asked)
    return asked


@pytest.fixture
def made(tmp_path: Path, dialect: Dialect) -> Path:
    """The little system, with a database of the dialect."""
    return make_root(tmp_path / "root", dialect)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    directory = tmp_path / "cache"
    directory.mkdir()
    return directory


def require_owners(*dialects: Dialect) -> None:
    """Nothing. Skips the test where files are expected to belong to root, and nobody here can make such."""
    if os.getuid() and not all(each.owners for each in dialects):
        pytest.skip("packages of dpkg have files of root, and only root can make those")


# -- what is done -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Something done to a root, and what an audit has to say of which path; `but` where a dialect knows less."""

    done: Callable[[bytes], object]
    said: Mapping[bytes, Said]
    but: Mapping[str, Mapping[bytes, Said]] = field(default_factory=dict)
    new: frozenset[bytes] = frozenset()


def changed(path: bytes, *changes: str) -> dict[bytes, Said]:
    return {path: (Class.CHANGED, changes)}


def missing(*paths: bytes) -> dict[bytes, Said]:
    return dict.fromkeys(paths, (Class.MISSING, ()))


def append(path: bytes) -> Callable[[bytes], object]:
    def done(root: bytes) -> None:
        with open(root + path, "ab") as file:
            file.write(b"more")

    return done


def secretly(path: bytes) -> Callable[[bytes], object]:
    """Other bytes, as many as before, and the time of before."""

    def done(root: bytes) -> None:
        with open(root + path, "r+b") as file:
            first = file.read(1)
            file.seek(0)
            file.write(bytes([first[0] ^ 1]))
        os.utime(root + path, ns=(LONG_AGO, LONG_AGO))

    return done


def chmod(path: bytes, mode: int) -> Callable[[bytes], object]:
    return lambda root: os.chmod(root + path, mode)


def delete(path: bytes) -> Callable[[bytes], object]:
    def done(root: bytes) -> None:
        if os.path.isdir(root + path):
            shutil.rmtree(root + path)
        else:
            os.unlink(root + path)

    return done


def link(path: bytes, target: bytes) -> Callable[[bytes], object]:
    """A link in place of whatever is there."""

    def done(root: bytes) -> None:
        delete(path)(root)
        os.symlink(target, root + path)

    return done


def put(path: bytes, data: bytes | None) -> Callable[[bytes], object]:
    """A new file, or for None a directory, in place of whatever is there."""

    def done(root: bytes) -> None:
        if os.path.lexists(root + path):
            delete(path)(root)
        if data is None:
            os.mkdir(root + path)
            os.chmod(root + path, 0o755)
            return
        with open(root + path, "wb") as file:
            file.write(data)
        os.chmod(root + path, 0o644)

    return done


UMLAUT = "/usr/share/tool/gr\N{LATIN SMALL LETTER U WITH DIAERESIS}n".encode()
LIBRARY, RAISE, SPARE = b"/usr/lib/library.so.2.5", b"/usr/bin/raise", b"/usr/share/tool/spare"
CHANGES = {
    "content of a program": Change(done=append(b"/usr/bin/tool"), said=changed(b"/usr/bin/tool", "content")),
    "content of the same size and time": Change(
        done=secretly(b"/usr/share/tool/help text"), said=changed(b"/usr/share/tool/help text", "content")
    ),
    "content of a file with another name": Change(done=secretly(UMLAUT), said=changed(UMLAUT, "content")),
    "content where there was none": Change(
        done=append(b"/usr/share/tool/empty"), said=changed(b"/usr/share/tool/empty", "content")
    ),
    "content that two packages have": Change(
        done=secretly(b"/usr/share/twin/notice"), said=changed(b"/usr/share/twin/notice", "content")
    ),
    "a setting": Change(done=append(b"/etc/tool.conf"), said=changed(b"/etc/tool.conf", "content")),
    "a file that all may write": Change(done=chmod(UMLAUT, 0o666), said=changed(UMLAUT, "mode")),
    "a program that nobody can run": Change(
        done=chmod(LIBRARY, 0o644), said=changed(LIBRARY, "mode"), but={"dpkg": {}}
    ),
    "setuid, given": Change(done=chmod(LIBRARY, 0o4755), said=changed(LIBRARY, "mode")),
    "setuid, taken": Change(done=chmod(RAISE, 0o755), said=changed(RAISE, "mode")),
    "a directory of its owner alone": Change(done=chmod(SPARE, 0o700), said=changed(SPARE, "mode")),
    "a link that leads elsewhere": Change(done=link(b"/usr/bin/t", b"/bin/sh"), said=changed(b"/usr/bin/t", "target")),
    "a link that became a file": Change(
        done=put(b"/usr/bin/t", b"tool"),
        said=changed(b"/usr/bin/t", "type"),
        # Neither says which of the two it is; apk has the digest of the target, which is the content here.
        but={"dpkg": changed(b"/usr/bin/t", "unverified"), "apk": changed(b"/usr/bin/t", "mode")},
    ),
    "a file that became a link": Change(
        done=link(PLUGIN, b"empty"), said=changed(PLUGIN, "type"), but={"apk": changed(PLUGIN, "target")}
    ),
    "a file that became a directory": Change(done=put(PLUGIN, None), said=changed(PLUGIN, "type")),
    "a directory that became a link": Change(
        done=link(SPARE, b"/srv"),
        said=changed(SPARE, "type"),
        but={"dpkg": changed(SPARE, "target")},  # nothing is below it, so that it may as well have been a link
    ),
    "a file that is gone": Change(
        done=delete(b"/usr/share/tool/help text"), said=missing(b"/usr/share/tool/help text")
    ),
    "a directory that is gone": Change(
        done=delete(b"/usr/share/doc/library"),
        said=missing(b"/usr/share/doc/library", b"/usr/share/doc/library/copyright"),
    ),
    "a new file beside the others": Change(
        done=put(b"/usr/share/tool/new", b"new"), said={}, new=frozenset({b"/usr/share/tool/new"})
    ),
}


def test_a_fresh_system_is_as_packaged_and_every_path_is_counted(made: Path, dialect: Dialect, cache: Path) -> None:
    for _ in range(2):  # the second time from the cache
        audited = audit(made, dialect, cache=cache)
        assert different(audited) == {}
        assert not audited.warnings
        assert unmanaged(audited) >= {b"/srv/data"}
        there = [total for total in audited.totals if total.cls != Class.MISSING.value]
        counted = [
            sum(values)
            for values in zip(*((each.files, each.directories, each.others, each.size) for each in there), strict=True)
        ]
        assert tuple(counted) == surveying.on_disk(os.fsencode(made))
        files, _, others = pristine(audited)
        assert files == sum(item.kind is Kind.FILE for item in ITEMS)
        assert others == sum(item.kind is Kind.SYMLINK for item in ITEMS)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_is_done_to_a_system_is_all_that_an_audit_reports(
    made: Path, dialect: Dialect, cache: Path, change: Change
) -> None:
    before = audit(made, dialect, cache=cache)
    change.done(os.fsencode(made))
    after = audit(made, dialect, cache=cache)
    assert different(after) == change.but.get(dialect.name, change.said)
    assert unmanaged(after) - unmanaged(before) == change.new
    assert unmanaged(before) <= unmanaged(after)
    settings = {row.path for row in after.files if row.config}
    assert settings <= {b"/etc/tool.conf"}
    assert (b"/etc/tool.conf" in settings) == (b"/etc/tool.conf" in different(after))


@pytest.mark.root
def test_a_file_of_somebody_else_is_reported(made: Path, dialect: Dialect, cache: Path) -> None:
    if os.getuid():
        pytest.skip("only root can give a file away")
    os.chown(on_disk(made, PLUGIN), 12, -1)
    assert different(audit(made, dialect, cache=cache)) == changed(PLUGIN, "owner")
    os.chown(on_disk(made, PLUGIN), 0, 12)
    assert different(audit(made, dialect, cache=cache)) == changed(PLUGIN, "owner")


# -- several managers on one root -------------------------------------------------------------------------------------

NEWER = tuple(
    replace(item, content=b"#!/bin/sh\necho newer\n") if item.path == b"/bin/tool" else item for item in ITEMS
)  # fmt: skip
PAIRS = [
    pytest.param(pair, id=" ".join(map(str, pair)), marks=() if all(each.owners for each in pair) else pytest.mark.root)
    for pair in ((DPKG, PACMAN), (PACMAN, APK), (APK, DPKG), (RPM, PACMAN), (RPM, APK))
]


@pytest.fixture(params=PAIRS)
def pair(request: pytest.FixtureRequest) -> tuple[Dialect, Dialect]:
    asked = cast("tuple[Dialect, Dialect]", request.param)
    require_owners(*asked)
    return asked


def test_what_two_managers_have_is_as_packaged_if_it_is_as_one_of_them_says(
    pair: tuple[Dialect, Dialect], tmp_path: Path, cache: Path
) -> None:
    first, second = pair
    made = make_root(tmp_path / "root", first)
    write(made, second.database(NEWER))
    (tool,) = [item.content for item in NEWER if item.path == b"/bin/tool"]
    for data, said in ((None, {}), (tool, {}), (b"neither", changed(b"/usr/bin/tool", "content"))):
        if data is not None:
            (made / "usr/bin/tool").write_bytes(data)
        for dialects in (pair, pair[::-1]):
            audited = audit(made, *dialects, cache=cache)
            assert different(audited) == said
            assert {each.manager for each in audited.packages} == {first.name, second.name}
            versions = {(each.manager, each.version) for each in audited.packages if each.name == "tool"}
            assert len(versions) == 2
    alone = audit(make_root(tmp_path / "alone", first), first, cache=cache)
    assert different(alone) == {}


def test_what_one_of_two_managers_knows_nothing_of_is_the_others(
    pair: tuple[Dialect, Dialect], tmp_path: Path, cache: Path
) -> None:
    first, second = pair
    made = make_root(tmp_path / "root", first)
    write(made, second.database(tuple(item for item in ITEMS if item.package != "tool")))
    append(PLUGIN)(os.fsencode(made))
    append(b"/usr/bin/tool")(os.fsencode(made))
    assert different(audit(made, first, second, cache=cache)) == {
        **changed(PLUGIN, "content"), **changed(b"/usr/bin/tool", "content"),
    }  # fmt: skip
    assert b"/usr/bin/tool" not in different(audit(made, second, cache=cache))
