"""A reward, a sizer, a feature set, a bracket and an extractor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnqcore import Entry, MarketView, ObservationSpec, Step, param, plugin

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import torch
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


@plugin
class Room:
    """A stop with room for some bars of the usual height, and no target."""

    ranges: float = param(
        8.0, gt=0, unit="bars", help="distance of the stop in usual heights of a bar", tune=(3.0, 20.0)
    )
    bars: int = param(50, ge=1, unit="bars", help="what is usual: the mean of so many bars")

    @property
    def warmup(self) -> int:
        """Bars before the first distance: NaN until then, and no entry."""
        return self.bars - 1

    def levels(self, view: MarketView) -> pd.DataFrame:
        """Return `stop` in raw price, a tick at least."""
        height = (view.bars["high"] - view.bars["low"]) / view.factor
        usual = height.rolling(self.bars).mean()
        return (self.ranges * usual).clip(lower=view.instrument.tick_size).to_frame("stop")


@plugin
class Fading:
    """Sum up the window by averages in which older bars fade, each column at the pace that it learns."""

    width: int = param(32, ge=1, le=4096, unit="units", help="width of the answer", tune=(8, 128))

    def build(self, spec: ObservationSpec) -> torch.nn.Module:
        """Return a module from float32 (batch, lookback, n_features) to (batch, width)."""
        import torch  # here, so that listing plugins does not wait for it

        class Network(torch.nn.Module):
            def __init__(self, width: int) -> None:
                super().__init__()
                self.pace = torch.nn.Parameter(torch.linspace(-5.0, 0.0, spec.n_features))
                self.mix = torch.nn.Linear(2 * spec.n_features, width)

            def forward(self, windows: torch.Tensor) -> torch.Tensor:
                age = torch.arange(spec.lookback - 1, -1, -1, device=windows.device)
                weights = torch.softmax(-age[:, None] * self.pace.exp(), dim=0)
                average = (windows * weights).sum(dim=1)
                return torch.tanh(self.mix(torch.cat((average, windows[:, -1]), dim=1)))

        return Network(self.width)
