"""Trees: the XML manifest of one directory (docs/format.md, section 10.1)."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import xxhash
from lxml import etree

from snapstore.errors import CorruptObjectError
from snapstore.format import xml
from snapstore.format.chunklist import INLINE_LIMIT
from snapstore.format.ids import parse_id
from snapstore.format.sharding import Run, ShardedWriter
from snapstore.format.treelines import read_lines
from snapstore.model import ChunkId, Entry, Kind, Xattr

NAMESPACE = "urn:snapstore:tree:1"
_PREFIX = f"{{{NAMESPACE}}}"
_RUN_MINIMUM = 32 << 10
_RUN_MAXIMUM = 256 << 10
_CUT_MASK = 0x7F
_ID_LIMIT = (1 << 32) - 1
HOLES_LIMIT = 1 << 14
"""A file has at most so many holes; a writer stores the shortest of the others as zeros."""
ELEMENT_LIMIT = 4 << 20
"""An entry's element has at most so many bytes, or a document could not hold it."""

_KINDS = {_PREFIX + kind.value: kind for kind in Kind}
_MODE = re.compile(r"[0-7]{4}\Z").match
_HOLES = re.compile(r"[0-9]+\+[0-9]+(?: [0-9]+\+[0-9]+)*\Z").match
_ERRNO = re.compile(r"E[A-Z0-9]{1,31}\Z").match
_FLAGS = re.compile(r"[A-Za-z]{1,32}\Z").match
_DEVICES = (Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE)


@dataclass(frozen=True, slots=True)
class TreeShard:
    """A run of entries kept in its own document: its first raw name, and how many entries it stands for."""

    first: bytes
    entries: int
    id: ChunkId


def owner_attributes(uid: int, gid: int, user: str, group: str) -> bytes:
    """The four owner attributes; few owners own many files, so callers keep the result."""
    text = b' uid="%d" gid="%d"' % (uid, gid)
    if user:
        text += xml.text_attribute(b"user", user.encode("utf-8", "surrogateescape"))
    if group:
        text += xml.text_attribute(b"group", group.encode("utf-8", "surrogateescape"))
    return text


def plain_file_element(
    name: bytes, size: int, mtime: tuple[int, int], mode: int, owner: bytes, *, chunks: list[str]
) -> bytes:
    """The element of a file that has nothing unusual, as `entry_element` would write it, in a fifth of the time.

    `owner` comes from `owner_attributes`, `chunks` are hexadecimal ids, at most `INLINE_LIMIT` of them.
    """
    if chunks:
        return b'<file%b size="%d" mtime="%d.%09d" mode="%04o"%b chunks="%b"/>\n' % (
            xml.text_attribute(b"name", name),
            size,
            *mtime,
            mode,
            owner,
            " ".join(chunks).encode(),
        )
    return b'<file%b size="%d" mtime="%d.%09d" mode="%04o"%b/>\n' % (
        xml.text_attribute(b"name", name),
        size,
        *mtime,
        mode,
        owner,
    )


def entry_element(entry: Entry) -> bytes:
    """The canonical element of an entry, its line feed included."""
    tag = entry.kind.value.encode()
    parts = [b"<", tag, xml.text_attribute(b"name", entry.name)]
    if entry.kind is Kind.FILE:
        parts.append(b' size="%d"' % entry.size)
    parts.append(b' mtime="%d.%09d" mode="%04o"' % (*entry.mtime, entry.mode))
    parts.append(owner_attributes(entry.uid, entry.gid, entry.user, entry.group))
    if entry.links != 1:
        parts.append(b' links="%d"' % entry.links)
    if entry.hardlink:
        parts.append(xml.text_attribute(b"hardlink", entry.hardlink))
    if entry.kind in _DEVICES:
        parts.append(b' rdev="%d:%d"' % entry.rdev)
    if entry.kind is Kind.SYMLINK:
        parts.append(xml.text_attribute(b"target", entry.target))
    if entry.flags:
        parts.append(b' flags="%b"' % entry.flags.encode())
    for name, acl in ((b"acl", entry.acl), (b"default-acl", entry.default_acl)):
        if acl:
            parts.append(xml.text_attribute(name, acl.encode("utf-8", "surrogateescape")))
    if entry.holes:
        parts.append(b' holes="%b"' % b" ".join(b"%d+%d" % hole for hole in entry.holes))
    if entry.tree is not None:
        parts.append(b' tree="%b"' % entry.tree.hex().encode())
    if entry.chunks:
        parts.append(b' chunks="%b"' % " ".join([chunk.hex() for chunk in entry.chunks]).encode())
    if entry.chunk_list is not None:
        parts.append(b' chunk-list="%b"' % entry.chunk_list.hex().encode())
    if entry.unread:
        parts.append(b' unread="%b"' % entry.unread.encode())
    if not entry.xattrs:
        parts.append(b"/>\n")
        return b"".join(parts)
    parts.append(b">\n")
    for attribute in sorted(entry.xattrs, key=lambda a: a.name):
        value = base64.b64encode(attribute.value)
        parts.append(b'<xattr%b value="%b"/>\n' % (xml.text_attribute(b"name", attribute.name), value))
    parts.append(b"</%b>\n" % tag)
    return b"".join(parts)


class _Rule:
    def cut_after(self, key: bytes, *, size: int, count: int) -> bool:  # noqa: ARG002 - trees are cut by size
        return size >= _RUN_MINIMUM and (size >= _RUN_MAXIMUM or not xxhash.xxh3_64_intdigest(key) & _CUT_MASK)

    def document(self, elements: list[bytes]) -> bytes:
        return xml.document(b"tree", NAMESPACE.encode(), elements)

    def key(self, run: Run) -> bytes:
        return run.key

    def shard(self, run: Run) -> bytes:
        first = xml.text_attribute(b"first", run.key)
        return b'<shard%b entries="%d" id="%b"/>\n' % (first, run.leaves, run.id.hex().encode())


class TreeWriter(ShardedWriter):
    """Takes the elements of a directory in the order of their raw names; `finish` gives the tree's id."""

    def __init__(self, put: Callable[[bytes], ChunkId]) -> None:
        super().__init__(_Rule(), put)


def read_tree(data: bytes, *, name: str) -> list[Entry] | list[TreeShard]:
    """The entries of one tree document, or its shards; an empty directory gives an empty list.

    Raises CorruptObjectError if it breaks the format; `name` is the object's, for the message.
    """
    entries = read_lines(data, define=lambda part: _only_entries(define_tree(part, name=name)))
    return define_tree(data, name=name) if entries is None else entries


def _only_entries(items: list[Entry] | list[TreeShard]) -> list[Entry]:
    return [item for item in items if isinstance(item, Entry)]


def define_tree(data: bytes, *, name: str) -> list[Entry] | list[TreeShard]:
    """The same as `read_tree`, slowly: the definition of what a tree document means."""
    root = xml.parse(data, tag="tree", namespace=NAMESPACE, name=name)
    entries: list[Entry] = []
    shards: list[TreeShard] = []
    try:
        xml.Attributes(root).close()
        last = b""
        for element in root:
            kind = _KINDS.get(element.tag)
            if kind is not None:
                entry = read_entry(element, kind)
                key = entry.name
                entries.append(entry)
            else:
                shard = _read_shard(element)
                key = shard.first
                shards.append(shard)
            if key <= last:
                raise xml.XmlError("its names are not in order")
            last = key
        if entries and shards:
            raise xml.XmlError("a tree holds entries or shards")
    except ValueError as error:
        raise CorruptObjectError(name, str(error)) from error
    return entries or shards


def kind_of(element: etree._Element, namespace: str) -> Kind:
    """The kind of the entry that an element of that namespace stands for; XmlError if it stands for none."""
    kind = _KINDS.get(element.tag.replace(f"{{{namespace}}}", _PREFIX, 1))
    if kind is None:
        raise xml.XmlError(f"unknown element {element.tag}")
    return kind


def _read_shard(element: etree._Element) -> TreeShard:
    if element.tag != _PREFIX + "shard" or len(element):
        raise xml.XmlError(f"unknown element {element.tag}")
    attributes = xml.Attributes(element)
    shard = TreeShard(
        check_name(attributes.raw("first")), attributes.number("entries"), parse_id(attributes.required("id"))
    )
    attributes.close()
    if not shard.entries:
        raise xml.XmlError("a shard stands for nothing")
    return shard


def check_name(name: bytes | None) -> bytes:
    """The raw name, if a directory can hold it; XmlError otherwise."""
    if not name or len(name) > 255 or b"/" in name or b"\0" in name or name in (b".", b".."):
        raise xml.XmlError(f"{(name or b'')[:40]!r} cannot be the name of a file")
    return name


def check_relative(path: bytes) -> bytes:
    """A relative path whose every component is a name; XmlError otherwise."""
    for part in path.split(b"/"):
        check_name(part)
    return path


def read_entry(element: etree._Element, kind: Kind) -> Entry:
    """The entry that an element stands for; ValueError unless it is valid in every part."""
    a = xml.Attributes(element)
    name = check_name(a.raw("name"))
    size = a.number("size", limit=(1 << 63) - 1) if kind is Kind.FILE else 0
    mtime = a.time("mtime")
    mode = a.required("mode")
    if not _MODE(mode):
        raise xml.XmlError(f"{mode[:40]!r} is no mode")
    uid, gid = a.number("uid", limit=_ID_LIMIT), a.number("gid", limit=_ID_LIMIT)
    user, group = a.optional_string("user"), a.optional_string("group")
    links, hardlink = 1, b""
    if kind is not Kind.DIRECTORY:
        links = a.number("links", default=1, limit=_ID_LIMIT)
        path = a.raw("hardlink")
        hardlink = b"" if path is None else check_relative(path)
    rdev = _read_rdev(a.required("rdev")) if kind in _DEVICES else (0, 0)
    target = b""
    if kind is Kind.SYMLINK:
        target = a.raw("target") or b""
        if not target or b"\0" in target:
            raise xml.XmlError("a symbolic link needs a target")
    flags = _matching(a.text("flags"), _FLAGS) if kind in (Kind.FILE, Kind.DIRECTORY) else ""
    acl, default_acl = a.optional_string("acl"), a.optional_string("default-acl")
    unread = ""
    holes: tuple[tuple[int, int], ...] = ()
    chunks: tuple[ChunkId, ...] = ()
    tree = chunk_list = None
    if kind is Kind.FILE:
        holes = _read_holes(a.text("holes"), size)
        text = a.text("chunks")
        if text is not None:
            chunks = tuple([parse_id(chunk) for chunk in text.split(" ")])
            if len(chunks) > INLINE_LIMIT:
                raise xml.XmlError("more chunks than may stand in a tree")
        listed = a.text("chunk-list")
        chunk_list = parse_id(listed) if listed is not None else None
        unread = _matching(a.text("unread"), _ERRNO)
        held = size - sum(length for _, length in holes)
        if bool(chunks) + bool(chunk_list) + bool(unread) != (1 if held or unread else 0):
            raise xml.XmlError("its size and its chunks contradict each other")
    elif kind is Kind.DIRECTORY:
        listed = a.text("tree")
        tree = parse_id(listed) if listed is not None else None
        unread = _matching(a.text("unread"), _ERRNO)
        if (tree is None) != bool(unread):
            raise xml.XmlError("a directory has either a tree or the reason why not")
    a.close()
    xattrs = tuple([_read_xattr(child) for child in element])
    if any(one.name >= two.name for one, two in pairwise(xattrs)):
        raise xml.XmlError("its extended attributes are not in order")
    return Entry(
        name=name, kind=kind, mode=int(mode, 8), uid=uid, gid=gid, user=user, group=group, mtime=mtime, size=size,
        links=links, hardlink=hardlink, rdev=rdev, target=target, flags=flags, acl=acl, default_acl=default_acl,
        xattrs=xattrs, holes=holes, tree=tree, chunks=chunks, chunk_list=chunk_list, unread=unread,
    )  # fmt: skip


def _matching(text: str | None, rule: Callable[[str], re.Match[str] | None]) -> str:
    if text is None:
        return ""
    if not rule(text):
        raise xml.XmlError(f"{text[:40]!r} is not valid here")
    return text


def _read_rdev(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(":")
    return xml.parse_number(major, limit=_ID_LIMIT), xml.parse_number(minor, limit=_ID_LIMIT)


def _read_holes(text: str | None, size: int) -> tuple[tuple[int, int], ...]:
    if text is None:
        return ()
    if not _HOLES(text):
        raise xml.XmlError(f"{text[:40]!r} are no holes")
    if text.count("+") > HOLES_LIMIT:
        raise xml.XmlError("it has more holes than a file may have")
    holes = []
    end = -1
    for pair in text.split(" "):
        offset, length = (xml.parse_number(number) for number in pair.split("+"))
        if offset <= end or not length or offset + length > size:
            raise xml.XmlError("its holes overlap, touch or leave the file")
        end = offset + length
        holes.append((offset, length))
    return tuple(holes)


def _read_xattr(element: etree._Element) -> Xattr:
    attributes = xml.Attributes(element)
    if etree.QName(element).localname != "xattr":
        raise xml.XmlError(f"unknown element {element.tag}")
    xml.check_leaf(element)
    name = attributes.raw("name")
    if not name or b"\0" in name:
        raise xml.XmlError("an extended attribute needs a name")
    value = xml.decode_base64(attributes.required("value"))
    attributes.close()
    return Xattr(name, value)
