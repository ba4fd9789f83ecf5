"""Resampling of days in blocks, so that streaks of good and bad days survive."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mnqcore.api.values import Floats

FEWEST_DAYS = 10
"""Below this many days a resample only shuffles a handful of numbers: callers answer None."""


def block_length(days: int) -> int:
    """Return the days of one block: the cube root of `days`, rounded up.

    Source: Hall, Horowitz and Jing 1995, "On blocking rules for the bootstrap with dependent data", Biometrika 82.
    """
    return math.ceil(round(math.cbrt(days), 9))


def resample(values: Floats, length: int, draws: int, seed: int) -> Floats:
    """Return (draws, length) values drawn in blocks of consecutive ones, the last joined to the first.

    Source: Politis and Romano 1992, "A circular block-resampling procedure for stationary data".

    Args:
        values: one value a day, (days,), at least one.
        length: days in each draw.
        draws: number of draws.
        seed: the same seed gives the same draws.
    """
    block = block_length(len(values))
    circle = np.concatenate((values, values[: block - 1]))
    blocks = np.lib.stride_tricks.sliding_window_view(circle, block)
    starts = np.random.default_rng(seed).integers(0, len(values), (draws, math.ceil(length / block)))
    return blocks[starts].reshape(draws, -1)[:, :length]
