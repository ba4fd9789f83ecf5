"""Random tapes, rules and action sequences for the simulator, small enough to be read when one of them fails."""

from __future__ import annotations

import math
import random
from typing import NamedTuple

import numpy as np
import pandas as pd

from mnqcore.rules import OFF
from mnqcore.simulator.records import RULES
from mnqcore.tape.records import BAR, NO_PRICE, ORDER

BAR_FIELDS, ORDER_FIELDS, RULE_FIELDS = (list(kind.names or ()) for kind in (BAR, ORDER, RULES))
_FIVE_MINUTES = 300_000_000_000


class Case(NamedTuple):
    """One account's world: records for the kernel, and the same as dictionaries for the reference."""

    tape: np.ndarray
    orders: np.ndarray
    law: np.ndarray
    initial: int
    actions: np.ndarray
    sizes: np.ndarray

    @property
    def dollars(self):
        return self.initial / 1e6

    @property
    def bars(self):
        """A dictionary a bar, Python numbers only."""
        names = BAR_FIELDS + ORDER_FIELDS
        rows = zip(self.tape.tolist(), self.orders.tolist(), strict=True)
        return [dict(zip(names, bar + order, strict=True)) for bar, order in rows]

    @property
    def rules(self):
        return dict(zip(RULE_FIELDS, self.law[0].tolist(), strict=True))


def random_case(seed, bars=None):
    """Return a Case that follows from its seed; limits are chosen so that each is met now and then."""
    rng = random.Random(seed)
    n = bars or rng.choice((rng.randint(2, 8), rng.randint(5, 40), rng.randint(30, 120)))
    law = _law(rng)
    tape, orders = _bars(rng, n)
    case = Case(tape, orders, law, _initial(rng, law), _actions(rng, n), _sizes(rng, n))
    return _calm(rng, case) if rng.random() < 0.2 else case


def rulebook(**fields):
    """Return a RULES record; what is not given is free and off: MNQ's ticks and margin, no costs."""
    law = np.zeros(1, RULES)
    given = {
        "tick_micros": 500_000,
        "tick_size": 0.25,
        "margin": 3_400_000_000,
        "margin_share": 1.0,
        "max_position": 1,
        "max_daily_loss": OFF,
        "max_loss": OFF,
        "max_trades_per_day": OFF,
    } | fields
    for name, value in given.items():
        law[name] = value
    return law


def records(bars, **columns):
    """Return (tape, orders) of (open, high, low, close) rows in ticks; columns are lists by bar or single values."""
    tape, orders = np.zeros(len(bars), BAR), np.zeros(len(bars), ORDER)
    for at, name in enumerate(("open", "high", "low", "close")):
        tape[name] = [bar[at] for bar in bars]
    orders["carry_open"] = tape["open"]
    orders["time"] = np.arange(len(bars)) * _FIVE_MINUTES
    for name, values in columns.items():
        (tape if name in BAR_FIELDS else orders)[name] = values
    return tape, orders


def bars(*periods, contract=None, base=20_000.0):
    """Return 5-minute bars of periods (first start, last start), Chicago time, as a table.

    The nth bar of all opens at base + n, closes half a point above its open and reaches a point beyond both ends.
    """
    times = [pd.date_range(first, last, freq="5min", tz="America/Chicago").tz_convert("UTC") for first, last in periods]
    index = pd.DatetimeIndex(np.concatenate(times), tz="UTC", name="time")
    opened = base + np.arange(len(index), dtype=float)
    columns = {"open": opened, "high": opened + 1.5, "low": opened - 1.0, "close": opened + 0.5, "volume": 1.0}
    frame = pd.DataFrame(columns, index=index.as_unit("ns"))
    return frame if contract is None else frame.assign(contract=contract)


def rolling(old, new):
    """Return bars of two contracts in one frame.

    June 2024 expires on Friday 21; its lead ends 4 trading days before, with the start of Monday 17: Sunday 17:00.
    """
    return pd.concat([old, new]).sort_index(kind="stable")


def _law(rng):
    tick = rng.choice((500_000, 100_000, 1_250_000, 7_812_500, 12_500_000))
    margin = tick * rng.choice((100, 700, 6_800))
    percent = rng.random() < 0.3
    return rulebook(
        tick_micros=tick,
        tick_size=rng.choice((0.25, 0.1, 0.00005, 1.0)),
        margin=margin,
        margin_share=rng.choice((1.0, 1.0, 0.5, 0.3, rng.random() + 0.01)),
        max_position=rng.choice((1, 2, 3, 10)),
        max_daily_loss=rng.choice((OFF, OFF, tick * rng.randint(1, 60), tick * rng.randint(20, 400))),
        max_loss=rng.choice((OFF, OFF, OFF, tick * rng.randint(3, 90), tick * rng.randint(30, 900))),
        max_trades_per_day=rng.choice((OFF, OFF, OFF, 1, 2, 5)),
        cooldown_bars=rng.choice((0, 0, 1, 2, 7)),
        slippage=rng.choice((0, 1, 1, 2, 9)),
        per_contract=0 if percent else rng.choice((0, 620_000, 1)),
        percent=rng.choice((0.01, 0.003, 0.0007)) if percent else 0.0,
        minimum=rng.choice((0, 1_000_000)) if percent else 0,
    )


def _calm(rng, case):
    """Let positions be held for long, until a limit on losses or the clock ends them."""
    tick, bars = int(case.law["tick_micros"][0]), len(case.tape)
    case.orders["stop"] = case.orders["target"] = 0
    case.tape["flat"][:-5:2] = case.tape["missed"][:-5:2] = case.tape["rolled"][:-5] = 0
    case.orders["carry_open"][:-5] = case.tape["open"][:-5]
    case.law["max_loss"] = rng.choice((OFF, tick * rng.randint(10, 200)))
    case.law["max_daily_loss"] = rng.choice((OFF, tick * rng.randint(10, 200)))
    actions = np.array(rng.choices((0, 1, 2), (30, 1, 1), k=bars), np.int8)
    return case._replace(initial=8 * case.initial, actions=actions)


def _initial(rng, law):
    return int(law["margin"][0] * rng.choice((0.9, 1.2, 2.5, 3.0, 8.0, 50.0))) + rng.randint(0, 3)


def _bars(rng, n):
    scale, jump = rng.choice((1, 4, 25)), rng.choice((0.0, 0.05, 0.3))
    rare = rng.choice((0.0, 0.02, 0.1))
    distances = _distances(rng), _distances(rng)
    tape, orders = np.zeros(n, BAR), np.zeros(n, ORDER)
    close, day = rng.choice((4_000, 60_000)), 0
    for t in range(n):
        reach = 0 if rng.random() < 0.1 else scale  # a bar without range now and then
        opened = close + (rng.randint(-20, 20) * scale if rng.random() < jump else rng.randint(-1, 1))
        close = opened + rng.randint(-reach, reach)
        high = max(opened, close) + rng.randint(0, reach)
        low = min(opened, close) - rng.randint(0, reach)
        fresh = t > 0 and rng.random() < max(rare, 0.03)
        rolled = t > 0 and rng.random() < rare
        missed = rolled or (t > 0 and (rng.random() < rare or (fresh and rng.random() < 0.5)))
        flat = rng.choice((4, 6)) if rng.random() < rare else 0
        late = rng.choice((1, 2)) if rng.random() < rare else 0
        day += fresh
        tape[t] = (opened, high, low, close, day, flat, missed, rolled, late)
        carried = rng.choice((NO_PRICE, opened + rng.randint(-9, 9) * scale)) if rolled else opened
        signal = math.nan if rng.random() < 0.05 else rng.uniform(-1, 1)
        stop, target = (rng.choice(some) for some in distances)
        orders[t] = (carried, stop, max(target, 0), signal, rng.random(), t * _FIVE_MINUTES, rng.randint(0, 99))
    return tape, orders


def _distances(rng):
    """Return the distances a tape draws from: none, one, or many with bars that are not warm, or lack a feed."""
    return rng.choice(([0], [rng.randint(1, 60)], [1, 2, 5], [-2, -1, 0, 1, 3, 8, 20, 55, 140]))


def _actions(rng, n):
    weights = rng.choice(((1, 1, 1, 1), (12, 1, 1, 1), (60, 1, 1, 0), (6, 1, 0, 1), (0, 1, 1, 0), (1, 5, 5, 1)))
    return np.array(rng.choices((0, 1, 2, 3), weights, k=n), np.int8)


def _sizes(rng, n):
    most = rng.choice((1, 3, 12))
    return np.array([0 if rng.random() < 0.05 else rng.randint(1, most) for _ in range(n)], np.int64)
