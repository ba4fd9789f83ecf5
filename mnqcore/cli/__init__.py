"""The command line: a table of commands, each imported only when it is called.

Options of every command (`-p`, `-v`, `--format`, ...) are taken before and after the command's name.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

import click

from mnqcore.errors import MnqError, suggest

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = {
    "run": ("mnqcore.cli.run:run", "Run stages of a strategy: mnq run FILE -s NAME --stage backtest"),
    "check": ("mnqcore.cli.check:check", "Check a strategy file; nothing is run"),
    "show": ("mnqcore.cli.show:show", "Show a strategy with every default filled in"),
    "schema": ("mnqcore.cli.schema:schema", "Write the JSON schema that editors complete strategy files with"),
    "new": ("mnqcore.cli.new:new", "Write a plugin package, or a strategy file, to begin with"),
    "init": ("mnqcore.cli.init:init", "Make a project folder: a strategy, its schema, a place for bars"),
    "plugins": ("mnqcore.cli.plugins:plugins", "List plugins, and check what they promise: mnq plugins check NAME"),
    "list": ("mnqcore.cli.list:list_pieces", "List what a strategy file can name, and its parameters"),
    "data": ("mnqcore.cli.data:data", "Check and import bars"),
    "runs": ("mnqcore.cli.runs:runs", "List, show, compare, verify and remove runs"),
    "trade": ("mnqcore.cli.trade:trade", "Look after a running session: status, halt, resume, flatten, adopt, disown"),
    "parity": ("mnqcore.cli.parity:parity", "Prove that what a session did is what the backtester does"),
    "journal": ("mnqcore.cli.journal:journal", "Show, verify and export the journal of a session"),
}
"""command -> ("module:attribute" of its click command, one line of help)."""

# The built-in `list` is not used in this module: importing the submodule of that name replaces it here.


class LazyGroup(click.Group):
    """A click group that knows its commands by name and imports the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the table's order."""
        return [*COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command and let it take the options of every command."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        _take_global_options(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, suggesting one for an unknown name."""
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            meant = suggest(args[0], [*COMMANDS])
            ctx.fail(f"no command '{args[0]}'." + (f" Did you mean '{meant}'?" if meant else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands from the table: `mnq --help` imports none of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; errors become a few lines on stderr."""
    arguments = sys.argv[1:] if arguments is None else [*arguments]
    _survive_narrow_terminals()
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # `mnq ... | head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code


def _run(arguments: Sequence[str]) -> int:
    try:
        result = cli.main(arguments, prog_name="mnq", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort as error:
        return _interrupted(error)
    except BrokenPipeError:
        raise
    except Exception as error:
        if "--traceback" in arguments or os.environ.get("MNQ_RAISE"):
            sys.excepthook(type(error), error, error.__traceback__)
        return _report(error)
    return result if type(result) is int else 0


def _report(error: Exception) -> int:
    if isinstance(error, MnqError):
        text = str(error)  # the findings of a strategy file bring their own "FILE:LINE: error:"
        head = "" if ": error:" in text.partition("\n")[0] else "error: "
        click.echo(f"{head}{text}\n  (exit {error.exit_code}; --traceback shows all)", err=True)
        return error.exit_code
    click.echo(f"error: {type(error).__name__}: {error}", err=True)
    click.echo("  this is a bug in mnq: please report it with what --traceback shows  (exit 1)", err=True)
    return 1


def _interrupted(error: click.Abort) -> int:
    if isinstance(error.__cause__ or error.__context__, EOFError):
        click.echo("error: the input ended before the question was answered  (exit 1)", err=True)
        return 1
    click.echo("interrupted  (exit 130)", err=True)
    return 130


def _survive_narrow_terminals() -> None:
    """Let a character that the terminal cannot show become an escape instead of an error."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _set(ctx: click.Context, option: click.Parameter, value: Any) -> None:
    """Keep the value of an option of every command, wherever it was given."""
    if value:
        from mnqcore.cli.context import Context

        ctx.obj = ctx.obj or Context()
        ctx.obj.set(str(option.name), value)


def _print_version(ctx: click.Context, _option: click.Parameter, value: bool) -> None:
    if value:
        from importlib.metadata import version

        click.echo(f"mnq {version('mnq')}")
        ctx.exit()


def _global_options(**more: Any) -> list[click.Parameter]:
    common = {"expose_value": False, "callback": _set, **more}
    return [
        click.Option(
            ["-p", "plugin"], multiple=True, metavar="FILE.py|no:NAME", help="Load or switch off a plugin.", **common
        ),
        click.Option(["-v", "--verbose"], count=True, help="Say more on stderr; -vv more still.", **common),
        click.Option(["-q", "--quiet"], count=True, help="Say less on stderr.", **common),
        click.Option(["--format"], type=click.Choice(["table", "json"]), help="How results are printed.", **common),
        click.Option(["--log-file"], metavar="FILE", help="Also write the log to a file.", **common),
        click.Option(["--runs-dir"], metavar="DIR", help="Where runs are kept.  [default: runs]", **common),
        click.Option(["--traceback"], is_flag=True, help="Show where an error came from.", **common),
    ]


def _take_global_options(command: click.Command) -> None:
    """Add the options of every command to a command and its subcommands, where it has no such option itself."""
    taken = {name for parameter in command.params for name in parameter.opts}
    command.params.extend(option for option in _global_options(hidden=True) if not taken.intersection(option.opts))
    if isinstance(command, click.Group):
        for child in command.commands.values():
            _take_global_options(child)


@click.group(
    cls=LazyGroup,
    params=_global_options(),
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="The options above are taken before and after a command. mnq COMMAND --help tells more.",
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Show the version."
)
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Train and backtest plugin-built futures strategies, composed in TOML."""
    from mnqcore.cli.context import Context

    ctx.obj = ctx.obj or Context()
