"""Archives that are not what they should be: a clear error, and nothing else."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import zstandard

from snapstore.errors import CancelledError, CorruptObjectError, RequestError, StoreError
from snapstore.flow import Cancellation
from snapstore.format.snapshot import write_snapshot
from snapstore.format.tarstream import Member, TarWriter
from snapstore.model import Kind, Snapshot
from snapstore.ops.check import check
from snapstore.ops.findings import Finding, Severity
from snapstore.ops.importing import ImportOptions, import_archive
from snapstore.ops.progress import Silent
from snapstore.ops.snapshot import LocalState
from snapstore.store.repository import Store
from tests.exchange import ROWS, bundle, commit, imported, member, members, packed
from tests.stores import TIME, Node, memory_store

Found = list[tuple[tarfile.TarInfo, bytes]]
TREE: dict[bytes, Node] = {b"/etc": {b"a": b"1", b"d": {b"b": b"2"}}}


@pytest.fixture
def store() -> Store:
    return memory_store()


def made(rows: bool = True, **more: object) -> Found:  # noqa: FBT001, FBT002 a test says it by name
    """The members of a good bundle, to be changed; without the chunk lengths, so that files may be changed too."""
    store = memory_store()
    found = members(bundle(store, commit(store, TREE, ROWS if rows else None, **more)))
    for each, _ in found:
        each.pax_headers = {}
    return found


def errors(store: Store) -> list[Finding]:
    """What a check of everything finds but for notes, such as that of a session that came to nothing."""
    result = check(store, read_data=True, progress=Silent(), cancellation=Cancellation())
    return [each for each in result.findings if each.severity != Severity.NOTE]


def refused(archive: bytes, reason: str, **options: int) -> None:
    store = memory_store()
    with pytest.raises(RequestError, match=reason):
        imported(store, archive, options=ImportOptions(**options))  # type: ignore[arg-type]
    assert store.view().finals.snapshots() == []
    assert errors(store) == []


def test_a_bundle_comes_back_with_all_that_it_says(store: Store) -> None:
    more = {"name": "web", "tags": ("x",), "os_release": "Debian", "user": "root", "excludes": ("*.o",)}
    snapshot = commit(store, TREE, ROWS, **more)
    other = memory_store()
    result, warned = imported(other, bundle(store, snapshot), options=ImportOptions(tags=("y",)))
    assert (result.source, result.verified, warned) == ("bundle", True, [])
    record = result.snapshot
    assert (record.name, record.tags, record.host, record.os_release) == (
        "web",
        ("x", "y", "imported"),
        "old",
        "Debian",
    )
    assert (record.user, record.excludes, record.started) == ("root", ("*.o",), TIME * 10**9)
    assert "imported " + snapshot.id[:8] + " of tests" in record.tool
    assert (record.totals.files, record.totals.directories, record.totals.size) == (2, 2, 2)
    assert [each.id for each in other.view().finals.snapshots()] == [record.id]
    assert errors(other) == []
    named, _ = imported(other, bundle(store, snapshot), options=ImportOptions(name="mine"))
    assert named.snapshot.name == "mine"


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.ZstdCompressor().compress])
def test_compression_is_seen_from_the_contents(store: Store, compress: Callable[[bytes], bytes]) -> None:
    archive = bundle(store, commit(store, TREE, ROWS))
    packed_twice = compress(archive[:700]) + compress(archive[700:])
    for each in (compress(archive), packed_twice):
        assert imported(store, each)[0].verified
    for cut in (1, 9, len(archive) // 20):
        refused(compress(archive)[:-cut], "cut off|ends in the middle|neither")
    refused(compress(archive) + b"garbage", "damaged|cut off")
    damaged = bytearray(compress(archive))
    damaged[len(damaged) // 2] ^= 0xFF
    refused(bytes(damaged), "cannot be imported")


@pytest.mark.parametrize(
    ("archive", "reason"),
    [
        (b"", "ends"),
        (bytes(1 << 12), "neither"),
        (bytes(4 << 20), "behind its end"),
        (b"BZh91AY", "bzip2"),
        (b"\xfd7zXZ\0\0\0", "xz"),
        (b"PK\x03\x04....", "zip"),
        (b"\x1f\x8b", "cut off"),
        (b"\x28\xb5\x2f\xfd", "cut off"),
        (packed([member("a")]), "neither"),
        (packed([member("packages.xml", contents=b"<a>")]), "list of packages"),
        (packed([member("os.xml", contents=b"x")]), "neither"),
    ],
)
def test_what_is_neither_is_refused(archive: bytes, reason: str) -> None:
    refused(archive, reason)


def test_an_archive_that_expands_too_much_is_refused_unless_asked_for() -> None:
    def bomb() -> bytes:
        found = made(rows=False)
        info, _ = member("root/etc/zeros")
        info.size = 100 << 20
        out = io.BytesIO()
        with gzip.open(out, "wb", 6) as file, tarfile.open(fileobj=file, mode="w") as tar:
            for each, contents in found:
                tar.addfile(each, io.BytesIO(contents))
            tar.addfile(info, io.BytesIO(bytes(100 << 20)))
        return out.getvalue()

    archive = bomb()
    assert len(archive) < 200_000
    refused(archive, "times its size")
    result, _ = imported(memory_store(), archive, options=ImportOptions(ratio=0))
    assert result.snapshot.totals.size == (100 << 20) + 2


LINK, SYMLINK, DIRECTORY, DEVICE = tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        ([member("root/etc/../../x")], "cannot be the name"),
        ([member("../x")], "cannot be the name"),
        ([member("/root/etc/x")], "absolute"),
        ([member("root//etc/x")], "cannot be the name"),
        ([member("root/etc/" + "x" * 256)], "cannot be the name"),
        ([member("root/etc/a")], "there twice"),
        ([member("./root/etc/a")], "there twice"),
        ([member("root/etc", DIRECTORY)], "there twice"),
        ([member("root/etc/a/x")], "below what is no directory"),
        ([member("root/etc/link", SYMLINK, link="/"), member("root/etc/link/x")], "below what is no directory"),
        ([member("root/etc/no/x")], "is not there, but"),
        ([member("root/other")], "outside of the paths"),
        ([member("elsewhere")], "nothing that a bundle holds"),
        ([member("root/etc/x", LINK, link="root/etc/nothing")], "not there before it"),
        ([member("root/etc/x", LINK, link="root/etc/d")], "hard link to a directory"),
        ([member("root/etc/x", LINK, link="/root/etc/a")], "absolute"),
        ([member("root/etc/x", LINK, link="../etc/passwd")], "cannot be the name"),
        ([member("root/etc/x", LINK, link="os.xml")], "not there before it"),
        ([member(".", LINK, link="root/etc/a")], "its top is no directory"),
        ([member(".", SYMLINK, link="/")], "its top is no directory"),
        ([member("root/etc/x", SYMLINK)], "needs a target"),
        ([member("root/etc/x", b"V")], "unknown type"),
        ([member("root/etc/x", b"S")], "unknown type"),
        ([member("snapshot.xml", contents=made(rows=False)[0][1])], "there twice"),
        ([member("os.xml", contents=made()[0][1])], "there twice"),
        ([member("packages.xml", contents=b"<packages/>")], "there twice"),
        ([member("root/" + "d/" * 17_000 + "x")], "more than 16384 directories"),
    ],
)
def test_members_that_do_not_belong_are_refused(extra: Found, reason: str) -> None:
    refused(packed([*made(), *extra]), reason)


def test_devices_are_entries_and_nothing_more(store: Store) -> None:
    device, _ = member("root/etc/null", DEVICE)
    device.devmajor, device.devminor = 1, 3
    result, _ = imported(store, packed([*made(), (device, b"")]))
    assert result.snapshot.totals.others == 1
    assert not result.verified


def record_of(found: Found) -> int:
    return next(number for number, (each, _) in enumerate(found) if each.name == "snapshot.xml")


def with_record(change: Callable[[Snapshot], Snapshot]) -> bytes:
    """A bundle whose record has been changed."""
    store = memory_store()
    snapshot = commit(store, TREE, {"os": ROWS["os"]})
    found = members(bundle(store, snapshot))
    at = record_of(found)
    info, _ = member("snapshot.xml", contents=write_snapshot(change(snapshot)))
    found[at] = (info, write_snapshot(change(snapshot)))
    return packed(found)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda each: replace(each, roots=()), "nothing that a bundle holds"),
        (lambda each: replace(each, roots=(*each.roots, *each.roots)), "inside each other"),
        (lambda each: replace(each, roots=(replace(each.roots[0], path=b"/"), *each.roots)), "inside each other"),
        (lambda each: replace(each, roots=(replace(each.roots[0], path=b"/usr"),)), "is not there|outside"),
        (lambda each: replace(each, kind="checkpoint", roots=()), "not the record of a snapshot"),
        (lambda each: replace(each, scopes=()), "the snapshot did not have"),
        (lambda each: replace(each, scopes=(*each.scopes, ("users", each.scopes[0][1]))), "users.xml is not there"),
        (lambda each: replace(each, scopes=(("os", each.roots[0].entry.tree),)), "os.xml is not there, or not the one"),
    ],
)
def test_records_that_contradict_the_archive_are_refused(change: Callable[[Snapshot], Snapshot], reason: str) -> None:
    refused(with_record(change), reason)


def test_what_a_record_says_of_itself_is_taken_over_only_where_it_is_fit(store: Store) -> None:
    bad: dict[str, Any] = {
        "name": "\x1b[2J",
        "host": "h" * 5000,
        "tags": ("ok", "a\nb"),
        "started": 1 << 62,
        "user": "\udcff",
    }
    result, warned = imported(store, with_record(lambda each: replace(each, **bad)))
    record = result.snapshot
    assert (record.name, record.host, record.user, record.tags) == ("", "", "", ("ok", "imported"))
    assert abs(record.started - record.ended) < 3600 * 10**9
    assert len(warned) == 5


def document(name: str, change: Callable[[bytes], bytes]) -> bytes:
    """A good bundle but for one of its documents."""
    found = made()
    changed: Found = []
    for each, contents in found:
        data = change(contents) if each.name == name else contents
        each.size = len(data)
        changed.append((each, data))
    return packed(changed)


XML_CHANGES: list[tuple[Callable[[bytes], bytes], str]] = [
    (lambda data: data.replace(b"\n<setting", b'\n<!DOCTYPE a [<!ENTITY b "c">]>\n<setting', 1), "declaration"),
    (lambda data: data[:-2], "end"),
    (lambda data: data + b"x", "behind its end|end as it should"),
    (lambda data: data + data, "behind its end|end as it should"),
    (lambda data: data.replace(b'value="debian"', b'value="&b;"'), "canonical"),
    (lambda data: data.replace(b'value="debian"', b'value="x" other="y"'), "unknown or misplaced"),
    (lambda data: data.replace(b"<setting name=", b"<other name=", 1), "unknown element"),
    (lambda data: data.replace(b'name="id"', b'name="a"'), "out of order"),
    (lambda data: data.replace(b'name="id"', b'name="hostname"'), "out of order|twice"),
    (lambda data: data.replace(b"/>\n<", b"/>\n\n<", 1), "canonical"),
    (lambda data: data.replace(b"/>\n", b"></setting>\n", 1), "canonical"),
    (lambda data: data.replace(b'"debian"', b'"' + b"d" * (5 << 20) + b'"'), "longer than|more than"),
    (lambda data: data.replace(b'"debian"', b'"\xff"'), "UTF-8"),
    (lambda data: data.replace(b'"debian"', b'"other"'), "not the one"),
    (lambda data: data.partition(b"<setting")[0] + b'<shard elements="1" id="%b"/>\n</os>\n' % (b"0" * 64), "shards"),
]


@pytest.mark.parametrize(("change", "reason"), XML_CHANGES)
def test_records_of_scopes_are_canonical_valid_and_the_ones_named(
    change: Callable[[bytes], bytes], reason: str
) -> None:
    refused(document("os.xml", change), reason)


def test_the_record_of_the_snapshot_is_canonical() -> None:
    refused(document("snapshot.xml", lambda data: data.replace(b' kind="', b'  kind="')), "canonical")
    refused(document("snapshot.xml", lambda data: data.replace(b"<totals ", b"<total ")), "unknown or out of order")
    refused(document("snapshot.xml", lambda data: data + b" " * (17 << 20)), "more than are allowed")


def test_a_bundle_without_its_record_is_refused() -> None:
    refused(packed([each for each in made() if each[0].name != "snapshot.xml"]), "neither|lacks the record")


def test_files_that_were_changed_are_noticed(store: Store) -> None:
    archive = bytearray(bundle(store, commit(store, {b"/x": {b"file": b"0123456789" * 99}})))
    at = archive.index(b"0123456789")
    archive[at] ^= 1
    refused(bytes(archive), "damaged or changed")
    # A store that cuts in another way cannot know.
    other = memory_store(parameters=type(store.config.parameters)(64, 128, 512))
    result, _ = imported(other, bytes(archive))
    assert not result.verified


def test_members_have_a_limit() -> None:
    refused(packed(made()), "more than 3 members", entries=3)
    crowd = [member(f"root/etc/crowd{number:05}") for number in range(2000)]
    refused(packed([*made(), *crowd]), "temporary file", spool=1 << 17)


def test_files_larger_than_any_storage_are_refused() -> None:
    out = bytearray()
    writer = TarWriter(out.extend)
    size = (1 << 63) - 1
    found = made()
    for number in range(2):
        writer.member(Member(path=b"root/etc/h%d" % number, size=size, holes=((0, size),)))
    # Two members without an end, put before those of a bundle.
    refused(bytes(out) + packed(found), "larger together than any storage")


def test_an_endless_archive_takes_no_memory_and_can_be_stopped(tmp_path: Path) -> None:
    head = packed([member("root/x")])[:512]
    cancellation = Cancellation()
    asked = 0

    def read(count: int) -> bytes:
        nonlocal asked
        asked += 1
        if asked > 3000:
            cancellation.cancel()
        return head if asked == 1 else packed([member(f"root/{asked}")])[:512]

    store = memory_store()
    local = LocalState(cache=bytes(tmp_path), state=bytes(tmp_path))
    with pytest.raises(CancelledError):
        import_archive(store, read, options=ImportOptions(), local=local, progress=Silent(), cancellation=cancellation)
    assert store.view().finals.snapshots() == []


def test_trouble_with_the_store_is_not_blamed_on_the_archive(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = bundle(store, commit(store, TREE, ROWS))

    def fail(*_: object, **__: object) -> None:
        raise CorruptObjectError("packs/x", "it was made so")

    monkeypatch.setattr("snapstore.store.session.WriteSession.put_manifest", fail)
    with pytest.raises(StoreError, match="packs/x"):
        imported(memory_store(), archive)


def test_what_another_program_adds_is_said_once(store: Store) -> None:
    found = made()
    for each, _ in found[-3:]:
        each.pax_headers = {"LIBARCHIVE.creationtime": "1.5", "atime": "2"}
    _, warned = imported(store, packed(found))
    assert ["LIBARCHIVE.creationtime" in each.reason for each in warned] == [True]


def test_a_bundle_that_was_unpacked_and_packed_again(store: Store) -> None:
    found = made()
    top, above = member(".", DIRECTORY), member("./root", DIRECTORY)
    for each, _ in found:
        each.name = "./" + each.name
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        result, warned = imported(store, packed([top, above, *reversed(found)], form=form))
        assert (result.source, result.verified, warned) == ("bundle", False, [])
        assert result.snapshot.roots[0].entry.kind is Kind.DIRECTORY
        assert result.snapshot.totals.files == 2
