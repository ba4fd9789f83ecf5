"""A reward, a sizer and a feature set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnqcore import Entry, MarketView, Step, param, plugin

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray


@plugin
class Patience:
    """Change of equity, less a cost for every bar in position."""

    cost: float = param(0.5, ge=0, unit="dollars", help="cost of a bar in position")

    def __call__(self, step: Step) -> NDArray[np.float64]:
        """Return dollars, shape (n,)."""
        charge: NDArray[np.float64] = self.cost * (step.position != 0)
        return step.equity_change - charge


@plugin
class Grow:
    """Trade one contract until enough trades are closed, then more."""

    after: int = param(30, ge=0, unit="trades", help="closed trades before the size grows")
    contracts: int = param(2, ge=1, unit="contracts", help="size from then on")

    def __call__(self, entry: Entry) -> NDArray[np.int64]:
        """Return contracts, shape (m,)."""
        grown = entry.wins + entry.losses >= self.after
        return 1 + grown * (self.contracts - 1)


@plugin
class Efficiency:
    """How straight the price went: its move over the length of its path, 0 to 1."""

    bars: int = param(20, ge=2, unit="bars", help="length of the path", tune=(5, 100))

    @property
    def warmup(self) -> int:
        """A value reads `bars` changes."""
        return self.bars + 1

    def compute(self, view: MarketView) -> pd.DataFrame:
        """Return the one column `efficiency_<bars>`."""
        close = view.bars["close"]
        path = close.diff().abs().rolling(self.bars).sum()
        straight = close.diff(self.bars).abs()
        return (straight / path).where(path != 0, 0.0).to_frame(f"efficiency_{self.bars}")
