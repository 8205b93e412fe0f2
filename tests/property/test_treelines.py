"""The fast reading of tree lines and the definition agree: on what is valid, on what is not, and on what it means."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from snapstore.errors import CorruptObjectError
from snapstore.format import treelines, xml
from snapstore.format.tree import TreeShard, define_tree, entry_element, read_tree
from snapstore.model import ChunkId, Entry, Kind, Xattr

NAMESPACE = b"urn:snapstore:tree:1"


def outcome(data: bytes, *, fast: bool) -> list[Entry] | list[TreeShard] | str:
    try:
        return read_tree(data, name="t") if fast else define_tree(data, name="t")
    except CorruptObjectError:
        return "refused"


def document(elements: list[bytes]) -> bytes:
    return xml.document(b"tree", NAMESPACE, elements)


names = st.one_of(
    st.binary(min_size=1, max_size=20),
    st.text(st.sampled_from("abc &<>'\"\u00e9\u0085\ufffe.\U0001f600"), min_size=1, max_size=8).map(str.encode),
    st.sampled_from([b"a" * 255, b"...", b"-", b"\x7f", b"\xc2\x85"]),
).filter(lambda name: b"/" not in name and b"\0" not in name and name not in (b".", b".."))
ids = st.binary(min_size=32, max_size=32).map(ChunkId)
owners = st.sampled_from(["", "root", "us er", "\u00e9", "<x>", "\udcff", "\u0085"])
numbers = st.one_of(st.integers(0, 70_000), st.sampled_from([4294967294, 4294967295]))
seconds = st.one_of(st.integers(-3, 2_000_000_000), st.integers(-(1 << 63), (1 << 63) - 1))


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    kind = draw(st.sampled_from([Kind.FILE, Kind.FILE, Kind.FILE, Kind.DIRECTORY, Kind.SYMLINK, Kind.FIFO]))
    more: dict[str, object] = {}
    if kind is Kind.FILE:
        chunks = tuple(draw(st.lists(ids, max_size=4)))
        many = draw(st.integers(0, 20))
        if many == 20:
            chunks = tuple(ChunkId(bytes([number]) * 32) for number in range(draw(st.sampled_from([64, 65]))))
        more = {"chunks": chunks, "size": draw(st.integers(1, (1 << 63) - 1)) if chunks else 0}
        if not chunks and draw(st.booleans()):
            more = {"size": 10, "chunk_list": draw(ids)} if draw(st.booleans()) else {"size": 10, "holes": ((0, 10),)}
    elif kind is Kind.DIRECTORY:
        more = {"tree": draw(ids)} if draw(st.integers(0, 5)) else {"unread": "EACCES"}
    elif kind is Kind.SYMLINK:
        more = {"target": draw(names)}
    if not draw(st.integers(0, 5)):
        more["xattrs"] = (Xattr(b"user.a", b"1"), Xattr(b"user.b", b""))
    if kind is not Kind.DIRECTORY and not draw(st.integers(0, 5)):
        more |= {"links": 3, "hardlink": b"some/where"}
    return Entry(
        name=draw(names), kind=kind, mode=draw(st.integers(0, 0o7777)), uid=draw(numbers), gid=draw(numbers),
        user=draw(owners), group=draw(owners), mtime=(draw(seconds), draw(st.integers(0, 999_999_999))),
        **more,  # type: ignore[arg-type]
    )  # fmt: skip


@given(st.lists(entries(), max_size=12, unique_by=lambda entry: entry.name))
def test_what_is_written_is_read_the_same_either_way(some: list[Entry]) -> None:
    ordered = sorted(some, key=lambda entry: entry.name)
    data = document([entry_element(entry) for entry in ordered])
    defined = outcome(data, fast=False)
    assert outcome(data, fast=True) == defined
    if all(len(entry.chunks) <= 64 for entry in some):
        assert defined == ordered


@given(st.lists(entries(), max_size=12))
def test_order_is_demanded_either_way(some: list[Entry]) -> None:
    data = document([entry_element(entry) for entry in some])
    assert outcome(data, fast=True) == outcome(data, fast=False)


LINES = [
    b'<file name="a" size="0" mtime="0.000000000" mode="0644" uid="0" gid="0"/>\n',
    b'<file name="b" size="7" mtime="1.000000001" mode="0644" uid="0" gid="0" user="root" group="root" chunks="'
    + b"0f" * 32 + b'"/>\n',
    b'<file name="b2" size="7" mtime="1.000000001" mode="0644" uid="0" gid="0" chunks="'
    + b"0f" * 32 + b" " + b"f0" * 32 + b'"/>\n',
    b'<dir name="c" mtime="-1.000000000" mode="0755" uid="1" gid="2" tree="' + b"ab" * 32 + b'"/>\n',
    b'<file name="d" size="0" mtime="0.000000000" mode="0644" uid="0" gid="0">\n%b</file>\n'
    % b'<xattr name="user.x" value="MQ=="/>\n',
    b'<link name="\xc3\xa9" mtime="0.000000000" mode="0777" uid="0" gid="0" target="x&amp;y"/>\n',
]  # fmt: skip
TOKENS = [
    b"", b" ", b'"', b"'", b"<", b">", b"/", b"\n", b"\t", b"\0", b"&", b"&amp;", b"&#65;", b"<!-- -->", b"<?x?>",
    b"0", b"00", b"9" * 19, b"-0", b"-", b"A", b".", b"..", b"\xff", b"\xc2\x85", b"\xef\xbf\xbe", b"name",
    b' user=""', b"/>\n", b' size="1"', b' links="1"', b' tree="' + b"00" * 32 + b'"', b' target="x"', b"</file>\n",
    b"<file>\n", b"xmlns=", b"=", b' xmlns:a="b"', b"a:", LINES[0], LINES[3], LINES[4],
]  # fmt: skip


@pytest.mark.parametrize("seed", range(20))
def test_what_has_been_tampered_with_is_judged_the_same(seed: int) -> None:
    rng = random.Random(seed)
    accepted = 0
    for _ in range(400):
        data = document(rng.sample(LINES, rng.randrange(1, len(LINES) + 1)) if rng.random() < 0.2 else LINES)
        for _ in range(rng.choice([1, 1, 1, 2, 3])):
            if rng.random() < 0.4:
                at = rng.choice([match.start() for match in re.finditer(rb"[0-9a-f]", data)][40:] or [0])
                data = data[:at] + rng.choice([b"0", b"1", b"7", b"f"]) + data[at + 1 :]
                continue
            at = rng.choice(
                [match.start() for match in re.finditer(rb'[" =.<>/\n]|\b', data)] + [rng.randrange(len(data))]
            )
            data = data[:at] + rng.choice(TOKENS) + data[at + rng.randrange(3) :]
        expected = outcome(data, fast=False)
        accepted += expected != "refused"
        assert outcome(data, fast=True) == expected, data
    assert 10 < accepted < 390


@given(st.data())
def test_every_value_of_every_attribute_is_judged_the_same(draw: st.DataObject) -> None:
    line = draw.draw(st.sampled_from([line for line in LINES if line.count(b"\n") == 1]))
    values = list(re.finditer(rb'"([^"]*)"', line))
    where = draw.draw(st.sampled_from(values))
    value = draw.draw(
        st.one_of(
            st.binary(max_size=6),
            st.from_regex(rb"-?[0-9]{1,20}\.?[0-9]{0,10}", fullmatch=True),
            st.from_regex(rb"([0-9a-f]{64} ?){1,3}", fullmatch=True),
            st.from_regex(rb"[0-9a-fA-F ]{64}", fullmatch=True),
            st.sampled_from(
                [b"a" * 255, b"a" * 256, b"4294967295", b"4294967296", b"07777", b"0", b"00", b"x/y", b"/"]
            ),
        )
    )
    data = document([line[: where.start(1)] + value + line[where.end(1) :]])
    assert outcome(data, fast=True) == outcome(data, fast=False)


@given(st.integers(0, 200), st.integers(0, 200))
@example(0, 0)
def test_truncated_documents_are_refused(cut: int, drop: int) -> None:
    data = document(LINES)
    short = data[: len(data) - 1 - cut] + (b"</tree>\n" if drop % 2 else b"")
    assert outcome(short, fast=True) == outcome(short, fast=False)


def test_common_lines_take_the_fast_way(monkeypatch: pytest.MonkeyPatch) -> None:
    data = document([line for line in LINES if b"xattr" not in line and b"&" not in line])
    expected = define_tree(data, name="t")

    def refuse(part: bytes) -> list[Entry]:
        raise AssertionError(part)

    assert treelines.read_lines(data, define=refuse) == expected
    mixed = document(LINES)
    asked: list[bytes] = []

    def record(part: bytes) -> list[Entry]:
        asked.append(part)
        return [item for item in define_tree(part, name="t") if isinstance(item, Entry)]

    assert treelines.read_lines(mixed, define=record) == define_tree(mixed, name="t")
    assert asked == [document(LINES[-2:])]


def test_a_fast_entry_is_an_entry_in_every_way() -> None:
    [entry] = read_tree(document(LINES[:1]), name="t")
    assert isinstance(entry, Entry)
    made = Entry(name=b"a", kind=Kind.FILE, mode=0o644, uid=0, gid=0)
    assert (entry, hash(entry), repr(entry)) == (made, hash(made), repr(made))
    with pytest.raises(AttributeError):
        entry.mode = 1  # type: ignore[misc]


def test_large_documents_are_left_to_the_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(treelines, "DOCUMENT_LIMIT", 100)
    assert treelines.read_lines(document(LINES[:1]), define=lambda _: []) is None
