"""A reward that remembers: smooth gains are worth more than jumpy ones.

mnq run examples/one-file/strategies.toml -s steady -p examples/one-file/steady.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnqcore import Register, Step, hookimpl, param, plugin, state

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@plugin
class Steady:
    """Change of equity, less a share of how far it lies from its own running average."""

    memory: int = param(50, ge=1, unit="bars", help="length of the running average", tune=(10, 200))
    weight: float = param(0.1, ge=0, le=1, help="share of the surprise that is taken off")

    average: Any = state()
    """Running average of each account's change of equity, shape (n,)."""

    def reset(self, lanes: NDArray[np.bool_]) -> None:
        """Forget the accounts that begin anew; called with all true before the first step."""
        import numpy as np

        if self.average is None:
            self.average = np.zeros(len(lanes))
        self.average[lanes] = 0.0

    def __call__(self, step: Step) -> NDArray[np.float64]:
        """Return dollars, shape (n,)."""
        import numpy as np

        surprise = step.equity_change - self.average
        self.average += surprise / self.memory
        rewards: NDArray[np.float64] = step.equity_change - self.weight * np.abs(surprise)
        return rewards


@hookimpl
def register_rewards(register: Register) -> None:
    """Register the reward."""
    register("steady", Steady)
