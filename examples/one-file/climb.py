"""An agent that learns without a library: a linear policy, and of random changes to it the ones that earn more.

mnq -p examples/one-file/climb.py run examples/one-file/strategies.toml -s climb --stage train,backtest
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from mnqcore import Register, hookimpl, param, plugin, state

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from mnqcore import ModelSpec, Training

    Floats = NDArray[np.float32]


@plugin
class Climb:
    """Prefer actions by a weighted sum of the newest features and the position; climb to better weights by chance."""

    rounds: int = param(60, ge=1, help="changes that are tried")
    accounts: int = param(32, ge=1, help="accounts on which a change is tried")
    bars: int = param(400, ge=2, unit="bars", help="how long it is tried")
    stride: float = param(0.3, gt=0, help="size of a change")

    weights: Any = state()

    def reset(self, lanes: NDArray[np.bool_]) -> None:
        """Forget nothing: what it does depends on the observation alone."""

    def train(self, training: Training) -> None:
        """Climb on the training bars, always on the same episodes, so that two changes compare."""
        draw = np.random.default_rng(training.seed)
        self.weights = np.zeros((training.spec.observation.n_features + 4, 4))
        earned = self._earned(training)
        for done in range(self.rounds):
            before = self.weights
            self.weights = before + self.stride * draw.normal(size=before.shape)
            if (now := self._earned(training)) > earned:
                earned = now
            else:
                self.weights = before
            training.progress(done * self.accounts * self.bars)

    def _earned(self, training: Training) -> float:
        env = training.env(self.accounts)
        seen: Any = env.reset()
        total = 0.0
        for _ in range(self.bars):
            newest = training.arena.features[seen["bar"][:, 0]]
            seen, rewards, _, _ = env.step(self._preferred(newest, seen["position_info"]))
            total += rewards.sum()
        return float(total)

    def _preferred(self, newest: Floats, position: Floats) -> NDArray[np.int64]:
        found: NDArray[np.int64] = (np.concatenate((newest, position), axis=1) @ self.weights).argmax(axis=1)
        return found

    def act(self, observation: Mapping[str, Floats]) -> NDArray[np.int64]:
        """Return an action a row, of the last bar of each window."""
        return self._preferred(observation["market_features"][:, -1], observation["position_info"])

    def save(self, folder: Path) -> None:
        """Write the weights as JSON: plain data, as a model must be."""
        (folder / "climb.json").write_text(json.dumps(self.weights.tolist()))

    def load(self, folder: Path, spec: ModelSpec) -> None:
        """Read what `save` wrote."""
        self.weights = np.array(json.loads((folder / "climb.json").read_text()))


@hookimpl
def register_agents(register: Register) -> None:
    """Register the climbing agent."""
    register("climb", Climb)
