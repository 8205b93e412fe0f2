"""Patterns against a table, and against git itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snapstore.fs.filters import Filter, FilterRules, include_line, is_cache_directory

CACHE_TAG_TEXT = b"Signature: 8a477f597d28d172789f06886806bc55\n# made by a test\n"


def excluded(lines: list[str], path: str, *, root: bytes = b"/data") -> bool:
    """Whether a walk would leave the path out: a trailing slash marks a directory, parents are asked first."""
    rules = Filter(FilterRules(excludes=tuple(lines)), root=root)
    parts = path.rstrip("/").split("/")
    for depth in range(1, len(parts)):
        if rules.verdict(os.fsencode("/".join(parts[:depth])), directory=True):
            return True
    return bool(rules.verdict(os.fsencode("/".join(parts)), directory=path.endswith("/")))


TABLE = [
    (["foo"], "foo", True),
    (["foo"], "a/foo", True),
    (["foo"], "foo/a", True),
    (["foo"], "food", False),
    (["/foo"], "foo", True),
    (["/foo"], "a/foo", False),
    (["a/b"], "a/b", True),
    (["a/b"], "x/a/b", False),
    (["foo/"], "foo", False),
    (["foo/"], "foo/", True),
    (["foo/"], "x/foo/y", True),
    (["*.o"], "x/y.o", True),
    (["*.o"], "x/y.oo", False),
    (["/*.o"], "x/y.o", False),
    (["a/*"], "a/b", True),
    (["a/*"], "a/", False),
    (["a/*/c"], "a/b/x/c", False),
    (["**/c"], "c", True),
    (["**/c"], "a/b/c", True),
    (["a/**"], "a/", False),
    (["a/**"], "a/b/c", True),
    (["a/**/"], "a/b", False),
    (["a/**/"], "a/b/", True),
    (["a/**/c"], "a/c", True),
    (["a/**/c"], "a/x/y/c", True),
    (["*", "!*.c"], "x.c", False),
    (["*", "!*.c"], "d/x.c", True),
    (["*", "!*/", "!*.c"], "d/x.c", False),
    (["/*", "!/keep"], "keep/a/b", False),
    (["/*", "!/keep"], "drop/a/b", True),
    (["d/*", "!d/keep"], "d/keep", False),
    (["d/", "!d/keep"], "d/keep", True),
    (["!x", "x"], "x", True),
    (["#x"], "#x", False),
    (["\\#x"], "#x", True),
    (["\\!x"], "!x", True),
    (["x  "], "x", True),
    (["x\\ "], "x ", True),
    (["x\\ "], "x", False),
    (["a?c"], "abc", True),
    (["a?c"], "a/c", False),
    (["[ab]x"], "bx", True),
    (["[!ab]x"], "bx", False),
    (["[!a]b"], "/b", False),
    (["[[:digit:]]"], "7", True),
    (["[a-c-]"], "-", True),
    (["[]]"], "]", True),
    (["[\\]]"], "]", True),
    (["[ab"], "[ab", False),
    (["x\\"], "x\\", False),
    ([""], "x", False),
    (["/"], "x", False),
    (["foo"], "foo\n", False),
    (["f*o"], "f\no", True),
    (["?"], "\udcff", True),
    (["caf?"], "café", True),
]


@pytest.mark.parametrize(("lines", "path", "expected"), TABLE)
def test_gitignore_table(lines: list[str], path: str, expected: bool) -> None:  # noqa: FBT001 - a table's column
    assert excluded(lines, path) is expected


@pytest.mark.parametrize(
    ("root", "pattern", "path", "expected"),
    [
        (b"/home/x", "/home/x/.cache", ".cache", True),
        (b"/home/x", "/home/x/.cache", "a/.cache", False),
        (b"/home", "/home/x/.cache", "x/.cache", True),
        (b"/", "/home/x/.cache", "home/x/.cache", True),
        (b"/srv", "/home/x/.cache", ".cache", False),
        (b"/home/x", "/home/*/.cache", ".cache", True),
        (b"/home/x", "/home/**/.cache", "a/.cache", True),
        (b"/home/x", "/**/x/.cache", ".cache", True),
        (b"/home/x", "/.cache", ".cache", True),
        (b"/home/x", "/home/x", "a", False),
        (b"/home/x", "/home/x/", "a", False),
        (b"/home", "/home/x/", "x/", True),
        (b"/home", "/home/x/", "x", False),
        (b"/home/x", "home/x/.cache", ".cache", False),
        (b"/home/[x]", "/home/\\[x]/a", "a", True),
        (b"/home/\xff", "/home/\udcff/a", "a", True),
    ],
)
def test_absolute_patterns_work_below_the_root(root: bytes, pattern: str, path: str, expected: bool) -> None:  # noqa: FBT001
    assert excluded([pattern], path, root=root) is expected


def test_an_absolute_include_brings_back() -> None:
    lines = ["*.log", include_line("/var/log/keep.log")]
    assert excluded(lines, "log/a.log", root=b"/var")
    assert not excluded(lines, "log/keep.log", root=b"/var")


def test_a_verdict_names_the_line() -> None:
    rules = Filter(FilterRules(excludes=("*.o", "tmp/"), larger_than=10), root=b"/r")
    assert rules.verdict(b"x.o", directory=False) == "*.o"
    assert rules.verdict(b"tmp", directory=True) == "tmp/"
    assert rules.verdict(b"x", directory=False, size=11) == "larger than 10 bytes"
    assert rules.verdict(b"x", directory=False, size=10) == ""
    assert rules.verdict(b"x", directory=True, size=11) == ""


def test_no_rules_is_inactive() -> None:
    assert not Filter(FilterRules(), root=b"/").active
    assert not Filter(FilterRules(excludes=("# a comment", "")), root=b"/").active
    assert Filter(FilterRules(excludes=("x",)), root=b"/").active
    assert Filter(FilterRules(larger_than=0), root=b"/").active


def test_the_digest_covers_what_changes_verdicts() -> None:
    digests = [
        Filter(FilterRules(), root=b"/").digest,
        Filter(FilterRules(), root=b"/a").digest,
        Filter(FilterRules(excludes=("a",)), root=b"/").digest,
        Filter(FilterRules(excludes=("a", "b")), root=b"/").digest,
        Filter(FilterRules(excludes=("b", "a")), root=b"/").digest,
        Filter(FilterRules(excludes=("ab",)), root=b"/").digest,
        Filter(FilterRules(larger_than=0), root=b"/").digest,
        Filter(FilterRules(larger_than=1), root=b"/").digest,
        Filter(FilterRules(exclude_caches=True), root=b"/").digest,
        Filter(FilterRules(one_file_system=True), root=b"/").digest,
        Filter(FilterRules(), root=b"/", forced=frozenset({(1, 2)})).digest,
    ]
    assert len(set(digests)) == len(digests)
    assert {len(each) for each in digests} == {16}
    assert digests[0] == Filter(FilterRules(), root=b"/").digest
    assert digests[10] == Filter(FilterRules(), root=b"/", forced=frozenset({(9, 2)})).digest


def test_forced_directories() -> None:
    rules = Filter(FilterRules(), root=b"/", forced=frozenset({(1, 2)}))
    assert rules.is_forced(1, 2)
    assert not rules.is_forced(2, 1)


def test_cache_directories(tmp_path: Path) -> None:
    def verdict() -> bool:
        fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return is_cache_directory(fd)
        finally:
            os.close(fd)

    tag = tmp_path / "CACHEDIR.TAG"
    assert not verdict()
    tag.write_bytes(CACHE_TAG_TEXT[:42])
    assert not verdict()
    tag.write_bytes(CACHE_TAG_TEXT[:43])
    assert verdict()
    tag.write_bytes(CACHE_TAG_TEXT)
    assert verdict()
    tag.rename(tmp_path / "real")
    tag.symlink_to("real")
    assert not verdict()
    tag.unlink()
    tag.mkdir()
    assert not verdict()
    tag.rmdir()
    os.mkfifo(tag)
    assert not verdict()


# What git reads a pattern from is a line, and its last word on "/" within a bracket or on a component "." is not ours.
ATOMS = ["a", "b", "c", "ab", "*", "?", "**", "/", "/", "/**/", "[ab]", "[!a]", "[^b]", "[a-c]", "[]a]", "[c-a]", "\\a"]
ATOMS += ["[[:alpha:]]", "\\*", "[\\]b]", "[a", " ", "\\ ", "-", "]", "!", "#", "[-a]", "[a-]", "\t", "."]
PATTERNS = st.lists(st.sampled_from(ATOMS), min_size=1, max_size=6).map("".join)
LINES = st.lists(st.tuples(st.booleans(), PATTERNS).map(lambda pair: "!" * pair[0] + pair[1]), min_size=1, max_size=4)
NAMES = st.sampled_from(
    ["a", "b", "c", "ab", "ba", "abc", "a b", "a ", "*", "]", "!", "#", "-", "[a", "a*", "aab", "b\t"]
)
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)


@pytest.mark.skipif(shutil.which("git") is None, reason="git is what the patterns are compared with, and is not here")
@settings(max_examples=120, deadline=None)
@given(LINES, st.lists(PATHS, min_size=1, max_size=30, unique=True))
def test_like_git_check_ignore(lines: list[str], paths: list[str]) -> None:
    with tempfile.TemporaryDirectory() as base:
        tree = Path(base)
        for path in paths:
            # A path below what is a file already is left out, a path that is a directory already stays one.
            where = tree / path
            if not any(parent.is_file() for parent in where.parents) and not where.exists():
                where.parent.mkdir(parents=True, exist_ok=True)
                where.write_bytes(b"")
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": base,
            "GIT_DIR": os.path.join(base, ".git"),
            "GIT_WORK_TREE": base,
            "GIT_CONFIG_NOSYSTEM": "1",
        }
        subprocess.run(["git", "init", "-q", base], env=environment, check=True)
        (tree / ".git/info").mkdir(exist_ok=True)
        (tree / ".git/info/exclude").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        shown = [path.relative_to(tree) for path in sorted(tree.rglob("*")) if ".git" not in path.parts]
        asked = b"".join(os.fsencode(path) + b"\0" for path in shown)
        answer = subprocess.run(
            ["git", "check-ignore", "-z", "--stdin", "--no-index"],
            input=asked,
            capture_output=True,
            env=environment,
            cwd=base,
            check=False,
        )
        assert answer.returncode in (0, 1), answer.stderr
        ignored = {os.fsdecode(each) for each in answer.stdout.split(b"\0") if each}
        ours = {str(path) for path in shown if excluded(lines, str(path) + "/" * (tree / path).is_dir())}
        assert ours == ignored
