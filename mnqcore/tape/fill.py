"""Bars into records in one pass, compiled: numpy would go over a record's memory once for each of its fields.

The function calls nothing of mnq and its argument types hold the records' fields, so what is kept on disk is never
stale after an edit.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import types

from mnqcore.tape.records import BAR, ORDER


def _fill(
    tape: Any,
    orders: Any,
    opens: Any,
    highs: Any,
    lows: Any,
    closes: Any,
    times: Any,
    days: Any,
    tick: float,
    never: int,
) -> float:
    highest = 0.0
    for at in range(opens.shape[0]):
        bar, order = tape[at], orders[at]
        first, high, low, last = opens[at] / tick, highs[at] / tick, lows[at] / tick, closes[at] / tick
        highest = max(highest, abs(first), abs(high), abs(low), abs(last))
        bar.open, bar.high, bar.low, bar.close = np.rint(first), np.rint(high), np.rint(low), np.rint(last)
        bar.day = days[at]
        bar.flat = bar.missed = bar.rolled = bar.late = 0
        order.carry_open, order.time = bar.open, times[at]
        order.stop = order.target = 0
        order.sizer_signal = order.reward_signal = 0.0
        order.bars_to_flat = never
    return highest


def _read(kind: Any) -> Any:
    """Return the type of an array that is only read, in whatever order it lies: one compilation serves all frames."""
    return types.Array(kind, 1, "A", readonly=True)


def _compiled() -> Any:
    records = (types.Array(numba.from_dtype(kind), 1, "C") for kind in (BAR, ORDER))
    reads = (*(_read(types.float64),) * 4, _read(types.int64), _read(types.int32))
    signature = types.float64(*records, *reads, types.float64, types.int64)
    try:
        return numba.njit(signature, cache=True, error_model="numpy")(_fill)
    except RuntimeError:  # numba found no folder that it may write to
        return numba.njit(signature, error_model="numpy")(_fill)


fill = _compiled()
"""fill(tape, orders, opens, highs, lows, closes, times, days, tick, never): write all of BAR and ORDER records.

All arrays are (bars,). Prices, float64, become ticks, each rounded to the nearest as by `Instrument.to_ticks`; `times`
are int64, `days` int32. A carried open is the bar's own, `bars_to_flat` is `never`, all other fields are 0. Returns the
largest price, in ticks, of either sign; ticks are without meaning where it is beyond 63 bits.
"""
