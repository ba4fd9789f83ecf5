"""The default reward: what a trade brought, when it is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnqcore import Step, plugin

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@plugin
class TradePnl:
    """Pay the net P&L of the trades closed in the step, in dollars, and nothing in between.

    Sparse on purpose: no credit for unrealised gains, so holding a winner and cutting a loser is learnt from
    outcomes alone.
    """

    def __call__(self, step: Step) -> NDArray[np.float64]:
        """Return shape (n,): dollars net of commission and slippage; 0.0 where no trade was closed."""
        return step.realised.copy()
