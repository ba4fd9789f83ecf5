"""The dense reward: what the account gained or lost in each bar."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnqcore import Step, plugin

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@plugin
class EquityChange:
    """Pay the change of equity in every step, in dollars: costs and unrealised gains count at once.

    Summed over a run it is the net profit, as `trade-pnl` is, but each bar is judged by itself.
    """

    def __call__(self, step: Step) -> NDArray[np.float64]:
        """Return shape (n,): dollars, marked at the close."""
        return step.equity_change.copy()
