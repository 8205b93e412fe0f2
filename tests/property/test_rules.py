"""Laws of rules: the automaton against a plain regular expression, what is inherited, hostile rule files."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from snapstore.system.alternatives import alternative_rules, read_group
from snapstore.system.cruft import cruft_rules, is_taken
from snapstore.system.patterns import PatternError, Patterns, literal_pattern, may_meet, parse_pattern
from snapstore.system.root import Root
from snapstore.system.rulebook import RuleBook
from snapstore.system.rules import EXCLUDED, GENERATED, Rule

COMPONENTS = st.sampled_from(["a", "b", "ab", "*", "a*", "*b", "?", "[ab]", "[!a]", "[*]", "**", "**", "a*b*"])
PATTERNS = st.builds(
    lambda parts, end: "/" + "/".join(parts) + end,
    st.lists(COMPONENTS, min_size=1, max_size=5),
    st.sampled_from(["", "/"]),
)
NAMES = st.sampled_from([b"a", b"b", b"ab", b"aab", b"abb", b"*", b"c\n", b"\xff", b"axbx"])
PATHS = st.lists(NAMES, min_size=1, max_size=5).map(lambda names: b"/" + b"/".join(names))
PIECE = re.compile(r"/\*\*(?=/)|/\*\*\Z|\[!?[^]]+\]|\*|\?|.", re.DOTALL)


def nobody(path: bytes) -> bool:
    return False


def quiet(path: bytes, reason: str) -> None:
    """Hostile files are full of trouble."""


def plain(pattern: str) -> re.Pattern[bytes]:
    """The same pattern the simple way: one regular expression over the whole path."""
    out = ""
    for piece in PIECE.findall(pattern.removesuffix("/")):
        if piece == "/**":
            out += "(?:/[^/]+)*@"
        elif piece == "*":
            out += "[^/]*"
        elif piece == "?":
            out += "[^/]"
        elif piece.startswith("[") and len(piece) > 1:
            out += "(?!/)" + ("[^" + piece[2:] if piece[1] == "!" else piece)
        else:
            out += re.escape(piece)
    if out.endswith("@"):
        out = out[: -len("(?:/[^/]+)*@")] + "(?:/[^/]+)+"
    return re.compile(out.replace("@", "").encode(), re.DOTALL)


def sound(pattern: str) -> bool:
    try:
        parse_pattern(pattern)
    except PatternError:
        return False
    return True


SOUND = PATTERNS.filter(sound)


@settings(max_examples=300, deadline=None)
@given(st.lists(SOUND, min_size=1, max_size=6), st.lists(st.tuples(PATHS, st.booleans()), min_size=1, max_size=12))
def test_all_patterns_at_once_are_each_on_its_own(patterns: list[str], paths: list[tuple[bytes, bool]]) -> None:
    found = Patterns([parse_pattern(pattern) for pattern in patterns])
    for path, directory in paths:
        expected = tuple(
            number
            for number, pattern in enumerate(patterns)
            if plain(pattern).fullmatch(path) and (directory or not pattern.endswith("/"))
        )
        assert found.find(path, directory=directory) == expected


@settings(max_examples=200, deadline=None)
@given(SOUND, SOUND, PATHS)
def test_patterns_that_match_one_path_may_meet(one: str, other: str, path: bytes) -> None:
    if plain(one).fullmatch(path) and plain(other).fullmatch(path):
        assert may_meet(parse_pattern(one).components, parse_pattern(other).components)
        assert may_meet(parse_pattern(other).components, parse_pattern(one).components)


@settings(max_examples=200, deadline=None)
@given(st.binary(min_size=1, max_size=12), PATHS)
def test_a_literal_pattern_matches_its_path_alone(name: bytes, other: bytes) -> None:
    path = b"/x/" + name
    pattern = literal_pattern(path)
    if sound(pattern):
        found = Patterns([parse_pattern(pattern)])
        assert found.find(path.rstrip(b"/"), directory=True) == (0,)
        assert found.find(other, directory=True) == ((0,) if other == path else ())


RULES = st.builds(
    lambda pattern, cls: Rule(id=pattern, cls=cls, pattern=pattern, reason="r", source="s"),
    SOUND,
    st.sampled_from([GENERATED, GENERATED, EXCLUDED]),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(RULES, min_size=1, max_size=6), PATHS, PATHS, st.booleans())
def test_what_is_inherited_holds_below(rules: list[Rule], path: bytes, rest: bytes, directory: bool) -> None:  # noqa: FBT001
    book = RuleBook(rules)
    found = book.generated(path, directory=True, owned=nobody)
    if found is not None and book.inherits(found):
        assert book.generated(path + rest, directory=directory, owned=nobody) == found
        assert book.excluded(path + rest, directory=directory) is None


LINES = st.one_of(
    st.binary(max_size=40),
    PATTERNS.map(str.encode),
    st.sampled_from([b"ALWAYS", b"pack", b"/var/cache/x", b"/var/cache/**", b"/usr/share/a/*.cache", b"/etc/**", b"#"]),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(LINES, max_size=12).map(b"\n".join), PATHS)
def test_no_rule_set_reaches_what_people_keep(data: bytes, rest: bytes) -> None:
    with tempfile.TemporaryDirectory() as base:
        (Path(base) / "usr/share/cruft").mkdir(parents=True)
        (Path(base) / "usr/share/cruft/ruleset").write_bytes(data)
        with Root(os.fsencode(base)) as root:
            rules = cruft_rules(root, {"pack"}, quiet).rules
    book = RuleBook(rules)
    assert all(is_taken(parse_pattern(rule.pattern)) and not rule.omit for rule in rules)
    for place in (
        b"",
        b"/etc",
        b"/home",
        b"/srv",
        b"/var/lib",
        b"/var/lib/mysql",
        b"/usr/bin",
        b"/usr/local",
        b"/root",
    ):
        assert book.generated(place + rest, directory=False, owned=nobody) is None


GROUP_LINES = st.sampled_from(
    [b"auto", b"manual", b"/usr/bin/x", b"x", b"", b"10", b"-1", b"/", b"\0", b"../y", b"*" * 20]
)


@settings(max_examples=60, deadline=None)
@given(st.one_of(st.binary(max_size=60), st.lists(GROUP_LINES, max_size=14).map(b"\n".join)))
def test_any_bytes_are_a_group_or_not(data: bytes) -> None:
    group = read_group(b"name", data)
    assert group is None or all(len(targets) == len(group.links) for _, targets in group.candidates)
    with tempfile.TemporaryDirectory() as base:
        (Path(base) / "var/lib/dpkg/alternatives").mkdir(parents=True)
        (Path(base) / "var/lib/dpkg/alternatives/name").write_bytes(data)
        told: list[tuple[bytes, str]] = []
        with Root(os.fsencode(base)) as root:
            RuleBook(alternative_rules(root, lambda *each: told.append(each)), root=root)
        assert bool(told) or group is not None
