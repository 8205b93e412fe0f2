"""All rules of a root, asked about one path at a time: the first rule that holds decides."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import xxhash

from snapstore.system.alternatives import alternative_rules
from snapstore.system.cruft import cruft_rules
from snapstore.system.markers import marked_rules
from snapstore.system.ownrules import holds, own_rules, swap_rules
from snapstore.system.packages import Warn
from snapstore.system.patterns import Pattern, Patterns, may_meet, parse_pattern
from snapstore.system.root import Root
from snapstore.system.rulechecks import CHECKS, Owns, passes
from snapstore.system.rules import EXCLUDED, GENERATED, Rule

_ANYWHERE = "/**/"


def _nobody(path: bytes) -> bool:  # noqa: ARG001 - what is left out is left out whoever owns it
    return False


class RuleBook:
    """Rules, compiled. `rules` are in the order in which they decide, each once.

    `digest` is 16 bytes over everything here that changes verdicts. Beyond it a verdict hangs only on what is owned and
    on the directory that the path is in: a check looks no further. Without a root, a rule with a check never holds.
    `refused` counts the rules of the distribution that were left out (`snapstore.system.cruft`).

    ValueError for a rule that is none: unknown class or check, a pattern that is no pattern.
    """

    def __init__(self, rules: Iterable[Rule], *, root: Root | None = None, refused: int = 0) -> None:
        self.rules = tuple(dict.fromkeys(rules))
        self.refused = refused
        for rule in self.rules:
            if rule.cls not in (EXCLUDED, GENERATED) or (rule.check and rule.check not in CHECKS):
                raise ValueError(f"the rule {rule.id} has a class or check that is not known")
        self._root = root
        self._excluding = _Part([rule for rule in self.rules if rule.cls == EXCLUDED])
        self._generating = _Part([rule for rule in self.rules if rule.cls == GENERATED])
        self._inheriting: dict[Rule, bool] = {}
        self._by_id = {rule.id: rule for rule in reversed(self.rules)}
        self.digest = _digest(self.rules)

    def by_id(self, identity: str) -> Rule | None:
        """The first rule of that id; None if there is none."""
        return self._by_id.get(identity)

    def excluded(self, path: bytes, *, directory: bool) -> Rule | None:
        """The rule that leaves a path out, be it owned or not; None if there is none.

        A directory that is left out is left out with everything below it.
        """
        numbers = self._excluding.patterns.find(path, directory=directory)
        return self._first(self._excluding, numbers, path, _nobody) if numbers else None

    def generated(self, path: bytes, *, directory: bool, owned: Owns) -> Rule | None:
        """The rule that says that no person made a path that nobody owns; None if there is none.

        `owned` says of a canonical path whether a package owns it.
        """
        numbers = self._generating.patterns.find(path, directory=directory)
        return self._first(self._generating, numbers, path, owned) if numbers else None

    def inherits(self, rule: Rule) -> bool:
        """Whether everything below a directory that `rule` was found for gets the same verdict by the same rule.

        So nothing below has to be asked about: of what is left out, always; otherwise if the pattern goes on for ever,
        nothing else has to be true, and no rule that comes before it can match anything there.
        """
        known = self._inheriting.get(rule)
        if known is None:
            known = self._inheriting[rule] = rule.cls == EXCLUDED or self._covers(rule)
        return known

    def _first(self, part: _Part, numbers: tuple[int, ...], path: bytes, owned: Owns) -> Rule | None:
        for number in numbers:
            rule = part.rules[number]
            if not rule.check:
                return rule
            if self._root is not None and passes(rule.check, self._root, path, detail=rule.detail, owned=owned):
                return rule
        return None

    def _covers(self, rule: Rule) -> bool:
        pattern = parse_pattern(rule.pattern)
        if not pattern.below or rule.check:
            return False
        earlier = self._generating.parsed[: self._generating.rules.index(rule)]
        return not any(may_meet(pattern.components, each.components) for each in [*earlier, *self._excluding.parsed])


class _Part:
    """The rules of one class, in order."""

    def __init__(self, rules: list[Rule]) -> None:
        self.rules = rules
        self.parsed: list[Pattern] = [parse_pattern(rule.pattern) for rule in rules]
        self.patterns = Patterns(self.parsed)


def _digest(rules: Iterable[Rule]) -> bytes:
    state = xxhash.xxh3_128(b"rules 1\0")
    for rule in rules:
        for text in (rule.id, rule.cls, rule.pattern, str(int(rule.omit)), rule.check, rule.detail):
            raw = text.encode("utf-8", "surrogateescape")
            state.update(len(raw).to_bytes(8, "little"))
            state.update(raw)
    return state.digest()


def load_rules(root: Root, packages: Collection[str], warn: Warn) -> RuleBook:
    """The rules that hold in a root with these packages installed, by their names alone.

    In this order: our own, swap files that fstab(5) names, links of update-alternatives(1), what markers speak for,
    cruft's, and at last those of ours that may match anywhere. The book looks at the root for as long as it is asked.
    A file of the root that cannot be read or makes no sense is a warning, and what it would have explained is not.
    """
    own = [rule for rule in own_rules() if holds(rule, packages)]
    cruft = cruft_rules(root, packages, warn)
    rules = [rule for rule in own if not rule.pattern.startswith(_ANYWHERE)]
    rules += swap_rules(root, warn)
    rules += alternative_rules(root, warn)
    rules += marked_rules(root, warn)
    rules += cruft.rules
    rules += [rule for rule in own if rule.pattern.startswith(_ANYWHERE)]
    return RuleBook(rules, root=root, refused=cruft.refused)
