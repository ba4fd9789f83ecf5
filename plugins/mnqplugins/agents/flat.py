"""The agent that never trades: what every other one is compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from mnqcore import Action, MarketView, plugin

if TYPE_CHECKING:
    import pandas as pd


@plugin
class Flat:
    """Hold on every bar, so that no position is ever opened."""

    warmup: ClassVar[int] = 0

    def signals(self, view: MarketView) -> pd.Series:
        """Return HOLD for every bar of `view.bars`."""
        import pandas as pd

        return pd.Series(int(Action.HOLD), index=view.bars.index, dtype="int8", name="action")
