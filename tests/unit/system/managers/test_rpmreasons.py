"""Why packages are installed: what dnf 4, libdnf5 and zypp leave behind."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from snapstore.system.managers.rpmreasons import HISTORY, Reasons, read_reasons
from snapstore.system.root import Root

SCHEMA = """
CREATE TABLE trans (id INTEGER PRIMARY KEY, state INTEGER NOT NULL);
CREATE TABLE repo (id INTEGER PRIMARY KEY, repoid TEXT NOT NULL);
CREATE TABLE rpm (item_id INTEGER UNIQUE NOT NULL, name TEXT, epoch INTEGER, version TEXT, release TEXT, arch TEXT);
CREATE TABLE trans_item (
    id INTEGER PRIMARY KEY, trans_id INTEGER, item_id INTEGER, repo_id INTEGER, action INTEGER, reason INTEGER,
    state INTEGER
);
INSERT INTO trans VALUES (1, 1), (2, 1), (3, 2), (4, 1);
INSERT INTO repo VALUES (1, 'base'), (2, '@commandline'), (3, 'updates');
"""
INSTALL, UPGRADE, UPGRADED, REMOVE, REASON_CHANGE = 1, 6, 7, 8, 11
UNKNOWN, DEPENDENCY, USER, CLEAN, WEAK, GROUP = range(6)


class Place:
    """A root, and what was said about it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.root = Root(bytes(path))
        self.told: list[str] = []

    def read(self) -> Reasons:
        return read_reasons(self.root, lambda path, reason: self.told.append(f"{path.decode()}: {reason}"))

    def write(self, name: str, text: str | bytes) -> None:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)

    def history(self, packages: Sequence[str], rows: Sequence[tuple[int, int, int, int, int]]) -> None:
        """A history: packages are `name version`; rows are transaction, package, repository, action, reason."""
        path = self.path / "var/lib/dnf/history.sqlite"
        path.parent.mkdir(parents=True)
        connection = sqlite3.connect(path)
        connection.executescript(SCHEMA)
        for number, package in enumerate(packages):
            name, version = package.split()
            connection.execute("INSERT INTO rpm VALUES (?, ?, 0, ?, '1', 'noarch')", (number, name, version))
        for transaction, package_number, repository, action, reason in rows:
            connection.execute(
                "INSERT INTO trans_item (trans_id, item_id, repo_id, action, reason, state) VALUES (?, ?, ?, ?, ?, 1)",
                (transaction, package_number, repository, action, reason),
            )
        connection.commit()
        connection.close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.root.close()


def test_nothing_is_known(place: Place) -> None:
    reasons = place.read()
    assert reasons.reason("a", "noarch") == "unknown"
    assert reasons.repository("a", "1-1", "noarch") == ""
    assert place.told == []


def test_reasons_of_dnf(place: Place) -> None:
    names = ["unknown", "dependency", "user", "clean", "weak", "group"]
    place.history([f"{name} 1" for name in names], [(1, at, 1, INSTALL, at) for at in range(6)])
    reasons = place.read()
    assert [reasons.reason(name, "noarch") for name in names] == [
        "unknown", "auto", "manual", "auto", "auto", "manual",
    ]  # fmt: skip
    assert reasons.reason("user", "x86_64") == "unknown"
    assert place.told == []


def test_the_last_row_counts(place: Place) -> None:
    place.history(
        ["a 1", "a 2", "b 1", "c 1", "d 1"],
        [
            (1, 0, 1, INSTALL, DEPENDENCY),
            (1, 2, 1, INSTALL, USER),
            (1, 3, 2, INSTALL, USER),
            (2, 1, 3, UPGRADE, USER),
            (2, 0, 1, UPGRADED, UNKNOWN),
            (2, 2, 1, REMOVE, USER),
            (3, 3, 1, REASON_CHANGE, DEPENDENCY),  # a transaction that failed
            (4, 4, 1, INSTALL, USER),
            (4, 4, 1, REASON_CHANGE, DEPENDENCY),
        ],
    )
    reasons = place.read()
    assert [reasons.reason(name, "noarch") for name in "abcd"] == ["manual", "unknown", "manual", "auto"]
    assert reasons.repository("a", "2-1", "noarch") == "updates"
    assert reasons.repository("a", "0:1-1", "noarch") == "base"
    assert reasons.repository("c", "1-1", "noarch") == ""


@pytest.mark.parametrize("raw", [b"", b"x" * 4096, b"SQLite format 3\0" + bytes(100)])
def test_a_damaged_history_is_told_of(place: Place, raw: bytes) -> None:
    place.write(HISTORY.decode()[1:], raw)
    assert place.read().reason("a", "noarch") == "unknown"
    assert len(place.told) == 1
    assert place.told[0].startswith("/var/lib/dnf/history.sqlite: ")


def test_a_history_of_another_kind_is_told_of(place: Place) -> None:
    (place.path / "var/lib/dnf").mkdir(parents=True)
    connection = sqlite3.connect(place.path / "var/lib/dnf/history.sqlite")
    connection.executescript("CREATE TABLE rpm (a); CREATE TABLE trans (a); CREATE TABLE repo (a);")
    connection.executescript("CREATE VIEW trans_item AS SELECT 1")
    connection.close()
    place.read()
    assert len(place.told) == 1
    assert "no history of dnf" in place.told[0]


def test_rows_of_other_types_are_passed_over(place: Place) -> None:
    place.history(["a 1", "b 1"], [(1, 0, 1, INSTALL, USER), (1, 1, 1, INSTALL, USER)])
    connection = sqlite3.connect(place.path / "var/lib/dnf/history.sqlite")
    connection.execute("UPDATE rpm SET name = x'ff', version = NULL WHERE item_id = 1")
    connection.execute("UPDATE trans_item SET reason = 'x' WHERE item_id = 0")
    connection.commit()
    connection.close()
    assert place.read().reason("a", "noarch") == "unknown"


def test_a_link_out_of_the_root_is_not_followed(place: Place, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = Place(tmp_path_factory.mktemp("outside"))
    outside.history(["a 1"], [(1, 0, 1, INSTALL, USER)])
    (place.path / "var/lib").mkdir(parents=True)
    (place.path / "var/lib/dnf").symlink_to(outside.path / "var/lib/dnf")
    assert place.read().reason("a", "noarch") == "unknown"
    outside.root.close()


TOML = """\
version = "1.0"
[packages]
"a.noarch" = {reason = "User"}
"b.x86_64" = {reason = "Dependency"}
"c.noarch" = {reason = "Weak Dependency"}
"d-e.f.noarch" = {reason = "Group"}
"g.noarch" = {reason = "None"}
"""
NEVRAS = """\
version = "1.0"
[nevras]
"a-1-1.noarch" = {from_repo = "fedora"}
"b-2:1-1.fc40.x86_64" = {from_repo = "updates"}
"d-e.f-1-1.noarch" = {from_repo = "@System"}
"""


def test_libdnf5(place: Place) -> None:
    place.write("usr/lib/sysimage/libdnf5/packages.toml", TOML)
    place.write("usr/lib/sysimage/libdnf5/nevras.toml", NEVRAS)
    place.history(["a 1"], [(1, 0, 1, INSTALL, DEPENDENCY)])
    reasons = place.read()
    found = [("a", "noarch"), ("b", "x86_64"), ("b", "noarch"), ("c", "noarch"), ("d-e.f", "noarch"), ("g", "noarch")]
    assert [reasons.reason(*each) for each in found] == ["manual", "auto", "unknown", "auto", "manual", "unknown"]
    assert reasons.repository("a", "1-1", "noarch") == "fedora"
    assert reasons.repository("b", "2:1-1.fc40", "x86_64") == "updates"
    assert reasons.repository("d-e.f", "1-1", "noarch") == ""
    assert place.told == []


@pytest.mark.parametrize(
    "text", ["[", "\xff", b"\xff", "packages = 3", "[packages]\na = 1", "[packages]\na = {reason = 2}",
     "a=" + "[" * 9999],
)  # fmt: skip
def test_damaged_toml_is_told_of(place: Place, text: str | bytes) -> None:
    place.write("usr/lib/sysimage/libdnf5/packages.toml", text)
    assert place.read().reason("a", "noarch") == "unknown"
    assert len(place.told) == 1
    assert "\n" not in place.told[0]


def test_zypp(place: Place) -> None:
    place.write("var/lib/zypp/AutoInstalled", "# comment\nlibthing\n\n other \n")
    reasons = place.read()
    assert [reasons.reason(name, "x86_64") for name in ("libthing", "other", "mine")] == ["auto", "auto", "manual"]


def test_an_unreadable_list_is_told_of(place: Place) -> None:
    (place.path / "var/lib/zypp/AutoInstalled").mkdir(parents=True)
    assert place.read().reason("a", "noarch") == "unknown"
    assert len(place.told) == 1
