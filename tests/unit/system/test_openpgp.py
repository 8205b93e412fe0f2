"""Keyrings read packet by packet, against keys made here and against gpg(1)."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from snapstore.system.openpgp import PublicKey, dearmor, is_keybox, packets, read_keyring
from tests.unit.system.keys import CREATED, armored, fingerprint_of, keyring, packet, public_key

KEY = public_key(b"x")


@pytest.mark.parametrize("old", [False, True])
def test_a_key_and_its_first_user_id(*, old: bool) -> None:
    data = keyring(KEY, "Me <me@example.org>", old=old)
    assert read_keyring(data) == ([PublicKey(fingerprint_of(KEY), "Me <me@example.org>", CREATED)], "")
    assert read_keyring(armored(data).encode()) == read_keyring(data)
    assert read_keyring(armored(data, headers="\n").encode()) == read_keyring(data)
    assert read_keyring(armored(data, headers="").encode()) == read_keyring(data)
    assert read_keyring(armored(data).replace("\n", "\r\n").encode()) == read_keyring(data)


def test_several_keys_and_blocks() -> None:
    other = public_key(b"y")
    keys, trouble = read_keyring(keyring(KEY, "A") + keyring(other))
    assert (keys, trouble) == (
        [PublicKey(fingerprint_of(KEY), "A", CREATED), PublicKey(fingerprint_of(other), "", CREATED)], "",
    )  # fmt: skip
    text = "a note\n" + armored(keyring(KEY, "A")) + "\nanother\n" + armored(keyring(other))
    assert read_keyring(text.encode()) == (keys, "")


def test_versions() -> None:
    six = public_key(b"x", version=6)
    assert read_keyring(packet(6, six))[0][0].fingerprint == (
        hashlib.sha256(b"\x9b" + len(six).to_bytes(4, "big") + six).hexdigest().upper()
    )
    three = public_key(b"x", version=3)
    numbers = three[10:74] + three[76:79]
    assert read_keyring(packet(6, three))[0][0].fingerprint == hashlib.md5(numbers).hexdigest().upper()  # noqa: S324
    keys, trouble = read_keyring(keyring(KEY, "A") + packet(6, b"\x07" + bytes(20)))
    assert ([key.owner for key in keys], trouble) == (["A"], "it has a key of version 7, which is not known")


def test_lengths() -> None:
    for length in (0, 1, 191, 192, 8383, 8384, 70000):
        body = bytes(length)
        if length < 192:
            head = bytes([length])
        elif length < 8384:
            head = bytes([((length - 192) >> 8) + 192, (length - 192) & 255])
        else:
            head = b"\xff" + length.to_bytes(4, "big")
        assert list(packets(b"\xc2" + head + body)) == [(2, body)]
    assert list(packets(b"\xcd\xe1ab\xe0c\x02de")) == [(13, b"abcde")]  # partial lengths
    assert list(packets(b"\x88\x02ab")) == [(2, b"ab")]
    assert list(packets(b"\x89\x00\x02ab")) == [(2, b"ab")]
    assert list(packets(b"\x8bab")) == [(2, b"ab")]


@pytest.mark.parametrize(
    ("data", "trouble"),
    [
        (b"", "it holds no public key"),
        (b"hello", "there is no packet at byte 0"),
        (packet(2, b"x"), "it holds no public key"),
        (packet(6, KEY)[:-1], "it breaks off within a packet"),
        (b"\xc6", "it breaks off within a packet"),
        (b"\xc6\xff\xff\xff\xff\xffx", "it breaks off within a packet"),
        (packet(6, b"\x04abc"), "it has a key packet that is too short"),
        (packet(6, public_key(b"x", version=3)[:40]), "it breaks off within a packet"),
        (packet(5, KEY), "it holds a secret key"),
        (b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nabc", "its armour holds no whole block of a public key"),
        (b"-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nabc\n", "its armour holds no whole block of a public key"),
        (armored(b"x").replace("eA==", "e?==").encode(), "block 1 of its armour is no base64"),
    ],
    ids=lambda value: ascii(value[:20]),
)
def test_what_is_no_keyring(data: bytes, trouble: str) -> None:
    assert read_keyring(data) == ([], trouble)


def test_what_stands_before_the_trouble_is_kept() -> None:
    keys, trouble = read_keyring(keyring(KEY, "A") + b"\x00")
    assert ([key.owner for key in keys], trouble) == (["A"], f"there is no packet at byte {len(keyring(KEY, 'A'))}")


def test_a_user_id_is_bounded_and_of_any_bytes() -> None:
    keys, _ = read_keyring(packet(6, KEY) + packet(13, b"\xff" * 10_000))
    assert keys[0].owner == "\udcff" * 4096


def test_keyboxes() -> None:
    assert is_keybox(bytes(8) + b"KBXf" + bytes(20))
    assert not is_keybox(keyring(KEY))


def test_blocks() -> None:
    assert list(dearmor(armored(b"one").encode() + armored(b"two").encode())) == [b"one", b"two"]


GPG = shutil.which("gpg")


@pytest.mark.skipif(GPG is None, reason="it compares with gpg, which is not here")
def test_like_gpg(tmp_path: Path) -> None:
    def gpg(*arguments: str) -> bytes:
        head = [str(GPG), "--homedir", str(tmp_path), "--batch", "--quiet", "--no-autostart"]
        return subprocess.run([*head, *arguments], capture_output=True, check=True).stdout

    sources = [path for path in sorted(Path("/usr/share/keyrings").glob("*.gpg"))[:4] if path.stat().st_size < 1 << 20]
    if not sources:
        pytest.skip("there is no keyring in /usr/share/keyrings")
    for path in sources:
        expected: list[tuple[str, str, int]] = []
        for line in gpg("--show-keys", "--with-colons", str(path)).decode().splitlines():
            fields = line.split(":")
            if fields[0] == "pub":
                expected.append(("", "", int(fields[5])))
            elif fields[0] == "fpr" and not expected[-1][0]:
                expected[-1] = (fields[9], "", expected[-1][2])
        keys, trouble = read_keyring(path.read_bytes())
        assert trouble == ""
        assert {(key.fingerprint, key.created) for key in keys} == {(each[0], each[2]) for each in expected}
