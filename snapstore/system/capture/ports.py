"""Who listens where on the running system, as /proc tells it (proc(5))."""

from __future__ import annotations

import errno
import os
import re
import socket
import struct
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from snapstore.system.capture.lines import names_in, numbered_lines, read_file, text_of
from snapstore.system.packages import Ownership, Warn
from snapstore.system.root import Root, RootError
from snapstore.system.scopes.services import Port

_TABLES = (("tcp", b"/proc/net/tcp"), ("tcp", b"/proc/net/tcp6"), ("udp", b"/proc/net/udp"), ("udp", b"/proc/net/udp6"))
_LISTEN, _UNCONNECTED = b"0A", b"07"
_ROW = re.compile(
    rb"\s*\d+:\s+([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4})\s+[0-9A-F]{8,32}:[0-9A-F]{4}\s+([0-9A-F]{2})\s"
    rb"+\S+\s+\S+\s+\S+\s+\d+\s+\d+\s+(\d+)(?:\s|\Z)"
).match
_SOCKET = re.compile(rb"socket:\[(\d+)\]\Z").match
_UNIT_ENDS = (b".service", b".scope", b".socket", b".mount", b".swap")
_SESSION = re.compile(rb"session-[^/]*\.scope\Z").match
_DELETED = b" (deleted)"
_FIRST = b"1"


class Bound(NamedTuple):
    """One socket that waits for others: protocol, address as text, port, and its inode."""

    protocol: str
    address: str
    port: int
    inode: int


class Process(NamedTuple):
    """Whose a socket is: the number of the process, its unit, the name of its program and who owns that."""

    number: bytes
    unit: str
    name: str
    package: str


def decode_address(digits: bytes) -> str:
    """The address that 8 or 32 hexadecimal digits stand for: words of 32 bits in the order of the machine."""
    raw = bytes.fromhex(digits.decode("ascii"))
    words = struct.unpack(f">{len(raw) // 4}I", raw)
    family = socket.AF_INET if len(raw) == 4 else socket.AF_INET6
    return socket.inet_ntop(family, struct.pack(f"={len(words)}I", *words))


def read_table(path: bytes, data: bytes, warn: Warn, *, protocol: str) -> Iterator[Bound]:
    """The sockets of one table that listen (tcp), or are bound and not connected (udp)."""
    wanted = _LISTEN if protocol == "tcp" else _UNCONNECTED
    for number, line in numbered_lines(path, data, warn):
        if number == 1 or not line.strip():
            continue
        row = _ROW(line)
        if row is None:
            warn(path, f"line {number} is no socket")
            continue
        port = int(row[2], 16)
        if row[3] == wanted and port:
            yield Bound(protocol, decode_address(row[1]), port, int(row[4]))


def unit_of_cgroup(data: bytes) -> str:
    """The unit that a process belongs to by its cgroup file; of a login session the slice, which has a lasting name."""
    for line in data.split(b"\n"):
        _, _, rest = line.partition(b":")
        controllers, colon, path = rest.partition(b":")
        if not colon or controllers not in (b"", b"name=systemd"):
            continue
        above = b""
        for part in path.split(b"/"):
            if _SESSION(part):
                return text_of(above)
            if part.endswith(_UNIT_ENDS):
                return text_of(part)
            above = part
    return ""


def capture_ports(root: Root, ownership: Ownership, warn: Warn, *, sockets: Mapping[str, str]) -> list[Port]:
    """The listening sockets of the network that this process sees, each once for every program that holds it.

    `sockets` names the units for which process 1 listens, by `address:port` as systemctl(1) lists them.
    """
    bound = [
        each
        for protocol, path in _TABLES
        for each in read_table(path, read_file(root, path, warn) or b"", warn, protocol=protocol)
    ]
    holders = _holders(root, ownership, {each.inode for each in bound}, warn)
    found: dict[Port, None] = {}
    for each in bound:
        processes = holders.get(each.inode, [])
        # What process 1 listens for, it hands on: it is of interest only as long as nobody else holds the socket.
        others = [process for process in processes if process.number != _FIRST]
        for process in others or processes or [Process(b"", "", "", "")]:
            unit = process.unit
            if process.number == _FIRST:
                unit = sockets.get(listed_address(each), unit)
            row = Port(
                protocol=each.protocol, address=each.address, port=each.port, unit=unit, process=process.name,
                package=process.package,
            )  # fmt: skip
            found[row] = None
    return _once(found)


def _once(rows: Mapping[Port, None]) -> list[Port]:
    """The rows, of those that differ in nothing but the package the one that has it."""
    found: dict[tuple[str, str, int, str, str], Port] = {}
    for row in rows:
        key = (row.protocol, row.address, row.port, row.unit, row.process)
        if key not in found or not found[key].package:
            found[key] = row
    return list(found.values())


def listed_address(bound: Bound) -> str:
    """An address and a port the way that systemctl(1) lists them."""
    return f"[{bound.address}]:{bound.port}" if ":" in bound.address else f"{bound.address}:{bound.port}"


def _holders(root: Root, ownership: Ownership, inodes: set[int], warn: Warn) -> dict[int, list[Process]]:
    """The processes that hold each of some sockets, the first number first."""
    found: dict[int, list[Process]] = {}
    if not inodes:
        return found
    unseen = 0
    for number in sorted((name for name in names_in(root, b"/proc", warn) if name.isdigit()), key=int):
        try:
            held = _sockets_of(root, number) & inodes
        except OSError as error:
            # A process that has ended meanwhile is none; one that is another user's may hold anything.
            unseen += error.errno in (errno.EACCES, errno.EPERM)
            continue
        if held:
            process = _process(root, ownership, number, warn)
            for inode in held:
                found.setdefault(inode, []).append(process)
    if unseen:
        warn(b"/proc", f"the sockets of {unseen} processes may not be looked at")
    return found


def _sockets_of(root: Root, number: bytes) -> set[int]:
    """The inodes of the sockets that a process holds. OSError."""
    found = set()
    fd = root.open(b"/proc/%b/fd" % number, directory=True)
    try:
        for name in os.listdir(fd):
            try:
                held = _SOCKET(os.fsencode(os.readlink(name, dir_fd=fd)))
            except FileNotFoundError:
                continue  # closed meanwhile
            if held is not None:
                found.add(int(held[1]))
    finally:
        os.close(fd)
    return found


def _process(root: Root, ownership: Ownership, number: bytes, warn: Warn) -> Process:
    cgroup = _read_quietly(root, b"/proc/%b/cgroup" % number)
    program = _program(root, number)
    name = program.rpartition(b"/")[2] or _read_quietly(root, b"/proc/%b/comm" % number).strip()
    packages: tuple[str, ...] = ()
    if program:
        try:
            packages = ownership.packages_of(root.canonical(program))
        except RootError as error:
            warn(program, f"whose it is cannot be told: {error.strerror}")
    return Process(number, unit_of_cgroup(cgroup), text_of(name), " ".join(packages))


def _read_quietly(root: Root, path: bytes) -> bytes:
    """The bytes of a file of a process; none once it has ended, which is no trouble."""
    try:
        return root.read(path, limit=1 << 16) or b""
    except RootError:
        return b""


def _program(root: Root, number: bytes) -> bytes:
    """The path in the root of what a process runs; empty if it has none, or sees another tree than the root's.

    A program in a container has a path of its own there, which says nothing about the file that has it here.
    """
    try:
        target = root.readlink(b"/proc/%b/exe" % number) or b""
        top = os.stat(b"proc/%b/root" % number, dir_fd=root.fd)
    except OSError:
        return b""  # it has ended, or is none of ours
    here = os.fstat(root.fd)
    if (top.st_dev, top.st_ino) != (here.st_dev, here.st_ino) or not target.startswith(b"/"):
        return b""
    return target.removesuffix(_DELETED)
