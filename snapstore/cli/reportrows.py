"""What is said of one row of the audit: what differs, what deserves a look, and what must not be shown."""

from __future__ import annotations

import ipaddress
import re
import stat
from typing import NamedTuple

from snapstore.cli.names import shortened
from snapstore.cli.quantities import rfc3339, size_text
from snapstore.model import Kind
from snapstore.system.packages import Package
from snapstore.system.scopes.accounts import Group, User
from snapstore.system.scopes.files import Class, FileRow
from snapstore.system.scopes.repositories import Repository
from snapstore.system.scopes.services import Port, Unit

SEVERE = "severe"
WARN = "warn"
INFO = "info"
QUIET = "quiet"
TONES = (SEVERE, WARN, INFO, QUIET)
"""How loud a mark is; `report.css` has a colour for each."""

_KINDS = {
    Kind.FILE.value: "file", Kind.DIRECTORY.value: "directory", Kind.SYMLINK.value: "link",
    Kind.CHARACTER_DEVICE.value: "character device", Kind.BLOCK_DEVICE.value: "block device",
    Kind.FIFO.value: "pipe", Kind.SOCKET.value: "socket",
}  # fmt: skip
_DIGEST_WIDTH = 18
_DAY = 86_400_000_000_000
_PASSWORD = re.compile(r"(?<=//)[^/\s]*@")
_SECRET = re.compile(r"(?i)\A([^=]*(?:pass|secret|token|credential|auth|login|user)[^=]*=).+\Z", re.DOTALL)
_HIDDEN = "(hidden)"


class Mark(NamedTuple):
    """A word beside a row, and how loud it is."""

    text: str
    tone: str = QUIET


class Difference(NamedTuple):
    """One attribute that is not as packaged: the packaged value, empty where it is not known, and the one found.

    `words`: what was found is told in words, and is no value.
    """

    what: str
    was: str | bytes
    now: str | bytes
    words: bool = False


def kind_text(kind: str) -> str:
    """The word for a kind; "unknown" for an empty one."""
    return _KINDS.get(kind, kind or "unknown")


def mode_text(mode: int | None) -> str:
    """A mode in octal and in letters; empty for None."""
    return "" if mode is None else f"{mode:04o} {stat.filemode(mode)[1:]}"


def differences(row: FileRow) -> list[Difference]:
    """What differs, in the order in which the row names it."""
    return [_difference(row, what) for what in row.changes]


def _difference(row: FileRow, what: str) -> Difference:
    if what == "type":
        return Difference(what, kind_text(row.packaged_kind), kind_text(row.kind), words=True)
    if what == "content":
        size = f", {size_text(row.size)}" if row.kind == Kind.FILE else ""
        return Difference(what, shortened(row.packaged_digest, _DIGEST_WIDTH), f"differs{size}", words=True)
    if what == "mode":
        return Difference(what, mode_text(row.packaged_mode), mode_text(row.mode) or "another")
    if what == "owner":
        return Difference(what, row.packaged_owner, row.owner or "another")
    if what == "target":
        return Difference(what, row.packaged_target, row.target or "another")
    if what == "capabilities":
        return Difference(what, row.packaged_capabilities or "none", row.capabilities or "none")
    return Difference(what, "", _ALONE.get(what, "differs"), words=True)


_ALONE = {
    "attributes": "has attributes that no package ships",
    "device": "other device numbers",
    "obsolete": "no package ships it any more",
    "unverified": "there was nothing to compare it with, or it could not be read",
}


class Worry(NamedTuple):
    """Something about a path that a person should look at first: the mark beside it, and how many are counted up."""

    mark: Mark
    one: str
    many: str


WORRIES = {
    "unpackaged content": Worry(
        Mark("not a configuration file", SEVERE),
        "packaged file that is no configuration file has other content",
        "packaged files that are no configuration files have other content",
    ),
    "setuid": Worry(Mark("setuid", SEVERE), "path lends its owner's rights", "paths lend their owner's rights"),
    "setgid": Worry(Mark("setgid", SEVERE), "path lends its group's rights", "paths lend their group's rights"),
    "capabilities": Worry(
        Mark("capabilities", SEVERE),
        "path has capabilities, or not those it should have",
        "paths have capabilities, or not those they should have",
    ),
    "writable": Worry(
        Mark("writable by all", SEVERE), "path can be written by everyone", "paths can be written by all"
    ),
    "unverified": Worry(Mark("unverified", SEVERE), "path could not be verified", "paths could not be verified"),
    "target": Worry(Mark("leads elsewhere", SEVERE), "packaged link leads elsewhere", "packaged links lead elsewhere"),
    "type": Worry(
        Mark("another type", SEVERE),
        "packaged path has become something of another type",
        "packaged paths have become something of another type",
    ),
}
"""By name, in the order in which they are told."""


def worries(row: FileRow) -> list[str]:
    """The names of what is worrying about a path, in the order of WORRIES."""
    if not (row.changes or row.capabilities or row.mode is not None):
        return []
    mode = row.mode or 0
    file = row.kind == Kind.FILE
    plain = file or (row.kind == Kind.DIRECTORY and not mode & stat.S_ISVTX)
    found = {
        "unpackaged content": row.cls is Class.CHANGED and "content" in row.changes and not row.config,
        "setuid": file and bool(mode & stat.S_ISUID),
        "setgid": file and bool(mode & stat.S_ISGID),
        "capabilities": bool(row.capabilities) or "capabilities" in row.changes,
        "writable": plain and bool(mode & stat.S_IWOTH),
        "unverified": "unverified" in row.changes,
        "target": "target" in row.changes,
        "type": "type" in row.changes,
    }
    return [name for name, there in found.items() if there]


def file_marks(row: FileRow) -> list[Mark]:
    """The marks of a path."""
    marks = [WORRIES[name].mark for name in worries(row)]
    if row.config:
        marks.append(Mark("configuration", INFO))
    if row.tree:
        marks.append(Mark("what is in it" if row.contents else "whole directory"))
    if row.omitted:
        marks.append(Mark("not stored"))
    return marks


def package_marks(package: Package) -> list[Mark]:
    """The marks of a package."""
    marks = []
    if package.state == "broken":
        marks.append(Mark("broken", SEVERE))
    if package.state == "removed":
        marks.append(Mark("removed, configuration left", WARN))
    if package.held:
        marks.append(Mark("held", INFO))
    return marks


def repository_marks(repository: Repository) -> list[Mark]:
    """The marks of a repository."""
    marks = [Mark("not signed", WARN if repository.disabled else SEVERE)] if repository.unsigned else []
    return [*marks, Mark("disabled")] if repository.disabled else marks


def without_secrets(text: str) -> str:
    """A URI or a `key=value` word without the name and password that it may hold."""
    return _SECRET.sub(rf"\1{_HIDDEN}", _PASSWORD.sub(f"{_HIDDEN}@", text))


def password_state(password: str) -> str:
    """What may be said of a password field; never a part of it."""
    if not password:
        return "no password"
    if password == "x":  # noqa: S105 - passwd(5): it is in a shadow file, which was not there or not read
        return "not known"
    return "locked" if password[0] in "!*" else "has password"


def user_marks(user: User, *, taken: int) -> list[Mark]:
    """The marks of an account; `taken` is the time of the audit in nanoseconds since the epoch."""
    state = password_state(user.password)
    marks = [Mark(state, {"no password": SEVERE, "has password": INFO}.get(state, QUIET))]
    if user.uid == 0 and user.name != "root":
        marks.insert(0, Mark("number 0", SEVERE))
    if user.expires is not None:
        expired = user.expires * _DAY <= taken
        day = rfc3339(user.expires * _DAY).partition("T")[0]
        marks.append(Mark(f"{'expired' if expired else 'expires'} {day}", WARN if expired else QUIET))
    return marks


def group_marks(group: Group) -> list[Mark]:
    """The marks of a group: a password is worth a mark only where there is one."""
    return [Mark("has password", WARN)] if password_state(group.password) == "has password" else []


def unit_marks(unit: Unit) -> list[Mark]:
    """The marks of a unit."""
    marks = []
    if unit.local:
        marks.append(Mark("local", WARN))
    if unit.state in ("masked", "bad"):
        marks.append(Mark(unit.state, WARN))
    if unit.dropins:
        marks.append(Mark("drop-ins", INFO))
    if unit.running:
        marks.append(Mark("running", INFO))
    return marks


def port_text(port: Port) -> str:
    """Address and port as they are written together."""
    return f"[{port.address}]:{port.port}" if ":" in port.address else f"{port.address}:{port.port}"


def port_marks(port: Port) -> list[Mark]:
    """The marks of a listening socket: who can reach it, as far as the address says."""
    try:
        address = ipaddress.ip_address(port.address.partition("%")[0].strip("[]"))
    except ValueError:
        return [Mark("every address", WARN)] if port.address == "*" else []
    if address.is_loopback:
        return [Mark("this machine only")]
    return [Mark("every address", WARN)] if address.is_unspecified else []
