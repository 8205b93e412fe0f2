"""A root that rpm filled: what is read from its database is what rpm says, and what is on the disk."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from snapstore.model import Kind
from snapstore.system.capabilities import decode_capabilities
from snapstore.system.managers.rpm import Rpm
from snapstore.system.managers.rpmkeys import imported_keys
from snapstore.system.packages import Owned, Package
from snapstore.system.root import Root
from tests.rpmanswers import RECORDED
from tests.system.rpmroots import FOREIGN, SINGLES, RpmRoot, build_rpm_root, require_tools, rpm_in, run

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.getuid() != 0, reason="rpm installs into a root with chroot(2), which takes uid 0"),
]

RPM = Rpm()
KINDS = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFDIR: Kind.DIRECTORY,
    stat.S_IFLNK: Kind.SYMLINK,
    stat.S_IFCHR: Kind.CHARACTER_DEVICE,
}
USERS = {0: "root", 1: "daemon", 5: "games"}
GROUPS = {0: "root", 1: "daemon", 4: "adm", 60: "games"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> RpmRoot:
    """The root as it was installed, not to be changed."""
    require_tools()
    return build_rpm_root(tmp_path_factory.mktemp("rpm"))


@pytest.fixture
def changed(built: RpmRoot, tmp_path: Path) -> Path:
    """A copy of the root, to be changed."""
    run(["cp", "-a", built.path, tmp_path / "root"])
    return tmp_path / "root"


def refuse(path: bytes, reason: str) -> None:
    raise AssertionError(path, reason)


def packages_in(path: Path) -> list[Package]:
    with Root(bytes(path)) as root:
        return RPM.packages(root, refuse)


def owned_in(path: Path) -> list[Owned]:
    with Root(bytes(path)) as root:
        return list(RPM.owned(root, refuse))


def differences(each: Owned, place: bytes) -> list[str]:
    """In what the disk is not as the record says, whatever the record says."""
    try:
        status = os.lstat(place)
    except FileNotFoundError:
        return ["missing"]
    found = []
    if KINDS.get(stat.S_IFMT(status.st_mode)) is not each.kind:
        found.append("kind")
    if each.mode is not None and stat.S_IMODE(status.st_mode) != each.mode:
        found.append("mode")
    if (USERS[status.st_uid], GROUPS[status.st_gid]) != (each.user, each.group):
        found.append("owner")
    if each.size is not None and status.st_size != each.size:
        found.append("size")
    if each.rdev is not None and each.rdev != (os.major(status.st_rdev), os.minor(status.st_rdev)):
        found.append("device")
    if each.target is not None and (not stat.S_ISLNK(status.st_mode) or os.readlink(place) != each.target):
        found.append("target")
    if each.digest is not None and stat.S_ISREG(status.st_mode):
        with open(place, "rb") as file:
            digest = hashlib.new(each.digest.algorithm, file.read(), usedforsecurity=False).digest()
        if digest != each.digest.value:
            found.append("content")
    if each.capabilities is not None and stat.S_ISREG(status.st_mode):
        value = b""
        with contextlib.suppress(OSError):
            value = os.getxattr(place, "security.capability")
        if (decode_capabilities(value) if value else "") != each.capabilities:
            found.append("capabilities")
    return found


def all_differences(path: Path) -> dict[bytes, list[str]]:
    """Every owned path that is not as it should be; what may be absent is not missed."""
    found: dict[bytes, list[str]] = {}
    for each in owned_in(path):
        what = differences(each, bytes(path) + each.path)
        if what == ["missing"] and (each.optional or each.ghost):
            continue
        if what:
            found[each.path] = what
    return found


def test_the_database_is_left_alone(built: RpmRoot) -> None:
    def state() -> list[tuple[str, int, int, int]]:
        paths = sorted((built.path / "var/lib/rpm").iterdir())
        return [(path.name, path.stat().st_ino, path.stat().st_size, path.stat().st_mtime_ns) for path in paths]

    before, stamps = state(), []
    with Root(bytes(built.path)) as root:
        assert RPM.detect(root)
        stamps.append(RPM.stamp(root))
        RPM.packages(root, refuse)
        list(RPM.owned(root, refuse))
        imported_keys(root, refuse)
        stamps.append(RPM.stamp(root))
    assert state() == before
    assert stamps[0] == stamps[1]


def test_packages(built: RpmRoot) -> None:
    packages = packages_in(built.path)
    said = rpm_in(built.path, "-qa", "--qf", "%{NAME} %{EVR} %{ARCH} %{SIZE}\\n").decode().splitlines()
    assert sorted(f"{each.name} {each.version} {each.arch} {each.size}" for each in packages) == sorted(said)
    assert len(packages) == len(built.packages)
    assert {each.arch for each in packages} == {"noarch", FOREIGN}
    assert {(each.reason, each.state, each.held) for each in packages} == {("unknown", "installed", False)}


def test_paths_are_those_that_rpm_lists(built: RpmRoot) -> None:
    said = run(["rpm", "--root", built.path, "--dbpath", "/var/lib/rpm", "-qa", "--qf", "[%{FILENAMES}\\n]"])
    assert {each.path for each in owned_in(built.path)} == set(said.splitlines())


def test_everything_is_as_it_was_installed(built: RpmRoot) -> None:
    assert all_differences(built.path) == {}


def test_all_kinds_of_files_are_there(built: RpmRoot) -> None:
    owned = owned_in(built.path)
    by_path = {each.path: each for each in owned}
    assert {each.kind for each in owned} >= set(KINDS.values())
    algorithms = {each.digest.algorithm for each in owned if each.digest is not None}
    assert algorithms == {"md5", "sha1", "sha224", "sha256", "sha384", "sha512"}
    assert {each.mode for each in owned} >= {0o4755, 0o2755, 0o1777, 0o640, 0o750}
    assert by_path[b"/usr/bin/alpha-capable"].capabilities == "cap_net_admin,cap_net_raw=ep"
    assert by_path[b"/var/lib/alpha/ghost.log"].ghost
    assert not by_path[b"/etc/alpha/optional.conf"].optional
    assert by_path[b"/usr/share/doc/theta-1/README"].optional
    assert not by_path[b"/usr/share/doc/zeta-1/README"].optional
    assert sum(each.config for each in owned) == 8
    assert all(each.vouched and each.installed > 0 for each in owned)
    assert len({each.package for each in owned if each.package.startswith("delta-5.")}) == 2
    assert [each.package for each in owned if each.path == b"/usr/share/common/shared"] == ["eta"]
    names = (built.path / "usr/share/alpha/hard1", built.path / "usr/share/alpha/deep/hard3")
    assert os.path.samefile(*names)
    assert len(SINGLES) == 11


def test_changes_that_rpm_does_not_report(changed: Path) -> None:
    """`%verify(not md5 size mtime)` hides an edit from rpm -Va and missingok a deletion; the database knows of both."""
    edited = changed / "var/lib/alpha/unverified"
    edited.write_bytes(b"edited by somebody")
    (changed / "etc/alpha/optional.conf").unlink()
    (changed / "usr/share/alpha/data1").write_bytes(b"xata 1\n")
    (changed / "usr/bin/alpha-setuid").chmod(0o755)
    (changed / "usr/share/alpha/relative").unlink()
    (changed / "usr/share/alpha/relative").symlink_to("data2")
    os.removexattr(changed / "usr/bin/alpha-capable", "security.capability")
    assert all_differences(changed) == {
        b"/var/lib/alpha/unverified": ["size", "content"],
        b"/etc/alpha/optional.conf": ["missing"],
        b"/usr/share/alpha/data1": ["content"],
        b"/usr/bin/alpha-setuid": ["mode"],
        b"/usr/share/alpha/relative": ["target"],
        b"/usr/bin/alpha-capable": ["capabilities"],
    }
    verified = subprocess.run(
        ["rpm", "--root", changed, "--dbpath", "/var/lib/rpm", "-Va", "--nodeps"], capture_output=True, check=False
    )
    said = {line.split()[-1] for line in verified.stdout.splitlines()}
    assert b"/usr/share/alpha/data1" in said
    assert b"/var/lib/alpha/unverified" not in said
    assert b"/etc/alpha/optional.conf" not in said


def test_the_stamp_differs_after_a_removal(changed: Path) -> None:
    with Root(bytes(changed)) as root:
        before = RPM.stamp(root)
        rpm_in(changed, "-e", "--nodeps", "theta")
        assert RPM.stamp(root) != before
    assert "theta" not in {each.name for each in packages_in(changed)}


def test_an_imported_key_is_a_key(changed: Path) -> None:
    before = packages_in(changed)
    rpm_in(changed, "--import", RECORDED / "key.asc")
    assert packages_in(changed) == before
    with Root(bytes(changed)) as root:
        (key,) = imported_keys(root, refuse)
    assert key.fingerprint == "E704B499F8B35CDC7C64908C5DC8D5E275C262A9"
    assert key.owner == "Example Packages <packages@example.org>"
    assert key.created == 1795592935
    assert key.file == b"/var/lib/rpm/rpmdb.sqlite"


def test_merged_directories(changed: Path) -> None:
    """A path that leads through a link is where it is on the disk."""
    shutil.move(changed / "usr/lib", changed / "lib")
    (changed / "usr/lib").symlink_to("../lib")
    assert b"/lib/alpha/module" in {each.path for each in owned_in(changed)}
    assert all_differences(changed) == {}


@pytest.fixture
def by_dnf(built: RpmRoot, tmp_path: Path) -> Path:
    """A root that dnf filled from a repository of the same packages."""
    if shutil.which("dnf") is None:
        pytest.skip("dnf is not here")
    repository = tmp_path / "repository"
    repository.mkdir()
    for package in built.packages:
        if package.name.startswith(("alpha-1", "alpha-tools", "alpha-meta")):
            shutil.copy(package, repository)
    run(["createrepo_c", "-q", repository])
    root = tmp_path / "root"
    (root / "usr/bin").mkdir(parents=True)
    for place in ("etc", "dev"):
        (root / place).mkdir()
    for name in ("passwd", "group"):
        shutil.copy(built.path / "etc" / name, root / "etc" / name)
    (tmp_path / "dnf.conf").write_text(f"[main]\nreposdir={tmp_path}/none\nplugins=0\n", encoding="utf-8")
    dnf: list[str | Path] = [
        "dnf", "-y", "-q", "--config", tmp_path / "dnf.conf", f"--installroot={root}", "--releasever=1",
        "--nogpgcheck", f"--repofrompath=local,file://{repository}", "--repo=local",
    ]  # fmt: skip
    # alpha-tools needs a shell, as rpmbuild has seen in its programs.
    (tmp_path / "shell.spec").write_text(
        "Name: shell\nVersion: 1\nRelease: 1\nSummary: x\nLicense: x\nBuildArch: noarch\nProvides: /bin/sh\n"
        "%description\nx\n%files\n",
        encoding="utf-8",
    )
    run(["rpmbuild", "-bb", "--quiet", "--define", f"_topdir {tmp_path}/shell", tmp_path / "shell.spec"])
    shutil.copy(next((tmp_path / "shell/RPMS").rglob("*.rpm")), repository)
    run(["createrepo_c", "-q", repository])
    run([*dnf, "install", "alpha"])
    run([*dnf, "install", "alpha-meta"])
    run([*dnf, "mark", "remove", "alpha-meta"])
    return root


def test_what_dnf_remembers(by_dnf: Path) -> None:
    assert {each.name: (each.reason, each.origin) for each in packages_in(by_dnf)} == {
        "alpha": ("manual", "local"),
        "alpha-tools": ("auto", "local"),
        "alpha-meta": ("auto", "local"),
        "shell": ("auto", "local"),
    }
    assert all_differences(by_dnf) == {}


def test_it_works_without_root(built: RpmRoot) -> None:
    """Everything is read by a process that is nobody, and has nothing to gain from the root."""
    program = (
        "import json, os, sys\n"
        "sys.path.insert(0, sys.argv[2])\n"
        "from snapstore.system.managers.rpm import Rpm\n"
        "from snapstore.system.root import Root\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "with Root(sys.argv[1].encode()) as root:\n"
        "    told = []\n"
        "    warn = lambda path, reason: told.append(reason)\n"
        "    print(json.dumps([len(Rpm().packages(root, warn)), len(list(Rpm().owned(root, warn))), told]))\n"
    )
    repository = Path(__file__).resolve().parents[2]
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)  # pytest's own directories are closed to others
        run(["cp", "-a", built.path, f"{place}/root"])
        printed = run([sys.executable, "-c", program, f"{place}/root", repository])
    packages, owned, told = json.loads(printed)
    assert (packages, owned) == (16, len(owned_in(built.path)) - 1)
    # It is in a directory that is closed to others, so whether a link leads elsewhere is not known.
    assert told == [
        "alpha-ghosts owns '/var/lib/alpha/state/current', and where that is cannot be told: Permission denied"
    ]
