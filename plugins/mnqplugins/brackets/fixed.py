"""A stop and a target at a fixed distance."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from mnqcore import MarketView, param, plugin

if TYPE_CHECKING:
    import pandas as pd


@plugin
class Fixed:
    """Place the stop, and the target if there is one, a fixed number of ticks away."""

    stop_ticks: int = param(200, ge=1, unit="ticks", help="distance of the stop", tune=(20, 400))
    target_ticks: int | None = param(None, ge=1, unit="ticks", help="distance of the target; none if not given")

    warmup: ClassVar[int] = 0

    def levels(self, view: MarketView) -> pd.DataFrame:
        """Return the same distances, in raw price, for every bar: `stop`, and `target` if there is one."""
        import pandas as pd

        tick = view.instrument.tick_size
        levels = pd.DataFrame({"stop": self.stop_ticks * tick}, index=view.bars.index)
        if self.target_ticks is not None:
            levels["target"] = self.target_ticks * tick
        return levels
