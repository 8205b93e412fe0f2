"""Commands that look at a store as a whole: `stats`, `check`."""

from __future__ import annotations

import time

import click

from snapstore.cli.budgetfigures import BudgetFigures
from snapstore.cli.messages import FindingLine
from snapstore.cli.parameters import SNAPSHOT, Command
from snapstore.cli.run import Run, verb
from snapstore.cli.summaries import CheckSummary, SnapshotFigures, StoreFigures


@click.command(
    cls=Command,
    short_help="Show what the store or a snapshot takes.",
    epilog="""\b
Examples:
  snapstore stats
  snapstore stats latest --json
  snapstore stats --budget""",
)
@click.argument("snapshot", required=False, type=SNAPSHOT)
@click.option("--budget", is_flag=True, help="Of a system: what is on disk, and what its snapshot carries.")
@verb
def stats(run: Run, /, *, snapshot: str | None, budget: bool) -> None:
    """Show how much the store, or one snapshot, holds and takes.

    raw is the sum of file sizes, unique what the distinct chunks hold, stored what they take after compression. Of a
    block that a snapshot shares with others it is charged the part that it uses. --budget answers how big a system is:
    bytes on disk by class, and what of them its snapshot carries.
    """
    from snapstore.ops.stats import snapshot_stats, store_stats

    store = run.store()
    view = run.seen(store.view())
    if budget:
        from snapstore.ops.budget import budget as budget_of

        record = run.choose(view, snapshot or "latest")
        run.output.emit(BudgetFigures(record, budget_of(view.reader, record)))
    elif snapshot is None:
        run.output.emit(StoreFigures(store.backend.url, store_stats(store, view)))
    else:
        record = run.choose(view, snapshot)
        run.output.emit(SnapshotFigures(record, snapshot_stats(view.reader, record)))


@click.command(
    cls=Command,
    short_help="Check that nothing is damaged or missing.",
    epilog="""\b
Examples:
  snapstore check
  snapstore check --read-data --json

\b
Exit codes: 0 nothing wrong; 1 errors or warnings were found (notes do not count).""",
)
@click.option("--read-data", is_flag=True, help="Also read all packs whole and verify every chunk of them.")
@verb
def check(run: Run, /, *, read_data: bool) -> int:
    """Check that the store holds all that its snapshots need.

    Looks at every commit record, index, pack, tree and chunk list, and with --read-data at every byte of contents. It
    goes on after the first finding, names each object, says what to do, and never writes.
    """
    from snapstore.ops.check import check as check_store

    began = time.monotonic()
    result = check_store(run.store(), read_data=read_data, progress=run.progress, cancellation=run.cancellation)
    run.close_progress()
    counts = {"error": 0, "warning": 0, "note": 0}
    for finding in result.findings:
        counts[str(finding.severity)] += 1
        if str(finding.severity) != "note" or run.settings.verbose or run.settings.json:
            run.output.emit(FindingLine(finding))
    seconds = time.monotonic() - began
    run.output.summarise(CheckSummary(result, read_data, counts["error"], counts["warning"], counts["note"], seconds))
    return 1 if counts["error"] or counts["warning"] else 0
