"""The RELAX NG schemas of the scopes, made from the tables that read and write them.

`python -m snapstore.system.schema DIRECTORY` writes them there. They are published with the package; a test compares.
A secret attribute carries `snapstore:secret="yes"` (namespace `urn:snapstore:schema:1`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

from snapstore.format.scope import namespace
from snapstore.format.xml import escape
from snapstore.system.record import Field, Scope, Table, Type
from snapstore.system.scopes.accounts import USERS
from snapstore.system.scopes.files import COMPLETENESS, FILES
from snapstore.system.scopes.osrelease import OS
from snapstore.system.scopes.packagelist import PACKAGES
from snapstore.system.scopes.repositories import REPOS
from snapstore.system.scopes.services import SERVICES

SCOPES = (OS, PACKAGES, REPOS, USERS, SERVICES, FILES, COMPLETENESS)
"""Every scope of a system snapshot, in the order of the commit record."""

MARK = "urn:snapstore:schema:1"
_TWINS = (Type.TEXT, Type.RAW, Type.WORDS)
_PLAIN = {Type.NUMBER: "number", Type.OPTIONAL: "number", Type.MODE: "mode"}
_DEFINES = """\
  <define name="text">
    <data type="string"/>
  </define>
  <define name="raw">
    <data type="base64Binary"/>
  </define>
  <define name="number">
    <data type="unsignedLong">
      <param name="pattern">0|[1-9][0-9]*</param>
    </data>
  </define>
  <define name="mode">
    <data type="string">
      <param name="pattern">[0-7]{4}</param>
    </data>
  </define>
  <define name="id">
    <data type="string">
      <param name="pattern">[0-9a-f]{64}</param>
    </data>
  </define>
"""


def schema(scope: Scope) -> str:
    """The schema of one scope, a whole document."""
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f"<!-- Scope {scope.name}: docs/format.md, section 10.5. -->",
        (
            '<grammar xmlns="http://relaxng.org/ns/structure/1.0"'
            f' xmlns:snapstore="{MARK}" ns="{namespace(scope.name)}"'
            ' datatypeLibrary="http://www.w3.org/2001/XMLSchema-datatypes">'
        ),
        "  <start>",
        f'    <element name="{scope.name}">',
        "      <choice>",
        '        <oneOrMore><ref name="shard"/></oneOrMore>',
        "        <group>",
        *(f'          <zeroOrMore><ref name="{table.tag}-row"/></zeroOrMore>' for table in scope.tables),
        "        </group>",
        "      </choice>",
        "    </element>",
        "  </start>",
        '  <define name="shard">',
        '    <element name="shard">',
        '      <attribute name="elements"><ref name="number"/></attribute>',
        '      <attribute name="id"><ref name="id"/></attribute>',
        "    </element>",
        "  </define>",
    ]
    for table in scope.tables:
        lines += _table(table)
    return "\n".join(lines) + "\n" + _DEFINES + "</grammar>\n"


def _table(table: Table) -> Iterator[str]:
    yield f'  <define name="{table.tag}-row">'
    yield f'    <element name="{table.tag}">'
    for field in table.fields:
        if not field.key:
            yield "      <optional>"
        yield from _attribute(field)
        if not field.key:
            yield "      </optional>"
    yield "    </element>"
    yield "  </define>"


def _attribute(field: Field) -> Iterator[str]:
    mark = ' snapstore:secret="yes"' if field.secret else ""
    if field.type in _TWINS:
        yield "      <choice>"
        yield f'        <attribute name="{field.name}"{mark}><ref name="text"/></attribute>'
        yield f'        <attribute name="{field.name}-b64"{mark}><ref name="raw"/></attribute>'
        yield "      </choice>"
        return
    plain = _PLAIN.get(field.type)
    if plain is not None:
        yield f'      <attribute name="{field.name}"{mark}><ref name="{plain}"/></attribute>'
        return
    values = ("yes",) if field.type is Type.FLAG else field.choices
    yield f'      <attribute name="{field.name}"{mark}>'
    yield "        <choice>"
    yield from (f"          <value>{escape(value.encode()).decode()}</value>" for value in values)
    yield "        </choice>"
    yield "      </attribute>"


def write_schemas(directory: str) -> None:
    """Nothing; the schemas are in that directory."""
    for scope in SCOPES:
        with open(os.path.join(directory, f"{scope.name}.rng"), "w", encoding="utf-8") as file:
            file.write(schema(scope))


if __name__ == "__main__":
    write_schemas(sys.argv[1])
