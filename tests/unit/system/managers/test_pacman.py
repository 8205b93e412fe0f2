"""The dialect of pacman: a database that pacman itself wrote, and databases that are wrong in one way each."""

from __future__ import annotations

import gzip
import os
import shutil
from pathlib import Path

import pytest

from snapstore.errors import PackageDatabaseError
from snapstore.model import Kind
from snapstore.system.managers.pacman import Pacman
from snapstore.system.packages import Digest, Owned, Package
from snapstore.system.root import Root
from snapstore.system.scopes.packagelist import Lock
from tests.unit.system.managers.pacmanfiles import ENTRY, HEX, LOCAL, database, record

RECORDED = Path(__file__).resolve().parents[3] / "recorded" / "pacman"
SHA256 = Digest("sha256", bytes.fromhex(HEX))
Warnings = list[tuple[bytes, str]]


def owned(root: Path) -> tuple[dict[bytes, Owned], Warnings]:
    """What the packages of a root own, by path, and the warnings; every path is owned once in these databases."""
    warnings: Warnings = []
    with Root(os.fsencode(root)) as opened:
        found = list(Pacman().owned(opened, lambda path, reason: warnings.append((path, reason))))
    assert len({each.path for each in found}) == len(found)
    return {each.path: each for each in found}, warnings


def packages(root: Path) -> tuple[list[Package], Warnings]:
    warnings: Warnings = []
    with Root(os.fsencode(root)) as opened:
        return Pacman().packages(opened, lambda path, reason: warnings.append((path, reason))), warnings


def tool(root: Path) -> tuple[Owned, Warnings]:
    found, warnings = owned(root)
    assert list(found) == [b"/usr/bin/tool"]
    return found[b"/usr/bin/tool"], warnings


def refuse(path: bytes, reason: str) -> None:
    raise AssertionError(path, reason)


def configure(root: Path, *lines: str, file: str = "pacman.conf") -> None:
    (root / "etc").mkdir(exist_ok=True)
    (root / "etc" / file).write_text("\n".join(lines) + "\n")


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """A root with the database that pacman 6.0.2 wrote, and its configuration, but none of the files."""
    shutil.copytree(RECORDED / "local", tmp_path / LOCAL)
    (tmp_path / "etc").mkdir()
    shutil.copy(RECORDED / "pacman.conf", tmp_path / "etc")
    return tmp_path


def test_the_recorded_packages(recorded: Path) -> None:
    found, warnings = packages(recorded)
    assert not warnings
    assert [(each.name, each.version, each.reason, each.held, each.source, each.state) for each in found] == [
        ("demo-config", "0.1-1", "manual", True, "demo", "installed"),
        ("demo-locale", "1-1", "auto", False, "demo", "installed"),
        ("demo-names", "3-1", "auto", False, "demo", "installed"),
        ("demo-tools", "1:2.5-3", "manual", False, "demo", "installed"),
        ("filesystem", "2023.09.18-1", "manual", False, "", "installed"),
        ("pacman", "6.0.2-7", "manual", False, "", "installed"),
    ]
    assert {(each.manager, each.arch, each.size) for each in found} == {("pacman", "any", 4096)}


def test_the_recorded_files(recorded: Path) -> None:
    warnings: Warnings = []
    with Root(os.fsencode(recorded)) as root:
        found = list(Pacman().owned(root, lambda path, reason: warnings.append((path, reason))))
    assert not warnings
    assert all(each.vouched and each.installed > 1_700_000_000 for each in found)
    by_path = {each.path: each for each in found}
    su = by_path[b"/usr/bin/sutool"]
    assert (su.kind, su.mode, su.uid, su.gid, su.size, su.config) == (Kind.FILE, 0o4755, 0, 0, 8, False)
    assert su.digest is not None
    assert su.digest.algorithm == "sha256"
    assert by_path[b"/usr/bin/sgtool"].gid == 5
    assert {each.capabilities for each in found} == {None, ""}
    assert all((each.capabilities == "") is (each.kind is Kind.FILE) for each in found)
    assert by_path[b"/usr/bin/twin"].digest == by_path[b"/usr/bin/tool"].digest
    alias = by_path[b"/usr/lib/dangling"]
    assert (alias.kind, alias.target, alias.digest) == (Kind.SYMLINK, "/nowhere/a b/ü".encode(), None)
    assert by_path[b"/var/mail"].mode == 0o2775
    assert {path for path, each in by_path.items() if each.config} == {
        b"/etc/hosts", b"/etc/fstab", b"/etc/pacman.conf", b"/etc/demo/main.conf", b"/etc/demo/secret.conf",
    }  # fmt: skip
    assert {path for path, each in by_path.items() if each.optional} == {
        b"/usr/share/locale", b"/usr/share/locale/de", b"/usr/share/locale/de/demo.mo",
    }  # fmt: skip
    names = {os.path.basename(path) for path in by_path if path.startswith(b"/usr/share/names/")}
    assert names == {
        b"a b  c", "grün".encode(), b"back\\slash", b"#hash=1", b"two\nlines", b"tab\there", b" *?[x]",
        b"to blank", b"a", b"..b",
    }  # fmt: skip


def test_decisions(recorded: Path) -> None:
    with Root(os.fsencode(recorded)) as root:
        assert Pacman().decisions(root, refuse) == [
            Lock(manager="pacman", package="demo-conf*", rule="IgnorePkg", file=b"/etc/pacman.conf"),
            Lock(manager="pacman", package="pacman", rule="HoldPkg", file=b"/etc/pacman.conf"),
        ]


def test_a_root_without_pacman(tmp_path: Path) -> None:
    with Root(os.fsencode(tmp_path)) as root:
        assert not Pacman().detect(root)
    (tmp_path / "var/lib/pacman").mkdir(parents=True)
    with Root(os.fsencode(tmp_path)) as root:
        assert not Pacman().detect(root)


def test_an_empty_database(tmp_path: Path) -> None:
    database(tmp_path, version=None)
    with Root(os.fsencode(tmp_path)) as root:
        assert Pacman().detect(root)
    assert packages(tmp_path) == ([], [])
    assert owned(tmp_path) == ({}, [])


@pytest.mark.parametrize("version", [b"8\n", b"10\n", b"", b"\xff\0", None, b"9" * 100])
def test_another_version_is_refused(tmp_path: Path, version: bytes | None) -> None:
    database(tmp_path, version=version)
    record(tmp_path)
    with pytest.raises(PackageDatabaseError, match=r"version|cannot be read"):
        packages(tmp_path)
    with pytest.raises(PackageDatabaseError, match=r"version|cannot be read"):
        owned(tmp_path)


def test_the_database_may_be_elsewhere(tmp_path: Path) -> None:
    record(tmp_path)
    (tmp_path / "srv").mkdir()
    (tmp_path / "var/lib/pacman").rename(tmp_path / "srv/db")
    configure(tmp_path, "[options]", "Include = /etc/more*.conf", "DBPath = /never/this/")
    configure(tmp_path, "DBPath = /srv/db/", "[core]", "DBPath = /not/this", file="more1.conf")
    assert tool(tmp_path)[0].digest == SHA256
    with Root(os.fsencode(tmp_path)) as root:
        assert Pacman().detect(root)


def test_parents_are_resolved_and_last_components_are_not(tmp_path: Path) -> None:
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "bin").symlink_to("usr/bin")
    (tmp_path / "usr/bin/alias").symlink_to("tool")
    (tmp_path / "out").symlink_to("/../../etc")
    record(
        tmp_path, files=b"%FILES%\nbin/\nbin/alias\nout/x\n\n",
        mtree=b"/set type=link\n./bin link=usr/bin\n./bin/alias link=tool\n./out/x link=y",
    )  # fmt: skip
    found, _ = owned(tmp_path)
    assert set(found) == {b"/bin", b"/usr/bin/alias", b"/etc/x"}


def test_without_attributes_paths_are_owned_and_nobody_vouches(tmp_path: Path) -> None:
    record(
        tmp_path,
        files=b"%FILES%\nusr/\nusr/bin/\nusr/bin/tool\n\n%BACKUP%\nusr/bin/tool\t" + b"a" * 32 + b"\n\n",
        mtree=None,
    )
    found, warnings = owned(tmp_path)
    assert {path: each.kind for path, each in found.items()} == {
        b"/usr": Kind.DIRECTORY, b"/usr/bin": Kind.DIRECTORY, b"/usr/bin/tool": None,
    }  # fmt: skip
    assert not any(each.vouched or each.mode is not None for each in found.values())
    assert found[b"/usr/bin/tool"].config
    assert found[b"/usr/bin/tool"].digest == Digest("md5", b"\xaa" * 16)
    assert [(path.rpartition(b"/")[2], "missing" in reason) for path, reason in warnings] == [(b"mtree", True)]


GOOD = gzip.compress(b"#mtree\n" + ENTRY + b"\n")


@pytest.mark.parametrize(
    "mtree",
    [
        b"", b"x", GOOD[:-1], GOOD[:40], GOOD + b"x", GOOD[:-8] + b"\0" * 8, gzip.compress(ENTRY), gzip.compress(b""),
        b"#mtree\n" + ENTRY, b"\x1f\x8b\x08\0" + bytes(50),
    ],
)  # fmt: skip
def test_damaged_attributes_are_as_good_as_none(tmp_path: Path, mtree: bytes) -> None:
    made = record(tmp_path, mtree=None)
    (made / "mtree").write_bytes(mtree)
    found, warnings = tool(tmp_path)
    assert not found.vouched
    assert (found.digest, found.mode, found.kind) == (None, None, None)
    assert len(warnings) == 1
    assert "damaged" in warnings[0][1]


@pytest.mark.parametrize(
    "line",
    [
        ENTRY.replace(b"mode=755", b""), ENTRY.replace(b"uid=0", b""), ENTRY.replace(b"gid=0", b""),
        ENTRY.partition(b" sha256")[0], ENTRY.replace(b"type=file", b""), ENTRY.replace(b"type=file", b"type=link"),
        ENTRY.replace(b"type=file", b"type=fifo"),
    ],
)  # fmt: skip
def test_who_leaves_something_out_does_not_vouch(tmp_path: Path, line: bytes) -> None:
    record(tmp_path, mtree=line)
    assert not tool(tmp_path)[0].vouched


def test_the_digest_of_a_configuration_file_stands_in(tmp_path: Path) -> None:
    files = b"%FILES%\nusr/bin/tool\n\n%BACKUP%\nusr/bin/tool\t" + b"0f" * 16 + b"\n\n"
    made = record(tmp_path, files=files, mtree=ENTRY.partition(b" sha256")[0])
    found, warnings = tool(tmp_path)
    assert (found.digest, found.vouched, found.config, warnings) == (Digest("md5", b"\x0f" * 16), True, True, [])
    (made / "files").write_bytes(files.replace(b"0f" * 16, b"(null)"))
    found, _ = tool(tmp_path)
    assert (found.digest, found.vouched, found.config) == (None, False, True)


def test_the_lists_disagree(tmp_path: Path) -> None:
    record(tmp_path, files=b"%FILES%\nusr/bin/tool/\netc/other\n\n", mtree=ENTRY + b"\n./etc/third mode=644 type=file")
    found, warnings = owned(tmp_path)
    assert set(found) == {b"/usr/bin/tool", b"/etc/other", b"/etc/third"}
    assert not any(each.vouched or each.digest or each.kind for each in found.values())
    assert len(warnings) == 2


@pytest.mark.parametrize("files", [None, b"", b"%FILES%\n", b"rubbish\n", b"\0\xff"])
def test_without_a_list_the_attributes_say_what_is_owned(tmp_path: Path, files: bytes | None) -> None:
    record(tmp_path, files=files)
    found, warnings = tool(tmp_path)
    assert not found.vouched
    assert found.digest is None
    assert warnings


def test_a_list_that_was_cut_off(tmp_path: Path) -> None:
    record(tmp_path, files=b"%FILES%\nusr/bin/tool\nusr/bin/to")
    found, warnings = owned(tmp_path)
    assert found[b"/usr/bin/tool"].vouched
    assert not found[b"/usr/bin/to"].vouched
    assert any("damaged" in reason for _, reason in warnings)


def test_paths_that_lead_elsewhere_are_left_out_and_told(tmp_path: Path) -> None:
    bad = [b"../x", b"/etc/shadow", b"a/../../b", b"a//b", b".", b"a/./b", b"a\0b", b"x" * 5000, b"a/" * 200 + b"b"]
    record(tmp_path, files=b"%FILES%\n" + b"\n".join(bad) + b"\nusr/bin/tool\n\n")
    found, warnings = tool(tmp_path)
    assert found.vouched
    assert len(warnings) == len(bad)


def test_long_names_and_deep_paths(tmp_path: Path) -> None:
    paths = [b"d/" * 100 + b"x", b"n" * 255, b"n" * 4000]
    record(tmp_path, files=b"%FILES%\n" + b"\n".join(paths) + b"\n\n", mtree=b"")
    assert set(owned(tmp_path)[0]) == {b"/" + path for path in paths}


def test_names_with_line_feeds_are_put_together(tmp_path: Path) -> None:
    line = ENTRY.replace(b"usr/bin/tool", b"a\\012b/c\\012\\012d")
    record(tmp_path, files=b"%FILES%\na\nb/\na\nb/c\n\nd\n\n", mtree=line)
    found, warnings = owned(tmp_path)
    # Two line feeds end the list, so that only the attributes are left to go by.
    assert b"/a\nb/c\n\nd" in found
    assert not any(each.vouched for each in found.values())
    assert warnings
    shutil.rmtree(tmp_path / LOCAL)
    record(tmp_path, files=b"%FILES%\na\nb\nc\n\n", mtree=ENTRY.replace(b"usr/bin/tool", b"a\\012b\\012c"))
    found, warnings = owned(tmp_path)
    assert (list(found), found[b"/a\nb\nc"].vouched, warnings) == ([b"/a\nb\nc"], True, [])


@pytest.mark.parametrize(
    "desc",
    [
        b"", b"\0" * 100, b"%NAME%\ntool\n\n%VERSION%\n1.0-1", b"%NAME%\nother\n\n%VERSION%\n1.0-1\n\n",
        b"x\n%NAME%\ntool\n", b"a" * (2 << 20),
    ],
)  # fmt: skip
def test_a_damaged_description_makes_a_broken_package(tmp_path: Path, desc: bytes) -> None:
    record(tmp_path, desc=desc)
    found, warnings = packages(tmp_path)
    assert [(each.name, each.version, each.state, each.reason) for each in found] == [
        ("tool", "1.0-1", "broken", "unknown")
    ]
    assert len(warnings) == 1
    assert tool(tmp_path)[0].vouched


@pytest.mark.parametrize(
    ("reason", "expected"), [(b"0", "manual"), (b"1", "auto"), (b"2", "unknown"), (b"x", "unknown")]
)
def test_reasons(tmp_path: Path, reason: bytes, expected: str) -> None:
    record(tmp_path, desc=b"%NAME%\ntool\n\n%VERSION%\n1.0-1\n\n%REASON%\n" + reason + b"\n\n%SIZE%\n1e9\n\n")
    (found,), _ = packages(tmp_path)
    assert (found.reason, found.size) == (expected, 0)


def test_what_is_no_record_is_told_of(tmp_path: Path) -> None:
    record(tmp_path)
    for name in ("backup", "a-1", "tool -1-1"):
        (tmp_path / LOCAL / name).mkdir()
    assert [each.name for each in packages(tmp_path)[0]] == ["tool"]
    assert len(packages(tmp_path)[1]) == 3


def test_groups_and_files_that_are_kept(tmp_path: Path) -> None:
    record(tmp_path, desc=b"%NAME%\ntool\n\n%VERSION%\n1.0-1\n\n%GROUPS%\na\nbase-devel\n\n")
    configure(tmp_path, "[options]", "IgnoreGroup = x base-*", "NoUpgrade = usr/bin/*", "NoExtract=usr/* !usr/bin/t*")
    assert packages(tmp_path)[0][0].held
    found, _ = tool(tmp_path)
    assert found.config
    assert not found.optional


def test_configurations_that_include_each_other(tmp_path: Path) -> None:
    record(tmp_path)
    configure(tmp_path, "Include = /etc/pacman.conf", "Include = /etc/*.conf", "Include = relative", "DBPath")
    warnings = packages(tmp_path)[1]
    assert packages(tmp_path)[0][0].name == "tool"
    assert 0 < len(warnings) < 5000


def test_too_many_patterns_excuse_nothing(tmp_path: Path) -> None:
    record(tmp_path)
    configure(tmp_path, "[options]", *["NoExtract = usr/*"] * 1001)
    found, warnings = tool(tmp_path)
    assert not found.optional
    assert len(warnings) == 1


def test_the_stamp_changes_with_whatever_may_matter(tmp_path: Path) -> None:
    made = record(tmp_path)
    configure(tmp_path, "[options]", "Include = /etc/more*.conf")
    seen = set()

    def stamp() -> int:
        with Root(os.fsencode(tmp_path)) as root:
            seen.add(Pacman().stamp(root))
            assert Pacman().stamp(root) in seen
        return len(seen)

    assert stamp() == 1
    assert stamp() == 1
    with (made / "mtree").open("r+b") as file:
        file.write(b"\x1f")
    os.utime(made / "mtree", (1, 1))
    assert stamp() == 2
    configure(tmp_path, "NoExtract = *", file="more.conf")
    assert stamp() == 3
    record(tmp_path, "other-1-1")
    assert stamp() == 4
    (made / "files").unlink()
    assert stamp() == 5
    shutil.rmtree(tmp_path / LOCAL)
    assert stamp() == 6
