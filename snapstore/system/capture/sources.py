"""Sources of packages as the files of package managers state them, before they become rows of the scope `repos`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from snapstore.system import secretforms
from snapstore.system.capture.lines import word_of
from snapstore.system.scopes.repositories import Repository

_QUERY = re.compile(rb"([?&;][\w.-]*%b=)[^&;\s]+" % secretforms.NAME, re.IGNORECASE)
_USER = re.compile(r"(?:proxy_)?user(?:name)?\Z", re.IGNORECASE).match
REMOVED = "credentials=removed"
"""The option of a source that stated a name, password or token for its server, which the row leaves out."""


class Source(NamedTuple):
    """One entry of a file: its row, the files of keys that it names, and a block of keys that stands in it."""

    row: Repository
    keyrings: tuple[bytes, ...] = ()
    embedded: bytes = b""


def without_credentials(uri: bytes) -> bytes:
    """The address without whom to log in as, and without what looks like a token in it."""
    uri = secretforms.URL_PASSWORD.sub(rb"\1", uri)
    uri = secretforms.URL_USER.sub(rb"\1", uri)
    return _QUERY.sub(rb"\1(hidden)", uri)


def make_source(
    file: bytes,
    kind: str,
    *,
    name: bytes = b"",
    uris: Iterable[bytes] = (),
    suites: Iterable[bytes] = (),
    components: Iterable[bytes] = (),
    architectures: Iterable[bytes] = (),
    options: Mapping[str, bytes] | None = None,
    keys: Iterable[bytes] = (),
    disabled: bool = False,
    unsigned: bool = False,
    keyrings: Iterable[bytes] = (),
    embedded: bytes = b"",
) -> Source:
    """The source that an entry states, without secrets: in addresses, and in options named like one."""
    stated = list(uris)
    clean = [without_credentials(uri) for uri in stated]
    removed = clean != stated
    words = set()
    for option, value in (options or {}).items():
        # The sign before the slashes may be what the name and its value were told apart by.
        shown = without_credentials(b":" + value)[1:]
        if secretforms.NAME_END(option.encode("utf-8", "surrogateescape")) or _USER(option):
            removed = removed or bool(value)
            continue
        named = option.encode("utf-8", "surrogateescape")
        removed = removed or shown != value or without_credentials(named) != named
        words.add(f"{word_of(without_credentials(named))}={word_of(shown)}")
    if removed:
        words.add(REMOVED)
    row = Repository(
        file=file,
        kind=kind,
        name=name.decode("utf-8", "surrogateescape"),
        uris=tuple(map(word_of, filter(None, clean))),
        suites=tuple(map(word_of, filter(None, suites))),
        components=tuple(map(word_of, filter(None, components))),
        architectures=tuple(map(word_of, filter(None, architectures))),
        keys=tuple(word_of(without_credentials(key)) for key in keys if key),
        options=tuple(sorted(words)),
        disabled=disabled,
        unsigned=unsigned,
    )
    return Source(row, tuple(keyrings), embedded)
