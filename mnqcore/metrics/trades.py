"""Statistics of round trips; `net` is the net dollars of each trade, in order of time.

Counts and ratios as in Vince 1990, "Portfolio Management Formulas", and Pardo 2008, "The Evaluation and Optimization of
Trading Strategies". A win is a net above 0, a loss a net below 0; a trade of exactly 0 is neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnqcore.api.values import Bools, Floats, Ints

_MICRO = 1e6


def micros(dollars: Floats) -> Floats:
    """Return money in whole micro-units (1e-6), still float64: their sums are exact below nine billion dollars."""
    whole: Floats = np.rint(dollars * _MICRO)
    return whole


def total(dollars: Floats) -> float:
    """Return the sum of amounts in dollars, exact to the micro-unit; 0 for none."""
    return float(micros(dollars).sum()) / _MICRO


def mean(values: Floats | Ints) -> float | None:
    """Return the mean in the unit of `values`; None for none."""
    return float(values.mean()) if len(values) else None


def win_rate(net: Floats) -> float | None:
    """Return wins / trades, a fraction; None without trades."""
    return int(np.count_nonzero(net > 0)) / len(net) if len(net) else None


def profit_factor(net: Floats) -> float | None:
    """Return the sum of wins / |sum of losses|; None without a loss."""
    lost = -total(net[net < 0])
    return total(net[net > 0]) / lost if lost else None


def expectancy(net: Floats) -> float | None:
    """Return the mean net of a trade in dollars, None without trades.

    Equal to win rate * average win + loss rate * average loss.
    """
    return total(net) / len(net) if len(net) else None


def average_win(net: Floats) -> float | None:
    """Return the mean net of the winning trades in dollars, above 0; None without a win."""
    return expectancy(net[net > 0])


def average_loss(net: Floats) -> float | None:
    """Return the mean net of the losing trades in dollars, below 0; None without a loss."""
    return expectancy(net[net < 0])


def payoff(win: float | None, loss: float | None) -> float | None:
    """Return average win / |average loss|, both in dollars; None without a win or without a loss."""
    return None if win is None or loss is None else win / -loss


def longest_run(flags: Bools) -> int:
    """Return the length of the longest run of consecutive true flags, 0 for none."""
    edges = np.diff(flags.astype(np.int8), prepend=0, append=0)
    lengths = np.flatnonzero(edges == -1) - np.flatnonzero(edges == 1)
    return int(lengths.max(initial=0))


def per_contract(dollars: Floats, contracts: Ints, tick_value: float) -> float | None:
    """Return dollars as ticks a contract and round trip: sum(dollars) / (sum(contracts) * tick value).

    None without trades.
    """
    return total(dollars) / (int(contracts.sum()) * tick_value) if len(dollars) else None


def edge_ratio(mae: Floats, mfe: Floats) -> float | None:
    """Return sum of favourable / sum of adverse excursions, both dollars >= 0; None where nothing was adverse.

    Source: Sweeney 1997, "Maximum Adverse Excursion"; the ratio of sums keeps trades without adversity defined.
    """
    adverse = total(mae)
    return total(mfe) / adverse if adverse else None


def beyond_risk(ticks: Ints, risk: Floats, contracts: Ints, tick_value: float, slippage_ticks: int) -> Ints:
    """Return by how many ticks a contract each trade lost more than its planned risk and two slipped fills, >= 0.

    For a stopped trade that is the move from the decision's close to the entry's open plus the gap through the stop.

    Args:
        ticks: signed ticks gained a contract, slippage inside, (trades,).
        risk: planned risk of the trade in dollars (stop distance * contracts * tick value), (trades,).
        contracts: contracts of the trade, (trades,).
        tick_value: dollars a tick of one contract.
        slippage_ticks: ticks that each of the two fills slipped.
    """
    planned = np.rint(risk / (contracts * tick_value)).astype(np.int64)
    beyond: Ints = np.maximum(-ticks - planned - 2 * slippage_ticks, 0)
    return beyond


def breakdown(
    net: Floats, groups: Ints, labels: Sequence[str], *, always: Sequence[str] = ()
) -> dict[str, dict[str, Any]]:
    """Return label -> `trades`, `wins`, `net` (dollars), `average` (dollars a trade), `win_rate` of each group.

    The nets sum to that of all trades. Labels without trades are left out, but for those of `always`, which have
    0, 0, 0.0, None, None.

    Args:
        net: dollars, (trades,).
        groups: position in `labels` of each trade's group, (trades,).
        labels: names of the groups, in the order wanted.
        always: labels that are there without trades too.
    """
    size = len(labels)
    counts = np.bincount(groups, minlength=size).tolist()
    wins = np.bincount(groups[net > 0], minlength=size).tolist()
    sums = (np.bincount(groups, weights=micros(net), minlength=size) / _MICRO).tolist()
    return {
        label: {
            "trades": count,
            "wins": won,
            "net": amount,
            "average": amount / count if count else None,
            "win_rate": won / count if count else None,
        }
        for label, count, won, amount in zip(labels, counts, wins, sums, strict=True)
        if count or label in always
    }
