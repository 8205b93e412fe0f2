"""What is locked, in the files of dnf, yum and zypp."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from snapstore.system.managers import rpmlocks
from snapstore.system.managers.rpmlocks import Holds, read_locks
from snapstore.system.root import Root
from snapstore.system.scopes.packagelist import PACKAGES, Lock


class Place:
    """A root, and what was said about it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.root = Root(bytes(path))
        self.told: list[str] = []

    def read(self) -> list[Lock]:
        return read_locks(self.root, lambda path, reason: self.told.append(f"{path.decode()}: {reason}"))

    def write(self, path: bytes, text: str | bytes) -> None:
        where = self.path / path.decode()[1:]
        where.parent.mkdir(parents=True, exist_ok=True)
        where.write_bytes(text.encode() if isinstance(text, str) else text)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.root.close()


def test_no_locks(place: Place) -> None:
    assert place.read() == []
    assert place.told == []


@pytest.mark.parametrize(
    ("line", "package"),
    [
        ("alpha-2:1.0-3.*", "alpha"),
        ("2:alpha-1.0-3.*", "alpha"),
        ("0:python3-dnf-plugin-4.0-1.fc40.*", "python3-dnf-plugin"),
        ("!alpha-0:1.0-3.noarch", "alpha"),
        ("alpha", "alpha"),
        ("python3-dnf-plugin", "python3-dnf-plugin"),
        ("alpha*", "alpha*"),
        ("gtk+-1.2-3.x86_64", "gtk+"),
        ("-", "-"),
    ],
)
def test_version_locks(place: Place, line: str, package: str) -> None:
    path = rpmlocks.LISTS[0]
    place.write(path, f"# Added lock\n\n  {line}  \n")
    assert place.read() == [Lock(manager="rpm", package=package, rule=line, file=path)]
    assert (package in Holds(place.read())) is not line.startswith("!")


def test_the_form_of_dnf_5(place: Place) -> None:
    place.write(
        rpmlocks.TOML,
        'version = "1.0"\n[[packages]]\nname = "bash"\n[[packages.conditions]]\nkey = "evr"\ncomparator = "="\n'
        'value = "0:5.2-1"\n[[packages.conditions]]\nkey = "arch"\ncomparator = "="\nvalue = "x86_64"\n'
        '[[packages]]\nname = "wget"\n[[packages.conditions]]\nkey = "evr"\ncomparator = "!="\nvalue = "1-1"\n'
        "[[packages]]\nname = 3\n",
    )
    locks = place.read()
    assert [(lock.package, lock.rule) for lock in locks] == [
        ("bash", "evr = 0:5.2-1 and arch = x86_64"),
        ("wget", "evr != 1-1"),
    ]
    assert place.told == ["/etc/dnf/versionlock.toml: an entry makes no sense"]
    assert "bash" in Holds(locks)
    assert "wget" not in Holds(locks)


def test_zypp(place: Place) -> None:
    place.write(
        rpmlocks.ZYPP,
        "\ntype: package\nmatch_type: glob\ncase_sensitive: on\nsolvable_name: kernel*\n"
        "\n# comment\ntype: pattern\nsolvable_name: base\nnonsense\n\nrepo: x\n",
    )
    locks = place.read()
    assert [(lock.package, lock.rule) for lock in locks] == [
        ("", "repo: x"),
        ("base", "type: pattern"),
        ("kernel*", "type: package; match_type: glob; case_sensitive: on"),
    ]
    assert place.told == ["/etc/zypp/locks: a line makes no sense: 'nonsense'"]
    holds = Holds(locks)
    assert [name in holds for name in ("kernel-default", "base", "", "x")] == [True, False, False, False]


def test_excluded_packages(place: Place) -> None:
    place.write(
        rpmlocks.CONFIGURATIONS[0],
        "exclude=before\n[main]\n# exclude=comment\ngpgcheck=1\nexclude = a, b*\n  c\n\t\ninstallonly_limit=3\n d\n"
        "[repo]\nexclude=other\n[ main ]\nexcludepkgs=e\n",
    )
    locks = place.read()
    assert [lock.package for lock in locks] == ["a", "b*", "c", "e"]
    assert {lock.rule for lock in locks} == {"exclude"}
    assert "bash" in Holds(locks)


def test_the_same_lock_is_there_once(place: Place) -> None:
    for path in rpmlocks.LISTS:
        place.write(path, "a-1-1.*\na-1-1.*\n")
    assert [lock.file for lock in place.read()] == [rpmlocks.LISTS[0]]


def test_locks_can_be_recorded(place: Place) -> None:
    place.write(rpmlocks.LISTS[0], b"b\xff-1-1.*\na-1-1.*\n")
    place.write(rpmlocks.ZYPP, "repo: x\n")
    place.write(rpmlocks.TOML, '[[packages]]\nname = "a\\nb"\n')
    orders = [PACKAGES.order(lock) for lock in place.read()]
    assert len(orders) == 4
    assert sorted(orders) == orders
    assert all(PACKAGES.element(lock) for lock in place.read())


@pytest.mark.parametrize("path", rpmlocks.SOURCES)
def test_what_cannot_be_read_is_told_of(place: Place, path: bytes) -> None:
    (place.path / path.decode()[1:]).mkdir(parents=True)
    assert place.read() == []
    assert len(place.told) == 1


def test_there_is_an_end(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpmlocks, "_COUNT_LIMIT", 3)
    place.write(rpmlocks.LISTS[0], "".join(f"p{number}-1-1.*\n" for number in range(9)))
    assert [lock.package for lock in place.read()] == ["p0", "p1", "p2"]
    assert len(place.told) == 1
