"""Headers of rpm as the paths that their packages own.

What a package asks rpm not to verify (`%verify(not …)`) is of no interest here: it is about what is expected to change,
and whether it did is the question. Sources: rpm's tags (docs/manual/tags.md), lib/rpmfiles.h, lib/verify.c.
"""

from __future__ import annotations

import itertools
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from snapstore.model import KIND_OF_TYPE, Kind
from snapstore.system.capabilities import normal_capabilities
from snapstore.system.managers.rpmquery import DamagedValueError, Header
from snapstore.system.managers.trouble import Trouble, shown
from snapstore.system.packages import Digest, Owned
from snapstore.system.root import Root, RootError

CONFIG, GHOST = 1 << 0, 1 << 6
"""Bits of FILEFLAGS: an administrator's file; made at run time."""

NORMAL, REPLACED, NOT_INSTALLED, NET_SHARED, WRONG_COLOUR = range(5)
"""FILESTATES. A replaced file is on disk as another package ships it; one of the wrong colour is the other's of two

packages for different architectures, and has the same attributes, but not the same content.
"""

_ALGORITHMS = {
    1: ("md5", 16), 2: ("sha1", 20), 8: ("sha256", 32), 9: ("sha384", 48), 10: ("sha512", 64), 11: ("sha224", 28),
    12: ("sha3_256", 32), 14: ("sha3_512", 64),
}  # fmt: skip
"""FILEDIGESTALGO, with the numbers of OpenPGP: hashlib's name, and the length."""

_OLD_ALGORITHM = 1
_DEVICES = (Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE)
_T = TypeVar("_T")
_D = TypeVar("_D")
_HEX = re.compile(rb"[0-9a-fA-F]*\Z").match


class _Columns(NamedTuple):
    """What a header says of its files, one element a file in each; None for what it does not say."""

    names: list[bytes]
    modes: list[int]
    flags: list[int] | None
    states: list[int] | None
    sizes: list[int] | None
    devices: list[int] | None
    digests: list[bytes] | None
    targets: list[bytes] | None
    users: list[str] | None
    groups: list[str] | None
    capabilities: list[bytes] | None


def owned_by(header: Header, package: str, root: Root, trouble: Trouble) -> Iterator[Owned]:
    """What one header owns. Of one that is damaged the names alone are given, and nothing is vouched for.

    Where rpm has replaced a file, or holds that of another architecture, `digest` and `size` are None, and of a
    replaced one nothing is stated at all; see `settled`.
    """
    try:
        names = header.texts("FILENAMES")
    except DamagedValueError as error:
        trouble(f"what {package} owns is not known: {error}")
        return
    if not names:
        return
    if not header.damaged:
        try:
            columns = _columns(header, names)
            digests = _Digests(header.number_of("FILEDIGESTALGO"), package, trouble)
            installed = header.number_of("INSTALLTIME") or 0
        except DamagedValueError as error:
            trouble(f"nothing but the names of the files of {package} is known: {error}")
        else:
            yield from _rows(columns, digests, package=package, installed=installed, root=root, trouble=trouble)
            return
    for name in names:
        path = _path(name, package, root, trouble)
        if path:
            yield Owned(path, package, vouched=False)


def _columns(header: Header, names: list[bytes]) -> _Columns:
    """The arrays of a header, each as long as the names. DamagedValueError."""
    count = len(names)
    known: dict[bytes, str] = {}

    def numbers(tag: str) -> list[int] | None:
        return _counted(tag, header.numbers(tag), count)

    def texts(tag: str) -> list[bytes] | None:
        return _counted(tag, header.texts(tag), count)

    def owners(tag: str) -> list[str] | None:
        found = texts(tag)
        if found is None:
            return None
        known.update({each: each.decode("utf-8", "surrogateescape") for each in set(found)})
        return [known[each] for each in found]

    modes = numbers("FILEMODES")
    if modes is None:
        raise DamagedValueError("FILEMODES is not there")
    return _Columns(
        names, modes, numbers("FILEFLAGS"), numbers("FILESTATES"), numbers("LONGFILESIZES"), numbers("FILERDEVS"),
        texts("FILEDIGESTS"), texts("FILELINKTOS"), owners("FILEUSERNAME"), owners("FILEGROUPNAME"), texts("FILECAPS"),
    )  # fmt: skip


def _counted(tag: str, found: list[_T] | None, count: int) -> list[_T] | None:
    if found is not None and len(found) != count:
        raise DamagedValueError(f"{tag} has {len(found)} elements for {count} files")
    return found


class _Digests:
    """The digests of one package. Trouble with them is told once."""

    def __init__(self, algorithm: int | None, package: str, trouble: Trouble) -> None:
        number = _OLD_ALGORITHM if algorithm is None else algorithm
        self._name, self._length = _ALGORITHMS.get(number, ("", 0))
        self._package = package
        self._trouble = trouble
        self._told = False
        self._number = number

    def of(self, raw: bytes) -> Digest | None:
        """The digest that is written there; None for none, and for one that cannot be used."""
        if not raw:
            return None
        if not self._name:
            self._tell(f"the digests of {self._package} are of an unknown algorithm ({self._number})")
            return None
        if len(raw) != 2 * self._length or not _HEX(raw):
            self._tell(f"{self._package} has what is no {self._name} digest: {shown(raw)}")
            return None
        return Digest(self._name, bytes.fromhex(raw.decode("ascii")))

    def _tell(self, reason: str) -> None:
        if not self._told:
            self._told = True
            self._trouble(f"{reason}, so the content of its files cannot be compared")


def _path(name: bytes, package: str, root: Root, trouble: Trouble) -> bytes:
    """The canonical path; empty and a warning if there is none."""
    if not name.startswith(b"/") or b"\0" in name:
        trouble(f"{package} owns what is no absolute path: {shown(name)}")
        return b""
    try:
        return root.canonical(name)
    except RootError as error:
        trouble(f"{package} owns {shown(name)}, and where that is cannot be told: {error.strerror}")
        return b""


def _rows(
    columns: _Columns, digests: _Digests, *, package: str, installed: int, root: Root, trouble: Trouble
) -> Iterator[Owned]:
    for at, name in enumerate(columns.names):
        path = _path(name, package, root, trouble)
        if not path:
            continue
        flags = _element(columns.flags, at, 0)
        state = _element(columns.states, at, NORMAL)
        config, ghost = bool(flags & CONFIG), bool(flags & GHOST)
        # missingok says that rpm need not mind; the file was shipped, and somebody deleted it, all the same.
        optional = state in (NOT_INSTALLED, NET_SHARED)
        if state > WRONG_COLOUR:
            trouble(f"{package} has {shown(name)} in an unknown state ({state})")
            yield Owned(path, package, vouched=False)
            continue
        if state == REPLACED:
            yield Owned(path, package, config=config, ghost=ghost, optional=optional, installed=installed)
            continue
        mode = columns.modes[at]
        kind = KIND_OF_TYPE.get(stat.S_IFMT(mode))
        if kind is None and not ghost:
            trouble(f"{package} has {shown(name)} with a mode that makes no sense ({mode:o})")
            yield Owned(path, package, vouched=False)
            continue
        file = kind is Kind.FILE and not ghost
        content = file and state != WRONG_COLOUR
        permissions: int | None = stat.S_IMODE(mode)
        if kind is Kind.SYMLINK or (ghost and not permissions):
            permissions = None  # no mode was given where nothing was shipped; that of a link says nothing
        yield Owned(
            path,
            package,
            kind=kind,
            digest=digests.of(_element(columns.digests, at, b"")) if content else None,
            mode=permissions,
            user=_element(columns.users, at, "") or None,
            group=_element(columns.groups, at, "") or None,
            size=_element(columns.sizes, at, None) if content else None,
            target=(_element(columns.targets, at, b"") or None) if kind is Kind.SYMLINK and not ghost else None,
            capabilities=_capabilities(columns, at) if file else None,
            rdev=_device(columns, at) if kind in _DEVICES else None,
            config=config,
            ghost=ghost,
            optional=optional,
            installed=installed,
        )


def _element(column: Sequence[_T] | None, at: int, default: _D) -> _T | _D:
    return default if column is None else column[at]


def _capabilities(columns: _Columns, at: int) -> str:
    """Their text; empty for none, which a package says that has no list of them."""
    text = _element(columns.capabilities, at, b"").decode("utf-8", "surrogateescape")
    return normal_capabilities(text) if text else ""


def _device(columns: _Columns, at: int) -> tuple[int, int] | None:
    """Major and minor number, of eight bits each in a header."""
    number = _element(columns.devices, at, None)
    return None if number is None else (number >> 8 & 0xFF, number & 0xFF)


def is_mixed(header: Header) -> bool:
    """Whether rpm says of some of its files that they are on disk as another package ships them."""
    try:
        states = header.numbers("FILESTATES") or []
    except DamagedValueError:
        return False  # then nothing is vouched for
    return REPLACED in states or WRONG_COLOUR in states


def settled(mixed: Iterable[Owned], others: Iterable[Owned]) -> Iterator[Owned]:
    """All records, but of those of `mixed` that say nothing of a file's content only where no other is of that path.

    Comparing a file with both would let the record that knows less win over the one that knows the content.
    """
    sure: list[Owned] = []
    vague: list[Owned] = []
    for each in mixed:
        (vague if _is_vague(each) else sure).append(each)
    paths = {each.path for each in vague}
    known: set[bytes] = set()
    for each in itertools.chain(sure, others):
        if each.path in paths and not _is_vague(each):
            known.add(each.path)
        yield each
    yield from (each for each in vague if each.path not in known)


def _is_vague(owned: Owned) -> bool:
    return owned.kind is None or (owned.kind is Kind.FILE and owned.digest is None and not owned.ghost)
