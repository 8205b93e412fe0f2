"""What each tool finds of the seeded mutations, one at a time: `python -m bench.mutations` writes it into the figures.

Every mutation is made in a copy of its own. A tool has found it if it reports anything about any path of it that it did
not report before; snapstore has only if it reports every path of it as exactly what it is, and nothing else.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench import auditpage, trees
from snapstore.version import VERSION
from tests.system import othertools, pacmanroots, roots, rpmroots
from tests.system.dpkgmutations import dpkg_mutations, referenced_mutations
from tests.system.othertools import OtherTool, StuckError, compare
from tests.system.pacmanmutations import pacman_mutations, prepare_pacman_root
from tests.system.rpmmutations import prepare_rpm_root, rpm_mutations
from tests.system.seen import audit, raw_path, score

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.system.mutations import Mutation

OWN = "snapstore audit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One kind of root: versions of the tools by name; by mutation, what it is, and who reported it.

    `kinds` are "change", "rule" (rules account for it, and no list of changes has it) and "none" (it changes nothing).

    `stuck` names, by mutation, the tools that did not end. `beside` counts, by tool, what was reported that no mutation
    explains. `items` and `found` are paths: how many had to be reported as what they are, and how many were.
    """

    name: str
    versions: dict[str, str]
    kinds: dict[str, str]
    told: dict[str, list[str]]
    stuck: dict[str, list[str]]
    beside: dict[str, int]
    items: int
    found: int


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when snapstore found every mutation and nothing else, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m bench.mutations", description="compare tools on seeded mutations")
    parser.add_argument("--only", choices=tuple(_FAMILIES), help="one kind of root only")
    options = parser.parse_args(arguments)
    roots.install_tools("debsums", "rpm", "pacman-package-manager", "attr", "acl", "libcap2-bin")
    figures = auditpage.load()
    made = dict(figures.get("mutations", {}))
    good = True
    for name, build in _FAMILIES.items():
        if options.only in (None, name):
            work = tempfile.mkdtemp(prefix=b"snapstore-mutations-", dir=b"/var/tmp")
            try:
                family = build(work)
            finally:
                trees.remove(work)
            made[name] = asdict(family)
            good = good and family.found == family.items and family.beside[OWN] == 0
            figures["mutations"] = made
            auditpage.save(figures)
    return 0 if good else 1


def debian(work: bytes) -> Family:
    """Debian 12, in views of one root."""
    root = roots.finished(roots.BOOKWORM)
    return examine("debian", root, dpkg_mutations(root), othertools.DEBIAN, work=work, overlay=True)


def reference(work: bytes) -> Family:
    """Debian 12 with its package files at hand, and without, for what dpkg's database does not hold."""
    root = roots.finished(roots.BOOKWORM)
    home = os.path.join(work, b"bare-home")
    os.mkdir(home)

    def look(copy: bytes) -> dict[bytes, bytes]:
        rows = audit(copy, home).rows.values()
        return {raw_path(row): repr((row["class"], row["changes"])).encode() for row in rows}

    bare = OtherTool(name="without --reference", version=lambda: VERSION, look=look)
    archives = roots.archives_of(root)
    return examine("reference", root, referenced_mutations(), [bare], work=work, overlay=True, reference=archives)


def rpm(work: bytes) -> Family:
    """A root of rpm packages, in copies."""
    rpmroots.require_tools()
    root = os.fsencode(rpmroots.build_rpm_root(Path(os.fsdecode(work)) / "built").path)
    prepare_rpm_root(root)
    return examine("rpm", root, rpm_mutations(root), othertools.RPM, work=work, overlay=False)


def pacman(work: bytes) -> Family:
    """A root of pacman's packages, in copies."""
    pacmanroots.require_tools()
    root = pacmanroots.build_pacman_root(os.path.join(work, b"built")).path
    prepare_pacman_root(root)
    return examine("pacman", root, pacman_mutations(root), othertools.PACMAN, work=work, overlay=False)


def examine(
    name: str, root: bytes, mutations: Sequence[Mutation], tools: Sequence[OtherTool], *, work: bytes, overlay: bool,
    reference: bytes = b"",
) -> Family:  # fmt: skip
    """What each tool says of each mutation in a copy of its own, always at one place so that caches can be used."""
    home, place = os.path.join(work, b"home"), os.path.join(work, b"copy")
    os.mkdir(home)
    with roots.copy_of(root, place, overlay=overlay) as copy:
        own_before = audit(copy, home, reference=reference)
        before = {tool.name: tool.look(copy) for tool in tools}
    told: dict[str, list[str]] = {}
    stuck: dict[str, list[str]] = {}
    beside = dict.fromkeys((OWN, *(tool.name for tool in tools)), 0)
    items = found = 0
    for mutation in mutations:
        with roots.copy_of(root, place, overlay=overlay) as copy:
            mutation.make(copy)
            verdict = score(own_before, audit(copy, home, reference=reference), [mutation])
            right = not verdict.missed and not verdict.wrong
            # Of what changes nothing it has told something if it was wrong; of what rules account for it lists nothing.
            told[mutation.name] = [OWN] if (not right if mutation.quiet else right and not mutation.by_rule) else []
            items += len(verdict.found) + len(verdict.missed)
            found += len(verdict.found)
            beside[OWN] += len(verdict.wrong)
            for tool in tools:
                try:
                    outcome = compare(before[tool.name], tool.look(copy), [mutation])
                except StuckError:
                    stuck.setdefault(mutation.name, []).append(tool.name)
                    continue
                if outcome.found.get(mutation.name) or outcome.quiet_told:
                    told[mutation.name].append(tool.name)
                beside[tool.name] += len(outcome.beside)
        print(f"{mutation.name:<60} {', '.join(told[mutation.name])}", flush=True)
    versions = {OWN: VERSION, **{tool.name: tool.version() for tool in tools}}
    kinds = {each.name: "none" if each.quiet else "rule" if each.by_rule else "change" for each in mutations}
    return Family(
        name=name, versions=versions, kinds=kinds, told=told, stuck=stuck, beside=beside, items=items, found=found
    )


_FAMILIES: dict[str, Callable[[bytes], Family]] = {
    "debian": debian,
    "reference": reference,
    "rpm": rpm,
    "pacman": pacman,
}

if __name__ == "__main__":
    sys.exit(main())
