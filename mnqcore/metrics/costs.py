"""What trading cost, what another slippage would have cost, and how much was traded and held."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mnqcore.api.values import Bools, Floats, Ints


def slipped_sides(contracts: Ints, at_target: Bools) -> int:
    """Return the contract sides that pay slippage: two a contract, one where the exit was a target (a limit order)."""
    return int((contracts * (2 - at_target)).sum())


def net_at_slippage(before: float, sides: int, tick_value: float, slippage_ticks: int) -> float:
    """Return the net dollars had every slipped fill slipped by `slippage_ticks`, the trades otherwise the same.

    Args:
        before: gross before slippage - commissions, dollars.
        sides: contract sides that pay slippage.
        tick_value: dollars a tick of one contract.
        slippage_ticks: ticks a side.
    """
    return round(before - slippage_ticks * sides * tick_value, 6)


def break_even_slippage(before: float, sides: int, tick_value: float) -> float | None:
    """Return the slippage in ticks a side at which net is 0.

    (gross before slippage - commissions) / (sides * tick value). Below 0 where even perfect fills lose; None without
    trades.
    """
    return before / (sides * tick_value) if sides else None


def turnover(notional: float, average_equity: float, years: float) -> float | None:
    """Return how many times a year the average equity was traded: notional / average equity / years.

    None where the average equity is not above 0.

    Args:
        notional: sum over entries and exits of contracts * price * point value, dollars.
        average_equity: mean of the daily equity, dollars.
        years: trading days / trading days in a year.
    """
    return notional / average_equity / years if average_equity > 0 else None


def time_in_market(position: Ints) -> float | None:
    """Return the share of bars that close with a position, a fraction; None without bars."""
    return int(np.count_nonzero(position)) / len(position) if len(position) else None


def notional(contracts: Ints, entry_price: Floats, exit_price: Floats, point_value: float) -> float:
    """Return the dollars bought and sold: sum of contracts * (|entry price| + |exit price|) * point value."""
    return float((contracts * (np.abs(entry_price) + np.abs(exit_price))).sum()) * point_value
