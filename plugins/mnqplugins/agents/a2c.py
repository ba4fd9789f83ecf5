"""Advantage actor-critic."""

from __future__ import annotations

from typing import ClassVar

from mnqcore import Sb3Learner, param, plugin


@plugin
class A2c(Sb3Learner):
    """Learn by synchronous advantage actor-critic, the algorithm of stable-baselines3.

    Source: Mnih et al. 2016, "Asynchronous Methods for Deep Reinforcement Learning", https://arxiv.org/abs/1602.01783.
    """

    algorithm: ClassVar[str] = "stable_baselines3:A2C"

    learning_rate: float = param(7e-4, gt=0, le=1, help="step of the optimiser", tune=(1e-5, 3e-3))
    n_steps: int = param(5, ge=1, le=1_000_000, unit="bars", help="of each account between two updates", tune=(5, 64))
    gamma: float = param(0.99, ge=0, le=1, help="what a reward is worth a bar later", tune=(0.9, 0.9999))
    gae_lambda: float = param(1.0, ge=0, le=1, help="how far advantages trust rewards over the critic")
    ent_coef: float = param(0.0, ge=0, le=100, help="weight of the entropy, which keeps it trying", tune=(0.0, 0.05))
    vf_coef: float = param(0.5, ge=0, le=100, help="weight of the critic's error")
    max_grad_norm: float = param(0.5, gt=0, le=1000, help="longest gradient")
    rms_prop_eps: float = param(1e-5, gt=0, le=1, help="keeps RMSprop from dividing by 0")
    use_rms_prop: bool = param(True, help="RMSprop as in the paper, else Adam")
    normalize_advantage: bool = param(False, help="scale advantages within an update")
