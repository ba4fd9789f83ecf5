"""The Sharpe ratio held against luck: how likely it is above what the best of so many worthless trials would show."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from mnqcore.metrics.returns import spread as deviation_of

if TYPE_CHECKING:
    from mnqcore.api.values import Floats

_EULER = 0.5772156649015329  # Euler and Mascheroni's constant
_NORMAL = NormalDist()


def deflated_sharpe(returns: Floats, trials: int, spread: float | None) -> float | None:
    """Return the probability that the true Sharpe ratio is above the best that worthless trials would have shown.

    z = (S - S0) * sqrt(n - 1) / sqrt(1 - g3 * S + (g4 - 1) / 4 * S^2), and the figure is N(z); S is the ratio of the
    days, not annualised, g3 their skewness, g4 their kurtosis (3 where normal), S0 = `expected_best`. With one trial it
    is the probabilistic Sharpe ratio against 0.

    None under three days, without variance, where z is not defined, or with several trials whose spread is not known.
    Source: Bailey and Lopez de Prado 2014, "The Deflated Sharpe Ratio", Journal of Portfolio Management 40 (5).

    Args:
        returns: daily simple returns, (days,).
        trials: how many different attempts were looked at, this one included.
        spread: standard deviation of their daily Sharpe ratios.
    """
    days, deviation = len(returns), deviation_of(returns)
    if days < 3 or not deviation or trials < 1 or (trials > 1 and spread is None):
        return None
    ratio = float(returns.mean()) / deviation
    skewness, kurtosis = _shape(returns)
    variance = 1.0 - skewness * ratio + (kurtosis - 1.0) / 4.0 * ratio**2
    if variance <= 0.0:
        return None
    excess = ratio - expected_best(trials, spread or 0.0)
    return _NORMAL.cdf(excess * math.sqrt(days - 1.0) / math.sqrt(variance))


def expected_best(trials: int, spread: float) -> float:
    """Return the largest Sharpe ratio expected of trials that are all worth nothing; 0 of a single one.

    spread * ((1 - e) * N^-1(1 - 1 / trials) + e * N^-1(1 - 1 / (trials * exp(1)))), e = 0.5772...; source as above.

    Args:
        trials: how many, at least 1.
        spread: standard deviation of their Sharpe ratios; the answer is in its unit.
    """
    if trials == 1:
        return 0.0
    # The upper quantile of a tail, by symmetry: 1 - 1 / trials would round to 1.
    first, second = (-_NORMAL.inv_cdf(1.0 / number) for number in (trials, trials * math.e))
    return spread * ((1.0 - _EULER) * first + _EULER * second)


def _shape(returns: Floats) -> tuple[float, float]:
    """Return skewness and kurtosis of the days: central moments over powers of the deviation (n)."""
    centred = returns - returns.mean()
    scaled = centred / math.sqrt(float(np.square(centred).mean()))
    return float((scaled**3).mean()), float((scaled**4).mean())
