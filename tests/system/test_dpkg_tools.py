"""This machine's own database, read by us and by dpkg's tools; package files that dpkg-deb made, read by both."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tarfile
import time
from io import BytesIO
from pathlib import Path

import pytest

from snapstore.model import Kind
from snapstore.system.managers.debarchive import read_deb
from snapstore.system.managers.dpkg import Dpkg
from snapstore.system.packages import Owned
from snapstore.system.root import Root
from tests.unit.system.managers.dpkgroots import Told

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="some of what packages own only root may look at"),
    pytest.mark.skipif(shutil.which("dpkg-query") is None, reason="this machine is not one of dpkg's"),
]

KINDS = {stat.S_IFREG: Kind.FILE, stat.S_IFDIR: Kind.DIRECTORY, stat.S_IFLNK: Kind.SYMLINK}


def tool(*arguments: str) -> bytes:
    return subprocess.run(
        arguments, capture_output=True, check=True, env={"LC_ALL": "C", "PATH": os.environ["PATH"]}
    ).stdout


def live() -> tuple[list[Owned], Told, float]:
    told: Told = []
    start = time.process_time()
    with Root() as root:
        owned = list(Dpkg().owned(root, lambda path, reason: told.append((path, reason))))
    return owned, told, time.process_time() - start


def test_the_same_packages() -> None:
    form = "${Package}\t${Version}\t${Architecture}\t${db:Status-Abbrev}\n"
    shown = {
        tuple(line.split("\t")[:3])
        for line in tool("dpkg-query", "-W", "-f", form).decode().splitlines()
        if line.split("\t")[3][1:2] not in ("n", "")
    }
    with Root() as root:
        packages = Dpkg().packages(root, lambda path, reason: pytest.fail(f"{path!r}: {reason}"))
    assert {(each.name, each.version, each.arch) for each in packages} == shown


def test_the_same_holds_and_marks() -> None:
    if shutil.which("apt-mark") is None:
        pytest.skip("there is no apt-mark to compare with")
    with Root() as root:
        packages = Dpkg().packages(root, lambda *_: None)
    native = tool("dpkg", "--print-architecture").decode().strip()
    ours = {each.name for each in packages if each.reason == "auto" and each.arch in ("all", native)}
    auto = {line for line in tool("apt-mark", "showauto").decode().split() if ":" not in line}
    assert ours == auto
    held = {line.partition(":")[0] for line in tool("apt-mark", "showhold").decode().split()}
    assert {each.name for each in packages if each.held} == held


def test_the_same_paths_and_what_is_on_disk() -> None:
    owned, told, seconds = live()
    assert told == []
    assert len(owned) > 1000
    assert (
        seconds < 0.02 * 1000 * len(owned) / 100_000
    )  # 1 s for 50,000 paths: a hundredth of what is bearable is usual
    found = {each.path for each in owned}
    names = tool("dpkg-query", "-W", "-f", "${binary:Package} ${db:Status-Status}\n").decode().split("\n")
    installed = [line.split()[0] for line in names if line.endswith(" installed")]
    listed = {
        line
        for line in tool("dpkg-query", "-L", *installed).split(b"\n")
        if line.startswith(b"/") and line != b"/." and not line.endswith(b" contains no files")
    }
    with Root() as root:
        diverted = {root.canonical(line) for line in tool("dpkg-divert", "--list").split() if line.startswith(b"/")}
        resolved = {root.canonical(path) for path in listed}
        assert resolved - diverted <= found
        config = {each.path for each in owned if each.config}
        assert found - resolved - diverted - config <= {b"/"}
        wrong = [
            each
            for each in owned
            if each.kind is not None
            and (status := root.status(each.path)) is not None
            and KINDS.get(stat.S_IFMT(status.st_mode)) is not each.kind
        ]
    assert wrong == []


def test_the_same_owners() -> None:
    owned, _, _ = live()
    owners: dict[bytes, set[str]] = {}
    for each in owned:
        owners.setdefault(each.path, set()).add(each.package)
    for path in (b"/usr/bin/dpkg", b"/var/lib/dpkg", b"/etc", b"/usr/share/doc/dpkg/copyright"):
        line = tool("dpkg-query", "-S", os.fsdecode(path)).decode().strip()
        shown = set(line.rpartition(": ")[0].split(", "))
        assert {name.partition(":")[0] for name in owners[path]} == {name.partition(":")[0] for name in shown}


@pytest.mark.parametrize("packing", ["none", "gzip", "xz", "zstd"])
def test_a_package_file_that_dpkg_deb_made(tmp_path: Path, packing: str) -> None:
    tree = tmp_path / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text(
        "Package: made\nVersion: 1:2-3\nArchitecture: all\nMaintainer: A <a@example.org>\nDescription: made\n"
    )
    place = tree / "usr/share" / ("long" * 30) / ("name" * 50)
    place.parent.mkdir(parents=True)
    place.write_bytes(b"x" * 100_000)
    place.chmod(0o4755)
    os.link(place, tree / "usr/again")
    (tree / "usr/link").symlink_to("share/" + "target" * 40)
    os.chown(tree / "usr/share", 1, 2)
    (tree / "usr/share").chmod(0o2770)
    os.mknod(tree / "usr/null", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    os.mkfifo(tree / "usr/pipe")
    made = tmp_path / "made.deb"
    if subprocess.run(["dpkg-deb", f"-Z{packing}", "-b", tree, made], capture_output=True, check=False).returncode:
        pytest.skip(f"this dpkg-deb does not pack with {packing}")
    fd = os.open(made, os.O_RDONLY)
    try:
        ours = read_deb(fd)
    finally:
        os.close(fd)
    assert b"Version: 1:2-3\n" in ours.control
    with tarfile.open(fileobj=BytesIO(tool("dpkg-deb", "--fsys-tarfile", str(made)))) as archive:
        theirs = {os.fsencode(member.name)[1:] or b"/.": member for member in archive.getmembers()}
    assert ours.paths.keys() == theirs.keys()
    for path, member in theirs.items():
        shipped = ours.paths[path]
        size = member.size if member.isreg() else 100_000 if member.islnk() else 0
        shown = (member.mode, member.uid, member.gid, member.uname, member.gname, size)
        assert (shipped.mode, shipped.uid, shipped.gid, shipped.user, shipped.group, shipped.size) == shown
        assert shipped.target == (os.fsencode(member.linkname) if member.issym() else b"")
    assert ours.paths[b"/usr/null"].rdev == (1, 3)
