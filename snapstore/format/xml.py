"""Canonical XML: one meaning, one byte form (docs/format.md, section 10)."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from typing import cast

from lxml import etree

from snapstore.errors import CorruptObjectError

DECLARATION = b'<?xml version="1.0" encoding="UTF-8"?>\n'
DOCUMENT_LIMIT = 16 << 20

# Bytes that are neither printable ASCII nor in need of escaping: most names match this and need no second look.
_SIMPLE = re.compile(rb"[ !#-%'-;=?-~]*\Z").match
_NOT_PLAIN = re.compile("[\x00-\x1f\x7f-\x9f\ufffe\uffff]").search
# One attribute, and all lines, of a canonical document. Only the root declares a namespace, so that no element can
# stand in another one; possessive repeats keep the match linear in time and constant in memory.
_ATTRIBUTE = rb' (?!xmlns)[a-z][a-z0-9-]*+="(?:[^"<>&\x00-\x1f]++|&(?:amp|lt|gt|quot);)*+"'
_AFTER_NAMESPACE = re.compile(
    rb"(?:%b)*+/?+>\n(?:<(?:[a-z]++(?:%b)*+/?+|/[a-z]++)>\n)*+\Z" % (_ATTRIBUTE, _ATTRIBUTE)
).match
_EMPTY_WITH_END_TAG = b'">\n</'
_NUMBER = re.compile(r"(?:0|[1-9][0-9]{0,19})\Z").match
_TIME = re.compile(r"(-?(?:0|[1-9][0-9]{0,19}))\.([0-9]{9})\Z").match


class XmlError(ValueError):
    """The document breaks a rule; the message says which. Readers turn it into CorruptObjectError with a name."""


def is_plain(raw: bytes) -> bool:
    """Whether raw bytes may stand in an attribute as text; otherwise they need the base64 twin."""
    if _SIMPLE(raw):
        return True
    try:
        return not _NOT_PLAIN(raw.decode())
    except UnicodeDecodeError:
        return False


def escape(raw: bytes) -> bytes:
    """Plain text as it stands between the quotes of an attribute."""
    return raw.replace(b"&", b"&amp;").replace(b"<", b"&lt;").replace(b">", b"&gt;").replace(b'"', b"&quot;")


def text_attribute(name: bytes, raw: bytes) -> bytes:
    """The attribute, with a space in front, that holds raw bytes: as text if it can, else as its base64 twin."""
    if _SIMPLE(raw):
        return b' %b="%b"' % (name, raw)
    if is_plain(raw):
        return b' %b="%b"' % (name, escape(raw))
    return b' %b-b64="%b"' % (name, base64.b64encode(raw))


def time_text(seconds: int, nanoseconds: int) -> bytes:
    """A time as it stands in an attribute."""
    return b"%d.%09d" % (seconds, nanoseconds)


def start_tag(tag: bytes, namespace: bytes, attributes: bytes = b"") -> bytes:
    """Declaration and start tag of a document's root."""
    return b'%b<%b xmlns="%b"%b>\n' % (DECLARATION, tag, namespace, attributes)


def document(tag: bytes, namespace: bytes, lines: Iterable[bytes], attributes: bytes = b"") -> bytes:
    """A whole document; a root without children is an empty element."""
    body = b"".join(lines)
    if not body:
        return b'%b<%b xmlns="%b"%b/>\n' % (DECLARATION, tag, namespace, attributes)
    return b"%b%b</%b>\n" % (start_tag(tag, namespace, attributes), body, tag)


def parse(data: bytes, *, tag: str, namespace: str, name: str) -> etree._Element:
    """The root element of a document from outside.

    Raises CorruptObjectError, naming the object, for anything that the rules do not allow: before the parser sees
    a byte, everything that could define or fetch something has been excluded.
    """
    if len(data) > DOCUMENT_LIMIT:
        raise CorruptObjectError(name, f"its manifest has {len(data)} bytes, more than the format allows")
    if not data.startswith(DECLARATION):
        raise CorruptObjectError(name, "its manifest does not begin with the XML declaration")
    if b"<!" in data or data.find(b"<?", 1) >= 0:
        raise CorruptObjectError(name, "its manifest holds a declaration, comment or instruction")
    opening = b'%b<%b xmlns="%b"' % (DECLARATION, tag.encode(), namespace.encode())
    if not data.startswith(opening):
        raise CorruptObjectError(name, f"its manifest does not begin with a {tag} of this format version")
    if not _AFTER_NAMESPACE(data, len(opening)) or _EMPTY_WITH_END_TAG in data:
        raise CorruptObjectError(name, "its manifest is not in canonical form, one element a line")
    try:
        data.decode()
        parser = etree.XMLParser(
            resolve_entities=False,
            load_dtd=False,
            no_network=True,
            huge_tree=False,
            recover=False,
            remove_blank_text=True,
        )
        root = etree.fromstring(data, parser)
    except UnicodeDecodeError as error:
        raise CorruptObjectError(name, "its manifest is not UTF-8") from error
    except etree.XMLSyntaxError as error:
        raise CorruptObjectError(name, f"its manifest is not XML: {error.msg}") from error
    return root


class Attributes:
    """The attributes of one element, taken out one by one in their one order; what is left at the end is wrong.

    Every method raises XmlError for a value that is not in its one valid form.
    """

    __slots__ = ("_at", "_items", "_tag")

    def __init__(self, element: etree._Element) -> None:
        self._items = cast("list[tuple[str, str]]", element.items())
        self._at = 0
        self._tag = element.tag

    def has(self, name: str) -> bool:
        """Whether this attribute, or its twin, is the next."""
        at = self._at
        return at < len(self._items) and self._items[at][0] in (name, f"{name}-b64")

    def text(self, name: str) -> str | None:
        """The value as it stands, without a twin; None unless this attribute is the next."""
        at = self._at
        if at < len(self._items):
            key, value = self._items[at]
            if key == name:
                self._at = at + 1
                return value
        return None

    def required(self, name: str) -> str:
        """The value as it stands; it has to be there."""
        value = self.text(name)
        if value is None:
            raise XmlError(f"{self._tag} lacks {name} in its place")
        return value

    def raw(self, name: str) -> bytes | None:
        """The raw bytes of a text attribute or its twin; None if it has neither."""
        plain = self.text(name)
        if plain is not None:
            raw = plain.encode()
            if not is_plain(raw):
                raise XmlError(f"{self._tag} has a {name} that needs base64")
            return raw
        twin = self.text(f"{name}-b64")
        if twin is None:
            return None
        raw = decode_base64(twin)
        if is_plain(raw):
            raise XmlError(f"{self._tag} has a {name} that needs no base64")
        return raw

    def required_raw(self, name: str) -> bytes:
        """The raw bytes of a text attribute or its twin; one of them has to be there."""
        raw = self.raw(name)
        if raw is None:
            raise XmlError(f"{self._tag} lacks {name} in its place")
        return raw

    def string(self, name: str) -> str:
        """The raw bytes as a string (surrogates stand for what is not UTF-8); it has to be there."""
        return self.required_raw(name).decode("utf-8", "surrogateescape")

    def optional_string(self, name: str) -> str:
        """The same for an attribute that is left out when empty: the empty string then, and only then."""
        raw = self.raw(name)
        if raw == b"":
            raise XmlError(f"{self._tag} states an empty {name}")
        return (raw or b"").decode("utf-8", "surrogateescape")

    def number(self, name: str, *, default: int | None = None, limit: int = (1 << 64) - 1) -> int:
        """A decimal number up to the limit; one with a default is stated only where it differs."""
        value = self.text(name)
        if value is None:
            if default is None:
                raise XmlError(f"{self._tag} lacks {name} in its place")
            return default
        number = parse_number(value, limit=limit)
        if number == default:
            raise XmlError(f"{self._tag} states the default of {name}")
        return number

    def time(self, name: str) -> tuple[int, int]:
        """A time as (seconds, nanoseconds)."""
        match = _TIME(self.required(name))
        if not match or match[1] == "-0":
            raise XmlError(f"{self._tag} has a {name} that is no time")
        seconds = int(match[1])
        if not -(1 << 63) <= seconds < 1 << 63:
            raise XmlError(f"{self._tag} has a {name} beyond what a time can be")
        return seconds, int(match[2])

    def close(self) -> None:
        """XmlError if any attribute was not asked for."""
        if self._at < len(self._items):
            raise XmlError(f"{self._tag} has the unknown or misplaced attribute {self._items[self._at][0]}")


def check_leaf(element: etree._Element) -> None:
    """XmlError if the element holds another."""
    if len(element):
        raise XmlError(f"{element.tag} holds an element")


def parse_number(text: str, *, limit: int = (1 << 64) - 1) -> int:
    """The number that a canonical decimal stands for; XmlError otherwise or above the limit."""
    if not _NUMBER(text):
        raise XmlError(f"{text[:40]!r} is no number")
    number = int(text)
    if number > limit:
        raise XmlError(f"{text} is more than {limit}")
    return number


def decode_base64(text: str) -> bytes:
    """The bytes that canonical base64 stands for; XmlError otherwise."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise XmlError("invalid base64") from error
    if base64.b64encode(raw).decode() != text:
        raise XmlError("base64 that is not canonical")
    return raw
