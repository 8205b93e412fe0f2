"""Real Debian roots, built once with debootstrap and apt-get, kept outside the repository, and handed out as copies.

A recipe is data: suite, packages, and shell steps that run inside the root. The key of a finished root is the hash of
its recipe, so that a changed recipe builds another root and nobody has to remember to delete the old one. A root that
was not finished has another name and is built again. Packages come from where this machine's own apt gets them.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shlex
import shutil
import stat
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import pytest

from tests.debian import install
from tests.system.probes import PROBES

_STAMP = ".finished"
_REST = 65.0
"""Seconds that a root is left alone: a link that is not a minute newer than its package is taken for the package's."""
_LAYERS = ("u", "w", "m")
_SMALL = (
    *("sudo", "cron", "iputils-ping", "libcap2-bin", "nginx-light", "openssh-server", "systemd", "procps"),
    *("ca-certificates", "tzdata", "less"),
)
_WEB = ("apache2", "mediawiki", "postgresql", "php-pgsql", "debsums")
_ENVIRONMENT = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C.UTF-8",
    "HOME": "/root",
    "DEBIAN_FRONTEND": "noninteractive",
}
_PROXIES = ("http_proxy", "https_proxy", "no_proxy")
_REFUSE = "#!/bin/sh\nexit 101\n"

# Everything that the wiki needs is set up as its administrator would: a role and a database, tables with rows in them,
# the settings that the installer writes, a virtual host, a module and a site switched on.
_WEB_STEPS = """
pg_ctlcluster "$(ls /etc/postgresql)" main start
trap 'pg_ctlcluster "$(ls /etc/postgresql)" main stop -m fast' EXIT
runuser -u postgres -- psql -q -c "CREATE ROLE wiki LOGIN PASSWORD 'not-secret-1'" -c "CREATE DATABASE wiki OWNER wiki"
runuser -u postgres -- psql -q -d wiki \
  -c "CREATE TABLE readings (id serial PRIMARY KEY, taken timestamptz, value double precision, note text)" \
  -c "INSERT INTO readings (taken, value, note) SELECT timestamptz '2020-01-01' + n * interval '1 minute', sin(n),
      'reading ' || md5(n::text) FROM generate_series(1, 20000) n"
php /usr/share/mediawiki/maintenance/install.php --dbtype postgres --dbserver 127.0.0.1 --dbname wiki --dbuser wiki \
  --dbpass not-secret-1 --server http://wiki.example --scriptpath /mediawiki --confpath /etc/mediawiki \
  --pass not-secret-22 Wiki Admin
cat > /etc/apache2/sites-available/wiki.conf <<'SITE'
<VirtualHost *:80>
    ServerName wiki.example
    DocumentRoot /var/lib/mediawiki
    Alias /mediawiki /var/lib/mediawiki
    <Directory /var/lib/mediawiki>
        Require all granted
    </Directory>
</VirtualHost>
SITE
a2enmod -q rewrite
a2ensite -q wiki
a2dissite -q 000-default
apache2ctl configtest
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a root is made: `steps` run in it with sh(1), in order, after the packages are installed.

    `minimal`: debootstrap's minbase variant. `keep_archives`: the downloaded packages stay in apt's cache, as on an
    ordinary system; otherwise they are put beside the root (`archives_of`).
    """

    name: str
    suite: str
    packages: tuple[str, ...]
    steps: tuple[str, ...] = ()
    minimal: bool = True
    keep_archives: bool = False

    @property
    def key(self) -> str:
        """The name of the finished root in the cache: readable, and different for every recipe."""
        return f"{self.name}-{hashlib.blake2b(repr(asdict(self)).encode(), digest_size=8).hexdigest()}"


BOOKWORM = Recipe(name="bookworm", suite="bookworm", packages=_SMALL, steps=PROBES)
TRIXIE = Recipe(name="trixie", suite="trixie", packages=_SMALL, steps=PROBES)
WEB = Recipe(
    name="web", suite="bookworm", packages=_WEB, steps=(_WEB_STEPS,), minimal=False, keep_archives=True
)  # fmt: skip


def cache_directory() -> str:
    """Where finished roots are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(base, "snapstore-tests", "roots")


def finished(recipe: Recipe) -> bytes:
    """The path of the finished root, built now if need be.

    Nobody may change it: `copy_of` is for that. Skips the test where it cannot be built.
    """
    if os.geteuid() != 0:
        pytest.skip("building a root takes uid 0")
    os.makedirs(cache_directory(), exist_ok=True)
    place = os.path.join(cache_directory(), recipe.key)
    with open(place + ".lock", "wb") as lock:  # several test processes want the same root
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(os.path.join(place, _STAMP)):
            install_tools("debootstrap")
            for old in (place, place + ".new"):
                remove_tree(os.fsencode(old))
            os.mkdir(place + ".new")
            _build(recipe, os.path.join(place + ".new", "root"))
            os.rename(place + ".new", place)
            with open(os.path.join(place, _STAMP), "wb"):
                pass
            time.sleep(_REST)
    return os.fsencode(os.path.join(place, "root"))


def archives_of(root: bytes) -> bytes:
    """The directory of the .deb files that a finished root was made of."""
    return os.path.join(os.path.dirname(root), b"archives")


def _set_aside(root: bytes) -> None:
    os.mkdir(archives_of(root))
    cached = os.path.join(root, b"var/cache/apt/archives")
    for name in os.listdir(cached):
        if name.endswith(b".deb"):
            os.rename(os.path.join(cached, name), os.path.join(archives_of(root), name))


@contextlib.contextmanager
def copy_of(root: bytes, work: bytes, *, overlay: bool = False) -> Iterator[bytes]:
    """A writable copy of a root below the new directory `work`, gone in the end.

    Real files of its own, or with `overlay`, and where overlay file systems can be mounted, a mount that costs nothing.
    """
    os.makedirs(work)
    layers = [os.path.join(work, os.fsencode(name)) for name in _LAYERS]
    if overlay and mount_overlay(root, layers):
        try:
            yield layers[2]
        finally:
            subprocess.run(["umount", "-l", layers[2]], check=True)
            remove_tree(work)
        return
    copied = os.path.join(work, b"root")
    subprocess.run(["cp", "-a", "--reflink=auto", "--", root, copied], check=True)
    try:
        yield copied
    finally:
        remove_tree(work)


def mount_overlay(lower: bytes, layers: Sequence[bytes]) -> bool:
    """Whether a writable view of `lower` is now mounted on the last of `layers` (upper, work and mount point)."""
    for layer in layers:
        os.makedirs(layer, exist_ok=True)
    upper, work, point = layers
    options = b"lowerdir=%b,upperdir=%b,workdir=%b" % (lower, upper, work)
    done = subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, point], capture_output=True, check=False)
    return done.returncode == 0


def remove_tree(top: bytes) -> None:
    """Nothing; the tree is gone, whatever chattr(1) flags its files have."""
    if os.path.lexists(top):
        shown = subprocess.run(["findmnt", "-rno", "TARGET", "-R", "--target", top], capture_output=True, check=False)
        below = [line for line in shown.stdout.splitlines() if line.startswith(top + b"/")]
        if below:
            raise OSError(f"{os.fsdecode(below[0])} is mounted and would be emptied")
        subprocess.run(["chattr", "-R", "-f", "-i", "-a", "--", top], capture_output=True, check=False)
        shutil.rmtree(top)


def install_tools(*packages: str) -> None:
    """Nothing; the Debian packages are installed on this machine. Skips where they are not and cannot be."""
    if shutil.which("dpkg-query") is None:
        pytest.skip("there is no dpkg here to install " + " ".join(packages))
    command = ["dpkg-query", "-W", "-f", "${db:Status-Status} ${Package}\n", *packages]
    shown = subprocess.run(command, capture_output=True, check=False, text=True)
    missing = sorted(set(packages) - set(re.findall(r"^installed (\S+)$", shown.stdout, re.MULTILINE)))
    if not missing:
        return
    if trouble := install(*missing):
        pytest.skip(trouble)


def in_root(root: bytes, script: str, *, seconds: float = 900) -> str:
    """What a shell script printed that ran inside the root, with /proc and /dev as programs expect them."""
    kept = {name: os.environ[name] for name in _PROXIES if name in os.environ}
    with _mounted(root):
        done = subprocess.run(
            ["chroot", root, "sh", "-eu", "-c", script], env={**_ENVIRONMENT, **kept}, stdin=subprocess.DEVNULL,
            capture_output=True, check=False, text=True, errors="surrogateescape", timeout=seconds,
        )  # fmt: skip
    if done.returncode:
        raise OSError(f"a step in the root failed with {done.returncode}: {_last(done.stderr or done.stdout)}")
    return done.stdout


@contextlib.contextmanager
def _mounted(root: bytes) -> Iterator[None]:
    points = [(b"proc", os.path.join(root, b"proc"))]
    mounted = []
    try:
        for kind, point in points:
            subprocess.run(["mount", "-t", kind, kind, point], check=True, capture_output=True)
            mounted.append(point)
        yield
    finally:
        for point in reversed(mounted):
            subprocess.run(["umount", "-l", point], check=True)


def _build(recipe: Recipe, root: str) -> None:
    mirrors = _mirrors()
    if not mirrors:
        pytest.skip("this machine's apt names no Debian archive over the network")
    variant = ["--variant=minbase"] if recipe.minimal else []
    command = ["debootstrap", *variant, recipe.suite, root, mirrors[0]]
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    if done.returncode:
        remove_tree(os.fsencode(os.path.dirname(root)))
        pytest.skip(f"debootstrap cannot build {recipe.suite} here: {_last(done.stdout)}")
    with open(os.path.join(root, "etc/apt/sources.list"), "w", encoding="utf-8") as stream:
        for mirror in mirrors:
            suites = [recipe.suite] if "security" not in mirror else [f"{recipe.suite}-security"]
            stream.writelines(f"deb {mirror} {suite} main\n" for suite in suites)
    policy = os.path.join(root, "usr/sbin/policy-rc.d")
    with open(policy, "w", encoding="utf-8") as stream:
        stream.write(_REFUSE)
    os.chmod(policy, stat.S_IRWXU | stat.S_IRGRP | stat.S_IXGRP | stat.S_IROTH | stat.S_IXOTH)
    here = os.fsencode(root)
    packages = " ".join(map(shlex.quote, recipe.packages))
    in_root(here, f"apt-get update -q\napt-get install -y -q --no-install-recommends {packages}\n")
    for step in recipe.steps:
        in_root(here, step)
    if not recipe.keep_archives:
        _set_aside(here)
        in_root(here, "apt-get clean\nfind /var/lib/apt/lists -type f -delete\n")
    os.unlink(policy)


def _mirrors() -> list[str]:
    """The archives that this machine's apt uses for Debian itself, the main one first."""
    command = ["apt-get", "indextargets", "--format", "$(SITE)\t$(REPO_URI)\t$(RELEASE)", "Created-By: Packages"]
    try:
        done = subprocess.run(command, capture_output=True, check=False, text=True)
    except FileNotFoundError:
        return []
    found = [line.split("\t")[1].rstrip("/") for line in done.stdout.splitlines() if line.count("\t") == 2]
    debian = [uri for uri in dict.fromkeys(found) if re.search(r"/debian(-security)?$", uri)]
    return sorted(debian, key=lambda uri: "security" in uri)


def _last(text: str) -> str:
    return next((line.strip()[:300] for line in reversed(text.splitlines()) if line.strip()), "no output")
