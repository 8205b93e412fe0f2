"""Judges one directory of a root: each entry by its packages, or by the rules where no package owns it."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from typing import NamedTuple

import xxhash

from snapstore.fs.filters import Filter
from snapstore.kernel import ENTRY
from snapstore.model import Kind
from snapstore.ops.elements import Stat
from snapstore.ops.ingest import errno_name
from snapstore.ops.surveyed import MERGED, OWNED, SPANNED, UNMANAGED, Label, Share, Span, Sub
from snapstore.ops.verdict import (
    Found,
    Owners,
    best_match,
    changed_row,
    digests_to_take,
    kind_of,
    read_capabilities,
)
from snapstore.ops.verification import Candidate
from snapstore.system.packages import Owned, Ownership, Warn
from snapstore.system.rulebook import RuleBook
from snapstore.system.scopes.files import Class, FileRow

LOOSE_LIMIT = 10_000
"""So many paths that are nobody's get rows of their own in a packaged directory; of more, one row tells the number."""

PRISTINE = Label(Class.PRISTINE)
CHANGED = Label(Class.CHANGED)
GHOST = Label(Class.GENERATED, "ghost")
MOUNT_POINT = Label(Class.EXCLUDED, "mount-point")
OWN_PLACE = Label(Class.EXCLUDED, "snapstore", omitted=True, inherits=True)
_NO_ATTRIBUTES = (errno.EOPNOTSUPP, errno.ENODATA, errno.ENOSYS)
EXCLUDE_PREFIX = "exclude:"
"""What the id of a rule begins with that the person gave for this run."""


class Directory(NamedTuple):
    """One open directory as it was listed; `span` is the span that it lies in, `verified` hashes of the last time.

    `context` is what those hang on beyond the stat records of the files.
    """

    fd: int
    path: bytes
    names: bytes
    records: bytes
    devices: tuple[int, ...]
    span: Span | None
    verified: bytes
    context: bytes


class Judge:
    """What verdicts hang on. `ownership` is asked for only if something has to be judged."""

    def __init__(
        self, *, ownership: Callable[[], Ownership], owners: Owners, rules: RuleBook, filters: Filter,
        enter_mounts: bool = False, skip_packaged: bool = True,
    ) -> None:  # fmt: skip
        self._enter_mounts = enter_mounts
        self._skip_packaged = skip_packaged
        self.owners = owners
        self._make_ownership = ownership
        self._ownership: Ownership | None = None
        self._rules = rules
        self._filter = filters
        self._filtered = filters.active or bool(filters.forced)

    @property
    def ownership(self) -> Ownership:
        """The paths that packages own."""
        if self._ownership is None:
            self._ownership = self._make_ownership()
        return self._ownership

    def is_mount(self, info: Stat) -> bool:
        """Whether it is a directory of another file system, which is not entered."""
        return stat.S_ISDIR(info.mode) and info.device != 0 and not self._enter_mounts

    def pristine(self, share: Share, name: bytes, size: int) -> None:
        """Counts a file that is as packaged."""
        share.count(PRISTINE, Kind.FILE, size)
        if self._skip_packaged:
            share.skips.append(name)
        else:
            share.kept = True

    def top(self, fd: int) -> Share:
        """The root directory itself, in a share of its own."""
        share = Share(b"/")
        status = os.fstat(fd)
        owned = self.ownership.inside(b"").get(b"/")
        if owned is None:
            # No package lists it, so nobody states its owner; where there are packages, they expect to get in.
            owned = Owned(b"/", "", kind=Kind.DIRECTORY, mode=0o755 if self.ownership.count else None)
        zeros = dict.fromkeys(Stat._fields, 0)
        info = Stat(**{**zeros, "mode": status.st_mode, "uid": status.st_uid, "gid": status.st_gid})
        self._entry(share, b"/", b"/proc/self/fd/%d" % fd, info=info, owned=owned)
        return share

    def directory(self, it: Directory, share: Share, *, seed: int, warn: Warn) -> list[Candidate]:
        """The files whose content has to be looked at; everything else in the directory is in the share."""
        inside = self.ownership.inside(it.path) if it.span is None else {}
        verified = frozenset(it.verified[at : at + 8] for at in range(0, len(it.verified), 8))
        candidates: list[Candidate] = []
        loose = _Loose(share, it, self.is_mount)
        prefix = it.path + b"/"
        present: set[bytes] = set()
        directories: set[bytes] = set()
        for name, record in _entries(it.names, it.records):
            info = Stat._make(ENTRY.unpack(record))
            path = prefix + name
            present.add(name)
            if info.error:
                warn(path, errno_name(info.error))
                continue
            kind = kind_of(info.mode)
            if kind is Kind.DIRECTORY:
                directories.add(name)
            label = self._excluded(it, path, kind, info=info)
            owned = inside.get(name)
            if label is None and owned is None:
                label = self._label(it, path, kind)
            if label is not None:
                loose.take(name, path, kind, info=info, label=label)
                continue
            assert owned is not None  # noqa: S101 - there is a label otherwise
            candidate = self._owned(share, it, name, info=info, owned=owned)
            if candidate is None:
                continue
            # The hash covers what the file is and all it is compared with: equal, and it need not be read again.
            hasher = xxhash.xxh3_64(record, seed)
            hasher.update(b"%b\0%b\0" % (name, it.context))
            hasher.update(repr((candidate.owned, self.owners.shown(info.uid, info.gid))).encode())
            known = hasher.digest()
            candidate = candidate._replace(record=record, hash=known)
            if known in verified:
                self.pristine(share, name, info.size)
                share.verified += known
            else:
                candidates.append(candidate)
        loose.finish()
        if inside:
            self._missing(share, it.path, inside, present=present, directories=directories)
        return candidates

    # -- paths of packages --------------------------------------------------------------------------------------------

    def _owned(self, share: Share, it: Directory, name: bytes, *, info: Stat, owned: Owned) -> Candidate | None:
        """The candidate that a file is if only its content is left to be looked at; None if it is in the share."""
        path = it.path + b"/" + name
        if not stat.S_ISREG(info.mode):
            place = b"/proc/self/fd/%d/%b" % (it.fd, name)
            if self.is_mount(info):
                share.count(MOUNT_POINT, Kind.DIRECTORY, 0)
                share.rows.append(FileRow(path, Class.EXCLUDED, "dir", rule=MOUNT_POINT.rule))
                share.not_entered.append(path)
                share.skips.append(name)
                return None
            kept = self._entry(share, path, place, info=info, owned=owned)
            if stat.S_ISDIR(info.mode):
                share.subs.append(Sub(OWNED, kept, 0, name))
            elif not kept:
                share.skips.append(name)
            return None
        records = self._records(owned)
        found = Found(Kind.FILE, info)
        digests = digests_to_take(records, found)
        if digests:
            return Candidate(name, path, b"", info, records, digests, b"")
        if not self._entry(share, path, b"/proc/self/fd/%d/%b" % (it.fd, name), info=info, owned=owned):
            share.skips.append(name)
        return None

    def _records(self, owned: Owned) -> tuple[Owned, ...]:
        """The records that decide about a path: what one package ships is judged, though it is a ghost of another."""
        records = self.ownership.all_of(owned)
        return tuple(record for record in records if not record.ghost) or records

    def _entry(self, share: Share, path: bytes, place: bytes, *, info: Stat, owned: Owned) -> bool:
        """Whether a snapshot stores it; judged without reading content, and in the share."""
        records = self._records(owned)
        kind = kind_of(info.mode)
        size = info.size if kind is Kind.FILE else 0
        if records[0].ghost:
            share.count(GHOST, kind, size)
            share.rows.append(FileRow(path, GHOST.cls, kind.value, size, package=_packages(records), rule=GHOST.rule))
            share.kept = True
            return True
        found = self._look(place, kind, info)
        record, changes = best_match(records, found, self.owners)
        if not changes:
            share.count(PRISTINE, kind, size)
            share.kept = share.kept or not self._skip_packaged
            return not self._skip_packaged
        share.count(CHANGED, kind, size)
        share.rows.append(changed_row(path, _packages(records), record, changes, found=found, owners=self.owners))
        share.kept = True
        return True

    @staticmethod
    def _look(place: bytes, kind: Kind, info: Stat) -> Found:
        target = b""
        attributes: tuple[bytes, ...] = ()
        capabilities = ""
        unread = ""
        try:
            if kind is Kind.SYMLINK:
                target = os.readlink(place)
            else:
                follow = b"/" not in place.removeprefix(b"/proc/self/fd/")
                attributes = tuple(os.fsencode(name) for name in os.listxattr(place, follow_symlinks=follow))
                capabilities = read_capabilities(place, attributes)
        except OSError as error:
            if error.errno not in _NO_ATTRIBUTES:
                unread = errno_name(error.errno or 0)
        return Found(kind, info, target, attributes, capabilities, unread=unread)

    def _missing(
        self, share: Share, path: bytes, inside: dict[bytes, Owned], *, present: set[bytes], directories: set[bytes]
    ) -> None:
        """Rows for what packages own and nobody finds: in a directory, and below what is no directory in it."""
        nothing: set[bytes] = set()
        stack = [(path, inside, present)]
        stack += [
            (path + b"/" + name, self.ownership.inside(path + b"/" + name), nothing)
            for name in inside
            if name in present and name not in directories
        ]
        while stack:
            here, owned_here, there = stack.pop()
            for name, owned in owned_here.items():
                if name in there or name == b"/":
                    continue
                records = self.ownership.all_of(owned)
                gone = here + b"/" + name
                directory = owned.kind is Kind.DIRECTORY
                if self._rules.excluded(gone, directory=directory) is not None or (
                    self._filter.active and self._filter.verdict(gone[1:], directory=directory)
                ):
                    continue
                expected = [each for each in records if not (each.optional or each.ghost or each.obsolete)]
                if expected:
                    kind = expected[0].kind
                    share.rows.append(
                        FileRow(
                            gone, Class.MISSING, "" if kind is None else kind.value, expected[0].size or 0,
                            package=_packages(expected), config=expected[0].config,
                        )
                    )  # fmt: skip
                    share.count(_MISSING, kind or Kind.FILE, 0)
                below = self.ownership.inside(gone)
                if below:
                    stack.append((gone, below, nothing))

    # -- paths of nobody ----------------------------------------------------------------------------------------------

    def _excluded(self, it: Directory, path: bytes, kind: Kind, *, info: Stat) -> Label | None:
        """The label of a path that a rule leaves out, whoever it belongs to."""
        if it.span is not None and it.span.label.inherits and it.span.label.cls is Class.EXCLUDED:
            return it.span.label
        directory = kind is Kind.DIRECTORY
        if self._filtered:
            if directory and self._filter.is_forced(it.devices[info.device], info.ino):
                return OWN_PLACE
            size = 0 if directory else info.size
            pattern = self._filter.verdict(path[1:], directory=directory, size=size) if self._filter.active else ""
            if pattern:
                return Label(Class.EXCLUDED, EXCLUDE_PREFIX + pattern, omitted=True, inherits=True)
        rule = self._rules.excluded(path, directory=directory)
        return None if rule is None else Label(Class.EXCLUDED, rule.id, omitted=True, inherits=True)

    def _label(self, it: Directory, path: bytes, kind: Kind) -> Label:
        """The label of a path that no package owns."""
        if it.span is not None and it.span.label.inherits:
            return it.span.label
        rule = self._rules.generated(path, directory=kind is Kind.DIRECTORY, owned=self._is_owned)
        if rule is None:
            return UNMANAGED
        return Label(
            Class.GENERATED, rule.id, omitted=rule.omit and self._skip_packaged, inherits=self._rules.inherits(rule)
        )

    def _is_owned(self, path: bytes) -> bool:
        parent, _, name = path.rpartition(b"/")
        return name in self.ownership.inside(parent)


_MISSING = Label(Class.MISSING)


class _Loose:
    """Gathers what no package decides about in one directory: into the span around it, or into spans of its own."""

    def __init__(self, share: Share, it: Directory, is_mount: Callable[[Stat], bool]) -> None:
        self._share = share
        self._it = it
        self._is_mount = is_mount
        self._groups: dict[Label, int] = {}
        self._rows: list[FileRow] = []
        self._many: Span | None = None

    def take(self, name: bytes, path: bytes, kind: Kind, *, info: Stat, label: Label) -> None:
        """Takes one entry."""
        share, around = self._share, self._it.span
        size = info.size if kind is Kind.FILE else 0
        kept = not label.omitted
        share.count(label, kind, size)
        share.kept = share.kept or kept
        listed = around is None or not around.label.whole  # else all of it is left out, however much it is
        if not kept and listed and kind is not Kind.DIRECTORY:
            share.skips.append(name)
        foreign = self._is_mount(info)
        if foreign:
            share.not_entered.append(path)
        how, number = MERGED, 0
        if around is not None and around.label == label:
            share.merged.take(kind, size)
        elif label.cls is Class.UNMANAGED:
            how = SPANNED
            if kind is Kind.DIRECTORY:
                number = self._span(Span(path, label, contents=False))
                share.spans[number].counts.take(kind, size)
            else:
                self._single(path, kind, size)
        else:
            how = SPANNED
            known = self._groups.get(label)
            number = self._span(Span(self._it.path, label, contents=True)) if known is None else known
            self._groups[label] = number
            span = share.spans[number]
            span.join(path, kind)
            span.counts.take(kind, size)
        if kind is Kind.DIRECTORY and not foreign:
            share.subs.append(Sub(how, kept, number, name))
        elif foreign and not kept and listed:
            share.skips.append(name)

    def _span(self, span: Span) -> int:
        self._share.spans.append(span)
        return len(self._share.spans) - 1

    def _single(self, path: bytes, kind: Kind, size: int) -> None:
        """Gives a path that is nobody's a row, until there are too many of them: then one row stands for all."""
        if self._many is None:
            self._rows.append(FileRow(path, Class.UNMANAGED, kind.value, size))
            if len(self._rows) <= LOOSE_LIMIT:
                return
            self._many = self._share.spans[self._span(Span(self._it.path, UNMANAGED, contents=True))]
            rows, self._rows = self._rows, []
        else:
            rows = [FileRow(path, Class.UNMANAGED, kind.value, size)]
        for row in rows:
            self._many.join(row.path, Kind(row.kind))
            self._many.counts.take(Kind(row.kind), row.size)

    def finish(self) -> None:
        """Nothing; what has rows of its own has them in the share."""
        self._share.rows += self._rows


def _packages(records: tuple[Owned, ...] | list[Owned]) -> str:
    return " ".join(sorted({each.package for each in records}))


def _entries(names: bytes, records: bytes) -> Iterator[tuple[bytes, bytes]]:
    size = ENTRY.size
    at = 0
    for name in names[:-1].split(b"\0") if names else ():
        yield name, records[at : at + size]
        at += size
