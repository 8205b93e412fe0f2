"""Whatever databases of pacman and apk hold: nothing but PackageDatabaseError, and no digest that is not in them."""

from __future__ import annotations

import base64
import gzip
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from snapstore.errors import PackageDatabaseError
from snapstore.model import Kind
from snapstore.system.managers.apk import Apk
from snapstore.system.managers.mtree import MtreeEntry, escape, read_mtree, unescape
from snapstore.system.managers.pacman import Pacman
from snapstore.system.packages import Digest, Owned
from snapstore.system.root import Root
from snapstore.system.scopes.packagelist import PACKAGES
from tests.unit.system.managers.pacmanfiles import LOCAL, record

RECORDED = Path(__file__).resolve().parents[1] / "recorded"
few = settings(max_examples=60, deadline=None)


@contextmanager
def scratch() -> Iterator[Path]:
    """A directory for one example."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def look(manager: Pacman | Apk, path: Path) -> list[Owned]:
    """What is owned, after everything else that can be asked; nothing if the database is refused."""
    warned: list[tuple[bytes, str]] = []

    def warn(place: bytes, reason: str) -> None:
        assert "\n" not in reason
        warned.append((place, reason))

    with Root(os.fsencode(path)) as root:
        manager.detect(root)
        manager.stamp(root)
        # Rows that a record cannot hold would be no use to anybody.
        for row in manager.decisions(root, warn):
            PACKAGES.element(row)
        try:
            packages = manager.packages(root, warn)
            found = list(manager.owned(root, warn))
        except PackageDatabaseError:
            return []
    order = [(each.name, each.arch, each.version) for each in packages]
    assert order == sorted(set(order))
    for package in packages:
        PACKAGES.element(package)
    for each in found:
        assert each.path.startswith(b"/")
        assert b"\0" not in each.path
        assert not {b"", b".", b".."} & set(each.path[1:].split(b"/")) or each.path == b"/"
    return found


names = st.binary(min_size=1, max_size=12).filter(lambda name: not {b".", b".."} & {name} and not {0, 47} & set(name))
digests = st.binary(min_size=32, max_size=32)
modes = st.integers(0, 0o7777)


@given(st.binary(max_size=40))
@few
def test_any_bytes_go_through_escapes_and_back(raw: bytes) -> None:
    encoded = escape(raw)
    assert unescape(encoded) == raw
    assert encoded.isascii()
    assert len(encoded.split()) == bool(raw)


@given(st.dictionaries(names, st.tuples(modes, digests, st.integers(0, (1 << 32) - 1), names), max_size=8))
@few
def test_specifications_are_read_as_they_were_written(files: dict[bytes, tuple[int, bytes, int, bytes]]) -> None:
    written, expected = [b"#mtree", b"/set type=file uid=3"], []
    for name, (mode, digest, gid, target) in files.items():
        words = b"mode=%o gid=%d sha256digest=%b link=%b" % (mode, gid, digest.hex().encode(), escape(target))
        written.append(b"./%b %b" % (escape(name), words))
        expected.append(MtreeEntry(name, Kind.FILE, mode, 3, gid, digest=Digest("sha256", digest), target=target))
    assert list(read_mtree(written)) == expected


lines = st.lists(
    st.one_of(
        st.binary(max_size=30),
        st.lists(
            st.sampled_from(
                [b"/set", b"/unset", b"..", b".", b"./a", b"a/b", b"c", b"type=dir", b"type=file", b"mode=755",
                 b"uid=0", b"mode=9", b"link=\\", b"\\", b"all", b"md5=00", b"#", b"size=", b"./../x", b"\\057", b"="]
            ), max_size=6,
        ).map(b" ".join),
    ), max_size=12,
)  # fmt: skip


@given(lines)
@few
def test_any_lines_make_entries_or_troubles(some: list[bytes]) -> None:
    for each in read_mtree(some):
        if isinstance(each, MtreeEntry):
            assert each.digest is None
            assert each.mode is None or each.mode <= 0o7777
        else:
            assert 1 <= each.line <= len(some)


rubbish = st.one_of(
    st.binary(max_size=80),
    st.lists(
        st.sampled_from(
            [b"%NAME%", b"%VERSION%", b"%FILES%", b"%BACKUP%", b"", b"tool", b"1.0-1", b"usr/", b"usr/bin/tool",
             b"../x", b"a\tb", b"%SIZE%", b"99999999999999999999", b"\xff\xfe", b"a" * 5000, b"9", b"%GROUPS%",
             b"%REASON%"]
        ), max_size=14,
    ).map(b"\n".join),
)  # fmt: skip


@given(rubbish, rubbish, st.one_of(rubbish, lines.map(b"\n".join)), rubbish, st.booleans())
@few
def test_any_database_of_pacman(desc: bytes, files: bytes, mtree: bytes, config: bytes, whole: bool) -> None:  # noqa: FBT001
    with scratch() as path:
        made = record(path, desc=desc, files=files, mtree=mtree)
        if not whole:
            (made / "mtree").write_bytes(mtree)
        (path / "etc").mkdir()
        (path / "etc/pacman.conf").write_bytes(b"[options]\nIgnorePkg = t*\n" + config)
        for each in look(Pacman(), path):
            assert each.digest is None
            assert each.kind is not Kind.FILE or not each.vouched


@given(st.data())
@few
def test_damage_to_what_pacman_wrote_takes_digests_away_and_makes_up_none(data: st.DataObject) -> None:
    with scratch() as path:
        shutil.copytree(RECORDED / "pacman" / "local", path / LOCAL)
        before = {each.path: each for each in look(Pacman(), path)}
        assert len(before) > 70
        place = data.draw(st.sampled_from(sorted(each for each in (path / LOCAL).rglob("*") if each.is_file())))
        raw = place.read_bytes()
        at = data.draw(st.integers(0, len(raw) - 1))
        kept = raw[:at] + (b"" if data.draw(st.booleans()) else data.draw(st.binary(max_size=4)) + raw[at + 1 :])
        place.write_bytes(kept)
        for each in look(Pacman(), path):
            known = before.get(each.path)
            if each.vouched and known is not None and each.package == known.package:
                assert each.digest == known.digest
                assert (each.kind, each.mode, each.target) == (known.kind, known.mode, known.target)
            elif each.digest is not None:
                # The digest of a configuration file, the only one that `files` has, which has no checksum of its own.
                assert each.digest.algorithm == "md5"


letters = st.sampled_from([*b"CPVASITULomtDpirqsfgFMRaZky1 "])
values = st.one_of(
    st.binary(max_size=12),
    st.sampled_from([b"0:0:755", b"bin", b"usr/bin", b"", b"S", b"fx", b"../x", b"demo", b"0:0:9"]),
)
records = st.lists(
    st.one_of(
        st.tuples(letters, values).map(lambda each: bytes([each[0]]) + b":" + each[1]),
        st.just(b""),
        st.binary(max_size=9),
    ),
    max_size=25,
)


@given(records, st.binary(max_size=30), st.binary(max_size=30))
@few
def test_any_database_of_apk(some: list[bytes], world: bytes, protected: bytes) -> None:
    with scratch() as path:
        (path / "lib/apk/db").mkdir(parents=True)
        (path / "lib/apk/db/installed").write_bytes(b"P:first\nV:1\n\n" + b"\n".join(some))
        (path / "etc/apk/protected_paths.d").mkdir(parents=True)
        (path / "etc/apk/world").write_bytes(world)
        (path / "etc/apk/protected_paths.d/x.list").write_bytes(protected)
        for each in look(Apk(), path):
            assert each.digest is None
            assert each.kind is Kind.DIRECTORY or not each.vouched


@given(st.data())
@few
def test_damage_to_a_database_of_apk_makes_up_no_digest(data: st.DataObject) -> None:
    raw = (RECORDED / "apk" / "installed").read_bytes()
    at = data.draw(st.integers(0, len(raw) - 1))
    kept = raw[:at] + (b"" if data.draw(st.booleans()) else data.draw(st.binary(max_size=4)) + raw[at + 1 :])
    with scratch() as path:
        (path / "lib/apk/db").mkdir(parents=True)
        (path / "lib/apk/db/installed").write_bytes(kept)
        for each in look(Apk(), path):
            if each.digest is not None:
                assert base64.b64encode(each.digest.value) in kept


@given(st.dictionaries(names, digests, min_size=1, max_size=6))
@few
def test_every_file_that_pacman_lists_has_its_own_digest(files: dict[bytes, bytes]) -> None:
    listed = b"%FILES%\nd/\n" + b"".join(b"d/%b\n" % name for name in files) + b"\n"
    words = b" type=file mode=644 uid=0 gid=0 sha256digest="
    mtree = b"\n".join(b"./d/" + escape(name) + words + digest.hex().encode() for name, digest in files.items())
    with scratch() as path:
        record(path, files=listed, mtree=mtree + b"\n./d type=dir mode=755 uid=0 gid=0")
        found = {each.path: each for each in look(Pacman(), path)}
    for name, digest in files.items():
        each = found[b"/d/" + name]
        if each.vouched:
            assert each.digest == Digest("sha256", digest)
        else:
            # Only a name with line feeds, of which a piece is another name or nothing, cannot be put together.
            assert any(b"\n" in other for other in files)


@given(st.binary(max_size=60), st.integers(0, 100))
@few
def test_attributes_that_inflate_without_end_are_refused(tail: bytes, cut: int) -> None:
    with scratch() as path:
        made = record(path)
        packed = gzip.compress(b"#mtree\n" + b"\n" * 100_000)
        (made / "mtree").write_bytes(packed[: len(packed) - cut] + tail)
        look(Pacman(), path)
