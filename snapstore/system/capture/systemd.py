"""The units of systemd in a root and their states, told from files and links as systemctl(1) tells them.

Nothing is asked of systemd itself, so that an image and a running system are told alike. What is not told apart here is
what is enabled for this boot alone (`enabled-runtime`): it counts as enabled, and so do linked and masked units.
"""

from __future__ import annotations

from collections.abc import Iterator

from snapstore.system.capture.lines import text_of, word_of
from snapstore.system.capture.unitfiles import (
    GENERATORS,
    NOTHING,
    Found,
    is_masking,
    may_be_alias,
    read_directories,
    read_install,
    template_of,
)
from snapstore.system.packages import Ownership, Warn
from snapstore.system.root import Root, RootError
from snapstore.system.scopes.services import Unit

_TRANSIENT = b"/run/systemd/transient"
_HOPS = 16


class Units:
    """All units of a root, and how they are told of."""

    def __init__(self, root: Root, ownership: Ownership, warn: Warn) -> None:
        self._root = root
        self._ownership = ownership
        self._warn = warn
        self._directories = read_directories(root, warn)
        self._by_name: dict[bytes, Found] = {}
        for directory in self._directories:
            for name, found in directory.files.items():
                self._by_name.setdefault(name, found)
        # Every link by its own name and by that of what it leads to, with the number of its directory.
        self._links: dict[bytes, list[tuple[int, bytes, bytes, bytes]]] = {}
        for number, directory in enumerate(self._directories):
            for link in directory.links:
                for key in {link.name, link.target}:
                    self._links.setdefault(key, []).append((number, *link))

    def names(self) -> list[bytes]:
        """The names of all unit files, and of the instances that are enabled, sorted."""
        instances = {
            link.name
            for directory in self._directories
            for link in directory.links
            if template_of(link.name) in self._by_name
        }
        return sorted(set(self._by_name) | instances)

    def has(self, name: bytes) -> bool:
        """Whether there is a unit file of that name."""
        return name in self._by_name

    def is_template_of(self, name: bytes) -> bool:
        """Whether there is a template that a unit of that name is an instance of."""
        return template_of(name) in self._by_name

    def unit(self, name: bytes) -> Unit:
        """The row of a unit; one that leads nowhere has the state "bad"."""
        known = self._by_name.get(name) or self._by_name.get(template_of(name))
        if known is None:
            return Unit(name=text_of(name), state="bad")
        found = known
        real, path = self._follow(name, found)
        if not path:
            return self._row(name, "bad", found.path)
        if is_masking(self._root, path, self._warn):
            return self._row(name, "masked", path)
        if real != name and not template_of(name):
            return self._row(name, "alias", path)
        return self._row(name, self._state(name, path), path)

    def _follow(self, name: bytes, found: Found) -> tuple[bytes, bytes]:
        """What a unit is called without aliases, and where its file is (empty if nowhere).

        A link makes an alias, unless it has the name of what it leads to; one that leads out of the directories of
        units brings a file in from elsewhere.
        """
        real = name
        places = {directory.path for directory in self._directories}
        for _ in range(_HOPS):
            if not found.link:
                return real, found.path
            place = self._literal(found)
            if not place:
                return real, b""
            if place == NOTHING:
                return real, found.path
            parent, _, target = place.rpartition(b"/")
            if target not in (name, template_of(name)):
                real = target
            if parent not in places:
                return real, self._elsewhere(place)
            own = found.path.rpartition(b"/")[2]
            if target == own or not may_be_alias(own, target):
                return real, b""  # a unit that is an alias of itself is taken for a loop
            if target == template_of(own):
                # A template is found where the link of its instance leads, or not at all.
                inside = next((each.files.get(target) for each in self._directories if each.path == parent), None)
            else:
                # Which of the directories the link names is of no matter: the name is looked up in all of them.
                inside = self._by_name.get(target) or self._by_name.get(template_of(target))
            if inside is None:
                return real, b""
            found = inside
        return real, b""

    def _literal(self, found: Found) -> bytes:
        """Where a link itself leads; empty for too many links on the way."""
        try:
            return self._root.canonical(found.link)
        except RootError:
            return b""

    def _elsewhere(self, place: bytes) -> bytes:
        """The path that a link out of the directories leads to; empty if nothing is there."""
        try:
            resolved = self._root.resolve(place)
            return resolved if self._root.status(resolved) is not None else b""
        except RootError as error:
            self._warn(place, f"it cannot be followed: {error.strerror}")
            return b""

    def _state(self, name: bytes, path: bytes) -> str:
        directory = path.rpartition(b"/")[0]
        if directory in GENERATORS:
            return "generated"
        if directory == _TRANSIENT:
            return "transient"
        install = read_install(self._root, [path, *self.dropins(name)], self._warn)
        level = next(
            (at for at, each in enumerate(self._directories) if each.path == directory), len(self._directories)
        )
        same = known = other = False
        for at, here, own, target in self._links.get(name, ()):
            place = self._directories[at].path
            configured = place.startswith((b"/etc/", b"/run/"))
            if own == name and target == name and here == place + b"/" + name:
                same = same or configured  # it brings in a file of the same name, and does not enable it
            elif own == name and here == place + b"/" + name and at > level:
                continue  # what is less important than the unit's own file and has its name is not seen
            elif not configured and not template_of(name):
                continue  # what packages bring with them is always there, and enables nothing
            elif install.knows(own, name):
                if configured:
                    return "enabled"
                known = True
            else:
                other = True
        if known:
            return "static"
        if same:
            return "linked"
        if other:
            return "indirect"
        if install.rules:
            return "disabled"
        return "indirect" if install.also else "static"

    def dropins(self, name: bytes) -> list[bytes]:
        """The drop-in files of a unit in their order, of its template too; of equal names the most important one.

        Those of a whole type (`service.d`) belong to no unit and are left out.
        """
        found: dict[bytes, bytes] = {}
        for key in _dropin_names(name):
            for directory in self._directories:
                for each in directory.dropins.get(key, ()):
                    found.setdefault(each, directory.path + b"/" + key + b".d/" + each)
        return [found[each] for each in sorted(found)]

    def _row(self, name: bytes, state: str, path: bytes) -> Unit:
        packages = self._ownership.packages_of(path)
        return Unit(
            name=text_of(name),
            state=state,
            file=path,
            package=" ".join(packages),
            local=not packages and path.rpartition(b"/")[0] not in (*GENERATORS, _TRANSIENT),
            dropins=tuple(map(word_of, self.dropins(name))),
        )


def _dropin_names(name: bytes) -> Iterator[bytes]:
    """The names whose drop-in directories a unit looks into: its own, its template's, their beginnings up to a dash."""
    for each in filter(None, (name, template_of(name))):
        yield each
        stem, dot, kind = each.rpartition(b".")
        prefix, at, _ = stem.partition(b"@")
        while b"-" in prefix:
            prefix = prefix.rstrip(b"-").rpartition(b"-")[0]
            if prefix:
                yield prefix + b"-" + at + dot + kind
