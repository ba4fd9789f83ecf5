"""The policy of `recurrent-ppo`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from sb3_contrib.common.recurrent.policies import RecurrentMultiInputActorCriticPolicy

from mnqcore import WindowPolicy

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Memory = tuple[torch.Tensor, torch.Tensor]
    """Hidden and cell state, each (layers, n, width)."""


class RecurrentPolicy(WindowPolicy, RecurrentMultiInputActorCriticPolicy):
    """window -> extractor -> latent, joined with the position, -> LSTM -> two small heads."""

    def extract_features(self, obs: Any, features_extractor: Any = None) -> Any:
        """Return latents and positions; where sb3-contrib filled a sequence up with zeros, those of another bar."""
        if "bar" in obs:
            # Bar 0 may have no features, and what is NaN would reach the weights though its loss is masked. No account
            # has an equity of 0 at bar 0: if any begins there, it has all of it.
            filled = (obs["bar"] == 0) & (obs["position_info"][:, 3:] == 0)
            obs = {**obs, "bar": torch.where(filled, obs["bar"].max(), obs["bar"])}
        return super().extract_features(obs, features_extractor)

    def nothing(self, n: int) -> Memory:
        """Return the memory of n accounts that have seen no bar."""
        layers, _, width = self.lstm_hidden_state_shape
        hidden, cell = torch.zeros(2, layers, n, width, device=self.device)
        return hidden, cell

    def forgotten(self, memory: Memory, lanes: NDArray[np.bool_]) -> Memory:
        """Return a memory with that of some accounts, bool (n,), emptied."""
        kept = torch.as_tensor(~lanes, device=self.device)[None, :, None]
        hidden, cell = (part * kept for part in memory)
        return hidden, cell

    def preferences(self, observation: Mapping[str, Floats], memory: Memory) -> tuple[Floats, Memory]:
        """Return what is preferred at each row, (rows, 4), and the memory after them.

        Args:
            observation: windows and positions; of n accounts n rows, or k rows of each, one account after the other.
            memory: of n accounts.
        """
        self.set_training_mode(False)
        with torch.inference_mode():
            joined = self.joined(observation)
            begun = torch.zeros(len(joined), device=self.device)
            latents, (hidden, cell) = self._process_sequence(joined, memory, begun, self.lstm_actor)
            found: Floats = self.action_net(self.mlp_extractor.forward_actor(latents)).cpu().numpy()
        return found, (hidden, cell)
