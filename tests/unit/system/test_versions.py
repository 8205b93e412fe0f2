from __future__ import annotations

import itertools
import random
import shutil
import subprocess

import pytest

from snapstore.system.versions import compare_versions

DEB = [
    "1.0~rc1-1",
    "1.0-1",
    "1.0-1.1",
    "1.0-2",
    "1.0+b1-1",
    "1.0a-1",
    "1.10-1",
    "1:0.9-1",
    "1:0.9-1~bpo12+1",
    "2.0",
    "0",
]
RPM = ["1.0~rc1-1", "1.0-1", "1.0^git1-1", "1.0-2", "1.0.1-1", "1.0a-1", "1.10-1", "1:0.9-1", "2.0-1.el9", "2.0-1.el10"]
APK = ["1.0_alpha1-r0", "1.0_rc2-r0", "1.0-r0", "1.0-r1", "1.0_p1-r0", "1.0a-r0", "1.0.1-r0", "1.10-r0", "2.0-r0"]


@pytest.mark.parametrize(
    ("manager", "older", "newer"),
    [
        ("dpkg", "1.22.1-9", "1.24.0-1"), ("dpkg", "15+248", "15+248+deb12u1"),
        ("dpkg", "2.36-9+deb12u9", "2.36-9+deb12u10"),
        ("dpkg", "7.0~beta1", "7.0"), ("dpkg", "9:1", "10:0"), ("rpm", "5.14.0-362.el9", "5.14.0-427.el9"),
        ("rpm", "1.0~rc1-1", "1.0-1"), ("rpm", "1.0-1", "1.0^post1-1"), ("rpm", "1.05-1", "1.5.1-1"),
        ("pacman", "1:2.3.1-2", "1:2.3.1-10"), ("apk", "1.2.4_rc1-r3", "1.2.4-r0"), ("apk", "1.2.4-r9", "1.2.4-r10"),
    ],
)  # fmt: skip
def test_newer_is_newer(manager: str, older: str, newer: str) -> None:
    assert compare_versions(manager, older, newer) < 0
    assert compare_versions(manager, newer, older) > 0
    assert compare_versions(manager, older, older) == 0


@pytest.mark.parametrize(("manager", "versions"), [("dpkg", DEB), ("rpm", RPM), ("apk", APK)])
def test_it_is_an_order(manager: str, versions: list[str]) -> None:
    for a, b in itertools.product(versions, repeat=2):
        assert compare_versions(manager, a, b) == -compare_versions(manager, b, a)
    for a, b, c in itertools.permutations(versions, 3):
        if compare_versions(manager, a, b) < 0 and compare_versions(manager, b, c) < 0:
            assert compare_versions(manager, a, c) < 0


@pytest.mark.parametrize("manager", ["dpkg", "rpm", "pacman", "apk"])
def test_any_text_is_a_version(manager: str) -> None:
    """Databases are not to be trusted: numbers of any length, digits that are none to us, no text at all."""
    long = "9" * 10_000
    assert compare_versions(manager, long, "1" + long) < 0
    assert compare_versions(manager, f"1.{long}-1", f"1.0{long}-1") == 0
    texts = [
        "",
        "-",
        ":",
        "1:",
        "²",
        "1.²-³",
        "٣",
        "\udcff",
        "1:" + long,
        long + ":1",
        "~",
        "^",
        "_p",
        "-r",
        "1-r²",
        "a\n1",
    ]
    for one, two in itertools.product(texts, repeat=2):
        assert compare_versions(manager, one, two) == -compare_versions(manager, two, one)


def test_apk_versions_are_in_order() -> None:
    expected = [
        "1.0_alpha1-r0",
        "1.0_rc2-r0",
        "1.0-r0",
        "1.0-r1",
        "1.0_p1-r0",
        "1.0a-r0",
        "1.0.1-r0",
        "1.10-r0",
        "2.0-r0",
    ]
    for older, newer in itertools.pairwise(expected):
        assert compare_versions("apk", older, newer) < 0, (older, newer)


def random_versions(seed: int, characters: str) -> list[tuple[str, str]]:
    source = random.Random(seed)

    def one() -> str:
        upstream = str(source.randrange(10)) + "".join(source.choices(characters, k=source.randrange(6)))
        epoch = f"{source.randrange(3)}:" if source.random() < 0.3 else ""
        return f"{epoch}{upstream}-{source.randrange(3)}{source.choice(['', '~a', '+b1', '.1'])}"

    return [(one(), one()) for _ in range(60)]


@pytest.mark.skipif(shutil.which("dpkg") is None, reason="dpkg, the second opinion, is not on this machine")
def test_dpkg_agrees() -> None:
    for one, two in [*itertools.combinations(DEB, 2), *random_versions(1, "019.+~ab")]:
        order = compare_versions("dpkg", one, two)
        operator = "lt" if order < 0 else "gt" if order > 0 else "eq"
        assert subprocess.run(["dpkg", "--compare-versions", one, operator, two], check=False).returncode == 0, (
            one,
            two,
        )


@pytest.mark.skipif(shutil.which("rpm") is None, reason="rpm, the second opinion, is not on this machine")
def test_rpm_agrees() -> None:
    pairs = [(one.partition("-")[0], two.partition("-")[0]) for one, two in random_versions(2, "019.~^ab")]
    pairs = [(one.rpartition(":")[2], two.rpartition(":")[2]) for one, two in pairs]
    calls = "".join(f"print(rpm.vercmp('{one}','{two}'), '') " for one, two in pairs)
    asked = subprocess.run(["rpm", "--eval", f"%{{lua:{calls}}}"], check=True, capture_output=True, text=True)
    assert [int(each) for each in asked.stdout.split()] == [compare_versions("rpm", *pair) for pair in pairs]
