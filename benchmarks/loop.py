"""The yardstick: what a person would write by hand in numba for this one rule, and nothing else.

Only numba and numpy are imported here, since the peers' environment times the same loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_compiled: Any = numba.njit

BUY, SELL, CLOSE = 1, 2, 3
SIGNAL, STOP, END_OF_DATA = 1, 2, 9
TRIP = np.dtype(
    [
        ("entry_bar", "i8"),
        ("exit_bar", "i8"),
        ("side", "i8"),
        ("entry_price", "f8"),
        ("exit_price", "f8"),
        ("net", "f8"),
        ("reason", "i8"),
    ],
    align=True,
)
"""A round trip of the loop."""


@_compiled  # type: ignore[untyped-decorator]
def trade_signals(
    opens: Floats,
    highs: Floats,
    lows: Floats,
    closes: Floats,
    signals: NDArray[np.int8],
    stop: float,
    slip: float,
    fee: float,
    worth: float,
    initial: float,
    equity: Floats,
    trips: NDArray[np.void],
) -> int:
    """Trade one contract by signals and return the number of round trips.

    A signal of close t fills at open t + 1, `slip` worse. The stop stands `stop` from close t; a bar that reaches it
    from its entry on, exits there, or at its open if that lies beyond, `slip` worse. An opposite signal reverses.

    Args:
        opens: prices, (bars,).
        highs: prices, (bars,).
        lows: prices, (bars,).
        closes: prices, (bars,).
        signals: 0 HOLD, 1 BUY, 2 SELL, 3 CLOSE, (bars,).
        stop: distance in price.
        slip: of each market fill, in price.
        fee: dollars a contract a side.
        worth: dollars for a move of 1.0 in price.
        initial: dollars at the start.
        equity: filled with dollars at each close, (bars,).
        trips: TRIP records, filled; must have room for all.
    """
    cash, side, entry, entry_bar, level, count = initial, 0, 0.0, 0, 0.0, 0
    last = len(closes) - 1
    equity[0] = cash
    for t in range(1, last + 1):
        signal, price = signals[t - 1], opens[t]
        if side != 0 and (signal == CLOSE or (signal == SELL and side > 0) or (signal == BUY and side < 0)):
            out = price - side * slip
            net = side * (out - entry) * worth
            cash += net - fee
            _write(trips[count], entry_bar, t, side, entry, out, net - 2 * fee, SIGNAL)
            count, side = count + 1, 0
        if side == 0 and signal in (BUY, SELL):
            side = 1 if signal == BUY else -1
            entry, entry_bar, level = price + side * slip, t, closes[t - 1] - side * stop
            cash -= fee
        if (side > 0 and lows[t] <= level) or (side < 0 and highs[t] >= level):
            out = min(price, level) - slip if side > 0 else max(price, level) + slip
            net = side * (out - entry) * worth
            cash += net - fee
            _write(trips[count], entry_bar, t, side, entry, out, net - 2 * fee, STOP)
            count, side = count + 1, 0
        equity[t] = cash + side * (closes[t] - entry) * worth
    if side != 0:
        out = closes[last] - side * slip
        net = side * (out - entry) * worth
        _write(trips[count], entry_bar, last, side, entry, out, net - 2 * fee, END_OF_DATA)
        count += 1
        equity[last] = cash + net - fee
    return count


@_compiled  # type: ignore[untyped-decorator]
def _write(
    row: Any, entry_bar: int, exit_bar: int, side: int, entry: float, out: float, net: float, reason: int
) -> None:
    row.entry_bar, row.exit_bar, row.side = entry_bar, exit_bar, side
    row.entry_price, row.exit_price, row.net, row.reason = entry, out, net, reason
