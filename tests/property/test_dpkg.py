"""Whatever is in the files of dpkg's database: only PackageDatabaseError is raised, and no digest is made up."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from snapstore.errors import PackageDatabaseError
from snapstore.system.managers.dpkg import Dpkg
from snapstore.system.packages import Owned, Ownership
from snapstore.system.root import Root
from snapstore.system.scopes.packagelist import PACKAGES
from tests.unit.system.managers.dpkgroots import ADMIN, INFO, RECORDED, listed, stanza, write

FILES = [
    ADMIN + b"status",
    ADMIN + b"updates/0001",
    ADMIN + b"diversions",
    ADMIN + b"statoverride",
    ADMIN + b"alternatives/x",
    INFO + b"a.list",
    INFO + b"a.md5sums",
    INFO + b"a.conffiles",
    INFO + b"stray.list",
    b"var/lib/apt/extended_states",
    b"var/lib/ucf/hashfile",
    b"var/lib/ucf/registry",
    b"etc/dpkg/dpkg.cfg",
    b"etc/apt/preferences",
]
DIGEST = b"0123456789abcdef0123456789abcdef"
WORDS = [
    b"Package: ", b"a", b"Status: ", b"install ok installed", b"Version: 1", b"Conffiles:", b" /etc/a ",
    b" newconffile", b" obsolete", DIGEST, b"  ", b"usr/a", b"/usr/a", b"/.", b"/..", b"\n", b"\n\n", b"\t", b"\0",
    b"\xff", b"#1", b" root ",
    b"0755", b"auto", b"manual", b"/", b":", b"path-exclude=", b"*", b"[", b"\\", b"Pin: x", b"A: ",
]  # fmt: skip
CONTENTS = st.one_of(st.binary(max_size=60), st.lists(st.sampled_from(WORDS), max_size=14).map(b"".join))


@contextmanager
def root_with(files: dict[bytes, bytes]) -> Iterator[Root]:
    with tempfile.TemporaryDirectory() as base:
        good = {
            ADMIN + b"status": stanza("a"),
            INFO + b"a.list": listed(b"/etc", b"/etc/a", b"/usr", b"/usr/a"),
            INFO + b"a.md5sums": DIGEST + b"  usr/a\n",
        }
        write(Path(base), good | files)
        with Root(os.fsencode(base)) as root:
            yield root


def ask(root: Root) -> list[Owned]:
    """Everything that a manager can be asked; the rows it gives have to stand in a record."""

    def warn(path: bytes, reason: str) -> None:
        assert path.startswith(b"/")
        assert reason
        assert "\n" not in reason
        assert len(reason) < 1000
        assert reason.isprintable()

    manager = Dpkg()
    owned: list[Owned] = []
    assert manager.detect(root)
    assert manager.stamp(root)
    with suppress(PackageDatabaseError):
        for package in manager.packages(root, warn):
            PACKAGES.element(package)
        owned += manager.owned(root, warn)
    with suppress(PackageDatabaseError):
        for row in manager.decisions(root, warn):
            PACKAGES.element(row)
    return owned


@settings(max_examples=250, deadline=None)
@given(st.dictionaries(st.sampled_from(FILES), CONTENTS, min_size=1, max_size=4))
def test_anything_in_any_file(files: dict[bytes, bytes]) -> None:
    with root_with(files) as root:
        owned = ask(root)
    everything = b"".join([DIGEST, *files.values()]).lower()
    for each in owned:
        assert each.path.startswith(b"/")
        assert b"\0" not in each.path
        assert not {b"..", b"."} & set(each.path.split(b"/"))
        if each.digest is not None:
            assert each.digest.value.hex().encode() in everything
    Ownership(owned)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damage_to_a_real_database(data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted(RECORDED.rglob("*.*sum*")) + sorted(RECORDED.rglob("*.list"))))
    name = os.fsencode(path.relative_to(RECORDED))
    good = path.read_bytes()
    place = data.draw(st.integers(0, len(good) - 1))
    damaged = good[:place] + data.draw(st.binary(max_size=5)) + good[place + data.draw(st.integers(0, 40)) :]
    status = (RECORDED / os.fsdecode(ADMIN) / "status").read_bytes()
    with root_with({ADMIN + b"status": status, name: damaged}) as root:
        for each in ask(root):
            if each.digest is not None and not each.config:
                assert each.digest.value.hex().encode() in damaged + DIGEST


@settings(max_examples=40, deadline=None)
@example(237)
@given(st.integers(0, 1 << 20))
def test_a_cut_off_status_never_vouches_for_the_last_record(length: int) -> None:
    status = (RECORDED / os.fsdecode(ADMIN) / "status").read_bytes()
    length %= len(status)
    cut = status[:length].rpartition(b"\n\n")[2]
    if b"Package: " not in cut:
        return  # as good as cut between two records: whether there was another cannot be seen
    lists = {INFO + path.name.encode(): path.read_bytes() for path in (RECORDED / os.fsdecode(INFO)).iterdir()}
    with root_with({**lists, ADMIN + b"status": status[:length]}) as root:
        owned = ask(root)
    last = cut.partition(b"Package: ")[2].partition(b"\n")[0].decode()
    assert not any(each.vouched for each in owned if each.package.partition(":")[0] == last)
