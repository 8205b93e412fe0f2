"""The real command in a subprocess, with a home of its own."""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_CAPBSET_DROP = 24
_OVERRIDES = (1, 2)  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH: what lets root pass over permission bits

Argument = str | bytes | Path


@dataclass(frozen=True)
class Result:
    """What a run left behind."""

    code: int
    out: bytes
    err: bytes

    @property
    def text(self) -> str:
        return self.out.decode()

    @property
    def errors(self) -> str:
        return self.err.decode()

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    @property
    def messages(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def message(self) -> dict[str, Any]:
        (only,) = self.messages
        return only

    @property
    def failure(self) -> dict[str, Any]:
        """The exit_error, which is the last thing on standard error."""
        found: dict[str, Any] = json.loads(self.err.splitlines()[-1])
        assert found["message_type"] == "exit_error"
        assert found["code"] == self.code
        return found


@dataclass(frozen=True)
class Snapstore:
    """Starts the command."""

    home: Path
    store: Path | None = None
    environment: dict[str, str] = field(default_factory=dict)

    def at(self, store: Path | None, **environment: str) -> Snapstore:
        """The same command with another default for the store, and more in its environment."""
        return Snapstore(self.home, store, {**self.environment, **environment})

    @property
    def env(self) -> dict[str, str]:
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("SNAPSTORE", "XDG_", "_SNAP"))
        }
        kept |= {"HOME": str(self.home), "PYTHONPATH": str(REPOSITORY), "LC_ALL": "C.UTF-8", "TZ": "UTC"}
        kept |= {"PYTHONWARNINGS": "error", "COLUMNS": "80", "TERM": "xterm"}
        kept |= {f"XDG_{kind}_HOME": str(self.home / kind.lower()) for kind in ("DATA", "CACHE", "STATE", "CONFIG")}
        if self.store is not None:
            kept["SNAPSTORE_STORE"] = str(self.store)
        return {**kept, **self.environment}

    def start(self, *arguments: Argument, powerless: bool = False, **options: Any) -> subprocess.Popen[bytes]:
        """The running command. `powerless` takes from root what lets it ignore permissions."""

        def prepare() -> None:
            # A background job inherits ignored signals, which the command respects.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            if powerless and os.geteuid() == 0:
                for capability in _OVERRIDES:
                    assert _LIBC.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) == 0

        settings: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        settings |= {"env": self.env, "cwd": self.home, "preexec_fn": prepare, **options}
        return subprocess.Popen([sys.executable, "-m", "snapstore", *arguments], **settings)

    def __call__(
        self, *arguments: Argument, stdin: bytes | None = None, powerless: bool = False, **options: Any
    ) -> Result:
        if stdin is not None:
            options["stdin"] = subprocess.PIPE
        process = self.start(*arguments, powerless=powerless, **options)
        out, err = process.communicate(stdin, timeout=120)
        assert b"Traceback" not in (err or b"")
        return Result(process.returncode, out or b"", err or b"")

    def ok(self, *arguments: Argument, stdin: bytes | None = None, **options: Any) -> Result:
        """A run that has to succeed."""
        result = self(*arguments, stdin=stdin, **options)
        assert result.code == 0, result.errors
        return result


@pytest.fixture(autouse=True, scope="session")
def heard_signals() -> Iterator[None]:
    """Signals that whoever started the tests ignores (nohup does) would be ignored by the commands as well."""
    ignored = [each for each in (signal.SIGHUP, signal.SIGTERM) if signal.getsignal(each) is signal.SIG_IGN]
    for each in ignored:
        signal.signal(each, signal.SIG_DFL)
    yield
    for each in ignored:
        signal.signal(each, signal.SIG_IGN)


@pytest.fixture
def snapstore(tmp_path: Path) -> Snapstore:
    """The command with an empty home and no store named."""
    home = tmp_path / "home"
    home.mkdir()
    return Snapstore(home)


@pytest.fixture
def fresh(snapstore: Snapstore, tmp_path: Path) -> Snapstore:
    """The command with an empty store named by the environment."""
    command = snapstore.at(tmp_path / "store")
    command.ok("init", "--no-encryption")
    return command


@dataclass(frozen=True)
class Filled:
    """A command whose store holds two snapshots, "first" and "second", of `source`; nobody writes to it."""

    snapstore: Snapstore
    source: Path
    ids: Sequence[str]

    @property
    def store(self) -> Path:
        assert self.snapstore.store is not None
        return self.snapstore.store


ODD = b"new\nline-\xff\x1b[2J"


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Filled:
    base = tmp_path_factory.mktemp("filled")
    (base / "home").mkdir()
    snapstore = Snapstore(base / "home", base / "store")
    source = base / "source"
    (source / "sub" / "deep").mkdir(parents=True)
    (source / "a.txt").write_bytes(b"first\n")
    (source / "gone.txt").write_bytes(b"gone\n")
    (source / "sub" / "b.TXT").write_bytes(b"b" * 5000)
    (source / "sub" / "deep" / "c").write_bytes(b"")
    (source / "link").symlink_to("a.txt")
    os.link(source / "a.txt", source / "zz-twin")
    Path(os.fsdecode(os.path.join(os.fsencode(source), ODD))).write_bytes(b"odd\n")
    snapstore.ok("init", "--no-encryption")
    ids = [
        snapstore.ok("--json", "snapshot", source, "--name", "first", "--tag", "x", "--tag", "y").message["snapshot"]
    ]
    (source / "a.txt").write_bytes(b"second, longer\n")
    (source / "gone.txt").unlink()
    (source / "new.txt").write_bytes(b"new\n")
    (source / "sub" / "b.TXT").chmod(0o600)
    (source / "link").unlink()
    (source / "link").mkdir()
    ids.append(snapstore.ok("--json", "snapshot", source, "--name", "second", "--tag", "y").message["snapshot"])
    return Filled(snapstore, source, ids)


def _rows() -> list[tuple[str, str, set[str]]]:
    """(message type, commands, fields) of the table of messages in the documentation."""
    rows = []
    for line in (REPOSITORY / "docs" / "cli.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 3 and re.fullmatch(r"`[a-z_]+`", cells[0]):
            rows.append((cells[0].strip("`"), cells[1], set(re.findall(r"`([a-z_]+)`", cells[2]))))
    return rows


@pytest.fixture(scope="session")
def documented() -> Callable[[str, dict[str, Any]], None]:
    """Checks a message of a command against the documentation: it has no field that is not there."""
    rows = _rows()

    def check(command: str, message: dict[str, Any]) -> None:
        kind = message["message_type"]
        fields = {name.removesuffix("_b64") for name in message} - {"message_type"}
        known = set().union(
            *(row[2] for row in rows if row[0] == kind and ("`" + command in row[1] or "long" in row[1]))
        )
        assert known, f"{kind} of {command} is not documented"
        assert fields <= known, fields - known

    return check
