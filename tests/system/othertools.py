"""What other tools say of a root: dpkg -V, debsums, cruft-ng, rpm -Va and pacman -Qkk, as the paths that they report.

Each is given the best chance: it counts as having found a mutation if it reports any path of it in any way.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tests.system.mutations import Mutation
from tests.system.roots import cache_directory, in_root, install_tools, mount_overlay, remove_tree

Reported = Mapping[bytes, bytes]
"""What was said, by path."""

PATIENCE = 60.0
"""Seconds; all of them take one or two on these roots."""

_C = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/root"}
_VERIFY = re.compile(rb"(?:[A-Za-z0-9?.]{8,9}|missing) +(?:[cdglr] )?(/.*?)(?: \(.*\))?")
_DEBSUMS = re.compile(rb"debsums: (?:missing file|can't open \S+ file|checksum mismatch \S+ file) (/.*?)(?: \(.*\))?")
_DPKG_DIED = re.compile(rb"dpkg: error: .* file '(/.*)': .*")
_PACMAN = re.compile(rb"(?:warning|backup file): [^:]+: (/.*) \([^()]*\)")


class StuckError(Exception):
    """The tool did not end within PATIENCE: `dpkg --verify` opens a named pipe, and waits for a writer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherTool:
    """A tool with the options that make it check all it can: `look` gives what it reports on a root, or StuckError."""

    name: str
    version: Callable[[], str]
    look: Callable[[bytes], Reported]


@dataclass(frozen=True, slots=True)
class Outcome:
    """By mutation whether it was found; how many that are no change were reported; and paths reported without cause."""

    found: Mapping[str, bool]
    quiet_told: tuple[str, ...]
    beside: tuple[bytes, ...]


def compare(before: Reported, after: Reported, mutations: Sequence[Mutation]) -> Outcome:
    """What a tool said after the mutations that it did not say before."""
    new = {path for path, text in after.items() if before.get(path) != text}
    found = {each.name: bool(new & set(each.expected)) for each in mutations}
    causes = {path for each in mutations for path in (*each.expected, *each.beside)}
    quiet_names = {each.name for each in mutations if each.quiet}
    loud = {name: told for name, told in found.items() if name not in quiet_names}
    quiet = tuple(sorted(name for name, told in found.items() if told and name not in loud))
    return Outcome(loud, quiet, tuple(sorted(path for path in new if not _is_at_or_below(path, causes))))


def _is_at_or_below(path: bytes, tops: set[bytes]) -> bool:
    while path not in tops and path not in (b"/", b""):
        path = os.path.dirname(path)
    return path in tops


# -- Debian ---------------------------------------------------------------------------------------------------------


def dpkg_verify(root: bytes) -> Reported:
    """What `dpkg --verify` of this machine says of the root."""
    printed = _output("dpkg", b"--root=" + root, "--verify")
    return _in_root(root, {**_lines(printed, _VERIFY), **_lines(printed, _DPKG_DIED)})


def debsums_all(root: bytes) -> Reported:
    """What `debsums --all --changed` says; what it cannot find is on standard error."""
    install_tools("debsums")
    command: list[str | bytes] = ["debsums", "--all", "--changed", b"--root=" + root]
    done = _ran(*command)
    said = {line: b"changed" for line in done.stdout.splitlines() if line.startswith(b"/")}
    return _in_root(root, {**said, **_lines(done.stderr, _DEBSUMS)})


def cruft_ng(root: bytes) -> Reported:
    """What cruft-ng says that is laid over the root, so that the root itself needs not have it."""
    work = os.path.join(os.path.dirname(root), b"cruft")
    layers = [os.path.join(work, name) for name in (b"u", b"w", b"m")]
    if not mount_overlay(root, layers):
        raise OSError("no overlay file system can be mounted here")
    try:
        for archive in _cruft_archives():
            packed = subprocess.run(["dpkg-deb", "--fsys-tarfile", archive], check=True, capture_output=True).stdout
            unpack: list[str | bytes] = ["tar", "-x", "--keep-directory-symlink", "-C", layers[2]]
            subprocess.run(unpack, input=packed, check=True)
        # Its locate database wants a group and a name that the packages' scripts would have made.
        setup = "groupadd -f -r plocate\nln -sf ../sbin/updatedb.plocate /usr/bin/updatedb\n"
        printed = in_root(layers[2], setup + "cruft-ng\n").encode("utf-8", "surrogateescape")
    finally:
        subprocess.run(["umount", "-l", layers[2]], check=True)
        remove_tree(work)
    said: dict[bytes, bytes] = {}
    section = b""
    for line in printed.splitlines():
        if line.startswith(b"---- "):
            section = line.strip(b"- ")
        elif line.startswith(b"        /"):
            said[line[8:]] = section
    return _in_root(root, said)


def _cruft_archives() -> list[str]:
    place = os.path.join(cache_directory(), "cruft-ng")
    if not os.path.isdir(place):
        os.makedirs(place + ".new", exist_ok=True)
        command = ["apt-get", "download", "-q", "cruft-ng", "plocate", "liburing2"]
        subprocess.run(command, cwd=place + ".new", check=True, capture_output=True)
        os.rename(place + ".new", place)
    return sorted(os.path.join(place, name) for name in os.listdir(place) if name.endswith(".deb"))


# -- rpm and pacman -------------------------------------------------------------------------------------------------


def rpm_verify(root: bytes) -> Reported:
    """What `rpm -Va` says of the root."""
    return _lines(_output("rpm", "--root", root, "--dbpath", "/var/lib/rpm", "-Va"), _VERIFY)


def pacman_check(root: bytes) -> Reported:
    """What `pacman -Qkk` says of the root."""
    database, settings = os.path.join(root, b"var/lib/pacman"), os.path.join(root, b"etc/pacman.conf")
    printed = _output("pacman", "--root", root, "--dbpath", database, "--config", settings, "-Qkk")
    return _in_root(root, _lines(printed, _PACMAN))


def _output(*command: str | bytes) -> bytes:
    """Everything that a program printed, whatever it thinks of what it found."""
    done = _ran(*command)
    return done.stdout + done.stderr


def _ran(*command: str | bytes) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(command, env=_C, capture_output=True, check=False, timeout=PATIENCE)
    except subprocess.TimeoutExpired as error:
        raise StuckError(os.fsdecode(command[0])) from error


def _in_root(root: bytes, said: Reported) -> Reported:
    """The same by the paths at which things are in the root, whatever prefix or merged directory was named."""
    found = {}
    for path, text in said.items():
        inside = path.removeprefix(root)
        first = inside[1:].partition(b"/")[0]
        found[b"/usr" + inside if os.path.islink(os.path.join(root, first)) else inside] = text
    return found


def _lines(printed: bytes, pattern: re.Pattern[bytes]) -> dict[bytes, bytes]:
    """The lines that name a path, by it; several about one path joined."""
    said: dict[bytes, bytes] = {}
    for line in printed.splitlines():
        match = pattern.fullmatch(line)
        if match:
            said[match[1]] = said.get(match[1], b"") + line + b"\n"
    return said


def package_version(name: str) -> Callable[[], str]:
    """Asks dpkg for the version of a package of this machine when called; what the tool is called, and that."""

    def ask() -> str:
        install_tools(name)
        return _output("dpkg-query", "-W", "-f", "${Version}", name).decode()

    return ask


def _cruft_version() -> str:
    return next(each.split("_")[1] for each in map(os.path.basename, _cruft_archives()) if each.startswith("cruft-ng_"))


DEBIAN = (
    OtherTool(name="dpkg --verify", version=package_version("dpkg"), look=dpkg_verify),
    OtherTool(name="debsums --all", version=package_version("debsums"), look=debsums_all),
    OtherTool(name="cruft-ng", version=_cruft_version, look=cruft_ng),
)
RPM = (OtherTool(name="rpm -Va", version=package_version("rpm"), look=rpm_verify),)
PACMAN = (
    OtherTool(name="pacman -Qkk", version=package_version("pacman-package-manager"), look=pacman_check),
)  # fmt: skip
