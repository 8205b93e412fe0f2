"""What `audit` tells, in both forms: paths that are not as packaged, what each class comes to, the summary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from snapstore.cli.names import clean, path_fields, shown
from snapstore.cli.quantities import count_text, duration_text, size_text
from snapstore.system.scopes.files import Class, ClassTotal, FileRow, RuleTotal

if TYPE_CHECKING:
    from snapstore.ops.audit import Audit

_ON_DISK = tuple(cls.value for cls in Class if cls is not Class.MISSING)
_SEVERE = (0o4000, 0o2000)


@dataclass(frozen=True, slots=True)
class FileLine:
    """One path, or one tree, that is not as packaged."""

    message_type: ClassVar[str] = "file"

    row: FileRow

    def fields(self) -> dict[str, object]:
        """See docs/cli.md. What is not so, or not known, is left out."""
        row = self.row
        found: dict[str, object] = {
            **path_fields(row.path),
            "class": str(row.cls),
            "type": row.kind or None,
            "size": row.size,
            "packages": row.package.split(),
            "changes": list(row.changes),
        }
        for name in ("config", "omitted", "tree", "contents"):
            if getattr(row, name):
                found[name] = True
        if row.tree:
            found |= {"files": row.files, "directories": row.directories, "others": row.others}
        for name in ("mode", "packaged_mode"):
            if getattr(row, name) is not None:
                found[name] = f"{getattr(row, name):04o}"
        for name in ("target", "packaged_target"):
            if getattr(row, name):
                found |= path_fields(getattr(row, name), key=name)
        for name in (
            "packaged_kind", "packaged_digest", "owner", "packaged_owner", "capabilities", "packaged_capabilities",
            "rule",
        ):  # fmt: skip
            if getattr(row, name):
                found[name.replace("kind", "type")] = getattr(row, name)
        return found

    def text(self, *, verbose: bool) -> str:
        """The path and what is different about it."""
        row = self.row
        path = shown(row.path)
        if row.tree:
            path = path.rstrip("/") + ("/*" if row.contents else "/")
        about = list(_differences(row))
        if row.config:
            about.append("[config]")
        if row.tree:
            about.append(f"{count_text(row.files, 'file')}, {size_text(row.size)}")
        elif row.cls in (Class.UNMANAGED, Class.GENERATED) and row.kind == "file":
            about.append(size_text(row.size))
        elif row.cls == Class.UNMANAGED and row.kind not in ("file", "dir"):
            about.append(row.kind)
        if row.rule and (verbose or row.cls is Class.EXCLUDED):
            about.append(f"({clean(row.rule)})")
        return f"{path}  {', '.join(about)}".rstrip()


def _differences(row: FileRow) -> list[str]:
    told = []
    for change in row.changes:
        if change == "type":
            told.append(f"is a {row.kind}, not a {row.packaged_kind or 'packaged one'}")
        elif change == "mode" and row.mode is not None:
            packaged = f", packaged {row.packaged_mode:04o}" if row.packaged_mode is not None else ""
            special = ", setuid or setgid" if any(row.mode & bit for bit in _SEVERE) else ""
            told.append(f"mode {row.mode:04o}{packaged}{special}")
        elif change == "owner":
            told.append(f"owner {clean(row.owner)}, packaged {clean(row.packaged_owner)}")
        elif change == "target":
            packaged = f", packaged {shown(row.packaged_target)}" if row.packaged_target else ""
            told.append(f"points to {shown(row.target)}{packaged}")
        elif change == "capabilities":
            told.append(f"capabilities {row.capabilities or 'none'}, packaged {row.packaged_capabilities or 'none'}")
        else:
            told.append(change)
    return told


@dataclass(frozen=True, slots=True)
class ClassLine:
    """How much is in one class."""

    message_type: ClassVar[str] = "class_total"
    columns: ClassVar[tuple[str, ...]] = ("Class", "Files", "Directories", "Others", "Size")

    total: ClassTotal

    def fields(self) -> dict[str, object]:
        """See docs/cli.md."""
        total = self.total
        return {
            "class": total.cls, "files": total.files, "directories": total.directories, "others": total.others,
            "size": total.size,
        }  # fmt: skip

    def text(self, *, verbose: bool) -> str:
        """The cells in a line."""
        return "  ".join(self.cells(verbose=verbose))

    def cells(self, *, verbose: bool) -> tuple[str, ...]:
        """As the columns say."""
        total = self.total
        size = f"{total.size:,} B" if verbose else size_text(total.size)
        return total.cls, f"{total.files:,}", f"{total.directories:,}", f"{total.others:,}", size


@dataclass(frozen=True, slots=True)
class RuleLine:
    """How much one rule decided about."""

    message_type: ClassVar[str] = "rule_total"
    columns: ClassVar[tuple[str, ...]] = ("Rule", "Class", "Paths", "Size", "Why")

    total: RuleTotal

    def fields(self) -> dict[str, object]:
        """See docs/cli.md."""
        total = self.total
        return {
            "rule": total.rule, "class": total.cls, "reason": total.reason, "source": total.source,
            "files": total.files, "directories": total.directories, "others": total.others, "size": total.size,
        }  # fmt: skip

    def text(self, *, verbose: bool) -> str:
        """The cells in a line."""
        return "  ".join(self.cells(verbose=verbose))

    def cells(self, *, verbose: bool) -> tuple[str, ...]:
        """As the columns say."""
        total = self.total
        why = f"{total.reason} ({total.source})" if verbose and total.source else total.reason
        paths = total.files + total.directories + total.others
        return clean(total.rule), total.cls, f"{paths:,}", size_text(total.size), clean(why)


def on_disk(totals: tuple[ClassTotal, ...]) -> ClassTotal:
    """What all classes of paths that are there come to."""
    there = [total for total in totals if total.cls in _ON_DISK]
    return ClassTotal(
        cls="total",
        files=sum(total.files for total in there),
        directories=sum(total.directories for total in there),
        others=sum(total.others for total in there),
        size=sum(total.size for total in there),
    )


@dataclass(frozen=True, slots=True)
class AuditSummary:
    """What an audit came to."""

    message_type: ClassVar[str] = "summary"

    audit: Audit

    def fields(self) -> dict[str, object]:
        """See docs/cli.md."""
        audit = self.audit
        total = on_disk(audit.totals)
        settings = {setting.name: setting.value for setting in audit.settings}
        return {
            **path_fields(audit.root, key="root"),
            **path_fields(settings.get("title", "").encode("utf-8", "surrogateescape"), key="os"),
            **path_fields(settings.get("hostname", "").encode("utf-8", "surrogateescape"), key="host"),
            "packages": len(audit.packages),
            "files": total.files,
            "directories": total.directories,
            "others": total.others,
            "size": total.size,
            "changed": self._paths(Class.CHANGED),
            "missing": self._paths(Class.MISSING),
            "unmanaged": self._paths(Class.UNMANAGED),
            "not_entered": [each.value for each in audit.policies if each.name.startswith("not-entered")],
            "warnings": audit.warning_count,
            "seconds": round(audit.seconds, 6),
        }

    def _paths(self, cls: Class) -> int:
        return sum(each.files + each.directories + each.others for each in self.audit.totals if each.cls == cls)

    def text(self, *, verbose: bool) -> str:
        """One line, and one for what was not looked into."""
        del verbose
        audit = self.audit
        total = on_disk(audit.totals)
        paths = total.files + total.directories + total.others
        counts = (
            f"{count_text(paths, 'path')}, {size_text(total.size)}, each in exactly one class;"
            f" {count_text(self._paths(Class.CHANGED), 'path')} changed, {self._paths(Class.MISSING):,} missing,"
            f" {self._paths(Class.UNMANAGED):,} unmanaged; {count_text(len(audit.packages), 'package')};"
            f" {duration_text(audit.seconds)}"
        )
        lines = [counts]
        outside = [each.value for each in audit.policies if each.name.startswith("not-entered")]
        if outside:
            lines.append("other file systems, not entered: " + ", ".join(clean(each) for each in outside))
        return "\n".join(lines)
