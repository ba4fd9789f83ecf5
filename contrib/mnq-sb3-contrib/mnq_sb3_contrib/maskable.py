"""PPO that never chooses what does nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from mnq_sb3_contrib.clipped import Clipped
from mnqcore import plugin

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from mnqcore import Training


@plugin
class MaskablePpo(Clipped):
    """Learn by PPO with invalid actions masked: BUY while long, SELL while short and CLOSE while flat.

    Each of them does what HOLD does; so the agent has less to find out. Source: Huang and Ontañón 2020, "A Closer Look
    at Invalid Action Masking in Policy Gradient Algorithms", https://arxiv.org/abs/2006.14171.
    """

    algorithm: ClassVar[str] = "sb3_contrib:MaskablePPO"
    network: ClassVar[str] = "mnq_sb3_contrib.maskable_network:MaskedPolicy"

    def accounts(self, training: Training) -> Any:
        """Return the accounts of a training, which tell what each of them may do."""
        from mnq_sb3_contrib.maskable_network import Masking

        return Masking(training.env(self.n_envs))

    def act(self, observation: Mapping[str, NDArray[np.float32]]) -> NDArray[np.int64]:
        """Return, for each row, the action that the policy prefers of those that do something."""
        found: NDArray[np.int64] = self.policy.preferred(observation)
        return found
