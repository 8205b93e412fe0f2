"""Rules for links that tools made: alternatives, and what packages switched on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from snapstore.system.alternatives import Group, alternative_rules, read_group
from snapstore.system.markers import marked_rules
from snapstore.system.root import Root
from snapstore.system.rulebook import RuleBook

EDITOR = b"""auto
/usr/bin/editor
editor.1.gz
/usr/share/man/man1/editor.1.gz

/usr/bin/ed
-100
/usr/share/man/man1/ed.1.gz
/usr/bin/vim.tiny
15

/usr/bin/vim.basic
30
/usr/share/man/man1/vim.1.gz

"""

LINKS = {
    "etc/alternatives/editor": "/usr/bin/vim.basic",
    "etc/alternatives/editor.1.gz": "/usr/share/man/man1/vim.1.gz",
    "usr/bin/editor": "/etc/alternatives/editor",
    "usr/share/man/man1/editor.1.gz": "/etc/alternatives/editor.1.gz",
}
OWNED = frozenset({b"/usr/bin/vim.basic", b"/usr/bin/vim.tiny", b"/usr/share/man/man1/vim.1.gz"})


def fail(path: bytes, reason: str) -> None:
    pytest.fail(f"{os.fsdecode(path)}: {reason}")


@pytest.fixture
def top(tmp_path: Path) -> Path:
    for name in ("var/lib/dpkg/alternatives", "etc/alternatives", "usr/bin", "usr/share/man/man1"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "var/lib/dpkg/alternatives/editor").write_bytes(EDITOR)
    for name, target in LINKS.items():
        (tmp_path / name).symlink_to(target)
    return tmp_path


@pytest.fixture
def root(top: Path) -> Iterator[Root]:
    with Root(os.fsencode(top)) as root:
        yield root


def explained(root: Root, *, owned: frozenset[bytes] = OWNED) -> set[str]:
    book = RuleBook(alternative_rules(root, fail), root=root)
    return {
        name
        for name in LINKS
        if book.generated(b"/" + name.encode(), directory=False, owned=owned.__contains__) is not None
    }


def test_a_group() -> None:
    assert read_group(b"editor", EDITOR) == Group(
        manual=False,
        links={b"editor": b"/usr/bin/editor", b"editor.1.gz": b"/usr/share/man/man1/editor.1.gz"},
        candidates=[
            (-100, [b"/usr/bin/ed", b"/usr/share/man/man1/ed.1.gz"]),
            (15, [b"/usr/bin/vim.tiny", b""]),
            (30, [b"/usr/bin/vim.basic", b"/usr/share/man/man1/vim.1.gz"]),
        ],
    )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"auto",
        EDITOR[:-60],
        EDITOR.replace(b"auto", b"automatic"),
        EDITOR.replace(b"/usr/bin/editor\n", b"editor\n"),
        EDITOR.replace(b"editor.1.gz\n/usr", b"../x\n/usr"),
        EDITOR.replace(b"30", b"thirty"),
        EDITOR.replace(b"editor\n", b"edi\0tor\n"),
    ],
)
def test_what_is_no_group(data: bytes) -> None:
    assert read_group(b"editor", data) is None


def test_the_group_of_another_tool() -> None:
    group = read_group(b"java", b"manual\n/usr/bin/java\n\n/usr/lib/jvm/java\n@family@17 service\n\n")
    assert group == Group(manual=True, links={b"java": b"/usr/bin/java"}, candidates=[(17, [b"/usr/lib/jvm/java"])])


def test_all_links_of_an_automatic_group(root: Root) -> None:
    assert explained(root) == set(LINKS)


def test_a_choice_is_a_persons(top: Path, root: Root) -> None:
    (top / "var/lib/dpkg/alternatives/editor").write_bytes(EDITOR.replace(b"auto", b"manual"))
    assert explained(root) == {"usr/bin/editor", "usr/share/man/man1/editor.1.gz"}


@pytest.mark.parametrize("name", LINKS)
def test_a_link_changed_behind_the_tools_back(top: Path, root: Root, name: str) -> None:
    (top / name).unlink()
    (top / name).symlink_to("/usr/bin/vim.tiny")
    assert explained(root) == set(LINKS) - {name}


def test_a_link_replaced_by_a_file(top: Path, root: Root) -> None:
    (top / "usr/bin/editor").unlink()
    (top / "usr/bin/editor").write_bytes(b"#!/bin/sh\n")
    assert "usr/bin/editor" not in explained(root)


def test_a_candidate_that_nobody_owns(root: Root) -> None:
    assert "etc/alternatives/editor" not in explained(root, owned=OWNED - {b"/usr/bin/vim.basic"})


def test_trouble_is_told(top: Path, root: Root) -> None:
    database = top / "var/lib/dpkg/alternatives"
    (database / "broken").write_bytes(b"auto\n")
    os.mkfifo(database / "fifo")
    deep = b"/" + b"x/" * 100 + b"y"
    (database / "deep").write_bytes(b"auto\n" + deep + b"\n\n/usr/bin/vim.tiny\n1\n\n")
    told: list[tuple[bytes, str]] = []
    rules = alternative_rules(root, lambda *each: told.append(each))
    assert [os.path.basename(path) for path, _ in told] == [b"broken", b"deep", b"fifo"]
    assert len(rules) == 4


def test_what_packages_switched_on(top: Path, root: Root) -> None:
    links = {
        "etc/apache2/mods-enabled/alias.load": "../mods-available/alias.load",
        "etc/apache2/mods-enabled/alias.conf": "../mods-available/alias.conf",
        "etc/apache2/mods-enabled/ours.load": "../mods-available/ours.load",
        "etc/apache2/conf-enabled/security.conf": "/home/x/security.conf",
        "etc/php/8.2/cli/conf.d/10-opcache.ini": "/etc/php/8.2/mods-available/opcache.ini",
        "etc/php/8.2/cli/conf.d/10-ours.ini": "/etc/php/8.2/mods-available/ours.ini",
        "etc/php/8.2/cli/conf.d/20-elsewhere.ini": "/usr/bin/vim.tiny",
    }
    markers = ["apache2/module/enabled_by_maint/alias", "apache2/module/enabled_by_admin/ours"]
    markers += ["apache2/conf/enabled_by_maint/security", "php/modules/8.2/cli/enabled_by_maint/opcache"]
    markers += ["php/modules/8.2/cli/enabled_by_maint/elsewhere", "xml-core/docbook-xml"]
    for name, target in links.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).symlink_to(target)
    for name in markers:
        (top / "var/lib" / name).parent.mkdir(parents=True, exist_ok=True)
        (top / "var/lib" / name).write_bytes(b"")
    owned = OWNED | {
        b"/etc/apache2/mods-available/alias.load",
        b"/etc/apache2/mods-available/alias.conf",
        b"/etc/apache2/mods-available/ours.load",
        b"/etc/php/8.2/mods-available/opcache.ini",
        b"/etc/php/8.2/mods-available/ours.ini",
        b"/home/x/security.conf",
    }
    book = RuleBook(marked_rules(root, fail), root=root)

    def is_explained(name: str) -> bool:
        return book.generated(b"/" + name.encode(), directory=False, owned=owned.__contains__) is not None

    assert {name for name in links if is_explained(name)} == {
        "etc/apache2/mods-enabled/alias.load",
        "etc/apache2/mods-enabled/alias.conf",
        "etc/php/8.2/cli/conf.d/10-opcache.ini",
    }
    assert is_explained("etc/xml/docbook-xml.xml")
    assert is_explained("etc/xml/docbook-xml.xml.old")
    assert not is_explained("etc/xml/ours.xml")


def test_a_marker_changes_the_digest(top: Path) -> None:
    def digest() -> bytes:
        with Root(os.fsencode(top)) as root:
            return RuleBook(marked_rules(root, fail), root=root).digest

    before = digest()
    (top / "var/lib/apache2/module/enabled_by_maint").mkdir(parents=True)
    assert digest() == before
    (top / "var/lib/apache2/module/enabled_by_maint/alias").write_bytes(b"")
    assert digest() != before
