"""Size so that the position's volatility is the same in calm and in rough markets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnqcore import Entry, MarketView, param, plugin

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

_ROUNDING = 1e-9
"""Contracts: no whole one is lost to a rounding error."""
_USUAL_YEAR = ("2024-01-01", "2025-01-01")
"""A year whose trading hours stand for all: the same number everywhere, whatever the history holds."""


@plugin
class Volatility:
    """Enter with as many contracts as give the position a yearly volatility of `target` of the equity.

    contracts = floor(target x equity / (volatility x price x dollars a point)), volatility being the standard
    deviation of the last `period` log returns x sqrt(bars in a year) (Carver 2015, "volatility targeting").
    """

    target: float = param(
        1.0, gt=0, le=10, unit="a year", help="volatility of the position if it were held all year", tune=(0.1, 2.0)
    )
    period: int = param(288, ge=2, le=100_000, unit="bars", help="returns that the volatility is measured on")

    @property
    def warmup(self) -> int:
        """Bars before the first size: `period` returns."""
        return self.period

    def prepare(self, view: MarketView) -> pd.Series:
        """Return the yearly volatility as known at each close; NaN, which means no entry, before it is known or 0."""
        import numpy as np

        returns: pd.Series = view.bars["close"].apply(np.log).diff()
        volatility = returns.rolling(self.period).std() * _bars_a_year(view) ** 0.5
        known: pd.Series = volatility.where(volatility > 0)
        return known

    def __call__(self, entry: Entry) -> NDArray[np.int64]:
        """Return shape (m,): whole contracts, 0 where even one is too volatile or no equity is left."""
        import numpy as np

        contracts = self.target * entry.equity / (entry.signal * entry.price * entry.point_value)
        return np.maximum(contracts + _ROUNDING, 0.0).astype(np.int64)


def _bars_a_year(view: MarketView) -> float:
    import pandas as pd

    first, last = (pd.Timestamp(day, tz="UTC") for day in _USUAL_YEAR)
    sessions = view.calendar.sessions(first, last)
    pauses = (sessions["break_end"] - sessions["break_start"]).fillna(pd.Timedelta(0))
    trading = (sessions["close"] - sessions["open"] - pauses).dt.total_seconds().sum()
    return float(trading / view.bar_size.total_seconds())
