"""Rules: which paths are left out, and which are made by packages at run time rather than by people.

Rules are data with a source, and so is what the distribution itself knows (the rule sets of cruft(8) and cruft-ng,
where they are installed in the root).
"""

from __future__ import annotations

from dataclasses import dataclass

EXCLUDED = "excluded"
GENERATED = "generated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule.

    `id` names it in records; several patterns that mean the same share one. `cls` is "generated" or "excluded".

    `pattern` is an absolute glob, matched component by component: `*`, `?` (one byte) and `[…]` never match `/`; the
    component `**` stands for any number of components, none too; `/**` at the end for everything below the directory
    but not the directory itself; a `/` at the end makes it a pattern for directories only. What is not UTF-8 stands in
    it as surrogates, and `[*]` is a `*` (`snapstore.system.patterns.literal_pattern`).

    `reason` says why in a few words, `source` where the rule comes from. `omit`: what it matches is not stored, because
    installing the packages again makes it anew. `package`: it holds only where that package is installed; several
    names or globs joined by `|` ask for one of them.

    `check` names something that has to be true of a path beyond its name, with `detail` as the check needs it. All are
    in `snapstore.system.rulechecks`; where the check cannot be made, the rule does not hold.
    """

    id: str
    cls: str
    pattern: str
    reason: str
    source: str
    omit: bool = False
    package: str = ""
    check: str = ""
    detail: str = ""
