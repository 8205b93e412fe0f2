"""Verification of what is beyond contents, and of trees that no path reaches."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from snapstore.errors import CancelledError
from snapstore.flow import Cancellation
from snapstore.model import Snapshot, Warned
from snapstore.ops import restored
from snapstore.ops.progress import Silent
from snapstore.ops.restore import RestoreOptions
from tests.drive import Machine, machine
from tests.oddities import allow_depth, raw_acl, set_flags, unbuild, write

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: owners and attributes of the system")
ACL = b"system.posix_acl_access"
NO_ID = 0xFFFFFFFF


class Scene:
    def __init__(self, base: bytes) -> None:
        self.root, self.out = base + b"/tree", base + b"/out"
        os.makedirs(self.root + b"/sub")
        write(self.root + b"/file", b"content")
        os.link(self.root + b"/file", self.root + b"/sub/second")
        os.symlink(b"file", self.root + b"/link")
        os.setxattr(self.root + b"/sub", b"user.note", b"one")
        self.client: Machine = machine(base + b"/machine")
        self.snapshot: Snapshot = self.client.take(self.root).snapshot
        self.client.restore(self.snapshot, self.out, strip=self.root)

    def verify(self) -> list[tuple[bytes, str]]:
        found = self.client.verify(self.snapshot, self.out, strip=self.root)
        return [(each.path, each.reason) for each in found]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(os.fsencode(tmp_path))


def set_acl(path: bytes) -> None:
    mode = os.stat(path).st_mode
    entries = ((1, mode >> 6 & 7, NO_ID), (2, 4, 12345), (4, mode >> 3 & 7, NO_ID), (16, mode >> 3 & 7, NO_ID))
    os.setxattr(path, ACL, raw_acl(*entries, (32, mode & 7, NO_ID)))


def separate(path: bytes) -> None:
    """The same file as another inode."""
    status = os.stat(path)
    os.rename(path, path + b"~")
    write(path, b"content")
    os.chmod(path, status.st_mode & 0o7777)
    os.unlink(path + b"~")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


TAMPERINGS: dict[str, tuple[bytes, Callable[[bytes], object], str]] = {
    "attribute changed": (b"sub", lambda path: os.setxattr(path, b"user.note", b"two"), "user.note differs"),
    "attribute gone": (b"sub", lambda path: os.removexattr(path, b"user.note"), "user.note differs"),
    "ACL": (b"sub", set_acl, "its ACL is user"),
    "flag": (b"sub", lambda path: set_flags(path, "d"), "its flags are d, not none"),
    "another inode": (b"sub/second", separate, "another inode than file"),
}


@pytest.mark.parametrize("kind", TAMPERINGS)
def test_tampering_is_found(scene: Scene, kind: str) -> None:
    assert scene.verify() == []
    path, tamper, reason = TAMPERINGS[kind]
    before = os.stat(os.path.dirname(scene.out + b"/" + path))
    tamper(scene.out + b"/" + path)
    os.utime(os.path.dirname(scene.out + b"/" + path), ns=(before.st_atime_ns, before.st_mtime_ns))
    ((found, why),) = scene.verify()
    assert found == path
    assert reason in why


@root_only
@pytest.mark.root
def test_owners_and_privileged_attributes(scene: Scene) -> None:
    os.chown(scene.out + b"/link", 4321, 1234, follow_symlinks=False)
    os.setxattr(scene.out + b"/sub", b"trusted.more", b"x")
    os.setxattr(scene.out + b"/file", b"security.capability", struct.pack("<IIIII", 0x02000000, 1 << 10, 0, 0, 0))
    assert scene.verify() == [
        (b"file", "its attribute security.capability differs"),
        (b"link", "its owner is 4321:1234, not 0:0"),
        (b"sub", "its attribute trusted.more differs"),
        (b"sub/second", "its attribute security.capability differs"),
    ]


@root_only
@pytest.mark.root
def test_without_root_owners_are_not_compared(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    os.chown(scene.out + b"/link", 4321, 1234, follow_symlinks=False)
    os.setxattr(scene.out + b"/sub", b"trusted.more", b"x")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert scene.verify() == []


def test_links_in_the_target_are_not_followed(scene: Scene) -> None:
    os.rename(scene.out + b"/sub", scene.out + b"-elsewhere")
    os.symlink(scene.out + b"-elsewhere", scene.out + b"/sub")
    found = dict(scene.verify())
    assert found[b"sub"] == "it is no dir"
    assert "not there" in found[b"sub/second"]


def test_a_tree_deeper_than_any_path(tmp_path: Path) -> None:
    base = os.fsencode(tmp_path)
    root, out = base + b"/tree", base + b"/out"
    allow_depth()
    os.mkdir(root)
    name = b"d" * 200
    fd = os.open(root, os.O_RDONLY)
    for _ in range(40):
        os.mkdir(name, dir_fd=fd)
        deeper = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = deeper
    for each in (b"one", b"two"):
        file = os.open(each, os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=fd)
        os.write(file, each)
        os.close(file)
    os.close(fd)
    client = machine(base + b"/machine")
    snapshot = client.take(root).snapshot
    client.restore(snapshot, out, strip=root)
    assert client.verify(snapshot, out, strip=root) == ()
    fd = os.open(out, os.O_RDONLY)
    for _ in range(40):
        deeper = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = deeper
    os.chmod("two", 0o600, dir_fd=fd)
    os.close(fd)
    assert client.verify(snapshot, out, strip=root) == (
        Warned(b"/".join([name] * 40 + [b"two"]), "its mode is 0600, not 0644"),
    )
    unbuild(root)
    unbuild(out)


def test_differences_are_counted_beyond_those_kept(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restored, "WARNING_LIMIT", 2)
    options = RestoreOptions(target=scene.out + b"/nowhere", strip=scene.root)
    verified = restored.verify_restore(
        scene.client.store.view(), scene.snapshot, options=options, progress=Silent(), cancellation=Cancellation()
    )
    assert (len(verified.found), verified.count) == (2, 5)


def test_descriptors_are_closed(scene: Scene) -> None:
    before = os.listdir("/proc/self/fd")
    scene.verify()
    options = RestoreOptions(target=scene.out, strip=scene.root)
    stopped = Cancellation()
    stopped.cancel()
    with pytest.raises(CancelledError):
        restored.verify_restore(
            scene.client.store.view(), scene.snapshot, options=options, progress=Silent(), cancellation=stopped
        )
    assert os.listdir("/proc/self/fd") == before
