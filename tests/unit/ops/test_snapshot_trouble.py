"""Sources that cannot be read, or change under the reader: a warning with the path, and the rest is saved."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from snapstore import kernel
from snapstore.backends import LocalBackend
from snapstore.errors import RequestError
from snapstore.kernel import ENTRY
from snapstore.ops import ingest as ingests
from snapstore.ops.snapshot import SnapshotResult
from tests.compare import compare
from tests.drive import Machine, entries, machine, tree_of
from tests.oddities import noise

NOBODY = 65534


@contextmanager
def as_nobody() -> Iterator[None]:
    """The process without root's rights to every file; what it needs has to be imported by then."""
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def write(path: bytes, content: bytes = b"x") -> bytes:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)
    return path


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    monkeypatch.setattr("snapstore.ops.running.SETTLED_NANOSECONDS", -(1 << 70))
    return os.fsencode(tmp_path)


def warned(taken: SnapshotResult, root: bytes) -> list[tuple[bytes, str]]:
    return sorted((each.path.removeprefix(root + b"/"), each.reason) for each in taken.warnings)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else and back")
def test_what_may_not_be_read(base: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        top = os.fsencode(directory)
        os.chmod(top, 0o755)
        root = top + b"/tree"
        write(root + b"/readable", b"saved")
        for name, content in ((b"/secret", b"12345"), (b"/large-secret", noise(2_000_000, 1))):
            os.chmod(write(root + name, content), 0o600)
        write(root + b"/closed/inside")
        os.chmod(root + b"/closed", 0o700)
        os.mkdir(top + b"/nobody")
        os.chown(top + b"/nobody", NOBODY, NOBODY)
        machine(base + b"/rehearsal").take(root)
        with as_nobody():
            client = machine(top + b"/nobody/machine", LocalBackend(top + b"/nobody/store"))
            first, second = client.take(root), client.take(root)
            with pytest.raises(RequestError, match=r"closed cannot be read"):
                client.take(root + b"/closed")
        # The second run warns again: nothing unread is ever taken for known.
        for taken in (first, second):
            assert warned(taken, root) == [(b"closed", "EACCES"), (b"large-secret", "EACCES"), (b"secret", "EACCES")]
            assert taken.snapshot.totals.warnings == 3
        assert tree_of(first) == tree_of(second)
        result = client.restore(first.snapshot, base + b"/out", strip=root)
        assert sorted(os.listdir(base + b"/out")) == [b"closed", b"readable"]
        assert (len(result.warnings), result.skipped) == (3, 2)
        assert client.verify(first.snapshot, base + b"/out", strip=root) == ()
        # And what can be read by now is read.
        assert client.take(root).warnings == ()


Change = Callable[[bytes], object]


def vanish(path: bytes) -> None:
    os.unlink(path)


def grow(path: bytes) -> None:
    with open(path, "ab") as file:
        file.write(b"more")


def shrink(path: bytes) -> None:
    os.truncate(path, os.stat(path).st_size // 2)


def rewrite(path: bytes) -> None:
    """Same size and time, other bytes."""
    before = os.stat(path)
    with open(path, "r+b") as file:
        file.write(b"ZZ")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def to_directory(path: bytes) -> None:
    os.unlink(path)
    os.mkdir(path)


def to_link(path: bytes) -> None:
    os.unlink(path)
    os.symlink(b"/etc/passwd", path)


def to_fifo(path: bytes) -> None:
    os.unlink(path)
    os.mkfifo(path)


CHANGES: dict[str, tuple[Change, bool, bool]] = {
    # how, whether the name is in the snapshot all the same: small, large
    "vanish": (vanish, False, False),
    "grow": (grow, True, True),
    "shrink": (shrink, True, True),
    "rewrite": (rewrite, True, True),
    "directory": (to_directory, False, True),
    "link": (to_link, False, False),
    "fifo": (to_fifo, False, True),
}


@pytest.mark.parametrize("size", [5_000, 3_000_000], ids=["small", "large"])
@pytest.mark.parametrize("how", CHANGES)
def test_files_that_change_between_listing_and_reading(
    base: bytes, monkeypatch: pytest.MonkeyPatch, how: str, size: int
) -> None:
    change, small_stays, large_stays = CHANGES[how]
    root = base + b"/tree"
    write(root + b"/before", b"1")
    victim = write(root + b"/d/victim", noise(size, 1))
    write(root + b"/z", b"2")
    client = machine(base + b"/machine")
    scan = kernel.scan_directory
    inode = os.stat(root + b"/d").st_ino
    done: list[bool] = []

    def scanned(fd: int) -> tuple[bytes, bytes, tuple[int, ...], int]:
        found = scan(fd)
        if os.fstat(fd).st_ino == inode and not done:
            done.append(True)
            change(victim)
        return found

    monkeypatch.setattr(kernel, "scan_directory", scanned)
    taken = client.take(root)
    assert done
    ((path, reason),) = warned(taken, root)
    assert path == b"d/victim"
    assert reason
    assert "\n" not in reason
    found = entries(client, tree_of(taken))
    assert {b"before", b"z"} < set(found)
    assert (b"d/victim" in found) == (small_stays if size < 1_000_000 else large_stays)
    # Nothing of that is trusted: the next snapshot is as good as one without a memory.
    again = client.take(root)
    assert again.warnings == ()
    assert tree_of(again) == tree_of(Machine(client.store, base + b"/fresh").take(root))
    client.restore(again.snapshot, base + b"/out", strip=root)
    assert compare(root, base + b"/out") == []


@pytest.mark.parametrize("how", ["grow", "shrink", "rewrite", "vanish"])
def test_large_files_that_change_in_the_middle(base: bytes, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    change = CHANGES[how][0]
    root = base + b"/tree"
    victim = write(root + b"/victim", noise(9_000_000, 1))
    client = machine(base + b"/machine")
    read_into = ingests._RangeReader.read_into
    reads: list[int] = []

    def reading(self: ingests._RangeReader, buffer: memoryview) -> int:
        reads.append(1)
        if len(reads) == 2:
            change(victim)
        return read_into(self, buffer)

    monkeypatch.setattr(ingests._RangeReader, "read_into", reading)
    taken = client.take(root)
    ((path, _),) = warned(taken, root)
    assert path == b"victim"
    entry = entries(client, tree_of(taken))[b"victim"]
    assert entry.size == (4_500_000 if how == "shrink" else 9_000_000)
    client.restore(taken.snapshot, base + b"/out", strip=root)
    assert client.verify(taken.snapshot, base + b"/out", strip=root) == ()
    again = client.take(root)
    assert again.warnings == ()
    assert again.unchanged == 0


def test_a_sparse_file_that_shrinks_in_the_middle(base: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    root = base + b"/tree"
    victim = write(root + b"/victim", noise(65536, 1))
    os.truncate(victim, 8 << 20)
    with open(victim, "r+b") as file:
        file.seek(6 << 20)
        file.write(noise(65536, 2))
    client = machine(base + b"/machine")
    read_into = ingests._RangeReader.read_into
    reads: list[int] = []

    def reading(self: ingests._RangeReader, buffer: memoryview) -> int:
        reads.append(1)
        if len(reads) == 2:
            os.truncate(victim, 1 << 20)
        return read_into(self, buffer)

    monkeypatch.setattr(ingests._RangeReader, "read_into", reading)
    taken = client.take(root)
    assert [path for path, _ in warned(taken, root)] == [b"victim"]
    client.restore(taken.snapshot, base + b"/out", strip=root)
    assert client.verify(taken.snapshot, base + b"/out", strip=root) == ()


def test_directories_that_vanish(base: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    root = base + b"/tree"
    os.makedirs(root + b"/a")
    os.makedirs(root + b"/b")
    write(root + b"/c/file")
    client = machine(base + b"/machine")
    scan = kernel.scan_directory

    def scanned(fd: int) -> tuple[bytes, bytes, tuple[int, ...], int]:
        found = scan(fd)
        if b"a\0b\0c\0" in found[0]:
            os.rmdir(root + b"/a")
            os.rmdir(root + b"/b")
            os.symlink(b"c", root + b"/b")
        return found

    monkeypatch.setattr(kernel, "scan_directory", scanned)
    taken = client.take(root)
    assert [path for path, _ in warned(taken, root)] == [b"a", b"b"]
    assert set(entries(client, tree_of(taken))) == {b"c", b"c/file"}
    again = client.take(root)
    assert set(entries(client, tree_of(again))) == {b"b", b"c", b"c/file"}


def test_an_entry_that_cannot_be_examined(base: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    root = base + b"/tree"
    write(root + b"/a")
    write(root + b"/b")
    scan = kernel.scan_directory

    def scanned(fd: int) -> tuple[bytes, bytes, tuple[int, ...], int]:
        names, records, devices, newest = scan(fd)
        return names, ENTRY.pack(*[0] * 13, 5, 0) + records[ENTRY.size :], devices, newest

    client = machine(base + b"/machine")
    with monkeypatch.context() as patch:
        patch.setattr(kernel, "scan_directory", scanned)
        for _ in range(2):
            taken = client.take(root)
            assert warned(taken, root) == [(b"a", "EIO")]
            assert set(entries(client, tree_of(taken))) == {b"b"}
    assert set(entries(client, tree_of(client.take(root)))) == {b"a", b"b"}


# -- roots -------------------------------------------------------------------------------------------------------------


def test_roots_that_cannot_be(base: bytes) -> None:
    client = machine(base + b"/machine")
    os.mkfifo(base + b"/fifo")
    os.symlink(b"nowhere", base + b"/dangling")
    write(base + b"/file")
    for root in (b"/fifo", b"/dangling", b"/missing", b"/file/below"):
        with pytest.raises(RequestError, match=r"cannot be read|neither a directory nor"):
            client.take(base + root)
    with pytest.raises(RequestError):
        client.take(b"/dev/null")
    assert client.store.finals().snapshots() == []
    assert [*client.store.backend.list("sessions/")] == []


def test_roots_that_are_links_or_files(base: bytes) -> None:
    client = machine(base + b"/machine")
    write(base + b"/tree/file", b"content")
    os.symlink(b"tree", base + b"/link")
    os.symlink(b"tree/file", base + b"/file-link")
    straight = client.take(base + b"/tree")
    assert tree_of(client.take(base + b"/link")) == tree_of(straight)
    assert tree_of(client.take(base + b"//tree/.")) == tree_of(straight)
    os.setxattr(base + b"/tree/file", b"user.x", b"y")
    os.chmod(base + b"/tree/file", 0o640)
    for name in (b"/tree/file", b"/file-link"):
        taken = client.take(base + name)
        client.restore(taken.snapshot, base + b"/out" + name)
        restored = base + b"/out" + name + base + name
        assert os.getxattr(restored, b"user.x") == b"y"
        assert os.stat(restored).st_mode & 0o777 == 0o640
        assert os.stat(restored).st_mtime_ns == os.stat(base + b"/tree/file").st_mtime_ns
