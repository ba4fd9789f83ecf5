"""`mnq run`: stages of a strategy; a thin face of `mnqcore.run`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from mnqcore.cli.context import Context


@click.command()
@click.argument("file", type=click.Path())
@click.option("-s", "--strategy", help="Name of the strategy; not needed when the file has one.")
@click.option("--stage", default="backtest", show_default=True, metavar="STAGE", help="What to run: backtest.")
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting, e.g. bracket.stop_ticks=100."
)
@click.option("--seed", type=click.IntRange(min=0), help="The same as --set seed=N.")
@click.option(
    "--data", "data", metavar="FILE", help="Run on a CSV or parquet file: --set data.use=file, data.path=FILE."
)
@click.option("--initial-capital", type=float, metavar="X", help="The same as --set costs.initial_balance=X.")
@click.option(
    "--fixed-sl-ticks", type=int, metavar="N", help="The same as --set bracket.use=fixed, bracket.stop_ticks=N."
)
@click.pass_obj
def run(
    context: Context,
    file: str,
    strategy: str | None,
    stage: str,
    overrides: tuple[str, ...],
    seed: int | None,
    data: str | None,
    initial_capital: float | None,
    fixed_sl_ticks: int | None,
) -> None:
    """Run a strategy of FILE and keep everything in a run directory."""
    import contextlib

    from mnqcore.cli.screen import show_run
    from mnqcore.stages.run import run as run_stages

    shorthand = _shorthand(seed, data, initial_capital, fixed_sl_ticks)
    bar = _Bar(context)
    # What a plugin prints is no result: standard output is for the result alone.
    with bar, contextlib.redirect_stdout(sys.stderr):
        result = run_stages(
            file,
            strategy,
            stage,
            [*shorthand, *overrides],
            plugins=context.plugins(),
            runs_dir=context.runs_dir,
            progress=bar.show,
        )
    show_run(context, result.run, result.metrics)


def _shorthand(
    seed: int | None, data: str | None, initial_capital: float | None, fixed_sl_ticks: int | None
) -> list[str]:
    """Return the older options as the `--set` each of them equals."""
    from mnqcore.strategy.resolved import value

    given: dict[str, object] = {"seed": seed}
    given |= {} if data is None else {"data.use": "file", "data.path": data}
    given["costs.initial_balance"] = initial_capital
    given |= {} if fixed_sl_ticks is None else {"bracket.use": "fixed", "bracket.stop_ticks": fixed_sl_ticks}
    return [f"{key}={value(setting)}" for key, setting in given.items() if setting is not None]


class _Bar:
    """Shows each part of the work on a terminal, on one line that is wiped at the end, however that comes."""

    def __init__(self, context: Context) -> None:
        self._on = context.verbose >= 0 and sys.stderr.isatty() and not os.environ.get("NO_COLOR")

    def show(self, part: str) -> None:
        """Say which part of the work begins."""
        from mnqcore.stages.backtest import PARTS

        done = PARTS.index(part)
        bar = "#" * (done * 5) + "." * ((len(PARTS) - done) * 5)
        self._write(f"\r[{bar}] {part:<12}")

    def __enter__(self) -> None:
        """Show nothing yet."""

    def __exit__(self, *_error: object) -> None:
        """Wipe the line: a result or an error comes next."""
        self._write("\r" + " " * 60 + "\r")

    def _write(self, text: str) -> None:
        if self._on:
            click.echo(text, nl=False, err=True)
