"""The program: its commands, and what becomes of every way in which they can end."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence

import click

from snapstore.cli.about import completion, version
from snapstore.cli.auditing import audit
from snapstore.cli.browsing import cat, find, ls, snapshots
from snapstore.cli.diffing import diff
from snapstore.cli.exchanging import export, import_, show
from snapstore.cli.inspecting import check, stats
from snapstore.cli.keeping import forget, init, snapshot
from snapstore.cli.output import PIPE_EXIT, Output, OutputError, ReaderGone, drop_output
from snapstore.cli.parameters import Group
from snapstore.cli.restoring import restore
from snapstore.cli.run import CANCELLED
from snapstore.cli.settings import COMPLETE_VARIABLE, Settings, debugging
from snapstore.errors import SnapstoreError

PROGRAM = "snapstore"
FAILED = 1

_EXPECTED = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.EIO}
)


@click.group(
    name=PROGRAM,
    cls=Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Examples:
  snapstore snapshot /home
  snapstore snapshots
  snapstore restore latest --target /tmp/back

\b
Exit codes: 0 done; 1 failed; 2 wrong usage; 3 done, but some files could not be read or restored as they
were; 10 no store there; 12 wrong key; 130 stopped; 141 nobody read the output.

\b
Environment: SNAPSTORE_STORE names the store; SNAPSTORE_KERNEL=native|reference chooses the kernel;
SNAPSTORE_DEBUG=1 shows where internal errors came from.""",
)
def program() -> None:
    """Deduplicated, incremental snapshots of directory trees in a store of your own.

    The global options may stand before the command and after it.
    """


for _command in (
    init,
    snapshot,
    snapshots,
    show,
    ls,
    cat,
    find,
    diff,
    restore,
    export,
    import_,
    audit,
    stats,
    check,
    forget,
    version,
    completion,
):
    program.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code of a run with these arguments, those of the process if there are none given."""
    _keep_standard_descriptors()
    given = list(sys.argv[1:] if arguments is None else arguments)
    settings = Settings()
    try:
        code = program.main(
            given, prog_name=PROGRAM, complete_var=COMPLETE_VARIABLE, standalone_mode=False, obj=settings
        )
        Output(settings).flush()
        if sys.stdout is not None:
            sys.stdout.flush()
    except BaseException as error:  # noqa: BLE001 the last one there is
        settings.json = settings.json or "--json" in given
        return _ended(error, Output(settings))
    return code if isinstance(code, int) else 0


def _ended(error: BaseException, output: Output) -> int:
    """The exit code for what ended the program, after telling what a person has to know."""
    match error:
        case ReaderGone():
            drop_output()
            return PIPE_EXIT
        case OutputError():
            drop_output()
            output.fail(FAILED, error.message)
            return FAILED
        case click.ClickException():
            return _misused(error, output)
        case KeyboardInterrupt() | click.Abort():
            output.fail(CANCELLED, "stopped")
            return _flushed(CANCELLED)
        case SnapstoreError():
            output.fail(error.exit_code, error.message, error.advice)
            return _flushed(error.exit_code)
        case SystemExit() if COMPLETE_VARIABLE in os.environ:
            return _flushed(error.code if isinstance(error.code, int) else FAILED)
        case SystemExit():
            # click leaves like this, too, where its own text met a closed pipe.
            drop_output()
            return PIPE_EXIT
        case MemoryError():
            output.fail(FAILED, "there is not enough memory", "the store is valid")
            return _flushed(FAILED)
        case OSError() if error.filename is not None or error.errno in _EXPECTED:
            named = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
            output.fail(FAILED, f"{named}{error.strerror}")
            return _flushed(FAILED)
    if debugging():
        import traceback

        traceback.print_exception(error)
    what = " ".join(f"{type(error).__name__}: {error}".split())
    output.fail(FAILED, f"internal error: {what}", "please report; SNAPSTORE_DEBUG=1 shows the trace")
    return _flushed(FAILED)


def _misused(error: click.ClickException, output: Output) -> int:
    if output.json:
        output.fail(error.exit_code, error.format_message(), "--help shows how it is used")
    else:
        try:
            error.show()
        except OSError:
            drop_output()
    return _flushed(error.exit_code)


def _flushed(code: int) -> int:
    """The code; results from before the failure have been written, or it is too late for them."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        drop_output()
    return code


def _keep_standard_descriptors() -> None:
    """Nothing; no file of a store can get a number that something prints to, even if a standard stream was closed."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
