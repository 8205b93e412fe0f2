"""What `stats --budget` tells, in both forms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from snapstore.cli.messages import short_id
from snapstore.cli.quantities import size_text

if TYPE_CHECKING:
    from snapstore.model import Snapshot
    from snapstore.ops.budget import Budget

_WIDTH = 26


@dataclass(frozen=True, slots=True)
class BudgetFigures:
    """How big a system is, and what its snapshot carries."""

    message_type: ClassVar[str] = "budget"

    snapshot: Snapshot
    budget: Budget

    @property
    def _on_disk(self) -> int:
        return sum(each.size for each in self.budget.classes)

    def fields(self) -> dict[str, object]:
        """See docs/cli.md."""
        stats = self.budget.stats
        return {
            "snapshot": self.snapshot.id,
            "on_disk": self._on_disk,
            "classes": {
                each.cls: {
                    "files": each.files, "directories": each.directories, "others": each.others, "size": each.size,
                }
                for each in self.budget.classes
            },
            "carried": stats.raw,
            "unique": stats.unique,
            "stored": stats.stored,
            "records": dict(self.budget.records),
            "manifest": stats.manifest,
            "manifest_stored": stats.manifest_stored,
        }  # fmt: skip

    def text(self, *, verbose: bool) -> str:
        """A line for each figure."""
        stats = self.budget.stats
        total = self._on_disk
        lines = [f"snapshot {short_id(self.snapshot)}", "on disk"]
        lines += [_line(f"  {each.cls}", each.size, total) for each in self.budget.classes]
        lines.append(_line("  all classes", total, total))
        lines += ["in the snapshot", _line("  contents", stats.raw, total)]
        if verbose:
            lines += [_line(f"  {name}.xml", size, total) for name, size in self.budget.records]
        records = sum(size for _, size in self.budget.records)
        lines += [
            _line("  scope records", records, total),
            _line("  trees", stats.manifest - records, total),
            "in the store",
            _line("  contents", stats.stored, total),
            _line("  manifests", stats.manifest_stored, total),
            _line("  both", stats.stored + stats.manifest_stored, total),
        ]
        return "\n".join(lines)


def _line(name: str, size: int, total: int) -> str:
    share = f"  {100 * size / total:6.2f} %" if total else ""
    return f"{name:<{_WIDTH}}{size_text(size):>12}{share}"
