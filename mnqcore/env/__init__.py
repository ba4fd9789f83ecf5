"""Environments over the simulator's lanes: one account for gymnasium, many for stable-baselines3.

`arena` holds what an environment is made of, `frame` makes one of a user's bars. `accounts` moves the accounts;
`single` and `vector` are its two faces. `TradingVecEnv` is imported on first use: stable-baselines3 loads torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gymnasium

from mnqcore.env.arena import Arena
from mnqcore.env.single import TradingEnv

if TYPE_CHECKING:
    from mnqcore.env.vector import TradingVecEnv

__all__ = ["Arena", "TradingEnv", "TradingVecEnv"]

gymnasium.register("mnq/Trading-v0", "mnqcore.env.single:TradingEnv")


def __getattr__(name: str) -> Any:
    if name == "TradingVecEnv":
        from mnqcore.env.vector import TradingVecEnv

        return TradingVecEnv
    raise AttributeError(f"module 'mnqcore.env' has no attribute {name!r}")
