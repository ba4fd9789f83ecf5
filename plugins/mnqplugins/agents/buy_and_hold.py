"""The agent that is always long."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from mnqcore import Action, MarketView, plugin

if TYPE_CHECKING:
    import pandas as pd


@plugin
class BuyAndHold:
    """Buy on every bar, so that a position closed by a stop, a session's end or a roll is opened anew."""

    warmup: ClassVar[int] = 0

    def signals(self, view: MarketView) -> pd.Series:
        """Return BUY for every bar of `view.bars`."""
        import pandas as pd

        return pd.Series(int(Action.BUY), index=view.bars.index, dtype="int8", name="action")
