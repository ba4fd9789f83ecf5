"""The spaces of observations and actions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from gymnasium import spaces

from mnqcore.api.values import Action
from mnqcore.simulator.observation import CLIP, FEATURES

if TYPE_CHECKING:
    from mnqcore.api.values import ObservationSpec

MOST_BARS = 1 << 24
"""stable-baselines3 casts a bar's number to float32, which is exact below this."""


def action_space() -> spaces.Discrete:
    """Return HOLD, BUY, SELL, CLOSE."""
    return spaces.Discrete(len(Action))


def window_space(spec: ObservationSpec) -> spaces.Dict:
    """Return the space of `market_features` (lookback, n_features) and `position_info` (4,), float32."""
    window = spaces.Box(-CLIP, CLIP, (spec.lookback, spec.n_features), np.float32)
    return spaces.Dict({"market_features": window, "position_info": _position()})


def bar_space(bars: int) -> spaces.Dict:
    """Return the space of `bar`, the number of the bar that closed, int32 (1,), and `position_info`."""
    return spaces.Dict({"bar": spaces.Box(0, bars - 1, (1,), np.int32), "position_info": _position()})


def _position() -> spaces.Box:
    low = np.array([-1.0, -CLIP, 0.0, 0.0], np.float32)
    high = np.array([1.0, CLIP, CLIP, CLIP], np.float32)
    return spaces.Box(low, high, (FEATURES,), np.float32)
