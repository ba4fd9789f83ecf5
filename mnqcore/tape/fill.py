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
    tape: Any, orders: Any, opens: Any, highs: Any, lows: Any, closes: Any, times: Any, days: Any, tick: float
) -> None:
    for at in range(opens.shape[0]):
        bar, order = tape[at], orders[at]
        bar.open, bar.high = np.rint(opens[at] / tick), np.rint(highs[at] / tick)
        bar.low, bar.close = np.rint(lows[at] / tick), np.rint(closes[at] / tick)
        bar.day = days[at]
        bar.flat = bar.missed = bar.rolled = bar.late = 0
        order.carry_open, order.time = bar.open, times[at]
        order.stop = order.target = order.bars_to_flat = 0
        order.sizer_signal = order.reward_signal = 0.0


def _read(kind: Any) -> Any:
    """Return the type of an array that is only read, in whatever order it lies: one compilation serves all frames."""
    return types.Array(kind, 1, "A", readonly=True)


def _compiled() -> Any:
    records = (types.Array(numba.from_dtype(kind), 1, "C") for kind in (BAR, ORDER))
    reads = (*(_read(types.float64),) * 4, _read(types.int64), _read(types.int32))
    signature = types.void(*records, *reads, types.float64)
    try:
        return numba.njit(signature, cache=True, error_model="numpy")(_fill)
    except RuntimeError:  # numba found no folder that it may write to
        return numba.njit(signature, error_model="numpy")(_fill)


fill = _compiled()
"""fill(tape, orders, opens, highs, lows, closes, times, days, tick): write BAR and ORDER records, every field of them.

Prices, float64, become ticks, each rounded to the nearest as `Instrument.to_ticks` does; `times` are int64, `days` int32;
a carried open is the bar's own; all other fields are 0. All arrays are (bars,).
"""
