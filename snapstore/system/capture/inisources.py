"""Sources in files of sections (.repo files of yum, dnf and zypper, pacman.conf(5)) and in apk-repositories(5)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from snapstore.system.capture.lines import LINE_LIMIT, names_in, numbered_lines, read_file, text_of, word_of
from snapstore.system.capture.sources import Source, make_source
from snapstore.system.managers.globs import PATTERN_LIMIT, compile_glob, is_glob
from snapstore.system.packages import Warn
from snapstore.system.root import Root

_TRUE = (b"1", b"yes", b"true", b"on", b"enabled")
_FALSE = (b"0", b"no", b"false", b"off", b"disabled", b"never")
_LIST_FIELDS = ("baseurl", "gpgkey", "enabled", "gpgcheck")
_FILE_LIMIT = 200
_DEPTH_LIMIT = 10


@dataclass(frozen=True, slots=True)
class Section:
    """One `[name]` of a file and its values by lower-case name; lines that continue a value follow after line feeds."""

    name: bytes
    values: dict[str, bytes] = field(default_factory=dict)


def read_sections(path: bytes, data: bytes, warn: Warn) -> Iterator[Section]:
    """The sections of a file, in order; what stands before the first, or makes no sense, is a warning."""
    section: Section | None = None
    last = ""
    size = 0
    for number, line in numbered_lines(path, data, warn):
        text = line.strip()
        if not text or line[:1] in (b"#", b";"):
            continue
        if line[:1] == b"[":
            name, closed, _ = text[1:].partition(b"]")
            if section is not None:
                yield section
            section, last, size = Section(name), "", 0
            if not closed:
                warn(path, f"line {number} is a section whose name does not end")
            continue
        size += len(line)
        if section is None or size > LINE_LIMIT:
            warn(path, f"line {number} is in no section, or in one that is too long, and is passed over")
            continue
        if line[:1] in (b" ", b"\t") and last:
            section.values[last] += b"\n" + text
            continue
        option, equals, value = text.partition(b"=")
        if not equals:
            option, equals, value = text.partition(b":")
        if not equals or not option.strip():
            warn(path, f"line {number} states nothing and is passed over")
            continue
        last = word_of(option.strip().lower())
        section.values[last] = value.strip()
    if section is not None:
        yield section


def parse_repo(path: bytes, data: bytes, warn: Warn, *, checked: bool) -> Iterator[Source]:
    """The sources of a .repo file, in order. `checked`: signatures are looked at where a section does not say.

    Variables such as `$releasever` stay as they are written: they are the machine's, not the file's.
    """
    for section in read_sections(path, data, warn):
        if section.name == b"main":
            continue
        values = section.values
        if not any(values.get(name) for name in ("baseurl", "mirrorlist", "metalink")):
            warn(path, f"the section {text_of(section.name)!r} states no address")
        keys = _listed(values.get("gpgkey", b""))
        yield make_source(
            path,
            "rpm",
            name=section.name,
            uris=_listed(values.get("baseurl", b"")),
            disabled=values.get("enabled", b"1").lower() not in _TRUE,
            unsigned=not is_checked(values, default=checked),
            keys=keys,
            keyrings=[
                key.removeprefix(b"file://") for key in keys if key.startswith((b"file:///", b"/")) and b"$" not in key
            ],
            options={name: value for name, value in values.items() if name not in _LIST_FIELDS},
        )


def is_checked(values: dict[str, bytes], *, default: bool) -> bool:
    """Whether `gpgcheck` asks for signatures of packages; what is no word that is known does not."""
    stated = values.get("gpgcheck")
    if stated is None:
        stated = values.get("pkg_gpgcheck")
    return default if stated is None else stated.lower() in _TRUE


def _listed(value: bytes) -> list[bytes]:
    return value.replace(b",", b" ").split()


def parse_apk(path: bytes, data: bytes, warn: Warn) -> Iterator[Source]:
    """The sources of a file of lines `[@tag] address [component...]`."""
    for _, line in numbered_lines(path, data, warn):
        words = line.split()
        if not words or words[0].startswith(b"#"):
            continue
        tag = words.pop(0)[1:] if words[0].startswith(b"@") else b""
        options: dict[str, bytes] = {}
        if len(words) > 1 and words[0] in (b"v2", b"v3", b"ndx"):
            options["index"] = words.pop(0)
        if not words:
            warn(path, f"the tag {text_of(tag)!r} has no address")
            continue
        yield make_source(path, "apk", name=tag, uris=words[:1], components=words[1:], options=options)


class PacmanSources:
    """The sources of pacman.conf(5), gathered over the files that include each other."""

    def __init__(self, root: Root, warn: Warn) -> None:
        self._root = root
        self._warn = warn
        self._sections: dict[bytes, dict[str, list[bytes]]] = {}
        self._section = b""
        self._left = _FILE_LIMIT

    def read(self, path: bytes) -> list[Source]:
        """The sources in the order in which pacman asks them, each with its place as an option."""
        self._read(path, depth=0)
        level = b" ".join(self._sections.get(b"options", {}).get("siglevel", []))
        found: list[Source] = []
        for name, values in self._sections.items():
            if name == b"options":
                continue
            own = b" ".join(values.get("siglevel", []))
            options = {key: b",".join(each) for key, each in values.items() if key != "server"}
            options["place"] = b"%d" % len(found)
            servers = values.get("server", [])
            unsigned = takes_unsigned(level + b" " + own)
            found.append(make_source(path, "pacman", name=name, uris=servers, unsigned=unsigned, options=options))
        return found

    def _read(self, path: bytes, *, depth: int) -> None:
        if not self._left or depth > _DEPTH_LIMIT:
            self._warn(path, "it was not read: too many files include each other")
            return
        self._left -= 1
        data = read_file(self._root, path, self._warn)
        if data is None:
            if depth:
                self._warn(path, "it is included, and nothing of it was read")
            return
        for _, line in numbered_lines(path, data, self._warn):
            text = line.strip()
            if not text or text.startswith(b"#"):
                continue
            if text.startswith(b"[") and text.endswith(b"]"):
                self._section = text[1:-1]
                self._sections.setdefault(self._section, {})
                continue
            name, _, value = (part.strip() for part in text.partition(b"="))
            if name == b"Include":
                for each in self._expand(value):
                    self._read(each, depth=depth + 1)
            elif not self._section:
                self._warn(path, "a line stands in no section and is passed over")
            else:
                self._take(path, word_of(name.lower()), value)

    def _take(self, path: bytes, name: str, value: bytes) -> None:
        stated = self._sections[self._section]
        if sum(len(each) + 1 for values in stated.values() for each in values) + len(value) > LINE_LIMIT:
            self._warn(path, f"the section {text_of(self._section)!r} is too long; a line of it is passed over")
            return
        stated.setdefault(name, []).append(value)

    def _expand(self, pattern: bytes) -> list[bytes]:
        """The files that an Include means; only its last component may be a pattern."""
        directory, _, name = pattern.rpartition(b"/")
        if not is_glob(name) or len(pattern) > PATTERN_LIMIT:
            return [pattern]
        test = compile_glob(name)
        names = names_in(self._root, directory or b"/", self._warn)
        return [directory + b"/" + each for each in names if not each.startswith(b".") and test(each)]


def takes_unsigned(level: bytes) -> bool:
    """Whether the words of a SigLevel let packages without a signature in; the last word about it counts.

    `Optional`, which is what holds where nothing is said, does: only a signature that is there is looked at.
    """
    unsigned = True
    for word in level.split():
        name = word.removeprefix(b"Package")
        if name in (b"Never", b"Optional"):
            unsigned = True
        elif name == b"Required":
            unsigned = False
    return unsigned
