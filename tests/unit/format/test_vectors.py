"""The vectors of format version 1: readers take the good ones for what they are and refuse every bad one."""

from __future__ import annotations

import json
import os
from typing import TypedDict

import pytest

from snapstore import errors
from snapstore.errors import CorruptObjectError, SnapstoreError
from tests.vectors import regenerate
from tests.vectors.readers import READERS


class Row(TypedDict):
    file: str
    reader: str
    error: str
    phrase: str


def stored(path: str) -> bytes:
    with open(os.path.join(regenerate.PLACE, path), "rb") as file:
        return file.read()


TABLE: list[Row] = json.loads(stored("should-fail/table.json"))


def test_the_files_are_what_the_two_writers_make() -> None:
    assert regenerate.differences() == []


def test_every_bad_file_stands_in_the_table() -> None:
    listed = {row["file"] for row in TABLE} | {"table.json"}
    assert listed == set(os.listdir(os.path.join(regenerate.PLACE, "should-fail")))


@pytest.mark.parametrize("row", TABLE, ids=[f"{row['reader']}:{row['file']}" for row in TABLE])
def test_a_bad_object_is_refused(row: Row) -> None:
    expected: type[SnapstoreError] = getattr(errors, row["error"])
    for reader in (row["reader"], f"{row['reader']} by definition"):
        if reader not in READERS:
            continue
        with pytest.raises(expected) as caught:
            READERS[reader](stored(f"should-fail/{row['file']}"))
        assert type(caught.value) is expected
        assert row["phrase"] in caught.value.message
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 400


@pytest.mark.parametrize("reader", READERS)
def test_a_large_document_is_refused_before_it_is_parsed(reader: str) -> None:
    if reader not in ("tree", "chunks", "record"):
        return
    with pytest.raises(CorruptObjectError, match="16777217 bytes, more than the format allows"):
        READERS[reader](bytes((16 << 20) + 1))
