"""A tree that holds one of everything that a file system can hold, for restores to be measured by."""

from __future__ import annotations

import fcntl
import os
import random
import resource
import socket
import stat
import struct
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

DEPTH = 2000
CROWD = 3000
FLAG_BITS = {"s": 0x1, "u": 0x2, "c": 0x4, "S": 0x8, "i": 0x10, "a": 0x20, "d": 0x40, "A": 0x80, "m": 0x400}
FLAG_BITS |= {"j": 0x4000, "t": 0x8000, "D": 0x10000, "T": 0x20000, "C": 0x800000, "P": 0x20000000}
SIZES = (1, 2, 4095, 4096, 4097, 16383, 16384, 16385, 65535, 65536, 65537, 262143, 262144, 262145)
LARGE_SIZES = (1048575, 1048576, 1048577, 5242880)
MARKUP_NAMES = (
    b"<",
    b">",
    b"&",
    b"&amp;",
    b'"',
    b"'",
    b"]]>",
    b"<![CDATA[x]]>",
    b"<!--",
    b"<?xml?>",
    b"&#0;",
    b"\xef\xbf\xbe",
)
SPACE_NAMES = (b" ", b" x", b"x ", b"a b", b"\t", b"\n", b"a\nb", b"\r\n", b"\xc2\xa0", b"\xe2\x80\xae")
TWIN_NAMES = (b"\xc3\xa9", b"e\xcc\x81", b"\xc3\x89", b"E", b"e", b"\xe9", b"\xff\xfe", b"\xed\xa0\x80", b"\xc0\xaf")
DASH_NAMES = (
    b"-",
    b"--",
    b"-rf",
    b"--help",
    b"*",
    b"?",
    b"[a]",
    b"\\",
    b"$(x)",
    b"`x`",
    b"~",
    b"...",
    b".hidden",
    b"CON",
)
CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)  # revision 2, effective, cap_net_bind_service
_LONG = struct.calcsize("l")
GETFLAGS = (2 << 30) | (_LONG << 16) | 0x6601
SETFLAGS = (1 << 30) | (_LONG << 16) | 0x6602


def build(path: bytes) -> set[str]:
    """The features that this file system and user can make, each below `path` in a directory of its own name.

    `FEATURES - build(path)` is what was left out. Remove the tree with `unbuild`: nothing simpler can.
    """
    os.mkdir(path, 0o755)
    made: set[str] = set()
    for name, make in FEATURES_BY_NAME.items():
        where = os.path.join(path, name.encode("ascii"))
        os.mkdir(where)
        try:
            make(where)
        except OSError:
            unbuild(where)
        else:
            made.add(name)
    os.utime(path, ns=(0, 1_234_567_890_123_456_789))
    return made


def write(path: bytes, content: bytes = b"") -> bytes:
    """The path, now a file of that content."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(fd, view) :]
    finally:
        os.close(fd)
    return path


def noise(size: int, seed: int) -> bytes:
    """Bytes that do not compress, the same for the same seed."""
    return random.Random(seed).randbytes(size)


def get_flags(fd: int) -> int:
    """FS_IOC_GETFLAGS."""
    answer = bytearray(_LONG)
    fcntl.ioctl(fd, GETFLAGS, answer)
    return int.from_bytes(answer[:4], sys.byteorder)


def set_flags(path: bytes, letters: str) -> None:
    """Set exactly these chattr flags beside those that the file system keeps for itself."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        wanted = (get_flags(fd) & ~sum(FLAG_BITS.values())) | sum(FLAG_BITS[letter] for letter in letters)
        fcntl.ioctl(fd, SETFLAGS, wanted.to_bytes(4, sys.byteorder).ljust(_LONG, b"\0"))
        if get_flags(fd) != wanted:
            raise OSError("the file system forgets flags")
    finally:
        os.close(fd)


def raw_acl(*entries: tuple[int, int, int]) -> bytes:
    """The value of a POSIX ACL attribute from (tag, permissions, id)."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


NO_ID = 0xFFFFFFFF
ACL = raw_acl((1, 6, NO_ID), (2, 4, 0), (2, 7, 12345), (4, 4, NO_ID), (8, 7, 54321), (16, 5, NO_ID), (32, 0, NO_ID))


def allow_depth() -> None:
    """Let the process open a descriptor for each level of a deep tree."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def unbuild(path: bytes) -> None:
    """Remove a tree, whatever its flags, modes and depth; nothing happens if there is none."""
    allow_depth()
    if not os.path.lexists(path):
        return
    parent = os.open(os.path.dirname(path) or b".", os.O_RDONLY | os.O_DIRECTORY)
    levels = [(parent, b"", [os.path.basename(path)])]
    while levels:
        fd, name, pending = levels[-1]
        if not pending:
            os.close(fd)
            levels.pop()
            if levels:
                os.rmdir(name, dir_fd=levels[-1][0])
            continue
        child = pending.pop()
        mode = os.stat(child, dir_fd=fd, follow_symlinks=False).st_mode
        if stat.S_ISDIR(mode):
            _clear_flags(fd, child)
            os.chmod(child, 0o700, dir_fd=fd)
            deeper = os.open(child, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
            levels.append((deeper, child, [os.fsencode(each) for each in os.listdir(deeper)]))
        else:
            if stat.S_ISREG(mode):
                _clear_flags(fd, child)
            os.unlink(child, dir_fd=fd)


def _clear_flags(parent: int, name: bytes) -> None:
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=parent)
    except OSError:
        return  # a link, or not ours to read; then it has no flags of ours either
    try:
        value = get_flags(fd)
        if value & (FLAG_BITS["i"] | FLAG_BITS["a"]):
            fcntl.ioctl(
                fd,
                SETFLAGS,
                (value & ~(FLAG_BITS["i"] | FLAG_BITS["a"])).to_bytes(4, sys.byteorder).ljust(_LONG, b"\0"),
            )
    except OSError:
        return  # the file system has no flags
    finally:
        os.close(fd)


# --- one function per feature


def _empty(base: bytes) -> None:
    write(base + b"/file")
    os.mkdir(base + b"/directory")


def _directory_modes(base: bytes) -> None:
    for mode in (0o000, 0o111, 0o222, 0o444, 0o500, 0o555, 0o700, 0o750, 0o777):
        where = base + b"/%04o" % mode
        os.mkdir(where)
        write(where + b"/inside", b"x")
        os.chmod(where, mode)


def _set_id(base: bytes) -> None:
    for mode in (0o4755, 0o2755, 0o6711, 0o1644, 0o7777, 0o4000):
        os.chmod(write(base + b"/file-%04o" % mode, b"x"), mode)
        os.mkdir(base + b"/dir-%04o" % mode)
        os.chmod(base + b"/dir-%04o" % mode, mode | 0o700)
    if os.stat(base + b"/file-7777").st_mode & 0o7777 != 0o7777:
        raise OSError("set-id bits are not kept")


def _file_modes(base: bytes) -> None:
    for mode in (0o000, 0o001, 0o200, 0o400, 0o444, 0o600, 0o755, 0o777):
        os.chmod(write(base + b"/%04o" % mode, b"x"), mode)


def _owners(base: bytes) -> None:
    for uid, gid in ((0, 12345), (12345, 0), (65534, 65534), (4294967294, 4294967294)):
        os.chown(write(base + b"/%d-%d" % (uid, gid), b"x"), uid, gid)
    os.chmod(base + b"/12345-0", 0o6755)
    os.symlink(b"x", base + b"/link")
    os.chown(base + b"/link", 12345, 54321, follow_symlinks=False)


def _symlinks(base: bytes) -> None:
    os.mkdir(base + b"/directory")
    targets = (
        b"directory",
        b"dangling",
        b"/",
        b"..",
        b".",
        b"/etc/passwd",
        b"loop-6",
        b"\xff\xfe",
        b" ",
        b"<&>\n",
        b"a" * 255,
    )
    for number, target in enumerate(targets):
        os.symlink(target, base + b"/loop-%d" % number)
    os.utime(base + b"/loop-0", ns=(5, 7_000_000_001), follow_symlinks=False)


def _symlink_longest(base: bytes) -> None:
    os.symlink(b"/".join([b"a" * 15] * 256)[:4095], base + b"/link")


def _hard_links(base: bytes) -> None:
    os.mkdir(base + b"/a")
    os.mkdir(base + b"/b")
    first = write(base + b"/a/first", b"hard linked")
    for name in (b"/a/second", b"/b/third", b"/0-early"):
        os.link(first, base + name)
    os.link(write(base + b"/a/none"), base + b"/b/none")
    for index in range(3):
        os.link(first, base + b"/b/more-%d" % index)


def _hard_linked_symlink(base: bytes) -> None:
    os.symlink(b"target", base + b"/first")
    os.link(base + b"/first", base + b"/second", follow_symlinks=False)


def _hard_linked_fifo(base: bytes) -> None:
    os.mkfifo(base + b"/first")
    os.link(base + b"/first", base + b"/second")


def _devices(base: bytes) -> None:
    os.mknod(base + b"/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(base + b"/block", stat.S_IFBLK | 0o640, os.makedev(7, 200))
    os.mknod(base + b"/large", stat.S_IFCHR | 0o600, os.makedev(511, 1048575))
    os.chown(base + b"/block", 0, 6)
    os.utime(base + b"/null", ns=(1, 2_000_000_003))


def _fifo(base: bytes) -> None:
    os.mkfifo(base + b"/fifo", 0o640)
    os.utime(base + b"/fifo", ns=(1, 4_000_000_005))


def _socket(base: bytes) -> None:
    # An address holds 107 bytes, so the socket is bound by way of a descriptor.
    fd = os.open(base, os.O_PATH | os.O_DIRECTORY)
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(b"/proc/self/fd/%d/socket" % fd)
    finally:
        os.close(fd)


def _sparse(base: bytes) -> None:
    block = noise(65536, 1)
    layouts: dict[bytes, tuple[int, tuple[int, ...]]] = {
        b"leading": (1 << 20, (983040,)),
        b"inner": (1 << 20, (0, 983040)),
        b"trailing": (1 << 20, (0,)),
        b"comb": (4 << 20, tuple(range(65536, 4 << 20, 262144))),
        b"odd-end": ((1 << 20) + 12345, (131072,)),
        b"small": (65536 * 2, (65536,)),
        b"nothing-1GiB": (1 << 30, ()),
    }
    for name, (size, places) in layouts.items():
        fd = os.open(base + b"/" + name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            os.ftruncate(fd, size)
            for place in places:
                os.pwrite(fd, block, place)
        finally:
            os.close(fd)
    if os.stat(base + b"/nothing-1GiB").st_blocks > 64:
        raise OSError("no sparse files here")


def _times(base: bytes) -> None:
    for number, nanoseconds in enumerate((0, 1, 999_999_999, 1_000_000_000, 1_700_000_000_123_456_789)):
        os.utime(write(base + b"/file-%d" % number), ns=(0, nanoseconds))
        os.mkdir(base + b"/dir-%d" % number)
        os.utime(base + b"/dir-%d" % number, ns=(0, nanoseconds))


def _times_far(base: bytes) -> None:
    seconds = (-1, -2_000_000_000, 2_147_483_648, 4_294_967_296, 5_000_000_000, 10_000_000_000)
    for second in seconds:
        wanted = second * 1_000_000_000 + 123_456_789
        os.utime(write(base + b"/%d" % second), ns=(0, wanted))
        if os.stat(base + b"/%d" % second).st_mtime_ns != wanted:
            raise OSError("the file system has no such times")


def _xattrs_user(base: bytes) -> None:
    os.mkdir(base + b"/directory")
    for path in (write(base + b"/file", b"x"), base + b"/directory"):
        for name, value in (
            (b"user.text", b"value"),
            (b"user.binary", bytes(range(256))),
            (b"user.empty", b""),
            (b"user. odd\n<&>\"'", b"1"),
            (b"user.\xff\xfe", b"2"),
            (b"user." + b"n" * 200, b"3"),
        ):
            os.setxattr(path, name, value)
    os.setxattr(write(base + b"/read-only", b"x"), b"user.a", b"b")
    os.chmod(base + b"/read-only", 0o400)


def _xattrs_large(base: bytes) -> None:
    os.setxattr(write(base + b"/file", b"x"), b"user.large", noise(3000, 2))


def _xattrs_4k(base: bytes) -> None:
    os.setxattr(write(base + b"/file", b"x"), b"user.large", noise(4096, 2))


def _xattrs_trusted(base: bytes) -> None:
    os.setxattr(write(base + b"/file", b"x"), b"trusted.one", b"\0\1")
    os.symlink(b"x", base + b"/link")
    os.setxattr(base + b"/link", b"trusted.link", b"l", follow_symlinks=False)
    os.mkfifo(base + b"/fifo")
    os.setxattr(base + b"/fifo", b"trusted.fifo", b"f", follow_symlinks=False)


def _acls(base: bytes) -> None:
    os.setxattr(write(base + b"/file", b"x"), b"system.posix_acl_access", ACL)
    os.mkdir(base + b"/directory")
    os.mkdir(base + b"/directory/before")
    write(base + b"/directory/file-before", b"x")
    os.setxattr(base + b"/directory", b"system.posix_acl_access", ACL)
    os.setxattr(base + b"/directory", b"system.posix_acl_default", ACL)
    os.mkdir(base + b"/directory/inherits")
    write(base + b"/directory/file-inherits", b"x")


def _capabilities(base: bytes) -> None:
    path = write(base + b"/program", b"#!/bin/true\n")
    os.chown(path, 12345, 12345)
    os.chmod(path, 0o755)
    os.setxattr(path, b"security.capability", CAPABILITY)


def _flag(letter: str) -> Callable[[bytes], None]:
    def make(base: bytes) -> None:
        if letter not in "DT":
            set_flags(write(base + b"/file", b"flagged"), letter)
        os.mkdir(base + b"/directory")
        write(base + b"/directory/inside", b"made before the flag")
        set_flags(base + b"/directory", letter)

    return make


def _flagged_hard_links(base: bytes) -> None:
    os.link(write(base + b"/first", b"x"), base + b"/second")
    set_flags(base + b"/first", "i")


def _flags_together(base: bytes) -> None:
    set_flags(write(base + b"/file", b"flagged"), "iadAS")


def _names_bytes(base: bytes) -> None:
    for byte in range(1, 256):
        if byte not in b"/.":
            write(base + b"/" + bytes([byte]), bytes([byte]))


def _names(names: tuple[bytes, ...]) -> Callable[[bytes], None]:
    def make(base: bytes) -> None:
        for name in names:
            write(base + b"/" + name, name)
            os.mkdir(base + b"/" + name + b".d")
            os.symlink(name, base + b"/" + name + b".l")

    return make


def _names_long(base: bytes) -> None:
    write(base + b"/" + b"n" * 255, b"x")
    write(base + b"/" + b"\xff" * 255, b"x")
    os.mkdir(base + b"/" + b"d" * 255)
    write(base + b"/" + b"d" * 255 + b"/" + b"\n" * 255, b"x")


def _deep(base: bytes) -> None:
    fd = os.open(base, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(DEPTH):
        os.mkdir(b"d", dir_fd=fd)
        deeper = os.open(b"d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
        os.close(fd)
        fd = deeper
    leaf = os.open(b"leaf", os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=fd)
    os.write(leaf, b"at the bottom")
    os.close(leaf)
    os.close(fd)


def _crowd(base: bytes) -> None:
    for number in range(CROWD):
        write(base + b"/%d" % number, b"%d" % (number % 100))


def _sizes(base: bytes) -> None:
    for size in SIZES:
        write(base + b"/%d" % size, noise(size, size))


def _sizes_large(base: bytes) -> None:
    for size in LARGE_SIZES:
        write(base + b"/%d" % size, noise(size, size))
    write(base + b"/zeros", bytes(1 << 20))


def _duplicates(base: bytes) -> None:
    content = noise(100_000, 3)
    for number in range(5):
        write(base + b"/%d" % number, content)
    write(base + b"/shifted", b"!" + content)


FEATURES_BY_NAME: dict[str, Callable[[bytes], None]] = {
    "empty": _empty,
    "directory-modes": _directory_modes,
    "file-modes": _file_modes,
    "set-id": _set_id,
    "owners": _owners,
    "symlinks": _symlinks,
    "symlink-longest": _symlink_longest,
    "hard-links": _hard_links,
    "hard-linked-symlink": _hard_linked_symlink,
    "hard-linked-fifo": _hard_linked_fifo,
    "devices": _devices,
    "fifo": _fifo,
    "socket": _socket,
    "sparse": _sparse,
    "times": _times,
    "times-far": _times_far,
    "xattrs-user": _xattrs_user,
    "xattrs-large": _xattrs_large,
    "xattrs-4k": _xattrs_4k,
    "xattrs-trusted": _xattrs_trusted,
    "acls": _acls,
    "capabilities": _capabilities,
    **{f"flag-{letter}-{bit:x}": _flag(letter) for letter, bit in FLAG_BITS.items()},
    "flagged-hard-links": _flagged_hard_links,
    "flags-together": _flags_together,
    "names-bytes": _names_bytes,
    "names-markup": _names(MARKUP_NAMES),
    "names-spaces": _names(SPACE_NAMES),
    "names-twins": _names(TWIN_NAMES),
    "names-dashes": _names(DASH_NAMES),
    "names-long": _names_long,
    "deep": _deep,
    "crowd": _crowd,
    "sizes": _sizes,
    "sizes-large": _sizes_large,
    "duplicates": _duplicates,
}
FEATURES = frozenset(FEATURES_BY_NAME)
