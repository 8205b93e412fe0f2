"""The commands that write: init, snapshot, forget, restore."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import ODD, Filled, Snapstore

Documented = Callable[[str, dict[str, Any]], None]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    source = tmp_path / "tree"
    source.mkdir()
    (source / "drop.o").write_bytes(b"o")
    (source / "keep.o").write_bytes(b"k")
    (source / "plain").write_bytes(b"plain")
    return source


def names(command: Snapstore, snapshot: str = "latest") -> set[str]:
    return {os.path.basename(line) for line in command.ok("ls", snapshot).lines}


# -- init


def test_init_says_that_there_is_no_encryption(snapstore: Snapstore, tmp_path: Path) -> None:
    result = snapstore.ok("-s", tmp_path / "one", "init")
    assert result.errors == ("snapstore: this release stores without encryption (--no-encryption says that you know)\n")
    assert snapstore.ok("-s", tmp_path / "two", "init", "--no-encryption").err == b""
    assert (tmp_path / "one" / "config").is_file()


def test_init_takes_chunk_sizes(snapstore: Snapstore, tmp_path: Path, documented: Documented) -> None:
    sizes = ["--chunk-min", "4K", "--chunk-avg", "16KiB", "--chunk-max", "65536"]
    made = snapstore.ok("init", "-s", tmp_path / "store", "--json", *sizes).message
    documented("init", made)
    assert (made["chunk_min"], made["chunk_avg"], made["chunk_max"]) == (4096, 16384, 65536)


@pytest.mark.parametrize("sizes", [["--chunk-avg", "3000"], ["--chunk-max", "1G"], ["--chunk-min", "few"]])
def test_init_refuses_impossible_chunk_sizes(snapstore: Snapstore, tmp_path: Path, sizes: list[str]) -> None:
    assert snapstore("init", "-s", tmp_path / "store", *sizes).code == 2
    assert not (tmp_path / "store").exists()


def test_init_never_touches_what_is_there(fresh: Snapstore, tree: Path) -> None:
    assert fresh("init").code == 1
    assert fresh("init", "-s", tree).code == 1
    assert sorted(os.listdir(tree)) == ["drop.o", "keep.o", "plain"]


# -- the default store


def test_the_default_store_is_made_by_the_first_snapshot_which_says_so(snapstore: Snapstore, tree: Path) -> None:
    place = snapstore.home / "data" / "snapstore" / "store"
    assert snapstore("snapshots").code == 10
    assert not place.exists()
    assert snapstore("snapshot", tree, "--dry-run").code == 10
    assert not place.exists()
    first = snapstore.ok("snapshot", tree)
    assert first.errors == f"snapstore: made the default store at {place}, without encryption\n"
    assert snapstore.ok("snapshot", tree).err == b""
    assert len(snapstore.ok("snapshots").lines) == 3


def test_a_store_that_was_named_is_not_made_by_a_snapshot(snapstore: Snapstore, tree: Path, tmp_path: Path) -> None:
    assert snapstore("-s", tmp_path / "nowhere", "snapshot", tree).code == 10
    assert not (tmp_path / "nowhere").exists()


def test_caches_are_tagged(fresh: Snapstore, tree: Path) -> None:
    fresh.ok("snapshot", tree)
    tag = fresh.home / "cache" / "snapstore" / "CACHEDIR.TAG"
    assert tag.read_bytes().startswith(b"Signature: 8a477f597d28d172789f06886806bc55\n")


# -- snapshot


def test_snapshot_summary(fresh: Snapstore, tree: Path, documented: Documented) -> None:
    first = fresh.ok("snapshot", tree, "--json").messages[-1]
    documented("snapshot", first)
    assert (first["files"], first["directories"], first["unchanged"], first["dry_run"]) == (3, 1, 0, False)
    again = fresh.ok("snapshot", tree)
    assert again.text.startswith("snapshot ")
    assert "3 files, 1 directory, 7 B" in again.text
    assert fresh.ok("snapshot", tree, "-q").out == b""


def test_global_options_stand_before_and_after(snapstore: Snapstore, tree: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    snapstore.ok("--store", store, "init", "--quiet")
    before = snapstore.ok("--json", "-s", store, "snapshot", tree).messages[-1]
    after = snapstore.ok("-s", tmp_path / "other", "snapshot", tree, "--json", "--store", store).messages[-1]
    assert before["message_type"] == after["message_type"] == "summary"
    assert not (tmp_path / "other").exists()


def test_a_dry_run_writes_nothing(fresh: Snapstore, tree: Path) -> None:
    summary = fresh.ok("snapshot", tree, "--dry-run", "--json").messages[-1]
    assert (summary["snapshot"], summary["dry_run"], summary["files"]) == (None, True, 3)
    assert summary["new_data"] == 7
    assert fresh.ok("snapshots").out == b""
    assert fresh.ok("snapshot", tree, "--dry-run").text.startswith("would save 3 files")
    assert os.listdir(fresh.home) == []


def test_without_reading_back_that_is_said(fresh: Snapstore, tree: Path) -> None:
    result = fresh.ok("snapshot", tree, "--no-read-back", "--json")
    assert result.messages[-1]["read_back"] is False
    assert b"--no-read-back" in result.err
    proved = fresh.ok("snapshot", tree, "--json")
    assert proved.messages[-1]["read_back"] is True
    assert proved.err == b""


@pytest.mark.parametrize("durability", ["full", "batch"])
def test_either_durability_gives_a_whole_store(fresh: Snapstore, tree: Path, durability: str) -> None:
    fresh.ok("snapshot", tree, "--durability", durability)
    fresh.ok("check", "--read-data")
    assert fresh.ok("cat", "latest", tree / "plain").out == b"plain"


def test_first_snapshots_at_the_same_time_share_the_default_store(snapstore: Snapstore, tree: Path) -> None:
    running = [snapstore.start("snapshot", tree) for _ in range(4)]
    errors = [process.communicate(timeout=120)[1] for process in running]
    assert [process.returncode for process in running] == [0] * 4, errors
    assert sum(b"made the default store" in each for each in errors) == 1
    assert len(snapstore.ok("snapshots", "--json").messages) == 4
    snapstore.ok("check")


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        (["--exclude", "*.o"], {"plain"}),
        (["--exclude", "*.o", "--include", "keep.o"], {"plain", "keep.o"}),
        (["--include", "keep.o", "--exclude", "*.o"], {"plain"}),
        (["--exclude-from", "rules", "--include", "drop.o"], {"plain", "drop.o", "keep.o"}),
        (["--include", "drop.o", "--exclude-from", "rules"], {"plain", "keep.o"}),
        (["--exclude-larger-than", "1"], {"drop.o", "keep.o"}),
    ],
)
def test_patterns_count_in_the_order_given(fresh: Snapstore, tree: Path, options: list[str], kept: set[str]) -> None:
    (fresh.home / "rules").write_bytes(b"# all\n\n*.o\r\n!keep.o\n")
    fresh.ok("snapshot", tree, *options)
    assert names(fresh) == kept


def test_patterns_from_standard_input(fresh: Snapstore, tree: Path) -> None:
    fresh.ok("snapshot", tree, "--exclude-from", "-", stdin=b"*.o\n")
    assert names(fresh) == {"plain"}


def test_exclude_means_what_it_says_even_for_marks(fresh: Snapstore, tree: Path) -> None:
    (tree / "!x").touch()
    (tree / "#y").touch()
    fresh.ok("snapshot", tree, "--exclude", "!x", "--exclude", "#y")
    assert names(fresh) == {"drop.o", "keep.o", "plain"}


def test_cache_directories_can_be_left_out(fresh: Snapstore, tree: Path) -> None:
    (tree / "c").mkdir()
    (tree / "c" / "CACHEDIR.TAG").write_bytes(b"Signature: 8a477f597d28d172789f06886806bc55")
    (tree / "c" / "junk").touch()
    fresh.ok("snapshot", tree, "--exclude-caches", "--one-file-system", "--level", "1")
    assert "junk" not in {os.path.basename(line) for line in fresh.ok("ls", "latest", "-R").lines}


def test_a_stream_becomes_a_file(fresh: Snapstore) -> None:
    content = os.urandom(3_000_000)
    fresh.ok("snapshot", "--stdin-name", "dumps/shop.sql", "--tag", "db", stdin=content)
    assert fresh.ok("cat", "latest", "/dumps/shop.sql").out == content
    assert fresh.ok("ls", "latest").lines == ["/dumps/shop.sql"]


@pytest.mark.parametrize(
    "arguments",
    [
        [""],
        ["--stdin-name", "x", "/etc"],
        ["--stdin-name", "../x"],
        ["--stdin-name", "x/"],
        ["--stdin-name", "x", "--dry-run"],
        ["--stdin-name", "x", "--exclude", "y"],
        ["/etc", "--name", "latest"],
        ["/etc", "--name", "latest~3"],
        ["/etc", "--tag", "a\nb"],
        ["/etc", "--level", "23"],
        ["/etc", "--exclude-larger-than", "much"],
        ["/etc", "--quiet", "--verbose"],
        ["/etc", "--nonsense"],
    ],
)
def test_wrong_usage_is_2(fresh: Snapstore, arguments: list[str]) -> None:
    result = fresh("snapshot", *arguments)
    assert (result.code, result.out) == (2, b"")
    assert "Error: " in result.errors
    assert fresh("--json", "snapshot", *arguments).failure["code"] == 2
    assert fresh.ok("snapshots").out == b""


def test_unreadable_files_are_3_and_the_rest_is_saved(fresh: Snapstore, tree: Path, tmp_path: Path) -> None:
    (tree / "plain").chmod(0)
    result = fresh("snapshot", tree, powerless=True)
    assert result.code == 3
    assert result.errors.startswith(f"warning: {tree}/plain: ")
    assert names(fresh) == {"drop.o", "keep.o", "plain"}
    *warnings, summary = fresh("snapshot", tree, "--json", powerless=True).messages
    assert [each["path"] for each in warnings if each["message_type"] == "warning"] == [f"{tree}/plain"]
    assert summary["warnings"] == 1
    # What was not read cannot be given back, which is a warning there too.
    back = fresh("restore", "latest", "--target", tmp_path / "back")
    assert back.code == 3
    assert (tmp_path / "back" / str(tree)[1:] / "keep.o").read_bytes() == b"k"


def test_a_path_that_is_not_there(fresh: Snapstore, tmp_path: Path) -> None:
    result = fresh("snapshot", tmp_path / "nowhere")
    assert (result.code, result.err.count(b"\n")) == (1, 1)
    assert f"{tmp_path}/nowhere" in result.errors


# -- forget


def test_forget(fresh: Snapstore, tree: Path, documented: Documented) -> None:
    ids = [fresh.ok("snapshot", tree, "--json").messages[-1]["snapshot"] for _ in range(2)]
    assert fresh.ok("forget", "latest", "--dry-run").text.startswith(f"would forget {ids[1][:8]}")
    assert fresh("forget", ids[0], "nothing").code == 1
    assert len(fresh.ok("snapshots", "--json").messages) == 2
    gone = fresh.ok("forget", ids[0], ids[0][:8], "--json").message
    documented("forget", gone)
    assert gone["id"] == ids[0]
    assert [each["id"] for each in fresh.ok("snapshots", "--json").messages] == [ids[1]]
    assert fresh("ls", ids[0]).code == 1


# -- restore


def content(top: Path) -> dict[str, tuple[int, bytes]]:
    found = {}
    for path in sorted(top.rglob("*")):
        status = path.lstat()
        data = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
        found[str(path.relative_to(top))] = (status.st_mode, data)
    return found


def test_restore_gives_back_what_was_there(filled: Filled, tmp_path: Path, documented: Documented) -> None:
    target = tmp_path / "back"
    summary = filled.snapstore.ok("restore", "second", "--target", target, "--verify", "--json").messages[-1]
    documented("restore", summary)
    assert (summary["differences"], summary["warnings"]) == (0, 0)
    assert content(target / str(filled.source)[1:]) == content(filled.source)
    assert (target / str(filled.source)[1:] / os.fsdecode(ODD)).read_bytes() == b"odd\n"


def test_restore_of_a_part_becomes_the_target(filled: Filled, tmp_path: Path) -> None:
    target = tmp_path / "back"
    result = filled.snapstore.ok("restore", f"latest:{filled.source}", "--target", target)
    assert content(target) == content(filled.source)
    assert result.text.startswith(f"restored {filled.ids[1][:8]} to {target}: ")
    filled.snapstore.ok("restore", f"latest:{filled.source}", "sub/deep", "-t", tmp_path / "two")
    assert [str(path.relative_to(tmp_path / "two")) for path in sorted((tmp_path / "two").rglob("*"))] == [
        "sub",
        "sub/deep",
        "sub/deep/c",
    ]
    filled.snapstore.ok("restore", "first", filled.source / "gone.txt", "-t", tmp_path / "three", "--numeric-owner")
    assert (tmp_path / "three" / str(filled.source)[1:] / "gone.txt").read_bytes() == b"gone\n"


def test_restore_into_what_is_not_empty_is_refused(filled: Filled, tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"mine")
    for options in ([], ["--dry-run"]):
        result = filled.snapstore("restore", f"latest:{filled.source}", "--target", tmp_path, *options)
        assert (result.code, result.err.count(b"\n")) == (1, 1)
        assert "--overwrite" in result.errors
    assert os.listdir(tmp_path) == ["mine"]


@pytest.mark.parametrize(("policy", "kept"), [("never", True), ("changed", False), ("always", False)])
def test_overwrite_policies(filled: Filled, tmp_path: Path, policy: str, kept: bool) -> None:  # noqa: FBT001
    (tmp_path / "a.txt").write_bytes(b"mine")
    filled.snapstore("restore", f"second:{filled.source}", "--target", tmp_path, "--overwrite", policy)
    assert (tmp_path / "a.txt").read_bytes() == (b"mine" if kept else b"second, longer\n")
    assert (tmp_path / "new.txt").read_bytes() == b"new\n"


def test_a_dry_restore_tells_and_does_nothing(filled: Filled, tmp_path: Path, documented: Documented) -> None:
    (tmp_path / "a.txt").write_bytes(b"mine")
    (tmp_path / "extra").touch()
    options = ["--target", str(tmp_path), "--overwrite", "always", "--delete", "--dry-run"]
    *steps, summary = filled.snapstore.ok("restore", f"second:{filled.source}", *options, "--json").messages
    for each in [*steps, summary]:
        documented("restore", each)
    actions = {each["path"]: each["action"] for each in steps}
    assert (actions["a.txt"], actions["extra"], actions["new.txt"]) == ("replace", "delete", "create")
    assert summary["delete"] == 1
    assert sorted(os.listdir(tmp_path)) == ["a.txt", "extra"]
    filled.snapstore.ok("restore", f"second:{filled.source}", *options[:-1])
    assert not (tmp_path / "extra").exists()


def test_verify_finds_what_differs(filled: Filled, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"mine")
    options = ["--target", str(tmp_path), "--overwrite", "never", "--verify"]
    result = filled.snapstore("restore", f"second:{filled.source}", *options)
    assert result.code == 1
    assert "differs: a.txt: " in result.text
    messages = filled.snapstore("restore", f"second:{filled.source}", *options, "--json").messages
    assert "a.txt" in {each["path"] for each in messages if each["message_type"] == "difference"}


def test_restore_usage(filled: Filled, tmp_path: Path) -> None:
    assert filled.snapstore("restore", "latest").code == 2
    assert filled.snapstore("restore", "latest", "-t", tmp_path / "x", "--overwrite", "maybe").code == 2
    assert filled.snapstore("restore", "latest", "-t", tmp_path / "x", "--dry-run", "--verify").code == 2
    assert filled.snapstore("restore", "latest", "/not/there", "-t", tmp_path / "x").code == 1
    assert not (tmp_path / "x").exists()


def test_a_restore_leaves_the_store_alone(filled: Filled, tmp_path: Path) -> None:
    target = tmp_path / "target"
    store = target / "store"
    shutil.copytree(filled.store, store)
    snapstore = filled.snapstore.at(store)
    (target / "extra").write_bytes(b"x")
    before = {path: path.lstat().st_ino for path in store.rglob("*")}
    options = ["--target", str(target), "--overwrite", "always", "--delete"]
    source = f"latest:{filled.source}/sub"
    plan = snapstore("restore", source, *options, "--dry-run", "--json").messages[:-1]
    actions = {each["path"]: each["action"] for each in plan}
    assert (actions["store"], actions["extra"]) == ("keep", "delete")
    result = snapstore("restore", source, *options)
    assert (result.code, "the store" in result.errors) == (3, True)
    assert sorted(os.listdir(target)) == ["b.TXT", "deep", "store"]
    for inside in (store, store / "packs", store / "new"):
        refused = snapstore("restore", "latest", "--target", inside, "--overwrite", "always")
        assert (refused.code, "inside the store" in refused.errors) == (1, True)
    assert {path: path.lstat().st_ino for path in store.rglob("*")} == before
    snapstore.ok("check", "--read-data")
