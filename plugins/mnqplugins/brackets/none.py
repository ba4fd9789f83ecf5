"""No stop and no target: for studies only, since nothing limits a loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from mnqcore import MarketView, plugin

if TYPE_CHECKING:
    import pandas as pd


@plugin
class Unprotected:
    """Leave entries without stop and target; `watch`, `paper` and `live` refuse it."""

    warmup: ClassVar[int] = 0
    protects: ClassVar[bool] = False
    """Tells the core that a NaN stop means none, not warm-up."""

    def levels(self, view: MarketView) -> pd.DataFrame:
        """Return a `stop` of NaN for every bar."""
        import numpy as np
        import pandas as pd

        return pd.DataFrame({"stop": np.nan}, index=view.bars.index)
