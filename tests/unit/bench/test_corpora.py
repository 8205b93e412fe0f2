"""Corpora are reproducible, kept, and put back after edits."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest

from bench import corpora, trees
from bench.words import Words

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bench.corpora import Corpus


def digest(top: bytes) -> str:
    """A hash of all names, contents, link targets and modification times below `top`."""
    total = hashlib.blake2b()
    for path, status in trees.files_of(top):
        linked = os.path.islink(path)
        content = os.readlink(path) if linked else open_and_read(path)
        total.update(b"%s\0%d\0%s\0" % (os.path.relpath(path, top), status.st_mtime_ns, content))
    return total.hexdigest()


def open_and_read(path: bytes) -> bytes:
    with open(path, "rb") as stream:
        return stream.read()


def contents(top: bytes) -> str:
    """The same without times."""
    total = hashlib.blake2b()
    for path, _ in trees.files_of(top):
        total.update(os.path.relpath(path, top) + b"\0" + open_and_read(path))
    return total.hexdigest()


def small_tree(top: Path) -> bytes:
    """A tree with nested directories, a symlink and a hard link."""
    for number in range(60):
        directory = top / f"d{number % 7}" / f"e{number % 3}"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"f{number}.txt").write_bytes(b"line\n" * number)
    (top / "link").symlink_to("d0/e0/f0.txt")
    (top / "dirlink").symlink_to("d0")
    os.link(top / "d1" / "e1" / "f1.txt", top / "hard")
    os.utime(top / "d1", ns=(1, 1_000_000_123))
    return os.fsencode(top)


@pytest.fixture
def source(tmp_path: Path) -> bytes:
    top = tmp_path / "source"
    top.mkdir()
    return small_tree(top)


BUILDERS: list[Callable[[bytes], Corpus]] = [
    lambda base: corpora.one_huge(base, scale=0.0001),
    lambda base: corpora.dump_with_edits(base, scale=0.001),
    lambda base: corpora.tiny_files(base, files=250),
]


@pytest.mark.parametrize("build", BUILDERS)
def test_synthetic_corpora_are_the_same_every_time(tmp_path: Path, build: Callable[[bytes], Corpus]) -> None:
    first, second = (build(os.fsencode(tmp_path / name)) for name in ("a", "b"))
    assert contents(first.path) == contents(second.path)
    assert (first.files, first.size) == trees.count(first.path)


def test_synthetic_tree_is_made_where_there_is_no_real_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpora, "_real_tree", lambda _: None)
    first, second = (corpora.many_small(os.fsencode(tmp_path / name), scale=0.003) for name in ("a", "b"))
    assert first.files == 300
    assert "synthetic" in first.source
    assert contents(first.path) == contents(second.path)


def test_real_tree_is_copied_with_links_and_times(tmp_path: Path, source: bytes) -> None:
    corpus = corpora.many_small(os.fsencode(tmp_path / "base"), scale=1, tree=source)
    assert digest(corpus.path) == digest(source)
    assert corpus.files == 63
    assert os.fsdecode(source) in corpus.source
    same = [os.stat(os.path.join(corpus.path, name)).st_ino for name in (b"hard", b"d1/e1/f1.txt")]
    assert same[0] == same[1]
    assert os.stat(os.path.join(corpus.path, b"d1")).st_mtime_ns == 1_000_000_123


def test_scale_bounds_a_real_tree(tmp_path: Path, source: bytes) -> None:
    assert corpora.many_small(os.fsencode(tmp_path / "base"), scale=0.0004, tree=source).files == 40


def test_finished_corpus_is_kept_and_an_unfinished_one_made_again(tmp_path: Path) -> None:
    base = os.fsencode(tmp_path)
    corpus = corpora.tiny_files(base, files=100)
    witness = os.path.join(corpus.path, b"witness")
    os.close(os.open(witness, os.O_CREAT))
    assert corpora.tiny_files(base, files=100) == corpus
    assert os.path.exists(witness)
    os.unlink(corpus.path + b".json")
    assert corpora.tiny_files(base, files=100) == corpus
    assert not os.path.exists(witness)


def test_other_recipe_makes_the_corpus_again(tmp_path: Path) -> None:
    base = os.fsencode(tmp_path)
    assert corpora.one_huge(base, scale=0.0004).size == 4_000_000
    assert corpora.one_huge(base, scale=0.0005).size == 5_000_000


def test_large_file_is_a_tar_stream_of_real_files(tmp_path: Path) -> None:
    corpus = corpora.one_large(os.fsencode(tmp_path), scale=0.0001)
    assert corpus.files == 1
    assert corpus.size == os.path.getsize(corpus.path) >= 2_000_000
    with tarfile.open(os.fsdecode(corpus.path)) as archive:
        members = archive.getmembers()
    assert members
    assert all(member.isreg() and member.name.startswith("usr/lib/") for member in members)
    listed = subprocess.run(["tar", "-tf", corpus.path], check=True, capture_output=True, text=True)
    assert listed.stderr == ""
    assert len(listed.stdout.splitlines()) == len(members)


def test_large_file_has_the_same_bytes_every_time(tmp_path: Path) -> None:
    first, second = (corpora.one_large(os.fsencode(tmp_path / name), scale=0.0001) for name in ("a", "b"))
    assert first.source == second.source
    assert open_and_read(first.path) == open_and_read(second.path)


def test_dump_versions_differ_by_the_edits_that_are_named(tmp_path: Path) -> None:
    corpus = corpora.dump_with_edits(os.fsencode(tmp_path), scale=0.005)
    first, second = (open_and_read(os.path.join(corpus.path, name)).splitlines() for name in (b"v1.sql", b"v2.sql"))
    rows = [dict(line.split(b"\t", 1) for line in version[1:-1]) for version in (first, second)]
    before, after = rows
    assert len(before) == 3200
    assert len(before.keys() - after.keys()) == 2
    assert len(after.keys() - before.keys()) == 10
    assert sum(before[key] != after[key] for key in before.keys() & after.keys()) == 6


def test_tiny_files_have_at_most_200_bytes_and_a_hundred_neighbours(tmp_path: Path) -> None:
    corpus = corpora.tiny_files(os.fsencode(tmp_path), files=350)
    sizes = [status.st_size for _, status in trees.files_of(corpus.path)]
    assert len(sizes) == 350
    assert max(sizes) <= 200
    assert min(sizes) < 20
    assert max(len(names) for _, _, names in os.walk(corpus.path)) == 100


def test_edits_change_ten_files_and_are_undone(tmp_path: Path, source: bytes) -> None:
    corpus = corpora.many_small(os.fsencode(tmp_path / "base"), scale=1, tree=source)
    before = {path: status.st_size for path, status in trees.files_of(corpus.path)}
    state = digest(corpus.path)
    editor = corpora.Editor(corpus, rounds=2)
    assert editor.edit(1) == 10
    changed = [path for path, status in trees.files_of(corpus.path) if status.st_size != before[path]]
    assert len(changed) == 10
    assert editor.edit(2) == 10
    editor.undo()
    assert digest(corpus.path) == state
    assert corpora.many_small(os.fsencode(tmp_path / "base"), scale=1, tree=source) == corpus


def test_corpus_left_edited_by_a_killed_run_is_made_again(tmp_path: Path, source: bytes) -> None:
    base = os.fsencode(tmp_path / "base")
    corpus = corpora.many_small(base, scale=1, tree=source)
    state = digest(corpus.path)
    corpora.Editor(corpus, rounds=1).edit(1)
    assert digest(corpus.path) != state
    assert digest(corpora.many_small(base, scale=1, tree=source).path) == state


def test_text_has_exactly_the_size_asked_for() -> None:
    words = Words(1, vocabulary=50, lines=50)
    for size in (0, 1, 100, 5000):
        assert len(words.text(random.Random(1), size=size)) == size
