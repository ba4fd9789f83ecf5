"""What a person reads of a run: its figures on 80 columns of plain ASCII, or as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from mnqcore.cli import learning
from mnqcore.cli.table import WIDTH, dollars, filled, fixed, percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnqcore.cli.context import Context
    from mnqcore.runs import Run

    Document = dict[str, Any]

SYNTHETIC = "SYNTHETIC bars: what follows says nothing about a real market"
_ALIKE = 0.9  # share of the entries that must be let in for random ones to compare
_RUNGS = 4  # slippages shown
_CELLS = (13, 7, 13, 13, 10, 10)  # widths of the columns beside the labels


def show_run(context: Context, run: Run, metrics: Document) -> None:
    """Print a run's figures as the screen or as JSON."""
    manifest = run.manifest
    if context.format == "json":
        facts = {
            "run": str(run.path),
            "synthetic": manifest["data"]["synthetic"],
            "repeat": ", ".join(repeat(manifest)),
        }
        context.print_json("mnq.backtest/1", {**facts, "metrics": metrics, "manifest": manifest})
        return
    for block in (_head, _baselines, _learning, _ratios, _trades, _exits, _checks):
        if lines := block(metrics, manifest):
            click.echo("\n".join(lines))
    seconds, path = manifest["seconds"], shown(run)
    click.echo("\n".join(filled("run", [path, f"{seconds['total']:.1f} s (kernel {seconds['kernel'] * 1e3:.1f} ms)"])))
    click.echo(f"next     mnq runs show {path} --trades")


def trade_lines(metrics: Document, manifest: Document) -> list[str]:
    """Return the lines on trades and exits, which a backtest and a session have in common."""
    return [*_trades(metrics, manifest), *_ended(metrics)]


def repeat(manifest: Document) -> list[str]:
    """Return what a paper must say for others to repeat the run: versions, hashes, seed."""
    files = {
        name.removeprefix("plugins/"): sha for name, sha in manifest["files"].items() if name.startswith("plugins/")
    }
    outside = {f"{one['distribution']} {one['version']}" for one in manifest["plugins"].values() if _is_outside(one)}
    parts = [f"mnq {manifest['versions']['mnq']}", *sorted(outside), *(f"{name} {files[name][:8]}" for name in files)]
    hashes = [f"data sha {manifest['data']['data_sha256'][:8]}", f"strategy sha {manifest['digest'][:8]}"]
    return [" + ".join(parts), *hashes, f"seed {manifest['seed']}"]


def banner(manifest: Document) -> list[str]:
    """Return the line that every output of invented bars begins with."""
    return [SYNTHETIC] if manifest["data"]["synthetic"] else []


def shown(run: Run) -> str:
    """Return a run's path, from here where it lies below."""
    from pathlib import Path

    return (run.path.relative_to(Path.cwd()) if run.path.is_relative_to(Path.cwd()) else run.path).as_posix()


def _is_outside(choice: Document) -> bool:
    return choice["distribution"] != "mnq" and not choice["distribution"].startswith("mnq-local-")


def _head(metrics: Document, manifest: Document) -> list[str]:
    data, settings, plugins = manifest["data"], manifest["settings"], manifest["plugins"]
    fitted = [] if manifest.get("model") else ["nothing was fitted"]
    instrument, costs, session = manifest["instrument"], settings["costs"], settings["session"]
    size = [f"{metrics['bars']:,} bars", f"{metrics['days']} trading days"]
    span = f"{metrics['first_day']} .. {metrics['last_day']}"
    source = f"{plugins['data']['use']} {plugins['data']['params'].get('path', '')}".strip()
    hours = "cash session" if session["rth"] else "all hours"
    lead = _count(session["flat_lead"], "bar")
    flat = f"flat {lead} before close" if session["flat_by_close"] else "held over the close"
    slip = f"{_count(costs['slippage_ticks'], 'tick')} slippage a fill"
    lines = [
        *filled(metrics["strategy"], [f"{instrument['name']} {manifest['bar_size']}", span, *size]),
        *banner(manifest),
        *learning.banner(metrics),
        *filled("data", [source, f"sha {data['data_sha256'][:8]}", *_joints(data), *fitted]),
        *_feeds(data),
        *learning.model(metrics, manifest),
        *filled("costs", [f"{_commission(costs['commission'])} + {slip}"]),
        *filled("", [f"{_choice('stop', plugins['bracket'])};", _choice("size", plugins["sizer"])]),
        *filled("", [f"entry next open, {hours}, {flat}, margin ${instrument['margin']:,.0f}"]),
    ]
    return [*lines, ""]


def _feeds(data: Document) -> list[str]:
    """Return a line for each feed: whose bars, where from, and at how many of the strategy's bars it was missing."""
    lines = []
    for name, feed in data.get("feeds", {}).items():
        source = f"{feed['source']} sha {feed['sha256'][:8]}" if feed["source"] else "made of these bars"
        share = f"missing at {percent(feed['missing'] / data['bars'])} of bars: no entry then"
        cells = [f"{name}: {feed['instrument']} {feed['bar_size']}", source, f"{feed['bars']:,} bars", share]
        outside = feed["outside"]
        cells += [f"{_count(outside, 'bar')} outside hours left out"] if outside else []
        lines += filled("feed", cells)
    return lines


def _joints(data: Document) -> list[str]:
    """Say how many rolls join the bars, and what was left out."""
    alone = sum(not roll["overlap"] for roll in data["rolls"])
    assumed = f" ({alone} without overlap: return 0 assumed)" if alone else ""
    cells = [f"rolls {len(data['rolls'])}{assumed}"] if data["rolls"] else []
    outside = data["outside_session"]
    return [*cells, *([f"{_count(outside, 'bar')} outside hours left out"] if outside else [])]


def _commission(commission: dict[str, float]) -> str:
    if commission["percent"]:
        return f"{commission['percent']:g} % a side, at least ${commission['minimum']:g}"
    return f"${commission['per_contract']:.2f} a contract a side"


def _choice(word: str, chosen: Document) -> str:
    given = ", ".join(f"{key} {value}" for key, value in chosen["params"].items() if value is not None)
    return f"{word} {chosen['use']}{f' ({given})' if given else ''}"


def _learning(metrics: Document, manifest: Document) -> list[str]:
    return ["", *lines] if (lines := learning.learning(metrics, manifest)) else []


def _likeness(trades: int, drawn: dict[str, Any]) -> str:
    """Say how far the random entries are like the strategy's: rules and sizer may refuse those that were drawn."""
    made = drawn["median"]["trades"]
    if made < _ALIKE * trades:
        return f"not like with like: {made:,} of its {trades:,} entries were let in"
    return "same entries, sides and holding times"


def _baselines(metrics: Document, manifest: Document) -> list[str]:
    base, drawn = metrics["baselines"], metrics["baselines"]["random"]
    own = {**metrics, "trades": metrics["trades"]["count"]}
    compared = [own, base["flat"], base["buy_and_hold"]]
    name = metrics["strategy"] if len(metrics["strategy"]) < _CELLS[0] else "this run"
    names = [name, "flat", "buy & hold"]
    if drawn:
        compared += [drawn[part] for part in ("median", "low", "high")]
        names += [f"random x{drawn['seeds']}", "5 %", "95 %"]
    lines = [_aligned("", names)]
    for label, key in learning.ROWS:
        whole = range(len(compared)) if key == "trades" else () if key == "sharpe" else range(3, len(compared))
        cells = [fixed(one[key], 0 if at in whole else 2) for at, one in enumerate(compared)]
        lines.append(_aligned(label, cells))
    if drawn:
        lines.append(f"percentile among random: {drawn['percentile']:.0f} ({_likeness(own['trades'], drawn)})")
    return lines


def _aligned(label: str, cells: Sequence[str]) -> str:
    return f"{label:<14}" + "".join(cell.rjust(width) for cell, width in zip(cells, _CELLS, strict=False))


def _ratios(metrics: Document, manifest: Document) -> list[str]:
    share = {name: percent(metrics[name]) for name in ("total_return", "cagr", "volatility")}
    tails = {
        name: f"95 {percent(metrics[f'{name}_95'])}, 99 {percent(metrics[f'{name}_99'])}" for name in ("var", "cvar")
    }
    lines = [
        f"return {share['total_return']}   CAGR {share['cagr']}   vol {share['volatility']}   "
        f"Sortino {fixed(metrics['sortino'])}   Calmar {fixed(metrics['calmar'])}",
        f"day at risk  VaR {tails['var']}   CVaR {tails['cvar']}",
        _interval(metrics["sharpe_interval"]),
    ]
    limit, chance = manifest["settings"]["risk"]["max_loss"], metrics["chance_of_max_loss"]
    if chance is not None:
        lines.append(f"chance to lose {dollars(limit)} from a peak within a year: {percent(chance)} (resampled days)")
    if ended := metrics["ended_by_max_loss"]:
        by = "ruin" if limit is None else f"the loss limit of {dollars(limit)}"
        lines.append(f"ENDED by {by} at {ended[:16].replace('T', ' ')} UTC")
    if metrics["ruin_day"]:
        lines.append(f"RUIN on {metrics['ruin_day']}: equity was 0 or less")
    return [*lines, ""]


def _interval(interval: Sequence[float] | None) -> str:
    if interval is None:
        return "Sharpe 95 % interval: too few days, or no variance."
    words = "does not exclude zero" if interval[0] <= 0 <= interval[1] else "excludes zero"
    return f"Sharpe 95 % interval {interval[0]:.2f} .. {interval[1]:.2f}: this {words}."


def _trades(metrics: Document, manifest: Document) -> list[str]:
    trades, costs = metrics["trades"], metrics["costs"]
    if not trades["count"]:
        return ["trades   none"]
    average = f"avg {dollars(trades['expectancy'])} = {fixed(trades['expectancy_ticks'], 1)} ticks net"
    ladder, even = _rungs(costs), costs["break_even_slippage"]
    nets = " / ".join(fixed(net, 0) for net in ladder.values())
    zero = [] if even is None else [f"even at {even:.2f}" if even >= 0 else "a loss even at 0"]
    return [
        *filled(
            "trades",
            [
                f"win {percent(trades['win_rate'])}",
                average,
                f"costs {fixed(costs['ticks_per_trade'], 1)} ticks a contract",
                f"profit factor {fixed(trades['profit_factor'])}",
                f"longest losing run {trades['longest_losing_run']}",
                *([] if metrics["time_in_market"] is None else [f"in the market {percent(metrics['time_in_market'])}"]),
                f"first {trades['first_day']}, last {trades['last_day']}",
            ],
        ),
        *filled("slippage", [f"if {' / '.join(ladder)} ticks: {nets}", *zero]),
    ]


def _rungs(costs: Document) -> dict[str, float]:
    """Return net profit at a few slippages: at none, at half of this run's, at this run's and at a tick more."""
    ladder, ticks = costs["net_at_slippage"], costs["slippage_ticks"]
    few = ladder if len(ladder) <= _RUNGS else sorted({0, ticks // 2, ticks, ticks + 1})
    return {str(rung): ladder[str(rung)] for rung in few}


def _exits(metrics: Document, manifest: Document) -> list[str]:
    counts, denied = metrics["counts"], metrics["denied"]
    refused = [f"{reason} {count}" for reason, count in denied.items() if count]
    total = f"entries {sum(denied.values())}: {', '.join(refused)}" if refused else "entries none"
    noted = {"days latched": "latched_days", "sizes cut": "cut", "actions without effect": "idle"}
    more = [f"{label} {counts[key]:,}" for label, key in noted.items() if counts[key]]
    return [*_ended(metrics), *filled("denied", [total, *more]), *_worst(metrics), ""]


def _ended(metrics: Document) -> list[str]:
    """Say what trades ended by, and on which side they were."""
    if not metrics["by_reason"]:
        return []
    exits = [f"{reason} {part['trades']} {part['net']:+,.2f}" for reason, part in metrics["by_reason"].items()]
    sides = [f"{side} {part['trades']} {part['net']:+,.2f}" for side, part in metrics["by_side"].items()]
    return [*filled("exits", [*exits, f"sum {metrics['trades']['net']:+,.2f}"]), *filled("sides", sides)]


def _worst(metrics: Document) -> list[str]:
    counts = metrics["counts"]
    gaps = (
        f"{counts['gap_stops']}, worst {_count(counts['worst_gap'], 'tick')} beyond" if counts["gap_stops"] else "none"
    )
    worst = metrics["worst_days"][:1]
    days = [f"day {day['day']} {day['change']:,.2f}" for day in worst]
    return filled("worst", [*days, f"stops through a gap: {gaps}", f"margin peak ${counts['margin_peak']:,}"])


def _checks(metrics: Document, manifest: Document) -> list[str]:
    seen = manifest["data"]["look_ahead_bars"]
    look = f"no look-ahead seen ({seen:,} bars)" if seen else "look-ahead not checked: too few bars"
    lines = filled("checks", ["accounting exact", look])
    if reward := metrics["reward"]:
        lines += filled("reward", [f"{reward['name']} {reward['sum']:,.4g} over {reward['steps']:,} steps"])
    lines += _looks(manifest.get("looks"))
    parts = repeat(manifest)
    whole = f"repeat   {', '.join(parts)}"
    return [
        *lines,
        *([whole] if len(whole) <= WIDTH else filled("repeat", [f"{part}," for part in parts[:-1]] + parts[-1:])),
    ]


def _looks(looks: Document | None) -> list[str]:
    """Say how often these bars were looked at, and what that leaves of the Sharpe ratio."""
    if looks is None:
        return []
    times = "once" if looks["looks"] == 1 else f"{looks['looks']:,} times"
    trials = f"{_count(looks['trials'], 'trial')} of {_count(looks['strategies'], 'name')}"
    cells = [f"these bars were tested on {times}: {trials}"]
    deflated = looks["deflated_sharpe"]
    return filled("looks", [*cells, *([] if deflated is None else [f"deflated Sharpe {fixed(deflated)}"])])


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
