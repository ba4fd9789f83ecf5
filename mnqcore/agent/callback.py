"""What happens between updates of a training: validation, the best policy, checkpoints, and the end when it is due.

At every checkpoint the accounts start anew and all generators are seeded from (seed, number of the checkpoint),
whether or not the training was interrupted there: so a resumed training equals one that never stopped.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.utils import set_random_seed

from mnqcore.agent import checkpoint
from mnqcore.agent.log import STEP
from mnqcore.errors import MnqError

if TYPE_CHECKING:
    from mnqcore.agent.learner import Sb3Learner
    from mnqcore.agent.training import Training


class Watch(BaseCallback):
    """Watches one training; `best` holds the weights to keep, once something was validated."""

    def __init__(self, learner: Sb3Learner, training: Training) -> None:
        super().__init__()
        self.learner = learner
        self.training_ = training
        self.progress = checkpoint.Progress()
        self.best: dict[str, torch.Tensor] | None = None
        self._written = -1
        self._validated_at = 0
        self._over = False

    @property
    def folder(self) -> Any:
        """Where the checkpoints are."""
        return self.training_.folder / "checkpoint"

    def resume(self) -> None:
        """Go on from the newest checkpoint in the folder, if there is one; call before `learn`."""
        found = checkpoint.newest(self.folder)
        if found is None:
            return
        policy: Any = self.model.policy
        self.progress, weights, self.best = checkpoint.read(found, policy.optimizer)
        policy.take(weights)
        self.model.num_timesteps = self._validated_at = self.progress.timesteps
        self.model._n_updates = self.progress.updates
        self._written = self.progress.number
        self._over = self._is_enough()

    def _on_rollout_start(self) -> None:
        self.training_.progress(self.num_timesteps)
        self.refuse_broken()
        if self.num_timesteps % self._every == 0 and not self._over:
            self._reach(self.num_timesteps // self._every)

    def _on_step(self) -> bool:
        return not self._over

    def _on_training_end(self) -> None:
        self.training_.progress(self.num_timesteps)
        self.refuse_broken()
        if not self._over and self.num_timesteps > self._validated_at:
            self._validate()

    def refuse_broken(self) -> None:
        """Stop where a weight is no number any more.

        Raises:
            MnqError: names the step.
        """
        policy: Any = self.model.policy
        if not all(bool(torch.isfinite(weight).all()) for weight in policy.parameters()):
            raise self.broken("weights of the network are no numbers any more")

    def broken(self, how: str) -> MnqError:
        """Return the error of a training that cannot go on."""
        return MnqError(
            f"the training broke down: {how}",
            where=f"training step {self.num_timesteps:,}, seed {self.training_.seed}",
            kept=f"log, and the checkpoint at {self.progress.timesteps:,} bars",
            next="lower agent.learning_rate, or look for features and rewards far from 1 in size",
        )

    @property
    def _every(self) -> int:
        """Bars between two checkpoints: whole rounds of collecting, at least one."""
        model: Any = self.model
        collected: int = model.n_steps * model.n_envs
        return max(1, round(self.learner.checkpoint / collected)) * collected

    def _reach(self, number: int) -> None:
        """Come to a checkpoint: judge, save, and start anew from its number."""
        if number > self._written:
            if number > 0:
                self._validate()
            self._write(number)
        if not self._over:
            self._start_anew(number)

    def _validate(self) -> None:
        if self.training_.validate is None:
            return
        score = self.training_.validate(self.learner)
        self._validated_at, progress = self.num_timesteps, self.progress
        progress.scores.append([self.num_timesteps, score.value])
        if progress.best is None or score.value > progress.best:
            policy: Any = self.model.policy
            progress.best, progress.best_at, progress.worse = score.value, self.num_timesteps, 0
            self.best = {name: value.detach().clone() for name, value in policy.weights().items()}
        else:
            progress.worse += 1
        self._over = self._is_enough()
        self.logger.record(STEP, self.num_timesteps, exclude="tensorboard")
        self.logger.record("validate/score", score.value)
        for name, figure in score.figures.items():
            if figure is not None and math.isfinite(figure):
                self.logger.record(f"validate/{name}", figure)
        self.logger.dump(self.num_timesteps)

    def _is_enough(self) -> bool:
        return self.learner.patience is not None and self.progress.worse >= self.learner.patience

    def _write(self, number: int) -> None:
        policy: Any = self.model.policy
        self.progress.number, self.progress.timesteps = number, self.num_timesteps
        self.progress.updates = self.model._n_updates
        checkpoint.write(self.folder, self.progress, policy.weights(), self.best, policy.optimizer)
        self._written = number

    def _start_anew(self, number: int) -> None:
        mine, accounts = (int(word) for word in np.random.SeedSequence([self.training_.seed, number]).generate_state(2))
        set_random_seed(mine, using_cuda=self.model.device.type == "cuda")
        model: Any = self.model
        model.env.seed(accounts >> 1)
        model._last_obs = model.env.reset()
        model._last_episode_starts = np.ones(model.n_envs, dtype=bool)
