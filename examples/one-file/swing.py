"""A bracket behind the last swing of the market.

mnq run examples/one-file/strategies.toml -s swing -p examples/one-file/swing.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnqcore import MarketView, Register, hookimpl, param, plugin

if TYPE_CHECKING:
    import pandas as pd


@plugin
class Swing:
    """Place the stop behind the farther of the last bars' high and low, the target a multiple of that away."""

    bars: int = param(12, ge=1, le=5000, unit="bars", help="length of the swing", tune=(6, 60))
    reward: float | None = param(None, gt=0, unit="stops", help="distance of the target; none if not given")

    @property
    def warmup(self) -> int:
        """Bars before the first distance: NaN until then, and no entry."""
        return self.bars - 1

    def levels(self, view: MarketView) -> pd.DataFrame:
        """Return `stop` and perhaps `target`: distances in raw price, on the index of `view.bars`."""
        import pandas as pd

        bars = view.bars
        below = bars["close"] - bars["low"].rolling(self.bars).min()
        above = bars["high"].rolling(self.bars).max() - bars["close"]
        # View prices are scaled over rolls; orders are made in raw ones. A quiet market still needs a tick.
        stop = (below.where(below > above, above) / view.factor).clip(lower=view.instrument.tick_size)
        levels = pd.DataFrame({"stop": stop})
        if self.reward is not None:
            levels["target"] = stop * self.reward
        return levels


@hookimpl
def register_brackets(register: Register) -> None:
    """Register the bracket."""
    register("swing", Swing)
