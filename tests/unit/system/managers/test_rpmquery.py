"""rpm's answers, recorded and made up."""

from __future__ import annotations

import pytest

from snapstore.errors import PackageDatabaseError
from snapstore.system.managers.rpmquery import (
    FILES,
    KEYS,
    PACKAGE,
    DamagedValueError,
    Form,
    query_format,
    read_answer,
    unambiguous_names,
    version_of,
)
from tests.rpmanswers import RECORDED, answer, header_of

TAGS = {"NAME": Form.TEXT, "SIZE": Form.NUMBER, "NAMES": Form.TEXTS, "MODES": Form.NUMBERS}


def test_the_question_has_one_line_for_each_tag() -> None:
    assert query_format(TAGS) == (
        "header %{DBINSTANCE:hex}\\nNAME %{NAME:shescape}\\nSIZE %{SIZE:hex}\\n"
        "NAMES [%{NAMES:shescape} ]\\nMODES [%{MODES:hex} ]\\n"
    )


def test_recorded_packages() -> None:
    headers = list(read_answer((RECORDED / "packages.answer").read_bytes(), PACKAGE))
    assert len(headers) == 16
    found = {header.text("NAME"): header for header in headers}
    alpha = found["alpha"]
    assert (version_of(alpha), alpha.text("ARCH"), alpha.text("VENDOR")) == ("2:1.0-3", "noarch", "Örtlich")
    assert found["alpha-tools"].text("SOURCERPM") == "alpha-1.0-3.src.rpm"
    assert version_of(found["zeta"]) == "1-1"
    assert found["zeta"].text("VENDOR") == ""
    assert found["alpha-meta"].number_of("LONGSIZE") == 0


def test_recorded_files() -> None:
    headers = {each.text("NAME"): each for each in read_answer((RECORDED / "files.answer").read_bytes(), FILES)}
    names = headers["alpha"].texts("FILENAMES")
    assert names is not None
    assert {b"/usr/share/alpha/\xffraw", b"/usr/share/alpha/it's", b"/usr/share/alpha/back\\slash"} <= set(names)
    modes = headers["alpha"].numbers("FILEMODES")
    assert modes is not None
    assert dict(zip(names, modes, strict=True))[b"/etc/alpha/secret.conf"] == 0o100640
    assert headers["alpha-meta"].texts("FILENAMES") is None
    assert headers["alpha"].texts("FILECAPS") is None
    assert headers["beta-md5"].number_of("FILEDIGESTALGO") in (None, 1)


def test_names_may_hold_anything() -> None:
    names = [b"/a\nheader 2\nNAME 'x'\n", b"''", b"'", b"\\", b"\\'\n", b" ", b"", bytes(range(1, 256))]
    (header,) = read_answer(answer(7, TAGS, {"NAME": b"it's\n", "NAMES": names, "MODES": [1, 2]}), TAGS)
    assert header.number == 7
    assert header.text("NAME") == "it's\n"
    assert header.texts("NAMES") == names
    assert header.numbers("MODES") == [1, 2]
    assert header.number_of("SIZE") is None


@pytest.mark.parametrize("missing", [b"", b"(none)", b"(none) "])
def test_what_is_absent(missing: bytes) -> None:
    raw = b"header 1\nNAME (none)\nSIZE (none)\nNAMES %b\nMODES %b\n" % (missing, missing)
    (header,) = read_answer(raw, TAGS)
    assert header.text("NAME") == ""
    assert header.number_of("SIZE") is None
    assert header.texts("NAMES") is None
    assert header.numbers("MODES") is None


def test_the_word_for_absent_may_be_a_value() -> None:
    (header,) = read_answer(answer(1, TAGS, {"NAME": b"(none)", "NAMES": [b"(none)"]}), TAGS)
    assert header.text("NAME") == "(none)"
    assert header.texts("NAMES") == [b"(none)"]


def test_values_of_another_type_are_damaged() -> None:
    raw = b"header 1\nNAME 21\nSIZE (not a number)\nNAMES 'a' b 'c' \nMODES 1 (invalid type) 2 \n"
    (header,) = read_answer(raw, TAGS)
    for read in (header.text, header.number_of, header.texts, header.numbers):
        tag = {header.text: "NAME", header.number_of: "SIZE", header.texts: "NAMES", header.numbers: "MODES"}[read]
        with pytest.raises(DamagedValueError, match=tag):
            read(tag)


@pytest.mark.parametrize(
    "raw",
    [
        b"x",
        b"\n",
        b"header 1\n",
        b"header 1\nNAME 'a'\nSIZE 1\nNAMES \nMODES ",
        b"header 1\nNAME 'a\nSIZE 1\nNAMES \nMODES \n",
        b"header 1\nSIZE 1\nNAME 'a'\nNAMES \nMODES \n",
        b"header (none)\nNAME 'a'\nSIZE 1\nNAMES \nMODES \n",
        b"header 1\nNAMES 'a'\nSIZE 1\nNAMES \nMODES \n",
    ],
)
def test_what_is_no_answer(raw: bytes) -> None:
    with pytest.raises(PackageDatabaseError, match="makes no sense"):
        list(read_answer(raw, TAGS))


def test_no_headers() -> None:
    assert list(read_answer(b"", KEYS)) == []


def test_versions() -> None:
    assert version_of(header_of()) == "1-2"
    assert version_of(header_of(EPOCH=0)) == "0:1-2"
    assert version_of(header_of(EPOCH=18)) == "18:1-2"


def test_names_without_doubt() -> None:
    headers = [("a", "1", "x"), ("b", "1", "x"), ("b", "1", "y"), ("c", "1", "x"), ("c", "2", "x"), ("d", "1", "")]
    assert unambiguous_names(headers) == ["a", "b.x", "b.y", "c-1.x", "c-2.x", "d"]
