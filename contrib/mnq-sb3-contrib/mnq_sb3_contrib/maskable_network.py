"""The policy of `maskable-ppo`, and accounts that tell what they may do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sb3_contrib.common.maskable.policies import MaskableMultiInputActorCriticPolicy
from stable_baselines3.common.vec_env import VecEnvWrapper

from mnqcore import Action, WindowPolicy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Bools = NDArray[np.bool_]


def allowed(position_info: Floats) -> Bools:
    """Return which actions do something or hold, bool (n, 4), where positions are as they are seen, (n, 4) or (4,)."""
    side = np.atleast_2d(position_info)[:, 0]
    masks = np.ones((len(side), len(Action)), np.bool_)
    masks[:, Action.BUY] = side <= 0
    masks[:, Action.SELL] = side >= 0
    masks[:, Action.CLOSE] = side != 0
    return masks


class MaskedPolicy(WindowPolicy, MaskableMultiInputActorCriticPolicy):
    """An actor and a critic; where nobody says what is allowed, the position does."""

    def preferred(self, observation: Mapping[str, Floats]) -> NDArray[np.int64]:
        """Return the action that is preferred in each row, of those allowed."""
        self.set_training_mode(False)
        with torch.inference_mode():
            distribution = self._get_action_dist_from_latent(self.mlp_extractor.forward_actor(self.joined(observation)))
            distribution.apply_masking(allowed(observation["position_info"]))
            found: NDArray[np.int64] = distribution.get_actions(deterministic=True).cpu().numpy()
        return found

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
        action_masks: Bools | None = None,
    ) -> tuple[Any, Any]:
        """Return what the library's policy does, and None for a state."""
        masks = allowed(observation["position_info"]) if action_masks is None else action_masks
        return super().predict(observation, state, episode_start, deterministic, action_masks=masks)


class Masking(VecEnvWrapper):
    """Accounts that answer `action_masks`, which is how sb3-contrib asks what is allowed."""

    def __init__(self, venv: Any) -> None:
        super().__init__(venv)
        self._masks = np.ones((venv.num_envs, len(Action)), np.bool_)

    def reset(self) -> Any:
        """Return the first observations."""
        return self._noted(self.venv.reset())

    def step_wait(self) -> Any:
        """Return observations, rewards, which episodes are over, and infos."""
        observation, *rest = self.venv.step_wait()
        return self._noted(observation), *rest

    def has_attr(self, attr_name: str) -> bool:
        """Whether an account has an attribute."""
        return attr_name == "action_masks" or super().has_attr(attr_name)

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """Return what is allowed to each account; AttributeError where anything else is asked."""
        if method_name == "action_masks":
            return list(self._masks[list(self._get_indices(indices))])
        return self.venv.env_method(method_name, *method_args, indices=indices, **method_kwargs)

    def _noted(self, observation: Any) -> Any:
        self._masks = allowed(observation["position_info"])
        return observation
