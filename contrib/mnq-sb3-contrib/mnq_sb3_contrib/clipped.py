"""What both agents have in common: the parameters of proximal policy optimisation."""

from __future__ import annotations

from mnqcore import Sb3Learner, param, plugin


@plugin
class Clipped(Sb3Learner):
    """The parameters of proximal policy optimisation, named as those of the built-in `ppo`."""

    learning_rate: float = param(3e-4, gt=0, le=1, help="step of the optimiser", tune=(1e-5, 1e-3))
    n_steps: int = param(256, ge=1, le=1_000_000, unit="bars", help="of each account between two updates")
    batch_size: int = param(64, ge=2, le=10_000_000, unit="bars", help="of one gradient step")
    n_epochs: int = param(10, ge=1, le=1000, help="how often an update goes through what was collected", tune=(1, 20))
    gamma: float = param(0.99, ge=0, le=1, help="what a reward is worth a bar later", tune=(0.9, 0.9999))
    gae_lambda: float = param(0.95, ge=0, le=1, help="how far advantages trust rewards over the critic")
    clip_range: float = param(0.2, gt=0, le=10, help="how far an update may move the odds of an action")
    clip_range_vf: float | None = param(None, gt=0, help="the same for the critic's values; off if not given")
    normalize_advantage: bool = param(True, help="scale advantages within a batch")
    ent_coef: float = param(0.0, ge=0, le=100, help="weight of the entropy, which keeps it trying", tune=(0.0, 0.05))
    vf_coef: float = param(0.5, ge=0, le=100, help="weight of the critic's error")
    max_grad_norm: float = param(0.5, gt=0, le=1000, help="longest gradient")
    target_kl: float | None = param(None, gt=0, help="end an update early beyond this divergence; off if not given")

    def __attrs_post_init__(self) -> None:
        collected = self.n_envs * self.n_steps
        if collected % self.batch_size:
            raise ValueError(
                f"batch_size must divide n_envs * n_steps = {collected}, was {self.batch_size}: what is left over "
                "would weigh more than its share"
            )
