"""The size of rewards: one unit for all of them, so that a learner's settings serve any reward."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np

from mnqcore.api.values import Action
from mnqcore.env.vector import TradingVecEnv

if TYPE_CHECKING:
    from mnqcore.env.arena import Arena

_RATE = 0.02
"""How often an account acts: that of the agent `random`."""
_ACCOUNTS = 64
_STEPS = 1000


def reward_scale(arena: Arena, gamma: float, seed: int) -> float:
    """Return the standard deviation of the discounted sum of rewards when acting at random, 1.0 where it is 0.

    Accounts act on a share of the bars, with BUY, SELL or CLOSE at equal odds; the sum is R = reward + gamma * R, and
    starts anew with each episode. Source: the reward scaling of Engstrom et al. 2020, "Implementation Matters in Deep
    Policy Gradients", measured once instead of while learning.

    Args:
        arena: the training bars; its own `reward_scale` counts as 1.
        gamma: discount of a bar.
        seed: of the actions and of the episodes.
    """
    env = TradingVecEnv(attrs.evolve(arena, reward_scale=1.0), _ACCOUNTS, observe="bar", seed=seed)
    draw = np.random.default_rng([seed, 1])
    env.reset()
    total, sums = np.zeros(_ACCOUNTS), np.empty((_STEPS, _ACCOUNTS))
    for step in range(_STEPS):
        acts = draw.random(_ACCOUNTS) < _RATE
        actions = np.where(acts, draw.integers(Action.BUY, Action.CLOSE + 1, _ACCOUNTS), Action.HOLD)
        _, rewards, done, _ = env.step(actions)
        total = rewards + gamma * total
        sums[step] = total
        total[done] = 0.0
    spread = float(sums.std())
    return spread if spread > 0 else 1.0
