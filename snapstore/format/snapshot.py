"""Commit records, fences and announcements (docs/format.md, sections 10.3 and 10.4)."""

from __future__ import annotations

import re

from lxml import etree

from snapstore.errors import CorruptObjectError
from snapstore.format import xml
from snapstore.format.ids import parse_id, parse_session_id
from snapstore.format.tree import check_name, entry_element, kind_of, read_entry
from snapstore.model import ChunkId, IndexRef, Root, SessionId, Snapshot, Totals

NAMESPACE = "urn:snapstore:snapshot:1"
FENCE_NAMESPACE = "urn:snapstore:fence:1"
FORGOTTEN_NAMESPACE = "urn:snapstore:forgotten:1"
SESSION_NAMESPACE = "urn:snapstore:session:1"
KINDS = ("snapshot", "checkpoint")
_SCOPE = re.compile(r"[a-z][a-z0-9-]{0,63}\Z").match
_TOTALS = (
    ("files", "files"),
    ("directories", "directories"),
    ("others", "others"),
    ("size", "size"),
    ("new-chunks", "new_chunks"),
    ("new-data", "new_data"),
    ("new-manifest", "new_manifest"),
    ("stored-data", "stored_data"),
    ("stored-manifest", "stored_manifest"),
    ("warnings", "warnings"),
)


def final_name(session: SessionId) -> str:
    """The name of the object that decides a session."""
    return f"refs/{session.hex()}.final"


def tombstone_name(session: SessionId) -> str:
    """The name of the object that says that a snapshot is forgotten."""
    return f"refs/{session.hex()}.forgotten"


def announcement_name(session: SessionId) -> str:
    """The name of the object that announces a session."""
    return f"sessions/{session.hex()}.open"


def _text(name: bytes, value: str) -> bytes:
    return xml.text_attribute(name, value.encode("utf-8", "surrogateescape"))


def _instant(nanoseconds: int) -> bytes:
    return xml.time_text(*divmod(nanoseconds, 1_000_000_000))


def write_snapshot(record: Snapshot) -> bytes:
    """The canonical document of a commit record."""
    attributes = [b' session="%b" kind="%b"' % (record.session.hex().encode(), record.kind.encode())]
    attributes += [
        _text(name, value)
        for name, value in (
            (b"name", record.name),
            (b"host", record.host),
            (b"os", record.os_release),
            (b"user", record.user),
            (b"tool", record.tool),
        )
    ]
    attributes.append(b' started="%b" ended="%b"' % (_instant(record.started), _instant(record.ended)))
    attributes.append(
        b' writer="%b" sequence="%d" previous="%b"'
        % (record.writer.hex().encode(), record.sequence, record.previous.hex().encode())
    )
    lines = [b"<tag%b/>\n" % _text(b"value", tag) for tag in record.tags]
    lines += [b"<exclude%b/>\n" % _text(b"pattern", pattern) for pattern in record.excludes]
    lines += [
        b"<root%b>\n%b</root>\n" % (xml.text_attribute(b"path", root.path), entry_element(root.entry))
        for root in record.roots
    ]
    lines += [
        b'<scope name="%b" record="%b"/>\n' % (name.encode(), chunk.hex().encode()) for name, chunk in record.scopes
    ]
    lines += [b'<index digest="%b" size="%d"/>\n' % (ref.digest.hex().encode(), ref.size) for ref in record.indexes]
    totals = b"".join(b' %b="%d"' % (name.encode(), getattr(record.totals, field)) for name, field in _TOTALS)
    lines.append(b"<totals%b/>\n" % totals)
    return xml.document(b"snapshot", NAMESPACE.encode(), lines, b"".join(attributes))


def write_fence(session: SessionId) -> bytes:
    """The document that ends a session without a snapshot."""
    return xml.document(b"fence", FENCE_NAMESPACE.encode(), (), b' session="%b"' % session.hex().encode())


def write_tombstone(session: SessionId) -> bytes:
    """The document that says that a snapshot is forgotten."""
    return xml.document(b"forgotten", FORGOTTEN_NAMESPACE.encode(), (), b' session="%b"' % session.hex().encode())


def write_announcement(session: SessionId, *, host: str, tool: str, started: int) -> bytes:
    """The document by which a writer makes itself known; `started` in nanoseconds since the epoch."""
    attributes = b' session="%b"%b%b started="%b"' % (
        session.hex().encode(),
        _text(b"host", host),
        _text(b"tool", tool),
        _instant(started),
    )
    return xml.document(b"session", SESSION_NAMESPACE.encode(), (), attributes)


def read_final(data: bytes, *, name: str) -> Snapshot | None:
    """The commit record in a final, or None for a fence; CorruptObjectError if it breaks the format."""
    tag, namespace = ("fence", FENCE_NAMESPACE) if b"\n<fence " in data[:64] else ("snapshot", NAMESPACE)
    root = xml.parse(data, tag=tag, namespace=namespace, name=name)
    try:
        if tag == "fence":
            attributes = xml.Attributes(root)
            parse_session_id(attributes.required("session"))
            attributes.close()
            xml.check_leaf(root)
            return None
        return _read_snapshot(root)
    except ValueError as error:
        raise CorruptObjectError(name, str(error)) from error


def _nanoseconds(time: tuple[int, int]) -> int:
    return time[0] * 1_000_000_000 + time[1]


def _read_snapshot(root: etree._Element) -> Snapshot:
    a = xml.Attributes(root)
    session = parse_session_id(a.required("session"))
    kind = a.required("kind")
    if kind not in KINDS:
        raise xml.XmlError(f"unknown kind {kind[:40]!r}")
    name, host, release, user, tool = (a.string(key) for key in ("name", "host", "os", "user", "tool"))
    started, ended = _nanoseconds(a.time("started")), _nanoseconds(a.time("ended"))
    writer = parse_session_id(a.required("writer"))
    sequence = a.number("sequence")
    previous = a.required("previous")
    previous_digest = parse_id(previous) if previous else b""
    a.close()
    tags: list[str] = []
    excludes: list[str] = []
    roots: list[Root] = []
    scopes: list[tuple[str, ChunkId]] = []
    indexes: list[IndexRef] = []
    totals: Totals | None = None
    order = ("tag", "exclude", "root", "scope", "index", "totals")
    reached = 0
    for element in root:
        local = etree.QName(element).localname
        position = order.index(local) if local in order and element.tag == f"{{{NAMESPACE}}}{local}" else -1
        if position < reached:
            raise xml.XmlError(f"{local} is unknown or out of order")
        reached = position
        a = xml.Attributes(element)
        if local != "root":
            xml.check_leaf(element)
        if local == "tag":
            tags.append(a.string("value"))
        elif local == "exclude":
            excludes.append(a.string("pattern"))
        elif local == "root":
            roots.append(_read_root(element, a))
        elif local == "scope":
            scope = a.required("name")
            if not _SCOPE(scope):
                raise xml.XmlError(f"{scope[:40]!r} is no scope")
            scopes.append((scope, parse_id(a.required("record"))))
        elif local == "index":
            indexes.append(IndexRef(digest=parse_id(a.required("digest")), size=a.number("size")))
        else:
            if totals is not None:
                raise xml.XmlError("there are two totals")
            totals = Totals(**{field: a.number(key) for key, field in _TOTALS})
        a.close()
    if totals is None:
        raise xml.XmlError("there are no totals")
    if kind == "checkpoint" and roots:
        raise xml.XmlError("a checkpoint has no roots")
    return Snapshot(
        session=session, kind=kind, name=name, tags=tuple(tags), host=host, os_release=release, user=user, tool=tool,
        started=started, ended=ended, writer=writer, sequence=sequence, previous=previous_digest, roots=tuple(roots),
        scopes=tuple(scopes), excludes=tuple(excludes), indexes=tuple(indexes), totals=totals,
    )  # fmt: skip


def _read_root(element: etree._Element, attributes: xml.Attributes) -> Root:
    path = attributes.required_raw("path")
    if not path.startswith(b"/") or len(element) != 1:
        raise xml.XmlError("a root needs an absolute path and one entry")
    if path != b"/":
        for part in path[1:].split(b"/"):
            check_name(part)
    return Root(path=path, entry=read_entry(element[0], kind_of(element[0], NAMESPACE)))
