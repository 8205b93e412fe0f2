"""The command `diff`: two snapshots, or a snapshot and what is there now; of systems by meaning."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from snapstore.cli.browsing import absolute
from snapstore.cli.difflines import FileChangeLine, ScopeChangeLine
from snapstore.cli.messages import ChangeLine
from snapstore.cli.names import clean
from snapstore.cli.parameters import SNAPSHOT, Command, given
from snapstore.cli.run import Run, verb
from snapstore.cli.summaries import DiffSummary
from snapstore.errors import RequestError

if TYPE_CHECKING:
    from snapstore.model import Snapshot
    from snapstore.ops.diff import Summary
    from snapstore.ops.hunks import Contents
    from snapstore.store.reader import Reader
    from snapstore.store.repository import View

_INCOMPLETE = 3


@click.command(
    cls=Command,
    short_help="Show what changed between snapshots, or since one.",
    epilog="""\b
Examples:
  snapstore diff latest~1 latest
  snapstore diff before-upgrade latest /etc --verbose
  snapstore diff latest --live""",
)
@click.argument("a", type=SNAPSHOT)
@click.argument("b", type=SNAPSHOT, required=False)
@click.argument("path", required=False)
@click.option("--live", is_flag=True, help="Compare A with what is there now; then B is left out, PATH is not.")
@click.option(
    "--root", metavar="DIR", type=click.Path(path_type=bytes, readable=False), callback=given,
    help="With --live, where the system lies.  [default: /]",
)  # fmt: skip
@click.option("--hunks/--no-hunks", default=True, help="Show the lines that changed in text files of a system.")
@verb
def diff(run: Run, /, *, a: str, b: str | None, path: str | None, live: bool, root: bytes | None, hunks: bool) -> int:
    """Show what changed from snapshot A to snapshot B, or since A, at PATH and below it.

    Each line begins with what happened: + the path is in B only, - in A only, C its content changed, M its metadata
    (mode, owner, time, ACL and so on), CM both, T it is of another type now.

    Of two snapshots of systems the packages (^ up, v down), repositories, users, services and settings that changed
    come first, and text files are followed by the lines that changed, secrets hidden. A file that a package brought
    back is told as changed, not as new.

    Trees that are the same in both are not even read. The exit code is 0 whether there are changes or not.
    """
    if live and b is not None:
        if path is not None:
            raise click.UsageError("--live compares with the present: leave out B.")
        b, path = None, b
    if not live and b is None:
        raise click.UsageError("Missing argument 'B' (or --live).")
    if root is not None and not live:
        raise click.UsageError("--root says where the live system lies: it goes with --live only.")
    from snapstore.ops.diff import Summary

    where = b"/" if path is None else absolute(path)
    store = run.store()
    view = run.seen(store.view())
    before = run.choose(view, a)
    summary = Summary()
    if b is not None:
        after = run.choose(view, b)
        _compare(run, view.reader, before, after, where=where, summary=summary, hunks=hunks)
        run.output.summarise(DiffSummary(before, after, summary))
        return 0
    if root is not None and not before.scopes:
        raise click.UsageError("--root is for the snapshot of a system; this one is compared with its own paths.")
    _refuse_snapshot(view, path)
    root = root or b"/"
    from snapstore.cli.auditing import system_options
    from snapstore.ops.hunks import live_contents
    from snapstore.ops.live import look
    from snapstore.system.root import Root

    now = look(
        store, view, before, system=system_options(root), local=run.local(), progress=run.progress,
        cancellation=run.cancellation,
    )  # fmt: skip
    run.close_progress()
    with Root(root) as opened:
        contents = live_contents(opened)
        _compare(run, now.reader, before, now.snapshot, where=where, summary=summary, hunks=hunks, new=contents)
    run.output.summarise(DiffSummary(before, None, summary))
    return _INCOMPLETE if now.warnings else 0


def _refuse_snapshot(view: View, path: str | None, /) -> None:
    """Nothing; UsageError for a path that is rather the name of a snapshot: better before a long look than after it."""
    from snapstore.store.repository import choose

    if path is None or path.startswith("/"):
        return
    try:
        choose(view.finals.snapshots(), path)
    except RequestError:
        return
    raise click.UsageError(
        f"--live compares with the present: leave out {clean(path)}, or write /{clean(path)} for a path."
    )


def _compare(
    run: Run, reader: Reader, a: Snapshot, b: Snapshot, /, *, where: bytes, summary: Summary, hunks: bool,
    new: Contents | None = None,
) -> None:  # fmt: skip
    from snapstore.ops.diff import compare

    if not (a.scopes and b.scopes):
        for change in compare(reader, a, b, path=where):
            run.cancellation.check()
            summary.add(change)
            run.output.emit(ChangeLine(change))
        return
    from snapstore.ops.filediff import compare_files
    from snapstore.ops.hunks import stored_contents, text_hunks
    from snapstore.ops.systemdiff import compare_scopes

    if where == b"/":
        for scope_change in compare_scopes(reader, a, b):
            run.output.emit(ScopeChangeLine(scope_change))
    old = stored_contents(reader)
    for file_change in compare_files(reader, a, b, path=where):
        run.cancellation.check()
        change = file_change.change
        summary.add(change)
        lines: tuple[str, ...] = ()
        if hunks and change.before is not None and change.after is not None and "CONTENT" in str(change.kind.name):
            lines = text_hunks(change.path, change.before, change.after, old=old, new=new or old)
        run.output.emit(FileChangeLine(file_change, lines))
