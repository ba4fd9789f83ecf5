"""PPO with a memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from mnq_sb3_contrib.clipped import Clipped
from mnqcore import param, plugin, state

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

_OF_NETWORK = ("memory_width", "memory_layers", "critic")


@plugin
class RecurrentPpo(Clipped):
    """Learn by PPO with an LSTM from bar to bar: it reads the position, and what the extractor makes of each window.

    It remembers nothing at the beginning of an episode, a backtest or a session. The algorithm is `RecurrentPPO` of
    sb3-contrib. Source: Hausknecht and Stone 2015, "Deep Recurrent Q-Learning for Partially Observable MDPs",
    https://arxiv.org/abs/1507.06527.
    """

    algorithm: ClassVar[str] = "sb3_contrib:RecurrentPPO"
    network: ClassVar[str] = "mnq_sb3_contrib.recurrent_network:RecurrentPolicy"
    remembers: ClassVar[bool] = True

    memory_width: int = param(64, ge=1, le=4096, help="units of the LSTM")
    memory_layers: int = param(1, ge=1, le=8, help="LSTMs one upon the other")
    critic: str = param(
        "own", choices=("own", "shared", "none"), help="the critic's LSTM: its own, the actor's, or none"
    )

    memory: Any = state()
    """(hidden, cell), each float32 (memory_layers, n, memory_width); None: nothing, of as many accounts as come."""

    def reset(self, lanes: NDArray[np.bool_]) -> None:
        """Forget what these accounts, bool (n,), were shown; all, where there were others than these before."""
        if self.memory is not None:
            known = self.memory[0].shape[1] == len(lanes)
            self.memory = self.policy.forgotten(self.memory, lanes) if known and not lanes.all() else None

    def act(self, observation: Mapping[str, NDArray[np.float32]]) -> NDArray[np.int64]:
        """Return the action that the policy prefers in each row, and remember the row.

        Raises:
            ValueError: there were other accounts before, and no `reset`.
        """
        n = len(observation["position_info"])
        memory = self.policy.nothing(n) if self.memory is None else self.memory
        if memory[0].shape[1] != n:
            raise ValueError(f"act is shown {n} accounts and remembers {memory[0].shape[1]}: call reset between them")
        preferences, self.memory = self.policy.preferences(observation, memory)
        found: NDArray[np.int64] = preferences.argmax(axis=1)
        return found

    def network_options(self) -> dict[str, Any]:
        """Return how the network is built."""
        return {
            "lstm_hidden_size": self.memory_width,
            "n_lstm_layers": self.memory_layers,
            "enable_critic_lstm": self.critic == "own",
            "shared_lstm": self.critic == "shared",
        }

    def hyperparameters(self) -> dict[str, Any]:
        """Return what the algorithm takes: all parameters but those of the network."""
        return {name: value for name, value in super().hyperparameters().items() if name not in _OF_NETWORK}
