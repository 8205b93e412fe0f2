"""A rule book: patterns, order, checks, what is inherited, and the digest."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from snapstore.system.patterns import PatternError, literal_pattern, parse_pattern
from snapstore.system.root import Root
from snapstore.system.rulebook import RuleBook
from snapstore.system.rules import EXCLUDED, GENERATED, Rule


def rule(pattern: str, *, cls: str = GENERATED, name: str = "", check: str = "", detail: str = "") -> Rule:
    return Rule(
        id=name or pattern, cls=cls, pattern=pattern, reason="a reason", source="a page", check=check, detail=detail
    )


def nobody(path: bytes) -> bool:
    return False


def generated(book: RuleBook, path: bytes, *, directory: bool = False, owned: frozenset[bytes] = frozenset()) -> str:
    found = book.generated(path, directory=directory, owned=owned.__contains__)
    return "" if found is None else found.id


TABLE = [
    ("/a", "/a", True),
    ("/a", "/a/b", False),
    ("/a", "/b", False),
    ("/a/b", "/a", False),
    ("/a/*", "/a/b", True),
    ("/a/*", "/a/.b", True),
    ("/a/*", "/a", False),
    ("/a/*", "/a/b/c", False),
    ("/a/*.c", "/a/b.c", True),
    ("/a/*.c", "/a/.c", True),
    ("/a/*.c", "/a/b.cc", False),
    ("/a/b*", "/a/b\nc", True),
    ("/a/b?", "/a/bc", True),
    ("/a/b?", "/a/b", False),
    ("/a/[bc]", "/a/c", True),
    ("/a/[!bc]", "/a/c", False),
    ("/a/[b-d]x", "/a/cx", True),
    ("/a/[b", "/a/[b", True),
    ("/a/[*]", "/a/*", True),
    ("/a/[*]", "/a/b", False),
    ("/a/**", "/a", False),
    ("/a/**", "/a/b", True),
    ("/a/**", "/a/b/c/d", True),
    ("/a/**", "/ab/c", False),
    ("/a/**/z", "/a/z", True),
    ("/a/**/z", "/a/b/c/z", True),
    ("/a/**/z", "/a/z/b", False),
    ("/**/z", "/z", True),
    ("/**/z", "/a/b/z", True),
    ("/**/b/*.c", "/a/b/x.c", True),
    ("/**/b/*.c", "/b/b/x.c", True),
    ("/**/b/*.c", "/a/x.c", False),
    ("/**", "/a", True),
    ("/**", "/", False),
    ("/a/*/c/**", "/a/b/c/d/e", True),
    ("/a/*/c/**", "/a/b/c", False),
    ("/a/b/", "/a/b", False),
    ("/caf\udcff", "/caf\udcff", True),
    ("/a\\b", "/a\\b", True),
]


@pytest.mark.parametrize(("pattern", "path", "expected"), TABLE)
def test_patterns(pattern: str, path: str, expected: bool) -> None:  # noqa: FBT001 - a table's column
    book = RuleBook([rule(pattern), rule(pattern, cls=EXCLUDED)])
    raw = os.fsencode(path)
    assert (book.generated(raw, directory=False, owned=nobody) is not None) is expected
    assert (book.excluded(raw, directory=False) is not None) is expected


def test_a_slash_at_the_end_is_for_directories_only() -> None:
    book = RuleBook([rule("/a/b/"), rule("/c/*/"), rule("/d/**/")])
    for path in (b"/a/b", b"/c/x", b"/d/x/y"):
        assert generated(book, path, directory=True)
        assert not generated(book, path)


@pytest.mark.parametrize(
    "pattern",
    [
        *("", "a", "a/b", "/", "//", "//a", "/a//b", "/a//", "/./a", "/a/..", "/a**", "/a/**b", "/**/**", "/a\0b"),
        *("/" + "a" * 5000, "/a" * 70, "/" + "*a" * 9, "/**/a/**/b/**/c/**/d"),
    ],
)
def test_what_is_no_pattern(pattern: str) -> None:
    with pytest.raises(PatternError):
        parse_pattern(pattern)
    with pytest.raises(ValueError, match=r"."):
        RuleBook([rule(pattern)])


@pytest.mark.parametrize("bad", [rule("/a", cls="pristine"), rule("/a", check="never")])
def test_what_is_no_rule(bad: Rule) -> None:
    with pytest.raises(ValueError, match="not known"):
        RuleBook([bad])


def test_a_literal_pattern_is_one_path() -> None:
    path = b"/a*/[b]/?\xff/**"
    book = RuleBook([rule(literal_pattern(path))])
    assert generated(book, path)
    assert not generated(book, b"/ab/b/x\xff/y")


def test_the_first_rule_decides() -> None:
    book = RuleBook([rule("/a/b"), rule("/a/*"), rule("/**/c"), rule("/a/**")])
    assert generated(book, b"/a/b") == "/a/b"
    assert generated(book, b"/a/x") == "/a/*"
    assert generated(book, b"/a/x/c") == "/**/c"
    assert generated(book, b"/a/x/y") == "/a/**"
    assert generated(book, b"/x") == ""
    # One directory after the other, and back.
    assert generated(book, b"/a/b") == "/a/b"


def test_the_classes_are_asked_about_apart() -> None:
    book = RuleBook([rule("/a"), rule("/a", cls=EXCLUDED, name="out"), rule("/b", cls=EXCLUDED)])
    assert generated(book, b"/a") == "/a"
    assert generated(book, b"/b") == ""
    found = book.excluded(b"/a", directory=True)
    assert found is not None
    assert found.id == "out"
    assert book.by_id("out") == found
    assert book.by_id("none") is None


def test_what_is_inherited() -> None:
    everything, one, deep = rule("/a/**"), rule("/b"), rule("/e/**")
    earlier, later, out = rule("/c/x/y"), rule("/d/*/z"), rule("/e/*/f", cls=EXCLUDED)
    kept, checked = rule("/c/**"), rule("/f/**", check="link")
    book = RuleBook([everything, one, earlier, kept, rule("/d/**"), later, out, deep, checked, rule("/a/b")])
    assert book.inherits(everything)
    assert not book.inherits(one)
    assert not book.inherits(kept)
    assert book.inherits(rule("/d/**"))
    assert not book.inherits(deep)
    assert not book.inherits(checked)
    assert book.inherits(out)


def test_a_rule_from_elsewhere_is_not_inherited() -> None:
    with pytest.raises(ValueError, match=r"."):
        RuleBook([]).inherits(rule("/a/**"))


def test_the_digest_covers_what_changes_verdicts() -> None:
    one = rule("/a")
    books = [
        RuleBook([]),
        RuleBook([one]),
        RuleBook([one, rule("/b")]),
        RuleBook([rule("/b"), one]),
        RuleBook([replace(one, id="x")]),
        RuleBook([replace(one, cls=EXCLUDED)]),
        RuleBook([replace(one, pattern="/a/")]),
        RuleBook([replace(one, omit=True)]),
        RuleBook([replace(one, check="link")]),
        RuleBook([replace(one, check="link-to", detail="x")]),
        RuleBook([replace(one, check="link-to", detail="y")]),
    ]
    digests = {book.digest for book in books}
    assert len(digests) == len(books)
    assert {len(digest) for digest in digests} == {16}
    assert RuleBook([one]).digest == RuleBook([replace(one, reason="other"), replace(one, reason="other")]).digest


# -- checks ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def top(tmp_path: Path) -> Path:
    (tmp_path / "d").mkdir()
    return tmp_path


@pytest.fixture
def root(top: Path) -> Iterator[Root]:
    with Root(os.fsencode(top)) as root:
        yield root


def holds(root: Root, check: str, path: bytes, *owned: bytes, detail: str = "") -> bool:
    book = RuleBook([rule("/**", check=check, detail=detail)], root=root)
    return bool(generated(book, path, owned=frozenset(owned)))


def test_without_a_root_no_check_holds(top: Path) -> None:
    (top / "d/link").symlink_to("x")
    assert not generated(RuleBook([rule("/**", check="link")]), b"/d/link")


def test_link(top: Path, root: Root) -> None:
    (top / "d/link").symlink_to("nowhere")
    (top / "d/file").write_bytes(b"")
    assert holds(root, "link", b"/d/link")
    assert not holds(root, "link", b"/d/file")
    assert not holds(root, "link", b"/d/none")


def test_link_to(top: Path, root: Root) -> None:
    (top / "d/link").symlink_to("../two")
    assert holds(root, "link-to", b"/d/link", detail="/one\n../two")
    assert not holds(root, "link-to", b"/d/link", detail="/one\n/two")
    assert not holds(root, "link-to", b"/d", detail="")


def test_owned_link(top: Path, root: Root) -> None:
    (top / "usr/lib").mkdir(parents=True)
    (top / "lib").symlink_to("usr/lib")
    for link, target in (("x", "/lib/unit"), ("y", "../lib/unit"), ("z", "x"), ("far", "/etc/far"), ("up", "..")):
        (top / "d" / link).symlink_to(target)
    (top / "d/round").symlink_to("round")
    for name in (b"x", b"y", b"z"):
        assert holds(root, "owned-link", b"/d/" + name, b"/usr/lib/unit")
        assert holds(root, "owned-link", b"/d/" + name, b"/usr/lib/unit", detail="/none/\n/usr/lib/")
        assert not holds(root, "owned-link", b"/d/" + name, b"/usr/lib/unit", detail="/none/\n/usr/share/")
        assert not holds(root, "owned-link", b"/d/" + name, b"/lib/unit")
    assert not holds(root, "owned-link", b"/d/far", b"/usr/lib/unit")
    assert not holds(root, "owned-link", b"/d/round", b"/usr/lib/unit")
    assert not holds(root, "owned-link", b"/d/none", b"/usr/lib/unit")
    assert holds(root, "owned-link", b"/d/up", b"/")


def test_python_bytecode(root: Root) -> None:
    source = b"/usr/lib/python3/x.py"
    cached = b"/usr/lib/python3/__pycache__"
    good = [cached + b"/x.cpython-311.pyc", cached + b"/x.cpython-311.opt-1.pyc", cached + b"/x.pypy39.pyc"]
    good.append(b"/usr/lib/python3/x.pyc")
    bad = [cached + b"/y.cpython-311.pyc", cached + b"/x.pyc", cached + b"/x.evil.pyc", b"/usr/lib/x.pyc"]
    assert [holds(root, "python-bytecode", path, source) for path in good] == [True] * len(good)
    assert [holds(root, "python-bytecode", path, source) for path in bad] == [False] * len(bad)
    assert holds(root, "python-bytecode", cached, b"/usr/lib/python3")
    assert not holds(root, "python-bytecode", cached, b"/usr/lib")


def test_copy(top: Path, root: Root) -> None:
    (top / "d/template").write_bytes(b"text")
    (top / "d/same").write_bytes(b"text")
    (top / "d/other").write_bytes(b"Text")
    (top / "d/link").symlink_to("same")
    assert holds(root, "copy", b"/d/same", b"/d/template", detail="/d/template")
    assert not holds(root, "copy", b"/d/same", detail="/d/template")
    assert not holds(root, "copy", b"/d/other", b"/d/template", detail="/d/template")
    assert not holds(root, "copy", b"/d/link", b"/d/template", detail="/d/template")
    assert not holds(root, "copy", b"/d/same", b"/d/gone", detail="/d/gone")
    assert not holds(root, "copy", b"/d", b"/d/template", detail="/d/template")


def test_text_and_empty(top: Path, root: Root) -> None:
    (top / "d/empty").write_bytes(b"")
    (top / "d/text").write_bytes(b"a\n")
    os.mkfifo(top / "d/fifo")
    detail = "87428fc522803d31065e7bce3cf03fe475096631e5e07bbd7a0fde60c4cf25c7"
    assert holds(root, "text", b"/d/text", detail=f"0\n{detail}")
    assert not holds(root, "text", b"/d/empty", detail=detail)
    assert not holds(root, "text", b"/d/fifo", detail=detail)
    assert holds(root, "empty", b"/d/empty")
    assert not holds(root, "empty", b"/d/text")
    assert not holds(root, "empty", b"/d/fifo")
    assert not holds(root, "empty", b"/d")


def test_kernel(root: Root) -> None:
    assert holds(root, "kernel", b"/boot/initrd.img-6.1.0-1-amd64", b"/boot/vmlinuz-6.1.0-1-amd64")
    assert not holds(root, "kernel", b"/boot/initrd.img-6.1.0-2-amd64", b"/boot/vmlinuz-6.1.0-1-amd64")


def test_swap(top: Path, root: Root) -> None:
    (top / "swap").write_bytes(bytes(4086) + b"SWAPSPACE2" + bytes(100))
    (top / "large").write_bytes(bytes(65526) + b"SWAPSPACE2")
    (top / "plain").write_bytes(b"SWAPSPACE2" * 1000)
    (top / "link").symlink_to("swap")
    os.mkfifo(top / "fifo")
    names = (b"swap", b"large", b"plain", b"link", b"fifo", b"d")
    assert {name for name in names if holds(root, "swap", b"/" + name)} == {b"swap", b"large"}


def test_a_check_that_cannot_look_does_not_hold(top: Path, root: Root) -> None:
    for number in range(50):
        (top / f"l{number}").symlink_to(f"l{number + 1}")
    (top / "d/link").symlink_to("/l0/x")
    assert not holds(root, "owned-link", b"/d/link", b"/l0/x")
