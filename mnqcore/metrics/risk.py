"""Tail risk and return per unit of risk, from daily returns; the risk-free rate is 0, as a future is not funded."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from mnqcore.metrics.bootstrap import FEWEST_DAYS, resample
from mnqcore.metrics.returns import ROUNDING, spread

if TYPE_CHECKING:
    from mnqcore.api.values import Floats


def value_at_risk(returns: Floats, level: float) -> float | None:
    """Return the loss that a day exceeds with probability 1 - level: -quantile(returns, 1 - level).

    A fraction of the day's opening equity, positive where money is lost; historical, with linear interpolation
    between the two nearest days. None without days. Source: Jorion 2006, "Value at Risk", historical simulation.

    Args:
        returns: daily returns, (days,).
        level: 0.95, 0.99, ...
    """
    if not len(returns):
        return None
    ordered = np.sort(returns)
    place = _place(len(returns), level)
    low = math.floor(place)
    high = min(low + 1, len(returns) - 1)
    return -float(ordered[low] + (place - low) * (ordered[high] - ordered[low]))


def _place(days: int, level: float) -> float:
    # Rounded, for 1 - 0.95 is a hair more than the twentieth meant, and the day on the border must not flip.
    return round((days - 1) * (1 - level), 9)


def conditional_value_at_risk(returns: Floats, level: float) -> float | None:
    """Return the mean loss of the days at or beyond the value at risk: at least that, in the same sign and unit.

    The mean of the worst floor((n - 1) * (1 - level)) + 1 days; None without days.
    Source: Rockafellar and Uryasev 2000, "Optimization of conditional value-at-risk".
    """
    if not len(returns):
        return None
    return -float(np.sort(returns)[: math.floor(_place(len(returns), level)) + 1].mean())


def sharpe(returns: Floats, days_per_year: float) -> float | None:
    """Return mean / standard deviation (n - 1) of daily returns * sqrt(days_per_year).

    None under two days or without variance. Source: Sharpe 1994, "The Sharpe Ratio", Journal of Portfolio Management.
    """
    deviation = spread(returns)
    return float(returns.mean()) / deviation * math.sqrt(days_per_year) if deviation else None


def sortino(returns: Floats, days_per_year: float) -> float | None:
    """Return mean / sqrt(mean(min(return, 0) ** 2)) of daily returns * sqrt(days_per_year).

    All days count in the denominator, with a target of 0. None under two days or when no day lost.
    Source: Sortino and Price 1994, "Performance measurement in a downside risk framework", Journal of Investing.
    """
    if len(returns) < 2:
        return None
    downside = math.sqrt(float(np.square(np.minimum(returns, 0.0)).mean()))
    return float(returns.mean()) / downside * math.sqrt(days_per_year) if downside > ROUNDING else None


def calmar(growth: float | None, drawdown_share: float) -> float | None:
    """Return CAGR / |largest drawdown as a share of its peak|; None without a CAGR or a drawdown.

    Over the whole run, not the last 36 months as in the source: Young 1991, "Calmar ratio: a smoother tool", Futures.
    """
    return None if growth is None or drawdown_share == 0 else growth / -drawdown_share


def sharpe_interval(
    daily_returns: Floats, days_per_year: float, *, level: float = 0.95, draws: int = 2000, seed: int = 0
) -> tuple[float, float] | None:
    """Return the bootstrap percentile interval of the annualised Sharpe ratio; None under 10 days or without variance.

    Days are drawn in circular blocks of about n ** (1/3), so that autocorrelation widens the interval. Draws without
    variance have no Sharpe ratio and are left out.
    Source: Ledoit and Wolf 2008, "Robust performance hypothesis testing with the Sharpe ratio", section 3.2.

    Args:
        daily_returns: simple returns, (days,).
        days_per_year: trading days in an average year.
        level: probability that the interval is to hold.
        draws: number of resamples.
        seed: the same seed gives the same interval.
    """
    if len(daily_returns) < FEWEST_DAYS or not spread(daily_returns):
        return None
    drawn = resample(daily_returns, len(daily_returns), draws, seed)
    deviation = drawn.std(axis=1, ddof=1)
    varied = deviation > ROUNDING
    if not varied.any():
        return None
    ratios = drawn.mean(axis=1)[varied] / deviation[varied] * math.sqrt(days_per_year)
    low, high = np.quantile(ratios, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
