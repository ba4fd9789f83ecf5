"""What a lane's run came to: its trades as a table, its equity in dollars, and what the rules refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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

_REASONS = pd.Series([reason.label for reason in ExitReason]).array
_ORDER = (
    "entry_time", "exit_time", "entry_bar", "exit_bar", "contract", "side", "contracts", "entry_price", "exit_price",
    "reason", "ticks", "gross", "commission", "slippage", "net", "bars_held", "mae", "mfe", "risk",
)  # fmt: skip


@attrs.frozen(kw_only=True, eq=False)
class Outcome:
    """One lane's result.

    `trades`: one row a round trip, prices raw, money in dollars. `columns`: the same numbers as arrays, `reason` as
    ExitReason: what `summarise` takes fastest. `equity`: dollars at each close, float64 (bars,).
    `denied`: reason -> entries refused. `counts`: what else was counted. `ended_at`: the bar at which a loss limit
    ended the run, or None.
    """

    trades: pd.DataFrame
    columns: dict[str, NDArray[Any]]
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
    columns = trade_columns(account.trades[lane], instrument)
    return Outcome(
        trades=trade_table(columns, times, contracts),
        columns=columns,
        equity=dollars(equity[lane]),
        denied={reason.label: int(account.denied[lane][reason]) for reason in Denial if reason},
        counts={name: int(led[name]) for name in names} | {"margin_peak": int(led["margin_peak"]) // MICRO},
        ended_at=int(led["bar"]) if led["ended"] else None,
    )


def trade_columns(rows: NDArray[np.void], instrument: Instrument) -> dict[str, NDArray[Any]]:
    """Return TRADE records as arrays: prices and dollars float64, the rest int64, `reason` as numbers of ExitReason."""
    risk = dollars(rows["risk"])
    columns = {
        "entry_bar": rows["entry_bar"],
        "exit_bar": rows["exit_bar"],
        "side": rows["side"],
        "contracts": rows["contracts"],
        "entry_price": rows["entry_price"] * instrument.tick_size,
        "exit_price": rows["exit_price"] * instrument.tick_size,
        "reason": rows["reason"],
        "ticks": rows["side"] * (rows["exit_price"] - rows["entry_price"]),
        "gross": dollars(rows["gross"]),
        "commission": dollars(rows["commission"]),
        "slippage": dollars(rows["slippage"]),
        "net": dollars(rows["gross"] - rows["commission"]),
        "bars_held": rows["bars_held"],
        "mae": dollars(rows["mae"]),
        "mfe": dollars(rows["mfe"]),
        "risk": np.where(risk > 0, risk, 1.0),
    }
    return {name: np.ascontiguousarray(values) for name, values in columns.items()}


def trade_table(
    columns: dict[str, NDArray[Any]], times: pd.DatetimeIndex, contracts: NDArray[np.object_]
) -> pd.DataFrame:
    """Return the columns of trades as a table with times and contracts, reasons as labels."""
    entries, starts = columns["entry_bar"], times.as_unit("ns")
    words = {
        "entry_time": starts.take(entries).array,
        "exit_time": starts.take(columns["exit_bar"]).array,
        "contract": contracts[entries],
        "reason": _REASONS.take(columns["reason"]),
    }
    return pd.DataFrame({name: words[name] if name in words else columns[name] for name in _ORDER})
