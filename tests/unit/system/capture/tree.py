"""Small roots for the tests of this folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from snapstore.system.packages import Warn
from snapstore.system.root import Root

Captured = TypeVar("Captured")


class Warnings(list[tuple[bytes, str]]):
    """What was warned of; to be given as `warn`."""

    def __call__(self, path: bytes, reason: str) -> None:
        assert "\n" not in reason
        self.append((path, reason))

    @property
    def text(self) -> str:
        return "\n".join(f"{os.fsdecode(path)}: {reason}" for path, reason in self)


def build(top: Path, files: Mapping[str, str | bytes | None]) -> None:
    """Nothing; the files are there. A text that begins with `-> ` is a link, None a directory."""
    for path, content in files.items():
        place = top / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            place.mkdir(exist_ok=True)
        elif isinstance(content, str) and content.startswith("-> "):
            place.symlink_to(content[3:])
        else:
            place.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def opened(top: Path, files: Mapping[str, str | bytes | None]) -> Iterator[Root]:
    """A root with those files."""
    build(top, files)
    with Root(os.fsencode(top)) as root:
        yield root


def captured(
    top: Path, files: Mapping[str, str | bytes | None], capture: Callable[[Root, Warn], Captured]
) -> tuple[Captured, Warnings]:
    """What a capture finds in a root with those files, and what it warns of."""
    warned = Warnings()
    with opened(top, files) as root:
        return capture(root, warned), warned
