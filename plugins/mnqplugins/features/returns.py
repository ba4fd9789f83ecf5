"""How far prices moved: the plainest features."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnqcore import MarketView, param, plugin

if TYPE_CHECKING:
    import pandas as pd


@plugin
class Returns:
    """Compute log returns over several horizons, and the range and the body of each bar.

    Columns: `ret_H` = log(close / close H bars ago) for each horizon H; `range` = log(high / low); `body` =
    log(close / open). On view prices, so that a roll is no return.
    """

    horizons: tuple[int, ...] = param((1, 3, 12), ge=1, le=100_000, unit="bars", help="lengths of the returns")

    def __attrs_post_init__(self) -> None:
        if not self.horizons or len(set(self.horizons)) < len(self.horizons):
            raise ValueError(f"horizons must be one or more different numbers of bars, was {self.horizons}")

    @property
    def warmup(self) -> int:
        """Bars that the longest return looks back."""
        return max(self.horizons)

    def compute(self, view: MarketView) -> pd.DataFrame:
        """Return the columns as float64 on the index of `view.bars`; NaN where a return looks back too far."""
        import numpy as np
        import pandas as pd

        bars = view.bars[["open", "high", "low", "close"]].apply(np.log)
        columns = {f"ret_{horizon}": bars["close"].diff(horizon) for horizon in self.horizons}
        columns["range"] = bars["high"] - bars["low"]
        columns["body"] = bars["close"] - bars["open"]
        return pd.DataFrame(columns, index=view.bars.index)
