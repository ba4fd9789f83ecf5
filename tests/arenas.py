"""Arenas on random tapes, a sizer and a reward for them, and a slow environment that is written the obvious way."""

from __future__ import annotations

from typing import Any

import numpy as np

from mnqcore.api.values import Window
from mnqcore.env import Arena
from tests.reference import Reference
from tests.tapes import random_case

LOOKBACK = 3
ASKED = ("side", "price", "wins", "losses")


def wanted(entry):
    """Return contracts, 0 among them, that follow from what a sizer is told; `entry` is a dictionary."""
    return int(abs(entry["price"]) * 1000 + 3 * entry["wins"] + entry["losses"] + entry["side"]) % 5


def size_of(entry):
    """Return `wanted` for each of the entries."""
    rows = zip(*(getattr(entry, name).tolist() for name in ASKED), strict=True)
    return np.array([wanted(dict(zip(ASKED, row, strict=True))) for row in rows], np.int64)


class Fading:
    """A reward that remembers: the change of equity and half of what it gave before."""

    def __init__(self):
        self.before: Any = None

    def reset(self, lanes):
        self.before = np.zeros(len(lanes)) if self.before is None else np.where(lanes, 0.0, self.before)

    def __call__(self, step):
        self.before = step.equity_change + 0.5 * self.before
        return self.before


def arena_of(case, **given):
    """Return an arena on a case's tape; features are random, and different at every bar."""
    bars = len(case.tape)
    features = np.random.default_rng(bars).normal(size=(bars, 2)).astype(np.float32)
    settings = {
        "window": Window(first=LOOKBACK - 1, last=bars - 1),
        "lookback": LOOKBACK,
        "initial_balance": case.dollars,
        "size_of": size_of,
        "reward": Fading,
        "reward_scale": 7.0,
    } | given
    return Arena(tape=case.tape, orders=case.orders, law=case.law, features=features, names=("a", "b"), **settings)


def random_arena(seed, bars=60, **given):
    """Return (case, arena) that follow from a seed: short episodes, so that many of them end."""
    case = random_case(seed, bars=bars)
    rng = np.random.default_rng(seed)
    first, last = LOOKBACK - 1 + int(rng.integers(0, 5)), bars - 1 - int(rng.integers(0, 5))
    low, high = sorted(rng.uniform(0.5, 2.0, 2).tolist())
    settings = {
        "window": Window(first=first, last=last),
        "episode_bars": None if seed % 3 == 0 else int(rng.integers(2, 30)),
        "start_balance_range": (low, high),
    } | given
    return case, arena_of(case, **settings)


def _within(draw, low, high):
    return low + (high - low) * draw.random()


class SlowEnv:
    """One account as an environment, from the documentation and on the slow simulator; it begins anew by itself."""

    def __init__(self, case, arena, seed):
        self.case, self.arena = case, arena
        self.draw = np.random.default_rng(seed)
        self.begin()

    def begin(self):
        arena, window = self.arena, self.arena.window
        length = arena.episode_bars or window.last
        latest = window.last - 1 if arena.episode_bars is None else max(window.first, window.last - length)
        self.start = int(self.draw.integers(window.first, latest + 1))
        balance = arena.initial_balance * _within(self.draw, *arena.start_balance_range)
        last = min(self.start + length, window.last)
        self.book = Reference(self.case.bars, self.case.rules, round(balance * 1e6), self.start, last)
        self.before, self.total = 0.0, 0.0

    def step(self, action):
        """Return (observation, reward, terminated, truncated, last observation of an episode or None, its sum)."""
        self.book.step(action, wanted)
        self.before = self.book.steps[-1]["equity_change"] + 0.5 * self.before
        reward = np.float32(self.before / self.arena.reward_scale)
        self.total += float(reward)
        if not self.book.done:
            return self.seen(), reward, False, False, None, None
        terminated, last, episode = self.book.max_loss_breached, self.seen(), (self.total, self.book.bar - self.start)
        self.begin()
        return self.seen(), reward, terminated, not terminated, last, episode

    def seen(self):
        book, lookback = self.book, self.arena.lookback
        equity, unrealised = book.equity[book.bar], book.unrealised()
        held = book.bar + 1 - book.position.entry_bar if book.position else 0
        info = [
            float(np.sign(book.signed())),
            min(max(unrealised / (0.01 * book.initial), -10.0), 10.0),
            min(held / lookback, 10.0),
            min(max(equity / book.initial, 0.0), 10.0),
        ]
        return {
            "bar": np.array([book.bar], np.int32),
            "market_features": self.arena.features[book.bar - lookback + 1 : book.bar + 1],
            "position_info": np.array(info, np.float32),
        }
