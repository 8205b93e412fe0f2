"""The database of every dialect for the items of a little system; rpm's is made by rpm, the others by hand."""

from __future__ import annotations

import base64
import functools
import gzip
import hashlib
import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from snapstore.model import Kind
from snapstore.system.managers.apk import Apk
from snapstore.system.managers.dpkg import Dpkg
from snapstore.system.managers.mtree import escape
from snapstore.system.managers.pacman import Pacman
from snapstore.system.managers.rpm import Rpm
from tests import rpmanswers
from tests.contract.packagedroots import PACKED, Database, Dialect, Item, Packed, with_parents
from tests.debian import install
from tests.system.rpmroots import FOREIGN, HEAD, MACHINE

_UNPACKED = 1_700_000_000


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).hexdigest().encode()


# -- dpkg -------------------------------------------------------------------------------------------------------------


def dpkg_database(items: tuple[Item, ...]) -> Database:
    """The database of dpkg, with a journal, a package of which only settings were left, and what is kept beside it."""
    info = "var/lib/dpkg/info"
    status = b""
    files: Database = {
        "etc/apt/preferences": b"Package: tool\nPin: version 2:*\nPin-Priority: 900\n",
        "etc/dpkg/dpkg.cfg.d/none": b"path-exclude=/usr/share/none/*\n",
        "var/lib/apt/extended_states": b"Package: library\nArchitecture: all\nAuto-Installed: 1\n\n",
        "var/lib/dpkg/alternatives/t": b"auto\n/usr/bin/none\n\n/usr/bin/tool\n10\n\n",
        "var/lib/dpkg/diversions": b"/usr/share/none\n/usr/share/none.distrib\n:\n",
        "var/lib/ucf/hashfile": b"%b  /etc/gone.ucf\n" % _md5(b"gone"),
        "var/lib/ucf/registry": b"gone\t/etc/gone.ucf\n",
        f"{info}/gone.list": b"/.\n/etc\n/etc/gone.conf\n",
    }
    for packed in PACKED:
        own = list(with_parents(items, packed.name))
        config = [item for item in own if item.config]
        listed = b"".join(item.path + b"\n" for item in own)
        digests = b"".join(
            b"%b  %b\n" % (_md5(item.content), item.path[1:])
            for item in own
            if item.kind is Kind.FILE and not item.config
        )
        for arch in ("amd64", "i386") if packed.several else ("all",):
            stanza = _stanza(packed, arch, config)
            status += stanza
            if packed.held:
                files["var/lib/dpkg/updates/0001"] = stanza.rstrip(b"\n") + b"\n"
            stem = f"{info}/{packed.name}:{arch}" if packed.several else f"{info}/{packed.name}"
            files[f"{stem}.list"] = b"/.\n" + listed
            files[f"{stem}.md5sums"] = digests
            if config:
                files[f"{stem}.conffiles"] = b"".join(item.path + b"\n" for item in config)
    status += (
        b"Package: gone\nStatus: deinstall ok config-files\nArchitecture: all\nVersion: 1.0-1\n"
        b"Conffiles:\n /etc/gone.conf %b\n\n" % _md5(b"gone")
    )
    special = [item for item in items if item.mode & 0o7000]
    files["var/lib/dpkg/statoverride"] = b"".join(b"root root %o %b\n" % (item.mode, item.path) for item in special)
    return {"var/lib/dpkg/status": status, **files}


def _stanza(packed: Packed, arch: str, config: Sequence[Item]) -> bytes:
    want = "hold" if packed.held else "install"
    state = "half-configured" if packed.broken else "installed"
    epoch = f"{packed.epoch}:" if packed.epoch else ""
    lines = [f"Package: {packed.name}", f"Status: {want} ok {state}", "Installed-Size: 12", f"Architecture: {arch}"]
    lines += ["Multi-Arch: same"] if packed.several else []
    lines += [f"Version: {epoch}{packed.version}-1"]
    text = "\n".join(lines).encode() + b"\n"
    if config:
        text += b"Conffiles:\n" + b"".join(b" %b %b\n" % (item.path, _md5(item.content)) for item in config)
    return text + b"Description: one of several\n that belong together\n\n"


# -- pacman -----------------------------------------------------------------------------------------------------------


def pacman_database(items: tuple[Item, ...]) -> Database:
    """The local database of pacman, and the list of packages that stay as they are."""
    local = "var/lib/pacman/local"
    files: Database = {
        "etc/pacman.conf": b"[options]\nIgnorePkg = tool\n",
        f"{local}/ALPM_DB_VERSION": b"9\n",
    }
    for packed in PACKED:
        own = list(with_parents(items, packed.name))
        version = f"{packed.epoch}:{packed.version}-1" if packed.epoch else f"{packed.version}-1"
        sections = {"NAME": packed.name, "VERSION": version, "BASE": packed.name, "ARCH": "any", "SIZE": "4096"}
        sections |= {"INSTALLDATE": str(_UNPACKED), **({"REASON": "1"} if packed.automatic else {})}
        place = f"{local}/{packed.name}-{version}"
        files[f"{place}/desc"] = "".join(f"%{name}%\n{value}\n\n" for name, value in sections.items()).encode()
        listed = b"".join(
            item.path[1:] + (b"/" if item.kind is Kind.DIRECTORY else b"") + b"\n" for item in own
        )  # fmt: skip
        kept = b"".join(b"%b\t%b\n" % (item.path[1:], _md5(item.content)) for item in own if item.config)
        files[f"{place}/files"] = b"%%FILES%%\n%b\n" % listed + (b"%%BACKUP%%\n%b\n" % kept if kept else b"")
        specification = b"#mtree\n" + b"".join(map(_mtree, own))
        files[f"{place}/mtree"] = gzip.compress(specification, mtime=0)
    return files


def _mtree(item: Item) -> bytes:
    line = b".%b uid=%d gid=%d mode=%o time=1.0" % (escape(item.path), os.getuid(), os.getgid(), item.mode)
    if item.kind is Kind.SYMLINK:
        return line + b" type=link link=%b\n" % escape(item.content)
    if item.kind is Kind.DIRECTORY:
        return line + b" type=dir\n"
    digest = hashlib.sha256(item.content).hexdigest().encode()
    return line + b" type=file size=%d sha256digest=%b\n" % (len(item.content), digest)


# -- apk --------------------------------------------------------------------------------------------------------------


def apk_database(items: tuple[Item, ...]) -> Database:
    """The database of apk, and the world."""
    records = []
    for packed in PACKED:
        lines = [f"P:{packed.name}".encode(), f"V:{packed.version}-r1".encode(), b"A:noarch", b"I:4096"]
        lines += [b"f:s"] if packed.broken else []
        by_directory: dict[bytes, list[Item]] = {b"": []}
        for item in with_parents(items, packed.name):
            parent = os.path.dirname(item.path)[1:]
            if item.kind is Kind.DIRECTORY:
                by_directory.setdefault(item.path[1:], [])
            else:
                by_directory.setdefault(parent, []).append(item)
        for directory, inside in by_directory.items():
            lines += [b"F:" + directory, b"M:%d:%d:755" % (os.getuid(), os.getgid())]
            for item in inside:
                digest = base64.b64encode(hashlib.sha1(item.content, usedforsecurity=False).digest())
                lines += [b"R:" + os.path.basename(item.path)]
                lines += [b"a:%d:%d:%o" % (os.getuid(), os.getgid(), item.mode), b"Z:Q1" + digest]
        records.append(b"\n".join(lines) + b"\n\n")
    return {
        "lib/apk/db/installed": b"".join(records),
        "etc/apk/protected_paths.d/tool.list": b"# what may be edited\n+etc/tool.conf\n",
        "etc/apk/world": b"base\nhalf\ntool=1.0-r1\ntwin\n",
    }


# -- rpm --------------------------------------------------------------------------------------------------------------

_SPEC = """\
Name: {name}
{epoch}Version: {version}
Release: 1
Summary: One of several
License: MIT
%description
It belongs to the others.
%install
cp -a '{payload}/.' %{{buildroot}}
%files
{files}
"""


@functools.cache
def _headers(items: tuple[Item, ...]) -> bytes:
    """rpmdb.sqlite with the packages, as rpm wrote it; nothing is installed anywhere."""
    if not (shutil.which("rpm") and shutil.which("rpmbuild")) and (trouble := install("rpm")):
        pytest.skip(trouble)
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        for packed in PACKED:
            for target in (MACHINE, FOREIGN) if packed.several else ("noarch",):
                _build(base, packed, target, items)
        packages = sorted((base / "RPMS").rglob("*.rpm"))
        assert len(packages) == len(PACKED) + 1
        database = base / "database"
        database.mkdir()
        command = ["rpm", "--define", "_db_backend sqlite", "--dbpath", str(database), "-i", "--justdb"]
        switches = ("--nodeps", "--ignorearch", "--noscripts", "--notriggers", "--replacefiles")
        _run([*command, *_debian(), *switches, *map(str, packages)])
        connection = sqlite3.connect(database / "rpmdb.sqlite")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        return (database / "rpmdb.sqlite").read_bytes()


def _build(base: Path, packed: Packed, target: str, items: tuple[Item, ...]) -> None:
    payload = base / "payload" / f"{packed.name}.{target}"
    payload.mkdir(parents=True)
    listed = []
    for item in (each for each in items if each.package == packed.name):
        place = os.fsencode(payload) + item.path
        os.makedirs(os.path.dirname(place), exist_ok=True)
        if item.kind is Kind.DIRECTORY:
            os.makedirs(place, exist_ok=True)
        elif item.kind is Kind.SYMLINK:
            os.symlink(item.content, place)
        else:
            with open(place, "wb") as file:
                file.write(item.content)
        words = ["%dir"] if item.kind is Kind.DIRECTORY else []
        words += ["%config(noreplace)"] if item.config else []
        mode = "-" if item.kind is Kind.SYMLINK else f"{item.mode:04o}"
        listed.append(" ".join([*words, f"%attr({mode}, root, root)", f'"{item.path.decode()}"']))
    epoch = f"Epoch: {packed.epoch}\n" if packed.epoch else ""
    text = _SPEC.format(
        name=packed.name, version=packed.version, epoch=epoch, payload=payload, files="\n".join(listed)
    )  # fmt: skip
    spec = base / f"{packed.name}.spec"
    spec.write_text(HEAD + text, encoding="utf-8")
    _run(["rpmbuild", "-bb", "--quiet", "--define", f"_topdir {base}", "--target", target, str(spec)])


def _debian() -> list[str]:
    """Debian's own switch for "yes, I mean rpm", where rpm knows it."""
    known = subprocess.run(["rpm", "--force-debian", "--version"], capture_output=True, check=False).returncode == 0
    return ["--force-debian"] if known else []


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, check=False, timeout=120)
    assert done.returncode == 0, (command, done.stderr[-2000:])


def _beside_rpm() -> Database:
    reasons = "".join(
        f'"{packed.name}.noarch" = {{reason = "{"Dependency" if packed.automatic else "User"}"}}\n' for packed in PACKED
    )
    return {
        "usr/lib/sysimage/libdnf5/packages.toml": f"[packages]\n{reasons}".encode(),
        "etc/dnf/plugins/versionlock.list": b"tool-2:1.0-1.*\n",
    }


def rpm_database(items: tuple[Item, ...]) -> Database:
    """The database of rpm in SQLite, and what dnf keeps beside it."""
    return {"var/lib/rpm/rpmdb.sqlite": _headers(items), **_beside_rpm()}


def ndb_database(items: tuple[Item, ...]) -> Database:
    """The same headers in rpm's own format."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name) / "rpmdb.sqlite"
        place.write_bytes(_headers(items))
        connection = sqlite3.connect(place)
        headers = dict(connection.execute("SELECT hnum, blob FROM Packages"))
        connection.close()
    return {"usr/lib/sysimage/rpm/Packages.db": rpmanswers.ndb(headers), **_beside_rpm()}


# -- all of them ------------------------------------------------------------------------------------------------------

_OF_DPKG = tuple(f"var/lib/dpkg/info/{name}.list" for name in ("base", "tool", "twin:amd64"))
_OF_PACMAN = tuple(f"var/lib/pacman/local/tool-2:1.0-1/{name}" for name in ("desc", "files", "mtree"))


def _rpm(name: str, database: Callable[[tuple[Item, ...]], Database], main: str) -> Dialect:
    return Dialect(
        name=name,
        manager=Rpm,
        database=database,
        mains=(main,),
        required=(main,),
        tool="2:1.0-1",
        twins=(f"twin.{MACHINE}", f"twin.{FOREIGN}"),
        directories=(os.path.dirname(main),),
        checked=(main,),
        parents=False,
        slow=True,
    )


DIALECTS = (
    Dialect(
        name="dpkg",
        manager=Dpkg,
        database=dpkg_database,
        mains=("var/lib/dpkg/status",),
        required=("var/lib/dpkg/status", *_OF_DPKG, "var/lib/dpkg/info/tool.md5sums"),
        tool="2:1.0-1",
        twins=("twin:amd64", "twin:i386"),
        directories=("var/lib/dpkg", "var/lib/dpkg/info"),
        states=True,
        owners=False,
    ),
    Dialect(
        name="pacman",
        manager=Pacman,
        database=pacman_database,
        mains=("var/lib/pacman/local/ALPM_DB_VERSION",),
        required=("var/lib/pacman/local/ALPM_DB_VERSION", *_OF_PACMAN),
        tool="2:1.0-1",
        twins=("twin",),
        directories=("var/lib/pacman", "var/lib/pacman/local", "var/lib/pacman/local/tool-2:1.0-1"),
        checked=_OF_PACMAN[-1:],
    ),
    Dialect(
        name="apk",
        manager=Apk,
        database=apk_database,
        mains=("lib/apk/db/installed",),
        required=("lib/apk/db/installed",),
        tool="1.0-r1",
        twins=("twin",),
        directories=("lib/apk", "lib/apk/db"),
        states=True,
    ),
    _rpm("rpm", rpm_database, "var/lib/rpm/rpmdb.sqlite"),
    _rpm("rpm-ndb", ndb_database, "usr/lib/sysimage/rpm/Packages.db"),
)
