"""A small root of rpm packages of every kind, built and installed by the real tools."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.debian import install

TOOLS = ("rpm", "rpmbuild", "createrepo_c")
USERS = "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/:/bin/false\ngames:x:5:60:games:/:/bin/false\n"
GROUPS = "root:x:0:\ndaemon:x:1:\nadm:x:4:\ngames:x:60:\n"

MACHINE = os.uname().machine
FOREIGN = "aarch64" if MACHINE != "aarch64" else "x86_64"

HEAD = """\
%global _invalid_encoding_terminates_build 0
%global debug_package %{nil}
%global __os_install_post %{nil}
%global source_date_epoch_from_changelog 0
%global _buildhost build.example
"""

MAIN = (
    HEAD
    + r"""
Name: alpha
Epoch: 2
Version: 1.0
Release: 3
Summary: It's a test
License: MIT
BuildArch: noarch
Vendor: Örtlich
Requires: alpha-tools
%description
Files of most kinds.
%package tools
Summary: Programs
%description tools
Programs with modes and owners of their own.
%package ghosts
Summary: Ghosts
%description ghosts
Files that are made at run time, and some that rpm is told not to verify.
%package meta
Summary: Nothing
%description meta
No files at all.
%package devices
Summary: A device
%description devices
Nodes.

%install
cd %{buildroot}
mkdir -p etc/alpha/conf.d usr/bin usr/share/alpha/deep/er usr/share/doc/alpha usr/lib/alpha var/lib/alpha/state
mkdir -p var/spool/alpha usr/share/licenses/alpha
echo 'setting = 1' > etc/alpha/alpha.conf
echo 'replaced = 1' > etc/alpha/replaced.conf
echo 'optional = 1' > etc/alpha/optional.conf
echo 'secret = 1' > etc/alpha/secret.conf
for n in 1 2 3 4; do echo "part $n" > etc/alpha/conf.d/$n.conf; done
cd usr/share/alpha
echo space > 'with space'
echo quote > "it's"
echo backslash > 'back\slash'
echo umlaut > 'ünï'
printf raw > "$(printf '\377raw')"
: > empty
for n in 1 2 3 4 5 6 7 8; do echo "data $n" > data$n; done
echo linked > hard1; ln hard1 hard2; ln hard1 deep/hard3
ln -s data1 relative
ln -s /usr/share/alpha/data2 absolute
ln -s /nowhere/at/all dangling
ln -s deep directory
echo deep > deep/er/file
cd ../../..
echo doc > usr/share/doc/alpha/README
echo changes > usr/share/doc/alpha/CHANGES
echo licence > usr/share/licenses/alpha/LICENSE
for n in plain setuid setgid capable; do printf '#!/bin/sh\necho %s\n' $n > usr/bin/alpha-$n; done
chmod 755 usr/bin/alpha-*
ln -s alpha-plain usr/bin/alpha-link
echo module > usr/lib/alpha/module
echo state > var/lib/alpha/state/current
echo unverified > var/lib/alpha/unverified

%files
%dir /etc/alpha
%dir /etc/alpha/conf.d
%config(noreplace) /etc/alpha/alpha.conf
%config /etc/alpha/replaced.conf
%config(noreplace) %attr(0640, root, adm) /etc/alpha/secret.conf
%config(noreplace) /etc/alpha/conf.d/*.conf
%config(missingok) /etc/alpha/optional.conf
/usr/share/alpha
%doc /usr/share/doc/alpha
%license /usr/share/licenses/alpha
%files tools
%attr(0755, root, root) /usr/bin/alpha-plain
%attr(4755, root, root) /usr/bin/alpha-setuid
%attr(2755, root, games) /usr/bin/alpha-setgid
%attr(0755, root, root) %caps(cap_net_raw,cap_net_admin=ep) /usr/bin/alpha-capable
/usr/bin/alpha-link
%dir /usr/lib/alpha
/usr/lib/alpha/module
%dir %attr(1777, root, root) /var/spool/alpha
%files ghosts
%dir %attr(0750, daemon, adm) /var/lib/alpha
%dir /var/lib/alpha/state
/var/lib/alpha/state/current
%verify(not md5 size mtime) %attr(0644, daemon, daemon) /var/lib/alpha/unverified
%ghost %attr(0640, root, adm) /var/lib/alpha/ghost.log
%ghost /var/lib/alpha/never
%ghost %dir /var/lib/alpha/ghosts
%files meta
%files devices
%dev(c, 1, 3) %attr(0666, root, root) /dev/alpha-null
"""
)

SINGLE = (
    HEAD
    + r"""
Name: %{name_of}
Version: %{version_of}
Release: 1
Summary: One of several
License: MIT
%description
A few files.
%install
cd %{buildroot}
mkdir -p usr/share/%{place} usr/share/doc/%{place}
echo '%{name_of} %{version_of}' > usr/share/%{place}/first
echo 'same' > usr/share/%{place}/second
echo 'doc' > usr/share/doc/%{place}/README
%if "%{shared}" != "none"
mkdir -p usr/share/common
echo '%{shared}' > usr/share/common/shared
echo 'agreed' > usr/share/common/agreed
%endif
%files
/usr/share/%{place}
%doc /usr/share/doc/%{place}
%if "%{shared}" != "none"
/usr/share/common
%endif
"""
)


class Single(NamedTuple):
    """A package of the second recipe: which algorithm its digests have, and what it says in a file it shares."""

    name: str
    version: str = "1"
    algorithm: int = 8
    shared: str = "none"
    target: str = "noarch"


SINGLES = (
    Single("beta-md5", algorithm=1),
    Single("beta-sha1", algorithm=2),
    Single("beta-sha384", algorithm=9),
    Single("beta-sha512", algorithm=10),
    Single("beta-sha224", algorithm=11),
    Single("delta", version="5.1"),
    Single("delta", version="5.2"),
    Single("epsilon", target=FOREIGN),
    Single("zeta", shared="one"),
    Single("eta", shared="another"),
    Single("theta"),
)
"""`zeta` and `eta` ship one path with different contents; eta comes later, so zeta's is the replaced one.

`theta` is installed without its documentation.
"""


class RpmRoot(NamedTuple):
    """A root with a database in /var/lib/rpm, and the packages that were installed into it, by name and version."""

    path: Path
    packages: tuple[Path, ...]


def require_tools() -> None:
    """Nothing; the tools are there. Skips the test where they are not and cannot be installed."""
    if all(shutil.which(tool) for tool in TOOLS):
        return
    if trouble := install("rpm", "createrepo-c", "dnf"):
        pytest.skip(trouble)


def run(command: Sequence[str | Path]) -> bytes:
    """What a program printed; it has to succeed."""
    done = subprocess.run([os.fspath(each) for each in command], capture_output=True, check=False, timeout=120)
    assert done.returncode == 0, (command, done.stdout[-2000:], done.stderr[-2000:])
    printed: bytes = done.stdout
    return printed


def rpm_in(root: Path, *arguments: str | Path) -> bytes:
    """What rpm printed, with that root and the database in its /var/lib/rpm."""
    command: list[str | Path] = ["rpm", "--root", root, "--dbpath", "/var/lib/rpm"]
    if (
        "-i" in arguments
        and subprocess.run(["rpm", "--force-debian", "--version"], capture_output=True, check=False).returncode == 0
    ):
        command.append("--force-debian")  # Debian's own switch for "yes, I mean rpm"
    return run([*command, *arguments])


def build_packages(directory: Path) -> tuple[Path, ...]:
    """The packages, built below that directory, in the order in which they are to be installed."""
    require_tools()
    build = directory / "build"
    build.mkdir(parents=True)
    (build / "main.spec").write_text(MAIN, encoding="utf-8")
    (build / "single.spec").write_text(SINGLE, encoding="utf-8")
    base = ["rpmbuild", "-bb", "--quiet", "--define", f"_topdir {build}"]
    run([*base, "--define", "_binary_filedigest_algorithm 8", build / "main.spec"])
    for each in SINGLES:
        values = {
            "_binary_filedigest_algorithm": str(each.algorithm),
            "name_of": each.name,
            "version_of": each.version,
            "place": f"{each.name}-{each.version}",
            "shared": each.shared,
        }
        defines = [part for name, value in values.items() for part in ("--define", f"{name} {value}")]
        run([*base, *defines, "--target", each.target, build / "single.spec"])
    main = [f"alpha{part}-1.0-3.noarch.rpm" for part in ("", "-tools", "-ghosts", "-meta", "-devices")]
    singles = [f"{each.name}-{each.version}-1.{each.target}.rpm" for each in SINGLES]
    found = {path.name: path for path in (build / "RPMS").rglob("*.rpm")}
    return tuple(found[name] for name in (*main, *singles))


def _name(package: Path) -> str:
    return package.name.rsplit("-", 2)[0]


def build_rpm_root(directory: Path) -> RpmRoot:
    """A root in `directory`/root with all packages installed; the packages are in `directory`/build. Seconds.

    Everything is installed together, then what has to come later or has to differ.
    """
    packages = build_packages(directory)
    root = directory / "root"
    for place in ("etc", "var/lib/rpm", "usr/bin", "usr/lib", "dev", "tmp"):
        (root / place).mkdir(parents=True)
    (root / "bin").symlink_to("usr/bin")
    (root / "etc/passwd").write_text(USERS, encoding="utf-8")
    (root / "etc/group").write_text(GROUPS, encoding="utf-8")
    later = {"eta": "--replacefiles", "theta": "--excludedocs"}
    rpm_in(root, "-i", "--nodeps", "--ignorearch", *(each for each in packages if _name(each) not in later))
    for name, switch in later.items():
        rpm_in(root, "-i", "--nodeps", switch, *(each for each in packages if _name(each) == name))
    return RpmRoot(root, packages)
