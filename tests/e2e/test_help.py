"""What the program says about itself: help, documentation, versions, completion, manual pages; and what it costs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from snapstore.cli.application import program
from snapstore.cli.parameters import GlobalOption
from snapstore.version import VERSION
from tests.e2e.conftest import REPOSITORY, Filled, Snapstore

DOCUMENT = (REPOSITORY / "docs" / "cli.md").read_text()
EXIT_CODES = (0, 1, 2, 3, 10, 12, 130, 141)


def section(name: str) -> str:
    match = re.search(rf"^### {name}\n(.*?)(?=^##)", DOCUMENT, re.MULTILINE | re.DOTALL)
    assert match, f"docs/cli.md has no section {name}"
    return match[1]


def options(command: click.Command) -> list[click.Option]:
    return [each for each in command.params if isinstance(each, click.Option)]


@pytest.mark.parametrize("name", list(program.commands))
def test_every_command_and_option_is_documented(name: str) -> None:
    text = section(name)
    assert f"snapstore {name}" in text
    for option in options(program.commands[name]):
        if not isinstance(option, GlobalOption):
            assert all(re.search(rf"`{each}\b", text) or f"[{each}" in text for each in option.opts), option.opts


def test_every_documented_command_exists() -> None:
    commands = re.search(r"^## Commands\n(.*?)^## ", DOCUMENT, re.MULTILINE | re.DOTALL)
    assert commands
    assert set(re.findall(r"^### (\w+)$", commands[1], re.MULTILINE)) == set(program.commands)


def test_global_options_and_exit_codes_are_documented(snapstore: Snapstore) -> None:
    for option in options(program):
        assert all(f"`{each}" in DOCUMENT for each in option.opts)
    for code in EXIT_CODES:
        assert f"| {code} |" in DOCUMENT
        assert re.search(rf"\b{code} ", snapstore.ok("--help").text)


@pytest.mark.parametrize("name", [*program.commands, "list"])
def test_help_of_each_command(snapstore: Snapstore, name: str) -> None:
    text = snapstore.ok(name, "--help").text
    assert text == snapstore.ok(name, "-h").text
    assert "Examples:" in text
    assert "Global options:" in text
    for option in options(program.get_command(click.Context(program), name) or program):
        assert option.help, option.opts
        assert max(option.opts, key=len) in text
    assert not list(snapstore.home.iterdir())


def test_help_of_the_program_names_every_command(snapstore: Snapstore) -> None:
    text = snapstore.ok("--help").text
    for name, command in program.commands.items():
        (line,) = re.findall(rf"^  {name} +(.*)$", text, re.MULTILINE)
        assert line.endswith("."), line
        assert not line.endswith("..."), line
        assert command.help


@pytest.mark.parametrize("arguments", [["nonsense"], ["--nonsense"], ["ls"], ["find"], ["completion", "tcsh"]])
def test_what_is_not_known_is_wrong_usage(snapstore: Snapstore, arguments: list[str]) -> None:
    result = snapstore(*arguments)
    assert (result.code, result.out) == (2, b"")
    assert "Error: " in result.errors


def test_help_loads_nothing_that_it_does_not_need(snapstore: Snapstore) -> None:
    process = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "snapstore", "--help"],
        env=snapstore.env, capture_output=True, check=True, cwd=snapstore.home,
    )  # fmt: skip
    loaded = set(re.findall(r"\| +(\S+)$", process.stderr.decode(), re.MULTILINE))
    assert "snapstore.cli.application" in loaded
    heavy = {"lxml", "zstandard", "rich", "cryptography", "xxhash", "blake3", "pathspec", "platformdirs", "sqlite3"}
    assert not {name.partition(".")[0] for name in loaded} & heavy
    assert not {name for name in loaded if name.startswith(("snapstore.store", "snapstore.ops", "snapstore.kernel"))}


def test_version(snapstore: Snapstore, documented: Callable[[str, dict[str, Any]], None]) -> None:
    assert snapstore.ok("version").text == f"snapstore {VERSION}\n"
    verbose = snapstore.ok("version", "--verbose").text
    assert verbose.splitlines()[2] == "kernel    native"
    assert re.search(rf"^store +{snapstore.home}/data/snapstore/store$", verbose, re.MULTILINE)
    message = snapstore.ok("--json", "version").message
    documented("version", message)
    assert (message["version"], message["format"]) == (VERSION, 1)
    assert message["libraries"]["zstandard"] != "not installed"


def test_the_kernel_is_chosen_by_name(fresh: Snapstore, tmp_path: Path) -> None:
    reference = fresh.at(fresh.store, SNAPSTORE_KERNEL="reference")
    assert reference.ok("version", "--json").message["kernel"] == "reference"
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_bytes(os.urandom(300_000))
    slow = reference.ok("snapshot", tmp_path / "tree", "--json").messages[-1]
    again = fresh.ok("snapshot", tmp_path / "tree", "--json", "--tag", "other").messages[-1]
    assert (slow["new_data"], again["new_data"]) == (300_000, 0)
    wrong = fresh.at(fresh.store, SNAPSTORE_KERNEL="quantum")("snapshots")
    assert (wrong.code, wrong.errors.count("\n")) == (1, 1)
    assert "quantum" in wrong.errors


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(snapstore: Snapstore, shell: str) -> None:
    script = snapstore.ok("completion", shell).text
    assert f"_SNAPSTORE_COMPLETE={shell}_complete" in script


def completed(command: Snapstore, words: str) -> set[str]:
    number = words.count(" ")
    result = command.at(
        command.store, _SNAPSTORE_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(number)
    ).ok()
    assert result.err == b""
    return {line.partition(",")[2] for line in result.lines if line}


def test_completion_knows_the_snapshots(filled: Filled) -> None:
    assert completed(filled.snapstore, "snapstore ls ") >= {"first", "second", "latest", *(i[:8] for i in filled.ids)}
    assert completed(filled.snapstore, "snapstore diff first sec") == {"second"}
    assert completed(filled.snapstore, "snapstore forget first la") == {"latest"}
    named = filled.snapstore.at(None)
    assert "second" in completed(named, f"snapstore -s {filled.store} cat s")
    assert "restore" in completed(named, "snapstore re")
    assert "--overwrite" in completed(named, "snapstore restore --o")


def test_completion_without_a_store_is_silent(snapstore: Snapstore, tmp_path: Path) -> None:
    assert completed(snapstore, "snapstore ls ") == set()
    assert completed(snapstore.at(tmp_path), "snapstore ls ") == set()


def test_manual_pages(snapstore: Snapstore, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "snapstore.cli.manpages", str(tmp_path / "man")]
    # click-man has its own opinion about warnings.
    subprocess.run(command, env={**snapstore.env, "PYTHONWARNINGS": "default"}, check=True, cwd=snapstore.home)
    pages = {path.name: path.read_text() for path in (tmp_path / "man").iterdir()}
    assert set(pages) == {"snapstore.1", *(f"snapstore-{name}.1" for name in program.commands)}
    assert not any("\b" in text for text in pages.values())
    assert "numeric" in pages["snapstore-restore.1"]


def test_the_reader_of_help_may_leave(snapstore: Snapstore) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    result = snapstore("--help", stdout=writing)
    os.close(writing)
    assert (result.code, result.err) == (141, b"")
