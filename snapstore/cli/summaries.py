"""What commands tell when they are done, each in both of its forms."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, ClassVar

from snapstore.cli.messages import short_id
from snapstore.cli.names import clean, shown
from snapstore.cli.quantities import count_text, duration_text, rfc3339, size_text
from snapstore.model import Snapshot

if TYPE_CHECKING:
    from snapstore.format.config import StoreConfig
    from snapstore.ops.check import CheckResult
    from snapstore.ops.diff import Summary
    from snapstore.ops.restore import RestoreResult
    from snapstore.ops.snapshot import SnapshotResult
    from snapstore.ops.stats import SnapshotStats, StoreStats


@dataclass(frozen=True, slots=True)
class Created:
    """A store that has just been made."""

    message_type: ClassVar[str] = "created"

    url: str
    config: StoreConfig

    def fields(self) -> dict[str, object]:
        """See docs/cli.md."""
        p = self.config.parameters
        return {
            "store": self.url,
            "id": self.config.id.hex(),
            "created": rfc3339(self.config.created),
            "suite": self.config.suite,
            "chunk_min": p.minimum,
            "chunk_avg": p.average,
            "chunk_max": p.maximum,
        }

    def text(self, *, verbose: bool) -> str:
        """Where it is."""
        p = self.config.parameters
        sizes = f", chunks of {size_text(p.minimum)} to {size_text(p.maximum)}, {size_text(p.average)} on average"
        return f"made store {self.config.id.hex()} at {clean(self.url)}{sizes if verbose else ''}"


@dataclass(frozen=True, slots=True)
class SnapshotSummary:
    """What a snapshot came to. `read_back` says whether its blocks were proved before they were stored."""

    message_type: ClassVar[str] = "summary"

    result: SnapshotResult
    read_back: bool

    def fields(self) -> dict[str, object]:
        """See docs/cli.md."""
        result = self.result
        record = result.snapshot
        return {
            "snapshot": None if result.dry else record.id,
            "name": record.name,
            "dry_run": result.dry,
            "files": record.totals.files,
            "directories": record.totals.directories,
            "others": record.totals.others,
            "size": record.totals.size,
            "unchanged": result.unchanged,
            "excluded": result.excluded,
            "new_chunks": record.totals.new_chunks,
            "new_data": record.totals.new_data,
            "new_manifest": record.totals.new_manifest,
            "stored_data": record.totals.stored_data,
            "stored_manifest": record.totals.stored_manifest,
            "read_back": self.read_back,
            "warnings": record.totals.warnings,
            "seconds": round(result.seconds, 6),
        }

    def text(self, *, verbose: bool) -> str:
        """Two or three lines."""
        result = self.result
        record = result.snapshot
        totals = record.totals
        held = ", ".join(
            [count_text(totals.files, "file"), count_text(totals.directories, "directory", "directories")]
            + ([count_text(totals.others, "other")] if totals.others else [])
        )
        shown_id = record.id if verbose else short_id(record)
        first = "would save" if result.dry else f"snapshot {shown_id} saved:"
        lines = [f"{first} {held}, {size_text(totals.size)} in {duration_text(result.seconds)}"]
        new = f"new: {count_text(totals.new_chunks, 'chunk')}, {size_text(totals.new_data)} of contents"
        if not result.dry:
            stored = f" stored in {size_text(totals.stored_data)}, {size_text(totals.stored_manifest)} of manifests"
            new += stored
        same = [f"{count_text(result.unchanged, 'file')} unchanged"]
        same += [f"{result.excluded:,} excluded"] if result.excluded else []
        lines.append(f"{new}; {', '.join(same)}")
        if totals.warnings:
            lines.append(f"{count_text(totals.warnings, 'warning')}: something could not be read as it should")
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class RestoreSummary:
    """What a restore came to. `differences` counts what `--verify` found, None where it did not look."""

    message_type: ClassVar[str] = "summary"

    snapshot: Snapshot
    target: bytes
    result: RestoreResult
    differences: int | None

    def fields(self) -> dict[str, object]:
        """See docs/cli.md."""
        result = self.result
        return {
            "snapshot": self.snapshot.id,
            "files": result.files,
            "directories": result.directories,
            "others": result.others,
            "links": result.links,
            "size": result.size,
            "kept": result.kept,
            "deleted": result.deleted,
            "skipped": result.skipped,
            "warnings": result.warned,
            "differences": self.differences,
            "seconds": round(result.seconds, 6),
        }

    def text(self, *, verbose: bool) -> str:
        """One line, and one for each thing out of the ordinary."""
        del verbose
        result = self.result
        held = [count_text(result.files, "file"), count_text(result.directories, "directory", "directories")]
        held += [count_text(result.links, "link")] if result.links else []
        held += [count_text(result.others, "other")] if result.others else []
        took = f"{size_text(result.size)} in {duration_text(result.seconds)}"
        lines = [f"restored {short_id(self.snapshot)} to {shown(self.target)}: {', '.join(held)}, {took}"]
        rest = [
            f"{count:,} {what}"
            for count, what in ((result.kept, "kept"), (result.deleted, "deleted"), (result.skipped, "passed over"))
            if count
        ]
        lines += [", ".join(rest)] if rest else []
        if self.differences is not None:
            verdict = "everything is as the snapshot has it"
            lines.append(f"verified: {count_text(self.differences, 'difference') if self.differences else verdict}")
        if result.warned:
            lines.append(f"{count_text(result.warned, 'warning')}: something could not be restored as it was")
        return "\n".join(lines)


@dataclass(slots=True)
class PlanSummary:
    """How many steps of which kind a restore would take."""

    message_type: ClassVar[str] = "summary"

    create: int = 0
    replace: int = 0
    keep: int = 0
    delete: int = 0
    size: int = 0

    def fields(self) -> dict[str, object]:
        """See docs/cli.md."""
        return {"dry_run": True, **asdict(self)}

    def text(self, *, verbose: bool) -> str:
        """One line."""
        del verbose
        counts = f"create {self.create:,}, replace {self.replace:,}, keep {self.keep:,}, delete {self.delete:,}"
        return f"would {counts}; {size_text(self.size)} to write"


@dataclass(frozen=True, slots=True)
class DiffSummary:
    """How two snapshots differ, all in all. `b` is None where the second was the present."""

    message_type: ClassVar[str] = "summary"

    a: Snapshot
    b: Snapshot | None
    summary: Summary

    def fields(self) -> dict[str, object]:
        """See docs/cli.md."""
        return {"a": self.a.id, "b": None if self.b is None else self.b.id, **asdict(self.summary)}

    def text(self, *, verbose: bool) -> str:
        """One line."""
        del verbose
        s = self.summary
        sign = "-" if s.growth < 0 else "+"
        return (
            f"{s.added:,} added ({size_text(s.added_size)}), {s.removed:,} removed ({size_text(s.removed_size)}), "
            f"{s.content:,} with other content ({size_text(s.changed_size)}), {s.metadata:,} with other metadata, "
            f"{s.type:,} of another type; {sign}{size_text(abs(s.growth))}"
        )


@dataclass(frozen=True, slots=True)
class StoreFigures:
    """The numbers of a store."""

    message_type: ClassVar[str] = "store_stats"

    url: str
    stats: StoreStats

    def fields(self) -> dict[str, object]:
        """See docs/cli.md."""
        per_chunk = round(self.stats.index_bytes_per_chunk, 3)
        return {"store": self.url, **asdict(self.stats), "index_bytes_per_chunk": per_chunk}

    def text(self, *, verbose: bool) -> str:
        """A line for each number."""
        s = self.stats
        lines = [
            ("snapshots", f"{s.snapshots:,}" + (f" (and {s.checkpoints:,} checkpoints)" if s.checkpoints else "")),
            ("raw", f"{size_text(s.raw)} in the files of all snapshots"),
            ("unique", f"{size_text(s.unique)} of distinct chunks of contents{_ratio(s.raw, s.unique)}"),
            ("stored", f"{size_text(s.stored)} of packs for them{_ratio(s.raw, s.stored)}"),
            ("manifests", f"{size_text(s.manifest)}, stored in {size_text(s.manifest_stored)}"),
            ("chunks", f"{s.chunks:,} in {s.blocks:,} blocks in {count_text(s.packs, 'pack')}"),
            ("index", f"{size_text(s.index_stored)}, {s.index_bytes_per_chunk:.1f} bytes per chunk"),
        ]
        if s.forgotten or verbose:
            lines.append(("forgotten", f"{s.forgotten:,} snapshots and checkpoints, whose data is still there"))
        if s.unreferenced or verbose:
            lines.append(("left over", f"{count_text(s.unreferenced, 'pack')}, {size_text(s.unreferenced_stored)}"))
        return _aligned(lines)


@dataclass(frozen=True, slots=True)
class SnapshotFigures:
    """The numbers of one snapshot."""

    message_type: ClassVar[str] = "snapshot_stats"

    snapshot: Snapshot
    stats: SnapshotStats

    def fields(self) -> dict[str, object]:
        """See docs/cli.md."""
        return {"snapshot": self.snapshot.id, **asdict(self.stats)}

    def text(self, *, verbose: bool) -> str:
        """A line for each number."""
        s = self.stats
        return _aligned(
            [
                ("snapshot", self.snapshot.id if verbose else short_id(self.snapshot)),
                ("entries", f"{s.files:,} files, {s.directories:,} directories, {s.others:,} others"),
                ("raw", f"{size_text(s.raw)} in its files"),
                ("unique", f"{size_text(s.unique)} of {s.chunks:,} distinct chunks of contents"),
                ("stored", f"{size_text(s.stored)} of blocks, its share of them{_ratio(s.raw, s.stored)}"),
                ("manifests", f"{size_text(s.manifest)} of {s.manifests:,}, stored in {size_text(s.manifest_stored)}"),
            ]
        )


@dataclass(frozen=True, slots=True)
class CheckSummary:
    """What a check looked at and how much it found."""

    message_type: ClassVar[str] = "summary"

    result: CheckResult
    read_data: bool
    errors: int
    warnings: int
    notes: int
    seconds: float

    def fields(self) -> dict[str, object]:
        """See docs/cli.md."""
        result = self.result
        return {
            "snapshots": result.snapshots,
            "packs": result.packs,
            "chunks": result.chunks,
            "size_read": result.bytes_read,
            "read_data": self.read_data,
            "errors": self.errors,
            "warnings": self.warnings,
            "notes": self.notes,
            "seconds": round(self.seconds, 6),
        }

    def text(self, *, verbose: bool) -> str:
        """One line."""
        del verbose
        result = self.result
        looked = (
            f"checked {count_text(result.snapshots, 'snapshot')}, {count_text(result.packs, 'pack')}, "
            f"{count_text(result.chunks, 'chunk')}, read {size_text(result.bytes_read)} in "
            f"{duration_text(self.seconds)}"
        )
        if not self.errors and not self.warnings:
            return f"{looked}: no errors" + ("" if self.read_data else "; contents were not read (--read-data)")
        return f"{looked}: {count_text(self.errors, 'error')}, {count_text(self.warnings, 'warning')}"


def _ratio(raw: int, part: int) -> str:
    return f", 1/{raw / part:.2f} of raw" if raw and part else ""


def _aligned(lines: list[tuple[str, str]]) -> str:
    width = max(len(name) for name, _ in lines)
    return "\n".join(f"{name.ljust(width)}  {value}" for name, value in lines)
