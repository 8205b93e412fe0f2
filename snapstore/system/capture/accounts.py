"""What the scope `users` holds of a root: passwd(5), shadow(5), group(5), gshadow(5), subuid(5), subgid(5), sudoers(5).

Nothing is asked of a name service: what these files hold is what the machine has of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple, TypeVar

from snapstore.system.capture.lines import Bounded, number_of, numbered_lines, read_file, text_of, word_of
from snapstore.system.capture.sudoers import capture_sudoers
from snapstore.system.packages import Warn
from snapstore.system.root import Root
from snapstore.system.scopes.accounts import USERS, Group, SubordinateIds, SudoRule, User

PASSWD, SHADOW = b"/etc/passwd", b"/etc/shadow"
GROUP, GSHADOW = b"/etc/group", b"/etc/gshadow"
SUBORDINATE = {"uid": b"/etc/subuid", "gid": b"/etc/subgid"}
_ID_LIMIT = (1 << 32) - 1
_DAYS_LIMIT = (1 << 63) - 1
_ELSEWHERE = "x"
"""What stands for a password that is in the shadow file. It is no password, and no account has it for one."""

Account = User | Group | SubordinateIds | SudoRule
Named = TypeVar("Named", User, Group)


class Shadow(NamedTuple):
    """One line of shadow(5); days are None where the field is empty, or -1, which means the same."""

    password: str
    changed: int | None
    minimum: int | None
    maximum: int | None
    warning: int | None
    inactive: int | None
    expires: int | None


def capture_accounts(root: Root, warn: Warn) -> list[Account]:
    """The accounts, groups, subordinate ids and sudo rules of a root, in the order of the scope.

    Where the shadow file cannot be read, a password stays "x" and the days of ageing are unknown. A user or group that
    is there twice is recorded twice where the lines differ, in their order: the first one counts for its name.
    """
    with Bounded(warn) as bounded:
        return sorted(_accounts(root, bounded), key=USERS.order)


def _accounts(root: Root, warn: Warn) -> list[Account]:
    users = _read(root, PASSWD, parse_passwd, warn)
    groups = _read(root, GROUP, parse_group, warn)
    found: list[Account] = [*_with_shadow(root, users or [], warn), *_with_gshadow(root, groups or [], warn)]
    if users is None:
        warn(PASSWD, "there is none, so that nothing is known of the users")
    for kind, path in SUBORDINATE.items():
        data = read_file(root, path, warn)
        if data is not None:
            found += parse_subordinate(path, data, warn, kind=kind)
    found += capture_sudoers(root, warn)
    return found


_Parsed = TypeVar("_Parsed")


def _read(root: Root, path: bytes, parse: Callable[[bytes, bytes, Warn], _Parsed], warn: Warn) -> _Parsed | None:
    data = read_file(root, path, warn)
    return None if data is None else parse(path, data, warn)


def _fields(path: bytes, data: bytes, warn: Warn, *, count: int) -> list[tuple[int, list[bytes]]]:
    """The lines of a file that have so many fields, with their numbers; any other is a warning."""
    found = []
    for number, line in numbered_lines(path, data, warn):
        if not line.strip() or line.startswith(b"#"):
            continue
        if line[:1] in b"+-":
            warn(path, f"line {number} asks a name service, of which nothing is recorded")
            continue
        fields = line.split(b":")
        if len(fields) != count or not fields[0]:
            warn(path, f"line {number} is not as it should be and is passed over")
            continue
        found.append((number, fields))
    return found


def parse_passwd(path: bytes, data: bytes, warn: Warn) -> list[User]:
    """The users of a passwd file, in its order; `password` is what stands there, as a rule "x"."""
    found: list[User] = []
    for number, (name, password, uid, gid, gecos, home, shell) in _fields(path, data, warn, count=7):
        numbers = number_of(uid, limit=_ID_LIMIT), number_of(gid, limit=_ID_LIMIT)
        if numbers[0] is None or numbers[1] is None:
            warn(path, f"line {number} has an id that is no number and is passed over")
            continue
        found.append(
            User(
                name=text_of(name),
                uid=numbers[0],
                gid=numbers[1],
                gecos=text_of(gecos),
                home=home,
                shell=shell,
                password=text_of(password),
            )
        )
    return _numbered(path, found, warn)


def parse_group(path: bytes, data: bytes, warn: Warn) -> list[Group]:
    """The groups of a group file, in its order."""
    found: list[Group] = []
    for number, (name, password, gid, members) in _fields(path, data, warn, count=4):
        value = number_of(gid, limit=_ID_LIMIT)
        if value is None:
            warn(path, f"line {number} has an id that is no number and is passed over")
            continue
        found.append(Group(name=text_of(name), gid=value, password=text_of(password), members=_names(members)))
    return _numbered(path, found, warn)


def _names(raw: bytes) -> tuple[str, ...]:
    """The names of a list with commas, sorted: their order means nothing."""
    return tuple(sorted({word_of(each.strip()) for each in raw.split(b",") if each.strip()}))


def _numbered(path: bytes, rows: list[Named], warn: Warn) -> list[Named]:
    """The rows with their places among those of the same name; one that is there twice is a warning."""
    places: dict[str, list[Named]] = {}
    found = []
    for row in rows:
        same = places.setdefault(row.name, [])
        if row in same:
            warn(path, f"{row.name!r} is there twice and the same")
            continue
        if same:
            warn(path, f"{row.name!r} is there more than once, with a difference")
        found.append(replace(row, number=len(same)))
        same.append(row)
    return found


def parse_shadow(path: bytes, data: bytes, warn: Warn) -> dict[str, Shadow]:
    """The lines of a shadow file by name; the first one of a name counts, as it does for login."""
    found: dict[str, Shadow] = {}
    for number, (name, password, *days, _) in _fields(path, data, warn, count=9):
        values = [number_of(each.strip(), limit=_DAYS_LIMIT) for each in days]
        if any(value is None and each.strip() not in (b"", b"-1") for value, each in zip(values, days, strict=True)):
            warn(path, f"line {number} has a number of days that is none")
        if text_of(name) in found:
            warn(path, f"line {number} is about a name that an earlier line is about")
            continue
        found[text_of(name)] = Shadow(text_of(password), *values)
    return found


def _with_shadow(root: Root, users: list[User], warn: Warn) -> list[User]:
    shadow = _read(root, SHADOW, parse_shadow, warn)
    if shadow is None:
        if any(user.password == _ELSEWHERE for user in users):
            warn(SHADOW, "nothing is known of passwords and their ageing")
        return users
    found = []
    for user in users:
        line = shadow.get(user.name)
        if line is None:
            if user.password == _ELSEWHERE:
                warn(SHADOW, f"there is no line for {user.name!r}")
            found.append(user)
            continue
        password = line.password if user.password == _ELSEWHERE else user.password
        found.append(replace(user, **line._replace(password=password)._asdict()))
    for name in sorted(set(shadow) - {user.name for user in users}):
        warn(SHADOW, f"it has a line for {name!r}, who is no user")
    return found


def _with_gshadow(root: Root, groups: list[Group], warn: Warn) -> list[Group]:
    lines = _read(root, GSHADOW, parse_gshadow, warn)
    if lines is None:
        return groups
    found = []
    for group in groups:
        line = lines.get(group.name)
        if line is None:
            if group.password == _ELSEWHERE:
                warn(GSHADOW, f"there is no line for {group.name!r}")
            found.append(group)
            continue
        if line.members != group.members:
            warn(GSHADOW, f"{group.name!r} has other members than in {text_of(GROUP)}")
        password = line.password if group.password == _ELSEWHERE else group.password
        found.append(replace(group, password=password, administrators=line.administrators))
    for name in sorted(set(lines) - {group.name for group in groups}):
        warn(GSHADOW, f"it has a line for {name!r}, which is no group")
    return found


def parse_gshadow(path: bytes, data: bytes, warn: Warn) -> dict[str, Group]:
    """The lines of a gshadow file by name, as groups without a number."""
    found: dict[str, Group] = {}
    for number, (name, password, administrators, members) in _fields(path, data, warn, count=4):
        if text_of(name) in found:
            warn(path, f"line {number} is about a name that an earlier line is about")
            continue
        found[text_of(name)] = Group(
            name=text_of(name), gid=0, password=text_of(password), members=_names(members),
            administrators=_names(administrators),
        )  # fmt: skip
    return found


def parse_subordinate(path: bytes, data: bytes, warn: Warn, *, kind: str) -> list[SubordinateIds]:
    """The ranges of a subuid or subgid file."""
    found: dict[SubordinateIds, None] = {}
    for number, (owner, first, count) in _fields(path, data, warn, count=3):
        start, length = number_of(first, limit=_ID_LIMIT), number_of(count, limit=_ID_LIMIT)
        if start is None or length is None:
            warn(path, f"line {number} has a range that is none and is passed over")
            continue
        row = SubordinateIds(kind=kind, owner=text_of(owner), start=start, count=length)
        if row in found:
            warn(path, f"line {number} is there twice")
        found[row] = None
    return list(found)
