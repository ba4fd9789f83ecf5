"""How likely the loss limit of a run is met within a year."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnqcore.errors import DataError
from mnqcore.metrics.bootstrap import FEWEST_DAYS, resample

if TYPE_CHECKING:
    from mnqcore.api.values import Floats


def chance_of_loss(
    daily_changes: Floats, limit: float, days: int = 252, draws: int = 10_000, seed: int = 0
) -> float | None:
    """Return the share of resampled years in which equity falls `limit` dollars below its peak; None under 10 days.

    A year is `days` daily changes drawn in blocks (see `bootstrap.resample`); its peak starts at the equity it begins
    with and is marked at each day's close, so the risk inside a day is not seen.

    Args:
        daily_changes: change of equity in each trading day, dollars, (n,).
        limit: the loss from the peak that ends a run, dollars, above 0.
        days: trading days in a year.
        draws: number of years.
        seed: the same seed gives the same answer.

    Raises:
        DataError: `limit` or `days` is not above 0.
    """
    if not limit > 0 or days < 1:
        raise DataError(
            "a chance of loss needs a limit and a number of days above 0",
            found=f"limit {limit}, days {days}",
            next="give the limit as positive dollars",
        )
    if len(daily_changes) < FEWEST_DAYS:
        return None
    equity = np.cumsum(resample(daily_changes, days, draws, seed), axis=1)
    peak = np.maximum(np.maximum.accumulate(equity, axis=1), 0.0)
    # Half a micro-unit: sums of dollars must not miss a limit that they meet to the cent.
    return float(((equity - peak).min(axis=1) <= -limit + 5e-7).mean())
