"""Snapshots with scopes in small stores, and the verbs that exchange them with their options filled in."""

from __future__ import annotations

import io
import tarfile
import tempfile
from collections.abc import Callable, Mapping, Sequence

from snapstore.flow import Cancellation
from snapstore.model import Root, Snapshot, Totals, Warned
from snapstore.ops.bundle import Exported, export_bundle
from snapstore.ops.importing import Imported, ImportOptions, import_archive
from snapstore.ops.scopes import BY_NAME
from snapstore.ops.snapfile import export_snapfile
from snapstore.ops.snapshot import LocalState
from snapstore.store.repository import Store
from snapstore.system.packages import Package
from snapstore.system.record import Row
from snapstore.system.scopes.accounts import Group, SudoRule, User
from snapstore.system.scopes.files import Class, ClassTotal, FileRow, Policy
from snapstore.system.scopes.osrelease import Setting
from snapstore.system.scopes.packagelist import Diversion
from snapstore.system.scopes.repositories import Repository
from snapstore.system.scopes.services import Port, Unit
from tests.drive import Recorded
from tests.stores import TIME, Node, Writer

HASH = "$y$j9T$secret"
ROWS: dict[str, Sequence[Row]] = {
    "os": (Setting(name="hostname", value="old\x1b[2J"), Setting(name="id", value="debian")),
    "packages": (
        Package(manager="dpkg", name="apache2", version="2.4.57-2", arch="amd64", reason="manual", held=True),
        Package(manager="dpkg", name="gone", version="1", arch="all", state="removed"),
        Package(manager="dpkg", name="libc6", version="2.36-9", arch="amd64", reason="auto", size=12_000_000),
        Diversion(path=b"/usr/bin/\xff\n", target=b"/usr/bin/x.distrib"),
    ),
    "repos": (
        Repository(file=b"/etc/apt/sources.list", kind="deb", uris=("http://deb.example.org/debian",), suites=("x",)),
        Repository(file=b"/etc/apt/z.list", kind="deb", uris=("http://off.example.org/",), disabled=True),
    ),
    "users": (
        User(name="root", uid=0, gid=0, home=b"/root", password=HASH, changed=19_000),
        User(name="web", uid=33, gid=33, home=b"/var/www"),
        Group(name="root", gid=0, members=("web",)),
        SudoRule(file=b"/etc/sudoers", rule="root ALL=(ALL:ALL) ALL"),
    ),
    "services": (
        Unit(name="apache2.service", state="enabled", running=True, package="apache2"),
        Unit(name="mine.service", state="enabled", local=True),
        Unit(name="postgresql.service", state="disabled"),
        Port(protocol="tcp", address="::", port=80, unit="apache2.service", process="apache2"),
    ),
    "files": (
        FileRow(b"/etc/fstab", Class.CHANGED, kind="file", size=9, package="mount", config=True, changes=("content",)),
        FileRow(b"/srv/new\n", Class.UNMANAGED, kind="file", size=3, mode=0o640, owner="root:root"),
    ),
    "completeness": (
        ClassTotal(cls="changed", files=1, size=9),
        ClassTotal(cls="unmanaged", files=1, size=3),
        Policy(name="skip-packaged", value="yes"),
    ),
}


def commit(
    store: Store, roots: Mapping[bytes, Node], rows: Mapping[str, Sequence[Row]] | None = None, **more: object
) -> Snapshot:
    """The snapshot of these paths, with these rows of scopes in its record."""
    writer = Writer(store)
    session = writer.begin()
    made = tuple(
        Root(path=path, entry=writer._entry(session, path.rpartition(b"/")[2] or b"root", node))
        for path, node in sorted(roots.items())
    )
    scopes = tuple((name, BY_NAME[name].write(each, session.put_manifest)) for name, each in (rows or {}).items())
    fields: dict[str, object] = {"host": "old", "started": TIME * 10**9, "ended": TIME * 10**9, "tool": "tests", **more}
    record = Snapshot(
        session=session.id, writer=bytes(16), sequence=1, roots=made, scopes=scopes, totals=Totals(), **fields,  # type: ignore[arg-type]
    )  # fmt: skip
    return session.commit(record).record


def bundle(store: Store, snapshot: Snapshot) -> bytes:
    """The snapshot as a bundle."""
    return exported(store, snapshot)[0]


def exported(store: Store, snapshot: Snapshot, *, snapfile: bool = False) -> tuple[bytes, Exported, list[Warned]]:
    """(archive, result, warnings) of an export."""
    out = bytearray()
    progress = Recorded()
    reader = store.view().reader
    cancellation = Cancellation()
    if snapfile:
        result = export_snapfile(reader, snapshot, out.extend, progress=progress, cancellation=cancellation)
    else:
        parameters = store.config.parameters
        result = export_bundle(
            reader, snapshot, out.extend, parameters=parameters, progress=progress, cancellation=cancellation
        )
    assert result.written == len(out)
    assert result.warnings == len(progress.warned)
    return bytes(out), result, progress.warned


def imported(
    store: Store, archive: bytes, *, options: ImportOptions | None = None, read: Callable[[int], bytes] | None = None
) -> tuple[Imported, list[Warned]]:
    """(result, warnings) of the import of an archive."""
    progress = Recorded()
    with tempfile.TemporaryDirectory() as base:
        local = LocalState(cache=base.encode(), state=base.encode())
        result = import_archive(
            store, read or io.BytesIO(archive).read, options=options or ImportOptions(), local=local,
            progress=progress, cancellation=Cancellation(),
        )  # fmt: skip
    assert result.warnings == len(progress.warned)
    return result, progress.warned


def members(archive: bytes) -> list[tuple[tarfile.TarInfo, bytes]]:
    """What Python's own tar sees: each member and its contents."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return [(each, _contents(tar, each)) for each in tar]


def _contents(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member) if member.isreg() else None
    return b"" if file is None else file.read()


def packed(found: Sequence[tuple[tarfile.TarInfo, bytes]], *, form: int = tarfile.PAX_FORMAT) -> bytes:
    """The archive of these members, as Python's own tar writes it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for member, contents in found:
            tar.addfile(member, io.BytesIO(contents) if member.isreg() else None)
    return out.getvalue()


def member(
    name: str, kind: bytes = tarfile.REGTYPE, contents: bytes = b"", link: str = ""
) -> tuple[tarfile.TarInfo, bytes]:
    """A member for `packed`."""
    info = tarfile.TarInfo(name)
    info.type = kind
    info.size = len(contents)
    info.linkname = link
    return info, contents
