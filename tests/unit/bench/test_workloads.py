"""The workloads run real tools on small corpora; a tool that fails is recorded and the others go on."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, ClassVar

import pytest

from bench import machine, results, rivals, run, workloads
from bench.rivals import Copy, Find, Job, Place, Role, Tool
from bench.workloads import Bench

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.measure import Command


def bench_in(directory: Path, tools: Sequence[Tool], *, rounds: int = 1, tree: Path | None = None) -> Bench:
    source = tree or directory / "source"
    if tree is None:
        for number in range(50):
            place = source / f"d{number % 5}"
            place.mkdir(parents=True, exist_ok=True)
            (place / f"f{number}").write_bytes(b"%d line of text\n" % number * number)
    return Bench(
        work=os.fsencode(directory / "work"),
        tools=tools,
        rounds=rounds,
        scale=0.0005,
        timeout=60,
        report=lambda _: None,
        say=lambda _: None,
        tree=os.fsencode(source),
        settle=0.0,
    )


def tools_here() -> list[Tool]:
    """Everything installed, without this project's command where it has not been."""
    found, _ = rivals.installed(rivals_dir=rivals.default_directory())
    return [tool for tool in found if os.access(tool.program, os.X_OK)]


class Losing(Tool):
    """A tool that copies into its repository and restores nothing."""

    name, binary, role, lasting = "losing", "cp", Role.PEER, True
    jobs: ClassVar[frozenset[Job]] = frozenset({Job.TREE, Job.RESTORE})

    def _snapshot(self, place: Place, source: bytes, *, number: int) -> Command:
        del number
        return self._command(place, b"-a", source, place.repo)

    def _restore(self, place: Place, source: bytes, target: bytes, *, number: int) -> Command:
        del source, number
        return self._command(place, b"-a", os.path.join(place.state, b"."), target)


@pytest.mark.slow
def test_every_installed_tool_does_all_its_jobs(tmp_path: Path) -> None:
    tools = tools_here()
    bench = bench_in(tmp_path, tools)
    for workload in workloads.chosen(None):
        workload.go(bench)
    assert [(one.workload, one.tool, one.failure) for one in bench.runs if one.failure] == []
    done = {(one.workload, one.tool) for one in bench.runs}
    expected = {"first": Job.TREE, "unchanged": Job.AGAIN, "restore": Job.RESTORE, "small-change": Job.AGAIN}
    for workload_name, job in expected.items():
        assert {tool for name, tool in done if name == workload_name} == {
            tool.name for tool in tools if job in tool.jobs
        }
    for one in bench.runs:
        assert one.wall > 0
        assert one.peak > 1 << 20
        if one.workload == "first":
            assert one.stored
        if one.workload == "dump-second-version":
            assert one.added


def test_runs_are_interleaved(tmp_path: Path) -> None:
    tools, _ = rivals.installed(["cp -a", "find"], rivals_dir=b"/nowhere")
    bench = bench_in(tmp_path, [tools[0], Copy(b"/bin/cp")], rounds=2)
    {workload.name: workload.go for workload in workloads.WORKLOADS}["restore"](bench)
    assert [one.round for one in bench.runs] == [1, 1, 2, 2]


def test_tool_that_is_not_there_is_recorded_and_the_others_go_on(tmp_path: Path) -> None:
    bench = bench_in(tmp_path, [rivals.Snapstore(b"/nowhere/snapstore"), Find(b"/usr/bin/find"), Copy(b"/bin/cp")])
    for name in ("first", "unchanged", "restore", "help-startup", "large-first", "dump-second-version"):
        next(workload for workload in workloads.WORKLOADS if workload.name == name).go(bench)
    failures = {one.workload: one.failure for one in bench.runs if one.tool == "snapstore"}
    assert len(failures) == 6
    assert all("could not be started: snapstore: No such file" in failure for failure in failures.values())
    assert [one.tool for one in bench.runs if not one.failure] == ["cp -a", "find", "cp -a"]


def test_failed_tool_takes_no_further_part(tmp_path: Path) -> None:
    bench = bench_in(tmp_path, [Copy(b"/bin/false"), Copy(b"/bin/cp")], rounds=3)
    next(workload for workload in workloads.WORKLOADS if workload.name == "restore").go(bench)
    assert [bool(one.failure) for one in bench.runs] == [True]


def test_restore_that_loses_files_is_a_failure(tmp_path: Path) -> None:
    bench = bench_in(tmp_path, [Losing(b"/bin/cp")])
    for name in ("first", "restore"):
        next(workload for workload in workloads.WORKLOADS if workload.name == name).go(bench)
    first, restored = bench.runs
    assert first.failure == ""
    assert restored.failure.startswith("restored 0 files, 0 bytes instead of 50 files")


def test_tools_write_only_below_the_work_directory(tmp_path: Path) -> None:
    bench = bench_in(tmp_path, tools_here())
    for tool in bench.tools:
        place = bench.place(tool)
        environment = tool.environment(place)
        for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"):
            assert os.fsencode(environment[name]).startswith(bench.work)


def test_chosen_workloads_keep_their_order_and_know_groups() -> None:
    assert [workload.name for workload in workloads.chosen(["restore", "first"])] == ["first", "restore"]
    assert [workload.name for workload in workloads.chosen(["million"])] == [
        *("million-first", "million-unchanged", "million-small-change")
    ]
    assert len(workloads.chosen(["all"])) == len(workloads.WORKLOADS)
    assert all(workload.usual for workload in workloads.chosen(None))
    with pytest.raises(ValueError, match="no workload named nonsense"):
        workloads.chosen(["nonsense"])


def test_rivals_directory_comes_before_path(tmp_path: Path) -> None:
    program = tmp_path / "newer" / "bin" / "find"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\necho find of the future\n")
    program.chmod(0o755)
    found, absent = rivals.installed(["find"], rivals_dir=os.fsencode(tmp_path))
    assert absent == []
    assert found[0].version() == "find of the future"


def test_tools_that_are_absent_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    found, absent = rivals.installed(["restic", "find"], rivals_dir=b"/nowhere")
    assert found == []
    assert absent == ["restic", "find"]
    with pytest.raises(ValueError, match="no tool named nonsense"):
        rivals.installed(["nonsense"], rivals_dir=b"/nowhere")


def test_command_line_saves_what_it_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(40):
        (tmp_path / "tree").mkdir(exist_ok=True)
        (tmp_path / "tree" / f"f{number}").write_bytes(b"x" * number)
    out = tmp_path / "out" / "results.json"
    arguments = ["--workload", "restore", "--tools", "cp -a", "--runs", "2", "--scale", "0.0004", "--json", str(out)]
    arguments += ["--tree", str(tmp_path / "tree"), "--work", str(tmp_path / "work")]
    assert run.main(arguments) == 0
    saved = results.load(str(out))
    assert [(one.tool, one.round, one.failure) for one in saved.runs] == [("cp -a", 1, ""), ("cp -a", 2, "")]
    assert saved.corpora[0].files == 40
    assert saved.machine["file system"] == machine.file_system(os.fsencode(tmp_path))
    assert "too small for a verdict" in capsys.readouterr().out
    assert not (tmp_path / "work" / "places").exists()

    arguments[1:4] = ["help-startup", "--tools", "snapstore"]
    code = run.main([*arguments, "--keep"])
    joined = results.load(str(out))
    assert joined.workloads() == ["restore", "help-startup"]
    assert code == int(any(one.failure for one in joined.runs))


@pytest.mark.parametrize("arguments", [["--tools", "nonsense"], ["--workload", "nonsense"], ["--runs", "0"]])
def test_wrong_arguments_are_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        run.main(arguments)
    assert stopped.value.code == 2


def test_needed_room_grows_with_scale_and_tools() -> None:
    usual = workloads.chosen(None)
    assert run.needed(usual, tools=8, scale=1) > run.needed(usual, tools=2, scale=1) > 5_000_000_000
    assert run.needed(usual, tools=8, scale=0.01) < 300_000_000
