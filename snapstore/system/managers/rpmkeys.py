"""The keys that were imported into rpm, which its database lists as packages called gpg-pubkey.

Newer rpm keeps them as files beside the database instead (`pubkeys/*.key`). Both are found.
"""

from __future__ import annotations

import os

from blake3 import blake3

from snapstore.system.managers.rpmdatabase import DIRECTORIES, ask, find_databases
from snapstore.system.managers.rpmquery import KEYS, DamagedValueError
from snapstore.system.managers.trouble import Trouble
from snapstore.system.openpgp import read_keyring
from snapstore.system.packages import Warn
from snapstore.system.root import Root, RootError
from snapstore.system.scopes.repositories import SigningKey

PACKAGE_NAME = "gpg-pubkey"
_KEY_LIMIT = 1 << 20
_FILE_LIMIT = 10_000
_SYSTEM_DIRECTORIES = DIRECTORIES[:-1]


def imported_keys(root: Root, warn: Warn) -> list[SigningKey]:
    """The keys that rpm trusts, sorted by file and fingerprint. PackageDatabaseError.

    `file` is the database, or the file of the key; `digest` is the BLAKE3 of the key alone, as it is kept there.
    """
    found: dict[tuple[bytes, str], SigningKey] = {}
    for database in find_databases(root):
        headers = ask(root, database, KEYS, warn, PACKAGE_NAME)
        with Trouble(warn, database.path) as trouble:
            for header in headers:
                try:
                    shown = f"the key {header.text('VERSION')}-{header.text('RELEASE')}"
                    data = header.text("DESCRIPTION").encode("utf-8", "surrogateescape")
                except DamagedValueError as error:
                    trouble(f"a key makes no sense: {error}")
                    continue
                _add(found, database.path, data, trouble, shown=shown)
    for directory in _SYSTEM_DIRECTORIES:
        _add_files(found, root, directory + b"/pubkeys", warn)
    return [found[key] for key in sorted(found)]


def _add_files(found: dict[tuple[bytes, str], SigningKey], root: Root, directory: bytes, warn: Warn) -> None:
    with Trouble(warn, directory) as trouble:
        try:
            place = root.resolve(directory)
            names = [name for name in root.list(place) if name.endswith(b".key")]
        except RootError as error:
            trouble(f"the keys in it cannot be read: {error.strerror}")
            return
        if len(names) > _FILE_LIMIT:
            trouble(f"there are {len(names)} keys, and only the first {_FILE_LIMIT} are read")
        for name in names[:_FILE_LIMIT]:
            path = place + b"/" + name
            try:
                data = root.read(path, limit=_KEY_LIMIT)
            except RootError as error:
                trouble(f"{os.fsdecode(name)} cannot be read: {error.strerror}")
                continue
            if data is not None:
                _add(found, path, data, trouble, shown=os.fsdecode(name))


def _add(found: dict[tuple[bytes, str], SigningKey], file: bytes, data: bytes, trouble: Trouble, *, shown: str) -> None:
    keys, wrong = read_keyring(data)
    if wrong:
        trouble(f"{shown} cannot be read as a key: {wrong}")
    digest = blake3(data).hexdigest()
    for key in keys:
        row = SigningKey(file=file, fingerprint=key.fingerprint, owner=key.owner, created=key.created, digest=digest)
        found.setdefault((file, key.fingerprint), row)
