"""`python -m snapstore`, and what the installed command calls."""

from __future__ import annotations

import os
import sys

from snapstore.cli import application


def main() -> None:
    """Ends the process with the exit code."""
    code = application.main()
    if sys.stderr is not None:
        sys.stderr.flush()
    # Everything has been written, closed and flushed by now. Taking the interpreter apart object by object would add a
    # tenth to the time of a snapshot in which nothing has changed.
    os._exit(code)


if __name__ == "__main__":
    main()
