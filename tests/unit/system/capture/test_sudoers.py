from __future__ import annotations

from pathlib import Path

import pytest

from snapstore.system.capture.sudoers import capture_sudoers, logical_lines, squeeze
from tests.unit.system.capture.tree import Warnings, captured


def rules(top: Path, files: dict[str, str | bytes | None]) -> tuple[list[tuple[str, str, int]], Warnings]:
    rows, warned = captured(top, files, capture_sudoers)
    return [(row.file.decode(), row.rule, row.number) for row in rows], warned


def test_what_commands_give_as_passwords_is_left_out(tmp_path: Path) -> None:
    stated = [
        "a ALL = NOPASSWD: /bin/x --password=geheim, PASSWD: /bin/y, /bin/z",
        "b ALL = /bin/x https://me:geheim@host/",
        "-----BEGIN PRIVATE KEY-----geheim",
        'Defaults passwd_tries=3, passprompt="who?"',
    ]
    found, _ = rules(tmp_path, {"/etc/sudoers": "\n".join(stated)})
    assert [rule for _, rule, _ in found] == [
        "a ALL = NOPASSWD: /bin/x --password=(hidden), PASSWD: /bin/y, /bin/z",
        "b ALL = /bin/x https://(hidden)@host/",
        "(hidden: a private key)",
        'Defaults passwd_tries=3, passprompt="who?"',
    ]


def test_rules_of_all_files(tmp_path: Path) -> None:
    found, warned = rules(
        tmp_path,
        {
            "/etc/sudoers": "# a comment\nDefaults\tenv_reset  # why\nroot ALL=(ALL:ALL) ALL\n\n"
            "@includedir /etc/sudoers.d\n#include /etc/sudoers.local\n#1000 ALL = NOPASSWD: \\\n   /bin/x,  /bin/y\n",
            "/etc/sudoers.d/b": "b ALL=ALL\n",
            "/etc/sudoers.d/a": "#includedir extra\na ALL=ALL",
            "/etc/sudoers.d/extra/z": "z ALL=ALL\n",
            "/etc/sudoers.d/c~": "no ALL=ALL\n",
            "/etc/sudoers.d/d.bak": "no ALL=ALL\n",
            "/etc/sudoers.local": "%#27 ALL=ALL # wheel\n",
        },
    )
    assert sorted(found) == [
        ("/etc/sudoers", "#1000 ALL = NOPASSWD: /bin/x, /bin/y", 2),
        ("/etc/sudoers", "Defaults env_reset", 0),
        ("/etc/sudoers", "root ALL=(ALL:ALL) ALL", 1),
        ("/etc/sudoers.d/a", "a ALL=ALL", 0),
        ("/etc/sudoers.d/b", "b ALL=ALL", 0),
        ("/etc/sudoers.d/extra/z", "z ALL=ALL", 0),
        ("/etc/sudoers.local", "%#27 ALL=ALL", 0),
    ]
    assert warned.text.splitlines() == [
        "/etc/sudoers.d/extra: it cannot be read: it is no regular file",
        "/etc/sudoers.d/extra: '/etc/sudoers' includes it, and nothing of it was read",
    ]


def test_without_sudoers(tmp_path: Path) -> None:
    assert rules(tmp_path, {"/etc/sudoers.d/a": "a ALL=ALL\n"}) == ([], [])


def test_includes_in_circles_and_to_nowhere(tmp_path: Path) -> None:
    found, warned = rules(
        tmp_path,
        {
            "/etc/sudoers": '@include /etc/a\n@include "/etc/with blank"\n@include /etc/none\n'
            "@include /etc/with\\ other\n@include\n@include /etc/%h\n@include a b\n",
            "/etc/a": "@include sudoers\n@include a\nx ALL=ALL\n",
            "/etc/with blank": "y ALL=ALL\n",
            "/etc/with other": "z ALL=ALL\n",
            "/etc/hostname": "box.example.org\n",
            "/etc/box": "h ALL=ALL\n",
        },
    )
    assert {rule for _, rule, _ in found} == {"x ALL=ALL", "y ALL=ALL", "z ALL=ALL", "h ALL=ALL", "@include"}
    assert warned.text.splitlines() == [
        "/etc/sudoers: '/etc/a' includes it again, which is not recorded",
        "/etc/a: '/etc/a' includes it again, which is not recorded",
        "/etc/none: '/etc/sudoers' includes it, and nothing of it was read",
        "/etc/sudoers: an include names no file that could be understood",
    ]


def test_includes_are_bounded(tmp_path: Path) -> None:
    files: dict[str, str | bytes | None] = {f"/etc/s{n}": f"u{n} ALL=ALL\n@include s{n + 1}\n" for n in range(200)}
    found, warned = rules(tmp_path, {"/etc/sudoers": "@include s0\n", **files})
    assert len(found) == 127
    assert warned.text == "/etc/s127: it is included too deep, or with too many others, and was not read"


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("a  ALL =\tALL", "a ALL = ALL"),
        ("a ALL=ALL#why", "a ALL=ALL"),
        ("# all of it", ""),
        ("#1000 ALL=ALL", "#1000 ALL=ALL"),
        ("#-1 ALL=ALL", "#-1 ALL=ALL"),
        ("%#10 ALL=(#0) ALL # x", "%#10 ALL=(#0) ALL"),
        ('Defaults x="a  # b"', 'Defaults x="a  # b"'),
        ("a ALL=/bin/x \\#1\\,2", "a ALL=/bin/x \\#1\\,2"),
        ('a "unclosed  # x', 'a "unclosed  # x'),
        ("a\\", "a\\"),
        ("   ", ""),
    ],
)
def test_squeezing(line: str, rule: str) -> None:
    assert squeeze(line.encode()).decode() == rule


def test_lines_that_go_on() -> None:
    warned = Warnings()
    text = b"a \\\n b\\\n\\\nc\n# no \\\nd\\\\\ne\\"
    assert list(logical_lines(b"/f", text, warned)) == [b"a   b  c", b"# no \\", b"d\\\\", b"e"]
    assert warned == []
