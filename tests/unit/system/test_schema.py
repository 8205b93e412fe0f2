"""The published schemas of the scopes are those that the tables make, and take what the tables write."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

import snapstore
from snapstore.model import ChunkId
from snapstore.system.record import Field, Scope
from snapstore.system.schema import MARK, SCOPES, schema, write_schemas
from tests.scoperows import records

PUBLISHED = Path(os.path.dirname(snapstore.__file__)) / "schemas"
# What libxml2 takes to validate an element doubles with each optional attribute that it states.
STATED = 7
RNG = "{http://relaxng.org/ns/structure/1.0}"
every_scope = pytest.mark.parametrize("scope", SCOPES, ids=lambda scope: scope.name)


@every_scope
def test_what_is_published_is_what_the_tables_say(scope: Scope, tmp_path: Path) -> None:
    assert (PUBLISHED / f"{scope.name}.rng").read_text(encoding="utf-8") == schema(scope)
    write_schemas(str(tmp_path))
    assert sorted(os.listdir(tmp_path)) == sorted(f"{each.name}.rng" for each in SCOPES)
    assert (tmp_path / f"{scope.name}.rng").read_text(encoding="utf-8") == schema(scope)


def compiled(scope: Scope) -> etree.RelaxNG:
    return etree.RelaxNG(etree.fromstring(schema(scope).encode()))


@every_scope
def test_every_written_document_is_valid(scope: Scope) -> None:
    relaxng = compiled(scope)

    @settings(max_examples=20, deadline=None)
    @given(records(scope, stated=STATED))
    def check(rows: list[object]) -> None:
        def put(document: bytes) -> ChunkId:
            assert relaxng.validate(etree.fromstring(document)), relaxng.error_log
            return ChunkId(bytes(32))

        scope.write(rows, put)

    check()


@every_scope
def test_sharded_documents_are_valid(scope: Scope) -> None:
    relaxng = compiled(scope)
    document = (
        f'<{scope.name} xmlns="urn:snapstore:{scope.name}:1"><shard elements="2" id="{"0" * 64}"/></{scope.name}>'
    )
    assert relaxng.validate(etree.fromstring(document)), relaxng.error_log


@every_scope
@settings(max_examples=20, deadline=None)
@given(st.data())
def test_what_is_not_of_the_table_is_refused(scope: Scope, data: st.DataObject) -> None:
    rows = data.draw(records(scope, minimum=1, stated=STATED))
    document = etree.fromstring(
        f'<{scope.name} xmlns="urn:snapstore:{scope.name}:1">'.encode()
        + b"".join(map(scope.element, rows))
        + f"</{scope.name}>".encode()
    )
    relaxng = compiled(scope)
    assert relaxng.validate(document)
    element = data.draw(st.sampled_from(list(document)))
    (table,) = [each for each in scope.tables if f"}}{each.tag}" in element.tag]
    change = data.draw(st.sampled_from(["more", "less", "child", "tag"]))
    if change == "more":
        element.set("other", "x")
    elif change == "less":
        required = data.draw(st.sampled_from([field.name for field in table.fields if field.key]))
        for name in (required, f"{required}-b64"):
            if name in element.attrib:
                del element.attrib[name]
    elif change == "child":
        etree.SubElement(element, element.tag)
    else:
        element.tag += "x"
    assert not relaxng.validate(document)


def marked(scope: Scope) -> set[str]:
    found = etree.fromstring(schema(scope).encode()).iter(f"{RNG}attribute")
    return {str(each.get("name")).removesuffix("-b64") for each in found if each.get(f"{{{MARK}}}secret") == "yes"}


@every_scope
def test_secrets_are_marked(scope: Scope) -> None:
    secret: list[Field] = [field for table in scope.tables for field in table.fields if field.secret]
    assert marked(scope) == {field.name for field in secret}
    if scope.name == "users":
        assert marked(scope) == {"password"}
