"""What is in a bundle, for other programs."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from lxml import etree

import snapstore
from snapstore.errors import CorruptObjectError, RequestError, TargetError
from snapstore.flow import Cancellation
from snapstore.format.snapshot import read_final
from snapstore.model import Entry, Kind, Snapshot
from snapstore.ops.bundle import export_bundle, row_count, scope_document
from snapstore.ops.destination import Destination
from snapstore.ops.progress import Silent
from snapstore.ops.scopes import BY_NAME
from snapstore.store.repository import Store
from tests import oddities
from tests.compare import compare
from tests.drive import Machine, machine
from tests.exchange import HASH, ROWS, bundle, commit, exported, imported, members
from tests.stores import file, memory_store

SCHEMAS = Path(snapstore.__file__).parent / "schemas"
# What GNU tar has no word for.
NOT_IN_TAR = ("socket", "flags")


@pytest.fixture
def store() -> Store:
    return memory_store()


def test_a_bundle_holds_the_records_then_the_contents(store: Store) -> None:
    snapshot = commit(store, {b"/etc": {b"fstab": b"fs", b"d": {}}, b"/one": b"1"}, ROWS)
    found = members(bundle(store, snapshot))
    assert [each.name for each, _ in found] == [
        *(f"{name}.xml" for name in ROWS), "snapshot.xml",
        "root/etc", "root/etc/d", "root/etc/fstab", "root/one",
    ]  # fmt: skip
    contents = {each.name: data for each, data in found}
    assert contents["root/etc/fstab"] == b"fs"
    assert read_final(contents["snapshot.xml"], name="it") == snapshot


def test_records_are_whole_and_valid(store: Store) -> None:
    rows = [replace(ROWS["os"][0], name=f"{number:06d}", value="v" * 100) for number in range(5000)]
    snapshot = commit(store, {}, {**ROWS, "os": rows})
    contents = {each.name: data for each, data in members(bundle(store, snapshot))}
    for name in ROWS:
        schema = etree.RelaxNG(etree.parse(SCHEMAS / f"{name}.rng"))
        document = etree.fromstring(contents[f"{name}.xml"])
        schema.assertValid(document)
    assert contents["os.xml"].count(b"<setting ") == 5000
    assert b"<shard" not in contents["os.xml"]
    assert row_count(store.view().reader, snapshot, BY_NAME["os"]) == 5000
    assert row_count(store.view().reader, snapshot, BY_NAME["users"]) == len(ROWS["users"])


def test_secrets_are_left_out_of_a_document_unless_they_are_asked_for(store: Store) -> None:
    snapshot = commit(store, {}, ROWS)
    reader = store.view().reader
    whole = b"".join(scope_document(reader, snapshot, BY_NAME["users"]))
    hidden = b"".join(scope_document(reader, snapshot, BY_NAME["users"], reveal=False))
    assert HASH.encode() in whole
    assert hidden == whole.replace(b' password="' + HASH.encode() + b'"', b"")
    files = scope_document(reader, snapshot, BY_NAME["files"], reveal=False)
    assert b"".join(files) == b"".join(scope_document(reader, snapshot, BY_NAME["files"]))


def test_a_snapshot_without_scopes_has_its_files_alone(store: Store) -> None:
    snapshot = commit(store, {b"/x": b"x"})
    assert [each.name for each, _ in members(bundle(store, snapshot))] == ["snapshot.xml", "root/x"]
    with pytest.raises(RequestError):
        scope_document(store.view().reader, snapshot, BY_NAME["os"])
    with pytest.raises(RequestError):
        row_count(store.view().reader, snapshot, BY_NAME["os"])


def test_a_scope_of_a_later_release_is_left_out_with_a_warning(store: Store) -> None:
    known = commit(store, {}, {"os": ROWS["os"]})
    snapshot = replace(known, scopes=(*known.scopes, ("firewall", known.scopes[0][1])))
    archive, _, warned = exported(store, snapshot)
    assert ["firewall" in each.reason for each in warned] == [True]
    _, again = imported(memory_store(), archive)
    assert ["firewall" in each.reason for each in again] == [True]


def test_what_could_not_be_read_is_empty_and_said(store: Store) -> None:
    lost = file(b"1234567", unread="EACCES")
    shut = Entry(name=b"", kind=Kind.DIRECTORY, mode=0o700, uid=0, gid=0, unread="EIO")
    snapshot = commit(store, {b"/r": {b"lost": lost, b"shut": shut}})
    archive, result, warned = exported(store, snapshot)
    assert [each.path for each in warned] == [b"/r/lost", b"/r/shut"]
    assert result.warnings == 2
    assert imported(memory_store(), archive)[0].snapshot.roots == snapshot.roots


def linked(store: Store, **more: object) -> Snapshot:
    first = file(links=2)
    return commit(store, {b"/r": {b"a": first, b"b": replace(first, hardlink=b"a", **more)}})  # type: ignore[arg-type]


def test_a_later_name_is_a_hard_link_where_that_says_all(store: Store) -> None:
    same, other = linked(store), linked(store, mode=0o600)
    kinds = [[each.type for each, _ in members(bundle(store, one))[2:]] for one in (same, other)]
    assert kinds == [[tarfile.REGTYPE, tarfile.LNKTYPE], [tarfile.REGTYPE, tarfile.REGTYPE]]
    for one in (same, other):
        result, _ = imported(memory_store(), bundle(store, one))
        assert (result.verified, result.snapshot.roots) == (True, one.roots)


@pytest.mark.parametrize("first", [b"nothing", b"c"])
def test_a_first_name_that_is_not_there_is_damage(store: Store, first: bytes) -> None:
    snapshot = commit(store, {b"/r": {b"b": file(links=2, hardlink=first), b"c": file(links=2)}})
    with pytest.raises(CorruptObjectError):
        bundle(store, snapshot)


def test_a_file_whose_chunks_are_not_its_size_is_damage(store: Store) -> None:
    good = commit(store, {b"/x": b"content"}).roots[0].entry
    for size in (6, 8):
        snapshot = commit(store, {b"/x": replace(good, size=size)})
        with pytest.raises(CorruptObjectError):
            bundle(store, snapshot)


@pytest.fixture
def odd(tmp_path: Path) -> Iterator[tuple[Machine, bytes, set[str]]]:
    oddities.allow_depth()
    made = machine(os.fsencode(tmp_path))
    source = os.fsencode(tmp_path / "source")
    yield made, source, oddities.build(source)
    oddities.unbuild(source)
    oddities.unbuild(os.fsencode(tmp_path / "target"))


def test_gnu_tar_unpacks_everything_that_tar_knows(odd: tuple[Machine, bytes, set[str]], tmp_path: Path) -> None:
    made, source, features = odd
    oddities.unbuild(source + b"/deep")  # longer than the paths that tar can say to the system
    snapshot = made.take(source).snapshot
    archive = bundle(made.store, snapshot)
    assert imported(made.store, archive)[0].snapshot.roots == snapshot.roots
    (tmp_path / "bundle.tar").write_bytes(archive)
    target = tmp_path / "target"
    target.mkdir()
    ignored = ["owner"] if os.geteuid() else []
    command = ["tar", "-xp", "--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner", "-f"]
    quiet = ["--warning=no-unknown-keyword", "--warning=no-timestamp"]
    ran = subprocess.run(
        [*command, tmp_path / "bundle.tar", "-C", target, *quiet], capture_output=True, check=False
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, b""), features
    differences = compare(source, os.fsencode(target) + b"/root" + source, ignore=(*NOT_IN_TAR, *ignored))
    assert differences == []


@pytest.mark.skipif(shutil.which("bsdtar") is None, reason="bsdtar is not installed")
def test_bsdtar_reads_it(store: Store) -> None:
    snapshot = commit(store, {b"/r": {b"x" * 200: b"long", b"\xff": b"odd"}}, ROWS)
    ran = subprocess.run(["bsdtar", "-tf", "-"], input=bundle(store, snapshot), capture_output=True, check=True)
    assert len(ran.stdout.splitlines()) == len(ROWS) + 4


# -- the file it goes to


def test_a_file_has_its_name_once_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "out.tar"
    path.write_bytes(b"old")
    with Destination(os.fsencode(path)) as destination:
        destination.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["out.tar"]


def test_a_file_that_was_not_completed_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with Destination(os.fsencode(tmp_path / "out.tar")) as destination:
            destination.write(b"half")
            raise RequestError("no")

    with pytest.raises(RequestError):
        fail()
    assert os.listdir(tmp_path) == []


def test_a_link_and_a_pipe_are_written_through(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"")
    (tmp_path / "link").symlink_to("real")
    with Destination(os.fsencode(tmp_path / "link")) as destination:
        destination.write(b"x")
    assert (tmp_path / "real").read_bytes() == b"x"
    assert (tmp_path / "link").is_symlink()
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with Destination(os.fsencode(tmp_path / "pipe")) as destination:
        destination.write(b"through")
    assert os.read(reader, 100) == b"through"
    os.close(reader)


@pytest.mark.parametrize("name", ["missing/out", "file/out", "."])
def test_a_place_that_cannot_be_written_is_said(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(TargetError), Destination(os.fsencode(tmp_path / name)):
        pass
    assert sorted(os.listdir(tmp_path)) == ["file"]


def test_a_disk_that_is_full_is_said() -> None:
    with pytest.raises(TargetError), Destination(b"/dev/full") as destination:
        destination.write(b"x")


def test_an_archive_is_not_held_in_memory(store: Store) -> None:
    snapshot = commit(store, {b"/big": os.urandom(300_000)})
    pieces: list[int] = []
    out = io.BytesIO()
    _, result, _ = exported(store, snapshot)

    def write(data: bytes | bytearray | memoryview) -> None:
        pieces.append(len(data))
        out.write(data)

    export_bundle(
        store.view().reader, snapshot, write, parameters=store.config.parameters, progress=Silent(),
        cancellation=Cancellation(),
    )  # fmt: skip
    assert len(out.getvalue()) == result.written
    assert max(pieces) <= 16 << 10
