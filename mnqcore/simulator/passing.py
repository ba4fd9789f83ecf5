"""The bars in which nothing is decided: most of them, and passed ten times faster than by `decision`."""

from __future__ import annotations

from typing import Any

import numpy as np

from mnqcore import rules
from mnqcore.api.values import Action
from mnqcore.simulator.compiled import inlined
from mnqcore.simulator.ledger import latch, new_day

_BUY = int(Action.BUY)
_SELL = int(Action.SELL)
_CLOSE = int(Action.CLOSE)
_ONE = np.uint64(1)

_daily_loss_floor = inlined(rules.daily_loss_floor)
_max_loss_floor = inlined(rules.max_loss_floor)


@inlined
def wait(led: Any, until: int, actions: Any, equity: Any) -> None:
    """Pass the bars in which a flat lane orders nothing; its equity stands still."""
    kept, value, idle = equity.shape[0] > 0, led.equity, 0
    # Unsigned: numba then has no negative index to look out for, which is two thirds of the time of this loop.
    t, end = np.uint64(led.bar), np.uint64(until)
    while t < end:
        action = actions[t]
        if action != 0:
            if action != _CLOSE:
                break
            idle += 1
        t += _ONE
        if kept:
            equity[t] = value
    led.bar = np.int64(t)
    led.idle += idle


@inlined
def hold(led: Any, law: Any, tape: Any, breaks: Any, until: int, actions: Any, equity: Any) -> None:
    """Pass the bars in which a held position meets no order, no forced exit, no stop and no target.

    Most bars in the market are such. Ends at once after a bar that breaches a loss limit.
    """
    going = True
    while going and led.bar < until:
        while breaks[led.breaks] <= led.bar:
            led.breaks += 1
        end = breaks[led.breaks]
        began, day, day_equity, day_trades = led.bar, led.day, led.day_equity, led.day_trades
        if end == led.bar + 1:
            following = tape[end]
            if following.flat != 0 or following.missed != 0:
                return
            new_day(led, following.day)
            end = breaks[led.breaks + 1]
        going = _hold_day(led, law, tape, min(end - 1, until), actions, equity)
        if led.bar == began:  # the decision at this close is still one of the day before
            led.day, led.day_equity, led.day_trades = day, day_equity, day_trades
        latch(led, law)


@inlined
def _hold_day(led: Any, law: Any, tape: Any, until: int, actions: Any, equity: Any) -> bool:
    """Pass such bars of one trading day up to bar `until`; False when something stopped it before.

    Everything the loop touches is a local number: through the ledger's record in memory it costs four times as much.
    """
    cash, entry, value, peak, idle = led.cash, led.entry_price, led.equity, led.peak, 0
    side = 1 if led.position > 0 else -1
    # Reckoned as if every position were long: a short one reads the bar upside down.
    start, stop, target = side * entry, side * led.stop, side * led.target
    best, worst = start + led.best, start - led.worst
    worth, against = led.position * law.tick_micros, _SELL if side > 0 else _BUY
    day_floor = _daily_loss_floor(led.day_equity, law.max_daily_loss)
    limit = law.max_loss
    floor = max(day_floor, _max_loss_floor(peak, limit))
    kept, going = equity.shape[0] > 0, True
    t, end = np.uint64(led.bar), np.uint64(until)
    while going and t < end:
        action, now = actions[t], tape[t + _ONE]
        if action != 0:
            if action in (against, _CLOSE):
                going = False
                break
            idle += 1
        low, high = (now.low, now.high) if side > 0 else (-now.high, -now.low)
        if low <= stop or high >= target:
            idle -= 1 if action != 0 else 0  # counted where this bar is decided
            going = False
            break
        best, worst = max(best, high), min(worst, low)
        value = cash + (now.close - entry) * worth
        t += _ONE
        if kept:
            equity[t] = value
        peak, floor = max(peak, value), max(floor, _max_loss_floor(value, limit))  # the floor rises with the peak
        going = value > floor
    led.bar, led.equity, led.peak, led.best, led.worst = np.int64(t), value, peak, best - start, start - worst
    led.idle += idle
    return going
