"""A reward that charges for new depths: profit less the deepest fall from a peak."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnqcore import Step, param, plugin, state

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@plugin
class DrawdownPenalty:
    """Pay the change of equity, less `weight` times what the step adds to the maximum drawdown, in dollars.

    The drawdown is how far equity lies below its highest close. Summed over a run this is its net profit less `weight`
    times its maximum drawdown (Magdon-Ismail and Atiya 2004). Only new depths cost: charging for every fall again
    would be no more than counting losses `1 + weight` times.
    """

    weight: float = param(1.0, ge=0, le=1000, help="dollars charged for a dollar of new depth", tune=(0.1, 5.0))

    deepest: Any = state()
    """Maximum drawdown of each account so far in dollars, shape (n,)."""

    def reset(self, lanes: NDArray[np.bool_]) -> None:
        """Forget the depths of the accounts that begin anew."""
        import numpy as np

        self.deepest = np.zeros(len(lanes)) if lanes.all() else np.where(lanes, 0.0, self.deepest)

    def __call__(self, step: Step) -> NDArray[np.float64]:
        """Return shape (n,): dollars."""
        import numpy as np

        before = self.deepest
        self.deepest = np.maximum(before, step.peak_equity - step.equity)
        paid: NDArray[np.float64] = step.equity_change - self.weight * (self.deepest - before)
        return paid
