"""The common lines of a tree, read without an XML parser.

`snapstore.format.tree.read_tree` defines what a tree means. Most entries are files, directories and links that have
nothing unusual, and their canonical lines are so regular that one expression reads them, ten times as fast. What it
accepts is a part of what the definition accepts, with the same meaning (a property test holds the two together); every
other line is left to the definition.
"""

from __future__ import annotations

import re
from binascii import unhexlify
from collections.abc import Callable
from operator import lt

from snapstore.format.chunklist import INLINE_LIMIT
from snapstore.format.xml import DECLARATION, DOCUMENT_LIMIT, is_plain
from snapstore.model import ChunkId, Entry, Kind

HEAD = DECLARATION + b'<tree xmlns="urn:snapstore:tree:1">\n'
FOOT = b"</tree>\n"
_END = b"\n" + FOOT  # with the line before it whole: the expression passes over what no line feed ends

# Attribute text with nothing to unescape and nothing of ASCII that is not plain; above ASCII it needs a second look.
_TEXT = rb"[^\x00-\x1f\x7f\"&<>]"
_LINE = re.compile(
    rb'<(file|dir|link) name="([^\x00-\x1f\x7f"&<>/]{1,255})"'
    rb'(?: size="(0|[1-9][0-9]{0,17})")?'
    rb' mtime="(0|-?[1-9][0-9]{0,17})\.([0-9]{9})"'
    rb'( mode="[0-7]{4}" uid="[0-9]+" gid="[0-9]+"(?: (?:user|group)="' + _TEXT + rb'+")*)'
    rb'(?: (?:chunks|(tree))="([0-9a-f ]{64,})"| target="(' + _TEXT + rb'+)")?/>\n'
    # Whatever is not like that: its whole line.
    rb"|([^\n]*\n)"
)
_OWNER = re.compile(
    rb' mode="([0-7]{4})" uid="(0|[1-9][0-9]{0,9})" gid="(0|[1-9][0-9]{0,9})"'
    rb'(?: user="(' + _TEXT + rb'+)")?(?: group="(' + _TEXT + rb'+)")?'
).fullmatch
_ID_LIMIT = (1 << 32) - 1
_ID_DIGITS = 64
_NO_NAMES = (b".", b"..")
_FILE, _DIRECTORY, _SYMLINK = Kind.FILE, Kind.DIRECTORY, Kind.SYMLINK
_id: Callable[[bytes], ChunkId] = unhexlify  # type: ignore[assignment]  # a cast for each id would take as long

_Owner = tuple[int, int, int, str, str]


class _Draft:
    """An entry that is being made.

    A frozen value sets each of its 22 fields through `object.__setattr__`, which takes longer than reading the line.
    A draft has the same slots, sets them plainly, and then becomes an Entry.
    """

    __slots__ = Entry.__slots__

    def __init__(
        self, name: bytes, kind: Kind, owner: _Owner, mtime: tuple[int, int], *, size: int = 0, target: bytes = b"",
        tree: ChunkId | None = None, chunks: tuple[ChunkId, ...] = (),
    ) -> None:  # fmt: skip
        self.name = name
        self.kind = kind
        self.mode, self.uid, self.gid, self.user, self.group = owner
        self.mtime = mtime
        self.size = size
        self.links = 1
        self.hardlink = b""
        self.rdev = (0, 0)
        self.target = target
        self.flags = self.acl = self.default_acl = self.unread = ""
        self.xattrs = self.holes = ()
        self.tree = tree
        self.chunks = chunks
        self.chunk_list = None


def read_lines(data: bytes, *, define: Callable[[bytes], list[Entry]]) -> list[Entry] | None:
    """The entries of a tree document; None if the definition has to say what it is, or why it is nothing.

    Elements that this module does not know are gathered in a document of their own, which `define` reads by the
    definition; what it raises is raised here.
    """
    if not data.startswith(HEAD) or not data.endswith(_END) or len(data) > DOCUMENT_LIMIT:
        return None
    entries: list[Entry] = []
    others: list[bytes] = []
    places: list[int] = []
    inside = False
    owners: dict[bytes, _Owner] = {}
    for kind, name, size, seconds, fraction, text, tree, ids, target, other in _LINE.findall(
        data, len(HEAD), len(data) - len(FOOT)
    ):
        if other:
            # One line, or the lines from a start tag to its end tag, the first line that begins like one.
            if not inside:
                places.append(len(entries) + len(places))
            others.append(other)
            inside = not other.startswith(b"</") if inside else not other.endswith(b"/>\n")
            continue
        owner = owners.get(text)
        if owner is None:
            owner = _read_owner(text)
            if owner is None:
                return None
            owners[text] = owner
        if inside or not (name.isascii() or is_plain(name)) or name in _NO_NAMES:
            return None
        mtime = int(seconds), int(fraction)
        if kind == b"file":
            chunks = _read_ids(ids) if ids else ()
            if not size or tree or target or chunks is None or (size == b"0") != (not chunks):
                return None
            draft = _Draft(name, _FILE, owner, mtime, size=int(size), chunks=chunks)
        elif kind == b"dir":
            if size or not tree or len(ids) != _ID_DIGITS or b" " in ids:
                return None
            draft = _Draft(name, _DIRECTORY, owner, mtime, tree=_id(ids))
        else:
            if size or not target or not (target.isascii() or is_plain(target)):
                return None
            draft = _Draft(name, _SYMLINK, owner, mtime, target=target)
        draft.__class__ = Entry  # type: ignore[assignment]
        entries.append(draft)  # type: ignore[arg-type]
    if inside or not entries:
        return None
    if places:
        defined = define(HEAD + b"".join(others) + FOOT)
        if len(defined) != len(places):
            return None
        for place, entry in zip(places, defined, strict=True):
            entries.insert(place, entry)
    names = [entry.name for entry in entries]
    return entries if all(map(lt, names, names[1:])) else None


def _read_owner(text: bytes) -> _Owner | None:
    """Mode and owner; few combinations stand on many lines, so a caller keeps them."""
    match = _OWNER(text)
    if match is None:
        return None
    mode, uid, gid, user, group = match.groups(b"")
    if int(uid) > _ID_LIMIT or int(gid) > _ID_LIMIT or not (is_plain(user) and is_plain(group)):
        return None
    return int(mode, 8), int(uid), int(gid), user.decode(), group.decode()


def _read_ids(text: bytes) -> tuple[ChunkId, ...] | None:
    """The ids in a text of lower-case hexadecimal digits and spaces."""
    if len(text) == _ID_DIGITS and b" " not in text:
        return (_id(text),)
    parts = text.split(b" ")
    if len(parts) > INLINE_LIMIT or any(len(part) != _ID_DIGITS for part in parts):
        return None
    return tuple([_id(part) for part in parts])
