"""Which kernel one gets, and that both speak of the same records."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from snapstore import kernel
from snapstore.errors import KernelUnavailableError
from snapstore.kernel import choice, records

HEADER = Path(records.__file__).with_name("native.h")


def test_the_default_is_the_compiled_kernel() -> None:
    assert kernel.NAME == "native"
    assert kernel.load().NAME == "native"
    assert kernel.cut_points is kernel.load("native").cut_points


@pytest.mark.parametrize("name", ["native", "reference"])
def test_a_kernel_by_name_is_that_kernel(name: str) -> None:
    assert kernel.load(name).NAME.startswith(name)


def test_a_name_nobody_knows_is_an_error() -> None:
    with pytest.raises(KernelUnavailableError, match="fortran"):
        kernel.load("fortran")


def test_without_the_extension_the_default_is_the_reference_and_native_by_name_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    missing = "snapstore.kernel._nothing"
    monkeypatch.setitem(choice.MODULES, "native", missing)
    assert choice.load().NAME == "reference"
    with pytest.raises(KernelUnavailableError, match="gcc"):
        choice.load("native")


def test_a_broken_extension_does_not_go_slow_unnoticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "broken_extension.py").write_text("raise ImportError('undefined symbol')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(choice.MODULES, "native", "broken_extension")
    with pytest.raises(ImportError, match="undefined symbol"):
        choice.load()
    with pytest.raises(KernelUnavailableError, match="undefined symbol"):
        choice.load("native")


def test_the_default_kernel_does_not_load_the_reference() -> None:
    code = "import sys, snapstore.kernel; print('snapstore.kernel.reference' in sys.modules, 'ctypes' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_record_sizes_are_those_of_the_header() -> None:
    sizes = dict(re.findall(r"#define (\w+)_SIZE (\d+)", HEADER.read_text()))
    assert {name: int(sizes[name]) for name in ("ENTRY", "RESULT", "WRITE", "SEGMENT", "WRITTEN")} == {
        "ENTRY": records.ENTRY.size,
        "RESULT": records.RESULT.size,
        "WRITE": records.WRITE.size,
        "SEGMENT": records.SEGMENT.size,
        "WRITTEN": records.WRITTEN.size,
    }
    assert f"#define SPARSE_CHECK_SIZE {records.SPARSE_CHECK_SIZE}\n" in HEADER.read_text()


def test_codes_are_those_of_the_header() -> None:
    text = HEADER.read_text()
    statuses = {name: int(value) for name, value in re.findall(r"STATUS_(\w+) = (\d)", text)}
    steps = {name: int(value) for name, value in re.findall(r"STEP_(\w+) = (\d)", text)}
    assert statuses == {status.name: status.value for status in records.Status}
    assert steps == {step.name: step.value for step in records.Step}


def test_both_keep_the_same_inode_flags() -> None:
    native = importlib.import_module("snapstore.kernel._native")
    assert native.CHATTR_FLAGS == records.CHATTR_FLAGS
