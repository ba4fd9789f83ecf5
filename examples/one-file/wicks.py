"""A feature set: who was driven back in a bar, buyers or sellers.

mnq run examples/one-file/strategies.toml -s wicks -p examples/one-file/wicks.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnqcore import MarketView, Register, hookimpl, param, plugin

if TYPE_CHECKING:
    import pandas as pd


@plugin
class Wicks:
    """Compute the upper and the lower wick as shares of the bar's range, averaged over some bars."""

    bars: int = param(6, ge=1, le=5000, unit="bars", help="length of the average", tune=(1, 48))

    @property
    def warmup(self) -> int:
        """Bars before the first value."""
        return self.bars - 1

    def compute(self, view: MarketView) -> pd.DataFrame:
        """Return the columns `upper` and `lower`, 0 to 1; NaN in the first bars."""
        import pandas as pd

        body = view.bars[["open", "close"]]
        upper = view.bars["high"] - body.max(axis=1)
        lower = body.min(axis=1) - view.bars["low"]
        height = view.bars["high"] - view.bars["low"]
        # A bar of one price has no wicks: 0 of 0 is 0 here, since a column may not be infinite.
        shares = pd.DataFrame({"upper": upper, "lower": lower}).div(height.where(height > 0, 1.0), axis=0)
        return shares.rolling(self.bars).mean()


@hookimpl
def register_feature_sets(register: Register) -> None:
    """Register the feature set."""
    register("wicks", Wicks)
