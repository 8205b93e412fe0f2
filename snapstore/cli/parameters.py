"""Commands and options as this program has them: global ones everywhere, ordered ones, sizes, snapshot names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from snapstore.cli.quantities import parse_size
from snapstore.cli.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])

ORDER_KEY = "snapstore.order"
_ALIASES = {"list": "snapshots"}


class Size(click.ParamType[int]):
    """A number of bytes."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Bytes for what the person wrote."""
        if isinstance(value, int):
            return value
        try:
            return parse_size(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class SnapshotName(click.ParamType[str]):
    """What names a snapshot; completes ids and names from the store."""

    name = "snapshot"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The snapshots whose id or name begins like that; none where the store cannot be asked."""
        from snapstore.cli.completion import snapshot_names

        del param
        settings = ctx.find_object(Settings) or Settings()
        return [CompletionItem(name, help=about) for name, about in snapshot_names(settings, incomplete)]


SIZE = Size()
SNAPSHOT = SnapshotName()


def given(ctx: click.Context, param: click.Parameter, value: bytes | tuple[bytes, ...] | None) -> object:
    """A path, or paths, none of them empty: an empty one is what a shell makes of a variable that is not set."""
    if any(not each for each in ((value,) if isinstance(value, bytes) else value or ())):
        raise click.BadParameter("it is empty.", ctx=ctx, param=param)
    return value


class OutputPath(click.Path):
    """A file to write, which need not be readable."""

    def __init__(self, *, allow_dash: bool = False) -> None:
        super().__init__(path_type=bytes, allow_dash=allow_dash, readable=False)


class GlobalOption(click.Option):
    """An option that every command takes, and that may stand before the command too."""


def _remember(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    settings = ctx.ensure_object(Settings)
    if value is None or value is False:
        return
    if param.name == "store":
        settings.store = value
    elif param.name == "as_json":
        settings.json = True
    elif param.name == "quiet":
        settings.quiet = True
    elif param.name == "verbose":
        settings.verbose = True
    elif param.name == "no_progress":
        settings.progress = False
    if settings.quiet and settings.verbose:
        raise click.UsageError("--quiet and --verbose contradict each other", ctx=ctx)


def _global_options() -> list[click.Parameter]:
    def flag(*names: str, help: str) -> GlobalOption:  # noqa: A002 click's word
        return GlobalOption(names, is_flag=True, is_eager=True, expose_value=False, callback=_remember, help=help)

    return [
        GlobalOption(
            ("-s", "--store"), metavar="URL", is_eager=True, expose_value=False, callback=_remember,
            help="The store: a path or file:///path.  [env: SNAPSTORE_STORE; default: store in the data directory of "
            "snapstore, see `snapstore version --verbose`]",
        ),
        flag("as_json", "--json", help="Print JSON lines, each with a message_type; see docs/cli.md."),
        flag("-q", "--quiet", help="No progress, notices and closing summary; warnings and errors still."),
        flag("-v", "--verbose", help="Tell more: whole ids, sizes, versions."),
        flag("no_progress", "--no-progress", help="No progress bar, lines or status objects."),
    ]  # fmt: skip


class Command(click.Command):
    """A command with the global options, in a section of their own, and options whose order among each other counts.

    `ordered` names parameters; what was given for them is in `ctx.meta[ORDER_KEY]` as (parameter, value) pairs in the
    order of the command line.
    """

    def __init__(self, *args: Any, ordered: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(_global_options())
        self._ordered = tuple(ordered)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """What is left of the arguments."""
        order: list[str] = []
        if self._ordered and not ctx.resilient_parsing:
            # The parser says which option came when; the values come later, each option's by itself.
            _, _, parameters = self.make_parser(ctx).parse_args(args=list(args))
            order = [each.name for each in parameters if each.name in self._ordered]
        left = super().parse_args(ctx, args)
        values = {name: iter(ctx.params.get(name) or ()) for name in self._ordered}
        ctx.meta[ORDER_KEY] = [(name, next(values[name])) for name in order]
        return left

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the command's own options, then the global ones."""
        _format_options(self, ctx, formatter)


class Group(click.Group):
    """The program: the commands in the order in which they were added, and their other names."""

    command_class = Command

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(_global_options())

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the work rather than of the alphabet."""
        del ctx
        return list(self.commands)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name."""
        return super().get_command(ctx, _ALIASES.get(cmd_name, cmd_name))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the options and the commands."""
        _format_options(self, ctx, formatter)
        self.format_commands(ctx, formatter)


def _format_options(command: click.Command, ctx: click.Context, formatter: click.HelpFormatter) -> None:
    own: list[tuple[str, str]] = []
    everywhere: list[tuple[str, str]] = []
    for param in command.get_params(ctx):
        record = param.get_help_record(ctx)
        if record is not None and not isinstance(param, click.Argument):
            (everywhere if isinstance(param, GlobalOption) else own).append(record)
    for title, records in (("Options", own), ("Global options", everywhere)):
        if records:
            with formatter.section(title):
                formatter.write_dl(records)
