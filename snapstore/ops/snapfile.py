"""Snap's own format of 2011, the snapfile: a tar archive in gzip with four flat lists at its top (docs/bundle.md).

`packages.xml`, `repos.xml`, `services.xml` and `files.xml` hold names as text, `<packages><package>name</package>…`,
without namespace or declaration; the files lie beside them under their paths. Of a package there is no version, of a
service no state. Source: the record files of Snap 0.5, snap/metadata.
"""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from lxml import etree

from snapstore.flow import Cancellation
from snapstore.model import Buffer, Kind, Snapshot
from snapstore.ops.browse import walk
from snapstore.ops.bundle import Export, Exported
from snapstore.ops.progress import Progress
from snapstore.ops.scopes import held_scopes, scope_rows
from snapstore.store.reader import Reader
from snapstore.system.packages import Package
from snapstore.system.record import Row, Scope
from snapstore.system.scopes.packagelist import PACKAGES
from snapstore.system.scopes.repositories import REPOS, Repository
from snapstore.system.scopes.services import SERVICES, Unit

ITEMS = {"packages": "package", "repos": "repo", "services": "service", "files": "file"}
"""The lists, and what one item of each is called."""
_RESERVED = frozenset(f"{name}.xml".encode() for name in ITEMS)
LIST_LIMIT = 64 << 20
ITEM_LIMIT = 1 << 16

_LEVEL = 6
_PLAIN = re.compile("[^\x00-\x08\x0b-\x1f\ufffe\uffff\ud800-\udfff]*\\Z").match
_ADAPTERS = {
    "httpd": "httpd",
    "apache2": "httpd",
    "postgresql": "postgresql",
    "mysql": "mysql",
    "mysqld": "mysql",
    "mariadb": "mysql",
    "iptables": "iptables",
    "netfilter-persistent": "iptables",
    "asterisk": "asterisk",
}
"""Services by unit, and the names under which Snap can restore them: it looks for a module of that name."""


# -- writing ----------------------------------------------------------------------------------------------------------


def export_snapfile(
    reader: Reader,
    snapshot: Snapshot,
    write: Callable[[Buffer], object],
    *,
    progress: Progress,
    cancellation: Cancellation,
) -> Exported:
    """What went to `write`: the snapshot as Snap would have it. What Snap cannot say is a warning and left out."""
    compressed = _Gzip(write)
    export = Export(
        reader, snapshot, compressed.write, progress=progress, cancellation=cancellation, prefix=b"", reserved=_RESERVED
    )
    seconds = max(snapshot.started // 1_000_000_000, 0)
    held = held_scopes(snapshot)
    for scope, names in ((PACKAGES, _package_names), (REPOS, _repository_names), (SERVICES, _service_names)):
        if scope in held:
            items = list(dict.fromkeys(names(scope_rows(reader, snapshot, scope), export.warn)))
            size = sum(map(len, _list_pieces(scope.name, items)))
            export.document(f"{scope.name}.xml", _list_pieces(scope.name, items), size=size, seconds=seconds)
    # The list of files may be long, so it is made twice: its size has to stand before it.
    size = sum(map(len, _list_pieces("files", _paths(reader, snapshot, _unheard))))
    pieces = _list_pieces("files", _paths(reader, snapshot, export.warn))
    export.document("files.xml", pieces, size=size, seconds=seconds)
    export.tree()
    return replace(export.result(), written=compressed.finish())


class _Gzip:
    """Compresses what goes through; the header names no time and no file, so that the same makes the same."""

    def __init__(self, write: Callable[[Buffer], object]) -> None:
        self._write = write
        self._stream = zlib.compressobj(_LEVEL, wbits=31)
        self._size = 0

    def write(self, data: Buffer) -> None:
        self._put(self._stream.compress(data))

    def _put(self, data: bytes) -> None:
        if data:
            self._write(data)
            self._size += len(data)

    def finish(self) -> int:
        self._put(self._stream.flush())
        return self._size


def _unheard(path: bytes, reason: str) -> None:
    """Nothing: the same will be said again."""


def _list_pieces(name: str, items: Iterable[str]) -> Iterator[bytes]:
    yield f"<{name}>\n".encode()
    tag = ITEMS[name]
    for item in items:
        text = item.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        yield f"<{tag}>{text}</{tag}>\n".encode()
    yield f"</{name}>\n".encode()


def _package_names(rows: Iterable[Row], warn: Callable[[bytes, str], None]) -> Iterator[str]:
    del warn
    for row in rows:
        if isinstance(row, Package) and row.state != "removed" and _PLAIN(row.name):
            yield row.name


def _repository_names(rows: Iterable[Row], warn: Callable[[bytes, str], None]) -> Iterator[str]:
    for row in rows:
        if not isinstance(row, Repository) or row.disabled:
            continue
        for uri in row.uris:
            if _PLAIN(uri):
                yield uri
            else:
                warn(row.file, "a repository has an address that is not text, and is left out")


def _service_names(rows: Iterable[Row], warn: Callable[[bytes, str], None]) -> Iterator[str]:
    left = 0
    for row in rows:
        if isinstance(row, Unit) and row.name.endswith(".service") and (row.running or row.state == "enabled"):
            name = _ADAPTERS.get(row.name.removesuffix(".service"))
            if name is not None:
                yield name
            else:
                left += 1
    if left:
        warn(b"", f"{left} services are left out that Snap does not know")


def _paths(reader: Reader, snapshot: Snapshot, warn: Callable[[bytes, str], None]) -> Iterator[str]:
    """The paths of files and links: Snap's list has no directories."""
    if not snapshot.roots:
        return
    for path, entry in walk(reader, snapshot):
        if entry.kind not in (Kind.FILE, Kind.SYMLINK) or path[1:] in _RESERVED:
            continue
        text = path.decode("utf-8", "surrogateescape")
        # Snap drops line feeds that it reads, and blanks at the ends would not survive an editor.
        if not _PLAIN(text) or "\n" in text or text != text.strip():
            warn(path, "its name cannot be in Snap's list of files; it is in the archive all the same")
        else:
            yield text


# -- reading ----------------------------------------------------------------------------------------------------------


def read_list(name: str, data: bytes) -> list[str]:
    """The items of one of Snap's lists; ValueError for what is none.

    Nothing that could define or fetch something gets to the parser. Blanks around an item do not count, since a hand
    may have written it; empty ones, which Snap wrote for each file of apt's, are left out.
    """
    if b"<!" in data or b"<?" in data.removeprefix(b"<?xml"):
        raise ValueError("it holds a declaration, comment or instruction")
    tag = ITEMS[name]
    items: list[str] = []
    depth = 0
    size = 0
    try:
        parser = etree.iterparse(
            io.BytesIO(data), events=("start", "end"), resolve_entities=False, load_dtd=False, no_network=True,
            huge_tree=False, recover=False, encoding="utf-8",
        )  # fmt: skip
        for event, element in parser:
            if event == "start":
                depth += 1
                if (
                    element.attrib
                    or depth > 3
                    or (depth == 1) != (element.tag == name)
                    or (depth == 2) != (element.tag == tag)
                ):
                    raise ValueError(f"it holds an element {element.tag!r:.60} in a place where there is none")
                continue
            depth -= 1
            if depth == 1:
                text = "".join(element.itertext()).strip()
                if len(text) > ITEM_LIMIT:
                    raise ValueError("an item of it is too long")
                if text:
                    items.append(text)
                size += 1
                element.clear()
                root = element.getparent()
                if root is not None and size % 1000 == 0:
                    del root[:]
    except etree.XMLSyntaxError as error:
        raise ValueError(f"it is not XML: {error.msg}") from error
    return items


def rows_of(name: str, items: Iterable[str]) -> tuple[Scope, list[Row]] | None:
    """The scope that one of Snap's lists is recorded in, and its rows, in order; None for the list of files.

    What Snap did not know is empty. It listed the services that it had found and would bring back, so they count as
    enabled.
    """
    unique = sorted(set(items))
    if name == "packages":
        return PACKAGES, [Package(manager="", name=each, version="", arch="") for each in unique]
    if name == "repos":
        rows: list[Row] = [Repository(file=b"", kind="", uris=tuple(each.split())) for each in unique]
        return REPOS, sorted({row.uris: row for row in rows}.values(), key=REPOS.order)
    if name == "services":
        units = {each if "." in each else f"{each}.service" for each in unique}
        return SERVICES, [Unit(name=each, state="enabled") for each in sorted(units)]
    return None
