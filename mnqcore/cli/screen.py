"""What a person reads of a run: the screen, the trades, runs side by side. 80 columns, plain ASCII."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from mnqcore.cli.table import columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnqcore.cli.context import Context
    from mnqcore.runs import Run

_COMPARED = (
    "net_profit", "total_return", "cagr", "volatility", "sharpe", "sortino", "calmar", "max_drawdown", "time_in_market",
)  # fmt: skip


def show_run(context: Context, run: Run, metrics: dict[str, Any]) -> None:
    """Print a run's figures as the screen or as JSON."""
    manifest = run.manifest
    if context.format == "json":
        context.print_json("mnq.backtest/1", {"run": str(run.path), "metrics": metrics, "manifest": manifest})
        return
    for block in (_head, _baselines, _ratios, _trades, _exits, _checks):
        for line in block(metrics, manifest):
            click.echo(line)
    seconds = manifest["seconds"]
    click.echo(f"run      {_shown(run)}   {seconds['total']:.1f} s (kernel {seconds['kernel'] * 1e3:.1f} ms)")
    click.echo(f"next     mnq runs show {_shown(run)} --trades")


def show_trades(context: Context, run: Run, form: str) -> None:
    """Print a run's trades as a table, CSV or JSON."""
    trades = run.trades
    if form == "json":
        rows = trades.assign(**{name: trades[name].map(lambda time: time.isoformat()) for name in _times(trades)})
        context.print_json("mnq.trades/1", {"run": str(run.path), "trades": rows.to_dict("records")})
        return
    if form == "csv":
        click.echo(trades.to_csv(index=False, lineterminator="\n"), nl=False)
        return
    if not len(trades):
        click.echo("no trades")
        return
    rows = [
        [
            f"{row.entry_time:%Y-%m-%d %H:%M}",
            "long" if row.side > 0 else "short",
            str(row.contracts),
            f"{row.entry_price:g}",
            f"{row.exit_price:g}",
            row.reason,
            str(row.bars_held),
            f"{row.net:,.2f}",
        ]
        for row in trades.itertuples()
    ]
    for line in columns(("ENTRY (UTC)", "SIDE", "N", "IN", "OUT", "REASON", "BARS", "NET"), rows, {}):
        click.echo(line)


def compare_runs(context: Context, runs: Sequence[Run]) -> None:
    """Print figures of runs side by side, and the settings in which they differ."""
    metrics = [run.metrics for run in runs]
    if context.format == "json":
        context.print_json("mnq.compare/1", {run.name: found for run, found in zip(runs, metrics, strict=True)})
        return
    for number, run in enumerate(runs, start=1):
        click.echo(f"[{number}] {run.name}")
    rows = [[name, *(_number(found[name]) for found in metrics)] for name in _COMPARED]
    rows.append(["trades", *(str(found["trades"]["count"]) for found in metrics)])
    for line in columns(("", *(f"[{number}]" for number in range(1, len(runs) + 1))), rows, {}):
        click.echo(line)
    texts = [_settings(run) for run in runs]
    for key in sorted({key for text in texts for key in text}):
        values = [text.get(key, "-") for text in texts]
        if len(set(values)) > 1:
            click.echo(f"{key}: {' | '.join(values)}")


def _head(metrics: dict[str, Any], manifest: dict[str, Any]) -> list[str]:
    data, settings = manifest["data"], manifest["settings"]
    instrument, costs, session = manifest["instrument"], settings["costs"], settings["session"]
    name = f"{metrics['strategy']:<8}"
    span = f"{data['first'][:10]} .. {data['last'][:10]}"
    size = f"{data['bars']:,} bars   {data['trading_days']} trading days"
    lines = [f"{name} {instrument['name']} {manifest['bar_size']}   {span}   {size}"]
    if data["synthetic"]:
        lines.append("SYNTHETIC bars: what follows says nothing about a real market")
    rolled = f"   rolls {len(data['rolls'])}" if data["rolls"] else ""
    alone = sum(not roll["overlap"] for roll in data["rolls"])
    rolled += f" ({alone} without overlap: return 0 assumed)" if alone else ""
    outside = f"   {data['outside_session']:,} bars outside hours left out" if data["outside_session"] else ""
    lines.append(f"data     {manifest['plugins']['data']['use']} sha {data['data_sha256'][:8]}{rolled}{outside}")
    lines.append(f"costs    {_commission(costs['commission'])} + {costs['slippage_ticks']} ticks slippage a fill")
    lines.append(f"         {_choice('stop', manifest['bracket'])}; {_choice('size', manifest['sizer'])}")
    hours = "cash session" if session["rth"] else "all hours"
    flat = f"flat {session['flat_lead']} bars before the close" if session["flat_by_close"] else "held over the close"
    lines.append(f"         entry next open, {hours}, {flat}, margin ${instrument['margin']:,.0f}")
    return [*lines, ""]


def _commission(commission: dict[str, float]) -> str:
    if commission["percent"]:
        return f"{commission['percent']:g} % a side, at least ${commission['minimum']:g}"
    return f"${commission['per_contract']:.2f} a contract a side"


def _choice(word: str, chosen: dict[str, Any]) -> str:
    given = ", ".join(f"{key} {value}" for key, value in chosen.items() if key != "use" and value is not None)
    return f"{word} {chosen['use']}{f' ({given})' if given else ''}"


def _baselines(metrics: dict[str, Any], manifest: dict[str, Any]) -> list[str]:
    base = metrics["baselines"]
    drawn = base["random"]
    own = {key: metrics[key] for key in ("net_profit", "max_drawdown", "sharpe")} | {
        "trades": metrics["trades"]["count"]
    }
    header = f"{'':<15}{metrics['strategy'][:13]:>14}{'flat':>7}{'buy & hold':>13}"
    lines = [header + (f"  {'random x' + str(drawn['seeds']):>12}  (5 .. 95 %)" if drawn else "")]
    for label, key, digits in _ROWS:
        own_cell, flat_cell, held_cell = (
            _fixed(part[key], digits) for part in (own, base["flat"], base["buy_and_hold"])
        )
        line = f"{label:<15}{own_cell:>14}{flat_cell:>7}{held_cell:>13}"
        if drawn:
            places = 2 if key == "sharpe" else 0
            median, low, high = (_fixed(drawn[part][key], places) for part in ("median", "low", "high"))
            line += f"  {median:>12}" + (f"  ({low} .. {high})" if key != "trades" else "")
        lines.append(line)
    if drawn:
        lines.append(f"percentile among random: {drawn['percentile']:.0f} (same entries, sides and holding times)")
    return lines


_ROWS = (("net profit", "net_profit", 2), ("max drawdown", "max_drawdown", 2), ("Sharpe (daily)", "sharpe", 2),
         ("trades", "trades", 0))  # fmt: skip


def _ratios(metrics: dict[str, Any], manifest: dict[str, Any]) -> list[str]:
    share = {name: _percent(metrics[name]) for name in ("total_return", "cagr", "volatility")}
    lines = [
        f"return {share['total_return']}   CAGR {share['cagr']}   vol {share['volatility']}   "
        f"Sortino {_fixed(metrics['sortino'], 2)}   Calmar {_fixed(metrics['calmar'], 2)}",
        f"day at risk  VaR 95 {_percent(metrics['var_95'])}, 99 {_percent(metrics['var_99'])}   "
        f"CVaR 95 {_percent(metrics['cvar_95'])}, 99 {_percent(metrics['cvar_99'])}",
    ]
    interval = metrics["sharpe_interval"]
    if interval is None:
        lines.append("Sharpe 95 % interval: too few days, or no variance.")
    else:
        words = "this does not exclude zero" if interval[0] <= 0 <= interval[1] else "this excludes zero"
        lines.append(f"Sharpe 95 % interval {interval[0]:.2f} .. {interval[1]:.2f}: {words}.")
    if metrics["ended_by_max_loss"]:
        lines.append(f"ENDED by the loss limit at {metrics['ended_by_max_loss']}")
    return [*lines, ""]


def _trades(metrics: dict[str, Any], manifest: dict[str, Any]) -> list[str]:
    trades, costs = metrics["trades"], metrics["costs"]
    if not trades["count"]:
        return ["trades   none"]
    ticks = costs["ticks_per_trade"]
    lines = [
        f"trades   win {_percent(trades['win_rate'])}   avg ${_fixed(trades['expectancy'], 2)} = "
        f"{_fixed(trades['expectancy_ticks'], 1)} ticks net   costs {_fixed(ticks, 1)} ticks a contract",
        f"         profit factor {_fixed(trades['profit_factor'], 2)}   "
        f"longest losing run {trades['longest_losing_run']}"
        f"   in the market {_percent(metrics['time_in_market'])}",
    ]
    ladder = costs["net_at_slippage"]
    nets = " / ".join(f"{net:,.0f}" for net in ladder.values())
    even = costs["break_even_slippage"]
    tail = "" if even is None else f"; even at {even:.2f}"
    return [*lines, f"slippage if {' / '.join(ladder)} ticks: {nets}{tail}"]


def _exits(metrics: dict[str, Any], manifest: dict[str, Any]) -> list[str]:
    exits = [f"{reason} {part['trades']} {part['net']:+,.2f}" for reason, part in metrics["by_reason"].items()]
    sides = [f"{side} {part['trades']} {part['net']:+,.2f}" for side, part in metrics["by_side"].items()]
    denied = [f"{reason} {count}" for reason, count in metrics["denied"].items() if count]
    lines = [*_filled("exits", exits), *_filled("sides", sides)]
    total = sum(metrics["denied"].values())
    latched = metrics["counts"]["latched_days"]
    lines += _filled("denied", [f"entries {total}" if total else "none", *denied])
    if latched or metrics["counts"]["cut"]:
        lines.append(f"         days latched {latched}   sizes cut {metrics['counts']['cut']}")
    worst = metrics["worst_days"][0] if metrics["worst_days"] else None
    gaps = f"stops through a gap: {metrics['counts']['gap_stops']}, worst {metrics['counts']['worst_gap']} ticks beyond"
    lines.append(f"worst    day {worst['day']} {worst['change']:,.2f}   {gaps}" if worst else f"worst    {gaps}")
    return [*lines, ""]


def _checks(metrics: dict[str, Any], manifest: dict[str, Any]) -> list[str]:
    lines = ["checks   accounting exact"]
    if reward := metrics["reward"]:
        lines.append(f"reward   {reward['name']} {reward['sum']:,.4g} over {reward['steps']:,} steps")
    return lines


def _filled(label: str, cells: list[str]) -> list[str]:
    """Return cells behind a label, on as many lines as 80 columns need."""
    lines = [f"{label:<8}"]
    for cell in cells:
        if len(lines[-1]) + len(cell) + 1 > 80:
            lines.append(" " * 8)
        lines[-1] += f" {cell}  " if len(lines[-1]) + len(cell) + 3 <= 80 else f" {cell}"
    return [line.rstrip() for line in lines]


def _fixed(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.4f}".rstrip("0").rstrip(".")


def _shown(run: Run) -> str:
    from pathlib import Path

    return (run.path.relative_to(Path.cwd()) if run.path.is_relative_to(Path.cwd()) else run.path).as_posix()


def _times(trades: Any) -> list[str]:
    return [name for name in ("entry_time", "exit_time") if name in trades]


def _settings(run: Run) -> dict[str, str]:
    """Return dotted key -> value of a run's resolved strategy."""
    import tomli

    found: dict[str, str] = {}

    def walk(table: dict[str, Any], above: str) -> None:
        for key, value in table.items():
            if isinstance(value, dict):
                walk(value, f"{above}{key}.")
            else:
                found[f"{above}{key}"] = str(value)

    document = tomli.loads((run.path / "resolved.toml").read_text(encoding="utf-8"))
    for strategy in document["strategy"].values():
        walk(strategy, "")
    return found
