"""Commands that write to a store: `init`, `snapshot`, `forget`."""

from __future__ import annotations

import os
import re
import select
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import click

from snapstore.cli.messages import ForgottenLine
from snapstore.cli.parameters import SIZE, SNAPSHOT, Command, given
from snapstore.cli.run import Run, verb
from snapstore.cli.summaries import Created, SnapshotSummary
from snapstore.errors import RequestError

if TYPE_CHECKING:
    from snapstore.backends import Durability

INCOMPLETE = 3
"""The exit code where the snapshot was made, or the files restored, but not all as they should be."""

_RESERVED = re.compile(r"latest(?:~[0-9]+)?\Z").match
_LABEL_LIMIT = 200


@click.command(
    cls=Command,
    epilog="""\b
Examples:
  snapstore init
  snapstore -s /mnt/disk/store init --no-encryption
  snapstore -s /mnt/disk/vm-images init --chunk-min 64K --chunk-avg 256K --chunk-max 1M""",
)
@click.option("--chunk-min", type=SIZE, help="Shortest chunk, at least 64 bytes.  [default: 16K]")
@click.option("--chunk-avg", type=SIZE, help="Average chunk, a power of two.  [default: 64K]")
@click.option("--chunk-max", type=SIZE, help="Longest chunk, at most 16M.  [default: 256K]")
@click.option("--no-encryption", is_flag=True, help="Store without encryption: the only mode of this release.")
@verb
def init(
    run: Run, /, *, chunk_min: int | None, chunk_avg: int | None, chunk_max: int | None, no_encryption: bool
) -> None:
    """Make a new, empty store.

    The directory is made if need be and has to be empty. Chunk sizes are fixed for the life of the store; the defaults
    suit most trees. SIZE is bytes, or a number with K, M, G (powers of 1024).
    """
    from snapstore.backends import open_backend
    from snapstore.format.chunker import ChunkerParameters
    from snapstore.store.repository import create_store

    default = ChunkerParameters()
    try:
        parameters = ChunkerParameters(
            default.minimum if chunk_min is None else chunk_min,
            default.average if chunk_avg is None else chunk_avg,
            default.maximum if chunk_max is None else chunk_max,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    backend = open_backend(run.url)
    config = create_store(backend, parameters=parameters)
    if not no_encryption:
        run.output.notice("this release stores without encryption (--no-encryption says that you know)")
    run.output.summarise(Created(backend.url, config))


def label(ctx: click.Context, param: click.Parameter, value: str | tuple[str, ...] | None) -> object:
    """A name or tags that a person can read and type again."""
    for each in (value,) if isinstance(value, str) else value or ():
        if not each or not each.isprintable() or len(each) > _LABEL_LIMIT or each != each.strip():
            reason = f"has to be 1 to {_LABEL_LIMIT} printable characters without blanks around them"
            raise click.BadParameter(reason, ctx=ctx, param=param)
        if param.name == "name" and _RESERVED(each):
            raise click.BadParameter("'latest' always means the newest snapshot", ctx=ctx, param=param)
    return value


@click.command(
    cls=Command,
    short_help="Take a snapshot of the system, of trees, files, or a stream.",
    ordered=("exclude", "include", "exclude_from"),
    epilog="""\b
Examples:
  snapstore snapshot
  snapstore snapshot --system --root /mnt/image --name image
  snapstore snapshot /home /etc
  snapstore snapshot /home --exclude '*.o' --exclude /home/me/.cache --include keep.o
  snapstore snapshot / --one-file-system --exclude-caches --name before-upgrade
  pg_dump shop | snapstore snapshot --stdin-name shop.sql --tag database

\b
Exit codes: 0 done; 3 done, but some files could not be read; 1 failed; 130 stopped.""",
)
@click.argument("paths", metavar="[PATH...]", nargs=-1, type=click.Path(path_type=bytes))
@click.option("--system", is_flag=True, help="Snapshot the system, as without PATH.")
@click.option(
    "--root", metavar="DIR", type=click.Path(path_type=bytes, readable=False), callback=given,
    help="Of the system that lies there.  [default: /]",
)  # fmt: skip
@click.option("--no-skip-packaged", is_flag=True, help="Of a system, store what its packages would bring back, too.")
@click.option("--all-file-systems", is_flag=True, help="Of a system, enter other file systems that are mounted below.")
@click.option(
    "--reference", "references", metavar="DIR", multiple=True,
    type=click.Path(path_type=bytes, file_okay=False, exists=True), callback=given,
    help="Of a system, take modes, owners and links from the .deb files in a directory.  [repeatable]",
)  # fmt: skip
@click.option("--name", callback=label, help="A name for the snapshot; of several with one name the newest is meant.")
@click.option("--tag", "tags", multiple=True, callback=label, help="A tag to find it by.  [repeatable]")
@click.option("--exclude", metavar="PATTERN", multiple=True, help="Leave out what matches.  [repeatable]")
@click.option("--include", metavar="PATTERN", multiple=True, help="Keep what matches after all.  [repeatable]")
@click.option(
    "--exclude-from", metavar="FILE", multiple=True, type=click.Path(path_type=bytes, allow_dash=True),
    help="Read patterns from a file, one a line, # comments, ! keeps; - is standard input.  [repeatable]",
)  # fmt: skip
@click.option("--exclude-caches", is_flag=True, help="Leave out what is in directories with a CACHEDIR.TAG.")
@click.option("--one-file-system", is_flag=True, help="Do not enter other file systems; their mount points are kept.")
@click.option("--exclude-larger-than", metavar="SIZE", type=SIZE, help="Leave out files of more bytes (10M, 1.5G).")
@click.option("--dry-run", is_flag=True, help="Read everything, say what would be new, and write nothing.")
@click.option("--level", type=click.IntRange(1, 22), help="zstd level, 1 (fast) to 22 (small).  [default: 3]")
@click.option("--stdin-name", metavar="NAME", help="Snapshot standard input as a file of that path instead of PATH.")
@click.option("--no-read-back", is_flag=True, help="Do not decompress and hash each block before it is stored.")
@click.option(
    "--durability", type=click.Choice(["full", "batch"]), default="full",
    help="fsync packs one by one, or (batch) together before each commit; just as safe.  [default: full]",
)  # fmt: skip
@verb
def snapshot(
    run: Run,
    /,
    *,
    paths: tuple[bytes, ...],
    system: bool,
    root: bytes | None,
    no_skip_packaged: bool,
    all_file_systems: bool,
    references: tuple[bytes, ...],
    name: str | None,
    tags: tuple[str, ...],
    exclude_caches: bool,
    one_file_system: bool,
    exclude_larger_than: int | None,
    dry_run: bool,
    level: int | None,
    stdin_name: str | None,
    no_read_back: bool,
    durability: Durability,
    **in_order: object,
) -> int:
    """Take a snapshot of the system, of directory trees, of single files, or of a stream.

    Without PATH it is the system: its packages, repositories, users and services as records, and those files that its
    packages do not bring back (`snapstore audit` lists them). With PATH everything that is there is stored. Files that
    have not changed since the last snapshot of the same PATH are not read again. Without a store named, the default one
    is used, and made at first.

    --exclude, --include and --exclude-from are one list of gitignore patterns in the order given, and the last that
    matches a path decides. A pattern with a slash is anchored at PATH; an absolute one also leaves out what is at that
    place. What is below a directory that is left out cannot be included again. The store itself is always left out.
    """
    del in_order  # exclude, include and exclude_from, which `run.ordered` has too
    stream = _check_sources(paths, stdin_name, filtered=bool(run.ordered), dry_run=dry_run)
    whole = system or not (paths or stream)
    _check_system(
        whole=whole, paths=paths, stream=stream,
        only_system=no_skip_packaged or all_file_systems or bool(references) or root is not None,
        only_paths=one_file_system or exclude_caches,
    )  # fmt: skip
    from snapstore.format.codec import DEFAULT_LEVEL
    from snapstore.fs.filters import FilterRules
    from snapstore.ops.snapshot import SnapshotOptions, preview_snapshot, snapshot_stream, take_snapshot

    rules = FilterRules(
        excludes=tuple(_pattern_lines(run.ordered)),
        larger_than=exclude_larger_than,
        exclude_caches=exclude_caches,
        one_file_system=one_file_system,
    )
    options = SnapshotOptions(
        name=name or "",
        tags=tags,
        rules=rules,
        level=DEFAULT_LEVEL if level is None else level,
        read_back=not no_read_back,
    )
    store = run.store() if dry_run else run.store_to_write(durability=durability)
    if no_read_back and not dry_run:
        run.output.notice("blocks are not decompressed and hashed before they are stored (--no-read-back)")
    if whole:
        from snapstore.cli.auditing import system_options
        from snapstore.ops.systemsnapshot import snapshot_system

        result = snapshot_system(
            store,
            system_options(
                root or b"/", skip_packaged=not no_skip_packaged, enter_mounts=all_file_systems, rules=rules,
                references=references, cache=run.local().cache,
            ),
            options=options, local=run.local(), progress=run.progress, cancellation=run.cancellation, dry=dry_run,
        )  # fmt: skip
    elif stream:
        result = snapshot_stream(
            store, _standard_input(run), path=stream, options=options, local=run.local(),
            progress=run.progress, cancellation=run.cancellation,
        )  # fmt: skip
    else:
        take = preview_snapshot if dry_run else take_snapshot
        result = take(
            store, paths, options=options, local=run.local(make=not dry_run),
            progress=run.progress, cancellation=run.cancellation,
        )  # fmt: skip
    run.close_progress()
    run.note_damage(result.damaged)
    run.output.summarise(SnapshotSummary(result, read_back=not no_read_back))
    return INCOMPLETE if result.snapshot.totals.warnings else 0


def _check_sources(paths: tuple[bytes, ...], stdin_name: str | None, *, filtered: bool, dry_run: bool) -> bytes:
    """The absolute path of the stream in the snapshot, empty where there is none; UsageError for odd mixtures."""
    if stdin_name is None:
        if any(not path for path in paths):
            raise click.UsageError("PATH is empty.")
        return b""
    if paths or filtered or dry_run:
        raise click.UsageError("--stdin-name goes with neither PATH nor patterns nor --dry-run.")
    path = os.fsencode(stdin_name)
    parts = path.split(b"/")[1:] if path.startswith(b"/") else path.split(b"/")
    if any(part in (b"", b".", b"..") or len(part) > 255 for part in parts):
        raise click.UsageError("--stdin-name has to be the name of a file, with directories before it or not.")
    return b"/" + b"/".join(parts)


def _check_system(*, whole: bool, paths: tuple[bytes, ...], stream: bytes, only_system: bool, only_paths: bool) -> None:
    """Nothing; UsageError where options of a system and of paths are mixed."""
    if whole and (paths or stream):
        raise click.UsageError("--system goes with neither PATH nor --stdin-name.")
    if only_system and not whole:
        raise click.UsageError(
            "--root, --no-skip-packaged, --all-file-systems and --reference are for a system: leave out PATH."
        )
    if only_paths and whole:
        raise click.UsageError("--one-file-system and --exclude-caches go with PATH only.")


def _pattern_lines(order: Sequence[tuple[str, str | bytes]]) -> Iterator[str]:
    from snapstore.fs.filters import include_line

    for option, value in order:
        if isinstance(value, bytes):
            yield from _lines_of(value)
        elif option == "include":
            yield include_line(value)
        else:
            # Only in a file does a line starting with these mean something else.
            yield f"\\{value}" if value.startswith(("#", "!")) else value


def _lines_of(path: bytes) -> list[str]:
    try:
        with open(0 if path == b"-" else path, "rb", closefd=path != b"-") as file:
            data = file.read()
    except OSError as error:
        raise RequestError(f"--exclude-from {os.fsdecode(path)} cannot be read: {error.strerror}") from error
    lines = (line.decode("utf-8", "surrogateescape").removesuffix("\r") for line in data.split(b"\n"))
    return [line for line in lines if line and not line.startswith("#")]


def _standard_input(run: Run, /) -> Callable[[memoryview], int]:
    """What fills a buffer from standard input, and notices between reads that it is to stop."""
    readable = select.poll()
    readable.register(0, select.POLLIN)

    def read_into(buffer: memoryview) -> int:
        while True:
            run.cancellation.check()
            try:
                if readable.poll(100):
                    return os.readv(0, [buffer])
            except BlockingIOError:
                continue
            except OSError as error:
                raise RequestError(f"standard input cannot be read: {error.strerror}") from error

    return read_into


@click.command(
    cls=Command,
    epilog="""\b
Examples:
  snapstore forget 3fa9c2d1
  snapstore forget latest~3 before-upgrade --dry-run""",
)
@click.argument("snapshots", metavar="SNAPSHOT...", nargs=-1, required=True, type=SNAPSHOT)
@click.option("--dry-run", is_flag=True, help="Say which ones would be forgotten, and do nothing.")
@verb
def forget(run: Run, /, *, snapshots: tuple[str, ...], dry_run: bool) -> None:
    """Take snapshots out of every list.

    All names are looked up before the first one goes. What only they hold stays in the store for now: this release
    does not collect it.
    """
    store = run.store()
    finals = store.finals()
    run.note_damage(finals.damaged)
    kept = finals.snapshots()
    from snapstore.store.repository import choose

    chosen = list({each.session: each for each in (choose(kept, name) for name in snapshots)}.values())
    if not dry_run:
        store.forget(chosen)
    for each in chosen:
        run.output.emit(ForgottenLine(each, dry_run))
