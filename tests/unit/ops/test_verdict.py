from __future__ import annotations

import hashlib
import stat
from typing import Any

import pytest

from snapstore.model import KIND_OF_TYPE, Kind
from snapstore.ops.elements import Stat
from snapstore.ops.verdict import Found, Owners, best_match, changed_row, differences, digests_to_take
from snapstore.system.packages import Digest, Owned

OWNERS = Owners({0: "root", 33: "www-data"}, {0: "root", 33: "www-data"})
TYPES = {kind: mode for mode, kind in KIND_OF_TYPE.items()}
DATA = b"content"
MD5 = Digest("md5", hashlib.md5(DATA, usedforsecurity=False).digest())
GOOD = {"md5": MD5.value}


def info(kind: Kind = Kind.FILE, mode: int = 0o644, **values: int) -> Stat:
    zeros = dict.fromkeys(Stat._fields, 0)
    return Stat(**{**zeros, "size": len(DATA), **values, "mode": TYPES[kind] | mode})


def found(kind: Kind = Kind.FILE, mode: int = 0o644, **values: Any) -> Found:
    own = {name: values.pop(name) for name in tuple(values) if name in Found._fields}
    return Found(kind, info(kind, mode, **values), **own)


def owned(**values: Any) -> Owned:
    return Owned(b"/x", "pack", **values)


CASES: list[tuple[str, Owned, Found, tuple[str, ...]]] = [
    ("as it should be", owned(kind=Kind.FILE, digest=MD5, mode=0o644), found(hashes=GOOD), ()),
    ("part of a digest", owned(kind=Kind.FILE, digest=Digest("md5", MD5.value[:16])), found(hashes=GOOD), ()),
    ("other content", owned(kind=Kind.FILE, digest=MD5), found(hashes={"md5": bytes(16)}), ("content",)),
    ("other size", owned(kind=Kind.FILE, digest=MD5, size=3), found(), ("content",)),
    ("no digest", owned(kind=Kind.FILE), found(), ("unverified",)),
    ("unreadable", owned(kind=Kind.FILE, digest=MD5), found(unread="EACCES"), ("unverified",)),
    ("damaged record", owned(kind=Kind.FILE, digest=MD5, vouched=False), found(hashes=GOOD), ("unverified",)),
    ("left behind", owned(kind=Kind.FILE, digest=MD5, obsolete=True), found(hashes=GOOD), ("obsolete",)),
    ("mode", owned(kind=Kind.FILE, digest=MD5, mode=0o755), found(hashes=GOOD), ("mode",)),
    ("usual modes", owned(digest=MD5, usual=True), found(mode=0o755, hashes=GOOD), ()),
    ("unusual mode", owned(digest=MD5, usual=True), found(mode=0o775, hashes=GOOD), ("mode",)),
    ("setuid", owned(digest=MD5, usual=True), found(mode=0o4755, hashes=GOOD), ("mode",)),
    ("known exception", owned(digest=MD5, usual=True, mode=0o4755), found(mode=0o4755, hashes=GOOD), ()),
    ("usual directory", owned(usual=True), found(Kind.DIRECTORY, 0o755), ()),
    ("unusual directory", owned(usual=True), found(Kind.DIRECTORY, 0o1777), ("mode",)),
    ("owner by number", owned(kind=Kind.DIRECTORY, uid=0, gid=0), found(Kind.DIRECTORY, uid=33), ("owner",)),
    ("group by name", owned(kind=Kind.DIRECTORY, group="root"), found(Kind.DIRECTORY, gid=33), ("owner",)),
    ("owner by name", owned(kind=Kind.DIRECTORY, user="www-data"), found(Kind.DIRECTORY, uid=33), ()),
    ("usual owner", owned(usual=True), found(Kind.DIRECTORY, 0o755, uid=1), ("owner",)),
    ("owner unknown", owned(kind=Kind.DIRECTORY), found(Kind.DIRECTORY, uid=77, gid=78), ()),
    ("link", owned(kind=Kind.SYMLINK, target=b"a"), found(Kind.SYMLINK, 0o777, target=b"a"), ()),
    ("other link", owned(kind=Kind.SYMLINK, target=b"a"), found(Kind.SYMLINK, target=b"b"), ("target",)),
    ("link by digest", owned(digest=MD5), found(Kind.SYMLINK, 0o777, target=DATA), ()),
    ("other link by digest", owned(digest=MD5), found(Kind.SYMLINK, target=b"x"), ("target",)),
    ("old link", owned(usual=True, installed=1000), found(Kind.SYMLINK, mtime=900, target=b"x"), ()),
    ("new link", owned(usual=True, installed=1000), found(Kind.SYMLINK, mtime=5000, target=b"x"), ("target",)),
    ("type", owned(kind=Kind.FILE, digest=MD5), found(Kind.SYMLINK), ("type",)),
    ("a FIFO in a file's place", owned(digest=MD5, usual=True), found(Kind.FIFO), ("type",)),
    ("a FIFO in anything's place", owned(usual=True), found(Kind.FIFO), ("type",)),
    ("a directory in a file's place", owned(digest=MD5), found(Kind.DIRECTORY), ("type",)),
    ("capabilities", owned(digest=MD5, usual=True), found(hashes=GOOD, capabilities="cap_kill=ep"), ("capabilities",)),
    ("other spelling", owned(kind=Kind.FILE, digest=MD5, capabilities="= cap_net_raw+ep"),
     found(hashes=GOOD, capabilities="cap_net_raw=ep"), ()),
    ("capabilities lost", owned(kind=Kind.FILE, digest=MD5, capabilities="cap_net_raw=ep"), found(hashes=GOOD),
     ("capabilities",)),
    ("attributes", owned(kind=Kind.DIRECTORY), found(Kind.DIRECTORY, attributes=(b"user.x",)), ("attributes",)),
    ("an ACL", owned(kind=Kind.DIRECTORY), found(Kind.DIRECTORY, attributes=(b"system.posix_acl_access",)),
     ("attributes",)),
    ("labels", owned(kind=Kind.DIRECTORY), found(Kind.DIRECTORY, attributes=(b"security.selinux",)), ()),
    ("device", owned(kind=Kind.CHARACTER_DEVICE, rdev=(1, 3)), found(Kind.CHARACTER_DEVICE, rdev=0x105), ("device",)),
    ("several", owned(kind=Kind.FILE, digest=MD5, mode=0o755, uid=0), found(uid=33, hashes={"md5": bytes(16)}),
     ("content", "mode", "owner")),
]  # fmt: skip


@pytest.mark.parametrize(("record", "there", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_differences(record: Owned, there: Found, expected: tuple[str, ...]) -> None:
    assert differences(record, there, OWNERS) == expected


def test_only_digests_that_can_decide_are_taken() -> None:
    one, two = owned(kind=Kind.FILE, digest=MD5), owned(kind=Kind.FILE, digest=Digest("sha256", bytes(32)), size=1)
    assert digests_to_take([one, two], found()) == (MD5,)
    assert digests_to_take([one], found(Kind.SYMLINK)) == ()
    assert digests_to_take([one, owned(ghost=True)], found()) == ()


def test_the_record_that_fits_best_is_chosen() -> None:
    worse, better = owned(kind=Kind.FILE, digest=MD5, mode=0o600, uid=1), owned(kind=Kind.FILE, digest=MD5, mode=0o600)
    record, changes = best_match([worse, better], found(hashes=GOOD), OWNERS)
    assert record is better
    assert changes == ("mode",)


def test_the_row_states_what_was_and_is() -> None:
    record = owned(kind=Kind.FILE, digest=MD5, mode=0o755, user="root", group="root", config=True)
    there = found(mode=0o600, uid=33, gid=5, hashes={"md5": bytes(16)})
    changes = differences(record, there, OWNERS)
    row = changed_row(b"/x", "pack", record, changes, found=there, owners=OWNERS)
    assert (row.mode, row.packaged_mode, row.owner, row.packaged_owner) == (0o600, 0o755, "www-data:5", "root:root")
    assert row.packaged_digest == f"md5:{MD5.value.hex()}"
    assert (row.config, row.changes, row.size) == (True, ("content", "mode", "owner"), len(DATA))
    assert stat.S_IMODE(there.info.mode) == row.mode


def test_a_record_that_knows_is_chosen_before_one_that_does_not() -> None:
    unknowing, knowing = owned(kind=Kind.FILE), owned(kind=Kind.FILE, digest=MD5, mode=0o600)
    _, changes = best_match([unknowing, knowing], found(hashes={"md5": bytes(16)}), OWNERS)
    assert changes == ("content", "mode")
