"""The links that update-alternatives(1) made, as rules: one for each link that is as it would make it again.

A group is a master link and its slaves, which follow it. In mode "auto" the links in /etc/alternatives lead to the
candidate with the highest priority. A person who chooses another one switches the group to "manual", and then no rule
holds for those links: they are that person's. The same goes for a link that was changed behind the tool's back.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from snapstore.system.packages import Warn
from snapstore.system.patterns import PATTERN_LIMIT, PatternError, literal_pattern, parse_pattern
from snapstore.system.root import Root, RootError
from snapstore.system.rules import GENERATED, Rule

DATABASES = (b"/var/lib/dpkg/alternatives", b"/var/lib/alternatives")
CHOICES = b"/etc/alternatives/"

_GROUP_LIMIT = 20_000
_FILE_LIMIT = 1 << 20
_SOURCE = "update-alternatives(1)"
# The number may stand behind a family, and before a service, where chkconfig's tool wrote it.
_priority = re.compile(rb"(?:@[^@]*@)?(-?[0-9]{1,10})(?: .*)?\Z").match


class Group(NamedTuple):
    """One group: its links by name (the master first), and by candidate the priority and where each link leads."""

    manual: bool
    links: dict[bytes, bytes]
    candidates: list[tuple[int, list[bytes]]]


def read_group(name: bytes, data: bytes) -> Group | None:
    """The group that a file of the database describes; None if it makes no sense."""
    lines = data.split(b"\n")
    lines.reverse()
    try:
        mode = lines.pop()
        links = {name: lines.pop()}
        while slave := lines.pop():
            links[slave] = lines.pop()
        candidates = []
        while target := lines.pop():
            priority = _priority(lines.pop())
            if priority is None:
                return None
            candidates.append((int(priority[1]), [target, *(lines.pop() for _ in range(len(links) - 1))]))
    except IndexError:
        return None
    sound = mode in (b"auto", b"manual") and all(_is_name(each) and _is_path(link) for each, link in links.items())
    return Group(mode == b"manual", links, candidates) if sound else None


def alternative_rules(root: Root, warn: Warn) -> list[Rule]:
    """A rule for every link of every group, links in /etc/alternatives of manual groups left out."""
    rules: list[Rule] = []
    for database in DATABASES:
        try:
            names = root.list(database)
        except RootError as error:
            warn(database, f"its links are not explained: {error.strerror}")
            continue
        if len(names) > _GROUP_LIMIT:
            warn(database, f"only the first {_GROUP_LIMIT} of its groups are looked at")
        for name in names[:_GROUP_LIMIT]:
            path = database + b"/" + name
            try:
                group = read_group(name, root.read(path, limit=_FILE_LIMIT) or b"")
                if group is None:
                    warn(path, "it makes no sense, so its links are not explained")
                else:
                    rules += _rules(root, group)
            except RootError as error:
                warn(path, f"its links are not explained: {error.strerror}")
            except PatternError as error:
                warn(path, f"its links are not explained: {error}")
    return rules


def _rules(root: Root, group: Group) -> list[Rule]:
    rules = []
    best = max((priority for priority, _ in group.candidates), default=0)
    for number, (name, link) in enumerate(group.links.items()):
        choice = CHOICES + name
        where = root.canonical(link)
        if where != choice:
            rules.append(
                _rule("alternatives-link", where, check="link-to", targets={choice}, reason="leads to an alternative")
            )
        targets = {targets[number] for priority, targets in group.candidates if priority == best} - {b""}
        if targets and not group.manual:
            reason = "leads to the alternative of the highest priority"
            rules.append(_rule("alternatives", choice, check="alternative", targets=targets, reason=reason))
    return rules


def _rule(name: str, path: bytes, *, check: str, targets: set[bytes], reason: str) -> Rule:
    pattern = literal_pattern(path)
    parse_pattern(pattern)
    return Rule(
        id=name,
        cls=GENERATED,
        pattern=pattern,
        reason=reason,
        source=_SOURCE,
        check=check,
        detail=b"\n".join(sorted(targets)).decode("utf-8", "surrogateescape"),
    )


def _is_name(name: bytes) -> bool:
    return 0 < len(name) <= 255 and b"/" not in name and b"\0" not in name and name not in (b".", b"..")


def _is_path(path: bytes) -> bool:
    return path.startswith(b"/") and len(path) < PATTERN_LIMIT and b"\0" not in path
