"""Commands that read snapshots: `snapshots`, `ls`, `cat`, `find`, `diff`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

import click

from snapstore.cli.messages import EntryLine, SnapshotLine
from snapstore.cli.parameters import SIZE, SNAPSHOT, Command
from snapstore.cli.run import Run, verb
from snapstore.model import Entry, Kind, Snapshot

if TYPE_CHECKING:
    from snapstore.store.reader import Reader

_KINDS = {
    "file": Kind.FILE,
    "f": Kind.FILE,
    "dir": Kind.DIRECTORY,
    "d": Kind.DIRECTORY,
    "link": Kind.SYMLINK,
    "l": Kind.SYMLINK,
    "chardev": Kind.CHARACTER_DEVICE,
    "c": Kind.CHARACTER_DEVICE,
    "blockdev": Kind.BLOCK_DEVICE,
    "b": Kind.BLOCK_DEVICE,
    "fifo": Kind.FIFO,
    "p": Kind.FIFO,
    "socket": Kind.SOCKET,
    "s": Kind.SOCKET,
}
_TIMES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M"]


def absolute(path: str) -> bytes:
    """The path as it is in a snapshot: what has no slash in front is meant from the top."""
    return b"/" + os.fsencode(path).lstrip(b"/")


@click.command(
    cls=Command,
    epilog="""\b
Examples:
  snapstore snapshots
  snapstore list --tag database --json""",
)
@click.option("--tag", "tags", multiple=True, help="Only those that have this tag.  [repeatable: all of them]")
@click.option("--host", help="Only those taken on this host.")
@click.option("--name", help="Only those of this name.")
@click.option("--all", "with_checkpoints", is_flag=True, help="Also checkpoints, which runs that were stopped left.")
@verb
def snapshots(
    run: Run, /, *, tags: tuple[str, ...], host: str | None, name: str | None, with_checkpoints: bool
) -> None:
    """List the snapshots, oldest first. (`list` is the same command.)

    The digits of an id, as many as make it unique but at least 4, name a snapshot for the other commands. So does its
    name, and `latest`, `latest~1` for the one before, and so on.
    """
    finals = run.store().finals()
    run.note_damage(finals.damaged)
    kept = [commit.record for commit in finals.commits if not commit.forgotten] if with_checkpoints else None
    rows = [
        SnapshotLine(record)
        for record in (finals.snapshots() if kept is None else kept)
        if set(tags) <= set(record.tags)
        and (host is None or record.host == host)
        and (name is None or record.name == name)
    ]
    run.output.table(rows)


@click.command(
    cls=Command,
    epilog="""\b
Examples:
  snapstore ls latest
  snapstore ls latest /etc --long
  snapstore ls 3fa9c2d1 /home/me --recursive --json""",
)
@click.argument("snapshot", type=SNAPSHOT)
@click.argument("path", required=False)
@click.option("-l", "--long", is_flag=True, help="Mode, links, owner, group, size in bytes, time and target too.")
@click.option("-R", "--recursive", is_flag=True, help="Also everything below, each directory before what it holds.")
@verb
def ls(run: Run, /, *, snapshot: str, path: str | None, long: bool, recursive: bool) -> None:
    """List what a snapshot holds at PATH.

    Of a directory, what is in it; of anything else, itself. Without PATH, what is in the paths that were snapshot.
    """
    view = run.view()
    record = run.choose(view, snapshot)
    for each, entry in _listed(view.reader, record, path, recursive=recursive):
        run.cancellation.check()
        run.output.emit(EntryLine(each, entry, long))


def _listed(reader: Reader, record: Snapshot, path: str | None, *, recursive: bool) -> Iterator[tuple[bytes, Entry]]:
    from snapstore.ops.browse import children, walk

    if recursive:
        yield from walk(reader, record, b"/" if path is None else absolute(path))
    elif path is not None:
        yield from children(reader, record, absolute(path))
    else:
        for root in record.roots:
            yield from children(reader, record, root.path)


@click.command(
    cls=Command,
    short_help="Write a file to standard output.",
    epilog="""\b
Examples:
  snapstore cat latest /etc/fstab
  snapstore cat latest~1 /shop.sql | psql shop""",
)
@click.argument("snapshot", type=SNAPSHOT)
@click.argument("path")
@verb
def cat(run: Run, /, *, snapshot: str, path: str) -> None:
    """Write a file's bytes to standard output.

    Every byte has been compared with its checksum before it is written; with --json, too, it is the bytes that come.
    """
    from snapstore.ops.browse import find_path
    from snapstore.ops.content import read_file

    view = run.view()
    _, entry = find_path(view.reader, run.choose(view, snapshot), absolute(path))
    for piece in read_file(view.reader, entry):
        run.cancellation.check()
        run.output.raw(piece)


@click.command(
    cls=Command,
    epilog="""\b
Examples:
  snapstore find '*.sql'
  snapstore find fstab --snapshot latest --json
  snapstore find '/home/**/*.iso' --larger 1G --type file""",
)
@click.argument("patterns", metavar="PATTERN...", nargs=-1, required=True)
@click.option(
    "--snapshot", "names", multiple=True, type=SNAPSHOT, help="Only in this one.  [repeatable; default: in all]"
)
@click.option("-i", "--ignore-case", is_flag=True, help="Take upper and lower case for the same.")
@click.option(
    "--type", "kinds", multiple=True, metavar="TYPE", type=click.Choice(list(_KINDS)),
    help="Only file, dir, link, chardev, blockdev, fifo or socket, or the first letters (find's).  [repeatable]",
)  # fmt: skip
@click.option("--larger", metavar="SIZE", type=SIZE, help="Only files of more bytes (10M, 1.5G).")
@click.option("--smaller", metavar="SIZE", type=SIZE, help="Only files of fewer bytes.")
@click.option(
    "--newer",
    metavar="TIME",
    type=click.DateTime(_TIMES),
    help="Only what was modified later (2026-11-23 [07:20[:00]]).",
)
@click.option("--older", metavar="TIME", type=click.DateTime(_TIMES), help="Only what was modified earlier.")
@verb
def find(
    run: Run,
    /,
    *,
    patterns: tuple[str, ...],
    names: tuple[str, ...],
    ignore_case: bool,
    kinds: tuple[str, ...],
    larger: int | None,
    smaller: int | None,
    newer: datetime | None,
    older: datetime | None,
) -> None:
    """Find entries by name, in all snapshots.

    PATTERN is a glob. Without a slash it is compared with names, with one in front with whole paths, with one elsewhere
    with the end of paths. * and ? stand for anything but a slash, ** for that too, [a-z] for one of these. What matches
    any PATTERN and all options is listed after the id of its snapshot.
    """
    from snapstore.ops.find import find as search

    view = run.view()
    every = view.finals.snapshots()
    chosen = every
    if names:
        wanted = {run.choose(view, name).session for name in names}
        chosen = [each for each in every if each.session in wanted]
    hits = search(
        view.reader,
        chosen,
        patterns,
        kinds={_KINDS[kind] for kind in kinds},
        ignore_case=ignore_case,
        newer_than=_nanoseconds(newer),
        older_than=_nanoseconds(older),
        larger=larger,
        smaller=smaller,
    )
    for hit in hits:
        run.cancellation.check()
        run.output.emit(EntryLine(hit.path, hit.entry, snapshot=hit.snapshot))


def _nanoseconds(time: datetime | None) -> int | None:
    return None if time is None else int(time.timestamp()) * 1_000_000_000
