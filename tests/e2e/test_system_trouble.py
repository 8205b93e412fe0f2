"""The commands about systems where things go wrong, or are meant to: usage, places, names, secrets, damage, signals."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import Filled, Snapstore
from tests.tinysystem import TinySystem, tiny_system


@pytest.fixture
def system(tmp_path: Path) -> TinySystem:
    return tiny_system(tmp_path)


# -- usage ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ("audit", "--root", ""), ("audit", "--html", ""), ("snapshot", "--root", ""),
        ("diff", "first", "--live", "--root", ""), ("export", "first", "--bundle", ""),
        ("export", "first", "--snapfile", ""), ("import", ""),
    ],
)  # fmt: skip
def test_an_empty_path_is_no_path(filled: Filled, arguments: tuple[str, ...]) -> None:
    failure = filled.snapstore("--json", *arguments)
    assert failure.code == 2
    assert "empty" in failure.failure["message"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("audit", "--xml", "--json"), "either --xml or --json"),
        (("audit", "--html", "-"), "name of a file"),
        (("audit", "--reference", "/nowhere/at/all"), "does not exist"),
        (("snapshot", "--reference", "/nowhere/at/all"), "does not exist"),
        (("diff", "first", "second", "--root", "/"), "--live"),
        (("diff", "first", "--live", "--root", "/"), "its own paths"),
        (("diff", "first", "second", "--live"), "leave out second"),
        (("diff", "first", "second", "/a", "--live"), "leave out B"),
    ],
)
def test_what_makes_no_sense_is_said_before_anything_is_done(
    filled: Filled, arguments: tuple[str, ...], told: str
) -> None:
    result = filled.snapstore(*arguments)
    assert (result.code, result.out) == (2, b"")
    assert told in " ".join(result.errors.split())


def test_a_path_that_is_called_like_a_snapshot_can_still_be_named(filled: Filled) -> None:
    result = filled.snapstore("diff", "first", "/second", "--live")
    assert result.code == 1
    assert "holds '/second'" in result.errors


# -- places -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("nowhere/report.html", "No such file"),
        ("file/report.html", "Not a directory"),
        ("folder", "Is a directory"),
        ("new/", "Is a directory"),
        ("closed/report.html", "Permission denied"),
        ("store/report.html", "inside the store"),
    ],
)
def test_where_no_report_can_be_written_nothing_is_looked_at(
    fresh: Snapstore, system: TinySystem, tmp_path: Path, place: str, told: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "closed").mkdir(mode=0o500)
    result = fresh("audit", "--root", system.root, "--html", f"{tmp_path}/{place}", powerless=True)
    assert (result.code, result.out, result.err.count(b"\n")) == (1, b"", 1)
    assert told in result.errors
    assert place in result.errors
    assert not list((fresh.home / "cache").rglob("*.survey"))


def test_a_report_takes_the_place_of_a_file_and_not_of_a_device(
    snapstore: Snapstore, system: TinySystem, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    with subprocess.Popen(["cat", tmp_path / "pipe"], stdout=subprocess.PIPE) as reader:
        snapstore.ok("audit", "--root", system.root, "--html", tmp_path / "pipe")
        out, _ = reader.communicate(timeout=20)
    assert out.startswith(b"<!DOCTYPE html>")
    assert (tmp_path / "pipe").is_fifo()
    (tmp_path / "page").write_text("old")
    (tmp_path / "link").symlink_to("page")
    snapstore.ok("audit", "--root", system.root, "--html", tmp_path / "link")
    assert (tmp_path / "page").read_bytes().startswith(b"<!DOCTYPE html>")
    assert (tmp_path / "link").is_symlink()


def test_an_archive_has_to_be_given_the_name_of_a_file(filled: Filled, tmp_path: Path) -> None:
    for place in ("/", f"{tmp_path}/new/", f"{tmp_path}"):
        result = filled.snapstore("export", "first", "--bundle", place)
        assert result.code == 1
        assert "Is a directory" in result.errors
    assert not (tmp_path / "new").exists()


def test_a_user_without_a_home_is_told_so(system: TinySystem, snapstore: Snapstore) -> None:
    kept = {name: value for name, value in snapstore.env.items() if name != "HOME" and not name.startswith("XDG_")}
    lost = (
        "import os, pwd, sys\n"
        "pwd.getpwuid = lambda number: (_ for _ in ()).throw(KeyError(number))\n"
        "from snapstore.cli.application import main\n"
        "sys.exit(main())\n"
    )
    command = [sys.executable, "-c", lost, "audit", "--root", str(system.root)]
    result = subprocess.run(command, env=kept, capture_output=True, check=False)
    assert result.returncode == 1
    assert b"home directory" in result.stderr
    assert b"set HOME" in result.stderr


# -- what systems may be ----------------------------------------------------------------------------------------------


def test_a_system_without_packages_is_said_to_have_none(fresh: Snapstore, tmp_path: Path, system: TinySystem) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "no package database" in fresh("audit", "--root", empty).errors
    assert "no package database" not in fresh("audit", "--root", system.root).errors
    # What it is called is not what this machine is called.
    assert fresh("snapshot", "--root", empty).code == 3
    (record, *_) = fresh.ok("--json", "show", "latest").messages
    assert (record["host"], record["os"]) == ("", "")


def test_names_of_any_bytes_neither_steer_a_terminal_nor_break_json(fresh: Snapstore, system: TinySystem) -> None:
    for name in (b"\x1b[2J", b"new\nline", "\u202eevil".encode(), b"\xff\xfe", b"-rf", b"n" * 255, b"<b>&\"'"):
        system.write(b"/usr/bin/" + name, b"x")
    system.write("/etc/hostname", b"evil\x1b[31m\xff\n")
    root = system.root
    fresh.ok("snapshot", "--root", root)
    for arguments in (["audit", "--root", root], ["show", "latest", "files"], ["show", "latest"]):
        text = fresh.ok(*arguments, "--verbose").text
        assert all(each.isprintable() or each == "\n" for each in text), arguments
    (*_, summary) = fresh.ok("--json", "audit", "--root", root).messages
    assert "\x1b" not in summary["host"]
    assert summary["host_b64"] == "ZXZpbBtbMzFt/w=="
    failure = fresh("--json", "audit", "--root", b"/\xff\x1b[2J").failure
    assert "\\xff\\x1b[2J" in failure["message"]


SECRET = b"planted-secret"


def _plant(system: TinySystem, secret: bytes) -> None:
    system.write("/etc/shadow", b"root:$y$j9T$salt$%b:19000:0:99999:7:::\ntester:!:19000::::::\n" % secret)
    system.write(
        "/etc/pacman.conf", b"[core]\nServer = https://me:%b@mirror.example/core?token=%b\n" % (secret, secret)
    )
    system.write("/etc/apt/sources.list", b"deb https://me:%b@mirror.example/ stable main\n" % secret)
    system.write(
        "/etc/apt/sources.list.d/broken.sources",
        b"Types: deb\nURIs: https://me:%b@b/\nnonsense token=%b\n" % (secret, secret),
    )
    system.write("/etc/sudoers", b"tester ALL=(ALL) NOPASSWD: /bin/x --password=%b, /bin/y\n" % secret, mode=0o440)
    system.write(
        "/etc/systemd/system/my.service", b"[Service]\nEnvironment=DB_PASSWORD=%b\nExecStart=/bin/x\n" % secret
    )
    system.write("/etc/tool.conf", b"level = 2\npassword = %b\n" % secret)
    system.write("/etc/ssl/private/my.key", b"-----BEGIN PRIVATE KEY-----\n%b\n-----END PRIVATE KEY-----\n" % secret)


def test_no_secret_shows_anywhere_unless_it_is_asked_for(fresh: Snapstore, system: TinySystem, tmp_path: Path) -> None:
    _plant(system, SECRET + b"-one")
    told = [fresh("snapshot", "--root", system.root, "--name", "one")]
    _plant(system, SECRET + b"-two")
    told.append(fresh("snapshot", "--root", system.root, "--name", "two"))
    page = tmp_path / "page.html"
    forms = (["--verbose"], ["--json"], ["--xml"], ["--html", os.fsdecode(page)])
    told += [fresh("audit", "--root", system.root, *options) for options in forms]
    for options in ([], ["--json"]):
        told.append(fresh("diff", "one", "two", *options))
        told.append(fresh("diff", "one", "--live", "--root", system.root, *options))
    for scope in ("os", "packages", "repos", "users", "services", "files"):
        told += [fresh("show", "two", scope, *options) for options in ([], ["--json"], ["--xml"])]
    assert {each.code for each in told} <= {0, 3}
    assert not [each for each in told if SECRET in each.out + each.err]
    assert SECRET not in page.read_bytes()
    rules = fresh.ok("show", "two", "users", "--match", "tester ALL*", "--json").messages
    assert [row["fields"]["rule"] for row in rules] == ["tester ALL=(ALL) NOPASSWD: /bin/x --password=(hidden)"]
    assert SECRET in fresh.ok("show", "two", "users", "--reveal").out


# -- damage and signals -----------------------------------------------------------------------------------------------


def test_a_damaged_record_is_named_by_whatever_needs_it(fresh: Snapstore, system: TinySystem, tmp_path: Path) -> None:
    assert fresh.store is not None
    fresh.ok("snapshot", "--root", system.root)
    packs = {path for path in (fresh.store / "packs").rglob("*") if path.is_file()}
    copy = tmp_path / "copy"
    shutil.copytree(fresh.store, copy)
    damaged = []
    for pack in packs:  # one of contents, one of records and trees
        place = copy / pack.relative_to(fresh.store)
        data = bytearray(place.read_bytes())
        data[len(data) // 3] ^= 1
        place.chmod(0o600)
        place.write_bytes(data)
        command = fresh.at(copy)
        if command("check").code:
            damaged.append(pack.name)
            found = [
                command("show", "latest", "users"), command("show", "latest", "files", "--json"),
                command("stats", "--budget"), command("diff", "latest", "--live", "--root", system.root),
                command("export", "latest", "--bundle", tmp_path / "half.tar"),
            ]  # fmt: skip
            assert {each.code for each in found} == {1}
            assert all(pack.name in each.errors for each in found)
            assert pack.name in command("check").text
        place.write_bytes(pack.read_bytes())
    assert len(damaged) == 1
    assert not list(tmp_path.glob("*.tar*"))
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_import_that_is_stopped_leaves_no_snapshot(filled: Filled, fresh: Snapstore, number: int) -> None:
    archive = filled.snapstore.ok("export", "first", "--bundle", "-").out
    process = fresh.start("import", "-", stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(archive[: len(archive) * 3 // 4])
    process.stdin.flush()
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1.5)
    process.send_signal(number)
    assert process.wait(5) == 130
    process.communicate()
    assert fresh.ok("--json", "snapshots", "--all").messages == []
    assert fresh.ok("check", "--read-data").code == 0
    assert fresh("import", "-", stdin=archive).code == 0


def _open_below(pid: int, folder: Path) -> str:
    """The name of a file below a directory that a process has open, as the kernel tells it; empty if it has none."""
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            name = os.readlink(each)
            if name.startswith(f"{folder}/"):
                return name
    return ""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_an_export_that_is_stopped_leaves_no_half_file(
    fresh: Snapstore, tmp_path: Path, number: int, code: int
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for each in range(24):
        (source / str(each)).write_bytes(os.urandom(1 << 20))
    fresh.ok("snapshot", source)
    folder = tmp_path / "folder"
    folder.mkdir()
    process = fresh.start("export", "latest", "--snapfile", folder / "a.tgz")
    begun = ""
    while not begun:
        assert process.poll() is None, "it was too quick to be stopped"
        begun = _open_below(process.pid, folder)
    if number == signal.SIGKILL and not begun.endswith("(deleted)"):
        process.kill()
        process.communicate()
        pytest.skip("this file system has no files without a name")
    process.send_signal(number)
    assert process.wait(5) == code
    process.communicate()
    assert list(folder.iterdir()) == []
