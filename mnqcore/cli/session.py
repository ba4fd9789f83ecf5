"""`mnq run --stage trade`: a session from the command line, seen while it runs, and how it ended."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

import click

from mnqcore.cli import session_report
from mnqcore.cli.session_view import view_of
from mnqcore.errors import RiskStop, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnqcore.cli.context import Context
    from mnqcore.stages.options import Options
    from mnqcore.stages.trade import Traded
    from mnqcore.strategy.model import Strategy

INTERRUPTED = 130
"""Exit code of a session that was stopped while something was held."""


def run_session(
    context: Context, file: str, strategy: str | None, settings: Sequence[str], options: Options, *, dry: bool
) -> int:
    """Run a session and return the exit code."""
    from mnqcore.stages.run import asked_for
    from mnqcore.stages.trade import trade

    if dry:
        raise UsageError("--dry-run: a session has nothing to measure", next="mnq check FILE, or --mode replay")
    out = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):  # what a plugin prints is no result
        asked = asked_for(file, strategy, "trade", settings, context.plugins(), options)
        confirmed = _confirmed(asked.strategy, options)
        view = view_of(context, out)
        try:
            found = trade(
                asked.strategy, asked.plugins, context.runs_dir, asked.options, watcher=view, confirmed=confirmed
            )
        finally:
            view.close()
    code = exit_code(found)
    _finish(context, asked.plugins, found, code)
    return code


def exit_code(found: Traded) -> int:
    """Return how a session ended: 0 well or flat, 7 by a limit, 130 stopped with a position."""
    if found.run is not None and found.why.startswith("the loss limit"):
        return RiskStop.exit_code
    return INTERRUPTED if found.run is None and found.held else 0


def _confirmed(strategy: Strategy, options: Options) -> bool:
    """Have a person type which account may lose how much, where money is at stake; False where none is.

    Raises:
        UsageError: nobody is there to type it, or something else was typed.
    """
    if (options.mode or strategy.trade.mode) != "live":
        return False
    account, most = strategy.trade.account, strategy.risk.max_loss
    if account is None or most is None:  # the stage says what else is missing
        return False
    if not sys.stdin.isatty():
        raise UsageError("live needs a person at a terminal to confirm it", next="--mode paper, or type it yourself")
    phrase = f"{account} may lose {most:,.0f}"
    click.echo(f"This trades money: {strategy.name} on account {account}, at most {most:,.2f} from its peak.", err=True)
    if click.prompt(f'Type "{phrase}" to begin', default="", show_default=False, err=True).strip() != phrase:
        raise UsageError("not confirmed: nothing was sent")
    return True


def _finish(context: Context, plugins: Any, found: Traded, code: int) -> None:
    from mnqcore.stages.sessions import result_of
    from mnqcore.stages.watching import ignored

    if found.run is not None:
        result = result_of(found)
        ignored(lambda: plugins.run_finished(result.run, result))
    session_report.show(context, found, code)
