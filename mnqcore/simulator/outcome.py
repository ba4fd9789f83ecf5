"""What a lane's run came to: its trades as a table, its equity in dollars, and what the rules refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np
import pandas as pd

from mnqcore.api.values import ExitReason
from mnqcore.market.instruments import MICRO
from mnqcore.rules import Denial
from mnqcore.simulator.account import dollars

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnqcore.market.instruments import Instrument
    from mnqcore.simulator.account import Account

_REASONS = np.array([reason.label for reason in ExitReason], dtype=object)


@attrs.frozen(kw_only=True, eq=False)
class Outcome:
    """One lane's result.

    `trades`: one row a round trip, prices raw, money in dollars. `equity`: dollars at each close, float64 (bars,).
    `denied`: reason -> entries refused. `counts`: what else was counted. `ended_at`: the bar at which a loss limit
    ended the run, or None.
    """

    trades: pd.DataFrame
    equity: NDArray[np.float64]
    denied: dict[str, int]
    counts: dict[str, int]
    ended_at: int | None


def outcome(
    account: Account, equity: NDArray[np.int64], times: pd.DatetimeIndex, contracts: NDArray[np.object_],
    instrument: Instrument, lane: int = 0,
) -> Outcome:  # fmt: skip
    """Return what came out of a lane; `times` and `contracts` are the tape's, by bar."""
    led = account.ledger[lane]
    names = ("cut", "idle", "latched_days", "gap_stops", "worst_gap")
    return Outcome(
        trades=trade_table(account.trades[lane], times, contracts, instrument),
        equity=dollars(equity[lane]),
        denied={reason.label: int(account.denied[lane][reason]) for reason in Denial if reason},
        counts={name: int(led[name]) for name in names} | {"margin_peak": int(led["margin_peak"]) // MICRO},
        ended_at=int(led["bar"]) if led["ended"] else None,
    )


def trade_table(
    rows: NDArray[np.void], times: pd.DatetimeIndex, contracts: NDArray[np.object_], instrument: Instrument
) -> pd.DataFrame:
    """Return TRADE records as a table with times, prices and dollars."""
    stamps = times.as_unit("ns").asi8
    moved = rows["side"] * (rows["exit_price"] - rows["entry_price"])
    risk = dollars(rows["risk"])
    columns = {
        "entry_time": pd.DatetimeIndex(stamps[rows["entry_bar"]], tz="UTC"),
        "exit_time": pd.DatetimeIndex(stamps[rows["exit_bar"]], tz="UTC"),
        "entry_bar": rows["entry_bar"],
        "exit_bar": rows["exit_bar"],
        "contract": contracts[rows["entry_bar"]],
        "side": rows["side"],
        "contracts": rows["contracts"],
        "entry_price": rows["entry_price"] * instrument.tick_size,
        "exit_price": rows["exit_price"] * instrument.tick_size,
        "reason": _REASONS[rows["reason"]],
        "ticks": moved,
        "gross": dollars(rows["gross"]),
        "commission": dollars(rows["commission"]),
        "slippage": dollars(rows["slippage"]),
        "net": dollars(rows["gross"] - rows["commission"]),
        "bars_held": rows["bars_held"],
        "mae": dollars(rows["mae"]),
        "mfe": dollars(rows["mfe"]),
        "risk": np.where(risk > 0, risk, 1.0),
    }
    return pd.DataFrame({name: np.ascontiguousarray(values) if isinstance(values, np.ndarray) else values
                         for name, values in columns.items()})  # fmt: skip
