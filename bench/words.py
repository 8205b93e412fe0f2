"""Source-like text and table rows from a seeded word model: the same bytes for the same seed, everywhere."""

from __future__ import annotations

import itertools
import random

_ONSETS = ["b", "c", "d", "f", "g", "h", "k", "l", "m", "n", "p", "r", "s", "t", "v", "w", "st", "tr", "pl", "ch"]
_VOWELS = ["a", "e", "i", "o", "u", "ai", "ou"]
_CODAS = ("", "", "n", "r", "s", "t", "l", "x")
_SHAPES = (
    "    {0} = {1}.{2}({3}, {4})",
    "    if {0} is None or {1}.{2}:",
    "        return {0}[{1}] + {2}",
    "def {0}_{1}({2}, {3}):",
    "    # {0} {1} {2} {3} {4}",
    "class {0}({1}):",
    "    for {0} in {1}.{2}():",
    "        raise {0}Error('{1} {2} {3}')",
    "",
)


class Words:
    """A vocabulary with Zipf-like frequencies and lines of text made of it."""

    def __init__(self, seed: int, *, vocabulary: int = 4096, lines: int = 20_000) -> None:
        """Make `vocabulary` words and `lines` lines; equal arguments make equal ones."""
        chooser = random.Random(seed)
        self._words = [self._word(chooser) for _ in range(vocabulary)]
        self._weights = list(itertools.accumulate(1 / (rank + 3) for rank in range(vocabulary)))
        self._lines = [self._line(chooser) for _ in range(lines)]

    def phrase(self, chooser: random.Random, *, words: int) -> str:
        """`words` words with a space between them."""
        return " ".join(chooser.choices(self._words, cum_weights=self._weights, k=words))

    def text(self, chooser: random.Random, *, size: int) -> bytes:
        """Exactly `size` bytes of lines, every eighth of them found nowhere else."""
        parts: list[str] = []
        length = 0
        while length < size:
            block = chooser.choices(self._lines, k=7)
            block.append(f"    token_{chooser.getrandbits(40):x} = {chooser.getrandbits(30)}")
            parts += block
            length += sum(map(len, block)) + len(block)
        return ("\n".join(parts) + "\n").encode()[:size]

    def _line(self, chooser: random.Random) -> str:
        return chooser.choice(_SHAPES).format(*self.phrase(chooser, words=5).split())

    @staticmethod
    def _word(chooser: random.Random) -> str:
        syllables = chooser.choice((1, 2, 2, 3, 3, 4))
        return "".join(
            chooser.choice(_ONSETS) + chooser.choice(_VOWELS) + chooser.choice(_CODAS) for _ in range(syllables)
        )
