"""apt's lists of sources: the one-line form and deb822 (sources.list(5))."""

from __future__ import annotations

import re
from collections.abc import Iterator

from snapstore.system.capture.lines import LINE_LIMIT, numbered_lines, text_of, word_of
from snapstore.system.capture.sources import Source, make_source
from snapstore.system.managers.deb822 import Stanza, read_stanzas
from snapstore.system.openpgp import looks_armored, read_keyring
from snapstore.system.packages import Warn

KINDS = (b"deb", b"deb-src")
_WORD = re.compile(rb'(?:\[[^\]]*\]|"[^"]*"|[^\s"\[])+').finditer
_OPTION = re.compile(rb"([A-Za-z-]+)([+-]?)=(.*)\Z", re.DOTALL).match
_FALSE = (b"no", b"false", b"without", b"off", b"disable", b"0")
_TRUE = (b"yes", b"true", b"with", b"on", b"enable", b"1")
_FIELDS = (b"types", b"uris", b"suites", b"components", b"architectures", b"enabled", b"signed-by")
_TRUSTING = ("trusted", "allow-insecure")


def parse_one_line(path: bytes, data: bytes, warn: Warn) -> Iterator[Source]:
    """The sources of a file in the one-line form, in order; a line that makes no sense is a warning."""
    for number, line in numbered_lines(path, data, warn):
        words = line.strip().partition(b"#")[0].split(None, 1)
        if not words:
            continue
        options: dict[str, bytes] = {}
        rest = words[1] if len(words) == 2 else b""
        if rest.startswith(b"["):
            inside, closed, rest = rest[1:].partition(b"]")
            stated = [_OPTION(word) for word in inside.split()]
            if not closed or None in stated:
                warn(path, f"line {number} has options that make no sense and is passed over")
                continue
            for option in filter(None, stated):
                name = text_of(option[1].lower() + option[2])
                options[name] = options[name] + b"," + option[3] if name in options else option[3]
        found = [each[0].replace(b'"', b"") for each in _WORD(rest)]
        if words[0] not in KINDS or len(found) < 2:
            warn(path, f"line {number} is no source and is passed over")
            continue
        signers = _listed(options.pop("signed-by", b""))
        yield make_source(
            path,
            text_of(words[0]),
            uris=found[:1],
            suites=found[1:2],
            components=found[2:],
            architectures=_listed(options.pop("arch", b"")),
            unsigned=_is_trusting(options),
            options=options,
            keys=signers,
            keyrings=_files(signers),
        )


def parse_deb822(path: bytes, data: bytes, warn: Warn) -> Iterator[Source]:
    """The sources of a file of stanzas, in order: one for each type that a stanza states."""
    for stanza in read_stanzas(data, lambda reason: warn(path, reason), comments=True):
        fields = stanza.fields
        if sum(map(len, fields.values())) > LINE_LIMIT:
            warn(path, f"the stanza in line {stanza.line} is too long and is passed over")
            continue
        kinds = list(dict.fromkeys(fields.get(b"types", b"").split()))
        if not kinds or not fields.get(b"uris") or not fields.get(b"suites") or not set(kinds) <= set(KINDS):
            warn(path, f"the stanza in line {stanza.line} is no source and is passed over")
            continue
        yield from _stanza(path, kinds, stanza, warn)


def _stanza(path: bytes, kinds: list[bytes], stanza: Stanza, warn: Warn) -> Iterator[Source]:
    fields = stanza.fields
    options = {word_of(name): b",".join(_listed(value)) for name, value in fields.items() if name not in _FIELDS}
    if not stanza.sound:
        options["damaged"] = b"yes"
    embedded = b""
    signed_by = fields.get(b"signed-by", b"")
    signers = _listed(signed_by)
    if looks_armored(signed_by):
        # A line that holds a full stop alone stands for an empty one.
        lines = [b"" if line == b"." else line for line in signed_by.split(b"\n")]
        embedded = b"\n".join(lines) + b"\n"
        keys, trouble = read_keyring(embedded)
        signers = [key.fingerprint.encode() for key in keys]
        if trouble:
            warn(path, f"the key in the stanza in line {stanza.line} is not in order: {trouble}")
            options["damaged"] = b"yes"
    for kind in kinds:
        yield make_source(
            path,
            text_of(kind),
            uris=fields[b"uris"].split(),
            suites=fields[b"suites"].split(),
            components=fields.get(b"components", b"").split(),
            architectures=_listed(fields.get(b"architectures", b"")),
            disabled=fields.get(b"enabled", b"").lower() in _FALSE,
            unsigned=_is_trusting(options),
            options=options,
            keys=signers,
            keyrings=() if embedded else _files(signers),
            embedded=embedded,
        )


def _listed(value: bytes) -> list[bytes]:
    """The parts of a list with commas or blanks between them."""
    return value.replace(b",", b" ").split()


def _files(signers: list[bytes]) -> tuple[bytes, ...]:
    """Those that name a file of keys; the others are fingerprints of keys that are elsewhere."""
    return tuple(each for each in signers if each.startswith(b"/"))


def _is_trusting(options: dict[str, bytes]) -> bool:
    """Whether packages need no signature."""
    return any(options.get(name, b"").lower() in _TRUE for name in _TRUSTING)
