"""What a survey does where things go wrong, or are more than usual."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence

import pytest

from snapstore.errors import CancelledError
from snapstore.flow import Cancellation
from snapstore.fs.digests import Hashed, Wanted
from snapstore.model import Kind
from snapstore.ops import survey, verification
from snapstore.ops.surveyed import SIZE_LIMIT, Counts, Label, Share, Span, joined, unpack_share
from snapstore.system.rules import Rule
from snapstore.system.scopes.files import Class
from tests.surveying import Site, counted, on_disk, rows_by_path


@pytest.fixture
def site(tmp_path: os.PathLike[str]) -> Site:
    base = os.fsencode(tmp_path)
    made = Site(os.path.join(base, b"root"), os.path.join(base, b"cache"))
    os.mkdir(made.root, 0o755)
    for number in range(40):
        made.make(b"/usr/%d/file" % number, b"content of %d" % number)
    made.own_all()
    return made


def resources() -> tuple[int, int]:
    return len(os.listdir("/proc/self/fd")), threading.active_count()


def test_a_failure_in_the_pool_ends_the_survey_and_leaves_nothing_open(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(directory: int, wanted: Sequence[Wanted], buffer: bytearray) -> Iterator[Hashed]:
        del directory, wanted, buffer
        raise MemoryError

    monkeypatch.setattr(verification, "_BATCH_FILES", 16)  # two directories at a time
    monkeypatch.setattr(verification, "hash_files", failing)
    before = resources()
    with pytest.raises(MemoryError):
        site.survey()
    assert resources() == before
    assert not os.path.exists(site.cache)


@pytest.mark.parametrize("after", [0, 1, 2, 30])
def test_a_person_who_stops_it_leaves_nothing_open(site: Site, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    cancellation = Cancellation()
    entered = 0
    real = survey.Survey._fold  # it is called once for each directory

    def folding(self: survey.Survey) -> None:
        nonlocal entered
        entered += 1
        if entered > after:
            cancellation.cancel()
        real(self)

    monkeypatch.setattr(survey.Survey, "_fold", folding)
    before = resources()
    if not after:
        cancellation.cancel()
    with pytest.raises(CancelledError):
        site.survey(cancellation=cancellation)
    assert resources() == before


def test_more_bytes_than_a_record_holds_are_counted_up_to_that() -> None:
    huge = (1 << 63) - 1
    counts = Counts()
    for _ in range(3):
        counts.take(Kind.FILE, huge)
    assert (counts.files, counts.size) == (3, SIZE_LIMIT)
    counts.add(Counts(1, 0, 0, huge))
    assert counts.size == SIZE_LIMIT
    share = Share(b"/x", merged=counts)
    assert unpack_share(b"/x", share.pack()).merged.size == SIZE_LIMIT


def test_rows_that_would_be_the_same_are_one() -> None:
    spans = []
    for inherits, members in ((True, 2), (False, 3), (False, 1)):
        label = Label(Class.GENERATED, "rule", omitted=inherits, inherits=inherits)
        span = Span(b"/x", label, contents=True)
        for number in range(members):
            span.join(b"/x/%d%d" % (inherits, number), Kind.FILE)
            span.counts.take(Kind.FILE, 10)
        spans.append(span)
    rows = [span.row() for span in joined(spans)]
    assert sorted((row.path, row.contents, row.size, row.omitted) for row in rows) == [
        (b"/x", True, 50, False), (b"/x/00", False, 10, False),
    ]  # fmt: skip


def test_one_rule_that_covers_in_two_ways_is_one_row(site: Site) -> None:
    def rule(pattern: str) -> Rule:
        return Rule(id="both", cls="generated", pattern=pattern, reason="r", source="s")

    site.rules = (rule("/usr/1/x*"), rule("/usr/1/**"))
    for name in (b"x1", b"x2", b"y1", b"y2"):
        site.make(b"/usr/1/" + name, b"12")
    found = site.survey()
    assert {path: row.files for path, row in rows_by_path(found).items()} == {b"/usr/1/*": 4}
    assert len(found.rows) == 1


def test_what_is_left_out_with_all_below_is_left_out_though_it_cannot_be_read(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(survey, "DEPTH_LIMIT", 4)
    site.excludes = ("/left/",)
    site.make(b"/left/out/too/deep/file")
    site.make(b"/kept/for/its/depth/file")
    found = site.survey()
    assert [each.path for each in site.progress.warned] == [b"/kept/for/its/depth", b"/left/out/too/deep"]
    assert found.skips[b""] == frozenset({b"usr", b"left"})
    assert not any(b"left" in path for path in found.skips)


def test_names_are_not_listed_where_all_is_left_out(site: Site) -> None:
    site.excludes = ("/left/",)
    for number in range(100):
        site.make(b"/left/%d" % number)
    found = site.survey()
    assert found.skips == {b"": frozenset({b"usr", b"left"})}
    with open(site.cache, "rb") as file:
        assert b"99\x00" not in file.read()


def test_a_directory_that_no_package_lists_is_a_usual_one(site: Site) -> None:
    site.owned = [each for each in site.owned if each.kind is not Kind.DIRECTORY]
    if os.geteuid() == 0:
        assert site.survey().rows == ()
    os.chmod(site.root + b"/usr/3", 0o777)
    found = site.survey()
    assert "mode" in rows_by_path(found)[b"/usr/3"].changes
    assert b"3" not in found.skips.get(b"/usr", frozenset())
    assert counted(found) == on_disk(site.root)


def test_the_top_that_no_package_lists_has_a_mode_all_the_same(site: Site) -> None:
    site.owned = [each for each in site.owned if each.path != b"/"]
    assert site.survey().rows == ()
    os.chmod(site.root, 0o777)
    assert {path: row.changes for path, row in rows_by_path(site.survey()).items()} == {b"/": ("mode",)}
    site.owned = []
    site.tag = b"1" * 16
    assert b"/" not in rows_by_path(site.survey())


def test_what_one_package_ships_is_judged_though_it_is_a_ghost_of_another(site: Site) -> None:
    (record,) = [each for each in site.owned if each.path == b"/usr/3/file"]
    site.owned.append(record._replace(package="other", ghost=True, digest=None))
    assert site.survey().rows == ()
    site.make(b"/usr/3/file", b"altered")
    (row,) = site.survey().rows
    assert (row.cls, row.changes, row.package) == (Class.CHANGED, ("content",), "pack")


def test_a_link_about_which_nothing_is_known_is_not_pristine(site: Site) -> None:
    os.symlink(b"/etc/passwd", site.root + b"/usr/3/link")
    (record,) = [each for each in site.owned if each.path == b"/usr/3/file"]
    site.owned.append(record._replace(path=b"/usr/3/link", kind=Kind.SYMLINK, digest=None, mode=None))
    (row,) = site.survey().rows
    assert (row.path, row.changes) == (b"/usr/3/link", ("unverified",))


def test_what_is_left_out_on_request_is_not_missing(site: Site) -> None:
    site.excludes = ("/usr/3",)
    os.rename(site.root + b"/usr/3", site.root + b"/elsewhere")
    assert set(rows_by_path(site.survey())) == {b"/elsewhere"}
