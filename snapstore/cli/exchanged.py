"""What `export` and `import` tell when they are done, each in both of its forms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from snapstore.cli.messages import short_id
from snapstore.cli.names import path_fields, shown
from snapstore.cli.quantities import count_text, duration_text, size_text
from snapstore.model import Snapshot

if TYPE_CHECKING:
    from snapstore.ops.bundle import Exported
    from snapstore.ops.importing import Imported


def _held(files: int, directories: int, others: int, size: int) -> str:
    parts = [count_text(files, "file"), count_text(directories, "directory", "directories")]
    parts += [count_text(others, "other")] if others else []
    return f"{', '.join(parts)}, {size_text(size)}"


@dataclass(frozen=True, slots=True)
class ExportSummary:
    """What an export came to."""

    message_type: ClassVar[str] = "summary"

    snapshot: Snapshot
    form: str
    path: bytes
    result: Exported

    def fields(self) -> dict[str, object]:
        """See docs/cli.md."""
        result = self.result
        return {
            "snapshot": self.snapshot.id,
            "form": self.form,
            **path_fields(self.path),
            "files": result.files,
            "directories": result.directories,
            "others": result.others,
            "size": result.size,
            "written": result.written,
            "warnings": result.warnings,
        }

    def text(self, *, verbose: bool) -> str:
        """One or two lines."""
        result = self.result
        shown_id = self.snapshot.id if verbose else short_id(self.snapshot)
        held = _held(result.files, result.directories, result.others, result.size)
        lines = [f"wrote {shown_id} to {shown(self.path)}: {held} in {size_text(result.written)}"]
        if result.warnings:
            lines.append(f"{count_text(result.warnings, 'warning')}: something is not there as the snapshot has it")
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class ImportSummary:
    """What an import came to."""

    message_type: ClassVar[str] = "summary"

    result: Imported

    def fields(self) -> dict[str, object]:
        """See docs/cli.md."""
        result = self.result
        record = result.snapshot
        totals = record.totals
        return {
            "snapshot": record.id,
            "name": record.name,
            "source": result.source,
            "verified": result.verified,
            "scopes": [name for name, _ in record.scopes],
            "files": totals.files,
            "directories": totals.directories,
            "others": totals.others,
            "size": totals.size,
            "new_chunks": totals.new_chunks,
            "new_data": totals.new_data,
            "new_manifest": totals.new_manifest,
            "stored_data": totals.stored_data,
            "stored_manifest": totals.stored_manifest,
            "warnings": result.warnings,
            "seconds": round(result.seconds, 6),
        }

    def text(self, *, verbose: bool) -> str:
        """Two or three lines."""
        result = self.result
        record = result.snapshot
        totals = record.totals
        shown_id = record.id if verbose else short_id(record)
        held = _held(totals.files, totals.directories, totals.others, totals.size)
        checked = ", the same as it was exported" if result.verified else ""
        new = f"new: {count_text(totals.new_chunks, 'chunk')}, {size_text(totals.new_data)} of contents"
        stored = f"stored in {size_text(totals.stored_data)}, {size_text(totals.stored_manifest)} of manifests"
        took = duration_text(result.seconds)
        lines = [f"snapshot {shown_id} imported from a {result.source}{checked}: {held} in {took}", f"{new} {stored}"]
        if result.warnings:
            lines.append(f"{count_text(result.warnings, 'warning')}: something could not be taken over as it was")
        return "\n".join(lines)
