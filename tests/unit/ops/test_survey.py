from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from snapstore.errors import CancelledError
from snapstore.flow import Cancellation
from snapstore.ops import judging
from snapstore.ops.survey import Surveyed
from snapstore.system.packages import Digest
from snapstore.system.rules import Rule
from snapstore.system.scopes.files import FILES, Class
from tests.surveying import Site, counted, on_disk, packaged, rows_by_path


@pytest.fixture
def site(tmp_path: os.PathLike[str]) -> Site:
    base = os.fsencode(tmp_path)
    made = Site(os.path.join(base, b"root"), os.path.join(base, b"cache"))
    os.mkdir(made.root, 0o755)
    for path in (b"/usr/bin/tool", b"/usr/share/doc/tool/README", b"/usr/share/tool/a", b"/usr/share/tool/b"):
        made.make(path, b"content of " + path)
    os.symlink(b"tool", made.root + b"/usr/bin/alias")
    made.make(b"/etc/tool.conf", b"setting = 1\n")
    made.own_all()
    return made


def classes(surveyed: Surveyed) -> dict[bytes, tuple[str, tuple[str, ...]]]:
    return {path: (str(row.cls), row.changes) for path, row in rows_by_path(surveyed).items()}


def check(site: Site, surveyed: Surveyed) -> None:
    """What holds of every survey: all that is there is counted once, and the rows are in their order."""
    assert counted(surveyed) == on_disk(site.root)
    order = [FILES.order(row) for row in surveyed.rows]
    assert all(one < two for one, two in pairwise(order))


def both(site: Site) -> dict[bytes, tuple[str, tuple[str, ...]]]:
    """The classes found by a survey, and again by one that takes all it can from the cache."""
    first = site.survey()
    check(site, first)
    asked = site.asked
    again = site.survey()
    assert site.asked == asked, "the second survey judged something anew"
    assert again.rows == first.rows
    assert again.skips == first.skips
    assert {key: value.numbers() for key, value in again.counts.items()} == {
        key: value.numbers() for key, value in first.counts.items()
    }
    return classes(first)


def test_what_is_as_packaged_has_no_row_and_is_left_out(site: Site) -> None:
    assert both(site) == {}
    surveyed = site.survey()
    assert surveyed.skips == {b"": frozenset({b"usr", b"etc"})}
    assert [str(cls) for cls, _ in surveyed.counts] == ["pristine"]


def test_with_everything_stored_nothing_is_left_out(site: Site) -> None:
    site.skip_packaged = False
    assert both(site) == {}
    assert site.survey().skips == {}


def write(place: bytes, mode: str, data: bytes) -> None:
    with open(place, mode) as file:
        file.write(data)


CHANGES: list[tuple[str, Callable[[bytes], object], bytes, tuple[str, ...]]] = [
    ("content", lambda p: write(p + b"/usr/bin/tool", "r+b", b"CONTENT"), b"/usr/bin/tool", ("content",)),
    ("appended", lambda p: write(p + b"/usr/bin/tool", "ab", b"more"), b"/usr/bin/tool", ("content",)),
    ("emptied", lambda p: os.truncate(p + b"/usr/bin/tool", 0), b"/usr/bin/tool", ("content",)),
    ("mode", lambda p: os.chmod(p + b"/usr/bin/tool", 0o4755), b"/usr/bin/tool", ("mode",)),
    ("directory mode", lambda p: os.chmod(p + b"/usr/share/tool", 0o777), b"/usr/share/tool", ("mode",)),
    ("top mode", lambda p: os.chmod(p, 0o777), b"/", ("mode",)),
]


@pytest.mark.parametrize(("change", "path", "expected"), [c[1:] for c in CHANGES], ids=[c[0] for c in CHANGES])
def test_a_change_is_one_row(
    site: Site, change: Callable[[bytes], object], path: bytes, expected: tuple[str, ...]
) -> None:
    site.survey()
    change(site.root)
    assert both(site) == {path: ("changed", expected)}


def test_content_is_compared_even_if_size_and_time_are_the_same(site: Site) -> None:
    site.survey()
    place = site.root + b"/usr/share/tool/a"
    status = os.stat(place)
    with open(place, "r+b") as file:
        file.write(b"C")
    os.utime(place, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert both(site) == {b"/usr/share/tool/a": ("changed", ("content",))}
    row = rows_by_path(site.survey())[b"/usr/share/tool/a"]
    assert row.packaged_digest == "md5:" + next(
        each.digest.value.hex() for each in site.owned if each.path == row.path and each.digest
    )


def test_touching_and_copying_over_is_no_change(site: Site) -> None:
    site.survey()
    place = site.root + b"/usr/share/tool/a"
    os.utime(place)
    with open(place, "rb") as file:
        data = file.read()
    os.unlink(place)
    site.make(b"/usr/share/tool/a", data)
    assert both(site) == {}


def test_kinds_are_told(site: Site) -> None:
    os.unlink(site.root + b"/usr/bin/alias")
    site.make(b"/usr/bin/alias", b"tool")
    os.rename(site.root + b"/usr/share/tool", site.root + b"/usr/share/moved")
    os.symlink(b"moved", site.root + b"/usr/share/tool")
    os.unlink(site.root + b"/usr/share/doc/tool/README")
    os.mkdir(site.root + b"/usr/share/doc/tool/README")
    found = both(site)
    assert found.pop(b"/usr/bin/alias") == ("changed", ("type",))
    assert found.pop(b"/usr/share/doc/tool/README") == ("changed", ("type",))
    assert found.pop(b"/usr/share/tool") == ("changed", ("type",))
    assert found.pop(b"/usr/share/moved") == ("unmanaged", ())
    assert found == {b"/usr/share/tool/a": ("missing", ()), b"/usr/share/tool/b": ("missing", ())}


def test_links_are_compared_by_what_they_say(site: Site) -> None:
    os.unlink(site.root + b"/usr/bin/alias")
    os.symlink(b"/etc/passwd", site.root + b"/usr/bin/alias")
    assert both(site) == {b"/usr/bin/alias": ("changed", ("target",))}
    row = rows_by_path(site.survey())[b"/usr/bin/alias"]
    assert (row.target, row.packaged_target) == (b"/etc/passwd", b"tool")


def test_what_is_gone_is_missing_all_of_it(site: Site) -> None:
    subprocess.run(["rm", "-r", site.root + b"/usr/share"], check=True)
    assert set(both(site)) == {
        b"/usr/share", b"/usr/share/doc", b"/usr/share/doc/tool", b"/usr/share/doc/tool/README",
        b"/usr/share/tool", b"/usr/share/tool/a", b"/usr/share/tool/b",
    }  # fmt: skip


def test_what_may_be_absent_is_not_missing(site: Site) -> None:
    for path in (b"/usr/share/doc/tool/README", b"/usr/share/tool/a", b"/usr/share/tool/b"):
        os.unlink(site.root + path)
    flags: dict[bytes, dict[str, Any]] = {
        b"/usr/share/doc/tool/README": {"optional": True},
        b"/usr/share/tool/a": {"ghost": True},
        b"/usr/share/tool/b": {"obsolete": True},
    }
    site.owned = [each._replace(**flags.get(each.path, {})) for each in site.owned]
    assert both(site) == {}


def test_a_tree_of_nobody_is_one_row_and_stored_whole(site: Site) -> None:
    for number in range(30):
        site.make(b"/opt/app/%d/file" % number, b"x" * number)
    site.make(b"/srv/one", b"12345")
    found = site.survey()
    check(site, found)
    rows = rows_by_path(found)
    assert set(rows) == {b"/opt", b"/srv"}
    tree = rows[b"/opt"]
    assert (tree.tree, tree.files, tree.directories, tree.size) == (True, 30, 32, sum(range(30)))
    assert found.skips == {b"": frozenset({b"usr", b"etc"})}
    assert both(site) == {b"/opt": ("unmanaged", ()), b"/srv": ("unmanaged", ())}


def test_strange_things_beside_packaged_ones_each_have_a_row(site: Site) -> None:
    folder = site.root + b"/usr/share/tool/"
    names = [b"new\nline", b"\xff\xfe", b".hidden", b" ", b'<&">']
    for name in names:
        site.make(b"/usr/share/tool/" + name)
    os.mkfifo(folder + b"fifo")
    os.symlink(b"nowhere", folder + b"link")
    os.link(folder + b"a", folder + b"second name")
    with socket.socket(socket.AF_UNIX) as server:
        here = os.open(folder, os.O_RDONLY)
        server.bind(f"/proc/self/fd/{here}/socket")
        os.close(here)
    expected = {b"/usr/share/tool/" + name for name in [*names, b"fifo", b"link", b"second name", b"socket"]}
    found = both(site)
    assert set(found) == expected
    assert {cls for cls, _ in found.values()} == {"unmanaged"}
    assert site.survey().skips[b"/usr/share/tool"] == frozenset({b"a", b"b"})


def test_rules_gather_what_they_cover(site: Site) -> None:
    site.rules = (
        Rule(id="cache", cls="generated", pattern="/var/cache/tool/**", reason="r", source="s", omit=True),
        Rule(id="log", cls="generated", pattern="/var/log/*.log", reason="r", source="s"),
        Rule(id="tmp", cls="excluded", pattern="/tmp/**", reason="r", source="s"),
    )
    for path in (b"/var/cache/tool", b"/var/log", b"/tmp"):
        site.make(path, None)
    site.own_all()
    for path in (b"/var/cache/tool/a", b"/var/cache/tool/deep/b", b"/var/log/one.log", b"/var/log/two.log"):
        site.make(path, b"1234")
    site.make(b"/var/log/kept", b"1")
    site.make(b"/tmp/x/y/z", b"12")
    found = site.survey()
    check(site, found)
    rows = rows_by_path(found)
    assert {path: (str(row.cls), row.rule, row.files) for path, row in rows.items()} == {
        b"/var/cache/tool/*": ("generated", "cache", 2),
        b"/var/log/*": ("generated", "log", 2),
        b"/var/log/kept": ("unmanaged", "", 0),
        b"/tmp/x": ("excluded", "tmp", 1),
    }
    assert found.skips == {b"": frozenset({b"usr", b"etc", b"tmp"}), b"/var": frozenset({b"cache"})}
    both(site)


def test_patterns_of_the_person_leave_out_and_say_so(site: Site) -> None:
    site.excludes = ("*.iso", "/home/me/tmp/")
    site.make(b"/home/me/big.iso", b"1" * 10)
    site.make(b"/home/me/tmp/deep/file", b"1")
    site.make(b"/home/me/kept", b"1")
    found = both(site)
    assert found == {
        b"/home": ("unmanaged", ()), b"/home/me/big.iso": ("excluded", ()), b"/home/me/tmp": ("excluded", ()),
    }  # fmt: skip
    assert site.survey().skips[b"/home/me"] == frozenset({b"big.iso", b"tmp"})


def test_too_many_loose_files_are_one_row(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "LOOSE_LIMIT", 5)
    for number in range(6):
        site.make(b"/etc/%d" % number, b"12")
    assert set(both(site)) == {b"/etc/*"}
    row = rows_by_path(site.survey())[b"/etc/*"]
    assert (row.files, row.size, row.tree, row.contents) == (6, 12, True, True)


def test_the_best_of_several_owners_decides(site: Site) -> None:
    other = [packaged(site.root, b"/usr/share/tool/a", "other", mode=0o600)]
    site.owned += other
    assert both(site) == {}
    os.chmod(site.root + b"/usr/share/tool/a", 0o640)
    assert both(site) == {b"/usr/share/tool/a": ("changed", ("mode",))}
    assert rows_by_path(site.survey())[b"/usr/share/tool/a"].package == "other pack"


def test_what_has_no_digest_is_never_pristine(site: Site) -> None:
    site.owned = [each._replace(digest=None) if each.path == b"/usr/share/tool/a" else each for each in site.owned]
    assert both(site) == {b"/usr/share/tool/a": ("changed", ("unverified",))}
    assert b"a" not in site.survey().skips[b"/usr/share/tool"]


def test_a_damaged_record_is_never_pristine(site: Site) -> None:
    site.owned = [each._replace(vouched=False) for each in site.owned]
    found = both(site)
    assert set(found) == {each.path for each in site.owned}
    assert all("unverified" in changes for _, changes in found.values())


def test_other_digests_are_not_taken_from_the_cache(site: Site) -> None:
    assert both(site) == {}
    wrong = Digest("md5", bytes(16))
    site.owned = [each._replace(digest=wrong) if each.path == b"/usr/share/tool/a" else each for each in site.owned]
    site.tag = b"1" * 16
    assert both(site) == {b"/usr/share/tool/a": ("changed", ("content",))}


def test_an_unsettled_directory_is_looked_at_again(site: Site) -> None:
    site.survey(settled=False)
    asked = site.asked
    site.survey(settled=False)
    assert site.asked > asked


def test_a_damaged_cache_is_no_cache(site: Site) -> None:
    first = site.survey()
    with open(site.cache, "r+b") as file:
        file.seek(200)
        file.write(b"garbage")
    assert site.survey().rows == first.rows


def test_it_stops_when_asked(site: Site) -> None:
    cancellation = Cancellation()
    cancellation.cancel()
    with pytest.raises(CancelledError):
        site.survey(cancellation=cancellation)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can set these")
def test_owner_capabilities_and_attributes(site: Site) -> None:
    site.owned = [each._replace(capabilities="") for each in site.owned]
    os.chown(site.root + b"/usr/share/tool/a", 1000, 0)
    os.setxattr(site.root + b"/usr/share/tool/b", "user.note", b"1")
    value = bytes.fromhex("0100000200200000000000000000000000000000")
    os.setxattr(site.root + b"/usr/bin/tool", "security.capability", value)
    os.setxattr(site.root + b"/usr/share/doc", "user.note", b"1")
    found = both(site)
    assert found == {
        b"/usr/share/tool/a": ("changed", ("owner",)),
        b"/usr/share/tool/b": ("changed", ("attributes",)),
        b"/usr/bin/tool": ("changed", ("capabilities",)),
        b"/usr/share/doc": ("changed", ("attributes",)),
    }
    rows = rows_by_path(site.survey())
    assert rows[b"/usr/share/tool/a"].owner == "1000:root"
    assert rows[b"/usr/bin/tool"].capabilities == "cap_net_raw=ep"
    assert str(rows[b"/usr/bin/tool"].cls) == Class.CHANGED
