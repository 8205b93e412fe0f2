"""The published schemas: what the writers produce is valid, and what a schema can refuse, it refuses."""

from __future__ import annotations

import glob
import os

import pytest
from lxml import etree

import snapstore
from snapstore.format.tree import entry_element
from snapstore.model import Entry
from snapstore.system.schema import SCOPES
from tests.vectors import golden, hostile_xml
from tests.vectors.case import Case

SCHEMAS = os.path.join(os.path.dirname(snapstore.__file__), "schemas")
OF_FILE = {
    "config": "config",
    "announcement": "session",
    "snapshot": "snapshot",
    "checkpoint": "snapshot",
    "fence": "fence",
    "forgotten": "forgotten",
    "tree-empty": "tree",
    "tree-every-kind": "tree",
    "tree-sharded": "tree",
    "chunks": "chunks",
    "chunks-sharded": "chunks",
}
# Bad documents that a schema takes. First what is gone once a document has been parsed: its bytes.
BYTES = """
    bom utf-16 latin-1 no-declaration standalone declaration-quotes crlf no-line-feed two-line-feeds trailing-blank
    indented one-line empty-lines end-tag end-tag-line empty-root blank-before-close two-blanks tab line-feed
    blank-at-equals single-quotes apos character-10 character-hex greater tab-in-value line-feed-in-value
    namespace-again before-end-1 before-end-2 reordered reordered-owner reordered-optional
"""
# Then what this language of schemas cannot say: order, sums, lengths in bytes, what stands in base64, and the C1
# controls in a name, whose pattern is about dots.
SENSE = """
    unsorted equal-names equal-names-kinds time-huge-0 time-huge-1 link-nul rdev-2-32 name-6 name-raw-0 name-raw-1
    name-raw-2 name-raw-3 name-needless-0 name-needless-1 name-needless-3 no-chunks chunks-of-nothing list-of-nothing
    holes-0 holes-1 holes-2 holes-3 holes-4 holes-6 holes-12 holes-14 holes-whole xattr-unsorted xattr-equal xattr-nul
    xattr-base64-bits shards-unsorted shards-equal delete c1
"""
BEYOND_A_SCHEMA = {f"xml-{stem}.xml" for stem in (BYTES + SENSE).split()} | {
    "chunks-order.xml",
    "record-totals-order.xml",
}


def schema(name: str) -> etree.RelaxNG:
    return etree.RelaxNG(etree.parse(os.path.join(SCHEMAS, f"{name}.rng")))


def refusal(data: bytes, name: str) -> str:
    """What the schema says against a document; empty if it is valid."""
    relaxng = schema(name)
    if relaxng.validate(etree.fromstring(data)):
        return ""
    return str(relaxng.error_log) or "invalid"


@pytest.mark.parametrize("path", sorted(glob.glob(os.path.join(SCHEMAS, "*.rng"))), ids=os.path.basename)
def test_a_schema_is_a_schema(path: str) -> None:
    assert etree.RelaxNG(etree.parse(path))


def test_there_is_a_schema_for_every_document() -> None:
    there = {os.path.basename(path) for path in glob.glob(os.path.join(SCHEMAS, "*.rng"))}
    assert there == {f"{name}.rng" for name in [*OF_FILE.values(), *(scope.name for scope in SCOPES)]}


@pytest.mark.parametrize("vector", golden.documents(), ids=lambda vector: vector.file)
def test_documents_are_valid(vector: golden.Vector) -> None:
    assert refusal(vector.data, OF_FILE[vector.file.removesuffix(".xml")]) == ""


@pytest.mark.parametrize("entry", golden.every_entry(), ids=lambda entry: repr(entry.name)[:20])
def test_every_entry_is_valid_by_itself(entry: Entry) -> None:
    assert refusal(hostile_xml.tree(entry_element(entry)), "tree") == ""


def test_all_documents_of_a_sharded_tree_and_list_are_valid() -> None:
    for document in golden.tree_documents(golden.plain_entries(1500)):
        assert refusal(document, "tree") == ""
    for document in golden.list_documents(3000):
        assert refusal(document, "chunks") == ""


def refused(case: Case) -> bool:
    """Whether parser or schema refuse it; whoever uses the schemas is told to switch entities off."""
    parser = etree.XMLParser(resolve_entities=False, load_dtd=False, no_network=True)
    try:
        root = etree.fromstring(case.data, parser)
    except etree.XMLSyntaxError:
        return True
    name = "fence" if "-fence-" in case.file else {"record": "snapshot"}.get(case.reader, case.reader)
    return not schema(name).validate(root)


def test_schemas_refuse_what_a_schema_can() -> None:
    without_instructions = [case for case in hostile_xml.cases() if case.phrase != hostile_xml.DECLARED]
    assert {case.file for case in without_instructions if not refused(case)} == BEYOND_A_SCHEMA


def test_trees_and_commit_records_hold_the_same_entries() -> None:
    definitions = {}
    for name in ("tree", "snapshot"):
        with open(os.path.join(SCHEMAS, f"{name}.rng"), "rb") as file:
            text = file.read()
        definitions[name] = text[text.index(b"<!-- One entry of") : text.index(b'<define name="xattr">')]
    assert definitions["tree"] == definitions["snapshot"]
