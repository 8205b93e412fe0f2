"""An audit of a web server that never was: real-looking, of any size, with names that nobody wants in a report.

Everything in it agrees with itself: lists are in order, totals and rules add up to what is listed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import random
from collections.abc import Iterable, Sequence
from typing import Any

from snapstore.model import Warned
from snapstore.ops.audit import Audit
from snapstore.system.packages import Package
from snapstore.system.record import Row
from snapstore.system.scopes.accounts import Group, SubordinateIds, SudoRule, User
from snapstore.system.scopes.files import Class, ClassTotal, FileRow, Policy, RuleTotal, order_of
from snapstore.system.scopes.osrelease import Setting
from snapstore.system.scopes.packagelist import Alternative, Diversion, Lock, Override
from snapstore.system.scopes.repositories import Repository, SigningKey
from snapstore.system.scopes.services import Port, Unit

TAKEN = 1_795_591_223_000_000_000
SECRETS = (
    "$6$rounds=5000$saltsalt$q9rootq9hash",
    "$y$j9T$annasalt$q9annaq9hash",
    "$5$staffsalt$q9staffq9hash",
    "hunter2-pool-token",
)
"""Planted in the audit; none of it belongs where a person reads."""

SCRIPT = b"/srv/www/</script><script>alert(1)</script>"
BIDI = "/srv/www/invoice\u202efdp.exe".encode()
HOSTILE = (
    SCRIPT,
    BIDI,
    b"/srv/www/line\nbreak",
    b"/srv/www/\xff\xfe not utf-8",
    b"/srv/www/\x1b[2J\x07 bell",
    b'/srv/www/"quotes" & <b>bold</b> {{ 7*7 }} {% raw %}',
    "/srv/www/größe-日本語-שלום".encode(),
    b"/srv/www/" + b"very-long-name-without-a-break" * 8,
    b"/srv/www/]]> <!-- comment --!>",
)
"""Names of unmanaged files."""

_WORDS = ("archive", "audio", "crypto", "edit", "font", "image", "kernel", "media", "office", "python", "ssl", "zlib")


def sample_audit(*, packages: int = 769, unmanaged: int = 400, changed: int = 20, seed: int = 7) -> Audit:
    """The audit, with about so many rows in its long lists."""
    chance = random.Random(seed)
    installed = _packages(packages, chance)
    files = [*_changed(changed, chance), *_missing(), *_generated(chance), *_excluded(), *_unmanaged(unmanaged, chance)]
    users, groups = _users(), _groups()
    units, ports = _units(), _ports()
    repositories, keys = _repositories(), _keys()
    settings = (
        Setting(name="architecture", value="x86_64"),
        Setting(name="hostname", value="web-3.example.org"),
        Setting(name="id", value="debian"),
        Setting(name="locale", value="en_GB.UTF-8"),
        Setting(name="name", value="Debian GNU/Linux"),
        Setting(name="timezone", value="Europe/Zurich"),
        Setting(name="version", value="12 (bookworm)"),
    )
    audit = Audit(
        root=b"/",
        taken=TAKEN,
        settings=settings,
        packages=installed,
        repositories=repositories,
        keys=keys,
        users=users,
        groups=groups,
        units=units,
        ports=ports,
        files=(),
        totals=(),
        rules=(),
        policies=(
            Policy(name="managers", value="dpkg"),
            *(
                Policy(name=f"not-entered {number}", value=value)
                for number, value in enumerate(("/dev", "/mnt/back\udcffup", "/proc", "/run", "/sys"), start=1)
            ),
            Policy(name="skip-packaged", value="yes"),
        ),
        scopes={
            "os": settings,
            "packages": (*installed, *_decisions()),
            "repos": (*repositories, *keys),
            "users": (*users, *groups, *_subordinates(), *_sudo()),
            "services": (*units, *ports),
        },
        warnings=(
            Warned(b"/var/lib/dpkg/info/libbroken.md5sums", "line 12 is no digest and path; the rest was read"),
            Warned(b"/srv/www/private", "Permission denied"),
            Warned(b"/etc/apt/sources.list.d/\xe2\x80\xaeodd.list", "line 3 has no suite\u202e"),
        ),
        warning_count=3,
        seconds=4.21,
    )
    return with_files(audit, files)


def with_files(audit: Audit, files: Iterable[FileRow]) -> Audit:
    """The audit with another list of paths, its totals and rules counted from that."""
    rows = tuple(sorted(files, key=order_of))
    sums: dict[tuple[str, str], list[int]] = {}
    for row in rows:
        if row.tree:
            counts = (row.files, row.directories, row.others, row.size)
        elif row.kind == "file":
            counts = (1, 0, 0, row.size)
        else:
            counts = (0, 1, 0, 0) if row.kind == "dir" else (0, 0, 1, 0)
        keys = [(row.cls.value, "")] + ([(row.cls.value, row.rule)] if row.rule else [])
        for key in keys:
            held = sums.setdefault(key, [0, 0, 0, 0])
            held[:] = [one + two for one, two in zip(held, counts, strict=True)]
    sums["pristine", ""] = [96_109, 11_582, 5_264, 2_914_512_331]
    rules = tuple(
        RuleTotal(
            rule=rule, cls=cls, reason=_REASONS.get(rule, ""), source="snapstore",
            files=counts[0], directories=counts[1], others=counts[2], size=counts[3],
        )
        for (cls, rule), counts in sorted(sums.items())
        if rule
    )  # fmt: skip
    totals = tuple(
        ClassTotal(cls=cls.value, files=counts[0], directories=counts[1], others=counts[2], size=counts[3])
        for cls in Class
        for counts in [sums.get((cls.value, ""), [])]
        if counts
    )
    scopes: dict[str, tuple[Row, ...]] = {
        **audit.scopes, "files": rows, "completeness": (*totals, *rules, *audit.policies),
    }  # fmt: skip
    return dataclasses.replace(audit, files=rows, totals=totals, rules=rules, scopes=scopes)


_REASONS = {
    "python-bytecode": "compiled by Python from a packaged module",
    "ld-cache": "made by ldconfig",
    "ssl-hashes": "made by update-ca-certificates",
    "journal": "written by the journal while the system runs",
    "apt-cache": "downloaded again when it is needed",
    "apt-lists": "downloaded again when it is needed",
    "temporary": "nothing in it outlives a restart",
}


def _packages(count: int, chance: random.Random) -> tuple[Package, ...]:
    known = [
        ("apache2", "2.4.66-1~deb12u1", "manual"), ("postgresql-15", "15.15-0+deb12u1", "manual"),
        ("mediawiki", "1:1.39.15-1~deb12u1", "manual"), ("openssh-server", "1:9.2p1-2+deb12u7", "manual"),
        ("libc6", "2.36-9+deb12u13", "auto"), ("sudo", "1.9.13p3-1+deb12u2", "manual"),
        ("mtr-tiny", "0.95-1", "manual"), ("php8.2-cli", "8.2.29-1~deb12u1", "auto"),
    ]  # fmt: skip
    rows = [
        Package(
            manager="dpkg", name=name, version=version, arch="amd64", reason=reason,
            size=chance.randrange(1 << 14, 1 << 26),
            held=name == "postgresql-15", origin="Debian",
            state="broken" if name == "php8.2-cli" else "installed",
        )
        for name, version, reason in known
    ]  # fmt: skip
    rows.append(Package(manager="dpkg", name="exim4-base", version="4.96-15", arch="amd64", state="removed"))
    rows.append(
        Package(
            manager="dpkg", name="acme-agent", version="7.1\u202e.0", arch="all", reason="manual", origin="Acme & <Co>"
        )
    )
    while len(rows) < count:
        one, two = chance.choice(_WORDS), chance.choice(_WORDS)
        rows.append(
            Package(
                manager="dpkg", name=f"lib{one}-{two}{len(rows)}", arch=chance.choice(("amd64", "all")),
                version=f"{chance.randrange(9)}.{chance.randrange(40)}.{chance.randrange(12)}-{chance.randrange(1, 9)}",
                reason=chance.choice(("auto", "auto", "auto", "manual")), origin="Debian",
                size=chance.randrange(1 << 12, 1 << 24),
            )
        )  # fmt: skip
    return tuple(sorted(rows, key=lambda row: (row.manager, row.name, row.arch, row.version)))


def _changed(count: int, chance: random.Random) -> list[FileRow]:
    def row(path: bytes, package: str, *changes: str, **more: Any) -> FileRow:
        plain = FileRow(path=path, cls=Class.CHANGED, kind="file", size=chance.randrange(64, 40_000), package=package)
        return plain._replace(changes=changes, **more)

    digest = "md5:" + hashlib.sha256(b"packaged").hexdigest()[:32]
    rows = [
        row(b"/etc/apache2/apache2.conf", "apache2", "content", config=True, packaged_digest=digest),
        row(b"/etc/apache2/ports.conf", "apache2", "content", "mode", config=True, packaged_digest=digest,
            mode=0o640, packaged_mode=0o644),
        row(b"/usr/lib/apache2/suexec-pristine", "apache2", "mode", "owner", mode=0o4777, packaged_mode=0o4754,
            owner="deploy:deploy", packaged_owner="root:www-data"),
        row(b"/usr/bin/mtr-packet", "mtr-tiny", "capabilities", capabilities="cap_net_admin,cap_net_raw=ep",
            packaged_capabilities="cap_net_raw=ep"),
        row(b"/usr/bin/pg_config", "postgresql-common postgresql-15", "target", kind="link", size=0,
            target=b"/etc/passwd", packaged_target=b"../share/postgresql-common/pg_wrapper"),
        row(b"/usr/sbin/sshd", "openssh-server", "content", packaged_digest=digest),
        row(b"/etc/ssh/sshd_config", "openssh-server", "content", config=True, packaged_digest=digest),
        row(b"/usr/lib/x86_64-linux-gnu/libc.so.6", "libc6:amd64", "unverified"),
        row(b"/usr/share/doc/sudo", "sudo", "type", kind="link", size=0, target=b"/tmp/x", packaged_kind="dir"),
        row(b"/etc/sudoers", "sudo", "content", "attributes", config=True, packaged_digest=digest),
        row(b"/etc/exim4/update-exim4.conf.conf", "exim4-base", "obsolete", config=True),
        row(b"/dev/null", "base-files", "device", kind="chardev", size=0),
        row("/usr/share/mediawiki/\u202eevil<script>.php".encode(), "mediawiki", "content", packaged_digest=digest),
    ]  # fmt: skip
    more = max(0, count - len(rows))
    rows += [
        row(b"/etc/app/conf.d/%06d.conf" % each, f"app-{each % 40}", "content", config=True, packaged_digest=digest)
        for each in range(more)
    ]
    return rows


def _missing() -> list[FileRow]:
    return [
        FileRow(path=b"/etc/logrotate.d/apache2", cls=Class.MISSING, kind="file", package="apache2", config=True),
        FileRow(path=b"/usr/share/doc/mediawiki/README.gz", cls=Class.MISSING, kind="file", package="mediawiki"),
        FileRow(path=b"/var/www/html", cls=Class.MISSING, kind="dir", package="apache2"),
    ]


def _generated(chance: random.Random) -> list[FileRow]:
    rows = [
        FileRow(
            path=b"/usr/lib/python3/dist-packages/mod%03d/__pycache__" % each, cls=Class.GENERATED, kind="dir",
            tree=True, files=12, directories=1, size=chance.randrange(1 << 14, 1 << 19), omitted=True,
            rule="python-bytecode",
        )
        for each in range(40)
    ]  # fmt: skip
    rows.append(
        FileRow(path=b"/etc/ld.so.cache", cls=Class.GENERATED, kind="file", size=31_337, rule="ld-cache", omitted=True)
    )
    rows += [
        FileRow(path=b"/etc/ssl/certs/%08x.0" % each, cls=Class.GENERATED, kind="link", target=b"ca-%d.pem" % each,
                rule="ssl-hashes", omitted=True)
        for each in range(0xA000, 0xA020)
    ]  # fmt: skip
    rows.append(
        FileRow(path=b"/var/log/journal", cls=Class.GENERATED, kind="dir", tree=True, contents=True, files=9,
                directories=1, size=142_606_336, rule="journal")
    )  # fmt: skip
    return rows


def _excluded() -> list[FileRow]:
    return [
        FileRow(path=b"/var/cache/apt", cls=Class.EXCLUDED, kind="dir", tree=True, contents=True, files=812,
                directories=2, size=301_989_888, rule="apt-cache", omitted=True),
        FileRow(path=b"/var/lib/apt/lists", cls=Class.EXCLUDED, kind="dir", tree=True, contents=True, files=31,
                directories=3, size=41_943_040, rule="apt-lists", omitted=True),
        FileRow(path=b"/tmp", cls=Class.EXCLUDED, kind="dir", tree=True, contents=True, files=5, directories=2,
                others=1, size=8_192, rule="temporary", omitted=True),
    ]  # fmt: skip


_PLACES: Sequence[tuple[bytes, int, int]] = (
    (b"/srv/www/wiki/images", 24, 30),
    (b"/srv/www/shop/static/assets", 24, 20),
    (b"/srv/www/shop/uploads/2026", 23, 16),
    (b"/var/lib/postgresql/15/main/base", 25, 16),
    (b"/opt/acme/agent/lib", 23, 12),
    (b"/opt/acme/agent/models", 25, 6),
    (b"/home/anna/Pictures", 24, 12),
    (b"/home/anna/.cache", 23, 8),
    (b"/home/bernd/src/project", 22, 12),
    (b"/usr/local/bin", 22, 5),
    (b"/usr/local/lib/node_modules", 22, 8),
    (b"/root", 20, 3),
    (b"/etc/apache2/sites-available", 12, 1),
)


def _unmanaged(count: int, chance: random.Random) -> list[FileRow]:
    rows = [
        FileRow(path=name, cls=Class.UNMANAGED, kind="file", size=chance.randrange(1, 9_000), owner="deploy:deploy",
                mode=0o644)
        for name in HOSTILE
    ]  # fmt: skip
    rows += [
        FileRow(path=b"/usr/local/bin/backdoor", cls=Class.UNMANAGED, kind="file", size=16_712, owner="root:root",
                mode=0o4755),
        FileRow(path=b"/usr/local/bin/ping6", cls=Class.UNMANAGED, kind="file", size=80_112, owner="root:root",
                mode=0o755, capabilities="cap_net_raw=ep"),
        FileRow(path=b"/srv/www/uploads", cls=Class.UNMANAGED, kind="dir", owner="www-data:www-data", mode=0o777),
        FileRow(path=b"/etc/apache2/sites-enabled/shop.conf", cls=Class.UNMANAGED, kind="link", owner="root:root",
                target=b"../sites-available/shop.conf"),
        FileRow(path=b"/opt/acme/data", cls=Class.UNMANAGED, kind="dir", owner="acme:acme", mode=0o750, tree=True,
                files=12_345_678, directories=1_204_333, others=17, size=987_654_321),
    ]  # fmt: skip
    weights = [weight for _, _, weight in _PLACES]
    for each in range(max(0, count - len(rows))):
        directory, bits, _ = chance.choices(_PLACES, weights)[0]
        rows.append(
            FileRow(
                path=b"%b/%s-%06d.dat" % (directory, chance.choice(_WORDS).encode(), each), cls=Class.UNMANAGED,
                kind="file", size=chance.randrange(1 << (bits - 2), 1 << bits), owner="deploy:deploy", mode=0o644,
            )
        )  # fmt: skip
    return rows


def _users() -> tuple[User, ...]:
    def user(name: str, uid: int, password: str, home: bytes, login: bytes = b"/bin/bash", **more: Any) -> User:
        return User(
            **{"name": name, "uid": uid, "gid": uid, "password": password, "home": home, "shell": login, **more}
        )

    users = [
        user("root", 0, SECRETS[0], b"/root", gecos="root", changed=20_000),
        user("toor", 0, "!" + SECRETS[0], b"/root", b"/bin/sh"),
        user("anna", 1000, SECRETS[1], b"/home/anna", b"/usr/bin/zsh", gecos="Anna Müller"),
        user("bernd", 1001, "!", b"/home/bernd", expires=20_100),
        user("guest", 1002, "", b"/home/guest", gecos="<i>guest</i>"),
        user("deploy", 1003, "x", b"/srv/\xff", expires=22_000),
    ]
    system = ("daemon", "bin", "sys", "www-data", "postgres", "sshd", "messagebus", "acme")
    users += [user(name, uid, "*", b"/var/empty", b"/usr/sbin/nologin") for uid, name in enumerate(system, start=1)]
    return tuple(sorted(users, key=lambda each: (each.name, each.uid, each.gid)))


def _groups() -> tuple[Group, ...]:
    return (
        Group(name="adm", gid=4, members=("anna", "bernd")),
        Group(name="root", gid=0),
        Group(name="staff", gid=50, password=SECRETS[2], members=("anna",), administrators=("anna",)),
        Group(name="sudo", gid=27, members=("anna", "deploy")),
    )


def _subordinates() -> tuple[SubordinateIds, ...]:
    return (SubordinateIds(kind="uid", owner="anna", start=100_000, count=65_536),)


def _sudo() -> tuple[SudoRule, ...]:
    return (
        SudoRule(file=b"/etc/sudoers", rule="%sudo ALL=(ALL:ALL) ALL"),
        SudoRule(file=b"/etc/sudoers.d/deploy", rule="deploy ALL=(root) NOPASSWD: /usr/bin/systemctl restart apache2"),
    )


def _decisions() -> tuple[Row, ...]:
    return (
        Diversion(path=b"/usr/bin/pg_config", target=b"/usr/bin/pg_config.libpq-dev", package="postgresql-common"),
        Override(path=b"/usr/lib/dbus-1.0/dbus-daemon-launch-helper", user="root", group="messagebus", mode=0o4754),
        Alternative(name="editor", link=b"/usr/bin/editor", target=b"/usr/bin/vim.basic", manual=True),
        Lock(
            manager="apt", package="postgresql-*", rule="version 15.*, priority 1001", file=b"/etc/apt/preferences.d/pg"
        ),
    )


def _repositories() -> tuple[Repository, ...]:
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    return (
        Repository(file=b"/etc/apt/sources.list", kind="deb", uris=("https://deb.example.org/debian",),
                   suites=("bookworm", "bookworm-updates"), components=("main", "contrib"), keys=(keyring,)),
        Repository(file=b"/etc/apt/sources.list.d/acme.list", kind="deb",
                   uris=(f"https://acme:{SECRETS[3]}@packages.example.com/apt",), suites=("stable",),
                   components=("main",), unsigned=True, options=("arch=amd64", f"password={SECRETS[3]}")),
        Repository(file=b"/etc/apt/sources.list.d/old.list", kind="deb", uris=("http://old.example.net/",),
                   suites=("./",), disabled=True),
    )  # fmt: skip


def _keys() -> tuple[SigningKey, ...]:
    file = b"/usr/share/keyrings/debian-archive-keyring.gpg"
    return tuple(
        SigningKey(
            file=file,
            fingerprint=hashlib.sha256(b"%d" % each).hexdigest()[:40].upper(),
            owner=f"Archive Signing Key ({each}) <ftp@example.org>",
            created=1_600_000_000,
        )
        for each in (11, 12)
    )


def _units() -> tuple[Unit, ...]:
    def unit(name: str, package: str, state: str = "enabled", **more: Any) -> Unit:
        return Unit(name=name, package=package, state=state, **more)

    packaged, local = b"/usr/lib/systemd/system/", b"/etc/systemd/system/"
    limits = "/etc/systemd/system/apache2.service.d/limits.conf"
    rows = [
        unit("apache2.service", "apache2", running=True, file=packaged + b"apache2.service", dropins=(limits,)),
        unit("acme-agent.service", "", running=True, file=local + b"acme-agent.service", local=True),
        unit("bluetooth.service", "bluez", "masked"),
        unit("postgresql@15-main.service", "postgresql-common", running=True),
        unit("ssh.service", "openssh-server", running=True, file=packaged + b"ssh.service"),
    ]
    rows += [unit(f"helper-{each:03d}.service", f"tool{each}", "static") for each in range(90)]
    return tuple(sorted(rows, key=lambda row: (row.name, row.state)))


def _ports() -> tuple[Port, ...]:
    return (
        Port(protocol="tcp", address="*", port=9100, process="agent"),
        Port(protocol="tcp", address="0.0.0.0", port=22, unit="ssh.service", process="sshd", package="openssh-server"),  # noqa: S104
        Port(protocol="tcp", address="127.0.0.1", port=5432, unit="postgresql@15-main.service", process="postgres",
             package="postgresql-15"),
        Port(protocol="tcp", address="::", port=443, unit="apache2.service", process="apache2", package="apache2"),
        Port(protocol="udp", address="fe80::1%eth0", port=546, process="dhclient"),
    )  # fmt: skip
