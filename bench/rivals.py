"""One small adapter per tool: how to make a repository, snapshot into it and restore from it, as commands to run.

Every archiver compresses with zstd at level 3, or what its own encoder calls the default where it has no number for
it, and keeps its caches, configuration and temporary files in the place it is given, so that a user's own are neither
used nor changed.
"""

from __future__ import annotations

import enum
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from bench.measure import Command

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LEVEL = 3
_PASSPHRASE = "bench"  # noqa: S105 - it protects copies of public data for some minutes


class Role(enum.StrEnum):
    """What a tool is compared as."""

    OWN = "own"
    PEER = "peer"
    FLOOR = "floor"


class Job(enum.StrEnum):
    """A kind of work that a tool can take part in."""

    TREE = "tree"
    AGAIN = "again"
    RESTORE = "restore"
    FILE = "file"
    EDITS = "edits"
    HELP = "help"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tool may write: its repository, and everything else it keeps (home, caches, temporary files)."""

    repo: bytes
    state: bytes


class Tool:
    """An installed program and the commands that make it do each job.

    `lasting` says that what a snapshot leaves in the place is of use to a later job. `encrypted` is the state measured.
    """

    name: ClassVar[str]
    binary: ClassVar[str]
    role: ClassVar[Role] = Role.FLOOR
    jobs: ClassVar[frozenset[Job]] = frozenset()
    lasting: ClassVar[bool] = False
    encrypted: ClassVar[bool] = False
    note: ClassVar[str] = ""
    version_arguments: ClassVar[tuple[bytes, ...]] = (b"--version",)

    def __init__(self, program: bytes) -> None:
        self.program = program

    def version(self) -> str:
        """The first line of what the program says its version is, or why it says nothing."""
        try:
            done = subprocess.run(
                [self.program, *self.version_arguments], capture_output=True, timeout=60, check=True, text=True
            )
        except (OSError, subprocess.SubprocessError) as error:
            return f"unknown: {type(error).__name__}"
        return next(iter(done.stdout.splitlines()), "").strip()

    def environment(self, place: Place) -> dict[str, str]:
        """The whole environment of the tool's processes."""
        state = os.fsdecode(place.state)
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": state,
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            "TMPDIR": os.path.join(state, "tmp"),
            "XDG_CACHE_HOME": f"{state}/cache",
            "XDG_CONFIG_HOME": f"{state}/config",
            "XDG_DATA_HOME": f"{state}/data",
            "XDG_STATE_HOME": f"{state}/state",
            **self._settings(place),
        }

    def init(self, place: Place) -> tuple[Command, ...]:
        """The commands that make an empty repository; none where the tool needs no such thing."""
        return self._init(place)

    def snapshot(self, place: Place, source: bytes, *, number: int) -> Command:
        """The command that stores `source`, as the `number`-th snapshot of the place counted from 1."""
        return self._snapshot(place, source, number=number)

    def restore(self, place: Place, source: bytes, target: bytes, *, number: int) -> Command:
        """The command that writes snapshot `number` of `source` into the existing empty directory `target`."""
        return self._restore(place, source, target, number=number)

    def help(self, place: Place) -> Command:
        """The command that prints the tool's help."""
        return self._command(place, b"--help")

    def sent(self, log: bytes) -> int | None:
        """Bytes that the last command says, in its output `log`, it sent; None where it leaves them in the place."""
        return self._sent(log)

    def _settings(self, place: Place) -> dict[str, str]:
        """Environment variables of this tool alone."""
        del place
        return {}

    def _init(self, place: Place) -> tuple[Command, ...]:
        del place
        return ()

    def _snapshot(self, place: Place, source: bytes, *, number: int) -> Command:
        raise NotImplementedError(self.name)

    def _restore(self, place: Place, source: bytes, target: bytes, *, number: int) -> Command:
        raise NotImplementedError(self.name)

    def _sent(self, log: bytes) -> int | None:
        del log
        return None

    def _command(self, place: Place, *arguments: bytes, cwd: bytes = b"/", discard: bool = False) -> Command:
        return Command(argv=(self.program, *arguments), env=self.environment(place), cwd=cwd, discard=discard)


class Snapstore(Tool):
    """This project's command."""

    name, binary, role, lasting = "snapstore", "snapstore", Role.OWN, True
    jobs = frozenset(Job)
    version_arguments = (b"version",)
    note = "not encrypted"

    def _init(self, place: Place) -> tuple[Command, ...]:
        return (self._command(place, b"-s", place.repo, b"init"),)

    def _snapshot(self, place: Place, source: bytes, *, number: int) -> Command:
        del number
        return self._command(place, b"-s", place.repo, b"snapshot", source, b"--quiet")

    def _restore(self, place: Place, source: bytes, target: bytes, *, number: int) -> Command:
        del source, number
        return self._command(place, b"-s", place.repo, b"restore", b"latest", b"--target", target, b"--quiet")


class SnapstoreUnproven(Snapstore):
    """This project's command without reading back what it wrote, to show what that costs."""

    name, role = "no-read-back", Role.FLOOR
    jobs = frozenset({Job.TREE, Job.FILE})
    note = "not encrypted; blocks are not read back"

    def _snapshot(self, place: Place, source: bytes, *, number: int) -> Command:
        del number
        return self._command(place, b"-s", place.repo, b"snapshot", b"--no-read-back", source, b"--quiet")


class Restic(Tool):
    """restic; its repositories cannot be unencrypted."""

    name, binary, role, lasting, encrypted = "restic", "restic", Role.PEER, True, True
    jobs = frozenset(Job)
    version_arguments = (b"version",)
    note = "always encrypted; --compression auto is its encoder's default, which corresponds to zstd level 3"

    def _settings(self, place: Place) -> dict[str, str]:
        return {
            "RESTIC_REPOSITORY": os.fsdecode(place.repo),
            "RESTIC_PASSWORD": _PASSPHRASE,
            "RESTIC_CACHE_DIR": os.fsdecode(place.state) + "/cache/restic",
        }

    def _init(self, place: Place) -> tuple[Command, ...]:
        return (self._command(place, b"init", b"--repository-version", b"2"),)

    def _snapshot(self, place: Place, source: bytes, *, number: int) -> Command:
        del number
        return self._command(place, b"backup", b"--quiet", b"--compression", b"auto", source)

    def _restore(self, place: Place, source: bytes, target: bytes, *, number: int) -> Command:
        del source, number
        return self._command(place, b"restore", b"--quiet", b"latest", b"--target", target)


class Borg(Tool):
    """borg 1.x with its usual encryption."""

    name, binary, role, lasting, encrypted = "borg", "borg", Role.PEER, True, True
    jobs = frozenset(Job)
    note = "repokey-blake2"
    encryption: ClassVar[bytes] = b"repokey-blake2"

    def _settings(self, place: Place) -> dict[str, str]:
        return {
            "BORG_BASE_DIR": os.fsdecode(place.state),
            "BORG_PASSPHRASE": _PASSPHRASE,
            "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
            "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
        }

    def _init(self, place: Place) -> tuple[Command, ...]:
        return (self._command(place, b"init", b"--encryption", self.encryption, place.repo),)

    def _snapshot(self, place: Place, source: bytes, *, number: int) -> Command:
        return self._command(place, b"create", b"-C", b"zstd,%d" % LEVEL, place.repo + b"::s%d" % number, source)

    def _restore(self, place: Place, source: bytes, target: bytes, *, number: int) -> Command:
        del source
        return self._command(place, b"extract", place.repo + b"::s%d" % number, cwd=target)


class BorgPlain(Borg):
    """borg 1.x without encryption or authentication."""

    name, encrypted = "borg-plain", False
    jobs = frozenset(Job) - {Job.HELP}
    note = "not encrypted"
    encryption = b"none"


class Rustic(Tool):
    """rustic, which writes restic's repository format."""

    name, binary, role, lasting, encrypted = "rustic", "rustic", Role.PEER, True, True
    jobs = frozenset(Job)
    note = "always encrypted; compression 3"

    def _settings(self, place: Place) -> dict[str, str]:
        return {
            "RUSTIC_REPOSITORY": os.fsdecode(place.repo),
            "RUSTIC_PASSWORD": _PASSPHRASE,
            "RUSTIC_CACHE_DIR": os.fsdecode(place.state) + "/cache/rustic",
            "RUSTIC_NO_PROGRESS": "true",
        }

    def _init(self, place: Place) -> tuple[Command, ...]:
        return (self._command(place, b"init", b"--set-compression", b"%d" % LEVEL),)

    def _snapshot(self, place: Place, source: bytes, *, number: int) -> Command:
        del number
        return self._command(place, b"backup", source)

    def _restore(self, place: Place, source: bytes, target: bytes, *, number: int) -> Command:
        del source, number
        return self._command(place, b"restore", b"latest", target)


class Kopia(Tool):
    """kopia with a local repository."""

    name, binary, role, lasting, encrypted = "kopia", "kopia", Role.PEER, True, True
    jobs = frozenset(Job)
    note = "always encrypted; compression zstd is its encoder's default, which corresponds to zstd level 3"

    def _settings(self, place: Place) -> dict[str, str]:
        return {
            "KOPIA_PASSWORD": _PASSPHRASE,
            "KOPIA_CONFIG_PATH": os.fsdecode(place.state) + "/config/kopia.config",
            "KOPIA_CHECK_FOR_UPDATES": "false",
        }

    def _init(self, place: Place) -> tuple[Command, ...]:
        cache = os.path.join(place.state, b"cache", b"kopia")
        return (
            self._command(
                place, *(b"repository", b"create", b"filesystem"), b"--path", place.repo, b"--cache-directory", cache
            ),
            self._command(
                place, *(b"policy", b"set", b"--global", b"--compression=zstd", b"--ignore-cache-dirs=false")
            ),
        )

    def _snapshot(self, place: Place, source: bytes, *, number: int) -> Command:
        del number
        return self._command(place, b"snapshot", b"create", b"--no-progress", source)

    def _restore(self, place: Place, source: bytes, target: bytes, *, number: int) -> Command:
        del number
        return self._command(place, b"snapshot", b"restore", source, target)


class TarZstd(Tool):
    """tar with zstd as its compressor: no deduplication, no index, no second snapshot."""

    name, binary, lasting = "tar+zstd", "tar", True
    jobs = frozenset({Job.TREE, Job.RESTORE})
    note = f"tar -I 'zstd -{LEVEL} -T2'"

    def _snapshot(self, place: Place, source: bytes, *, number: int) -> Command:
        del number
        parent, name = os.path.split(source)
        filtered = (b"-I", b"zstd -%d -T2" % LEVEL)
        return self._command(place, *filtered, b"-cf", self._archive(place), b"-C", parent, b"--", name)

    def _restore(self, place: Place, source: bytes, target: bytes, *, number: int) -> Command:
        del source, number
        return self._command(place, b"-I", b"zstd", b"-xpf", self._archive(place), b"-C", target)

    @staticmethod
    def _archive(place: Place) -> bytes:
        return os.path.join(place.repo, b"tree.tar.zst")


class Zstd(Tool):
    """zstd on one file: what compressing alone costs."""

    name = binary = "zstd"
    jobs = frozenset({Job.FILE})
    note = f"zstd -{LEVEL} -T2"

    def _snapshot(self, place: Place, source: bytes, *, number: int) -> Command:
        del number
        output = os.path.join(place.repo, b"file.zst")
        return self._command(place, b"-q", b"-%d" % LEVEL, b"-T2", source, b"-o", output)


class ZstdPatch(Tool):
    """zstd with the whole first version as its dictionary: the smallest second version that zstd makes."""

    name, binary = "zstd --patch-from", "zstd"
    jobs = frozenset({Job.EDITS})
    note = f"zstd -{LEVEL} --long=27 --patch-from"

    def _snapshot(self, place: Place, source: bytes, *, number: int) -> Command:
        first = os.path.join(place.repo, b"first")
        if number == 1:
            return Command(argv=(b"cp", b"--", source, first), env=self.environment(place))
        patch = (b"--long=27", b"--patch-from=" + first)
        return self._command(place, b"-q", b"-%d" % LEVEL, *patch, source, b"-o", os.path.join(place.repo, b"patch"))


class Rsync(Tool):
    """rsync -a between two directories of this machine."""

    name = binary = "rsync"
    jobs = frozenset({Job.TREE, Job.AGAIN, Job.RESTORE})
    lasting = True
    note = "rsync -a; restores from the source itself"

    def _snapshot(self, place: Place, source: bytes, *, number: int) -> Command:
        del number
        return self._command(place, b"-a", source + b"/", os.path.join(place.repo, b""))

    def _restore(self, place: Place, source: bytes, target: bytes, *, number: int) -> Command:
        del number
        return self._command(place, b"-a", source + b"/", os.path.join(target, b""))


class RsyncDelta(Tool):
    """rsync with its delta transfer and compression: bytes sent for the second version of a file."""

    name, binary = "rsync -z", "rsync"
    jobs = frozenset({Job.EDITS})
    note = "rsync -z --no-whole-file; bytes sent"

    def _snapshot(self, place: Place, source: bytes, *, number: int) -> Command:
        del number
        options = (b"-t", b"-z", b"--no-whole-file", b"--stats")
        return self._command(place, *options, source, os.path.join(place.repo, b"copy"))

    def _sent(self, log: bytes) -> int | None:
        with open(log, "rb") as stream:
            found = re.findall(rb"^Total bytes sent: ([0-9,.]+)$", stream.read(), re.MULTILINE)
        return int(re.sub(rb"[,.]", b"", found[-1])) if found else None


class Copy(Tool):
    """cp -a."""

    name, binary = "cp -a", "cp"
    jobs = frozenset({Job.TREE, Job.RESTORE})
    note = "restores from the source itself"

    def _snapshot(self, place: Place, source: bytes, *, number: int) -> Command:
        del number
        return self._command(place, b"-a", b"--", os.path.join(source, b"."), place.repo)

    def _restore(self, place: Place, source: bytes, target: bytes, *, number: int) -> Command:
        del number
        return self._command(place, b"-a", b"--", os.path.join(source, b"."), target)


class Find(Tool):
    """find -printf: a walk that looks at every file's size and time."""

    name, binary = "find", "find"
    jobs = frozenset({Job.AGAIN})
    note = "find -printf '%s%T@'"

    def _snapshot(self, place: Place, source: bytes, *, number: int) -> Command:
        del number
        return self._command(place, source, b"-printf", b"%s%T@", discard=True)


ALL: tuple[type[Tool], ...] = (
    Snapstore,
    SnapstoreUnproven,
    Restic,
    Borg,
    BorgPlain,
    Rustic,
    Kopia,
    TarZstd,
    Zstd,
    ZstdPatch,
    Rsync,
    RsyncDelta,
    Copy,
    Find,
)


def default_directory() -> bytes:
    """Where rivals are installed beside the machine's own: `RIVALS_DIR`, else a directory in the user's cache."""
    chosen = os.environb.get(b"RIVALS_DIR", b"")
    return chosen or os.path.expanduser(b"~/.cache/snapstore-bench/rivals")


def locate(binary: str, *, rivals_dir: bytes) -> bytes | None:
    """The program `binary`: in a `*/bin` of `rivals_dir`, else on PATH; None where it is in neither."""
    if os.path.isdir(rivals_dir):
        for name in sorted(os.listdir(rivals_dir)):
            candidate = os.path.join(rivals_dir, name, b"bin", binary.encode())
            if os.access(candidate, os.X_OK):
                return candidate
    found = shutil.which(binary)
    return os.fsencode(found) if found else None


def installed(
    names: Iterable[str] | None = None, *, rivals_dir: bytes, kinds: Sequence[type[Tool]] = ALL
) -> tuple[list[Tool], list[str]]:
    """The tools that are there, in the order of `kinds`, and the names of those that are not.

    `names` limits them; a name that no adapter has raises ValueError. snapstore is always among the first: the one
    next to the running interpreter, and where it is missing its runs report that.
    """
    wanted = set(names) if names is not None else {kind.name for kind in kinds}
    unknown = wanted - {kind.name for kind in kinds}
    if unknown:
        known = ", ".join(kind.name for kind in kinds)
        raise ValueError(f"no tool named {', '.join(sorted(unknown))}; there are: {known}")
    found: list[Tool] = []
    absent: list[str] = []
    for kind in kinds:
        if kind.name not in wanted:
            continue
        if issubclass(kind, Snapstore):
            beside = os.path.join(os.path.dirname(os.path.abspath(sys.executable)), kind.binary)
            found.append(kind(os.fsencode(beside)))
            continue
        program = locate(kind.binary, rivals_dir=rivals_dir)
        if program is None:
            absent.append(kind.name)
        else:
            found.append(kind(program))
    return found, absent
