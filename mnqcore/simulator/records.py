"""The records the kernel keeps: the rules, a ledger a lane, a trade, an entry that asks for its size, a step.

Prices are ticks, money micro-units, both int64; fields that plugins see are already dollars and prices, as float64.
"""

from __future__ import annotations

import numpy as np

RULES = np.dtype(
    [
        ("tick_micros", "i8"),
        ("margin", "i8"),
        ("max_position", "i8"),
        ("max_daily_loss", "i8"),
        ("max_loss", "i8"),
        ("max_trades_per_day", "i8"),
        ("cooldown_bars", "i8"),
        ("slippage", "i8"),
        ("per_contract", "i8"),
        ("minimum", "i8"),
        ("percent", "f8"),
        ("margin_share", "f8"),
        ("tick_size", "f8"),
    ],
    align=True,
)

LEDGER = np.dtype(
    [
        ("bar", "i8"),  # the bar that has closed
        ("last", "i8"),  # the bar at whose close the lane ends
        ("breaks", "i8"),  # how many of the tape's breaks lie at or before `bar`
        ("position", "i8"),
        ("entry_price", "i8"),
        ("entry_bar", "i8"),
        ("entry_commission", "i8"),
        ("stop", "i8"),
        ("target", "i8"),
        ("risk", "i8"),  # stop distance x tick value x contracts, 0 without a stop
        ("best", "i8"),  # largest favourable move since entry, ticks a contract
        ("worst", "i8"),  # largest adverse move since entry, ticks a contract
        ("initial", "i8"),
        ("cash", "i8"),  # initial + realised - commissions of the open position
        ("equity", "i8"),  # cash + unrealised at the last close
        ("peak", "i8"),
        ("day", "i8"),
        ("day_equity", "i8"),  # equity at the last close before the trading day began
        ("day_trades", "i8"),
        ("latched_day", "i8"),  # the trading day whose loss limit is breached
        ("latched_days", "i8"),
        ("stop_bar", "i8"),
        ("wins", "i8"),
        ("losses", "i8"),
        ("won", "i8"),
        ("lost", "i8"),
        ("trades", "i8"),  # rows written to the trade buffer
        ("ended", "i8"),  # the loss limit of the run is breached
        ("done", "i8"),
        ("answer", "i8"),  # size given by the sizer for the entry at `bar`; -1 = not asked yet
        ("cut", "i8"),  # entries whose size was above what the limits carried
        ("idle", "i8"),  # BUY while long, SELL while short, CLOSE while flat
        ("margin_peak", "i8"),
        ("gap_stops", "i8"),
        ("worst_gap", "i8"),  # ticks beyond the stop
        ("step_denied", "i8"),  # Denial of the last decision, or 0
    ],
    align=True,
)

TRADE = np.dtype(
    [
        ("lane", "i8"),
        ("entry_bar", "i8"),
        ("exit_bar", "i8"),
        ("side", "i8"),
        ("contracts", "i8"),
        ("entry_price", "i8"),
        ("exit_price", "i8"),
        ("reason", "i8"),
        ("gross", "i8"),
        ("commission", "i8"),
        ("exit_commission", "i8"),  # the part of it that the exit took
        ("slippage", "i8"),  # micro-units lost to slippage on both fills
        ("bars_held", "i8"),
        ("mae", "i8"),
        ("mfe", "i8"),
        ("risk", "i8"),
    ],
    align=True,
)

ASK = np.dtype(
    [
        ("lane", "i8"),
        ("side", "i8"),
        ("price", "f8"),
        ("stop_distance", "f8"),
        ("stop_ticks", "i8"),
        ("tick_value", "f8"),
        ("point_value", "f8"),
        ("equity", "f8"),
        ("wins", "i8"),
        ("losses", "i8"),
        ("average_win", "f8"),
        ("average_loss", "f8"),
        ("signal", "f8"),
        ("max_contracts", "i8"),
        ("bar", "i8"),
    ],
    align=True,
)

STEP = np.dtype(
    [
        ("action", "i1"),
        ("denied", "?"),
        ("opened", "?"),
        ("closed", "?"),
        ("exit_reason", "i1"),
        ("stopped", "?"),
        ("forced", "?"),
        ("done", "?"),
        ("previous_position", "i8"),
        ("position", "i8"),
        ("contracts", "i8"),
        ("sides", "i8"),
        ("bars_held", "i8"),
        ("realised", "f8"),
        ("commission", "f8"),
        ("equity", "f8"),
        ("equity_change", "f8"),
        ("peak_equity", "f8"),
        ("unrealised", "f8"),
        ("initial_balance", "f8"),
        ("closed_mae", "f8"),
        ("closed_mfe", "f8"),
        ("open_mae", "f8"),
        ("open_mfe", "f8"),
        ("entry_risk", "f8"),
        ("price_change", "f8"),
        ("bars_to_flat", "i8"),
        ("bar", "i8"),
        ("time", "i8"),
        ("signal", "f8"),
    ],
    align=True,
)
