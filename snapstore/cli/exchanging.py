"""Commands for what other programs, and people, are to read of a snapshot: `export`, `import`, `show`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from snapstore.cli.exchanged import ExportSummary, ImportSummary
from snapstore.cli.keeping import INCOMPLETE, label
from snapstore.cli.names import clean, path_fields, shown
from snapstore.cli.output import complain, json_line
from snapstore.cli.parameters import SNAPSHOT, Command, OutputPath, given
from snapstore.cli.rowlines import Facts, RowLine, ScopeLine, TextLine, matcher, measured
from snapstore.cli.run import Run, verb
from snapstore.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from snapstore.model import Buffer, Snapshot
    from snapstore.ops.bundle import Exported
    from snapstore.ops.progress import Progress
    from snapstore.store.reader import Reader
    from snapstore.system.record import Row, Scope

SCOPE_NAMES = ("os", "packages", "repos", "users", "services", "files", "completeness")
_FILE = click.Path(path_type=bytes, allow_dash=True)
_OUTPUT = OutputPath(allow_dash=True)


class _Aside:
    """Progress of an export to standard output, which is not to be mixed with anything: warnings go beside it."""

    def __init__(self, run: Run) -> None:
        self._json = run.output.json

    def phase(self, name: str, *, files: int = 0, size: int = 0) -> None:
        """Nothing."""

    def advance(self, *, files: int = 0, size: int = 0) -> None:
        """Nothing."""

    def at(self, path: bytes) -> None:
        """Nothing."""

    def warn(self, path: bytes, reason: str) -> None:
        """The warning, on standard error."""
        if self._json:
            complain(json_line("warning", {**path_fields(path), "reason": clean(reason)}))
        else:
            complain(f"warning: {shown(path)}{': ' if path else ''}{clean(reason)}")


@click.command(
    cls=Command,
    short_help="Write a snapshot as a tar archive.",
    epilog="""\b
Examples:
  snapstore export latest --bundle machine.tar
  snapstore export latest --bundle - | zstd > machine.tar.zst
  snapstore export latest --snapfile machine.tgz

\b
Exit codes: 0 done; 3 done, but not everything is in it as the snapshot has it; 1 failed; 130 stopped.""",
)
@click.argument("snapshot", type=SNAPSHOT)
@click.option(
    "--bundle", metavar="FILE", type=_OUTPUT, callback=given,
    help="Write a bundle to this file; - is standard output.",
)  # fmt: skip
@click.option(
    "--snapfile", metavar="FILE", type=_OUTPUT, callback=given,
    help="Write a snapfile as Snap of 2011 reads it; - likewise.",
)  # fmt: skip
@verb
def export(run: Run, /, *, snapshot: str, bundle: bytes | None, snapfile: bytes | None) -> int:
    """Write a snapshot to one file that other programs can read.

    A bundle is a tar archive: at its top the records of the system as XML (packages.xml, services.xml and so on, where
    the snapshot has them) and the snapshot's own record, and below root/ everything that it holds. The same snapshot
    gives the same bytes. It holds secrets, such as the hashes of passwords, if the snapshot does. FILE has its name
    only once it is complete.
    """
    path = bundle if snapfile is None else snapfile
    if path is None or (bundle is not None and snapfile is not None):
        raise click.UsageError("Give either --bundle or --snapfile.")
    store = run.store()
    view = run.seen(store.view())
    record = run.choose(view, snapshot)

    def work(write: Callable[[Buffer], object], progress: Progress) -> Exported:
        from snapstore.ops.bundle import export_bundle
        from snapstore.ops.snapfile import export_snapfile

        if snapfile is not None:
            return export_snapfile(view.reader, record, write, progress=progress, cancellation=run.cancellation)
        return export_bundle(
            view.reader, record, write, parameters=store.config.parameters, progress=progress,
            cancellation=run.cancellation,
        )  # fmt: skip

    if path == b"-":
        return INCOMPLETE if work(run.output.raw, _Aside(run)).warnings else 0
    from snapstore.ops.destination import Destination
    from snapstore.ops.places import own_places, refuse_inside

    local = run.local(make=False)
    refuse_inside(path, own_places(store, (local.cache, local.state)))
    with Destination(path) as destination:
        result = work(destination.write, run.progress)
    run.close_progress()
    run.output.summarise(ExportSummary(record, "bundle" if snapfile is None else "snapfile", path, result))
    return INCOMPLETE if result.warnings else 0


@click.command(
    name="import",
    cls=Command,
    short_help="Read a bundle or snapfile as a snapshot.",
    epilog="""\b
Examples:
  snapstore import machine.tar
  snapstore import machine.tgz --name old-server
  ssh host snapstore export latest --bundle - | snapstore import -

\b
Exit codes: 0 done; 3 done, but something could not be taken over as it was; 1 failed; 130 stopped.""",
)
@click.argument("file", metavar="FILE", type=_FILE, callback=given)
@click.option("--name", callback=label, help="A name for the snapshot, instead of the one that it had.")
@click.option("--tag", "tags", multiple=True, callback=label, help="One more tag to find it by.  [repeatable]")
@click.option("--any-ratio", is_flag=True, help="Take an archive that expands to more than 200 times its size.")
@verb
def import_(run: Run, /, *, file: bytes, name: str | None, tags: tuple[str, ...], any_ratio: bool) -> int:
    """Read a file that `export` wrote, or a snapfile of Snap, into the store as a snapshot.

    What it is shows in its contents: a tar archive, plain or compressed with gzip or zstd. FILE may be - for standard
    input. Nothing is written but to the store; whatever is wrong with the file, there is no snapshot then. The
    snapshot has the tag `imported`, and host, name and time of the one that was exported.
    """
    from snapstore.ops.importing import RATIO_LIMIT, ImportOptions, import_archive

    options = ImportOptions(name=name or "", tags=tags, ratio=0 if any_ratio else RATIO_LIMIT)
    fd = _opened(file)
    try:
        result = import_archive(
            run.store_to_write(), _reader_of(run, fd, file), options=options, local=run.local(),
            progress=run.progress, cancellation=run.cancellation,
        )  # fmt: skip
    finally:
        if fd:
            os.close(fd)
    run.close_progress()
    run.note_damage(result.damaged)
    run.output.summarise(ImportSummary(result))
    return INCOMPLETE if result.warnings else 0


def _opened(file: bytes) -> int:
    if file == b"-":
        return 0
    try:
        return os.open(file, os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        raise RequestError(f"{os.fsdecode(file)} cannot be read: {error.strerror}") from error


def _reader_of(run: Run, fd: int, file: bytes) -> Callable[[int], bytes]:
    def read(count: int) -> bytes:
        run.cancellation.check()
        try:
            return os.read(fd, count)
        except OSError as error:
            raise RequestError(f"{os.fsdecode(file)} cannot be read: {error.strerror}") from error

    return read


@click.command(
    cls=Command,
    short_help="Show what a snapshot says of itself and the system.",
    epilog="""\b
Examples:
  snapstore show latest
  snapstore show latest packages --match 'apache2*'
  snapstore show latest users --json
  snapstore show latest services --xml > services.xml""",
)
@click.argument("snapshot", type=SNAPSHOT)
@click.argument("scope", required=False, type=click.Choice(SCOPE_NAMES))
@click.option("--match", metavar="GLOB", help="Only rows of which a naming field (name, path, file) matches.")
@click.option("--reveal", is_flag=True, help="Show secrets too, such as the hashes of passwords.")
@click.option("--xml", is_flag=True, help="The record of SCOPE as the XML document that it is.")
@verb
def show(run: Run, /, *, snapshot: str, scope: str | None, match: str | None, reveal: bool, xml: bool) -> None:
    """Show what a snapshot knows.

    Without SCOPE, what its record says of itself, and of which parts of the system it has a record. With SCOPE (os,
    packages, repos, users, services, files, completeness), that record: a table for each kind of row.
    """
    if scope is None and (match is not None or reveal or xml):
        raise click.UsageError("--match, --reveal and --xml need a SCOPE.")
    if xml and (match is not None or run.output.json):
        raise click.UsageError("--xml gives the document as it is: neither --match nor --json go with it.")
    view = run.view()
    record = run.choose(view, snapshot)
    if scope is None:
        _show_record(run, view.reader, record)
        return
    from snapstore.ops.bundle import scope_document
    from snapstore.ops.scopes import BY_NAME

    chosen = BY_NAME[scope]
    if not xml:
        _show_rows(run, view.reader, record, chosen, match=match, reveal=reveal)
        return
    for piece in scope_document(view.reader, record, chosen, reveal=reveal):
        run.cancellation.check()
        run.output.raw(piece)
    if not reveal and any(field.secret for table in chosen.tables for field in table.fields):
        run.output.notice("secrets are left out (--reveal gives them)")


def _show_record(run: Run, reader: Reader, record: Snapshot) -> None:
    from snapstore.ops.bundle import row_count
    from snapstore.ops.scopes import BY_NAME

    run.output.emit(Facts(record))
    rows = []
    for name, _ in record.scopes:
        known = BY_NAME.get(name)
        rows.append(ScopeLine(name, None if known is None else row_count(reader, record, known)))
    if rows and not run.output.json:
        run.output.emit(TextLine(""))
    run.output.table(rows)


def _show_rows(
    run: Run, reader: Reader, record: Snapshot, scope: Scope, *, match: str | None, reveal: bool
) -> None:  # fmt: skip
    from snapstore.ops.scopes import scope_rows

    matches = None if match is None else matcher(match)

    def rows() -> Iterator[Row]:
        for row in scope_rows(reader, record, scope):
            run.cancellation.check()
            if matches is None or matches(scope.table_of(row), row):
                yield row

    if run.output.json:
        for row in rows():
            run.output.emit(RowLine(scope, row, reveal))
        return
    # Twice: the first time to see how wide the columns are, for there may be more rows than memory.
    layout = measured(scope, rows(), reveal=reveal)
    last = ""
    for row in rows():
        tag = scope.table_of(row).tag
        if tag != last:
            if last:
                run.output.emit(TextLine(""))
            if len(scope.tables) > 1:
                run.output.emit(TextLine(f"{tag}:"))
            run.output.emit(TextLine(layout[tag].heading()))
            last = tag
        run.output.emit(RowLine(scope, row, reveal, layout[tag]))
