"""Commands about the program itself: `version`, `completion`."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass
from typing import ClassVar

import click
from click.shell_completion import get_completion_class

from snapstore.cli.parameters import Command
from snapstore.cli.run import Run, verb
from snapstore.cli.settings import COMPLETE_VARIABLE
from snapstore.version import VERSION

_LIBRARIES = ("blake3", "click", "cryptography", "lxml", "pathspec", "platformdirs", "rich", "xxhash", "zstandard")
_SHELLS = ("bash", "zsh", "fish")


@dataclass(frozen=True, slots=True)
class VersionInfo:
    """Which program this is, and on what it runs."""

    message_type: ClassVar[str] = "version"

    format_version: int
    kernel: str
    libraries: dict[str, str]
    store: str

    def fields(self) -> dict[str, object]:
        """See docs/cli.md."""
        return {
            "version": VERSION,
            "format": self.format_version,
            "kernel": self.kernel,
            "python": platform.python_version(),
            "platform": platform.platform(),
            "libraries": self.libraries,
            "store": self.store,
        }

    def text(self, *, verbose: bool) -> str:
        """One line, or all that a report of a problem needs."""
        if not verbose:
            return f"snapstore {VERSION}"
        fields = self.fields()
        libraries = ", ".join(f"{name} {version}" for name, version in self.libraries.items())
        lines = [f"snapstore {VERSION}", f"format    {self.format_version}", f"kernel    {self.kernel}"]
        lines += [f"python    {fields['python']} ({sys.executable})", f"platform  {fields['platform']}"]
        return "\n".join([*lines, f"libraries {libraries}", f"store     {self.store}"])


@click.command(
    cls=Command,
    short_help="Say which version this is, and on what it runs.",
    epilog="""\b
Examples:
  snapstore version
  snapstore version --verbose""",
)
@verb
def version(run: Run, /) -> None:
    """Say which version this is; with --verbose also the store format, the kernel, the libraries and the store's place.

    The kernel is the compiled one (native) or its Python twin (reference), which is many times slower and runs only
    where the other was not built or SNAPSTORE_KERNEL=reference asks for it.
    """
    if not (run.settings.verbose or run.settings.json):
        run.output.emit(VersionInfo(0, "", {}, ""))
        return
    from snapstore import kernel
    from snapstore.format.seal import VERSION as FORMAT_VERSION

    run.output.emit(VersionInfo(FORMAT_VERSION, kernel.NAME, _library_versions(), run.url))


def _library_versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = installed(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


@click.command(
    cls=Command,
    short_help="Print a completion script for a shell.",
    epilog="""\b
Examples:
  snapstore completion bash > ~/.local/share/bash-completion/completions/snapstore
  snapstore completion zsh > ~/.zfunc/_snapstore
  snapstore completion fish > ~/.config/fish/completions/snapstore.fish""",
)
@click.argument("shell", type=click.Choice(_SHELLS), metavar="SHELL")
@verb
def completion(run: Run, /, *, shell: str) -> None:
    """Print the script by which bash, zsh or fish complete commands, options, and the ids and names of snapshots."""
    chosen = get_completion_class(shell)
    if chosen is None:
        raise click.UsageError(f"{shell} is not a shell that is known here")
    run.output.raw(chosen(run.program, {}, "snapstore", COMPLETE_VARIABLE).source().encode())
