from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest
from blake3 import blake3

from snapstore.system.capture.aptsources import parse_deb822, parse_one_line
from snapstore.system.capture.inisources import parse_apk, parse_repo, takes_unsigned
from snapstore.system.capture.repositories import capture_repositories
from snapstore.system.capture.sources import Source, without_credentials
from snapstore.system.record import Row
from snapstore.system.scopes.repositories import REPOS, Repository, SigningKey
from tests.unit.system.capture.tree import Warnings, captured
from tests.unit.system.keys import armored, fingerprint_of, keyring, public_key

S = "hunter2-Zq9"


def repositories(top: Path, files: dict[str, str | bytes | None]) -> tuple[list[Row], Warnings]:
    rows, warned = captured(top, files, capture_repositories)
    assert rows == sorted(rows, key=REPOS.order)
    assert len({repr(REPOS.order(row)) for row in rows}) == len(rows)
    for row in rows:
        assert S.encode() not in REPOS.element(row)
    assert S not in warned.text
    return list(rows), warned


def one(line: str) -> Repository:
    warned = Warnings()
    (source,) = parse_one_line(b"/f", line.encode(), warned)
    assert warned == []
    return source.row


def test_one_line() -> None:
    assert one("deb http://h/debian bookworm main contrib # why") == Repository(
        file=b"/f", kind="deb", uris=("http://h/debian",), suites=("bookworm",), components=("main", "contrib")
    )
    assert one("deb-src\t[arch=amd64,arm64 signed-by=/k.gpg,/l.gpg lang+=de lang+=fr]  http://h/ ./") == Repository(
        file=b"/f",
        kind="deb-src",
        uris=("http://h/",),
        suites=("./",),
        architectures=("amd64", "arm64"),
        keys=("/k.gpg", "/l.gpg"),
        options=("lang+=de,fr",),
    )
    assert one("deb [ trusted=yes ] file:/x y").unsigned
    assert one("deb [allow-insecure=true] file:/x y").unsigned
    assert not one("deb [trusted=no] file:/x y").unsigned
    assert one('deb cdrom:[Debian 12 "x" y]/ bookworm main').uris == ("cdrom:[Debian%2012%20x%20y]/",)


@pytest.mark.parametrize(
    "line", ["deb", "deb http://h/", "rpm http://h/ x", "deb [arch=x http://h/ x", "deb [x] u s", "x"]
)
def test_lines_that_are_no_source(line: str) -> None:
    warned = Warnings()
    assert list(parse_one_line(b"/f", line.encode(), warned)) == []
    assert "line 1" in warned.text
    assert warned.text.endswith("is passed over")


def test_comments_are_nothing() -> None:
    warned = Warnings()
    assert list(parse_one_line(b"/f", b"# deb http://h/ x y\n\n  #x\n", warned)) == []
    assert warned == []


STANZAS = """\
# a comment
Types: deb deb-src
URIs: http://a/ https://b/
Suites: s1
 s2
Components: main
Architectures: amd64 arm64
Signed-By: /usr/share/keyrings/x.gpg
X-Repolib-Name: A  name

types: deb
uris: http://c/
suites: ./
enabled: No
Trusted: yes
"""


def test_stanzas() -> None:
    warned = Warnings()
    rows = [source.row for source in parse_deb822(b"/f", STANZAS.encode(), warned)]
    assert warned == []
    binary = Repository(
        file=b"/f",
        kind="deb",
        uris=("http://a/", "https://b/"),
        suites=("s1", "s2"),
        components=("main",),
        architectures=("amd64", "arm64"),
        keys=("/usr/share/keyrings/x.gpg",),
        options=("x-repolib-name=A,name",),
    )
    assert rows[0] == binary
    assert (rows[1].kind, rows[1].uris, rows[1].options) == ("deb-src", binary.uris, binary.options)
    assert rows[2] == Repository(
        file=b"/f",
        kind="deb",
        uris=("http://c/",),
        suites=("./",),
        disabled=True,
        unsigned=True,
        options=("trusted=yes",),
    )


@pytest.mark.parametrize(
    "text",
    [
        "URIs: x\nSuites: y\n",
        "Types: deb\nSuites: y\n",
        "Types: deb\nURIs: x\n",
        "Types: rpm\nURIs: x\nSuites: y\n",
        "nonsense\n",
    ],
)
def test_stanzas_that_are_no_source(text: str) -> None:
    warned = Warnings()
    assert list(parse_deb822(b"/f", text.encode(), warned)) == []
    assert "the stanza in line 1 is no source" in warned.text


def test_damaged_stanzas_say_so() -> None:
    warned = Warnings()
    (source,) = parse_deb822(b"/f", b"Types: deb\nURIs: x\nSuites: y\nnonsense\n", warned)
    assert source.row.options == ("damaged=yes",)
    assert "line 4" in warned.text


def test_keys_that_stand_in_a_stanza(tmp_path: Path) -> None:
    key = public_key(b"one")
    block = armored(keyring(key, "One <one@example.org>"))
    inside = "".join(f" {line or '.'}\n" for line in block.splitlines())
    rows, warned = repositories(
        tmp_path,
        {"/etc/apt/sources.list.d/x.sources": f"Types: deb deb-src\nURIs: http://h/\nSuites: s\nSigned-By:\n{inside}"},
    )
    assert warned == []
    assert [row.keys for row in rows if isinstance(row, Repository)] == [(fingerprint_of(key),)] * 2
    (found,) = (row for row in rows if isinstance(row, SigningKey))
    assert (found.file, found.fingerprint) == (b"/etc/apt/sources.list.d/x.sources", fingerprint_of(key))
    assert found.owner == "One <one@example.org>"


REPO = f"""\
[base]
name=Base $releasever - $basearch
baseurl=http://a/$releasever/ http://user:{S}@b/
        ftp://c/
enabled=1
gpgcheck=1
gpgkey=file:///etc/pki/rpm-gpg/RPM-KEY https://h/key
; a comment

[extra]
mirrorlist=https://m/list?arch=$basearch&token={S}
gpgcheck=0
enabled=0
username=me
password={S}
[default]
metalink: https://m/metalink
[nothing]
priority=1
"""


def test_repo_files() -> None:
    warned = Warnings()
    rows = [source.row for source in parse_repo(b"/f", REPO.encode(), warned, checked=True)]
    assert warned.text == "/f: the section 'nothing' states no address"
    assert rows[0] == Repository(
        file=b"/f",
        kind="rpm",
        name="base",
        uris=("http://a/$releasever/", "http://b/", "ftp://c/"),
        keys=("file:///etc/pki/rpm-gpg/RPM-KEY", "https://h/key"),
        options=("credentials=removed", "name=Base%20$releasever%20-%20$basearch"),
    )
    assert (rows[1].name, rows[1].disabled, rows[1].unsigned) == ("extra", True, True)
    assert rows[1].options == ("credentials=removed", "mirrorlist=https://m/list?arch=$basearch&token=(hidden)")
    assert (rows[2].options, rows[2].unsigned) == (("metalink=https://m/metalink",), False)
    unchecked = [source.row for source in parse_repo(b"/f", REPO.encode(), warned, checked=False)]
    assert [row.unsigned for row in unchecked] == [False, True, True, True]


def test_what_is_looked_at_by_default(tmp_path: Path) -> None:
    rows, warned = repositories(
        tmp_path,
        {
            "/etc/dnf/dnf.conf": "[main]\ngpgcheck=True\n[here]\nbaseurl=http://x/\n",
            "/etc/yum.conf": "[main]\ngpgcheck=0\n",
            "/etc/yum.repos.d/a.repo": "[a]\nbaseurl=http://a/\n[a]\nbaseurl=http://a/\nenabled=0\n",
            "/etc/yum.repos.d/a.repo.rpmsave": "[b]\nbaseurl=http://b/\n",
            "/etc/zypp/repos.d": "-> ../yum.repos.d",
        },
    )
    assert warned == []
    assert [(row.name, row.unsigned, row.number, row.disabled) for row in rows] == [
        ("here", False, 0, False),
        ("a", False, 0, False),
        ("a", False, 1, True),
    ]


def test_zypper_looks_at_signatures(tmp_path: Path) -> None:
    rows, _ = repositories(tmp_path, {"/etc/zypp/repos.d/a.repo": "[a]\nbaseurl=http://a/\n"})
    assert [row.unsigned for row in rows] == [False]
    rows, _ = repositories(tmp_path / "yum", {"/etc/yum.repos.d/a.repo": "[a]\nbaseurl=http://a/\n"})
    assert [row.unsigned for row in rows] == [True]


def test_pacman(tmp_path: Path) -> None:
    rows, warned = repositories(
        tmp_path,
        {
            "/etc/pacman.conf": "[options]\nSigLevel = Required DatabaseOptional\nArchitecture = auto\n[core]\n"
            f"Include = /etc/pacman.d/mirrors*\nServer = https://u:{S}@own/$repo\n[own]\nSigLevel = Optional TrustAll\n"
            "Server = file:///srv\n[none]\nInclude = /etc/none\nInclude = /etc/pacman.conf\n",
            "/etc/pacman.d/mirrorsA": "# x\nServer = http://a/$repo/os/$arch\n",
            "/etc/pacman.d/mirrorsB": "Server = http://b/$repo\n",
            "/etc/pacman.d/.mirrors": "Server = http://hidden/\n",
        },
    )
    by_name = {row.name: row for row in rows}
    assert by_name["core"].uris[:3] == ("http://a/$repo/os/$arch", "http://b/$repo", "https://own/$repo")
    assert [by_name[name].unsigned for name in ("core", "own", "none")] == [False, True, False]
    assert "siglevel=Optional%20TrustAll" in by_name["own"].options[-1]
    assert [option for row in rows for option in row.options if option.startswith("place=")] == [
        "place=0",
        "place=2",
        "place=1",
    ]
    assert "/etc/none: it is included, and nothing of it was read" in warned.text
    assert "/etc/pacman.conf: it was not read: too many files include each other" in warned.text


@pytest.mark.parametrize(
    ("level", "unsigned"),
    [
        ("", True),
        ("Required", False),
        ("PackageRequired", False),
        ("Required PackageNever", True),
        ("Never Required", False),
        ("DatabaseRequired", True),
        ("Required DatabaseNever", False),
        ("Required Optional", True),
    ],
)
def test_levels_of_signatures(level: str, *, unsigned: bool) -> None:
    assert takes_unsigned(level.encode()) is unsigned


def test_apk() -> None:
    warned = Warnings()
    text = f"http://h/v3/main\n#no\n@edge https://u:{S}@h/edge/x\nv3 https://h/y a b\n@lost\n".encode()
    rows = [source.row for source in parse_apk(b"/f", text, warned)]
    assert [(row.name, row.uris, row.components, row.options) for row in rows] == [
        ("", ("http://h/v3/main",), (), ()),
        ("edge", ("https://h/edge/x",), (), ("credentials=removed",)),
        ("", ("https://h/y",), ("a", "b"), ("index=v3",)),
    ]
    assert warned.text == "/f: the tag 'lost' has no address"


def test_a_whole_root(tmp_path: Path) -> None:
    one_key, two, three = public_key(b"1"), public_key(b"2"), public_key(b"3")
    der = b"0\x82" + bytes(range(80))
    pem = b"-----BEGIN PUBLIC KEY-----\n" + base64.encodebytes(der) + b"-----END PUBLIC KEY-----\n"
    both = keyring(one_key, "One") + keyring(two, "Two")
    rows, warned = repositories(
        tmp_path,
        {
            "/etc/apt/sources.list": f"deb http://u:{S}@h/ s m\ndeb http://h/ s m\n"
            "deb [signed-by=/usr/share/keyrings/k.gpg] u s\ndeb [signed-by=/none.gpg] v s\n",
            "/etc/apt/sources.list.d/old.list.save": "deb http://no/ s m\n",
            "/etc/apt/sources.list.d/o d.list": "deb http://no/ s m\n",
            "/etc/apt/trusted.gpg": both,
            "/etc/apt/trusted.gpg.d/a.asc": armored(keyring(three, "Three")),
            "/etc/apt/trusted.gpg.d/README": "no key",
            "/etc/apt/trusted.gpg.d/box.gpg": bytes(8) + b"KBXf" + bytes(20),
            "/etc/apt/trusted.gpg.d/bad.gpg": both[:-3],
            "/usr/share/keyrings/k.gpg": keyring(one_key, "One"),
            "/usr/share/keyrings/unused.gpg": keyring(two, "Two"),
            "/etc/apk/keys/a.rsa.pub": pem,
            "/etc/apk/keys/b.rsa.pub": pem.replace(b"\n", b"?", 1),
            "/etc/apk/repositories": "http://h/main\n",
        },
    )
    repos = [row for row in rows if isinstance(row, Repository)]
    assert [(row.file, row.uris, row.number, row.options) for row in repos] == [
        (b"/etc/apk/repositories", ("http://h/main",), 0, ()),
        (b"/etc/apt/sources.list", ("http://h/",), 0, ("credentials=removed",)),
        (b"/etc/apt/sources.list", ("http://h/",), 1, ()),
        (b"/etc/apt/sources.list", ("u",), 0, ()),
        (b"/etc/apt/sources.list", ("v",), 0, ()),
    ]
    keys = {(row.file.rpartition(b"/")[2], row.fingerprint): row for row in rows if isinstance(row, SigningKey)}
    assert set(keys) == {
        (b"trusted.gpg", fingerprint_of(one_key)),
        (b"trusted.gpg", fingerprint_of(two)),
        (b"a.asc", fingerprint_of(three)),
        (b"box.gpg", ""),
        (b"bad.gpg", fingerprint_of(one_key)),
        (b"bad.gpg", fingerprint_of(two)),
        (b"k.gpg", fingerprint_of(one_key)),
        (b"a.rsa.pub", hashlib.sha256(der).hexdigest().upper()),
        (b"b.rsa.pub", ""),
    }
    found = keys[b"trusted.gpg", fingerprint_of(two)]
    assert (found.owner, found.created, found.digest) == ("Two", 1_700_000_000, blake3(both).hexdigest())
    assert [line.partition(": ")[0] for line in warned.text.splitlines()] == [
        "/etc/apt/trusted.gpg.d/bad.gpg",
        "/etc/apt/trusted.gpg.d/box.gpg",
        "/etc/apk/keys/b.rsa.pub",
        "/none.gpg",
    ]


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://h/x", "http://h/x"),
        ("http://h:8080/x@y", "http://h:8080/x@y"),
        (f"http://u:{S}@h/", "http://h/"),
        (f"https://{S}@h/", "https://h/"),
        (f"https://u:a/b@{S}@h/", "https://h/"),
        (f"http://h/?a=b&access_token={S}&c=d", "http://h/?a=b&access_token=(hidden)&c=d"),
        ("ssh://git@h/x", "ssh://h/x"),
    ],
)
def test_credentials(uri: str, shown: str) -> None:
    assert without_credentials(uri.encode()).decode() == shown


def test_names_of_options_of_any_bytes() -> None:
    (source,) = parse_repo(b"/f", b"[a]\nbaseurl=u\n\xff:x\nhttp://u:p@h/\n", Warnings(), checked=True)
    assert source.row.options == ("credentials=removed", "http=//h/", "\udcff=x")


def test_a_source_is_a_row_and_its_keys() -> None:
    (source,) = parse_one_line(b"/f", b"deb [signed-by=/k.gpg,AB12] u s", Warnings())
    assert source == Source(source.row, (b"/k.gpg",), b"")
    assert source.row.keys == ("/k.gpg", "AB12")
