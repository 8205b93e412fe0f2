"""A scope's record as one document, whole, as a bundle has it and a person reads it (docs/bundle.md).

It is the document that `snapstore.format.scope` describes, but for two things: it is never cut into shards, and it may
be of any length. So it is written and read as a stream, some lines at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from lxml import etree

from snapstore.errors import CorruptObjectError
from snapstore.format import xml
from snapstore.format.scope import ELEMENT_LIMIT, ScopeShard, namespace, read_scope

_BATCH = 1 << 18


def whole_document(scope: str, elements: Iterable[bytes]) -> Iterator[bytes]:
    """The pieces of the document that holds these elements, each of one line; the last piece ends it."""
    tag, name = scope.encode(), namespace(scope).encode()
    batch: list[bytes] = []
    size = 0
    begun = False
    for element in elements:
        if not begun:
            yield xml.start_tag(tag, name)
            begun = True
        batch.append(element)
        size += len(element)
        if size >= _BATCH:
            yield b"".join(batch)
            batch, size = [], 0
    if not begun:
        yield xml.document(tag, name, ())
        return
    yield b"".join(batch) + b"</%b>\n" % tag


def begins_whole(scope: str, start: bytes) -> bool:
    """Whether the first bytes of a file are those of such a document."""
    return start.startswith(b'%b<%b xmlns="%b"' % (xml.DECLARATION, scope.encode(), namespace(scope).encode()))


START = len(xml.DECLARATION) + 256
"""So many bytes are enough for `begins_whole`."""


def read_whole(scope: str, read: Callable[[int], bytes]) -> Iterator[etree._Element]:
    """The elements of a whole document; XmlError where it breaks the format. `read` is as for a TarReader.

    Every line goes through the checks of `snapstore.format.xml` before the parser sees it.
    """
    tag, name = scope.encode(), namespace(scope).encode()
    empty, head, foot = xml.document(tag, name, ()), xml.start_tag(tag, name), b"</%b>\n" % tag
    start = b""
    while len(start) < len(empty) and (piece := read(len(empty) - len(start))):
        start += piece
    if start == empty:
        if read(1):
            raise xml.XmlError("there is something behind its end")
        return
    if not start.startswith(head):
        raise xml.XmlError(f"it does not begin as a document of {scope}")
    rest = start[len(head) :]
    lines: list[bytes] = []
    ended = False
    size = 0
    while True:
        *whole, rest = rest.split(b"\n")
        for line in whole:
            if ended:
                raise xml.XmlError("there is something behind its end")
            ended = line + b"\n" == foot
            if not ended:
                lines.append(line + b"\n")
                size += len(line) + 1
        if size >= _BATCH or (ended and lines):
            yield from _elements(scope, lines)
            lines, size = [], 0
        if len(rest) > ELEMENT_LIMIT:
            raise xml.XmlError("a line of it is longer than an element may be")
        piece = read(_BATCH)
        if not piece:
            break
        rest += piece
    if rest or not ended:
        raise xml.XmlError("it does not end as it should")


def _elements(scope: str, lines: list[bytes]) -> Iterator[etree._Element]:
    document = xml.document(scope.encode(), namespace(scope).encode(), lines)
    try:
        found = read_scope(document, scope=scope, name=f"{scope}.xml")
    except CorruptObjectError as error:
        raise xml.XmlError(error.reason) from error
    for element in found:
        if isinstance(element, ScopeShard):
            raise xml.XmlError("it is cut into shards")
        yield element
