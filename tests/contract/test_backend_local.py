"""What only a backend on a file system can get wrong: planted files, kills, full and read-only disks."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from snapstore.backends import LocalBackend
from snapstore.errors import (
    CorruptObjectError,
    MissingObjectError,
    NoStoreError,
    ObjectExistsError,
    ReadOnlyStoreError,
    StoreError,
    StoreFullError,
)
from tests.contract.conftest import Make, anonymous_or_named, both_ways, put, stage_and_publish
from tests.mounts import mounted_tmpfs

PREFIXES = ("packs/00/", "packs/01/", "refs/")
NAME = "packs/00/aa"


@pytest.fixture
def backend(root: Path) -> Iterator[LocalBackend]:
    with LocalBackend(os.fsencode(root)) as backend:
        backend.prepare(PREFIXES)
        yield backend


# Files without a name


@both_ways
def test_named_files_where_the_file_system_has_no_others(
    root: Path, backend: LocalBackend, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_open = os.open

    def without(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        return real_open(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", without)
    assert make(backend, NAME, b"content")
    assert backend.get(NAME) == b"content"
    assert os.listdir(root / "tmp") == []


def test_named_files_where_proc_is_missing(root: Path, backend: LocalBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "exists", lambda path: path != "/proc/self/fd")
    with backend.stage() as staged:
        staged.write(b"content")
        assert len(os.listdir(root / "tmp")) == 1
        assert list(backend.list("")) == []
        staged.publish(NAME)
    assert backend.get(NAME) == b"content"
    assert os.listdir(root / "tmp") == []


@anonymous_or_named
def test_a_killed_writer_leaves_no_object(root: Path, backend: LocalBackend, *, anonymous: bool) -> None:
    script = (
        "import os, signal, sys\n"
        "from snapstore.backends import LocalBackend\n"
        f"backend = LocalBackend(os.fsencode(sys.argv[1]), anonymous={anonymous})\n"
        "staged = backend.stage()\n"
        "staged.write(b'x' * 100000)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    source = Path(__file__).parents[2]
    ended = subprocess.run([sys.executable, "-c", script, os.fsdecode(root)], cwd=source, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert list(backend.list("")) == []
    left = [path for path in root.rglob("*") if path.is_file()]
    assert len(left) == (0 if anonymous else 1)


def test_objects_are_private_files(root: Path, backend: LocalBackend) -> None:
    backend.put(NAME, [b"content"])
    assert stat.S_IMODE((root / NAME).stat().st_mode) == 0o600
    assert stat.S_IMODE((root / "packs/00").stat().st_mode) == 0o700
    assert (root / NAME).stat().st_nlink == 1


def test_no_descriptor_is_left_behind(root: Path) -> None:
    before = set(os.listdir("/proc/self/fd"))
    with LocalBackend(os.fsencode(root)) as backend:
        backend.prepare(PREFIXES)
        for make in (put, stage_and_publish):
            make(backend, f"packs/00/{make.__name__}", b"content")
            make(backend, f"packs/00/{make.__name__}", b"content")
            with pytest.raises(ObjectExistsError):
                make(backend, f"packs/00/{make.__name__}", b"other")
        with pytest.raises(MissingObjectError):
            backend.get("nowhere/at/all")
        assert len(list(backend.list(""))) == 2
        assert bytes(backend.view("packs/00/put")) == b"content"
        backend.stage().discard()
        backend.delete("packs/00/put")
        backend.barrier()
    assert set(os.listdir("/proc/self/fd")) == before


# What does not belong there


def test_files_that_are_no_objects_are_passed_over(root: Path, backend: LocalBackend) -> None:
    backend.put(NAME, [b"content"])
    for stranger in ("README", "packs/00/.hidden", "packs/00/Upper", "packs/00/a b", "refs/x~"):
        (root / stranger).write_bytes(b"x")
    (root / os.fsdecode(b"packs/00/\xff")).write_bytes(b"x")
    (root / "a/b/c/d/e").mkdir(parents=True)
    (root / "a/b/c/d/e/f").write_bytes(b"x")
    (root / "packs/00/link").symlink_to(root / NAME)
    (root / "linked").symlink_to(root / "packs")
    os.mkfifo(root / "packs/00/fifo")
    assert [listed.name for listed in backend.list("")] == [NAME]


def test_a_link_in_place_of_a_directory_is_refused(root: Path, backend: LocalBackend, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "aa").write_bytes(b"secret")
    (root / "packs/00").rmdir()
    (root / "packs/00").symlink_to(outside)
    asks: list[Callable[[], object]] = [
        lambda: backend.get(NAME),
        lambda: backend.exists(NAME),
        lambda: put(backend, "packs/00/bb", b"content"),
        lambda: stage_and_publish(backend, "packs/00/bb", b"content"),
        lambda: backend.delete(NAME),
        lambda: list(backend.list("packs/00/")),
        lambda: backend.prepare(PREFIXES),
    ]
    for ask in asks:
        with pytest.raises(StoreError, match="not a directory"):
            ask()
    assert [path.name for path in outside.iterdir()] == ["aa"]


@pytest.mark.parametrize("what", ["link", "dangling link", "FIFO", "socket"])
def test_something_else_in_place_of_an_object_is_damage(
    root: Path, backend: LocalBackend, tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    if what == "link":
        (root / NAME).symlink_to(tmp_path / "secret")
    elif what == "dangling link":
        (root / NAME).symlink_to(tmp_path / "nowhere")
    elif what == "FIFO":
        os.mkfifo(root / NAME)
    else:
        monkeypatch.chdir(root / "packs/00")  # socket addresses are short
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind("aa")
    assert not backend.exists(NAME)
    with pytest.raises(CorruptObjectError, match="not a regular file"):
        backend.get(NAME)
    with pytest.raises(CorruptObjectError, match="not a regular file"):
        put(backend, NAME, b"secret")
    assert list(backend.list("")) == []
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("path", ["file", "file/below", "nowhere", "nowhere/below"])
def test_where_there_is_no_store(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    with LocalBackend(os.fsencode(tmp_path / path)) as backend:
        asks: list[Callable[[], object]] = [
            lambda: backend.get("config"),
            lambda: backend.exists("config"),
            lambda: list(backend.list("")),
            lambda: put(backend, "config", b"content"),
            backend.stage,
            lambda: backend.delete("config"),
        ]
        for ask in asks:
            with pytest.raises(NoStoreError, match=path):
                ask()
        if path.startswith("file"):
            with pytest.raises(NoStoreError, match=path):
                backend.prepare(PREFIXES)
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_a_closed_backend_says_so(root: Path, backend: LocalBackend) -> None:
    backend.close()
    backend.close()
    with pytest.raises(StoreError, match="closed"):
        backend.get(NAME)
    assert root.is_dir()


def test_any_path_may_hold_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with LocalBackend(b"odd \xff\n: name") as backend:
        backend.prepare(PREFIXES)
        monkeypatch.chdir("/")
        backend.put(NAME, [b"content"])
        assert backend.path == os.fsencode(tmp_path) + b"/odd \xff\n: name"
    (tmp_path / "link").symlink_to(os.fsdecode(b"odd \xff\n: name"))
    with LocalBackend(os.fsencode(tmp_path / "link")) as again:
        assert again.get(NAME) == b"content"


# Full disks, and disks that may not be written


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    with mounted_tmpfs(os.fsencode(disk), size="1m"):
        yield disk


@pytest.mark.root
@both_ways
@anonymous_or_named
def test_a_full_disk(small_disk: Path, make: Make, *, anonymous: bool) -> None:
    with LocalBackend(os.fsencode(small_disk), anonymous=anonymous) as backend:
        backend.prepare(PREFIXES)
        make(backend, NAME, b"content")
        with pytest.raises(StoreFullError, match="No space left"):
            make(backend, "packs/00/large", bytes(2 << 20))
        assert [listed.name for listed in backend.list("")] == [NAME]
        assert make(backend, "packs/00/medium", bytes(700 << 10))  # what did not fit has left no trace
        assert backend.get(NAME) == b"content"


@pytest.mark.root
@both_ways
@anonymous_or_named
def test_a_disk_mounted_read_only(small_disk: Path, make: Make, *, anonymous: bool) -> None:
    with LocalBackend(os.fsencode(small_disk), anonymous=anonymous) as backend:
        backend.prepare(PREFIXES)
        make(backend, NAME, b"content")
    subprocess.run(["mount", "-o", "remount,ro", os.fsdecode(small_disk)], check=True)
    with LocalBackend(os.fsencode(small_disk), anonymous=anonymous) as backend:
        check_refused(backend, make)
        assert bytes(backend.view(NAME)) == b"content"


@both_ways
@anonymous_or_named
def test_a_directory_of_someone_else(make: Make, *, anonymous: bool) -> None:
    directory = Path(tempfile.mkdtemp())
    root = directory / "store"
    try:
        with LocalBackend(os.fsencode(root), anonymous=anonymous) as backend:
            backend.prepare(PREFIXES)
            make(backend, NAME, b"content")
        for path in [directory, root, *root.rglob("*")]:
            path.chmod(0o555)
        with as_nobody(), LocalBackend(os.fsencode(root), anonymous=anonymous) as backend:
            check_refused(backend, make)
    finally:
        for path in [directory, root, *root.rglob("*")]:
            path.chmod(0o755)
        shutil.rmtree(directory)


def check_refused(backend: LocalBackend, make: Make) -> None:
    with pytest.raises(ReadOnlyStoreError):
        make(backend, "packs/00/bb", b"content")
    with pytest.raises(ReadOnlyStoreError):
        backend.delete(NAME)
    with pytest.raises(ReadOnlyStoreError):
        backend.prepare(["more/"])
    assert backend.get(NAME) == b"content"
    assert [listed.name for listed in backend.list("")] == [NAME]


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Without root's rights; whoever runs without them anyway stays who it is."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


# What is no object


@pytest.mark.parametrize(
    "name", [".hidden", "UPPER", "packs/UPPER", "packs/00/.x", "plain", "dir/", "packs/02/", ".d/"]
)
def test_everything_but_our_own_prefixes_counts(root: Path, backend: LocalBackend, name: str) -> None:
    assert backend.is_empty(besides=PREFIXES)
    assert not backend.is_empty()
    if name.endswith("/"):
        (root / name).mkdir()
    else:
        (root / name).touch()
    assert not backend.is_empty(besides=PREFIXES)


def test_what_a_dead_writer_left_is_nothing_and_goes_away(root: Path) -> None:
    with LocalBackend(os.fsencode(root), anonymous=False) as backend:
        backend.prepare(PREFIXES)
        (root / "tmp").mkdir()
        names = ["." + letter * 32 for letter in "abcd"]
        old, young, busy, link = (root / "tmp" / name for name in names)
        for path in (old, young, busy):
            path.write_bytes(b"left")
        link.symlink_to(young)
        assert backend.is_empty(besides=PREFIXES)
        stranger = root / "tmp" / "mine"
        stranger.touch()
        assert not backend.is_empty(besides=PREFIXES)
        long_ago = (0, 10**9)
        for path in (old, busy, link, stranger):
            os.utime(path, long_ago, follow_symlinks=False)
        with busy.open("rb") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            assert put(backend, NAME, b"content")
        assert sorted(path.name for path in (root / "tmp").iterdir()) == [*sorted(names[1:]), "mine"]


def test_a_temporary_is_locked_while_it_lives(root: Path) -> None:
    with LocalBackend(os.fsencode(root), anonymous=False) as backend:
        backend.prepare(PREFIXES)
        with backend.stage():
            (temporary,) = (root / "tmp").iterdir()
            os.utime(temporary, (0, 0))
            with LocalBackend(os.fsencode(root), anonymous=False) as other:
                put(other, NAME, b"content")
            assert temporary.exists()
