"""Scope `repos`: where packages come from, and the keys that are trusted to sign them."""

from __future__ import annotations

from dataclasses import dataclass

from snapstore.system.record import Field, Scope, Table, Type


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """One source of packages, as one entry of one file states it.

    `kind` is deb, deb-src, rpm, pacman or apk. `name` is its id or label where it has one, `number` its place among
    the entries of `file` that are otherwise the same (from 0). `unsigned`: packages need no signature. `keys` are
    files, addresses and fingerprints. `options` are `key=value` words, white space in them as %20 and the like;
    `credentials=removed` says that the file holds a name, password or token that is not recorded.
    """

    file: bytes
    kind: str
    name: str = ""
    uris: tuple[str, ...] = ()
    suites: tuple[str, ...] = ()
    components: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    number: int = 0
    disabled: bool = False
    unsigned: bool = False
    keys: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """One key in a keyring file: its fingerprint (upper-case hex), whose it says it is, and the file's BLAKE3.

    The fingerprint of an RSA key in PEM is the SHA-256 of its DER, and `owner` the name of its file; it is empty where
    the file holds no key that can be read. Of keys that stand in a list of sources, the digest is of their block.
    """

    file: bytes
    fingerprint: str
    owner: str = ""
    created: int = 0
    digest: str = ""


REPOS = Scope(
    "repos",
    Table(
        "repo",
        Repository,
        (
            Field("file", Type.RAW, key=True),
            Field("kind", key=True),
            Field("name", key=True),
            Field("uris", Type.WORDS, key=True),
            Field("suites", Type.WORDS, key=True),
            Field("components", Type.WORDS, key=True),
            Field("architectures", Type.WORDS, key=True),
            Field("number", Type.NUMBER, key=True),
            Field("disabled", Type.FLAG),
            Field("unsigned", Type.FLAG),
            Field("keys", Type.WORDS),
            Field("options", Type.WORDS),
        ),
    ),
    Table(
        "key",
        SigningKey,
        (
            Field("file", Type.RAW, key=True),
            Field("fingerprint", key=True),
            Field("owner"),
            Field("created", Type.NUMBER),
            Field("digest"),
        ),
    ),
)
