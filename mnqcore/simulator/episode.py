"""Episodes: how a lane begins, and what a learner gets of a step: reward, observation, whether it is over."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mnqcore.simulator.addresses import array_at
from mnqcore.simulator.compiled import compiled, inlined
from mnqcore.simulator.observation import position_info
from mnqcore.simulator.records import LEDGER, STEP

GOES_ON, TRUNCATED, TERMINATED = 0, 1, 2
"""How an episode stands: it goes on, its bars or the window have ended, a loss limit or ruin has ended it."""

COUNTS = ("end", "bar", "time", "position", "denied", "exit_reason")
"""What is told of a step in whole numbers: how the episode stands, the bar that closed, UTC nanoseconds, signed
contracts, a Denial, an ExitReason."""
MONEY = ("equity", "realised")
"""What is told of a step in dollars."""

_BLANK = np.zeros(1, LEDGER)
for _field in ("latched_day", "stop_bar", "answer"):
    _BLANK[_field] = -1
_ledger, _steps, _floats = array_at(LEDGER), array_at(STEP), array_at(np.float64)
_counts = array_at(np.int64)

_position_info = inlined(position_info)


@compiled
def begin(ledger: Any, tape: Any, lane: int, first: int, last: int, money: int) -> None:
    """Let a lane start anew, flat, at the close of bar `first`, with micro-units; it ends at that of bar `last`."""
    ledger[lane] = _BLANK[0]
    led = ledger[lane]
    led.initial = led.cash = led.equity = led.peak = led.day_equity = money
    led.bar, led.last, led.day = first, last, tape[first].day


@inlined
def see(led: Any, lookback: int, out: Any) -> None:
    """Write the position as an agent sees it to `out`, float32 (4,); every caller gets the same numbers to the bit."""
    held = led.bar - led.entry_bar + 1 if led.position != 0 else 0
    out[0], out[1], out[2], out[3] = _position_info(
        led.position, led.equity - led.cash, held, led.equity, led.initial, lookback
    )


@inlined
def _tell(led: Any, step: Any, counts: Any, money: Any) -> None:
    counts[0] = GOES_ON if led.done == 0 else (TERMINATED if led.ended != 0 else TRUNCATED)
    counts[1], counts[2], counts[3] = led.bar, step.time, led.position
    counts[4], counts[5] = led.step_denied, step.exit_reason
    money[0], money[1] = step.equity, step.realised


@compiled
def settle(world: Any, scale: float, lookback: int, bars: Any, positions: Any, paid: Any, done: Any) -> int:
    """Write what a learner gets; returns how many episodes are over, or -1 - lane where a reward is not finite.

    `world`: what `by_address` says of LEDGER (lanes,) and the rewards, float64 (lanes,), both as a step left them; of
    `sums`, float64 (lanes,), to which what is paid is added; of STEP (lanes,); of `counts` int64 (6,) and `money`
    float64 (2,), which are written for lane 0: COUNTS and MONEY name their places. `scale`: what rewards are divided
    by. Written too: `bars` int32 (lanes, 1), `positions` float32 (lanes, 4), `paid` float32 (lanes,), `done` bool
    (lanes,).
    """
    ledger, rewards = _ledger(world[0, 0], world[0, 1]), _floats(world[1, 0], world[1, 1])
    sums, steps = _floats(world[2, 0], world[2, 1]), _steps(world[3, 0], world[3, 1])
    counts, money = _counts(world[4, 0], world[4, 1]), _floats(world[5, 0], world[5, 1])
    over = 0
    for lane in range(ledger.shape[0]):
        paid[lane] = rewards[lane] / scale
        if not math.isfinite(paid[lane]):
            return -1 - lane
        sums[lane] += paid[lane]
        led = ledger[lane]
        bars[lane, 0] = led.bar
        see(led, lookback, positions[lane])
        done[lane] = led.done != 0
        over += led.done
    _tell(ledger[0], steps[0], counts, money)
    return over
