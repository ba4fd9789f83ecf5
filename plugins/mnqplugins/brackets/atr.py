"""A stop and a target that widen and narrow with the market's range."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnqcore import MarketView, param, plugin

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

_NOISE = 1e-6
"""Ticks by which a distance may exceed a whole tick and still count as that tick: far above float noise."""


@plugin
class Atr:
    """Place the stop, and the target if there is one, a multiple of the average true range away.

    The average is the plain mean of the last `period` true ranges. Wilder's smoothing never forgets a bar, so that a
    stop would depend on where the history starts; a mean depends on its own bars only.
    """

    period: int = param(14, ge=1, le=5000, unit="bars", help="length of the average", tune=(5, 100))
    stop: float = param(2.0, gt=0, le=100, unit="ATR", help="distance of the stop", tune=(0.5, 6.0))
    target: float | None = param(None, gt=0, le=100, unit="ATR", help="distance of the target; none if not given")
    min_ticks: int = param(8, ge=1, unit="ticks", help="no distance is shorter")
    max_ticks: int = param(400, ge=1, unit="ticks", help="no distance is longer")

    def __attrs_post_init__(self) -> None:
        if self.min_ticks > self.max_ticks:
            raise ValueError(
                f"min_ticks must not be above max_ticks, was min_ticks = {self.min_ticks} and "
                f"max_ticks = {self.max_ticks}"
            )

    @property
    def warmup(self) -> int:
        """Bars before the first level: a true range needs the close before it."""
        return self.period

    def levels(self, view: MarketView) -> pd.DataFrame:
        """Return `stop`, and `target` if there is one, in raw price on the tick grid; NaN in the first `period` bars.

        True range: the largest of high - low, |high - previous close|, |low - previous close| (Wilder
        1978), on view prices, so that a roll is no range; divided by `view.factor` to be raw.
        """
        import numpy as np
        import pandas as pd

        bars = view.bars
        before = bars["close"].shift(1)
        spans = [bars["high"] - bars["low"], (bars["high"] - before).abs(), (bars["low"] - before).abs()]
        ranges = pd.concat(spans, axis=1).max(axis=1, skipna=False)
        average = ranges.rolling(self.period).mean() / view.factor
        ticks = average.to_numpy(dtype=np.float64) / view.instrument.tick_size
        columns = {"stop": self._distance(ticks * self.stop)}
        if self.target is not None:
            columns["target"] = self._distance(ticks * self.target)
        return pd.DataFrame(columns, index=bars.index) * view.instrument.tick_size

    def _distance(self, ticks: NDArray[np.float64]) -> NDArray[np.float64]:
        import numpy as np

        return np.clip(np.ceil(ticks - _NOISE), self.min_ticks, self.max_ticks)
