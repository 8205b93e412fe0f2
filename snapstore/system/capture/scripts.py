"""Services that are scripts in /etc/init.d, as System V and OpenRC start them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from stat import S_IMODE, S_ISREG

from snapstore.system.capture.lines import names_in, text_of, word_of
from snapstore.system.packages import Ownership, Warn
from snapstore.system.root import Root, RootError
from snapstore.system.scopes.services import Unit

_SCRIPTS = b"/etc/init.d"
_LEVELS = (b"S", b"0", b"1", b"2", b"3", b"4", b"5", b"6")
_START = re.compile(rb"S[0-9]{2}(.+)\Z", re.DOTALL).match
_OPENRC = b"/etc/runlevels"
_NO_SERVICES = (b"README", b"skeleton", b"functions", b"functions.sh", b"rc", b"rcS", b"single")


def script_units(root: Root, ownership: Ownership, warn: Warn) -> Iterator[Unit]:
    """A unit for each script, named as systemd names it; `runlevels` are those in which it starts."""
    levels = _runlevels(root, warn)
    for name in names_in(root, _SCRIPTS, warn):
        if name in _NO_SERVICES or name.startswith(b"."):
            continue
        here = _SCRIPTS + b"/" + name
        try:
            place = root.canonical(here)
            status = root.status(here, follow=True)
        except RootError as error:
            warn(here, f"it cannot be looked at: {error.strerror}")
            continue
        if status is None or not S_ISREG(status.st_mode) or not S_IMODE(status.st_mode) & 0o111:
            continue
        packages = ownership.packages_of(place)
        yield Unit(
            name=text_of(unit_name_of(name)),
            state="generated",
            file=place,
            package=" ".join(packages),
            local=not packages,
            runlevels=tuple(sorted(levels.get(name, ()))),
        )


def unit_name_of(script: bytes) -> bytes:
    """What systemd calls the unit that it makes of a script."""
    return script.removesuffix(b".sh") + b".service"


def _runlevels(root: Root, warn: Warn) -> dict[bytes, set[str]]:
    """In which runlevels a script starts, by its name."""
    found: dict[bytes, set[str]] = {}
    for level in _LEVELS:
        for directory in (b"/etc/rc%b.d" % level, b"/etc/rc.d/rc%b.d" % level):
            for name in names_in(root, directory, warn):
                start = _START(name)
                if start is not None:
                    found.setdefault(start[1], set()).add(text_of(level))
    for level in names_in(root, _OPENRC, warn):
        for name in names_in(root, _OPENRC + b"/" + level, warn):
            found.setdefault(name, set()).add(word_of(level))
    return found
