"""`mnq runs`: list, show, compare, verify and remove what was run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from mnqcore.cli.table import columns, fixed
from mnqcore.errors import MnqError

if TYPE_CHECKING:
    from mnqcore.cli.context import Context
    from mnqcore.runs import Run
    from mnqcore.stages.verify import Level


@click.group()
def runs() -> None:
    """List, show, compare, verify and remove runs.

    RUN is a directory, a name from `mnq runs list`, the beginning of one, or of its hash.
    """


@runs.command("list")
@click.pass_obj
def list_all(context: Context) -> None:
    """List runs, oldest first."""
    from mnqcore.runs import list_runs

    found = [summary for run in list_runs(context.runs_dir) if (summary := _summary(run))]
    if context.format == "json":
        context.print_json("mnq.runs/1", {"runs": found})
        return
    if not found:
        click.echo(f"no runs under {context.runs_dir}")
        return
    header = ("RUN", "NET", "SHARPE", "DRAWDOWN", "TRADES", "")
    click.echo("\n".join(columns(header, [_row(summary) for summary in found], right=(1, 2, 3, 4))))
    if any(summary["synthetic"] for summary in found):
        click.echo("* SYNTHETIC bars: these figures say nothing about a real market")


@runs.command()
@click.argument("name", metavar="RUN")
@click.option("--trades", is_flag=True, help="List the trades instead of the figures.")
@click.option("--by", type=click.Choice(["hour", "weekday", "month"]), help="Sum the trades by hour, weekday or month.")
@click.option("--format", "form", type=click.Choice(["table", "json", "csv"]), help="csv only with --trades.")
@click.pass_obj
def show(context: Context, name: str, trades: bool, by: str | None, form: str | None) -> None:
    """Show a run's figures, or its trades."""
    from mnqcore.cli import screen, session_report
    from mnqcore.cli import trades as ledger
    from mnqcore.runs import open_run

    if form == "csv" and not trades:
        raise click.UsageError("--format csv needs --trades")
    if trades and by:
        raise click.UsageError("--trades and --by are two questions: ask one")
    run = open_run(name, context.runs_dir)
    chosen = form or context.format
    if trades:
        ledger.show_trades(context, run, chosen)
        return
    context.format = "json" if chosen == "json" else "table"
    if by:
        ledger.show_by(context, run, by)
    elif run.traded:
        session_report.show_kept(context, run)
    else:
        screen.show_run(context, run, run.metrics)


@runs.command()
@click.argument("names", metavar="RUN...", nargs=-1, required=True)
@click.pass_obj
def compare(context: Context, names: tuple[str, ...]) -> None:
    """Put the figures of runs side by side, and say which settings differ."""
    from mnqcore.cli.comparison import compare_runs
    from mnqcore.runs import open_run

    compare_runs(context, [open_run(name, context.runs_dir) for name in names])


@runs.command()
@click.argument("name", metavar="RUN")
@click.option("--retrain", is_flag=True, help="Train its models again as well, and compare their weights.")
@click.pass_obj
def verify(context: Context, name: str, retrain: bool) -> int:
    """Run it again and compare inputs, features, ledger and figures with what was kept.

    Exit code 1 if any of these differs; other versions of libraries are told, and decide nothing.
    """
    from mnqcore.runs import open_run
    from mnqcore.stages.verify import verify as verify_run

    run = open_run(name, context.runs_dir)
    levels = verify_run(run, context.plugins_args, retrain=retrain)
    if context.format == "json":
        document = {level.name: {"equal": level.equal, "differs": list(level.differs)} for level in levels}
        context.print_json("mnq.verify/1", {"run": run.name, "levels": document})
    else:
        for level in levels:
            click.echo(f"{level.name:<9} {_verdict(level)}")
    return 0 if all(level.equal for level in levels if level.decides) else 1


@runs.command()
@click.argument("names", metavar="RUN...", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def rm(context: Context, names: tuple[str, ...], yes: bool) -> int:
    """Delete runs from disk. Exit code 1 if you think better of it."""
    from mnqcore.runs import open_run, remove

    found = {run.path: run for run in (open_run(name, context.runs_dir) for name in names)}
    if not yes and not click.confirm(f"delete {', '.join(run.name for run in found.values())}?", err=True):
        click.echo("nothing was deleted", err=True)
        return 1
    for run in found.values():
        remove(run)
        click.echo(f"deleted {run.name}")
    return 0


def _verdict(level: Level) -> str:
    if level.equal:
        return "equal"
    return f"{'DIFFERS' if level.decides else 'others (this alone is no failure)'}: {'; '.join(level.differs)}"


def _summary(run: Run) -> dict[str, Any] | None:
    """Return a run's line in the list; None, and a warning, where its files cannot be read."""
    try:
        metrics, manifest = run.metrics, run.manifest
        figures = {key: metrics[key] for key in ("net_profit", "sharpe", "max_drawdown", "bars")}
        about = {"synthetic": manifest["data"]["synthetic"], "started": manifest["started"]}
        return {"run": run.name, **figures, "trades": metrics["trades"]["count"], **about}
    except MnqError as error:
        click.echo(f"warning: {run.name} is left out: {error.what}: {error.facts.get('found', '')}", err=True)
    except (KeyError, TypeError) as error:
        click.echo(f"warning: {run.name} is left out: its files lack {error}", err=True)
    return None


def _row(summary: dict[str, Any]) -> list[str]:
    figures = [fixed(summary[key]) for key in ("net_profit", "sharpe", "max_drawdown")]
    return [summary["run"], *figures, f"{summary['trades']:,}", "*" if summary["synthetic"] else ""]
