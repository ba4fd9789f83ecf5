"""What a learner gets of each lane after a step: reward, observation, and whether its episode is over."""

from __future__ import annotations

import math
from typing import Any

from mnqcore.api.values import Action
from mnqcore.simulator.compiled import compiled, inlined
from mnqcore.simulator.observation import position_info

GOES_ON, TRUNCATED, TERMINATED = 0, 1, 2
"""How an episode stands: it goes on, its bars or the window have ended, a loss limit or ruin has ended it."""

_CLOSE = int(Action.CLOSE)

_position_info = inlined(position_info)


@inlined
def see(led: Any, lookback: int, out: Any) -> None:
    """Write the position as an agent sees it to `out`, float32 (4,); every caller gets the same numbers to the bit."""
    held = led.bar - led.entry_bar + 1 if led.position != 0 else 0
    out[0], out[1], out[2], out[3] = _position_info(
        led.position, led.equity - led.cash, held, led.equity, led.initial, lookback
    )


@compiled
def accept(actions: Any, taken: Any) -> bool:
    """Copy int64 (n,) to int8 (n,); False where these are not n actions."""
    if actions.ndim != 1 or actions.shape[0] != taken.shape[0]:
        return False
    for lane in range(taken.shape[0]):
        if actions[lane] < 0 or actions[lane] > _CLOSE:
            return False
        taken[lane] = actions[lane]
    return True


@compiled
def settle(
    ledger: Any, rewards: Any, scale: float, lookback: int, bars: Any, positions: Any, paid: Any, done: Any, ends: Any,
    sums: Any,
) -> int:  # fmt: skip
    """Write what a learner gets; returns how many episodes are over, or -1 - lane where a reward is not finite.

    `ledger`: LEDGER (lanes,) after a step. `rewards`: float64 (lanes,), divided by `scale`. Written: `bars` int32
    (lanes, 1), `positions` float32 (lanes, 4), `paid` float32 (lanes,), `done` bool (lanes,), `ends` int8 (lanes,):
    GOES_ON, TRUNCATED or TERMINATED. `sums` float64 (lanes,) goes on adding up what is paid.
    """
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
        ends[lane] = GOES_ON if led.done == 0 else (TERMINATED if led.ended != 0 else TRUNCATED)
        over += led.done
    return over
