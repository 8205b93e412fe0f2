"""Rules of cruft in a root: which are taken, which never, and what hostile files come to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from snapstore.system.cruft import cruft_rules, is_taken, read_rule_set
from snapstore.system.patterns import parse_pattern
from snapstore.system.root import Root
from snapstore.system.rulebook import load_rules
from snapstore.system.rules import GENERATED

RULE_SET = b"""ALWAYS
/var/log/always.log
some-tool
/var/cache/some-tool
/var/cache/some-tool/**
/var/lib/some-tool/state.db
/etc/some-tool.conf
/usr/lib/*/some-tool/modules.cache
# a remark
absent-tool
/var/cache/absent-tool
"""

TAKEN = [
    "/var/cache/x",
    "/var/cache/x/**",
    "/var/log/x.log*",
    "/usr/lib/gconv/gconv-modules.cache",
    "/usr/share/icons/*/icon-theme.cache",
    "/usr/share/texmf/ls-R",
    "/usr/lib/jvm/*/lib/server/classes.jsa",
]
REFUSED = [
    "/**",
    "/*",
    "/*/cache/x",
    "/var/**",
    "/var/*/x",
    "/var/cache",
    "/var/cache/**",
    "/var/cache/*",
    "/var/log/*",
    "/usr/**",
    "/usr/share/**",
    "/usr/share/*",
    "/usr/share/x",
    "/usr/share/x/**",
    "/usr/share/x/**/y.cache",
    "/usr/share/*.cache",
    "/usr/lib/x.so",
    "/usr/lib/cups/backend/http",
    "/usr/bin/x",
    "/usr/sbin/x.cache",
    "/usr/local/share/x.cache",
    "/etc/fstab",
    "/etc/x/**",
    "/home/x/x.cache",
    "/opt/x/**",
    "/root/x.cache",
    "/srv/x/**",
    "/var/lib/mysql/**",
    "/var/lib/mosquitto/mosquitto.db",
    "/var/lib/x/x.cache",
    "/var/mail/x",
    "/var/spool/cron/crontabs/x",
    "/var/www/html/index.html",
    "/boot/x",
]


def fail(path: bytes, reason: str) -> None:
    pytest.fail(f"{os.fsdecode(path)}: {reason}")


def nobody(path: bytes) -> bool:
    return False


@pytest.fixture
def top(tmp_path: Path) -> Path:
    (tmp_path / "usr/share/cruft").mkdir(parents=True)
    return tmp_path


@pytest.fixture
def root(top: Path) -> Iterator[Root]:
    with Root(os.fsencode(top)) as root:
        yield root


@pytest.mark.parametrize("pattern", TAKEN)
def test_taken(pattern: str) -> None:
    assert is_taken(parse_pattern(pattern))


@pytest.mark.parametrize("pattern", REFUSED)
def test_never_taken(pattern: str) -> None:
    assert not is_taken(parse_pattern(pattern))


def test_a_rule_set(top: Path, root: Root) -> None:
    (top / "usr/share/cruft/ruleset").write_bytes(RULE_SET)
    found = cruft_rules(root, {"some-tool"}, fail)
    assert [rule.id for rule in found.rules] == [
        "cruft:ALWAYS:/var/log/always.log",
        "cruft:some-tool:/var/cache/some-tool",
        "cruft:some-tool:/var/cache/some-tool/**",
        "cruft:some-tool:/usr/lib/*/some-tool/modules.cache",
    ]
    assert found.refused == 2
    assert {rule.source for rule in found.rules} == {"/usr/share/cruft/ruleset"}
    assert {(rule.cls, rule.omit, rule.check) for rule in found.rules} == {(GENERATED, False, "")}


@pytest.mark.parametrize(
    "directory", ["usr/share/cruft/rules", "usr/lib/cruft/filters-unex", "usr/lib/cruft/filters", "etc/cruft/filters"]
)
def test_a_directory_of_rules(top: Path, root: Root, directory: str) -> None:
    (top / directory).mkdir(parents=True)
    for name in ("ALWAYS", "some-tool", "absent-tool"):
        (top / directory / name).write_text(f"/var/cache/{name}\n/home/{name}\n", encoding="utf-8")
    found = cruft_rules(root, {"some-tool"}, fail)
    assert [rule.pattern for rule in found.rules] == ["/var/cache/ALWAYS", "/var/cache/some-tool"]
    assert found.refused == 2


def test_the_book_counts_what_it_does_not_take(top: Path, root: Root) -> None:
    (top / "usr/share/cruft/ruleset").write_bytes(RULE_SET)
    book = load_rules(root, ["some-tool"], fail)
    assert book.refused == 2
    found = book.generated(b"/var/cache/some-tool/x/y", directory=False, owned=nobody)
    assert found is not None
    assert found.id == "cruft:some-tool:/var/cache/some-tool/**"
    assert book.inherits(found)


def test_our_own_rules_come_first(top: Path, root: Root) -> None:
    (top / "usr/share/cruft/ruleset").write_bytes(b"ALWAYS\n/var/log/always.log\n")
    found = load_rules(root, [], fail).generated(b"/var/log/always.log", directory=False, owned=nobody)
    assert found is not None
    assert found.id == "logs"


def test_what_is_no_rule_is_told(top: Path, root: Root) -> None:
    lines = [
        b"/var/cache/before",
        b"some-tool",
        b"/var/cache/a**",
        b"/var/cache/../x",
        b"/var/cache/\0",
        b"/var/cache/ok",
    ]
    (top / "usr/share/cruft/ruleset").write_bytes(b"\n".join(lines))
    told: list[tuple[bytes, str]] = []
    found = cruft_rules(root, {"some-tool"}, lambda *each: told.append(each))
    assert [rule.pattern for rule in found.rules] == ["/var/cache/ok"]
    assert len(told) == 4


def test_what_cannot_be_read_is_told(top: Path, root: Root) -> None:
    os.mkfifo(top / "usr/share/cruft/ruleset")
    (top / "usr/share/cruft/rules").mkdir()
    (top / "usr/share/cruft/rules/ALWAYS").mkdir()
    told: list[tuple[bytes, str]] = []
    assert cruft_rules(root, [], lambda *each: told.append(each)).rules == []
    assert [path for path, _ in told] == [b"/usr/share/cruft/ruleset", b"/usr/share/cruft/rules/ALWAYS"]


def test_names_that_are_not_utf8(top: Path, root: Root) -> None:
    (top / "usr/share/cruft/ruleset").write_bytes(b"ALWAYS\n/var/cache/caf\xe9\n")
    book = load_rules(root, [], fail)
    assert book.generated(b"/var/cache/caf\xe9", directory=False, owned=nobody) is not None


def test_negated_sets_may_be_written_with_a_caret() -> None:
    assert list(read_rule_set(b"A\n/x/[^a]\n")) == [("A", "/x/[^a]")]


def test_a_caret_negates(top: Path, root: Root) -> None:
    (top / "usr/share/cruft/ruleset").write_bytes(b"ALWAYS\n/var/cache/x/[^a]\n")
    (rule,) = cruft_rules(root, [], fail).rules
    assert rule.pattern == "/var/cache/x/[!a]"
