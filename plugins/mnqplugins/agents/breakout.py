"""The classic breakout of a price channel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnqcore import Action, MarketView, param, plugin

if TYPE_CHECKING:
    import pandas as pd


@plugin
class Breakout:
    """Buy when a bar closes above the highest high of the bars before it, sell below their lowest low, else hold.

    The channel of Donchian, as in the Turtle rules.
    """

    bars: int = param(
        20, ge=1, le=5000, unit="bars", help="length of the channel, without the bar itself", tune=(5, 400)
    )

    @property
    def warmup(self) -> int:
        """Bars that the channel needs before the bar it is compared with."""
        return self.bars

    def signals(self, view: MarketView) -> pd.Series:
        """Return BUY (1), SELL (2) or HOLD (0) as int8 on the index of `view.bars`."""
        import numpy as np
        import pandas as pd

        close = view.bars["close"]
        top = view.bars["high"].rolling(self.bars).max().shift(1)
        bottom = view.bars["low"].rolling(self.bars).min().shift(1)
        broken = np.select([close > top, close < bottom], [Action.BUY, Action.SELL], Action.HOLD)
        return pd.Series(broken.astype(np.int8), index=view.bars.index, name="action")
