"""The agent that tosses a coin: what chance earns."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from mnqcore import Action, MarketView, param, plugin

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray


@plugin
class Random:
    """Act on a random share of the bars, with BUY, SELL or CLOSE at equal odds; hold on the others.

    Each bar's draw is a hash of its time and the seed, so it is the same whatever history it is reckoned from.
    """

    rate: float = param(0.02, ge=0, le=1, unit="of bars", help="how often it acts", tune=(0.002, 0.2))
    seed: int = param(0, ge=0, help="the same seed gives the same actions")

    warmup: ClassVar[int] = 0

    def signals(self, view: MarketView) -> pd.Series:
        """Return int8 actions on the index of `view.bars`."""
        import numpy as np
        import pandas as pd

        bits = _hash(view.bars.index.as_unit("ns").asi8.astype(np.uint64), self.seed)  # type: ignore[attr-defined]
        acts = (bits >> np.uint64(11)) * 2.0**-53 < self.rate
        choices = np.array([Action.BUY, Action.SELL, Action.CLOSE], dtype=np.int8)
        drawn = choices[_hash(bits, self.seed) % np.uint64(3)]
        return pd.Series(np.where(acts, drawn, np.int8(Action.HOLD)), index=view.bars.index, name="action")


def _hash(values: NDArray[np.uint64], seed: int) -> NDArray[np.uint64]:
    """Return well-mixed 64 bits for each value: the finalizer of SplitMix64 (Steele, Lea, Flood 2014)."""
    import numpy as np

    mixed = values ^ np.uint64((seed * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15) % 2**64)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
