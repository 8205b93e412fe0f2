"""Changes to make to a root, as data: what is done, and what an audit has to say of it afterwards.

A mutation names every path that it makes, changes or takes away, with the class and the changes that each must be
reported with; nothing else in the report may differ from the one before. Paths are absolute within the root, and none
of them leads through an absolute link, so that nothing outside the root is ever touched.
"""

from __future__ import annotations

import os
import shutil
import socket
import stat
import struct
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from tests.system.roots import in_root

Change = Callable[[bytes], None]
"""Makes a change to the root at that path."""

ACL = b"system.posix_acl_access"


@dataclass(frozen=True, slots=True)
class Said:
    """What a report says of one path: its class, and in what it differs."""

    cls: str
    changes: tuple[str, ...] = ()


SILENT = Said("pristine")
MISSING = Said("missing")
UNMANAGED = Said("unmanaged")
GENERATED = Said("generated")
EXCLUDED = Said("excluded")


def changed(*changes: str) -> Said:
    """What is said of a packaged path that differs in `changes`."""
    return Said("changed", changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    """One change: its name, how it is made, and what is said of each path concerned.

    `beside` are paths whose numbers may differ afterwards while what is said of them stays: databases that a tool
    writes, directories whose contents are counted. `quiet`: packages and their databases know nothing of it, so that
    nothing may be reported.
    """

    name: str
    make: Change
    expected: Mapping[bytes, Said]
    beside: tuple[bytes, ...] = field(default=())

    @property
    def quiet(self) -> bool:
        """Whether it is no change of the system, so that to report it would be wrong."""
        return all(said == SILENT for said in self.expected.values())

    @property
    def by_rule(self) -> bool:
        """Whether rules account for all of it, so that it is in no list of changes: nobody has found anything then."""
        return not self.quiet and all(said in (SILENT, GENERATED, EXCLUDED) for said in self.expected.values())


def one(
    name: str, path: bytes, make: Callable[[bytes], None], said: Said, *, beside: tuple[bytes, ...] = ()
) -> Mutation:
    """A mutation of a single path; `make` is given where that is outside the root."""
    return Mutation(name=name, make=lambda root: make(root + path), expected={path: said}, beside=beside)


def both(*makes: Callable[[bytes], None]) -> Callable[[bytes], None]:
    """One after the other, at the same path."""

    def make(path: bytes) -> None:
        for each in makes:
            each(path)

    return make


# -- content --------------------------------------------------------------------------------------------------------


def flip_byte(path: bytes) -> None:
    """One bit in the middle differs; size and times are as they were."""
    status = os.stat(path)
    with open(path, "r+b") as stream:
        stream.seek(status.st_size // 2)
        byte = stream.read(1)[0]
        stream.seek(status.st_size // 2)
        stream.write(bytes([byte ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def append(path: bytes) -> None:
    """A line more."""
    with open(path, "ab") as stream:
        stream.write(b"# appended\n")


def truncate(path: bytes) -> None:
    """Nothing is left in it."""
    os.truncate(path, 0)


def remove(path: bytes) -> None:
    """It is gone, with everything below it."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)


def write(content: bytes, *, mode: int = 0o644) -> Callable[[bytes], None]:
    """A regular file with that content, in place of whatever was there."""

    def make(path: bytes) -> None:
        if os.path.lexists(path):
            remove(path)
        with open(path, "wb") as stream:
            stream.write(content)
        os.chmod(path, mode)

    return make


def replace_by_copy(path: bytes) -> None:
    """Another inode with the same content, owner, mode and times."""
    shutil.copy2(path, path + b".copied")
    status = os.stat(path)
    os.chown(path + b".copied", status.st_uid, status.st_gid)
    os.chmod(path + b".copied", stat.S_IMODE(status.st_mode))
    os.rename(path + b".copied", path)


def make_sparse(path: bytes) -> None:
    """The same bytes, its zeros as holes."""
    status = os.stat(path)
    with open(path, "rb") as stream:
        content = stream.read()
    assert not content.strip(b"\0"), "only a file of zeros becomes one hole"
    os.truncate(path, 0)
    os.truncate(path, len(content))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert os.stat(path).st_blocks * 512 < len(content)


# -- metadata -------------------------------------------------------------------------------------------------------


def mode(bits: int) -> Callable[[bytes], None]:
    """Those permission bits."""
    return lambda path: os.chmod(path, bits)


def owner(uid: int, gid: int) -> Callable[[bytes], None]:
    """That owner and group, by number; -1 leaves one as it is. The mode stays, with set-user-ID and set-group-ID."""

    def make(path: bytes) -> None:
        bits = stat.S_IMODE(os.lstat(path).st_mode)
        os.chown(path, uid, gid, follow_symlinks=False)
        if not os.path.islink(path):
            os.chmod(path, bits)

    return make


def touch(path: bytes) -> None:
    """Only its times are new."""
    os.utime(path, follow_symlinks=False)


def access(path: bytes) -> None:
    """Only its access time is new."""
    status = os.stat(path)
    os.utime(path, ns=(status.st_atime_ns + 10**9, status.st_mtime_ns))


def xattr(name: bytes, value: bytes) -> Callable[[bytes], None]:
    """That extended attribute."""
    return lambda path: os.setxattr(path, name, value, follow_symlinks=False)


def acl_entry(path: bytes) -> None:
    """An ACL by which user 1 may read it; its mode stays."""
    entries = [(0x01, 6, 0xFFFFFFFF), (0x02, 4, 1), (0x04, 4, 0xFFFFFFFF), (0x10, 4, 0xFFFFFFFF), (0x20, 4, 0xFFFFFFFF)]
    bits = stat.S_IMODE(os.stat(path).st_mode)
    assert bits == 0o644, oct(bits)
    os.setxattr(path, ACL, struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries))
    assert stat.S_IMODE(os.stat(path).st_mode) == bits


def capability(text: str) -> Callable[[bytes], None]:
    """Those file capabilities, in the words of setcap(8); none for an empty text."""

    def make(path: bytes) -> None:
        command = ["setcap", text] if text else ["setcap", "-r"]
        subprocess.run([*command, path], check=True, capture_output=True)

    return make


def flag(letter: str) -> Callable[[bytes], None]:
    """That flag of chattr(1)."""
    return lambda path: _run("chattr", f"+{letter}", "--", path)


# -- types ----------------------------------------------------------------------------------------------------------


def link_to(target: bytes) -> Callable[[bytes], None]:
    """A link to `target`, in place of whatever was there."""

    def make(path: bytes) -> None:
        if os.path.lexists(path):
            remove(path)
        os.symlink(target, path)

    return make


def hard_link_to(name: bytes) -> Callable[[bytes], None]:
    """One more name of the file `name` in the same directory, in place of whatever was there."""

    def make(path: bytes) -> None:
        if os.path.lexists(path):
            remove(path)
        os.link(os.path.join(os.path.dirname(path), name), path)

    return make


def directory(path: bytes) -> None:
    """An empty directory, in place of whatever was there."""
    if os.path.lexists(path):
        remove(path)
    os.mkdir(path)
    os.chmod(path, 0o755)


def fifo(path: bytes) -> None:
    """A named pipe."""
    os.mkfifo(path, 0o644)


def device(path: bytes) -> None:
    """A character device like /dev/null."""
    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))


def listening(path: bytes) -> None:
    """A socket that nobody listens at any more."""
    here = os.open(os.path.dirname(path), os.O_PATH)
    try:  # the names of sockets may have 107 bytes, which is less than the path to a temporary directory
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(b"/proc/self/fd/%d/%b" % (here, os.path.basename(path)))
    finally:
        os.close(here)


def files_below(root: bytes, top: bytes) -> list[bytes]:
    """Everything below a directory of the root, itself first, as paths in the root."""
    found = [top]
    for parent, names, files in os.walk(root + top):
        found += [os.path.join(parent, name).removeprefix(root) for name in (*names, *files)]
    return found


def tree(
    name: str, top: bytes, said: Said, files: Mapping[bytes, bytes], *, beside: tuple[bytes, ...] = ()
) -> Mutation:
    """A mutation that makes a directory `top` with files by their paths below it."""
    paths = {top: said}
    for path in files:
        parent = os.path.dirname(path)
        while parent:
            paths[top + b"/" + parent] = said
            parent = os.path.dirname(parent)
        paths[top + b"/" + path] = said

    def make(root: bytes) -> None:
        for path, content in files.items():
            place = os.path.join(root + top, path)
            os.makedirs(os.path.dirname(place), exist_ok=True)
            write(content)(place)

    return Mutation(name=name, make=make, expected=paths, beside=beside)


def step(name: str, script: str, expected: Mapping[bytes, Said], *, beside: tuple[bytes, ...] = ()) -> Mutation:
    """A mutation by a shell script that runs inside the root, with the root's own programs."""

    def make(root: bytes) -> None:
        in_root(root, script)

    return Mutation(name=name, make=make, expected=expected, beside=beside)


def additions() -> Iterator[Mutation]:
    """What nobody's package ever had, for a root that has /usr/bin, /usr/lib, /usr/share and /srv."""
    yield one("new program", b"/usr/bin/intruder", write(b"#!/bin/sh\n", mode=0o4755), UNMANAGED)
    yield one("new hidden file", b"/usr/lib/.hidden", write(b"here\n"), UNMANAGED)
    yield one("new name that is no UTF-8", b"/usr/share/\xff\xfe", write(b"odd\n"), UNMANAGED)
    yield one("new name with a line feed", b"/usr/share/new\nline", write(b"odd\n"), UNMANAGED)
    yield one("new name with blanks at its ends", b"/usr/share/ blank ", write(b"odd\n"), UNMANAGED)
    yield one("new link", b"/usr/bin/shortcut", link_to(b"nowhere"), UNMANAGED)
    yield one("new named pipe", b"/usr/lib/pipe", fifo, UNMANAGED)
    yield one("new device", b"/usr/lib/null", device, UNMANAGED)
    yield one("new socket", b"/usr/lib/socket", listening, UNMANAGED)
    yield one("new empty directory", b"/usr/lib/nothing-in-it", directory, UNMANAGED)
    yield tree("new directory in a packaged one", b"/usr/share/extra", UNMANAGED, {b"a": b"1", b"deep/er/b": b"2"})
    yield tree("tree in /opt", b"/opt/vendor", UNMANAGED, {b"bin/run": b"1", b"lib/data": b"2"})
    yield tree("tree in /usr/local", b"/usr/local/lib/mine", UNMANAGED, {b"one": b"1"})
    yield tree("data in /srv", b"/srv/www", UNMANAGED, {b"index.html": b"<p>"})


def _run(*command: str | bytes) -> None:
    subprocess.run(command, check=True, capture_output=True)
