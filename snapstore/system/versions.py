"""Which of two package versions is newer, as the package managers see it.

dpkg: deb-version(7). rpm, and pacman which follows it: rpm-version(7), vercmp(8). apk: digits by value, letters and
suffixes (`_alpha` and such before, `_p` after the bare version) by order, `-r` last.
"""

from __future__ import annotations

import re
from itertools import zip_longest
from typing import Any

_EPOCH = re.compile(r"([0-9]+):(.*)\Z", re.DOTALL).match
_DEB_PARTS = re.compile(r"([^0-9]*)([0-9]*)").findall
_RPM_PARTS = re.compile(r"~|\^|[0-9]+|[A-Za-z]+").findall
_APK_PARTS = re.compile(r"[0-9]+|_[a-z]+|-r|[a-z]+").findall
_APK_SUFFIXES = ("_alpha", "_beta", "_pre", "_rc", "", "_cvs", "_svn", "_git", "_hg", "_p")


def compare_versions(manager: str, one: str, two: str) -> int:
    """Negative if `one` is older than `two`, positive if it is newer, 0 if they are the same to that manager."""
    if manager == "apk":
        return _order(_apk_key(one), _apk_key(two))
    first, second = _split_epoch(one), _split_epoch(two)
    compare = _compare_deb if manager == "dpkg" else _compare_rpm
    one_version, _, one_release = first[1].rpartition("-")
    two_version, _, two_release = second[1].rpartition("-")
    if not one_version:
        one_version, one_release = first[1], ""
    if not two_version:
        two_version, two_release = second[1], ""
    order = _order(first[0], second[0]) or compare(one_version, two_version)
    if order:
        return order
    if manager != "dpkg" and not (one_release and two_release):
        return 0  # a version without a release stands for any release of it
    return compare(one_release, two_release)


def _number(digits: str) -> tuple[int, str]:
    """The digits as what sorts by their value, however many there are: int() refuses more than a few thousand."""
    bare = digits.lstrip("0")
    return len(bare), bare


def _order(one: Any, two: Any) -> int:
    return int(one > two) - int(one < two)


def _split_epoch(version: str) -> tuple[tuple[int, str], str]:
    match = _EPOCH(version)
    return (_number(match[1]), match[2]) if match else (_number(""), version)


def _compare_deb(one: str, two: str) -> int:
    for first, second in zip_longest(_DEB_PARTS(one), _DEB_PARTS(two), fillvalue=("", "")):
        order = _order(_deb_key(first[0]), _deb_key(second[0])) or _order(_number(first[1]), _number(second[1]))
        if order:
            return order
    return 0


def _deb_key(text: str) -> list[int]:
    # A tilde sorts before the end, letters before everything else.
    return [-1 if each == "~" else ord(each) if each.isalpha() else ord(each) + 256 for each in text] + [0]


def _compare_rpm(one: str, two: str) -> int:
    for first, second in zip_longest(_RPM_PARTS(one), _RPM_PARTS(two), fillvalue=""):
        order = _order(_rpm_key(first), _rpm_key(second))
        if order:
            return order
    return 0


def _rpm_key(part: str) -> tuple[int, tuple[int, str]]:
    # "~" before the end, the end before "^", that before letters, those before numbers.
    if part == "~":
        return 0, (0, "")
    if not part:
        return 1, (0, "")
    if part == "^":
        return 2, (0, "")
    return (4, _number(part)) if part.isdigit() else (3, (0, part))


def _apk_key(version: str) -> list[tuple[int, tuple[int, str]]]:
    keys = []
    for part in _APK_PARTS(version):
        if part.isdigit():
            keys.append((5, _number(part)))
        elif part == "-r":
            keys.append((2, (0, "")))
        elif part.startswith("_"):
            place = _APK_SUFFIXES.index(part) if part in _APK_SUFFIXES else len(_APK_SUFFIXES)
            keys.append((1 if place < _APK_SUFFIXES.index("") else 3, (place, part)))
        else:
            keys.append((4, (0, part)))
    return [*keys, (2, (-1, ""))]
