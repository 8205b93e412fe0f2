"""What commands tell line by line, each in both of its forms: snapshots, entries, changes, findings."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from snapstore.cli.names import clean, path_fields, shown
from snapstore.cli.quantities import local_time, rfc3339, size_text
from snapstore.model import Entry, Kind, Root, Snapshot

if TYPE_CHECKING:
    from snapstore.ops.diff import Change
    from snapstore.ops.findings import Finding

SHORT_ID = 8
"""So many digits of an id are shown where the whole one is not asked for."""

_LETTERS = {
    Kind.FILE: "-",
    Kind.DIRECTORY: "d",
    Kind.SYMLINK: "l",
    Kind.CHARACTER_DEVICE: "c",
    Kind.BLOCK_DEVICE: "b",
    Kind.FIFO: "p",
    Kind.SOCKET: "s",
}
_SIGNS = {"added": "+", "removed": "-", "content": "C", "metadata": "M", "type": "T"}


def short_id(snapshot: Snapshot) -> str:
    """The digits by which a person knows the snapshot."""
    return snapshot.id[:SHORT_ID]


@dataclass(frozen=True, slots=True)
class SnapshotLine:
    """One snapshot in a list."""

    message_type: ClassVar[str] = "snapshot"
    columns: ClassVar[tuple[str, ...]] = ("ID", "Started", "Host", "Name", "Tags", "Files", "Size", "Paths")

    snapshot: Snapshot

    def fields(self) -> dict[str, object]:
        """See docs/cli.md."""
        record = self.snapshot
        totals = record.totals
        return {
            "id": record.id,
            "short_id": short_id(record),
            "kind": record.kind,
            "name": record.name,
            "tags": list(record.tags),
            "host": record.host,
            "user": record.user,
            "os": record.os_release,
            "tool": record.tool,
            "started": rfc3339(record.started),
            "ended": rfc3339(record.ended),
            "writer": record.writer.hex(),
            "sequence": record.sequence,
            "paths": [path_fields(root.path) for root in record.roots],
            "excludes": list(record.excludes),
            "totals": {
                "files": totals.files,
                "directories": totals.directories,
                "others": totals.others,
                "size": totals.size,
                "new_chunks": totals.new_chunks,
                "new_data": totals.new_data,
                "new_manifest": totals.new_manifest,
                "stored_data": totals.stored_data,
                "stored_manifest": totals.stored_manifest,
                "warnings": totals.warnings,
            },
        }

    def cells(self, *, verbose: bool) -> tuple[str, ...]:
        """The columns of the list."""
        record = self.snapshot
        return (
            record.id if verbose else short_id(record),
            local_time(record.started),
            clean(record.host),
            clean(record.name) if record.kind == "snapshot" else f"({record.kind})",
            clean(",".join(record.tags)),
            f"{record.totals.files:,}",
            size_text(record.totals.size),
            roots_text(record.roots),
        )

    def text(self, *, verbose: bool) -> str:
        """The columns, two blanks between them."""
        return "  ".join(self.cells(verbose=verbose))


def roots_text(roots: tuple[Root, ...]) -> str:
    """The paths of a snapshot."""
    return " ".join(shown(root.path) for root in roots)


def entry_fields(entry: Entry) -> dict[str, object]:
    """The JSON fields of an entry but for its path; those that say nothing are left out."""
    fields: dict[str, object] = {
        "type": entry.kind.value,
        "mode": f"{entry.mode:04o}",
        "uid": entry.uid,
        "gid": entry.gid,
        "user": entry.user,
        "group": entry.group,
        "mtime": rfc3339(entry.mtime[0] * 1_000_000_000 + entry.mtime[1]),
    }
    if entry.kind is Kind.FILE:
        fields["size"] = entry.size
    if entry.links > 1:
        fields["links"] = entry.links
    if entry.hardlink:
        fields.update(path_fields(entry.hardlink, key="hardlink"))
    if entry.kind is Kind.SYMLINK:
        fields.update(path_fields(entry.target, key="target"))
    if entry.kind in (Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE):
        fields["rdev"] = list(entry.rdev)
    for name in ("flags", "acl", "default_acl", "unread"):
        value = getattr(entry, name)
        if value:
            fields[name] = value
    if entry.xattrs:
        fields["xattrs"] = [
            {**path_fields(each.name, key="name"), "value_b64": base64.b64encode(each.value).decode()}
            for each in entry.xattrs
        ]
    if entry.holes:
        fields["holes"] = [list(hole) for hole in entry.holes]
    return fields


def mode_text(entry: Entry) -> str:
    """Type and permissions as ls(1) writes them, `drwxr-xr-x`; a `+` follows where there is an ACL."""
    text = list("rwxrwxrwx")
    for bit in range(9):
        if not entry.mode & (0o400 >> bit):
            text[bit] = "-"
    for special, at, letter in ((0o4000, 2, "s"), (0o2000, 5, "s"), (0o1000, 8, "t")):
        if entry.mode & special:
            text[at] = letter if text[at] == "x" else letter.upper()
    return _LETTERS[entry.kind] + "".join(text) + ("+" if entry.acl or entry.default_acl else "")


@dataclass(frozen=True, slots=True)
class EntryLine:
    """One entry of a snapshot. `snapshot` is there where entries of several are told."""

    message_type: ClassVar[str] = "entry"

    path: bytes
    entry: Entry
    long: bool = False
    snapshot: Snapshot | None = None

    def fields(self) -> dict[str, object]:
        """See docs/cli.md."""
        fields = path_fields(self.path)
        if self.snapshot is not None:
            fields["snapshot"] = self.snapshot.id
        return {**fields, **entry_fields(self.entry)}

    def text(self, *, verbose: bool) -> str:
        """The path, after the snapshot's id where that matters, or a line like that of `ls -l`."""
        entry = self.entry
        before = ""
        if self.snapshot is not None:
            before = f"{self.snapshot.id if verbose else short_id(self.snapshot)}  "
        if not self.long:
            return before + shown(self.path)
        size = f"{entry.size}"
        if entry.kind in (Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE):
            size = f"{entry.rdev[0]}, {entry.rdev[1]}"
        owner = clean(entry.user) or str(entry.uid)
        group = clean(entry.group) or str(entry.gid)
        when = local_time(entry.mtime[0] * 1_000_000_000 + entry.mtime[1])
        target = f" -> {shown(entry.target)}" if entry.kind is Kind.SYMLINK else ""
        unread = f"  (not read: {clean(entry.unread)})" if entry.unread else ""
        mode = mode_text(entry)
        facts = f"{mode:<11}{entry.links:>3} {owner:<8} {group:<8} {size:>12} {when}"
        return f"{before}{facts} {shown(self.path)}{target}{unread}"


@dataclass(frozen=True, slots=True)
class ChangeLine:
    """One path that differs between two snapshots."""

    message_type: ClassVar[str] = "change"

    change: Change

    def fields(self) -> dict[str, object]:
        """See docs/cli.md."""
        change = self.change
        return {
            **path_fields(change.path),
            "kinds": self.kinds(),
            "before": None if change.before is None else entry_fields(change.before),
            "after": None if change.after is None else entry_fields(change.after),
        }

    def kinds(self) -> list[str]:
        """What happened, one word each."""
        return (self.change.kind.name or "").lower().split("|")

    def text(self, *, verbose: bool) -> str:
        """Two signs, the path, and with `verbose` the sizes of what is a file."""
        change = self.change
        signs = "".join(_SIGNS[kind] for kind in self.kinds())
        line = f"{signs:<2} {shown(change.path)}"
        if verbose:
            sides = [None if side is None else side.size for side in (change.before, change.after)]
            sizes = [size_text(size) for size in sides if size is not None]
            line += f"  ({' -> '.join(sizes)})" if any(sides) else ""
        return line


@dataclass(frozen=True, slots=True)
class PlannedLine:
    """One step that a restore would take; `path` is below the target, and empty for the target itself."""

    message_type: ClassVar[str] = "planned"

    action: str
    path: bytes
    entry: Entry | None

    def fields(self) -> dict[str, object]:
        """See docs/cli.md."""
        fields: dict[str, object] = {"action": self.action, **path_fields(self.path)}
        if self.entry is not None:
            fields |= {"type": self.entry.kind.value, "size": self.entry.size}
        return fields

    def text(self, *, verbose: bool) -> str:
        """The action and the path."""
        size = f"  ({size_text(self.entry.size)})" if verbose and self.entry is not None and self.entry.size else ""
        return f"{self.action:<8} {shown(self.path or b'.')}{size}"


@dataclass(frozen=True, slots=True)
class DifferenceLine:
    """One path below the target that is not as the snapshot has it; empty for the target itself."""

    message_type: ClassVar[str] = "difference"

    path: bytes
    reason: str

    def fields(self) -> dict[str, object]:
        """See docs/cli.md."""
        return {**path_fields(self.path), "reason": self.reason}

    def text(self, *, verbose: bool) -> str:
        """The path and what is wrong with it."""
        del verbose
        return f"differs: {shown(self.path or b'.')}: {clean(self.reason)}"


@dataclass(frozen=True, slots=True)
class FindingLine:
    """One thing that a check found."""

    message_type: ClassVar[str] = "finding"

    finding: Finding

    def fields(self) -> dict[str, object]:
        """See docs/cli.md."""
        finding = self.finding
        return {
            "severity": str(finding.severity),
            "object": finding.name,
            "message": finding.message,
            "advice": finding.advice,
        }

    def text(self, *, verbose: bool) -> str:
        """Severity, object, message, advice."""
        del verbose
        finding = self.finding
        advice = f" ({finding.advice})" if finding.advice else ""
        return clean(f"{finding.severity}: {finding.name}: {finding.message}{advice}")


@dataclass(frozen=True, slots=True)
class ForgottenLine:
    """One snapshot that has been forgotten, or would be."""

    message_type: ClassVar[str] = "forgotten"

    snapshot: Snapshot
    dry: bool

    def fields(self) -> dict[str, object]:
        """See docs/cli.md."""
        return {"id": self.snapshot.id, "name": self.snapshot.name, "dry_run": self.dry}

    def text(self, *, verbose: bool) -> str:
        """Which one it was."""
        record = self.snapshot
        name = f" {clean(record.name)}" if record.name else ""
        shown_id = record.id if verbose else short_id(record)
        return f"{'would forget' if self.dry else 'forgot'} {shown_id}{name}, of {local_time(record.started)}"
