"""The rules that come with the program: that they are sound, what they say, and what they must never say."""

from __future__ import annotations

import os
import re
import tomllib
from collections import Counter
from importlib import resources
from pathlib import Path

import pytest

from snapstore.system.ownrules import FILES, holds, own_rules, swap_rules
from snapstore.system.patterns import may_meet, parse_pattern
from snapstore.system.root import Root
from snapstore.system.rulebook import RuleBook, load_rules
from snapstore.system.rulechecks import CHECKS
from snapstore.system.rules import EXCLUDED, GENERATED, Rule

CONDITIONS = {name for rule in own_rules() for name in rule.package.split("|") if name}
EVERYTHING = {name.replace("*", "x") for name in CONDITIONS}
"""Package names with which every rule holds."""

# What people make, on machines where every package that a rule asks for is installed.
PEOPLE = [
    "/home/x/.profile",
    "/home/x/tmp/a",
    "/root/notes.txt",
    "/root/.ssh/authorized_keys",
    "/srv/www/index.html",
    "/opt/tool/bin/tool",
    "/usr/local/bin/tool",
    "/usr/local/lib/python3.11/dist-packages/tool.py",
    "/usr/local/lib/python3.11/dist-packages/__pycache__/tool.cpython-311.pyc",
    "/usr/local/share/ca-certificates/ours.crt",
    "/etc/cron.d/backup",
    "/etc/sudoers.d/admins",
    "/etc/ssh/sshd_config.d/ours.conf",
    "/etc/ssl/private/www.key",
    "/etc/ssl/certs/ours.pem",
    "/etc/letsencrypt/live/x/privkey.pem",
    "/etc/systemd/system/ours.service",
    "/etc/systemd/system/ours.service.d/override.conf",
    "/etc/systemd/system/cron.service",
    "/etc/systemd/system/multi-user.target.wants/ours.service",
    "/etc/rc2.d/S99ours",
    "/etc/rc.local",
    "/etc/pam.d/ours",
    "/etc/pam.d/common-auth",
    "/etc/apt/sources.list",
    "/etc/apt/sources.list.d/ours.sources",
    "/etc/apt/apt.conf.d/99ours",
    "/etc/apache2/sites-enabled/ours.conf",
    "/etc/apache2/mods-enabled/rewrite.load",
    "/var/lib/apache2/module/enabled_by_admin/rewrite",
    "/var/lib/apache2/module/disabled_by_admin/status",
    "/etc/php/8.2/cli/conf.d/99-ours.ini",
    "/etc/nginx/sites-enabled/ours",
    "/etc/NetworkManager/system-connections/home.nmconnection",
    "/etc/wireguard/wg0.conf",
    "/etc/hosts",
    "/etc/fstab",
    "/etc/hostname",
    "/etc/profile",
    "/etc/localtime",
    "/etc/xml/ours.xml",
    "/etc/alternatives/editor",
    "/usr/bin/ours",
    "/usr/bin/editor",
    "/usr/sbin/policy-rc.d",
    "/usr/lib/x86_64-linux-gnu/libours.so.1",
    "/usr/lib/python3/dist-packages/ours.py",
    "/usr/share/mime/packages/ours.xml",
    "/usr/share/applications/ours.desktop",
    "/boot/vmlinuz-ours",
    "/boot/initrd.img-ours",
    "/var/lib/postgresql/15/main/base/1/2",
    "/var/lib/mysql/ibdata1",
    "/var/lib/redis/dump.rdb",
    "/var/lib/docker/volumes/x/_data/y",
    "/var/lib/libvirt/images/vm.qcow2",
    "/var/lib/ldap/data.mdb",
    "/var/lib/systemd/linger/x",
    "/var/mail/root",
    "/var/spool/mail/root",
    "/var/spool/cron/crontabs/root",
    "/var/spool/cups/d00001-001",
    "/var/www/html/index.html",
    "/var/www/html/index.php",
    "/var/backups/mine.tar.gz",
    "/swapfile",
    "/data/x",
]

# (path, directory, rule): what is there on every fresh machine, and needs nothing but its name.
MACHINE = [
    ("/proc/1/status", False, "kernel-file-systems"),
    ("/run/lock", True, "run"),
    ("/tmp/x/y", False, "temporary"),
    ("/var/cache/apt/archives/x.deb", False, "apt-downloads"),
    ("/var/cache/apt/pkgcache.bin", False, "apt-downloads"),
    ("/var/lib/apt/lists/lock", False, "apt-lists"),
    ("/var/cache/dnf/x/y", False, "rpm-downloads"),
    ("/lost+found/#1", False, "lost-found"),
    ("/home/lost+found/#1/x", False, "lost-found"),
    ("/var/lib/dpkg/status", False, "dpkg-database"),
    ("/var/lib/dpkg/info/x.list", False, "dpkg-database"),
    ("/var/lib/dpkg/statoverride", False, "dpkg-decisions"),
    ("/var/lib/rpm/rpmdb.sqlite", False, "rpm-database"),
    ("/var/lib/pacman/local/x-1-1/desc", False, "pacman-database"),
    ("/lib/apk/db/installed", False, "apk-database"),
    ("/etc/passwd", False, "accounts"),
    ("/etc/passwd-", False, "account-backups"),
    ("/etc/machine-id", False, "machine-id"),
    ("/etc/ssh/ssh_host_ed25519_key", False, "ssh-host-keys"),
    ("/etc/ld.so.cache", False, "ldconfig"),
    ("/var/cache/man/cat1", True, "man-pages"),
    ("/var/cache/debconf/config.dat", False, "debconf-answers"),
    ("/var/cache/debconf/templates.dat", False, "debconf-templates"),
    ("/var/log/apt/history.log", False, "logs"),
    ("/usr/share/mime/text/plain.xml", False, "mime-types"),
    ("/etc/systemd/system/multi-user.target.wants", True, "unit-directories"),
    ("/usr/local/bin", True, "base-directories"),
    ("/srv", True, "base-directories"),
    ("/var/www/html", True, "web-directories"),
]


def fail(path: bytes, reason: str) -> None:
    pytest.fail(f"{os.fsdecode(path)}: {reason}")


@pytest.fixture(scope="module")
def book() -> RuleBook:
    return RuleBook(rule for rule in own_rules() if holds(rule, EVERYTHING))


def nobody(path: bytes) -> bool:
    return False


def asked(book: RuleBook, path: str, *, directory: bool = False) -> Rule | None:
    raw = os.fsencode(path)
    return book.excluded(raw, directory=directory) or book.generated(raw, directory=directory, owned=nobody)


def test_every_condition_is_met(book: RuleBook) -> None:
    assert len(book.rules) == len(own_rules()) > 200


@pytest.mark.parametrize("path", PEOPLE)
def test_what_people_make_is_theirs(book: RuleBook, path: str) -> None:
    assert asked(book, path) is None
    assert asked(book, os.path.dirname(path) + "/ours.d", directory=True) is None


@pytest.mark.parametrize(("path", "directory", "name"), MACHINE)
def test_what_machines_make_is_explained(book: RuleBook, path: str, directory: bool, name: str) -> None:  # noqa: FBT001
    found = asked(book, path, directory=directory)
    assert found is not None
    assert found.id == name


@pytest.mark.parametrize("path", ["/proc", "/dev", "/run", "/tmp", "/var/tmp", "/var/lib/apt/lists", "/lost+found"])
def test_directories_themselves_remain(book: RuleBook, path: str) -> None:
    assert book.excluded(os.fsencode(path), directory=True) is None


def test_every_rule_says_why_and_where_from() -> None:
    for rule in own_rules():
        assert re.fullmatch(r"[a-z][a-z0-9-]+", rule.id), rule
        assert rule.cls in (EXCLUDED, GENERATED), rule
        assert rule.reason, rule
        assert rule.source, rule
        assert rule.check in ("", *CHECKS), rule
        assert not (rule.cls == EXCLUDED and rule.omit), rule


def test_rules_of_one_id_mean_the_same() -> None:
    for name in {rule.id for rule in own_rules()}:
        assert len({(rule.cls, rule.omit) for rule in own_rules() if rule.id == name}) == 1, name


def test_no_pattern_is_there_twice() -> None:
    counts = Counter((rule.cls, rule.pattern, rule.check, rule.detail) for rule in own_rules())
    assert [key for key, count in counts.items() if count > 1] == []


def test_files_hold_nothing_that_is_not_read() -> None:
    known = {"id", "class", "patterns", "reason", "source", "omit", "package", "check", "detail"}
    for name in FILES:
        text = resources.files("snapstore.system").joinpath("data", f"{name}.toml").read_text(encoding="utf-8")
        content = tomllib.loads(text)
        assert set(content) == {"rule"}
        assert {key for entry in content["rule"] for key in entry} <= known
        assert all(entry["patterns"] for entry in content["rule"])


@pytest.mark.parametrize(
    "place", ["/home", "/srv/x", "/opt/x", "/var/www/x", "/var/lib/mysql", "/var/lib/postgresql", "/usr/local/bin"]
)
def test_no_rule_reaches_into_what_people_keep(place: str) -> None:
    """Whatever the check of a rule says: only what is asked about by its very name, and bytecode of owned sources."""
    below = parse_pattern(f"{place}/**").components
    for rule in own_rules():
        if rule.check not in ("python-bytecode", "copy") and rule.id != "lost-found":
            assert not may_meet(parse_pattern(rule.pattern).components, below), rule


@pytest.mark.parametrize(
    ("condition", "packages", "expected"),
    [
        ("", set(), True),
        ("dpkg", {"dpkg"}, True),
        ("dpkg", {"dpkg-dev"}, False),
        ("a|b", {"b"}, True),
        ("a|b", {"c"}, False),
        ("mysql-server*", {"mysql-server-8.0"}, True),
        ("mysql-server*", {"mysql-client"}, False),
    ],
)
def test_conditions(condition: str, packages: set[str], expected: bool) -> None:  # noqa: FBT001
    rule = Rule(id="x", cls=GENERATED, pattern="/x", reason="r", source="s", package=condition)
    assert holds(rule, packages) is expected


def test_without_packages_their_rules_do_not_hold(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    with Root(os.fsencode(tmp_path)) as root:
        book = load_rules(root, [], fail)
        assert asked(book, "/var/lib/dpkg/status") is None
        assert asked(book, "/etc/machine-id") is not None
        with_dpkg = load_rules(root, ["dpkg"], fail)
        assert asked(with_dpkg, "/var/lib/dpkg/status") is not None
        assert book.digest != with_dpkg.digest


def test_bytecode_is_asked_about_last(tmp_path: Path) -> None:
    with Root(os.fsencode(tmp_path)) as root:
        book = load_rules(root, EVERYTHING, fail)
    anywhere = [number for number, rule in enumerate(book.rules) if rule.pattern.startswith("/**/")]
    assert anywhere
    assert anywhere[0] == len(book.rules) - len(anywhere)
    # So that whole trees can be taken without asking about each path.
    for name in ("man-pages", "logs", "rpm-database", "fonts"):
        assert any(book.inherits(rule) for rule in book.rules if rule.id == name), name


FSTAB = rb"""# a comment
UUID=1 / ext4 defaults 0 1
/dev/sda2 none swap sw 0 0
/data/swap\040file none swap sw 0 0
/short swap
relative none swap sw
/data/not-swap none swap sw
"""


def test_swap_files_of_fstab(tmp_path: Path) -> None:
    for name in ("etc", "data"):
        (tmp_path / name).mkdir()
    (tmp_path / "etc/fstab").write_bytes(FSTAB)
    (tmp_path / "data/swap file").write_bytes(bytes(4086) + b"SWAPSPACE2")
    (tmp_path / "data/not-swap").write_bytes(b"precious")
    with Root(os.fsencode(tmp_path)) as root:
        assert [rule.pattern for rule in swap_rules(root, fail)] == ["/data/swap file", "/data/not-swap"]
        book = load_rules(root, [], fail)
        assert book.excluded(b"/data/swap file", directory=False) is not None
        assert book.excluded(b"/data/not-swap", directory=False) is None


def test_too_many_swap_files_are_told(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    lines = [b"/%d none swap sw 0 0\n" % number for number in range(40)]
    (tmp_path / "etc/fstab").write_bytes(
        b"/\0 none swap sw\n" + b"/" + b"a/" * 200 + b"b none swap sw\n" + b"".join(lines)
    )
    told: list[tuple[bytes, str]] = []
    with Root(os.fsencode(tmp_path)) as root:
        assert len(swap_rules(root, lambda *each: told.append(each))) == 16
    assert [path for path, _ in told] == [b"/etc/fstab"] * 3
