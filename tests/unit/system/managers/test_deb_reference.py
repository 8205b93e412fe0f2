"""Package files as a reference: used where they are exactly what was installed, and read once."""

from __future__ import annotations

import hashlib
import os
import stat
import tarfile
from pathlib import Path

import pytest

from snapstore.errors import HostError
from snapstore.model import Kind
from snapstore.system.host import Ran
from snapstore.system.managers import debreference
from snapstore.system.managers.debarchive import Deb, read_deb
from snapstore.system.managers.debreference import DebReference, fetch_reference
from snapstore.system.packages import Digest, Package
from tests.unit.system.managers.debs import deb, member
from tests.unit.system.managers.dpkgroots import ADMIN, INFO, by_path, listed, look, made, stanza, write


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


MEMBERS = [
    member("./", type=tarfile.DIRTYPE, mode=0o755),
    member("./bin/", type=tarfile.DIRTYPE, mode=0o755),
    member("./bin/tool", b"tool", mode=0o4750, gname="adm", gid=4),
    member("./bin/link", type=tarfile.SYMTYPE, linkname="tool", mode=0o777),
    member("./etc/", type=tarfile.DIRTYPE, mode=0o700, uname="", gname="", uid=7, gid=8),
    member("./etc/new", b"new"),
    member("./etc/known", b"known"),
]


def root_of(base: Path) -> Path:
    conffiles = f"Conffiles:\n /etc/new newconffile\n /etc/known {md5(b'known')}\n /etc/old {md5(b'old')} obsolete\n"
    files = {
        ADMIN + b"status": stanza("a", more=conffiles),
        INFO + b"a.list": listed(b"/bin", b"/bin/tool", b"/bin/link", b"/etc", b"/etc/new", b"/etc/known", b"/extra"),
        INFO + b"a.md5sums": f"{md5(b'tool')}  bin/tool\n".encode(),
    }
    root = made(base, files)
    (root / "usr/bin").mkdir(parents=True)
    (root / "bin").symlink_to("usr/bin")
    return root


def archives(base: Path, name: str = "a_1.0-1_all.deb", data: bytes | None = None) -> bytes:
    directory = base / "archives"
    directory.mkdir()
    (directory / name).write_bytes(deb(MEMBERS) if data is None else data)
    return os.fsencode(directory)


def test_what_the_package_file_says(tmp_path: Path) -> None:
    owned, told = look(root_of(tmp_path), reference=DebReference([archives(tmp_path)]))
    assert told == []
    found = by_path(owned, "a")
    tool, link, etc = found[b"/usr/bin/tool"], found[b"/usr/bin/link"], found[b"/etc"]
    assert (tool.kind, tool.mode, tool.user, tool.group, tool.size) == (Kind.FILE, 0o4750, "root", "adm", 4)
    assert tool.digest == Digest("md5", bytes.fromhex(md5(b"tool")))
    assert (link.kind, link.target, link.size) == (Kind.SYMLINK, b"tool", None)
    assert (etc.mode, etc.user, etc.group, etc.uid, etc.gid) == (0o700, None, None, 7, 8)
    assert found[b"/bin"].kind is Kind.SYMLINK  # merged, whatever the package ships
    assert not any(found[path].usual for path in (b"/usr/bin/tool", b"/usr/bin/link", b"/etc"))
    assert found[b"/extra"].usual  # not in it


def test_digests_of_configuration_files(tmp_path: Path) -> None:
    found = by_path(look(root_of(tmp_path), reference=DebReference([archives(tmp_path)]))[0], "a")
    assert {path: each.digest.value.hex() for path, each in found.items() if each.config and each.digest} == {
        b"/etc/new": md5(b"new"),  # the database has none
        b"/etc/known": md5(b"known"),
        b"/etc/old": md5(b"old"),
    }


def test_an_override_is_stronger(tmp_path: Path) -> None:
    root = root_of(tmp_path)
    write(root, {ADMIN + b"statoverride": b"root root 755 /bin/tool\n"})
    tool = by_path(look(root, reference=DebReference([archives(tmp_path)]))[0], "a")[b"/usr/bin/tool"]
    assert (tool.mode, tool.group) == (0o755, "root")


@pytest.mark.parametrize(
    "control",
    [
        b"Package: a\nVersion: 1.0-2\nArchitecture: all\n",
        b"Package: b\nVersion: 1.0-1\nArchitecture: all\n",
        b"Package: a\nVersion: 1.0-1\nArchitecture: amd64\n",
    ],
)
def test_another_package_is_no_reference(tmp_path: Path, control: bytes) -> None:
    reference = DebReference([archives(tmp_path, data=deb(MEMBERS, control=control))])
    owned, told = look(root_of(tmp_path), reference=reference)
    assert told == []
    assert all(each.usual for each in owned)


def test_a_package_file_with_other_contents_is_no_reference(tmp_path: Path) -> None:
    members = [*MEMBERS[:2], member("./bin/tool", b"TOOL"), *MEMBERS[3:]]
    owned, told = look(root_of(tmp_path), reference=DebReference([archives(tmp_path, data=deb(members))]))
    assert ["not the one installed" in reason for _, reason in told] == [True]
    assert all(each.usual for each in owned)
    assert by_path(owned, "a")[b"/usr/bin/tool"].mode is None


@pytest.mark.parametrize("data", [b"", b"garbage", deb(MEMBERS)[:-40]])
def test_a_damaged_package_file_is_told_of(tmp_path: Path, data: bytes) -> None:
    owned, told = look(root_of(tmp_path), reference=DebReference([archives(tmp_path, data=data)]))
    assert len(told) == 1
    assert all(each.usual for each in owned)


def test_no_directory_and_no_regular_file(tmp_path: Path) -> None:
    directory = archives(tmp_path, name="b_1_all.deb")
    os.mkfifo(os.path.join(directory, b"a_1.0-1_all.deb"))
    os.symlink(b"b_1_all.deb", os.path.join(directory, b"a_2_all.deb"))
    owned, told = look(root_of(tmp_path), reference=DebReference([directory, b"/nowhere/at/all"]))
    assert [path for path, _ in told] == [b"/nowhere/at/all"]
    assert all(each.usual for each in owned)


def test_the_second_run_reads_no_package_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, directory = root_of(tmp_path), archives(tmp_path)
    cache = tmp_path / "cache"
    cache.mkdir()

    def run() -> object:
        return look(root, reference=DebReference([directory], cache=os.fsencode(cache)))

    first = run()
    (kept,) = cache.iterdir()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    reads: list[int] = []

    def read(fd: int) -> Deb:
        reads.append(fd)
        return read_deb(fd)

    monkeypatch.setattr(debreference, "read_deb", read)
    assert run() == first
    assert reads == []
    good = kept.read_bytes()
    for damaged in (b"", good[:-1], good[:100] + b"x" + good[101:], b"[]"):
        kept.write_bytes(damaged)
        assert run() == first
    assert len(reads) == 4
    os.utime(os.path.join(directory, b"a_1.0-1_all.deb"), ns=(1, 1))
    assert run() == first
    assert len(reads) == 5


def test_the_stamp_follows_the_files(tmp_path: Path) -> None:
    directory = archives(tmp_path)
    before = DebReference([directory]).stamp()
    assert DebReference([directory]).stamp() == before
    (tmp_path / "archives/b_1_all.deb").write_bytes(b"")
    assert DebReference([directory]).stamp() != before


def test_what_apt_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def run(arguments: list[str], *, seconds: float, directory: bytes) -> Ran:
        asked.append(arguments[5:])
        assert arguments[:5] == ["apt-get", "-q", "-y", "download", "--"]
        assert seconds > 0
        if "lost:amd64=1" in arguments:
            return Ran(100, b"", b"E: Version '1' for 'lost' was not found\n")
        for each in arguments[5:]:
            name, _, version = each.partition("=")
            Path(os.fsdecode(directory), f"{name.partition(':')[0]}_{version.replace(':', '%3a')}_all.deb").touch()
        return Ran(0, b"", b"")

    def package(name: str, version: str, arch: str = "all", state: str = "installed") -> Package:
        return Package(manager="dpkg", name=name, version=version, arch=arch, state=state)

    monkeypatch.setattr(debreference, "run", run)
    (tmp_path / "there_1_all.deb").touch()
    lost = package("lost", "1", "amd64")
    told: list[str] = []
    packages = [package("there", "1"), package("a", "2:3-4"), lost, package("gone", "1", state="removed")]
    left = fetch_reference(packages, os.fsencode(tmp_path), lambda _, reason: told.append(reason))
    assert left == [lost]
    assert asked == [["a=2:3-4", "lost:amd64=1"], ["a=2:3-4"], ["lost:amd64=1"]]
    assert told == ["lost 1 cannot be got: E: Version '1' for 'lost' was not found"]


def test_without_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: object, **__: object) -> Ran:
        raise HostError("apt-get cannot be started: No such file or directory")

    monkeypatch.setattr(debreference, "run", run)
    told: list[str] = []
    package = Package(manager="dpkg", name="a", version="1", arch="all")
    assert fetch_reference([package], os.fsencode(tmp_path), lambda _, reason: told.append(reason)) == [package]
    assert told == ["a 1 cannot be got: apt-get cannot be started: No such file or directory"]
