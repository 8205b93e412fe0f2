"""A model of the commit and collection protocols on the worst file system that POSIX allows, with every crash tried.

The file system: content that was not fsynced may be there or not after a crash. Every directory operation that is not
covered by an fsync of that very directory may or may not have reached the disk, in any combination and without any
order. A rename within one directory is one operation. An fsync of a file does not make its name durable.

The protocol is a list of steps, built by rules that can each be taken away. Between any two steps the power may go;
then every state of the disk that may result is looked at with the eyes of a reader.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

Content = tuple[str, tuple[str, ...]]
"""The kind of object, and what it names: a pack's chunks, an index's "chunk=pack" pairs, a snapshot's chunks."""

View = dict[str, Content | None]
"""What a reader finds after a crash: path to content, None where the content fails its own check."""


@dataclass(frozen=True, slots=True)
class _Operation:
    """One directory operation: `removed` goes, `added` leads to `inode`."""

    removed: str = ""
    added: str = ""
    inode: int = 0

    def apply(self, entries: dict[str, int]) -> None:
        entries.pop(self.removed, None)
        if self.added:
            entries[self.added] = self.inode


class Disk:
    """The file system. Directories are known by the last component of their path; "" is the root, inode 0."""

    def __init__(self) -> None:
        self.directories = {"": 0}
        self._durable: dict[int, dict[str, int]] = {0: {}}
        self._pending: dict[int, list[_Operation]] = {0: []}
        self._content: dict[int, Content] = {}
        self._synced: set[int] = set()
        self._inodes = itertools.count(1)

    def make_directory(self, above: str, name: str) -> None:
        inode = next(self._inodes)
        self.directories[name] = inode
        self._durable[inode] = {}
        self._pending[inode] = []
        self._operate(above, _Operation(added=name, inode=inode))

    def create(self, directory: str, name: str, content: Content) -> None:
        inode = next(self._inodes)
        self._content[inode] = content
        self._operate(directory, _Operation(added=name, inode=inode))

    def rename(self, directory: str, old: str, new: str) -> None:
        self._operate(directory, _Operation(removed=old, added=new, inode=self._find(directory, old)))

    def unlink(self, directory: str, name: str) -> None:
        self._operate(directory, _Operation(removed=name))

    def sync_file(self, directory: str, name: str) -> None:
        self._synced.add(self._find(directory, name))

    def sync_directory(self, directory: str) -> None:
        inode = self.directories[directory]
        for operation in self._pending[inode]:
            operation.apply(self._durable[inode])
        self._pending[inode] = []

    def crashes(self) -> Iterator[View]:
        """Every distinct view that may be found if the power goes now."""
        seen: set[frozenset[tuple[str, Content | None]]] = set()
        for outcome in itertools.product(*(self._outcomes(inode) for inode in self._pending)):
            tree = dict(zip(self._pending, outcome, strict=True))
            paths = dict(_walk(tree, 0, ""))
            doubtful = sorted(set(paths.values()) - self._synced)
            for lost in itertools.product((False, True), repeat=len(doubtful)):
                bad = {inode for inode, gone in zip(doubtful, lost, strict=True) if gone}
                view = {path: None if inode in bad else self._content[inode] for path, inode in paths.items()}
                key = frozenset(view.items())
                if key not in seen:
                    seen.add(key)
                    yield view

    def _operate(self, directory: str, operation: _Operation) -> None:
        self._pending[self.directories[directory]].append(operation)

    def _find(self, directory: str, name: str) -> int:
        inode = self.directories[directory]
        entries = dict(self._durable[inode])
        for operation in self._pending[inode]:
            operation.apply(entries)
        return entries[name]

    def _outcomes(self, inode: int) -> list[dict[str, int]]:
        found: list[dict[str, int]] = []
        pending = self._pending[inode]
        for landed in itertools.product((False, True), repeat=len(pending)):
            entries = dict(self._durable[inode])
            for operation in itertools.compress(pending, landed):
                operation.apply(entries)
            if entries not in found:
                found.append(entries)
        return found


Step = Callable[[Disk], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitRules:
    """The rules of a commit; the protocol keeps them all."""

    pack_fsync: bool = True
    pack_directory_fsync: bool = True
    index_fsync: bool = True
    index_directory_fsync: bool = True
    final_fsync: bool = True
    final_directory_fsync: bool = True
    shard_directory_prepared: bool = True
    shard_parent_fsync: bool = True
    commit_record_last: bool = True
    trusts_committed_only: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectRules:
    """The rules of a collection; the protocol keeps them all."""

    new_index_before_old_goes: bool = True
    barrier_between_indexes: bool = True
    barrier_before_packs: bool = True


@dataclass(frozen=True, slots=True)
class Result:
    """How many crash points and distinct disk states were tried, and which violations were seen how often."""

    points: int
    states: int
    violations: Counter[str]


def commit_steps(rules: CommitRules) -> list[Step]:
    """A commit of snapshot s1: chunk a is there already, b goes into pack p1 and c into p2 in another shard."""
    shard: list[Step] = []
    if not rules.shard_directory_prepared:
        shard.append(lambda disk: disk.make_directory("packs", "01"))
        if rules.shard_parent_fsync:
            shard.append(lambda disk: disk.sync_directory("packs"))
    pack = {"fsync": rules.pack_fsync, "directory_fsync": rules.pack_directory_fsync}
    first = _write("00", "p1", ("pack", ("b",)), **pack) if rules.trusts_committed_only else [_peer_publishes]
    second = _write("01", "p2", ("pack", ("c",)), **pack)
    index = _write(
        "index",
        "i1",
        ("index", ("b=packs/00/p1", "c=packs/01/p2")),
        fsync=rules.index_fsync,
        directory_fsync=rules.index_directory_fsync,
    )
    final = _write(
        "refs",
        "s1",
        ("snapshot", ("a", "b", "c")),
        fsync=rules.final_fsync,
        directory_fsync=rules.final_directory_fsync,
    )
    if rules.commit_record_last:
        return shard + first + second + index + final
    return shard + final + first + second + index


def collect_steps(rules: CollectRules) -> list[Step]:
    """A collection of the pack `pdead`, which no snapshot needs."""
    publish: list[Step] = [
        lambda disk: disk.create("index", "i2", ("index", ("a=packs/00/p0",))),
        lambda disk: disk.sync_file("index", "i2"),
    ]
    drop: list[Step] = [lambda disk: disk.unlink("index", "i0")]
    between: list[Step] = [lambda disk: disk.sync_directory("index")] if rules.barrier_between_indexes else []
    before_packs: list[Step] = [lambda disk: disk.sync_directory("index")] if rules.barrier_before_packs else []
    packs: list[Step] = [lambda disk: disk.unlink("00", "pdead"), lambda disk: disk.sync_directory("00")]
    indexes = publish + between + drop if rules.new_index_before_old_goes else drop + publish + between
    return indexes + before_packs + packs


def explore(rules: CommitRules | CollectRules) -> Result:
    """What happens if the power goes before, between and after all the steps that these rules make."""
    disk = _old_store()
    if isinstance(rules, CommitRules):
        steps = commit_steps(rules)
        prepared = rules.shard_directory_prepared
    else:
        steps = collect_steps(rules)
        prepared = True
    if prepared:
        disk.make_directory("packs", "01")
        disk.sync_directory("packs")
    states = 0
    violations: Counter[str] = Counter()
    for done in range(len(steps) + 1):
        acknowledged = isinstance(rules, CommitRules) and done == len(steps)
        for view in disk.crashes():
            states += 1
            violations.update(judge(view, acknowledged=acknowledged))
        if done < len(steps):
            steps[done](disk)
    return Result(len(steps) + 1, states, violations)


def judge(view: View, *, acknowledged: bool) -> Iterator[str]:
    """The kinds of harm in what a reader finds, one for each instance. An object that fails its check is not there."""
    packs: dict[str, list[str]] = {}
    for content in _objects(view, "index/"):
        for chunk, pack in (pair.split("=") for pair in content):
            packs.setdefault(chunk, []).append(pack)
    for chunks in _objects(view, "refs/"):
        for chunk in chunks:
            if not any(view.get(pack) for pack in packs.get(chunk, ())):
                yield "snapshot damaged"
    if not view.get("refs/s0"):
        yield "old snapshot lost"
    if acknowledged and not view.get("refs/s1"):
        yield "acknowledged snapshot lost"
    for named in packs.values():
        for pack in sorted(set(named)):
            if not view.get(pack):
                yield "index names a missing pack"  # a later writer would deduplicate against it


def _objects(view: View, prefix: str) -> Iterator[tuple[str, ...]]:
    for path, content in view.items():
        if path.startswith(prefix) and content is not None and not path.endswith(".tmp"):
            yield content[1]


def _write(directory: str, name: str, content: Content, *, fsync: bool, directory_fsync: bool) -> list[Step]:
    temporary = f"{name}.tmp"
    steps: list[Step] = [lambda disk: disk.create(directory, temporary, content)]
    if fsync:
        steps.append(lambda disk: disk.sync_file(directory, temporary))
    steps.append(lambda disk: disk.rename(directory, temporary, name))
    if directory_fsync:
        steps.append(lambda disk: disk.sync_directory(directory))
    return steps


def _peer_publishes(disk: Disk) -> None:
    """Another writer's pack p1 has its name, which is not durable yet; we deduplicate because it is there."""
    disk.create("00", "p1", ("pack", ("b",)))
    disk.sync_file("00", "p1")


def _old_store() -> Disk:
    """A store that holds snapshot s0 of chunk a, and a pack of chunk z that nothing needs any more."""
    disk = Disk()
    for name in ("packs", "index", "refs"):
        disk.make_directory("", name)
    disk.make_directory("packs", "00")
    for directory, name, content in (
        ("00", "p0", ("pack", ("a",))),
        ("00", "pdead", ("pack", ("z",))),
        ("index", "i0", ("index", ("a=packs/00/p0", "z=packs/00/pdead"))),
        ("refs", "s0", ("snapshot", ("a",))),
    ):
        disk.create(directory, name, content)
        disk.sync_file(directory, name)
    for directory in disk.directories:
        disk.sync_directory(directory)
    return disk


def _walk(tree: dict[int, dict[str, int]], inode: int, prefix: str) -> Iterator[tuple[str, int]]:
    for name, below in tree[inode].items():
        if below in tree:
            yield from _walk(tree, below, f"{prefix}{name}/")
        else:
            yield prefix + name, below
