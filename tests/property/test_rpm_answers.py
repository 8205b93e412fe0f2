"""Laws of rpm's answers and databases: what is written is read, and nothing that is read does harm."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snapstore.errors import PackageDatabaseError
from snapstore.system.managers.rpm import Rpm
from snapstore.system.managers.rpmfiles import owned_by
from snapstore.system.managers.rpmquery import FILES, DamagedValueError, Form, Header, read_answer
from snapstore.system.managers.trouble import Trouble
from snapstore.system.packages import Owned
from snapstore.system.root import Root
from tests.rpmanswers import HEADER, RECORDED, Value, answer, bdb, ndb, write_sqlite

TEXT = st.binary(max_size=30).filter(lambda raw: b"\0" not in raw) | st.lists(
    st.sampled_from([b"'", b"\\", b"\n", b" ", b"header 1\n", b"NAME ", b"(none)", b"a"]), max_size=5
).map(b"".join)
NUMBER = st.integers(0, (1 << 64) - 1)
VALUES = {
    Form.TEXT: TEXT,
    Form.NUMBER: NUMBER,
    Form.TEXTS: st.lists(TEXT, min_size=1, max_size=4),
    Form.NUMBERS: st.lists(NUMBER, min_size=1, max_size=4),
}
TAGS = {f"TAG{number}": form for number, form in enumerate([*Form, *Form])}
HEADERS = st.fixed_dictionaries({}, optional={tag: VALUES[form] for tag, form in TAGS.items()})
ANSWER = (RECORDED / "files.answer").read_bytes()


def values_of(header: Header) -> dict[str, object]:
    """Every value that a header has."""
    found: dict[str, object] = {}
    for tag, form in TAGS.items():
        if form is Form.TEXT:
            value: object = header.text(tag).encode("utf-8", "surrogateescape") or None
        elif form is Form.NUMBER:
            value = header.number_of(tag)
        else:
            value = header.texts(tag) if form is Form.TEXTS else header.numbers(tag)
        if value is not None:
            found[tag] = value
    return found


@settings(max_examples=80, deadline=None)
@given(st.lists(HEADERS, max_size=4))
def test_what_is_printed_is_read(headers: list[dict[str, Value]]) -> None:
    raw = b"".join(answer(number, TAGS, values) for number, values in enumerate(headers))
    found = list(read_answer(raw, TAGS))
    assert [each.number for each in found] == list(range(len(headers)))
    # An empty text is as good as none.
    assert [values_of(each) for each in found] == [
        {tag: value for tag, value in each.items() if value != b""} for each in headers
    ]


def read_all(raw: bytes, root: Root) -> list[Owned]:
    """What an answer owns; whatever it is, nothing but the stated error is raised."""
    owned: list[Owned] = []
    with Trouble(lambda *_: None, b"/db") as trouble:
        try:
            for header in read_answer(raw, FILES):
                owned += owned_by(header, "alpha", root, trouble)
                try:
                    header.text("NAME")
                except DamagedValueError:
                    continue
        except PackageDatabaseError:
            return owned
    return owned


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes(raw: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory, Root(directory.encode()) as root:
        assert read_all(raw, root) == []


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(ANSWER)), st.integers(0, 60), st.binary(max_size=20))
def test_recorded_answers_with_something_else_in_them(at: int, length: int, put: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory, Root(directory.encode()) as root:
        for each in read_all(ANSWER[:at] + put + ANSWER[at + length :], root):
            assert each.path.startswith(b"/")
            assert b"\0" not in each.path


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(ANSWER)))
def test_answers_that_break_off_never_say_more(cut: int) -> None:
    with tempfile.TemporaryDirectory() as directory, Root(directory.encode()) as root:
        whole = read_all(ANSWER, root)
        part = read_all(ANSWER[:cut], root)
        assert part == whole[: len(part)]


def database_of(kind: str) -> bytes:
    """A database with three records."""
    header = HEADER.read_bytes()
    if kind == "Packages":
        return bdb()
    if kind == "Packages.db":
        return ndb({1: header, 2: header, 3: header})
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / kind
        write_sqlite(path, {1: header, 2: header, 3: header})
        return path.read_bytes()


KINDS = ("rpmdb.sqlite", "Packages.db", "Packages")
DATABASES = {kind: database_of(kind) for kind in KINDS}


def owned_from(kind: str, raw: bytes) -> tuple[list[Owned], int]:
    """What a database owns, and how often something was wrong."""
    told: list[str] = []
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory) / "var/lib/rpm"
        place.mkdir(parents=True)
        (place / kind).write_bytes(raw)
        with Root(directory.encode()) as root:
            try:
                return list(Rpm().owned(root, lambda _, reason: told.append(reason))), len(told)
            except PackageDatabaseError:
                return [], 1


def comparable(owned: Owned) -> Owned:
    """The record without what hangs on the state of the file, on the time, and on what else is installed.

    State and time are added to a header when it is installed, so no digest covers them. A wrong state makes less
    known, never more.
    """
    return owned._replace(digest=None, size=None, optional=False, installed=0, package="")


needs_rpm = pytest.mark.skipif(shutil.which("rpm") is None, reason="the program rpm is not here")


@needs_rpm
@settings(max_examples=12, deadline=None)
@given(st.data())
@pytest.mark.parametrize("kind", KINDS)
def test_databases_that_break_off(kind: str, data: st.DataObject) -> None:
    raw = DATABASES[kind]
    cut = data.draw(st.integers(0, len(raw)))
    whole, _ = owned_from(kind, raw)
    part, told = owned_from(kind, raw[:cut])
    known = {comparable(each) for each in whole}
    assert all(comparable(each) in known for each in part if each.vouched)
    assert told or part == whole


@needs_rpm
@settings(max_examples=12, deadline=None)
@given(st.data())
@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_bit_is_told_of_or_means_nothing(kind: str, data: st.DataObject) -> None:
    raw = bytearray(DATABASES[kind])
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    whole, _ = owned_from(kind, DATABASES[kind])
    found, told = owned_from(kind, bytes(raw))
    known = {comparable(each) for each in whole}
    assert all(comparable(each) in known for each in found if each.vouched and each.kind is not None)
    assert told or {each.path for each in found} == {each.path for each in whole}
