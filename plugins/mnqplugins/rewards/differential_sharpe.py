"""A reward for steady gains: what the step does to the Sharpe ratio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnqcore import Step, param, plugin, state

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@plugin
class DifferentialSharpe:
    """Pay the differential Sharpe ratio: how a step's return moves a Sharpe ratio with exponential memory.

    With r = equity change / initial balance, and A and B the running means of r and r squared up to the step before,
    both 0 at the start,

        reward = (B (r - A) - A (r^2 - B) / 2) / max(B - A^2, floor^2) ^ 1.5

    then A += rate (r - A) and B += rate (r^2 - B) (Moody et al. 1998; Moody and Saffell 2001). `floor` is not
    theirs: in an account that has been flat for long the variance falls to 0, and the next trade would outweigh all
    others.
    """

    rate: float = param(0.01, gt=0, lt=1, unit="a bar", help="share of a new return in the means", tune=(0.001, 0.1))
    floor: float = param(
        0.001, ge=1e-9, le=1, unit="of initial balance", help="least deviation of a bar's returns", tune=(1e-4, 1e-2)
    )

    mean: Any = state()
    """Running mean of each account's returns, shape (n,)."""
    square: Any = state()
    """Running mean of their squares, shape (n,)."""

    def reset(self, lanes: NDArray[np.bool_]) -> None:
        """Forget the returns of the accounts that begin anew."""
        import numpy as np

        self.mean = np.zeros(len(lanes)) if lanes.all() else np.where(lanes, 0.0, self.mean)
        self.square = np.zeros(len(lanes)) if lanes.all() else np.where(lanes, 0.0, self.square)

    def __call__(self, step: Step) -> NDArray[np.float64]:
        """Return shape (n,), without a unit; 0.0 in the first step."""
        import numpy as np

        gained = step.equity_change / step.initial_balance
        mean, square = self.mean, self.square
        new, newer = gained - mean, gained * gained - square
        variance = np.maximum(square - mean * mean, self.floor**2)
        self.mean, self.square = mean + self.rate * new, square + self.rate * newer
        paid: NDArray[np.float64] = (square * new - 0.5 * mean * newer) / (variance * np.sqrt(variance))
        return paid
