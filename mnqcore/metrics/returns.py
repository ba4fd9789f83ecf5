"""Daily equity, and what was earned on it by the day and by the year."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from mnqcore.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnqcore.api.values import Floats

    Days = NDArray[np.datetime64]

ROUNDING = 1e-12
"""A spread of daily returns below this is rounding of the equity, not risk: it counts as zero."""

_LARGEST_EXPONENT = 700.0  # e ** 700 still is a float


def daily_equity(equity: Floats, days: Days) -> tuple[Days, Floats]:
    """Return the trading days and the last equity of each.

    Args:
        equity: dollars at each bar's close, (bars,).
        days: datetime64[D], trading day of each bar, (bars,), never decreasing.

    Raises:
        DataError: a day comes before the one of the bar before it.
    """
    days = np.asarray(days, dtype="datetime64[D]")
    number = days.view(np.int64)
    changed = np.flatnonzero(number[1:] != number[:-1])
    falls = changed[number[changed + 1] < number[changed]]
    if falls.size:
        at = int(falls[0]) + 1
        raise DataError("trading days are out of order", where=f"bar {at}", found=f"{days[at]} after {days[at - 1]}")
    last = np.concatenate((changed, [len(days) - 1])) if len(days) else changed
    return days[last], equity[last]


def daily_returns(daily: Floats, initial_balance: float) -> Floats:
    """Return the simple return of each day: E[d] / E[d - 1] - 1, where E[-1] is the initial balance.

    At the first day that ends at or below zero the return is -1 and the returns end.

    Args:
        daily: last equity of each day, dollars, (days,).
        initial_balance: dollars, above 0.
    """
    ruined = np.flatnonzero(daily <= 0)
    if ruined.size:
        daily = np.append(daily[: ruined[0]], 0.0)
    before = np.concatenate(([initial_balance], daily[:-1]))[: len(daily)]
    returns: Floats = daily / before - 1.0
    return returns


def total_return(daily: Floats, initial_balance: float) -> float:
    """Return the last equity over the initial balance, less 1, as a fraction; -1 if any day ends at or below zero."""
    if not len(daily):
        return 0.0
    return -1.0 if daily.min() <= 0 else (float(daily[-1]) - initial_balance) / initial_balance


def annualised_return(returns: Floats, days_per_year: float) -> float | None:
    """Return the mean daily return times the days of a year: arithmetic, a fraction a year; None without days.

    It is the numerator of the Sharpe ratio (Sharpe 1994, "The Sharpe Ratio"); `cagr` is the compounded one.
    """
    return float(returns.mean()) * days_per_year if len(returns) else None


def cagr(total: float, days: int, days_per_year: float) -> float | None:
    """Return the compound annual growth rate: (1 + total) ** (days_per_year / days) - 1, a fraction a year.

    -1 when all is lost; None without days, or when a short run extrapolates beyond the range of a float.
    Source: Bacon 2008, "Practical Portfolio Performance Measurement and Attribution", geometric annualised return.

    Args:
        total: total return as a fraction.
        days: trading days in which it was earned.
        days_per_year: trading days in an average year.
    """
    if not days:
        return None
    if total <= -1:
        return -1.0
    exponent = math.log1p(total) * days_per_year / days
    return math.expm1(exponent) if exponent < _LARGEST_EXPONENT else None


def spread(returns: Floats) -> float | None:
    """Return the sample standard deviation (n - 1) of daily returns; 0 below `ROUNDING`, None under two days."""
    if len(returns) < 2:
        return None
    deviation = float(returns.std(ddof=1))
    return deviation if deviation > ROUNDING else 0.0


def volatility(returns: Floats, days_per_year: float) -> float | None:
    """Return the annualised standard deviation: spread * sqrt(days_per_year), a fraction; None under two days.

    Source: Hull, "Options, Futures, and Other Derivatives", volatility from daily data.
    """
    daily = spread(returns)
    return None if daily is None else daily * math.sqrt(days_per_year)


def worst_days(days: Days, daily: Floats, initial_balance: float, count: int = 5) -> list[dict[str, Any]]:
    """Return the days that lost most, the worst first: `day` (ISO date) and `change` (dollars, below 0).

    Fewer than `count` where fewer days lost; of equal losses the earlier day comes first.
    """
    changes = daily_changes(daily, initial_balance)
    order = np.argsort(changes, kind="stable")[:count]
    return [{"day": str(days[at]), "change": float(changes[at])} for at in order if changes[at] < 0]


def daily_changes(daily: Floats, initial_balance: float) -> Floats:
    """Return the change of equity in each day in dollars, to the micro-unit; the first from the initial balance."""
    changes: Floats = np.rint(np.diff(daily, prepend=initial_balance) * 1e6) / 1e6
    return changes
