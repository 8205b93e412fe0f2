"""Rows of any scope, made from its tables, for tests that hold for all of them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from snapstore.system.record import Field, Row, Scope, Table, Type

# Raw bytes of every kind that matters to XML; as text where a row has text (surrogates for what is not UTF-8).
ODD = ("", "x", "a b", "a&b<c>\"'", "line\nfeed", "\0", "\u00e9\u202e", "]]>")
RAW = st.one_of(st.sampled_from([each.encode() for each in ODD] + [b"\xff\xfe"]), st.binary(max_size=12))
TEXT = RAW.map(lambda raw: raw.decode("utf-8", "surrogateescape"))
WORD = RAW.map(lambda raw: b"".join(raw.split()).decode("utf-8", "surrogateescape")).filter(
    lambda word: word.split() == [word]
)
NUMBERS = st.one_of(st.integers(0, 5), st.integers(0, (1 << 64) - 1))


def values(field: Field) -> st.SearchStrategy[Any]:
    """Whatever may stand in a field."""
    if field.type is Type.WORD:
        return st.sampled_from(field.choices if field.key else ("", *field.choices))
    return {
        Type.TEXT: TEXT,
        Type.RAW: RAW,
        Type.NUMBER: NUMBERS,
        Type.OPTIONAL: st.none() | NUMBERS,
        Type.FLAG: st.booleans(),
        Type.WORDS: st.lists(WORD, max_size=3).map(tuple),
        Type.MODE: st.none() | st.integers(0, 0o7777),
    }[field.type]


LEFT_OUT = {Type.TEXT: "", Type.RAW: b"", Type.OPTIONAL: None, Type.FLAG: False, Type.WORD: "", Type.WORDS: ()}


@st.composite
def rows_of(draw: st.DrawFn, table: Table, *, stated: int) -> Row:
    """Whatever may be a row of a table, with at most `stated` optional attributes."""
    optional = [field.name for field in table.fields if not field.key]
    chosen = draw(st.lists(st.sampled_from(optional), unique=True, max_size=stated)) if optional else []
    found = {}
    for field in table.fields:
        if field.key or field.name in chosen:
            found[field.attribute] = draw(values(field))
        else:
            found[field.attribute] = field.default if field.type is Type.NUMBER else LEFT_OUT.get(field.type)
    return table.row(**found)


def records(scope: Scope, *, minimum: int = 0, stated: int = 30) -> st.SearchStrategy[list[Row]]:
    """The rows of a record of a scope, in order; each states at most so many of its optional attributes."""
    any_row = st.one_of([rows_of(table, stated=stated) for table in scope.tables])
    found = st.lists(any_row, min_size=minimum, max_size=6, unique_by=lambda row: repr(scope.order(row)))
    return found.map(lambda rows: sorted(rows, key=scope.order))
