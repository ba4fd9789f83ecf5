"""The classic crossing of two moving averages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnqcore import Action, MarketView, param, plugin

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray


@plugin
class SmaCross:
    """Buy on the bar where the fast average rises above the slow one, sell where it falls below, else hold."""

    fast: int = param(20, ge=1, le=5000, unit="bars", help="length of the fast average", tune=(5, 100))
    slow: int = param(50, ge=2, le=5000, unit="bars", help="length of the slow average", tune=(20, 400))

    def __attrs_post_init__(self) -> None:
        if self.fast >= self.slow:
            raise ValueError(f"fast must be below slow, was fast = {self.fast} and slow = {self.slow}")

    @property
    def warmup(self) -> int:
        """Bars before the first crossing can be seen: the slow average of two bars."""
        return self.slow

    def signals(self, view: MarketView) -> pd.Series:
        """Return BUY (1) or SELL (2) on the bar of a crossing of simple averages of `view` closes, else HOLD (0)."""
        import numpy as np
        import pandas as pd

        close = view.bars["close"].to_numpy(dtype=np.float64)
        actions = np.full(len(close), Action.HOLD, dtype=np.int8)
        if len(close) > self.slow:
            fast = _means(close, self.fast)[self.slow - self.fast :]
            above = np.sign(fast - _means(close, self.slow))
            actions[self.slow :][(above[1:] > 0) & (above[:-1] <= 0)] = Action.BUY
            actions[self.slow :][(above[1:] < 0) & (above[:-1] >= 0)] = Action.SELL
        return pd.Series(actions, index=view.bars.index, name="action")


def _means(values: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    import numpy as np

    # A dot product a bar, not a running sum: an average then depends on its own window only, to the last bit.
    return np.convolve(values, np.ones(length), mode="valid") / length
