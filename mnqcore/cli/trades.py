"""A run's trades on the terminal: one by one, or summed by hour, weekday or month."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from mnqcore.cli.screen import banner
from mnqcore.cli.table import columns, fixed, percent

if TYPE_CHECKING:
    from collections.abc import Hashable

    import pandas as pd

    from mnqcore.cli.context import Context
    from mnqcore.runs import Run

PERIODS = ("hour", "weekday", "month")
"""What trades can be summed by."""
_HEADER = ("ENTRY (UTC)", "SIDE", "N", "IN", "OUT", "REASON", "BARS", "NET")


def show_trades(context: Context, run: Run, form: str) -> None:
    """Print a run's trades as a table, CSV or JSON."""
    trades, manifest = run.trades, run.manifest
    if form == "json":
        about = {"run": str(run.path), "synthetic": manifest["data"]["synthetic"]}
        document = {**about, "trades": _iso(trades).to_dict("records")}
        context.print_json("mnq.trades/1", document)
    elif form == "csv":
        for line in banner(manifest):
            click.echo(line, err=True)
        click.echo(_iso(trades).to_csv(index=False, lineterminator="\n"), nl=False)
    elif len(trades):
        rows = [_cells(trade) for trade in trades.to_dict("records")]
        click.echo("\n".join([*banner(manifest), *columns(_HEADER, rows, right=(2, 3, 4, 6, 7))]))
    else:
        click.echo("\n".join([*banner(manifest), "no trades"]))


def show_by(context: Context, run: Run, period: str) -> None:
    """Print a run's trades summed by hour of entry, weekday or month of exit."""
    groups, manifest = run.metrics[f"by_{period}"], run.manifest
    zone = manifest["instrument"]["timezone"]
    if context.format == "json":
        about = {"run": str(run.path), "synthetic": manifest["data"]["synthetic"], "by": period, "zone": zone}
        context.print_json("mnq.by/1", {**about, "groups": groups})
        return
    rows = [
        [name, f"{part['trades']:,}", percent(part["win_rate"]), fixed(part["net"]), fixed(part["average"])]
        for name, part in groups.items()
    ]
    head = (period.upper(), "TRADES", "WIN", "NET", "AVERAGE")
    of = f"hours of entry, {zone}" if period == "hour" else f"{period}s of exit, by trading day"
    lines = columns(head, rows, right=(1, 2, 3, 4)) if rows else ["no trades"]
    click.echo("\n".join([*banner(manifest), of, *lines]))


def _cells(trade: dict[Hashable, Any]) -> list[str]:
    return [
        f"{trade['entry_time']:%Y-%m-%d %H:%M}",
        "long" if trade["side"] == 1 else "short",
        f"{trade['contracts']:,}",
        _price(trade["entry_price"]),
        _price(trade["exit_price"]),
        str(trade["reason"]),
        f"{trade['bars_held']:,}",
        f"{trade['net']:,.2f}",
    ]


def _price(price: float) -> str:
    """Return a price with the decimals that it has: 24812.25, 1.08505."""
    text = f"{price:.10f}".rstrip("0")
    whole, _, decimals = text.partition(".")
    return f"{whole}.{decimals:0<2}"


def _iso(trades: pd.DataFrame) -> pd.DataFrame:
    """Return the trades with ISO-8601 times."""
    times = {name: [time.isoformat() for time in trades[name]] for name in ("entry_time", "exit_time")}
    return trades.assign(**times)
