"""A rule agent: follow a row of rising or falling closes.

mnq run examples/one-file/strategies.toml -s streak -p examples/one-file/streak.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnqcore import Action, MarketView, Register, hookimpl, param, plugin

if TYPE_CHECKING:
    import pandas as pd


@plugin
class Streak:
    """Buy after so many rising closes in a row, sell after so many falling ones, else hold."""

    bars: int = param(4, ge=1, le=5000, unit="bars", help="closes in a row", tune=(2, 12))

    @property
    def warmup(self) -> int:
        """Bars before the first action: a rise needs the close before it."""
        return self.bars

    def signals(self, view: MarketView) -> pd.Series:
        """Return BUY (1), SELL (2) or HOLD (0) as int8 on the index of `view.bars`."""
        import numpy as np
        import pandas as pd

        change = view.bars["close"].diff()
        rising = (change > 0).rolling(self.bars).sum() == self.bars
        falling = (change < 0).rolling(self.bars).sum() == self.bars
        actions = np.select([rising, falling], [Action.BUY, Action.SELL], Action.HOLD)
        return pd.Series(actions.astype(np.int8), index=view.bars.index)


@hookimpl
def register_agents(register: Register) -> None:
    """Register the agent."""
    register("streak", Streak)
