"""What the scope `repos` holds of a root: where packages come from, and the keys that are trusted to sign them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from blake3 import blake3

from snapstore.system.capture.aptsources import parse_deb822, parse_one_line
from snapstore.system.capture.inisources import PacmanSources, is_checked, parse_apk, parse_repo, read_sections
from snapstore.system.capture.lines import Bounded, names_in, read_file, text_of
from snapstore.system.capture.sources import Source
from snapstore.system.openpgp import is_keybox, read_keyring
from snapstore.system.packages import Warn
from snapstore.system.root import Root, RootError
from snapstore.system.scopes.repositories import REPOS, Repository, SigningKey

_APT, _APT_PARTS = b"/etc/apt/sources.list", b"/etc/apt/sources.list.d"
# What apt reads of a directory of parts: letters, digits, and a few signs (sources.list(5)).
_APT_NAME = re.compile(rb"[A-Za-z0-9_.-]+\.(list|sources)\Z").match
_REPO_DIRECTORIES = (b"/etc/yum.repos.d", b"/etc/yum/repos.d", b"/etc/distro.repos.d", b"/etc/zypp/repos.d")
_ZYPP = b"/etc/zypp/repos.d"
_MAINS = (b"/etc/dnf/dnf.conf", b"/etc/yum.conf")
_PACMAN = b"/etc/pacman.conf"
_APK, _APK_PARTS = b"/etc/apk/repositories", b"/etc/apk/repositories.d"
_KEYRINGS = (b"/etc/apt/trusted.gpg", b"/etc/pacman.d/gnupg/pubring.gpg", b"/etc/pacman.d/gnupg/pubring.kbx")
_KEY_DIRECTORIES = (
    (b"/etc/apt/trusted.gpg.d", (b".gpg", b".asc")),
    (b"/etc/apt/keyrings", (b".gpg", b".asc", b".pgp", b".key")),
    (b"/etc/pki/rpm-gpg", (b"",)),
    (b"/etc/apk/keys", (b"",)),
)
_PEM = re.compile(rb"-----BEGIN (?:RSA )?PUBLIC KEY-----(.*?)-----END", re.DOTALL).search
_KEY_LIMIT = 16 << 20


def capture_repositories(root: Root, warn: Warn) -> list[Repository | SigningKey]:
    """The sources and keys of a root, in the order of the scope, whatever package managers it has.

    Names, passwords and tokens in addresses are left out, which the option `credentials=removed` says. A keyring that
    a source names and that is not there, or that holds no key that can be read, is a warning; the file is listed with
    its digest and without a fingerprint.
    """
    with Bounded(warn) as bounded:
        sources = list(_sources(root, bounded))
        rows: list[Repository | SigningKey] = list(_with_places(source.row for source in sources))
        rows += _keys(root, sources, bounded)
    return sorted(rows, key=REPOS.order)


def _sources(root: Root, warn: Warn) -> Iterator[Source]:
    data = read_file(root, _APT, warn)
    if data is not None:
        yield from parse_one_line(_APT, data, warn)
    for name in names_in(root, _APT_PARTS, warn):
        kind = _APT_NAME(name)
        if kind is None:
            continue  # apt passes over it as well
        path = _APT_PARTS + b"/" + name
        parse = parse_one_line if kind[1] == b"list" else parse_deb822
        yield from parse(path, read_file(root, path, warn) or b"", warn)
    yield from _repo_files(root, warn)
    yield from PacmanSources(root, warn).read(_PACMAN)
    yield from parse_apk(_APK, read_file(root, _APK, warn) or b"", warn)
    for name in names_in(root, _APK_PARTS, warn):
        if name.endswith(b".list"):
            path = _APK_PARTS + b"/" + name
            yield from parse_apk(path, read_file(root, path, warn) or b"", warn)


def _repo_files(root: Root, warn: Warn) -> Iterator[Source]:
    """The sources of yum, dnf and zypper. Where nothing is said, zypper looks at signatures and the others do not."""
    checked = False
    for path in _MAINS:
        data = read_file(root, path, warn)
        if data is not None:
            for section in read_sections(path, data, warn):
                if section.name == b"main":
                    checked = is_checked(section.values, default=checked)
            yield from parse_repo(path, data, warn, checked=checked)
            break  # /etc/yum.conf is a link to the other, or is older and no longer read
    seen = set()
    for directory in _REPO_DIRECTORIES:
        try:
            place = root.resolve(directory)
        except RootError as error:
            warn(directory, f"it cannot be followed: {error.strerror}")
            continue
        if place in seen:
            continue
        seen.add(place)
        for name in names_in(root, directory, warn):
            if name.endswith(b".repo"):
                path = directory + b"/" + name
                data = read_file(root, path, warn) or b""
                yield from parse_repo(path, data, warn, checked=checked or directory == _ZYPP)


def _with_places(rows: Iterable[Repository]) -> Iterator[Repository]:
    """The rows with their places among those that have the same key."""
    places: dict[object, int] = {}
    for row in rows:
        key = REPOS.order(row)
        place = places.get(key, 0)
        places[key] = place + 1
        yield replace(row, number=place)


def _keys(root: Root, sources: list[Source], warn: Warn) -> list[SigningKey]:
    found: dict[tuple[bytes, str], SigningKey] = {}
    paths: dict[bytes, bool] = dict.fromkeys(_KEYRINGS, False)
    for directory, endings in _KEY_DIRECTORIES:
        paths |= {directory + b"/" + name: False for name in names_in(root, directory, warn) if name.endswith(endings)}
    for source in sources:
        paths |= {path: paths.get(path, False) or not source.row.disabled for path in source.keyrings}
    for path, named in paths.items():
        for key in _keys_of_file(root, path, warn, named=named):
            found.setdefault((key.file, key.fingerprint), key)
    for source in sources:
        if source.embedded:
            for key in keys_of(source.row.file, source.embedded, warn):
                found.setdefault((key.file, key.fingerprint), key)
    return list(found.values())


def _keys_of_file(root: Root, path: bytes, warn: Warn, *, named: bool) -> list[SigningKey]:
    try:
        status = root.status(path, follow=True)
        data = root.read(path, limit=_KEY_LIMIT) if status is not None else None
    except RootError as error:
        warn(path, f"its keys cannot be read: {error.strerror}")
        return []
    if data is None:
        if named:
            warn(path, "a source names it for its keys, and it is not there")
        return []
    return keys_of(path, data, warn)


def keys_of(path: bytes, data: bytes, warn: Warn) -> list[SigningKey]:
    """The keys of a keyring: OpenPGP, or one RSA key in PEM, whose fingerprint is then the SHA-256 of its DER.

    A file of another kind gives one row without a fingerprint, and a warning.
    """
    digest = blake3(data).hexdigest()
    if is_keybox(data):
        warn(path, "it is a keybox of GnuPG, of which only the digest is recorded")
        return [SigningKey(file=path, fingerprint="", owner="keybox", digest=digest)]
    pem = _PEM(data)
    if pem is not None:
        try:
            der = base64.b64decode(b"".join(pem[1].split()), validate=True)
        except (binascii.Error, ValueError):
            warn(path, "it looks like a key in PEM and is none")
            return [SigningKey(file=path, fingerprint="", digest=digest)]
        fingerprint = hashlib.sha256(der).hexdigest().upper()
        return [SigningKey(file=path, fingerprint=fingerprint, owner=text_of(path.rpartition(b"/")[2]), digest=digest)]
    keys, trouble = read_keyring(data)
    if trouble:
        warn(path, f"its keys cannot all be read: {trouble}")
    rows = {
        key.fingerprint: SigningKey(
            file=path, fingerprint=key.fingerprint, owner=key.owner, created=key.created, digest=digest
        )
        for key in reversed(keys)
    }
    return list(rows.values()) or [SigningKey(file=path, fingerprint="", digest=digest)]
