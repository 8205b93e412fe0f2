"""The unit files of systemd in a root, found in the order of their directories, and what they say of themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from stat import S_ISCHR, S_ISDIR, S_ISLNK, S_ISREG
from typing import NamedTuple

from snapstore.system.capture.lines import names_in, numbered_lines, read_file
from snapstore.system.packages import Warn
from snapstore.system.root import Root, RootError

CONFIGURED = b"/etc/systemd/system"
_CONTROL, _ATTACHED = b"/etc/systemd/system.control", b"/etc/systemd/system.attached"
_VENDOR = (b"/usr/local/lib/systemd/system", b"/usr/lib/systemd/system", b"/lib/systemd/system")
_EARLY, _LATE = b"/run/systemd/generator.early", b"/run/systemd/generator.late"
_TRANSIENT, _GENERATOR = b"/run/systemd/transient", b"/run/systemd/generator"
_STORED = (_CONTROL, CONFIGURED, _ATTACHED, *_VENDOR)
_LIVE = (
    _CONTROL, b"/run/systemd/system.control", _TRANSIENT, _EARLY, CONFIGURED, _ATTACHED, b"/run/systemd/system",
    b"/run/systemd/system.attached", _GENERATOR, *_VENDOR, _LATE,
)  # fmt: skip
GENERATORS = (_EARLY, _GENERATOR, _LATE)
SCRIPTS = _LATE
"""Where the unit of a script of System V is put, which is known by its script."""

NOTHING = b"/dev/null"
"""What a masked unit leads to."""

_TYPES = b"service|socket|device|mount|automount|swap|target|path|timer|slice|scope"
_NAME = re.compile(rb"[A-Za-z0-9:_.\\-]+(@[A-Za-z0-9:_.\\@-]*)?\.(?:%b)\Z" % _TYPES).match
_LINKING = (b".wants", b".requires", b".upholds")
_NAME_LIMIT = 255
_UNITS_LIMIT = 100_000
_ALIAS = b"Alias"
_INSTALLS = (_ALIAS, b"WantedBy", b"RequiredBy", b"UpheldBy")
_ALSO = b"Also"


def is_unit_name(name: bytes) -> bool:
    """Whether systemd would take a file of that name for a unit."""
    return len(name) <= _NAME_LIMIT and _NAME(name) is not None


def template_of(name: bytes) -> bytes:
    """The template that an instance is made of (`getty@tty1.service`: `getty@.service`); empty for any other unit."""
    stem, dot, kind = name.rpartition(b".")
    prefix, at, instance = stem.partition(b"@")
    return prefix + b"@" + dot + kind if at and instance else b""


def may_be_alias(alias: bytes, target: bytes) -> bool:
    """Whether a unit may be another name of one: both of one type, and both templates, or instances, or neither."""
    if alias.rpartition(b".")[2] != target.rpartition(b".")[2]:
        return False
    shapes = [(b"@" in each, bool(template_of(each))) for each in (alias, target)]
    return shapes[0] == shapes[1] or (shapes[0] == (True, True) and shapes[1][0])


class Link(NamedTuple):
    """One link below a directory of units: its own path and name, and the name of what it stands for."""

    path: bytes
    name: bytes
    target: bytes


class Found(NamedTuple):
    """One name in a directory of units: whether it is a link, and what that leads to, as written and absolute."""

    path: bytes
    link: bytes


@dataclass(slots=True)
class Directory:
    """One directory of units: `files` by name, the links in it and in its *.wants and such, its drop-in files."""

    path: bytes
    files: dict[bytes, Found] = field(default_factory=dict)
    links: list[Link] = field(default_factory=list)
    dropins: dict[bytes, list[bytes]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Install:
    """What the [Install] sections of a unit say: whether it can be enabled, and by which names it then is known.

    `also`: others are to be enabled with it. `instance` is what a template is enabled as where nothing else is said.
    """

    rules: bool
    also: bool
    aliases: frozenset[bytes]
    instance: bytes

    def knows(self, name: bytes, unit: bytes) -> bool:
        """Whether a link of some name is what enabling the unit would have made."""
        if name == unit or name in self.aliases:
            return True
        return bool(self.instance) and b"@." in unit and name == unit.replace(b"@.", b"@" + self.instance + b".")


def read_directories(root: Root, warn: Warn) -> list[Directory]:
    """The directories of units that a root has, the most important first; those of /run of the live system only."""
    found: dict[bytes, Directory] = {}
    left = _UNITS_LIMIT
    for path in _LIVE if root.live else _STORED:
        try:
            place = root.resolve(path)
        except RootError as error:
            warn(path, f"it cannot be followed: {error.strerror}")
            continue
        if place in found:
            continue  # /lib is /usr/lib
        names = names_in(root, place, warn)
        if len(names) > left:
            warn(path, f"of more than {_UNITS_LIMIT} units, those here that are too many were not read")
        found[place] = _read_directory(root, place, names[:left], warn)
        left -= len(names[:left])
    return list(found.values())


def _read_directory(root: Root, path: bytes, names: list[bytes], warn: Warn) -> Directory:
    directory = Directory(path)
    for name in names:
        here = path + b"/" + name
        try:
            status = root.status(here)
            link = root.readlink(here) if status is not None and S_ISLNK(status.st_mode) else None
            is_directory = status is not None and S_ISDIR(status.st_mode if link is None else _mode(root, here))
        except RootError as error:
            warn(here, f"it cannot be looked at: {error.strerror}")
            continue
        if name.endswith(b".d"):
            if is_directory:
                directory.dropins[name[:-2]] = [each for each in names_in(root, here, warn) if each.endswith(b".conf")]
        elif name.endswith(_LINKING):
            if is_directory:
                directory.links += _links_in(root, here, warn)
        elif status is not None and is_unit_name(name) and (link is not None or S_ISREG(status.st_mode)):
            target = b"" if link is None else _absolute(path, link)
            directory.files[name] = Found(here, target)
            if link is not None:
                directory.links.append(Link(here, name, target.rpartition(b"/")[2]))
    return directory


def _mode(root: Root, path: bytes) -> int:
    status = root.status(path, follow=True)
    return 0 if status is None else status.st_mode


def _links_in(root: Root, path: bytes, warn: Warn) -> Iterator[Link]:
    for name in names_in(root, path, warn):
        if not is_unit_name(name):
            continue
        here = path + b"/" + name
        try:
            target = root.readlink(here)
        except RootError as error:
            warn(here, f"it cannot be looked at: {error.strerror}")
            continue
        if target is not None:
            # Here the name of a link says what it enables, wherever it leads: a unit, or an instance of a template.
            yield Link(here, name, template_of(name) or name)


def _absolute(directory: bytes, target: bytes) -> bytes:
    return target if target.startswith(b"/") else directory + b"/" + target


def is_masking(root: Root, path: bytes, warn: Warn) -> bool:
    """Whether a unit file masks its unit: it is empty, or leads to /dev/null.

    Of an image, /dev/null may be missing; a link to it means the same there.
    """
    try:
        if root.resolve(path) == NOTHING:
            return True
        status = root.status(path, follow=True)
    except RootError as error:
        warn(path, f"it cannot be followed: {error.strerror}")
        return False
    return status is not None and (S_ISCHR(status.st_mode) or (S_ISREG(status.st_mode) and not status.st_size))


def read_install(root: Root, paths: list[bytes], warn: Warn) -> Install:
    """What the [Install] sections of a unit file and its drop-in files say together."""
    values: dict[bytes, list[bytes]] = {}
    for path in paths:
        data = read_file(root, path, warn, limit=1 << 20)
        inside = False
        for _, line in numbered_lines(path, data or b"", warn):
            text = line.strip()
            if text.startswith(b"["):
                inside = text == b"[Install]"
            elif inside and not text.startswith((b"#", b";")):
                name, equals, value = text.partition(b"=")
                if equals and value.strip():
                    values.setdefault(name.strip(), []).extend(value.split())
                elif equals:
                    values[name.strip()] = []  # an empty value takes back what was said before
    return Install(
        rules=any(values.get(name) for name in _INSTALLS),
        also=bool(values.get(_ALSO)),
        aliases=frozenset(values.get(_ALIAS, ())),
        instance=b"".join(values.get(b"DefaultInstance", ())[-1:]),
    )
