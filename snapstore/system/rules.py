"""Rules: which paths are left out, and which are made by packages at run time rather than by people.

Rules are data with a source, and so is what the distribution itself knows (the rule sets of cruft(8) and cruft-ng,
where they are installed in the root).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule.

    `id` names it in records, `cls` is "generated" or "excluded", `pattern` an absolute glob: `*` and `?` match anything
    but `/`, `**` matches `/` too, `/**` at the end everything below but not the directory itself.
    `reason` says why in a few words, `source` where the rule comes from. `omit`: what it matches is not stored, because
    installing the packages again makes it anew. `package`: it holds only where that package is installed.
    """

    id: str
    cls: str
    pattern: str
    reason: str
    source: str
    omit: bool = False
    package: str = ""
