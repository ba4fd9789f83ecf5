"""`mnq run`: stages of a strategy; a thin face of `mnqcore.run`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Callable

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
    from mnqcore.cli.screen import show_run
    from mnqcore.stages.run import run as run_stages

    shorthand = _shorthand(seed, data, initial_capital, fixed_sl_ticks)
    result = run_stages(
        file,
        strategy,
        stage,
        [*shorthand, *overrides],
        plugins=context.plugins(),
        runs_dir=context.runs_dir,
        progress=_progress(context),
    )
    show_run(context, result.run, result.metrics)


def _shorthand(
    seed: int | None, data: str | None, initial_capital: float | None, fixed_sl_ticks: int | None
) -> list[str]:
    """Return the older options as the `--set` each of them equals."""
    import json

    found = []
    if seed is not None:
        found.append(f"seed={seed}")
    if data is not None:
        found += ["data.use='file'", f"data.path={json.dumps(data)}"]
    if initial_capital is not None:
        found.append(f"costs.initial_balance={initial_capital!r}")
    if fixed_sl_ticks is not None:
        found += ["bracket.use='fixed'", f"bracket.stop_ticks={fixed_sl_ticks}"]
    return found


def _progress(context: Context) -> Callable[[str], None]:
    """Return what shows each part of the work on a terminal, on one line that the result replaces."""
    if context.verbose < 0 or not sys.stderr.isatty():
        return lambda _part: None
    from mnqcore.stages.backtest import PARTS

    def show(part: str) -> None:
        done = PARTS.index(part)
        bar = "#" * (done * 6) + "." * ((len(PARTS) - done) * 6)
        click.echo(f"\r[{bar}] {part:<12}", nl=False, err=True)
        if part == PARTS[-1]:
            click.echo("\r" + " " * 50 + "\r", nl=False, err=True)

    return show
