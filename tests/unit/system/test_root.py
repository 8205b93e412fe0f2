"""A root against trees that want to lead out of it, in circles, or into something that is no file."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from snapstore.errors import RequestError
from snapstore.system.root import READ_LIMIT, Root, RootError

SECRET = b"from outside\n"


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """The top of a tree; beside it lies a file that must never be seen."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "passwd").write_bytes(SECRET)
    (tmp_path / "top" / "etc").mkdir(parents=True)
    (tmp_path / "top" / "etc" / "passwd").write_bytes(b"inside\n")
    return tmp_path / "top"


@pytest.fixture
def root(top: Path) -> Iterator[Root]:
    with Root(os.fsencode(top)) as root:
        yield root


def test_it_reads_and_lists(top: Path, root: Root) -> None:
    assert root.read(b"/etc/passwd") == root.read(b"etc//./passwd") == b"inside\n"
    assert root.read(b"/etc/group") is None
    assert root.read(b"/etc/passwd/below") is None
    assert root.list(b"/") == [b"etc"]
    assert root.list(b"/etc") == [b"passwd"]
    assert root.list(b"/none") == root.list(b"/etc/passwd") == []
    assert not root.live
    with Root() as live:
        assert live.live


def test_a_root_has_to_be_a_directory(top: Path) -> None:
    for path in (top / "none", top / "etc" / "passwd"):
        with pytest.raises(RequestError, match="cannot be used as a root"):
            Root(os.fsencode(path))


@pytest.mark.parametrize(
    "target",
    [
        "/etc/passwd",
        "../../../../etc/passwd",
        "/../etc/./passwd",
        "passwd",
        "../etc/../../etc/passwd",
        "/none/../etc/passwd",
    ],
)
def test_links_lead_to_places_inside(top: Path, target: str) -> None:
    (top / "etc" / "link").symlink_to(target)
    with Root(os.fsencode(top)) as root:
        assert root.read(b"/etc/link") == b"inside\n"
        assert root.resolve(b"/etc/link") == b"/etc/passwd"
        assert root.canonical(b"/etc/link") == b"/etc/link"
        assert root.readlink(b"/etc/link") == os.fsencode(target)


def test_links_to_outside_lead_nowhere(top: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    for number, target in enumerate([str(outside), "../../outside", f"/../{outside}", "/proc/self/cwd"]):
        (top / f"dir{number}").symlink_to(target)
    with Root(os.fsencode(top)) as root:
        for number in range(4):
            path = b"/dir%d" % number
            assert root.read(path + b"/passwd") is None
            assert root.list(path) == []
            assert root.status(path, follow=True) is None
            assert root.status(path) is not None


def test_dots_stop_at_the_top(root: Root) -> None:
    assert root.read(b"/../../etc/passwd") == b"inside\n"
    assert root.resolve(b"/../..") == b"/"
    assert root.canonical(b"/..") == b"/"
    assert root.list(b"/../../..") == [b"etc"]


def test_dots_follow_what_stands_before_them(top: Path) -> None:
    (top / "usr" / "lib" / "x").mkdir(parents=True)
    (top / "usr" / "lib" / "here").write_bytes(b"right")
    (top / "here").write_bytes(b"wrong")
    (top / "x").symlink_to("usr/lib/x")
    with Root(os.fsencode(top)) as root:
        assert root.resolve(b"/x/../here") == root.canonical(b"/x/../here") == b"/usr/lib/here"
        assert root.canonical(b"/x/..") == b"/usr/lib"
        assert root.read(b"/x/../here") == b"right"
        status = root.status(b"/x/../here")
        assert status is not None
        assert status.st_size == 5
        assert root.canonical(b"/a..b/c") == b"/a..b/c"


def test_canonical_resolves_the_parent_only(top: Path) -> None:
    (top / "usr" / "bin").mkdir(parents=True)
    (top / "bin").symlink_to("usr/bin")
    (top / "usr" / "bin" / "sh").symlink_to("dash")
    with Root(os.fsencode(top)) as root:
        assert root.canonical(b"/bin/sh") == b"/usr/bin/sh"
        assert root.canonical(b"bin//sh") == b"/usr/bin/sh"
        assert root.canonical(b"/bin") == b"/bin"
        assert root.canonical(b"/") == root.canonical(b"") == root.canonical(b"//") == b"/"
        assert root.canonical(b"/none/of/this") == b"/none/of/this"


def test_loops_are_nothing(top: Path) -> None:
    (top / "loop").symlink_to("loop")
    (top / "a").symlink_to("b/x")
    (top / "b").symlink_to("a/y")
    with Root(os.fsencode(top)) as root:
        for path in (b"/loop", b"/a", b"/loop/below", b"/a/../b/c"):
            assert root.read(path) is None
            assert root.list(path) == []
            assert root.status(path, follow=True) is None
        assert root.status(b"/loop") is not None
        assert root.status(b"/loop/below") is None
        assert root.readlink(b"/loop") == b"loop"
        assert root.readlink(b"/loop/below") is None
        with pytest.raises(RootError) as caught:
            root.canonical(b"/loop/below")
        assert caught.value.errno == errno.ELOOP


def test_many_links_are_not_too_many(top: Path) -> None:
    (top / "0").symlink_to("etc")
    for number in range(1, 50):
        (top / str(number)).symlink_to(str(number - 1))
    with Root(os.fsencode(top)) as root:
        assert root.read(b"/39/passwd") == b"inside\n"
        assert root.read(b"/49/passwd") is None


def test_what_is_no_regular_file_is_refused(top: Path) -> None:
    os.mkfifo(top / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        here = os.getcwd()
        os.chdir(top)  # the name of a socket has to be short
        try:
            listening.bind("socket")
        finally:
            os.chdir(here)
        with Root(os.fsencode(top)) as root:
            for path in (b"/fifo", b"/socket", b"/etc", b"/"):
                with pytest.raises(RootError, match="no regular file"):
                    root.read(path)
            for path in (b"/fifo", b"/socket"):
                assert root.list(path) == []


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="makes a device node, which needs root")
def test_a_device_is_not_even_opened(top: Path) -> None:
    os.mknod(top / "tty", 0o20666, os.makedev(4, 255))
    with Root(os.fsencode(top)) as root, pytest.raises(RootError, match="no regular file"):
        root.read(b"/tty")


def test_sizes_are_bounded(top: Path, root: Root) -> None:
    assert root.read(b"/etc/passwd", limit=7) == b"inside\n"
    with pytest.raises(RootError, match="more than 6 bytes"):
        root.read(b"/etc/passwd", limit=6)
    with (top / "huge").open("wb") as file:
        file.truncate(READ_LIMIT << 10)
    with pytest.raises(RootError) as caught:
        root.read(b"/huge", limit=1 << 20)
    assert caught.value.errno == errno.EFBIG


def test_names_that_nothing_can_have(root: Root) -> None:
    for path in (b"/etc/pass\0wd", b"/\0/etc", b"/etc/" + b"n" * 300, b"/" + b"n" * 300 + b"/x"):
        assert root.read(path) is None
        assert root.list(path) == []
        assert root.status(path) is None
        assert root.status(path, follow=True) is None
        assert root.readlink(path) is None
        assert root.resolve(path) == root.canonical(path) == path


def make_deep(top: Path, name: bytes, depth: int) -> None:
    """Nothing; directories lie in each other `depth` times, with a file and a link to it in the last."""
    fd = os.open(top, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=fd)
        inner = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    file = os.open("file", os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=fd)
    os.write(file, b"deep")
    os.close(file)
    os.symlink("file", "link", dir_fd=fd)
    os.close(fd)


def test_paths_longer_than_the_kernel_takes(top: Path) -> None:
    name = b"n" * 200
    make_deep(top, name, 30)
    with Root(os.fsencode(top)) as root:
        path = (b"/" + name) * 30
        assert root.read(path + b"/file") == root.read(path + b"/link") == b"deep"
        assert root.list(path) == [b"file", b"link"]
        assert root.readlink(path + b"/link") == b"file"
        assert root.resolve(path + b"/link") == path + b"/file"
    subprocess.run(["rm", "-rf", os.fsencode(top)], check=True)


def test_depth_is_bounded(root: Root) -> None:
    with pytest.raises(RootError, match="too deep"):
        root.read(b"/n" * 5000)
    with pytest.raises(RootError, match="too deep"):
        root.status(b"/n" * 5000)


UNREADABLE = """
import ctypes, os, sys
from snapstore.system.root import Root, RootError

if os.geteuid() == 0:
    libc = ctypes.CDLL(None, use_errno=True)
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
root = Root(os.fsencode(sys.argv[1]))
asked = ((b"/secret", root.read), (b"/closed", root.list), (b"/closed/x", root.read), (b"/closed/x", root.status))
for path, ask in asked:
    try:
        print(ask(path))
    except RootError as error:
        print(os.strerror(error.errno))
"""


def test_what_may_not_be_read_is_an_error_and_not_an_absence(tmp_path: Path, top: Path) -> None:
    for directory in (top, *top.parents):
        if os.stat(directory).st_uid == os.geteuid() and directory != Path("/"):
            directory.chmod(directory.stat().st_mode | 0o011)
        if directory == tmp_path.parents[1]:
            break
    (top / "secret").write_bytes(b"x")
    (top / "secret").chmod(0)
    (top / "closed").mkdir()
    (top / "closed" / "x").write_bytes(b"x")
    (top / "closed").chmod(0)
    top.chmod(0o755)
    shown = subprocess.run(
        [sys.executable, "-c", UNREADABLE, str(top)], capture_output=True, check=False, cwd=Path(__file__).parents[3]
    )
    (top / "closed").chmod(0o700)
    assert shown.stderr == b""
    assert shown.stdout.splitlines() == [b"Permission denied"] * 4


def test_a_root_is_where_its_descriptor_is(top: Path, tmp_path: Path, root: Root) -> None:
    top.rename(tmp_path / "moved")
    (tmp_path / "top").symlink_to("outside")
    assert root.read(b"/passwd") is None
    assert root.read(b"/etc/passwd") == b"inside\n"


def test_a_link_that_appears_later_is_not_followed(top: Path, tmp_path: Path, root: Root) -> None:
    assert root.resolve(b"/etc") == b"/etc"
    (top / "etc").rename(top / "was")
    (top / "etc").symlink_to(tmp_path / "outside")
    assert root.read(b"/etc/passwd") is None
    assert root.list(b"/etc") == []
