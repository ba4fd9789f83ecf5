"""A sizer that trades less when the market is rough.

mnq run examples/one-file/strategies.toml -s calm -p examples/one-file/calm.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnqcore import Entry, MarketView, Register, hookimpl, param, plugin

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray


@plugin
class Calm:
    """Take the full size while bars are as tall as usual, and one contract while they are much taller."""

    contracts: int = param(2, ge=1, le=10_000, unit="contracts", help="size in a calm market")
    bars: int = param(276, ge=2, le=5000, unit="bars", help="what is usual: the mean of so many bars")
    limit: float = param(1.5, gt=0, help="times the usual height from which the market is rough", tune=(1.0, 3.0))

    @property
    def warmup(self) -> int:
        """Bars before the first signal: NaN until then, and no entry."""
        return self.bars - 1

    def prepare(self, view: MarketView) -> pd.Series:
        """Return each bar's height over the usual one; it comes back in `entry.signal`."""
        height = (view.bars["high"] - view.bars["low"]) / view.bars["close"]
        return height / height.rolling(self.bars).mean()

    def __call__(self, entry: Entry) -> NDArray[np.int64]:
        """Return contracts, shape (m,)."""
        import numpy as np

        return np.where(entry.signal > self.limit, 1, self.contracts).astype(np.int64)


@hookimpl
def register_sizers(register: Register) -> None:
    """Register the sizer."""
    register("calm", Calm)
