"""A lane that a small network leads: each bar's action follows from the bar and from the position it is met with.

What the bar itself adds to the network's first layer is worked out for all bars at once, before. What is left a bar is
the position's part of that layer and the layers behind. It rounds differently than torch does, so a bar on which two
actions are nearly equal is left to Python.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mnqcore.simulator.compiled import compiled, inlined
from mnqcore.simulator.decision import ASKS, take
from mnqcore.simulator.episode import see
from mnqcore.simulator.kernel import FULL, RAN
from mnqcore.simulator.ledger import finish

UNSURE = 3
"""Python must write the action of the bar that closed; `seen` holds the position as the agent sees it."""
TIE = 1e-6
"""Two preferences that are nearer than this are a tie."""

_NONE, _ONE, _TWO, _THREE, _FOUR = (np.uint64(number) for number in range(5))  # unsigned: no negative index to look for
_ZERO = np.float32(0.0)
_LIMIT = np.float32(7.90531110763549805)  # beyond it the hyperbolic tangent is 1 in float32
_ABOVE = tuple(
    np.float32(value)
    for value in (
        4.89352455891786e-03, 6.37261928875436e-04, 1.48572235717979e-05, 5.12229709037114e-08,
        -8.60467152213735e-11, 2.00018790482477e-13, -2.76076847742355e-16,
    )
)  # fmt: skip
_BELOW = tuple(
    np.float32(value)
    for value in (4.89352518554385e-03, 2.26843463243900e-03, 1.18534705686654e-04, 1.19825839466702e-06)
)


@inlined
def tanh(x: Any) -> Any:
    """Return the hyperbolic tangent of a float32 within 1e-6, without a branch, so that eight are taken at a time.

    Source: the rational approximation of Eigen's `ptanh_float`.
    """
    x = min(max(x, -_LIMIT), _LIMIT)
    s = x * x
    above = _ABOVE[5] + s * _ABOVE[6]
    above = _ABOVE[3] + s * (_ABOVE[4] + s * above)
    above = _ABOVE[0] + s * (_ABOVE[1] + s * (_ABOVE[2] + s * above))
    return x * above / (_BELOW[0] + s * (_BELOW[1] + s * (_BELOW[2] + s * _BELOW[3])))


@compiled
def follow(
    tape: Any,
    orders: Any,
    rulebook: Any,
    ledger: Any,
    until: int,
    lookback: int,
    base: Any,
    base_bar: int,
    weights: Any,
    widths: Any,
    rectified: bool,
    guard: float,
    scratch: Any,
    seen: Any,
    actions: Any,
    trades: Any,
    denied: Any,
    equity: Any,
    asks: Any,
    counts: Any,
) -> int:
    """Move lane 0 until bar `until` has closed; returns RAN, ASKS, FULL or UNSURE and can be called again after each.

    `tape`, `orders`, `rulebook`, `ledger`, `trades`, `denied`, `equity`, `asks` as in `kernel.advance`. `actions`:
    int8, by bar; below 0 = not decided yet, and written here. `base`: float32 (some bars, first width), the first
    layer without the position's part; its row 0 is of bar `base_bar`. `widths`: int64, of each layer, the last one's
    is 4; empty: every bar is left to Python. `weights`: float32, flat: (4, first width) of the position, then
    (inputs, outputs) and (outputs,) of each further layer. `rectified`: relu between layers, else tanh. `guard`: two
    preferences nearer than this, of the larger one where that is above 1, leave the bar to Python. `scratch`: float32
    (3, largest width). `seen`: float32 (4,), written. `counts`: int64 (2,): ties and bars left to Python are added.
    """
    led, law = ledger[0], rulebook[0]
    until = min(until, led.last)
    while led.bar < until and led.done == 0:
        t = led.bar
        if led.trades + 2 > trades.shape[0]:
            return FULL
        if actions[t] < 0:
            see(led, lookback, seen)
            if widths.shape[0] == 0:
                return UNSURE
            prefer(base[t - base_bar], weights, widths, rectified, scratch, seen)
            action = _clear(scratch[2], guard, counts)
            if action < 0:
                return UNSURE
            actions[t] = action
        carried = orders[t + 1].carry_open
        if take(led, law, tape[t], orders[t], tape[t + 1], carried, 0, actions[t], -1, trades, asks[0]) == ASKS:
            return ASKS
        denied[0, led.step_denied] += 1
        led.bar = t + 1
        if led.bar == led.last or (led.ended != 0 and led.position == 0):
            finish(led, law, tape, 0, trades)
        equity[led.bar] = led.equity
    return RAN


@compiled
def prefer(base: Any, weights: Any, widths: Any, rectified: bool, scratch: Any, seen: Any) -> None:
    """Write the preference for each action to the first four of scratch[2]; arguments as in `follow`, `base` a row."""
    inside, outside, last = scratch[0], scratch[1], widths.shape[0] - 1
    n = np.uint64(widths[0])
    side, gain, held, money = seen[0], seen[1], seen[2], seen[3]
    for o in range(n):
        u = np.uint64(o)
        outside[o] = (
            base[o] + side * weights[u] + gain * weights[n + u] + held * weights[_TWO * n + u]
        ) + money * weights[_THREE * n + u]
    _bend(outside, inside, n, rectified)
    at = _FOUR * n
    for layer in range(1, last):
        m = np.uint64(widths[layer])
        for o in range(m):
            outside[o] = weights[at + n * m + np.uint64(o)]
        at = _add_products(inside, weights, at, n, m, outside)
        _bend(outside, inside, m, rectified)
        at, n = at + m, m
    _four(inside, weights, at, n, scratch[2])


@inlined
def _add_products(inside: Any, weights: Any, at: Any, n: Any, m: Any, out: Any) -> Any:
    """Add a layer's inputs times its weights, and return where in these it ends.

    Input by input, so that sums stand side by side in a register; four inputs at once, so that they are read and
    written a quarter as often.
    """
    i = _NONE
    while i + _FOUR <= n:
        a, b, c, d = inside[i], inside[i + _ONE], inside[i + _TWO], inside[i + _THREE]
        for o in range(m):
            u = at + np.uint64(o)
            out[o] += (a * weights[u] + b * weights[u + m]) + (c * weights[u + _TWO * m] + d * weights[u + _THREE * m])
        at += _FOUR * m
        i += _FOUR
    while i < n:
        a = inside[i]
        for o in range(m):
            out[o] += a * weights[at + np.uint64(o)]
        at += m
        i += _ONE
    return at


@inlined
def _four(inside: Any, weights: Any, at: Any, n: Any, out: Any) -> None:
    hold = buy = sell = close = _ZERO
    for i in range(n):
        x = inside[i]
        hold += x * weights[at]
        buy += x * weights[at + _ONE]
        sell += x * weights[at + _TWO]
        close += x * weights[at + _THREE]
        at += _FOUR
    out[0], out[1] = hold + weights[at], buy + weights[at + _ONE]
    out[2], out[3] = sell + weights[at + _TWO], close + weights[at + _THREE]


@inlined
def _bend(values: Any, out: Any, count: Any, rectified: bool) -> None:
    if rectified:
        for i in range(count):
            out[i] = max(values[i], _ZERO)
    else:
        for i in range(count):
            out[i] = tanh(values[i])


@inlined
def _clear(preferences: Any, guard: float, counts: Any) -> int:
    """Return the preferred action, the first of equal ones; -1 where it is not clear which that is."""
    best, second, action = preferences[0], -np.inf, 0
    for other in range(1, 4):
        value = preferences[other]
        if value > best:
            best, second, action = value, best, other
        elif value > second:
            second = value
    margin = best - second
    counts[0] += 1 if margin < TIE else 0
    total = preferences[0] + preferences[1] + preferences[2] + preferences[3]
    if margin >= guard * max(1.0, abs(best)) and abs(total) < np.inf:  # false where one of them is not a number
        return action
    counts[1] += 1
    return -1
