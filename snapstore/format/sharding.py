"""Cutting long manifests by content, so that one new element changes one shard (docs/format.md, 10.1 and 10.2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from snapstore.model import ChunkId


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run of elements: the key of its first, how many leaves it stands for, and the id of its document."""

    key: bytes
    leaves: int
    weight: int
    id: ChunkId


class Rule(Protocol):
    """How one kind of manifest is cut and written."""

    def cut_after(self, key: bytes, *, size: int, count: int) -> bool:
        """Whether a run of `size` bytes and `count` elements ends with the element of that key."""

    def document(self, elements: list[bytes]) -> bytes:
        """The document that holds these elements."""

    def key(self, run: Run) -> bytes:
        """What `cut_after` is asked about where the element stands for a run."""

    def shard(self, run: Run) -> bytes:
        """The element that stands for a run in the list of runs."""


class ShardedWriter:
    """Takes elements in order and puts documents as they fill; holds one run and the list of runs, no more."""

    def __init__(self, rule: Rule, put: Callable[[bytes], ChunkId]) -> None:
        self._rule = rule
        self._put = put
        self._elements: list[bytes] = []
        self._size = 0
        self._leaves = 0
        self._weight = 0
        self._first = b""
        self._runs: list[Run] = []

    def add(self, key: bytes, element: bytes, *, leaves: int = 1, weight: int = 0) -> None:
        """Appends one element; `weight` is summed up over a run (bytes of a file, for a chunk list)."""
        if not self._elements:
            self._first = key
        self._elements.append(element)
        self._size += len(element)
        self._leaves += leaves
        self._weight += weight
        if self._rule.cut_after(key, size=self._size, count=len(self._elements)):
            self._close()

    def _close(self) -> None:
        chunk = self._put(self._rule.document(self._elements))
        self._runs.append(Run(self._first, self._leaves, self._weight, chunk))
        self._elements = []
        self._size = self._leaves = self._weight = 0

    def finish(self) -> ChunkId:
        """The id of the document that stands for all."""
        if self._elements or not self._runs:
            self._close()
        if len(self._runs) == 1:
            return self._runs[0].id
        upper = ShardedWriter(self._rule, self._put)
        for run in self._runs:
            upper.add(self._rule.key(run), self._rule.shard(run), leaves=run.leaves, weight=run.weight)
        return upper.finish()
