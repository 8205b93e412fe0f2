"""What the scope `os` holds of a root: which system it is, and how it is set up at the top."""

from __future__ import annotations

import os
import re
import shlex
import struct

from snapstore.system.capture.lines import Bounded, numbered_lines, read_file, text_of
from snapstore.system.packages import Warn
from snapstore.system.root import Root, RootError
from snapstore.system.scopes.osrelease import OS, Setting

_NAMES = {
    "ID": "id",
    "ID_LIKE": "like",
    "NAME": "name",
    "PRETTY_NAME": "title",
    "VERSION_ID": "version",
    "VERSION_CODENAME": "codename",
    "VARIANT_ID": "variant",
    "BUILD_ID": "build",
}
_RELEASES = (b"/etc/debian_version", b"/etc/redhat-release", b"/etc/alpine-release")
_NAME = re.compile(rb"[A-Za-z_][A-Za-z0-9_]*\Z").match
_PROGRAMS = (b"/bin/sh", b"/usr/bin/env", b"/sbin/init", b"/bin/busybox", b"/usr/bin/bash")
_MACHINES = {
    3: "i686",
    8: "mips",
    20: "ppc",
    21: "ppc64",
    22: "s390x",
    40: "arm",
    43: "sparc64",
    62: "x86_64",
    183: "aarch64",
    243: "riscv64",
    258: "loongarch64",
}
_INITS = {b"busybox": "busybox", b"openrc-init": "openrc", b"runit-init": "runit", b"runit": "runit"}
_LOCALES = (b"/etc/locale.conf", b"/etc/default/locale", b"/etc/sysconfig/i18n")


def read_assignments(path: bytes, data: bytes, warn: Warn) -> dict[str, str]:
    """The variables that a file sets the way os-release(5) does; the last one of a name counts.

    The file is never run: quotes and backslashes are undone, and nothing is expanded.
    """
    found: dict[str, str] = {}
    for number, line in numbered_lines(path, data, warn):
        line = line.strip()  # noqa: PLW2901 - the line without its margins is all there is to it
        if not line or line.startswith(b"#"):
            continue
        name, equals, value = line.removeprefix(b"export ").partition(b"=")
        if not equals or not _NAME(name.strip()):
            warn(path, f"line {number} is no assignment")
            continue
        try:
            words = shlex.split(text_of(value))
        except ValueError:
            warn(path, f"line {number} has a quote that does not end")
            continue
        found[name.strip().decode()] = " ".join(words)
    return found


def elf_machine(data: bytes) -> str:
    """The machine that a program in ELF is for, as uname(2) calls it; empty if the bytes are no such program."""
    if data[:4] != b"\x7fELF" or len(data) < 20 or data[5] not in (1, 2):
        return ""
    (machine,) = struct.unpack_from("<H" if data[5] == 1 else ">H", data, 18)
    name = _MACHINES.get(machine, f"elf-{machine}")
    return "ppc64le" if name == "ppc64" and data[5] == 1 else name


def capture_os(root: Root, warn: Warn) -> list[Setting]:
    """What a root says of itself, sorted by name; a fact that it does not state is left out.

    `architecture` is that of its own programs, in the words of uname(1), so that a running system and an image of it
    agree; `release` is the point release where a file of its own states one.
    """
    with Bounded(warn) as bounded:
        found = _facts(root, bounded)
    return sorted((Setting(name=name, value=value) for name, value in found.items() if value), key=OS.order)


def _facts(root: Root, warn: Warn) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in (b"/etc/os-release", b"/usr/lib/os-release"):
        data = read_file(root, path, warn)
        if data is not None:
            stated = read_assignments(path, data, warn)
            found |= {ours: stated[theirs] for theirs, ours in _NAMES.items() if theirs in stated}
            break
    else:
        warn(b"/etc/os-release", "there is none, so that it is not known which system this is")
    found["release"] = next(filter(None, (_first_line(root, path, warn) for path in _RELEASES)), "")
    found["architecture"] = _architecture(root, warn)
    found["hostname"] = _hostname(root, warn)
    found["timezone"] = _timezone(root, warn)
    found["locale"] = _locale(root, warn)
    found["init"] = _init(root, warn)
    return found


def _first_line(root: Root, path: bytes, warn: Warn) -> str:
    """The first line of a file that is no comment; empty if there is none."""
    data = read_file(root, path, warn) or b""
    for _, line in numbered_lines(path, data, warn):
        if line.strip() and not line.lstrip().startswith(b"#"):
            return text_of(line.strip())
    return ""


def _architecture(root: Root, warn: Warn) -> str:
    for path in _PROGRAMS:
        machine = elf_machine(_head(root, path, warn))
        if machine:
            return machine
    return os.uname().machine if root.live else _first_line(root, b"/var/lib/dpkg/arch", warn)


def _head(root: Root, path: bytes, warn: Warn) -> bytes:
    """The first bytes of a file; none if it is not there."""
    try:
        if root.status(path, follow=True) is None:
            return b""
        fd = root.open(path)
    except OSError as error:
        warn(path, f"it cannot be read: {error.strerror}")
        return b""
    try:
        return os.pread(fd, 64, 0)
    except OSError as error:
        warn(path, f"it cannot be read: {error.strerror}")
        return b""
    finally:
        os.close(fd)


def _hostname(root: Root, warn: Warn) -> str:
    name = _first_line(root, b"/etc/hostname", warn)
    if name:
        return name
    path = b"/etc/sysconfig/network"
    data = read_file(root, path, warn)
    return read_assignments(path, data, warn).get("HOSTNAME", "") if data is not None else ""


def _timezone(root: Root, warn: Warn) -> str:
    """The name below /usr/share/zoneinfo that /etc/localtime leads to; else what a file says."""
    try:
        target = root.readlink(b"/etc/localtime") or b""
        if b"zoneinfo/" not in target:
            target = root.resolve(b"/etc/localtime")
    except RootError as error:
        warn(b"/etc/localtime", f"it cannot be followed: {error.strerror}")
        target = b""
    _, found, name = target.partition(b"zoneinfo/")
    return text_of(name) if found else _first_line(root, b"/etc/timezone", warn)


def _locale(root: Root, warn: Warn) -> str:
    for path in _LOCALES:
        data = read_file(root, path, warn)
        if data is not None:
            language = read_assignments(path, data, warn).get("LANG", "")
            if language:
                return language
    return ""


def _init(root: Root, warn: Warn) -> str:
    """What process 1 is: systemd, sysvinit, openrc, busybox, runit, or the name of the program."""
    for path in (b"/sbin/init", b"/usr/sbin/init", b"/init"):
        try:
            if root.status(path, follow=True) is None:
                continue
            place = root.resolve(path)
        except RootError as error:
            warn(path, f"it cannot be followed: {error.strerror}")
            continue
        name = place.rpartition(b"/")[2]
        if name == b"init":
            return "sysvinit"
        return _INITS.get(name, text_of(name))
    return ""
