"""`mnq runs`: list, show, compare, verify and remove what was run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from mnqcore.cli.table import columns

if TYPE_CHECKING:
    from mnqcore.cli.context import Context
    from mnqcore.runs import Run


@click.group()
def runs() -> None:
    """List, show, compare, verify and remove runs."""


@runs.command("list")
@click.pass_obj
def list_all(context: Context) -> None:
    """List runs, oldest first."""
    from mnqcore.runs import list_runs

    found = list_runs(context.runs_dir)
    if context.format == "json":
        context.print_json("mnq.runs/1", {"runs": [_summary(run) for run in found]})
        return
    if not found:
        click.echo(f"no runs under {context.runs_dir}")
        return
    rows = [_row(_summary(run)) for run in found]
    for line in columns(("RUN", "NET", "SHARPE", "DRAWDOWN", "TRADES", "BARS"), rows, {}):
        click.echo(line)


@runs.command()
@click.argument("name", metavar="RUN")
@click.option("--trades", is_flag=True, help="List the trades instead of the figures.")
@click.option("--format", "form", type=click.Choice(["table", "json", "csv"]), help="csv only with --trades.")
@click.pass_obj
def show(context: Context, name: str, trades: bool, form: str | None) -> None:
    """Show a run's figures, or its trades."""
    from mnqcore.cli.screen import show_run, show_trades
    from mnqcore.runs import open_run

    run = open_run(name, context.runs_dir)
    chosen = form or context.format
    if trades:
        show_trades(context, run, chosen)
    elif chosen == "csv":
        raise click.UsageError("--format csv needs --trades")
    else:
        context.format = "json" if chosen == "json" else "table"
        show_run(context, run, run.metrics)


@runs.command()
@click.argument("names", metavar="RUN...", nargs=-1, required=True)
@click.pass_obj
def compare(context: Context, names: tuple[str, ...]) -> None:
    """Put the figures of runs side by side, and say which settings differ."""
    from mnqcore.cli.screen import compare_runs
    from mnqcore.runs import open_run

    compare_runs(context, [open_run(name, context.runs_dir) for name in names])


@runs.command()
@click.argument("name", metavar="RUN")
@click.pass_obj
def verify(context: Context, name: str) -> int:
    """Run it again and compare inputs, features, ledger and figures with what was kept."""
    from mnqcore.runs import open_run
    from mnqcore.stages.verify import verify as verify_run

    run = open_run(name, context.runs_dir)
    levels = verify_run(run, context.plugins_args)
    if context.format == "json":
        document = {level.name: {"equal": level.equal, "differs": list(level.differs)} for level in levels}
        context.print_json("mnq.verify/1", {"run": run.name, "levels": document})
    else:
        for level in levels:
            click.echo(f"{level.name:<9} {'equal' if level.equal else 'DIFFERS: ' + '; '.join(level.differs)}")
    return 0 if all(level.equal for level in levels) else 1


@runs.command()
@click.argument("names", metavar="RUN...", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def rm(context: Context, names: tuple[str, ...], yes: bool) -> None:
    """Delete runs from disk."""
    from mnqcore.runs import open_run, remove

    found = [open_run(name, context.runs_dir) for name in names]
    if not yes:
        click.confirm(f"delete {', '.join(run.name for run in found)}?", abort=True, err=True)
    for run in found:
        remove(run)
        click.echo(f"deleted {run.name}")


def _summary(run: Run) -> dict[str, Any]:
    metrics = run.metrics
    figures = {key: metrics[key] for key in ("net_profit", "sharpe", "max_drawdown", "bars")}
    return {"run": run.name, **figures, "trades": metrics["trades"]["count"], "started": run.manifest["started"]}


def _row(summary: dict[str, Any]) -> list[str]:
    sharpe = "-" if summary["sharpe"] is None else f"{summary['sharpe']:.2f}"
    money = (f"{summary['net_profit']:,.2f}", sharpe, f"{summary['max_drawdown']:,.2f}")
    return [summary["run"], *money, f"{summary['trades']:,}", f"{summary['bars']:,}"]
