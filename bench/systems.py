"""The figures on real systems: `python -m bench.systems` measures, and writes docs/audit-figures.json and the page.

On a root with a wiki, its web server and its database, with apt's caches as installations leave them: system snapshots
against whole backups by rivals, audits against debsums. And on this machine itself, if it is a Debian: audits against
debsums. Tools take turns; the root is read once before anything is measured, so that all find it in memory.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

from bench import auditpage, machine, rivals, trees
from bench.corpora import Corpus
from bench.measure import Command
from bench.report import run_line
from bench.results import Results, Run, ToolFact
from bench.rivals import Job, Role, Snapstore, Tool
from bench.workloads import Bench
from tests.system import roots

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.rivals import Place

DATABASE = b"/var/lib/postgresql"
_BOTH = frozenset({Job.TREE, Job.AGAIN})
_READ = re.compile(rb"(?:read|pread64|readv|preadv2?)\(\d+<([^>]*)>.* = (\d+)")


class SystemSnapstore(Snapstore):
    """A system snapshot: what packages bring back is not stored."""

    jobs = _BOTH
    note = "snapshot --system, not encrypted"
    options: ClassVar[tuple[bytes, ...]] = ()

    def _snapshot(self, place: Place, source: bytes, *, number: int) -> Command:
        del number
        arguments = (b"snapshot", b"--system", b"--root", source, b"--quiet", *self.options)
        return _tolerant(self._command(place, b"-s", place.repo, *arguments))


class WithoutDatabase(SystemSnapstore):
    """The same without the live files of the database."""

    name, role = "snapstore, no database", Role.PEER
    note = "the same without the live files of PostgreSQL"
    options = (b"--exclude", DATABASE)


class WholeSnapstore(SystemSnapstore):
    """The same with everything that packages would bring back."""

    name, role = "snapstore, everything", Role.PEER
    note = "snapshot --system --no-skip-packaged, not encrypted"
    options = (b"--no-skip-packaged",)


class Auditing(Snapstore):
    """An audit; its place holds its cache."""

    jobs = _BOTH
    note = "audit --json"

    def _init(self, place: Place) -> tuple[Command, ...]:
        del place
        return ()

    def _snapshot(self, place: Place, source: bytes, *, number: int) -> Command:
        del number
        return _tolerant(self._command(place, b"--json", b"audit", b"--root", source, discard=True))


class Debsums(Tool):
    """debsums of every packaged file, configuration files too, inside the root."""

    name, binary, role, lasting = "debsums", "debsums", Role.PEER, True
    jobs = _BOTH
    note = "debsums --all --silent"

    def _snapshot(self, place: Place, source: bytes, *, number: int) -> Command:
        del number
        inside = (b"chroot", source) if source != b"/" else ()
        command = (*inside, b"debsums", b"--all", b"--silent")
        return _tolerant(Command(argv=command, env=self.environment(place), discard=True))


def _tolerant(command: Command) -> Command:
    """The same command, which may say with its exit code 2 or 3 that it found something."""
    script = b'"$@"; code=$?; [ $code -eq 2 ] || [ $code -eq 3 ] || exit $code'
    return replace(command, argv=(b"sh", b"-c", script, b"sh", *command.argv))


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when every run succeeded, 1 when some tool failed."""
    parser = argparse.ArgumentParser(prog="python -m bench.systems", description="measure on real systems")
    parser.add_argument("--runs", type=int, default=3, help="rounds (default 3)")
    parser.add_argument("--work", metavar="DIR", help="where stores are made; in memory by default")
    parser.add_argument("--only", choices=("web", "machine"), help="measure one of the two only")
    options = parser.parse_args(arguments)
    roots.install_tools("restic", "borgbackup", "debsums", "strace")
    with ExitStack() as stack:
        work = _work(options.work, stack)
        figures = auditpage.load()
        failed = False
        if options.only in (None, "web"):
            figures["web"], bad = web(work, rounds=options.runs)
            failed = failed or bad
            auditpage.save(figures)
        if options.only in (None, "machine"):
            figures["machine"], bad = this_machine(work, rounds=options.runs)
            failed = failed or bad
            auditpage.save(figures)
    return 1 if failed else 0


def web(work: bytes, *, rounds: int) -> tuple[dict[str, object], bool]:
    """The figures on the root with a wiki, and whether something failed."""
    root = roots.finished(roots.WEB)
    files, size = trees.count(root)
    corpus = Corpus(name="web", path=root, files=files, size=size, source="apache2, mediawiki, postgresql by apt")
    found, absent = rivals.installed(
        ["restic", "borg", "borg-plain"], rivals_dir=rivals.default_directory()
    )  # fmt: skip
    own = [kind(_own_program()) for kind in (SystemSnapstore, WithoutDatabase, WholeSnapstore)]
    storing = _bench(os.path.join(work, b"storing"), [*own, *found], rounds)
    _warm(root)
    storing.first("web-first", corpus, Job.TREE)
    storing.again("web-unchanged", corpus, edits=False)
    looking = _bench(os.path.join(work, b"looking"), [Auditing(_own_program()), Debsums(b"debsums")], rounds)
    looking.first("web-audit-first", corpus, Job.TREE)
    looking.again("web-audit-unchanged", corpus, edits=False)
    disk = subprocess.run(["du", "-s", "-B1", root], check=True, capture_output=True).stdout.split()[0]
    facts = {
        "files": files,
        "bytes": size,
        "bytes_on_disk": int(disk),
        "database_bytes": trees.count(root + DATABASE)[1],
        "classes": classes(root, work),
        "read_again": read_again(storing.tools[0], storing, corpus),
        "results": _results(work, storing, looking, absent),
    }
    return facts, any(run.failure for run in (*storing.runs, *looking.runs))


def this_machine(work: bytes, *, rounds: int) -> tuple[dict[str, object], bool]:
    """The figures of audits of this machine, and whether something failed."""
    corpus = Corpus(name="machine", path=b"/", files=0, size=0, source="the machine that measured")
    looking = _bench(os.path.join(work, b"machine"), [Auditing(_own_program()), Debsums(b"debsums")], rounds)
    found = classes(b"/", work)  # reads everything once, so that it is in memory for both
    looking.first("machine-audit-first", corpus, Job.TREE)
    looking.again("machine-audit-unchanged", corpus, edits=False)
    packages = subprocess.run(["dpkg-query", "-W", "-f", "${db:Status-Status}\n"], check=True, capture_output=True)
    facts = {
        "packages": packages.stdout.split(b"\n").count(b"installed"),
        "owned_paths": _owned_paths(),
        "classes": found,
        "results": _results(work, looking, looking, []),
    }
    return facts, any(run.failure for run in looking.runs)


def classes(root: bytes, work: bytes) -> dict[str, dict[str, int]]:
    """What an audit counts in each class, from its JSON."""
    tool = Auditing(_own_program())
    bench = _bench(os.path.join(work, b"classes"), [tool], 1)
    bench.fresh(tool)
    command = tool.snapshot(bench.place(tool), root, number=1)
    done = subprocess.run(command.argv, env=dict(command.env), check=True, capture_output=True)
    bench.clear()
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    return {
        message["class"]: {key: message[key] for key in ("files", "directories", "others", "size")}
        for message in messages
        if message["message_type"] == "class_total"
    }


def read_again(tool: Tool, bench: Bench, corpus: Corpus) -> dict[str, list[int]]:
    """What one more unchanged snapshot reads, as strace(1) sees it: by directory of the root, files and bytes."""
    command = tool.snapshot(bench.place(tool), corpus.path, number=100)
    with tempfile.NamedTemporaryFile() as log:
        traced = ["strace", "-f", "-qq", "-y", "-e", "trace=read,pread64,readv,preadv,preadv2", "-o", log.name]
        subprocess.run([*traced, *command.argv], env=dict(command.env), check=True, capture_output=True)
        read: dict[bytes, int] = {}
        for line in log:
            match = _READ.search(line)
            if match and match[1].startswith(corpus.path + b"/"):
                read[match[1]] = read.get(match[1], 0) + int(match[2])
    found: dict[str, list[int]] = {}
    for path, size in sorted(read.items()):
        counts = found.setdefault(os.fsdecode(os.path.dirname(path).removeprefix(corpus.path)) or "/", [0, 0])
        counts[0] += 1
        counts[1] += size
    return found


def _owned_paths() -> int:
    lists = "/var/lib/dpkg/info"
    owned: set[bytes] = set()
    for name in os.listdir(lists):
        if name.endswith(".list"):
            with open(os.path.join(lists, name), "rb") as stream:
                owned.update(stream.read().splitlines())
    return len(owned)


def _bench(work: bytes, tools: Sequence[Tool], rounds: int) -> Bench:
    os.makedirs(work, exist_ok=True)
    return Bench(
        work=work, tools=tools, rounds=rounds, scale=1.0, timeout=1800.0,
        report=lambda run: print(run_line(run, rounds=rounds), flush=True), say=lambda text: print(text, flush=True),
    )  # fmt: skip


def _results(work: bytes, storing: Bench, looking: Bench, absent: Sequence[str]) -> dict[str, object]:
    tools = {tool.name: tool for tool in (*looking.tools, *storing.tools)}
    facts = [
        ToolFact(name=tool.name, role=tool.role, version=tool.version(), note=tool.note) for tool in tools.values()
    ]
    runs: dict[int, Run] = {id(run): run for run in (*storing.runs, *looking.runs)}
    results = Results(
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        scale=1.0,
        rounds=storing.rounds,
        machine={**machine.facts(work), "load average at the end": f"{os.getloadavg()[1]:.1f}"},
        tools=tuple(facts),
        absent=tuple(absent),
        runs=tuple(runs.values()),
    )
    return asdict(results)


def _own_program() -> bytes:
    return os.path.join(os.path.dirname(os.path.abspath(os.fsencode(sys.executable))), b"snapstore")


def _warm(root: bytes) -> None:
    subprocess.run(["tar", "-cf", "-", "-C", root, "."], check=True, stdout=subprocess.DEVNULL)


def _work(chosen: str | None, stack: ExitStack) -> bytes:
    if chosen is not None:
        os.makedirs(chosen, exist_ok=True)
        return os.fsencode(os.path.abspath(chosen))
    memory = b"/dev/shm"
    parent = memory if machine.room(memory) >= 8 << 30 else os.fsencode(tempfile.gettempdir())
    work = tempfile.mkdtemp(prefix=b"snapstore-systems-", dir=parent)
    stack.callback(trees.remove, work)
    return work


if __name__ == "__main__":
    sys.exit(main())
