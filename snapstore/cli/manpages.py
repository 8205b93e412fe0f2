"""Writes the manual pages: `python -m snapstore.cli.manpages DIRECTORY`. Needs click-man, for building only."""

from __future__ import annotations

import os
import sys

from click_man.core import write_man_pages

from snapstore.cli.application import PROGRAM, program
from snapstore.version import VERSION


def main() -> None:
    """Nothing; the directory holds one page for the program and one for each command."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m snapstore.cli.manpages DIRECTORY")
    os.makedirs(sys.argv[1], exist_ok=True)
    write_man_pages(PROGRAM, program, version=VERSION, target_dir=sys.argv[1])


if __name__ == "__main__":
    main()
