"""Fresh Debian roots: what no package owns and no person made is explained by a rule, and nothing else is."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

import pytest

from snapstore.system.managers.dpkg import Dpkg
from snapstore.system.packages import Ownership
from snapstore.system.root import Root
from snapstore.system.rulebook import RuleBook, load_rules

# What whoever builds a root decides: where packages come from, its name. And what a package's script computes from its
# own list of certificates, which differs from version to version.
DECIDED = {b"/etc/apt/sources.list", b"/etc/hostname", b"/etc/ca-certificates.conf"}


def walk(root: bytes, directory: bytes = b"") -> Iterator[tuple[bytes, bool]]:
    with os.scandir(root + directory) as entries:
        found = sorted((entry.name, entry.stat(follow_symlinks=False)) for entry in entries)
    for name, status in found:
        path = directory + b"/" + name
        yield path, stat.S_ISDIR(status.st_mode)
        if stat.S_ISDIR(status.st_mode):
            yield from walk(root, path)


def fail(path: bytes, reason: str) -> None:
    pytest.fail(f"{os.fsdecode(path)}: {reason}")


def unexplained(place: bytes) -> tuple[set[bytes], RuleBook]:
    """The paths of a root that nobody owns and no rule explains."""
    told: list[tuple[bytes, str]] = []  # a root for other tests may hold damaged packages on purpose
    with Root(place) as root:
        manager = Dpkg()
        ownership = Ownership(manager.owned(root, lambda *each: told.append(each)))
        packages = manager.packages(root, lambda *each: told.append(each))
        book = load_rules(root, [package.name for package in packages], fail)

        def owned(path: bytes) -> bool:
            parent, _, name = path.rpartition(b"/")
            return name in ownership.inside(parent)

        left = {
            path
            for path, directory in walk(place)
            if not owned(path)
            and book.excluded(path, directory=directory) is None
            and book.generated(path, directory=directory, owned=owned) is None
        }
    return left, book


@pytest.mark.root
@pytest.mark.parametrize("suite", ["bookworm", "trixie"])
def test_a_fresh_root_is_explained(suite: str, request: pytest.FixtureRequest) -> None:
    left, book = unexplained(request.getfixturevalue(suite))
    # The packages that the recipe makes up for other tests leave files behind on purpose.
    assert {path for path in left - DECIDED if b"probe" not in path} == set()
    assert b"/etc/apt/sources.list" in left
    assert len(book.rules) > 200
