"""Laws of the survey, over random small trees, records, rules and changes."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from snapstore.format import xml
from snapstore.format.scope import namespace, read_scope
from snapstore.fs.filters import Filter, FilterRules
from snapstore.model import Kind
from snapstore.ops.survey import Surveyed
from snapstore.system.packages import Owned
from snapstore.system.rulebook import RuleBook
from snapstore.system.rules import Rule
from snapstore.system.scopes.files import FILES, Class, FileRow
from tests.surveying import Site, counted, on_disk, packaged

NAMES = (b"a", b"b", b"c\n", b"\xff")
CONTENTS = (b"", b"one", b"two", b"three")
TARGETS = (b"a", b"b", b"/a/b", b"nowhere", b"..")
FOLDERS = [b"", *(b"/" + one for one in NAMES), *(b"/%b/%b" % (one, two) for one in NAMES for two in NAMES)]
PLACES = [folder + b"/" + name for folder in FOLDERS for name in NAMES]

places = st.sampled_from(PLACES)
made = st.one_of(
    st.tuples(st.just("file"), st.sampled_from(CONTENTS)),
    st.tuples(st.just("file"), st.sampled_from(CONTENTS)),
    st.tuples(st.just("dir"), st.just(b"")),
    st.tuples(st.just("link"), st.sampled_from(TARGETS)),
    st.tuples(st.just("fifo"), st.just(b"")),
)
trees = st.dictionaries(places, made, min_size=2, max_size=14)
numbers = st.integers(0, 1000)
"""Which of the paths that are there, counted round and round."""

mutations = st.tuples(st.sampled_from(["make", "make over", "remove", "chmod", "touch"]), numbers, places, made)

patterns = ("/a/**", "/b", "/**/a", "/a/b/*", "/**/c\n", "/b/**", "/a/")


@st.composite
def rule_lists(draw: st.DrawFn) -> tuple[Rule, ...]:
    chosen = draw(st.lists(st.tuples(st.sampled_from(patterns), st.booleans(), st.booleans()), max_size=4))
    return tuple(
        Rule(
            id=f"rule{number % 2}" if cls == "generated" else f"out{number}",
            cls=cls, pattern=pattern, reason="r", source="s", omit=omit and cls == "generated",
        )
        for number, (pattern, generated, omit) in enumerate(chosen)
        for cls in ("generated" if generated else "excluded",)
    )  # fmt: skip


ALTERED: list[dict[str, Any]] = [
    {"ghost": True}, {"optional": True}, {"vouched": False}, {"obsolete": True}, {"digest": None},
]  # fmt: skip
flags = st.sampled_from([{}, {}, {}, {}, *ALTERED])


@dataclass
class World:
    """One example: a tree that packages own in part, and what happens to it."""

    site: Site
    shipped: dict[bytes, tuple[object, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.book = RuleBook(self.site.rules)
        self.filter = Filter(FilterRules(excludes=self.site.excludes), root=self.site.root)
        self.claims: dict[bytes, list[Owned]] = {}
        for record in self.site.owned:
            self.claims.setdefault(record.path, []).append(record)
        self.implied = {above for path in self.claims for above in parents(path)} - self.claims.keys()


def seen(place: bytes) -> tuple[object, ...]:
    """All that a package states of a path, as it is now; its kind alone first."""
    status = os.lstat(place)
    kind = stat.S_IFMT(status.st_mode)
    if stat.S_ISLNK(status.st_mode):
        return kind, status.st_uid, status.st_gid, os.readlink(place)
    data = b""
    if stat.S_ISREG(status.st_mode):
        with open(place, "rb") as file:
            data = file.read()
    return kind, status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode), data


def remove(place: bytes) -> None:
    if os.path.isdir(place) and not os.path.islink(place):
        shutil.rmtree(place)
    elif os.path.lexists(place):
        os.unlink(place)


def make(place: bytes, what: tuple[str, bytes]) -> None:
    kind, value = what
    remove(place)
    if kind == "dir":
        os.mkdir(place, 0o755)
    elif kind == "link":
        os.symlink(value, place)
    elif kind == "fifo":
        os.mkfifo(place, 0o644)
    else:
        with open(place, "wb") as file:
            file.write(value)
        os.chmod(place, 0o644)


def lies_inside(root: bytes, path: bytes) -> bool:
    """Whether the directories above a path are there, or can be made, and none of them is a link."""
    for above in parents(path):
        if os.path.lexists(root + above) and (os.path.islink(root + above) or not os.path.isdir(root + above)):
            return False
    os.makedirs(os.path.dirname(root + path), mode=0o755, exist_ok=True)
    return True


def below(root: bytes) -> Iterator[bytes]:
    """Every path of a tree, from its top, which is not among them; no link is followed."""
    for folder, directories, files in os.walk(root):
        for name in (*directories, *files):
            yield folder[len(root) :] + b"/" + name


def parents(path: bytes) -> list[bytes]:
    """The directories above a path, from the top, which is not among them."""
    return [path[:at] for at in range(1, len(path)) if path[at : at + 1] == b"/"]


def kept(root: bytes, surveyed: Surveyed) -> set[bytes]:
    """What a walk that leaves out the skips stores."""
    found: set[bytes] = set()
    stack = [b""]
    while stack:
        here = stack.pop()
        for name in os.listdir(root + here or b"/"):
            if name in surveyed.skips.get(here, ()):
                continue
            path = here + b"/" + name
            found.add(path)
            place = root + path
            if os.path.isdir(place) and not os.path.islink(place):
                stack.append(path)
    return found


def parsed_back(rows: tuple[FileRow, ...]) -> list[FileRow]:
    document = xml.document(b"files", namespace("files").encode(), [FILES.element(row) for row in rows])
    return list(FILES.read_all(read_scope(document, scope="files", name="the record")))  # type: ignore[arg-type]


def counts_of(surveyed: Surveyed) -> dict[object, tuple[int, ...]]:
    return {key: counts.numbers() for key, counts in surveyed.counts.items()}


def excluded(world: World, path: bytes, *, directory: bool) -> bool:
    return world.book.excluded(path, directory=directory) is not None or bool(
        world.filter.verdict(path[1:], directory=directory)
    )


def expected(world: World, path: bytes) -> tuple[Class, bool]:
    """(the class that a path is in, whether a snapshot stores it), by the words of the documentation alone."""
    place = world.site.root + path
    directory = os.path.isdir(place) and not os.path.islink(place)
    if any(excluded(world, above, directory=True) for above in parents(path)):
        return Class.EXCLUDED, False
    if excluded(world, path, directory=directory):
        return Class.EXCLUDED, False
    records = world.claims.get(path, [])
    if records:
        if all(record.ghost for record in records):
            return Class.GENERATED, True
        good = seen(place) == world.shipped[path] and any(
            record.vouched and not record.obsolete and not record.ghost
            and (record.digest is not None or record.kind is not Kind.FILE)
            for record in records
        )  # fmt: skip
        return (Class.PRISTINE, False) if good else (Class.CHANGED, True)
    if path in world.implied:
        usual = seen(place)[:4] == (stat.S_IFDIR, 0, 0, 0o755)
        sound = all(each.vouched for each in world.site.owned if each.path.startswith(path + b"/"))
        return (Class.PRISTINE, False) if usual and sound else (Class.CHANGED, True)
    rule = world.book.generated(path, directory=directory, owned=lambda path: path in world.claims)
    if rule is not None:
        return Class.GENERATED, not rule.omit
    return Class.UNMANAGED, True


def gone(world: World, there: set[bytes]) -> set[bytes]:
    """What is missing: owned, needed, not there, and not left out."""
    found = set()
    for path, records in world.claims.items():
        if path in there or all(record.optional or record.ghost or record.obsolete for record in records):
            continue
        kind = records[0].kind
        out = excluded(world, path, directory=kind is Kind.DIRECTORY)
        for above in parents(path):
            place = world.site.root + above
            if above not in there or (os.path.isdir(place) and not os.path.islink(place)):
                claimed = world.claims.get(above)
                out = out or excluded(world, above, directory=claimed is None or claimed[0].kind is Kind.DIRECTORY)
        if not out:
            found.add(path)
    return found


def check(world: World, surveyed: Surveyed) -> None:
    root = world.site.root
    # Every path in exactly one class.
    assert counted(surveyed) == on_disk(root)
    # The rows are in order, none is there twice, and they are what their record says.
    order = [FILES.order(row) for row in surveyed.rows]
    assert all(one < two for one, two in pairwise(order))
    assert parsed_back(surveyed.rows) == list(surveyed.rows)
    # The class is the right one, and what is stored is what no package brings back, with the directories above it.
    there = set(below(root))
    by_class: dict[Class, int] = {Class.PRISTINE: 1}  # the top
    changed, stored = set(), set()
    for path in there:
        cls, keeps = expected(world, path)
        by_class[cls] = by_class.get(cls, 0) + 1
        if cls is Class.CHANGED:
            changed.add(path)
        if keeps:
            stored |= {path, *parents(path)}
    missing = gone(world, there)
    if missing:
        by_class[Class.MISSING] = len(missing)
    counts: dict[Class, int] = {}
    for (cls, _), each in surveyed.counts.items():
        counts[cls] = counts.get(cls, 0) + each.files + each.directories + each.others
    assert counts == by_class
    assert {row.path for row in surveyed.rows if row.cls is Class.CHANGED} == changed
    assert {row.path for row in surveyed.rows if row.cls is Class.MISSING} == missing
    assert kept(root, surveyed) == stored


def again(site: Site, first: Surveyed) -> None:
    """A survey from the cache comes to the same as the first, and as one without."""
    second = site.survey()
    os.unlink(site.cache)
    fresh = site.survey()
    for other in (second, fresh):
        assert other.rows == first.rows
        assert counts_of(other) == counts_of(first)
        assert other.not_entered == first.not_entered
        assert {path: names for path, names in other.skips.items() if names} == first.skips


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    tree=trees,
    owners=st.lists(st.tuples(numbers, flags, st.sampled_from(["pack", "pack", "other"])), max_size=20),
    rules=rule_lists(),
    later=rule_lists(),
    excludes=st.lists(st.sampled_from(["a", "/b/", "c*", "/a/b"]), max_size=1),
    changes=st.lists(mutations, min_size=1, max_size=6),
    changed_rules=st.booleans(),
    restated=st.lists(st.tuples(numbers, st.sampled_from(ALTERED)), max_size=4),
)
def test_whatever_happens_every_path_is_accounted_for(  # noqa: PLR0917 - hypothesis gives them by name
    tree: dict[bytes, tuple[str, bytes]],
    owners: list[tuple[int, dict[str, Any], str]],
    rules: tuple[Rule, ...],
    later: tuple[Rule, ...],
    excludes: list[str],
    changes: list[tuple[str, int, bytes, tuple[str, bytes]]],
    restated: list[tuple[int, dict[str, Any]]],
    changed_rules: bool,  # noqa: FBT001 - hypothesis gives it by name
) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as base:
        site = Site(os.fsencode(base) + b"/root", os.fsencode(base) + b"/cache")
        os.mkdir(site.root, 0o755)
        for path in sorted(tree):
            if lies_inside(site.root, path):
                make(site.root + path, tree[path])
        shipped = {}
        there = {path: seen(site.root + path) for path in sorted(below(site.root))}
        for number, flag, package in owners:
            path = [*there][number % len(there)]
            known = any((each.path, each.package) == (path, package) for each in site.owned)
            if there[path][0] != stat.S_IFIFO and not known:
                site.owned.append(packaged(site.root, path, package, **flag))
                shipped[path] = there[path]
        site.rules, site.excludes = rules, tuple(excludes)
        first = site.survey()
        check(World(site, shipped), first)
        again(site, first)
        for what, number, new, value in changes:
            left = sorted(below(site.root))
            path = new if what == "make" or not left else left[number % len(left)]
            place = site.root + path
            if what.startswith("make"):
                if lies_inside(site.root, path):
                    make(place, value)
            elif not left:
                continue
            elif what == "remove":
                remove(place)
            elif what == "touch":
                os.utime(place, ns=(1, 1), follow_symlinks=False)
            elif not os.path.islink(place):
                os.chmod(place, 0o700)
        if changed_rules:
            site.rules, site.tag = later, b"1" * 16
        for number, flag in restated if site.owned else ():
            site.tag = b"2" * 16
            site.owned[number % len(site.owned)] = site.owned[number % len(site.owned)]._replace(**flag)
        # The cache is the one of before the changes.
        altered = site.survey()
        check(World(site, shipped), altered)
        again(site, altered)
