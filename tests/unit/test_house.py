"""House rules that no other tool checks."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
ROOMS = ("snapstore", "bench", "tests")
LINE_LIMIT = 500
SOURCES = (".py", ".pyi", ".c", ".h", ".sh", ".rng")
# Put together here, so that this file does not hold them itself.
MARKERS = re.compile(rf"\b({'|'.join(a + b for a, b in (('TO', 'DO'), ('FIX', 'ME'), ('XX', 'X')))})\b")


def sources() -> Iterator[Path]:
    for room in ROOMS:
        yield from (path for path in sorted((REPOSITORY / room).rglob("*")) if path.suffix in SOURCES)


def modules() -> list[Path]:
    return [path for path in sources() if path.suffix == ".py"]


def shown(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def test_there_is_something_to_look_at() -> None:
    found = {shown(path) for path in sources()}
    assert {"snapstore/errors.py", "bench/demo.py", "tests/unit/test_house.py", "snapstore/kernel/chunk.c"} <= found


def test_files_stay_short() -> None:
    lengths = {shown(path): len(path.read_text(encoding="utf-8").splitlines()) for path in sources()}
    assert {name: length for name, length in lengths.items() if length > LINE_LIMIT} == {}


def test_nothing_is_put_off() -> None:
    texts = [*sources(), *REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md"), REPOSITORY / "Makefile"]
    marked = [
        f"{shown(path)}:{number}"
        for path in texts
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if MARKERS.search(line)
    ]
    assert marked == []


@pytest.mark.parametrize("path", modules(), ids=shown)
def test_every_except_says_what_it_catches(path: Path) -> None:
    handlers = [node for node in ast.walk(ast.parse(path.read_bytes())) if isinstance(node, ast.ExceptHandler)]
    assert [node.lineno for node in handlers if node.type is None] == []
