"""The command that gives files back: `restore`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from snapstore.cli.keeping import INCOMPLETE
from snapstore.cli.messages import DifferenceLine, PlannedLine
from snapstore.cli.parameters import SNAPSHOT, Command
from snapstore.cli.progress import Display
from snapstore.cli.run import Run, verb
from snapstore.cli.summaries import PlanSummary, RestoreSummary
from snapstore.errors import UnknownSnapshotError

if TYPE_CHECKING:
    from snapstore.model import Snapshot
    from snapstore.store.repository import View

FAILED = 1
_POLICIES = ("never", "changed", "always")


@click.command(
    cls=Command,
    short_help="Restore a snapshot, or parts of it.",
    epilog="""\b
Examples:
  snapstore restore latest --target /tmp/back
  snapstore restore latest:/home/me Documents .bashrc --target /tmp/me
  snapstore restore before-upgrade:/etc --target /etc --overwrite changed --delete --dry-run
  snapstore restore 3fa9c2d1 --target /mnt/new --verify

\b
Exit codes: 0 done; 3 done, but not everything as it was (warnings); 1 failed, or --verify found differences.""",
)
@click.argument("source", metavar="SNAPSHOT[:SUBPATH]", type=SNAPSHOT)
@click.argument("paths", metavar="[PATH...]", nargs=-1)
@click.option(
    "-t", "--target", metavar="DIR", required=True, type=click.Path(path_type=bytes, file_okay=False),
    help="The directory to restore to, made if need be.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="List what would be created, replaced, kept and deleted; write nothing.")
@click.option("--verify", is_flag=True, help="Afterwards compare everything with the snapshot, contents too.")
@click.option(
    "--overwrite", metavar="never|changed|always", type=click.Choice(_POLICIES),
    help="What happens to files that exist.  [default: a target that holds anything is refused]",
)  # fmt: skip
@click.option(
    "--delete", is_flag=True,
    help="Delete from restored directories what the snapshot neither has nor excluded by pattern. What was left out by "
    "--exclude-larger-than or --exclude-caches is deleted too. Other file systems mounted there, the store and "
    "snapstore's own state are left alone.",
)  # fmt: skip
@click.option("--numeric-owner", is_flag=True, help="Restore owners by number, not by name.")
@verb
def restore(
    run: Run,
    /,
    *,
    source: str,
    paths: tuple[str, ...],
    target: bytes,
    dry_run: bool,
    verify: bool,
    overwrite: str | None,
    delete: bool,
    numeric_owner: bool,
) -> int:
    """Restore a snapshot, or parts of it, below a directory.

    A PATH of the snapshot lands below DIR as a whole: /etc/fstab becomes DIR/etc/fstab. With SUBPATH, that directory
    becomes DIR itself, and each PATH that has no slash in front is meant from there. Without PATH everything is
    restored. Nothing outside of DIR is ever touched, and a file appears under its name only once it is complete.
    DIR must not lie inside the store.
    """
    if dry_run and verify:
        raise click.UsageError("--verify has nothing to look at with --dry-run.")
    from snapstore.fs.inode import Policy
    from snapstore.ops.places import own_places
    from snapstore.ops.planned import preview_restore
    from snapstore.ops.restore import RestoreOptions
    from snapstore.ops.restore import restore as restore_files
    from snapstore.ops.restored import verify_restore

    store = run.store()
    view = run.seen(store.view())
    local = run.local(make=False)
    snapshot, strip = _source(run, view, source)
    options = RestoreOptions(
        target=target,
        paths=tuple(_below(strip, os.fsencode(path)) for path in paths),
        strip=strip,
        overwrite=None if overwrite is None else Policy(overwrite),
        delete=delete,
        numeric_owner=numeric_owner,
        protected=own_places(store, (local.cache, local.state)),
    )
    if dry_run:
        plan = PlanSummary()
        for step in preview_restore(view, snapshot, options=options):
            run.cancellation.check()
            setattr(plan, step.action, getattr(plan, step.action) + 1)
            if step.action in ("create", "replace") and step.entry is not None:
                plan.size += step.entry.size
            run.output.emit(PlannedLine(step.action, step.path, step.entry))
        run.output.summarise(plan)
        return 0
    result = restore_files(view, snapshot, options=options, progress=run.progress, cancellation=run.cancellation)
    differences = None
    if verify:
        verified = verify_restore(
            view, snapshot, options=options, progress=_Uncommented(run.progress), cancellation=run.cancellation
        )
        run.close_progress()
        for each in verified.found:
            run.output.emit(DifferenceLine(each.path, each.reason))
        differences = verified.count
    run.close_progress()
    run.output.summarise(RestoreSummary(snapshot, target, result, differences))
    if differences:
        return FAILED
    return INCOMPLETE if result.warnings else 0


class _Uncommented:
    """Passes progress on but for warnings: what a verification finds is its result, and told as such."""

    def __init__(self, progress: Display) -> None:
        self.phase = progress.phase
        self.advance = progress.advance
        self.at = progress.at

    def warn(self, path: bytes, reason: str) -> None:
        """Nothing."""


def _source(run: Run, view: View, text: str) -> tuple[Snapshot, bytes]:
    """The snapshot, and the directory of it that becomes the target. A snapshot's name may hold colons itself."""
    try:
        return run.choose(view, text), b""
    except UnknownSnapshotError:
        name, colon, path = text.partition(":/")
        if not colon:
            name, colon, path = text.partition(":")
        if not colon:
            raise
        return run.choose(view, name), b"/" + os.fsencode(path).strip(b"/")


def _below(strip: bytes, path: bytes) -> bytes:
    return path if path.startswith(b"/") else strip.rstrip(b"/") + b"/" + path
