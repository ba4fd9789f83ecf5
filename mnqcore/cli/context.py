"""What every command is handed: the options of every command, and the plugins they ask for."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import attrs
import click

from mnqcore.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mnqcore.plugins import Plugins


@attrs.define(kw_only=True)
class Context:
    """The options of every command; `@click.pass_obj` hands it to a command.

    `verbose` is the number of `-v` less that of `-q`.
    """

    plugins_args: tuple[str, ...] = ()
    format: Literal["table", "json"] = "table"
    verbose: int = 0
    runs_dir: Path = Path("runs")
    log_file: Path | None = None
    _plugins: Plugins | None = attrs.field(default=None, init=False, repr=False)

    def plugins(self, *, warn: bool = True) -> Plugins:
        """Return the plugins of this command, loaded once; broken ones are told on stderr unless told to be quiet."""
        if self._plugins is None:
            from mnqcore.plugins import load

            self._plugins = load(self.plugins_args)
            if warn and self.verbose >= 0:
                for broken in self._plugins.broken:
                    click.echo(broken.warning, err=True)
        return self._plugins

    def print_json(self, schema: str, document: Mapping[str, Any]) -> None:
        """Print a document as JSON on stdout, its `schema` ("mnq.plugins/1") first; NaN is an error."""
        click.echo(json.dumps({"schema": schema, **document}, indent=2, allow_nan=False))

    def set(self, option: str, value: Any) -> None:
        """Take one option from the command line; called for each place where it is given."""
        _SETTERS[option](self, value)


def _set_log(context: Context) -> None:
    """Send the log to stderr as loudly as asked, and all of it to the log file."""
    terminal = logging.StreamHandler()
    terminal.setLevel(logging.WARNING - 10 * context.verbose)
    handlers: list[logging.Handler] = [terminal]
    if context.log_file:
        handlers.append(_file_handler(context.log_file))
    logging.basicConfig(level=logging.DEBUG, handlers=handlers, force=True, format="%(levelname)s %(message)s")


def _file_handler(path: Path) -> logging.FileHandler:
    try:
        handler = logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write the log file {path}", found=str(error)) from error
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    return handler


def _louder(context: Context, steps: int) -> None:
    context.verbose += steps
    _set_log(context)


def _log_to(context: Context, path: str) -> None:
    context.log_file = Path(path)
    _set_log(context)


def _add_plugins(context: Context, values: tuple[str, ...]) -> None:
    context.plugins_args += tuple(values)


_SETTERS: dict[str, Callable[[Context, Any], None]] = {
    "plugin": _add_plugins,
    "verbose": _louder,
    "quiet": lambda context, steps: _louder(context, -steps),
    "format": lambda context, value: setattr(context, "format", value),
    "log_file": _log_to,
    "runs_dir": lambda context, value: setattr(context, "runs_dir", Path(value)),
    "traceback": lambda _context, _value: None,  # `main` reads it itself: errors can come before any command
}
"""option -> what it changes."""
