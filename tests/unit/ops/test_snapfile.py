"""Snap's format: what Snap wrote is read, what it could read is written."""

from __future__ import annotations

import gzip
import io
import tarfile
from xml.etree import ElementTree as ET

import pytest

from snapstore.errors import RequestError
from snapstore.model import Entry, Kind
from snapstore.ops.scopes import BY_NAME, scope_rows
from snapstore.ops.snapfile import ITEM_LIMIT, read_list, rows_of
from snapstore.store.repository import Store
from snapstore.system.packages import Package
from snapstore.system.scopes.repositories import Repository
from snapstore.system.scopes.services import Unit
from tests.drive import Machine
from tests.drive import entries as entries_below
from tests.exchange import ROWS, commit, exported, imported, member, members, packed
from tests.stores import TIME, Node, file, link, memory_store

TREE: dict[bytes, Node] = {
    b"/": {
        b"etc": {b"fstab": b"fs & <\n", b"link": link(b"fstab"), b"odd\n": b"1", b"\xff": b"2", b" x": b"3"},
        b"files.xml": b"in the way",
        b"run": {b"socket": Entry(name=b"", kind=Kind.SOCKET, mode=0o755, uid=0, gid=0)},
    }
}


@pytest.fixture
def store() -> Store:
    return memory_store()


def names_in(document: bytes, tag: str) -> list[str]:
    """The items of a list, as a parser of 2011 finds them."""
    return [each.text or "" for each in ET.fromstring(document).iter(tag)]  # noqa: S314 our own


def test_lists_are_as_snap_has_them(store: Store) -> None:
    snapshot = commit(store, TREE, ROWS)
    archive, result, warned = exported(store, snapshot, snapfile=True)
    assert archive == exported(store, snapshot, snapfile=True)[0]
    contents = {each.name: data for each, data in members(gzip.decompress(archive))}
    assert names_in(contents["packages.xml"], "package") == ["apache2", "libc6"]
    assert names_in(contents["repos.xml"], "repo") == ["http://deb.example.org/debian"]
    assert names_in(contents["services.xml"], "service") == ["httpd"]
    assert names_in(contents["files.xml"], "file") == ["/etc/ x", "/etc/fstab", "/etc/link"]
    assert contents["etc/fstab"] == b"fs & <\n"
    assert {"etc/odd\n", "etc/\udcff", "etc/ x"} <= contents.keys()
    assert "run/socket" not in contents
    reasons = sorted(each.reason for each in warned)
    assert [reason.split(",")[0] for reason in reasons] == [
        "1 services are left out that Snap does not know",
        "it is a socket",
        *2 * ["its name cannot be in Snap's list of files; it is in the archive all the same"],
        "its name is that of a list in the archive",
    ]
    assert result.files == 4


def test_a_snapfile_of_ours_comes_back(store: Store) -> None:
    other = memory_store()
    result, warned = imported(other, exported(store, commit(store, TREE, ROWS), snapfile=True)[0])
    assert (result.source, result.verified, warned) == ("snapfile", False, [])
    record = result.snapshot
    assert record.tags == ("imported",)
    reader = other.view().reader
    packages = list(scope_rows(reader, record, BY_NAME["packages"]))
    assert packages == [Package(manager="", name=name, version="", arch="") for name in ("apache2", "libc6")]
    assert list(scope_rows(reader, record, BY_NAME["services"])) == [Unit(name="httpd.service", state="enabled")]
    repos = list(scope_rows(reader, record, BY_NAME["repos"]))
    assert repos == [Repository(file=b"", kind="", uris=("http://deb.example.org/debian",))]
    assert [name for name, _ in record.scopes] == ["packages", "repos", "services"]
    (root,) = record.roots
    assert root.path == b"/"
    assert root.entry.tree is not None
    found = entries_below(Machine(other, b""), root.entry.tree)
    assert found[b"etc/link"].target == b"fstab"
    assert found[b"etc/fstab"].mtime == (TIME, 0)
    assert b"files.xml" not in found


def test_what_snap_itself_wrote_is_read(store: Store) -> None:
    """In the order and form of Snap: directories, then files, in GNU's format, modes with the bits of their type."""
    found = [member("etc", tarfile.DIRTYPE), member("etc/apache2", tarfile.DIRTYPE)]
    found += [
        member("packages.xml", contents=b"<packages>\n <package>\n  apache2\n </package>\n</packages>\n"),
        member("repos.xml", contents=b"<repos><repo></repo><repo>http://a.example.org x main</repo></repos>"),
        member("services.xml", contents=b"<services>\n  <service>postgresql</service>\n</services>\n"),
        member("etc/apache2/" + "long" * 40 + ".conf", contents=b"Listen 80\n"),
        member("files.xml", contents=b"<files><file>/etc/apache2/lost</file><file>/etc/apache2</file></files>"),
        member("srv/www/index.html", contents=b"hello"),
    ]
    for each, _ in found:
        each.mode, each.uid, each.uname, each.mtime = 0o100640, 33, "www-data", 1_300_000_000
    archive = gzip.compress(packed(found, form=tarfile.GNU_FORMAT))
    result, warned = imported(store, archive)
    assert sorted(each.reason for each in warned) == [
        "1 of the files that the archive lists are not in it",
        "2 directories are not in the archive, and made as root's, with mode 0755",
    ]
    record = result.snapshot
    reader = store.view().reader
    assert [row.name for row in scope_rows(reader, record, BY_NAME["packages"])] == ["apache2"]
    assert [row.uris for row in scope_rows(reader, record, BY_NAME["repos"])] == [("http://a.example.org", "x", "main")]
    assert [row.name for row in scope_rows(reader, record, BY_NAME["services"])] == ["postgresql.service"]
    assert record.roots[0].entry.tree is not None
    entries = entries_below(Machine(store, b""), record.roots[0].entry.tree)
    page = entries[b"srv/www/index.html"]
    assert (page.mode, page.uid, page.user, page.mtime, page.size) == (0o640, 33, "www-data", (1_300_000_000, 0), 5)
    assert entries[b"srv/www"].mode == 0o755
    assert record.totals.files == 2


def test_hard_links_of_a_snapfile_are_kept(store: Store) -> None:
    found = [member("packages.xml", contents=b"<packages/>"), member("b", contents=b"x")]
    result, _ = imported(store, packed([*found, member("a", tarfile.LNKTYPE, link="b")]))
    assert result.snapshot.roots[0].entry.tree is not None
    entries = entries_below(Machine(store, b""), result.snapshot.roots[0].entry.tree)
    assert [(path, each.links, each.hardlink, each.size) for path, each in entries.items()] == [
        (b"a", 2, b"", 1), (b"b", 2, b"a", 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"text",
        b"<files><package>a</package></files>",
        b"<packages><file>a</file></packages>",
        b"<packages><packages>a</packages></packages>",
        b"<packages><package>a<package>b</package></package></packages>",
        b"<packages><package>a<b><c/></b></package></packages>",
        b"<packages><package>a</package>",
        b"<packages><package name='a'/></packages>",
        b"<packages><package>&unknown;</package></packages>",
        b"<packages><!-- --><package>a</package></packages>",
        b"<packages><?php ?><package>a</package></packages>",
        b"<packages><package><![CDATA[a]]></package></packages>",
        b'<!DOCTYPE packages [<!ENTITY a SYSTEM "file:///etc/passwd">]><packages><package>&a;</package></packages>',
        '<!DOCTYPE a [<!ENTITY b "c">]><packages><package>&b;</package></packages>'.encode("utf-16"),
        b'<?xml version="1.0" encoding="utf-7"?><packages>+ADw-package+AD4-a+ADw-/package+AD4-</packages>',
        b'<packages xmlns="urn:x"><package>a</package></packages>',
        b"<packages><package>\xff</package></packages>",
        b"<packages><package>" + b"a" * (ITEM_LIMIT + 1) + b"</package></packages>",
        b"<packages>" + b"<x>" * 5000,
    ],
)
def test_lists_that_are_not_snaps_are_refused(document: bytes, store: Store) -> None:
    if b"utf-7" in document:
        # Read as UTF-8, whatever it says: then it is text and no item.
        assert read_list("packages", document) == []
        return
    with pytest.raises(ValueError):
        read_list("packages", document)
    with pytest.raises(RequestError):
        imported(store, packed([member("packages.xml", contents=document)]))


def test_a_list_may_be_written_in_several_ways() -> None:
    document = b"<?xml version='1.0'?>\n<packages>\n<package><name>a</name></package><package> b&amp;c </package>\n"
    document += b"<package/>" * 2000 + b"</packages>"
    assert read_list("packages", document) == ["a", "b&c"]


def test_rows_are_in_order_and_there_once() -> None:
    for name, items in (
        ("packages", ["b", "a", "b"]),
        ("repos", ["y  z", "y z", "x"]),
        ("services", ["b", "a.socket"]),
    ):
        found = rows_of(name, items)
        assert found is not None
        scope, rows = found
        assert [scope.order(row) for row in rows] == sorted({scope.order(row) for row in rows})
        assert len(rows) == 2
    assert rows_of("files", ["/x"]) is None


def test_a_snapshot_without_scopes_has_a_list_of_files_alone(store: Store) -> None:
    archive, _, _ = exported(store, commit(store, {b"/srv/a": file()}), snapfile=True)
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        assert tar.getnames() == ["files.xml", "srv/a"]
