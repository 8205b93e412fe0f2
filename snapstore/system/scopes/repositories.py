"""Scope `repos`: where packages come from, and the keys that are trusted to sign them."""

from __future__ import annotations

from dataclasses import dataclass

from snapstore.system.record import Field, Scope, Table, Type


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """One source of packages, as one entry of one file states it.

    `kind` is deb, deb-src, rpm, pacman or apk. `name` is its id or label where it has one, `number` its place among
    the entries of `file` that are otherwise the same (from 0). `options` are `key=value` words.
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
    """One key in a keyring file: its fingerprint (upper-case hex), whose it says it is, and the file's BLAKE3."""

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
