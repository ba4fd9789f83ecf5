"""`Sb3Learner`: what agents on an algorithm of stable-baselines3 have in common. Light: plugins import it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from mnqcore.api.parameters import param, parameters, plugin, state

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from stable_baselines3.common.vec_env import VecEnv

    from mnqcore.agent.training import Training
    from mnqcore.api.values import ModelSpec


@plugin
class Sb3Learner:
    """Learn by an on-policy algorithm of stable-baselines3: a subclass names it and declares its parameters.

    Every parameter that a subclass adds is handed to the algorithm under its own name, unless `hyperparameters` is
    overridden.

    Example:
        @plugin
        class Trpo(Sb3Learner):
            algorithm: ClassVar[str] = "sb3_contrib:TRPO"
            n_steps: int = param(2048, ge=1, unit="bars", help="of each account between two updates")
    """

    algorithm: ClassVar[str] = ""
    """ "module:Class" of an OnPolicyAlgorithm."""
    network: ClassVar[str] = "mnqcore.agent.policy:TradingPolicy"
    """ "module:Class" of the policy that it trains: a WindowPolicy."""
    remembers: ClassVar[bool] = False
    """Whether `act` depends on what it was shown since `reset`."""

    timesteps: int = param(500_000, ge=1, le=10**10, unit="bars", help="length of the training, over all accounts")
    n_envs: int = param(8, ge=1, le=4096, help="accounts that learn side by side")
    hidden: tuple[int, ...] = param((64, 64), ge=1, le=4096, help="widths of the layers behind the extractor")
    activation: str = param("tanh", choices=("tanh", "relu"), help="between these layers")
    schedule: str = param("constant", choices=("constant", "linear"), help="of the learning rate: linear falls to 0")
    checkpoint: int = param(50_000, ge=1, unit="bars", help="validate, and save what is needed to resume, so often")
    patience: int | None = param(None, ge=1, help="stop after so many validations without a better one")
    device: str = param("auto", choices=("auto", "cpu", "cuda"), help="where the network is trained")

    policy: Any = state()
    """The TradingPolicy, once trained or loaded."""

    def reset(self, lanes: NDArray[np.bool_]) -> None:
        """Do nothing: the policy remembers nothing from bar to bar."""

    def train(self, training: Training) -> None:
        """Train, and keep the policy that did best on the validation bars."""
        from mnqcore.agent.trainer import train

        train(self, training)

    def act(self, observation: Mapping[str, NDArray[np.float32]]) -> NDArray[np.int64]:
        """Return the action that the policy prefers in each row."""
        actions, _ = self.policy.predict(dict(observation), deterministic=True)
        found: NDArray[np.int64] = actions
        return found

    def save(self, folder: Path) -> None:
        """Write the weights as `policy.safetensors`."""
        from mnqcore.agent.weights import write_weights

        write_weights(folder / "policy.safetensors", self.policy.weights())

    def load(self, folder: Path, spec: ModelSpec) -> None:
        """Read the weights that `save` wrote; DataError where they are not those of this network."""
        from mnqcore.agent.policy import blank
        from mnqcore.agent.weights import read_weights

        self.policy = blank(spec, self.hidden, self.activation, self.network, **self.network_options())
        self.policy.take(read_weights(folder / "policy.safetensors", self.policy.weights()))

    def accounts(self, training: Training) -> VecEnv:
        """Return what is learnt on: `n_envs` accounts; override to wrap them."""
        return training.env(self.n_envs)

    def network_options(self) -> dict[str, Any]:
        """Return what the constructor of `network` takes beyond a TradingPolicy's."""
        return {}

    def hyperparameters(self) -> dict[str, Any]:
        """Return what the algorithm's constructor takes: the parameters that the subclass declared."""
        own = parameters(type(self)).keys() - parameters(Sb3Learner).keys()
        return {name: getattr(self, name) for name in parameters(type(self)) if name in own}
