"""dpkg's record of packages: `status`, the journal beside it, and what apt notes about them (deb-status(5), dpkg(1)).

`status` is one stanza a package. While dpkg runs, newer stanzas are in `updates/`, numbered files that take effect in
order; a machine that lost power in the middle has them still.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from snapstore.errors import PackageDatabaseError
from snapstore.system.managers.deb822 import Stanza, read_stanzas
from snapstore.system.managers.trouble import Trouble, shown
from snapstore.system.packages import Warn
from snapstore.system.root import Root, RootError

ADMIN = b"/var/lib/dpkg"
INFO = ADMIN + b"/info"
STATUS = ADMIN + b"/status"
UPDATES = ADMIN + b"/updates"
EXTENDED = b"/var/lib/apt/extended_states"

PATH_LIMIT = 4096
"""PATH_MAX: no path that is longer can be opened, or was ever unpacked."""

_ADVICE = "dpkg keeps the one before as status-old, and daily ones in /var/backups"
_WORD_LIMIT = 1024
_STATES = {
    "installed": "installed",
    "triggers-pending": "installed",
    "triggers-awaited": "installed",
    "unpacked": "broken",
    "half-configured": "broken",
    "half-installed": "broken",
    "config-files": "removed",
}
_WANTS = frozenset({"unknown", "install", "hold", "deinstall", "purge"})
_FLAGS = frozenset({b"obsolete", b"remove-on-upgrade"})
_is_package = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]{0,199}\Z").match
_is_arch = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,99}\Z").match
_is_digest = re.compile(rb"[0-9A-Fa-f]{32}\Z").match
_source = re.compile(r"\S+").match


@dataclass(frozen=True, slots=True)
class Conffile:
    """A configuration file of a package, as `status` has it.

    `digest` is the MD5 of the version that was shipped last, None where dpkg has none yet (`newconffile`). `obsolete`:
    the package does not ship it any more, or (`remove-on-upgrade`) never does. `stated` is False for one that `status`
    should have and has not.
    """

    path: bytes
    digest: bytes | None
    obsolete: bool = False
    stated: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One package of the database; `unique` is how dpkg names it without doubt.

    `shared` means that it may be installed for several architectures at once (`Multi-Arch: same`). `whole` is False
    where the record is damaged, or says that the package is.
    """

    name: str
    arch: str
    version: str
    state: str
    held: bool = False
    shared: bool = False
    source: str = ""
    size: int = 0
    conffiles: tuple[Conffile, ...] = ()
    whole: bool = True

    @property
    def unique(self) -> str:
        """The name, with the architecture where several may be installed."""
        return f"{self.name}:{self.arch}" if self.shared else self.name


def read_records(root: Root, warn: Warn) -> list[Record]:
    """The packages of a root, sorted by name, architecture and version. PackageDatabaseError.

    A package of which nothing is left is none. One that is recorded twice is reported once, as damaged.
    """
    records: dict[tuple[str, str], Record] = {}
    data = _read(root, STATUS)
    if data is None:
        if any(name.endswith(b".list") for name in _names(root, INFO)):
            raise PackageDatabaseError("/var/lib/dpkg/status is missing", advice=_ADVICE)
        if _is_there(root, STATUS):
            raise PackageDatabaseError("/var/lib/dpkg/status is a link that leads nowhere", advice=_ADVICE)
        data = b""
    with Trouble(warn, STATUS) as trouble:
        for stanza in read_stanzas(data, trouble):
            _take(records, _record(stanza, trouble), trouble, again=False)
        if data and not records and trouble.count:
            raise PackageDatabaseError("/var/lib/dpkg/status holds no package", advice=_ADVICE)
    for name in _names(root, UPDATES):
        if name.isdigit():
            path = UPDATES + b"/" + name
            with Trouble(warn, path) as trouble:
                data = _read(root, path) or b""
                # A file of the journal is written whole and named last; it ends with a line, not with an empty one.
                ended = data.endswith(b"\n")
                for stanza in read_stanzas(data, trouble):
                    _take(records, _record(replace(stanza, ended=ended), trouble), trouble, again=True)
    kept = [each for each in records.values() if each.state]
    if not kept and any(name.endswith(b".list") for name in _names(root, INFO)):
        raise PackageDatabaseError(
            "/var/lib/dpkg/status holds no package, but lists of files are there", advice=_ADVICE
        )
    names: dict[str, int] = {}
    for each in kept:
        names[each.name] = names.get(each.name, 0) + 1
    several = [replace(each, shared=True) if names[each.name] > 1 else each for each in kept]
    return sorted(several, key=lambda each: (each.name, each.arch, each.version))


def read_automatic(root: Root, warn: Warn) -> frozenset[tuple[str, str]]:
    """(name, architecture) of the packages that apt installed because others need them.

    apt states the machine's own architecture for a package of all, so each is there with "all" too.
    """
    found = set()
    with Trouble(warn, EXTENDED) as trouble:
        for stanza in read_stanzas(read_quietly(root, EXTENDED, trouble), trouble):
            name, arch, auto = stanza.text(b"package"), stanza.text(b"architecture"), stanza.text(b"auto-installed")
            if not stanza.sound or not _is_package(name) or (arch and not _is_arch(arch)) or auto not in ("", "0", "1"):
                trouble(f"the record at line {stanza.line} makes no sense")
            elif auto == "1":
                found.add((name, arch))
                found.add((name, "all"))
    return frozenset(found)


def read_quietly(root: Root, path: bytes, trouble: Trouble) -> bytes:
    """The bytes of a file that need not be there; none, and trouble, where it cannot be read."""
    try:
        return root.read(path) or b""
    except RootError as error:
        trouble(f"it cannot be read: {error.strerror}")
        return b""


def list_quietly(root: Root, path: bytes, warn: Warn) -> list[bytes]:
    """The names in a directory that need not be there; none, and trouble, where it cannot be read."""
    try:
        return root.list(path)
    except RootError as error:
        warn(path, f"it cannot be read: {error.strerror}")
        return []


def is_path(path: bytes) -> bool:
    """Whether bytes of a database are an absolute path without detours that a file can have."""
    if path[:1] != b"/" or len(path) >= PATH_LIMIT or b"\0" in path or path.endswith(b"/"):
        return False
    return {b"", b".", b".."}.isdisjoint(path[1:].split(b"/"))


def unhex(digits: bytes) -> bytes | None:
    """The 16 bytes of an MD5 in hexadecimal digits, None if it is none."""
    return bytes.fromhex(digits.decode()) if _is_digest(digits) else None


def _read(root: Root, path: bytes) -> bytes | None:
    try:
        return root.read(path)
    except RootError as error:
        raise PackageDatabaseError(f"{path.decode()} cannot be read: {error.strerror}", advice=_ADVICE) from error


def _is_there(root: Root, path: bytes) -> bool:
    try:
        return root.status(path) is not None
    except RootError as error:
        raise PackageDatabaseError(f"{path.decode()} cannot be read: {error.strerror}", advice=_ADVICE) from error


def _names(root: Root, path: bytes) -> list[bytes]:
    try:
        return root.list(path)
    except RootError as error:
        raise PackageDatabaseError(f"{path.decode()} cannot be read: {error.strerror}") from error


def _take(
    records: dict[tuple[str, str], Record], record: Record | None, trouble: Trouble, *, again: bool
) -> None:  # fmt: skip
    """Nothing; the record stands for its package, as a damaged one if there is another of it in the same file."""
    if record is None:
        return
    key = (record.name, record.arch)
    if key in records and not again:
        trouble(f"{record.name}:{record.arch} is recorded more than once")
        record = replace(record, whole=False)
    records[key] = record


def _record(stanza: Stanza, trouble: Trouble) -> Record | None:
    """What one stanza says; None, and trouble, where it names no package. Without a state, nothing of it is left."""
    name, arch, version = stanza.text(b"package"), stanza.text(b"architecture"), stanza.text(b"version")
    if not _is_package(name) or (arch and not _is_arch(arch)):
        trouble(f"the record at line {stanza.line} names no package")
        return None
    whole = stanza.sound
    if not stanza.ended:
        trouble(f"the record of {name} may be cut off: the file ends in it")
        whole = False
    state, held, sound = _state(stanza.words(b"status"))
    if not sound:
        trouble(f"the status of {name} makes no sense: {shown(stanza.fields.get(b'status', b''))}")
    if state and (not version or len(version) > _WORD_LIMIT or version.split() != [version]):
        trouble(f"the version of {name} makes no sense: {shown(stanza.fields.get(b'version', b''))}")
        version, whole = "", False
    conffiles: list[Conffile] = []
    for line in stanza.lines(b"conffiles"):
        conffile = _conffile(line)
        if conffile is None:
            trouble(f"a configuration file of {name} makes no sense: {shown(line)}")
            whole = False
        else:
            conffiles.append(conffile)
    source = _source(stanza.text(b"source")[:_WORD_LIMIT])
    size = stanza.text(b"installed-size")
    return Record(
        name=name,
        arch=arch,
        version=version,
        state=state,
        held=held,
        shared=stanza.text(b"multi-arch") == "same",
        source=source.group() if source else "",
        size=int(size) << 10 if size.isascii() and size.isdigit() and len(size) <= 12 else 0,
        conffiles=tuple(conffiles),
        whole=whole
        and sound
        and stanza.words(b"status")[1:2] == ["ok"]
        and "half-installed" not in stanza.text(b"status"),
    )


def _state(words: list[str]) -> tuple[str, bool, bool]:
    """(state, held, whether all words are known) of a status; no state where nothing of the package is left."""
    if len(words) != 3:
        return "broken", False, False
    want, flag, status = words
    sound = want in _WANTS and flag in ("ok", "reinstreq")
    if status == "not-installed":
        return "", False, sound
    state = _STATES.get(status)
    if state is None:
        return "broken", want == "hold", False
    return "broken" if flag != "ok" else state, want == "hold", sound


def _conffile(line: bytes) -> Conffile | None:
    """` /path digest [obsolete] [remove-on-upgrade]`, read from its end: a path may hold blanks."""
    obsolete = False
    path, _, last = line.rpartition(b" ")
    while last in _FLAGS:
        obsolete = True
        path, _, last = path.rpartition(b" ")
    digest = unhex(last)
    path = path.rstrip(b" ")
    if not is_path(path) or (digest is None and last != b"newconffile"):
        return None
    return Conffile(path, digest, obsolete)
