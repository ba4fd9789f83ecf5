"""What environments are tried on: arenas of random tapes, with a reward of the catalogue."""

from __future__ import annotations

from typing import Any

import numpy as np

from mnqcore.api.values import Window
from mnqcore.env import Arena
from mnqplugins.rewards.differential_sharpe import DifferentialSharpe
from tests.tapes import random_case

LOOKBACK = 4


def contracts(entry):
    """Return contracts, 0 among them, that follow from much of what a sizer is told."""
    told = np.abs(entry.price) * 1000 + 3 * entry.wins + entry.losses + entry.side
    return told.astype(np.int64) % 5


def arena_on(case, **changes):
    """Return an arena on a case of `tests.tapes`; features are random, the reward remembers, the sizer is asked."""
    n = len(case.tape)
    features = np.random.default_rng(n).normal(size=(n, 3)).astype(np.float32).clip(-10, 10)
    given: dict[str, Any] = {
        "tape": case.tape,
        "orders": case.orders,
        "law": case.law,
        "features": features,
        "names": ("a", "b", "c"),
        "lookback": LOOKBACK,
        "window": Window(first=LOOKBACK - 1, last=n - 1),
        "initial_balance": case.dollars,
        "size_of": contracts,
        "reward": DifferentialSharpe,
    }
    return Arena(**given | changes)


def arena_of_seed(seed, bars=120, **changes):
    """Return an arena on a random tape."""
    return arena_on(random_case(seed, bars=bars), **changes)
