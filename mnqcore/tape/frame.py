"""A user's own frame of bars on the clock, without a strategy file: what the thin Python classes share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import pandas as pd

from mnqcore.errors import DataError, UsageError, suggest
from mnqcore.market.bars import validate
from mnqcore.market.instruments import catalogue
from mnqcore.strategy.settings import Commission, Costs, Session
from mnqcore.tape.market import lay

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mnqcore.api.values import Entry
    from mnqcore.market.instruments import Instrument
    from mnqcore.tape.market import Market

_FARTHEST = 2**31  # ticks


@attrs.frozen(kw_only=True, eq=False)
class Frame:
    """A frame of bars and the market laid from it.

    `index`: the frame's own. `contracts`: its column `contract`, None without one.
    """

    index: pd.DatetimeIndex
    contracts: pd.Series | None
    market: Market

    @property
    def rows(self) -> Any:
        """Which rows of the frame the tape holds, for indexing: those in the session, of the contract that leads."""
        market = self.market
        if self.contracts is None or self.index.is_unique:
            same = len(market.tape) == len(self.index)
            return slice(None) if same else self.index.isin(market.times)
        every = pd.MultiIndex.from_arrays([self.index, self.contracts])
        return every.get_indexer(pd.MultiIndex.from_arrays([market.times, market.contracts]))


def lay_frame(df: pd.DataFrame, instrument: Instrument, session: Session | None, stop_loss_ticks: int | None) -> Frame:
    """Lay a frame's bars on the clock, each entry with the same stop.

    Args:
        df: bars indexed by UTC bar start, columns open high low close volume (and contract, if it has several).
        instrument: ticks, calendar, roll rule.
        session: what must be flat when; None is flat over the close.
        stop_loss_ticks: distance of the stop; None is without one.

    Raises:
        DataError: the frame is not bars, or none lie within the session.
        UsageError: the stop is out of its range.
    """
    if stop_loss_ticks is not None and not 0 < stop_loss_ticks < _FARTHEST:
        raise UsageError("stop_loss_ticks must be above 0, or None", found=str(stop_loss_ticks))
    bars = validate(_as_floats(df))
    market = lay(bars, instrument, session or Session(), _bar_size(bars))
    market.orders["stop"] = stop_loss_ticks or 0
    return Frame(index=pd.DatetimeIndex(bars.index), contracts=bars.get("contract"), market=market)


def columns_of(df: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Return the feature columns of a frame, float64, in the order named.

    Raises:
        UsageError: none is named, or the frame has no such column.
    """
    if isinstance(names, str) or not len(names):
        raise UsageError("feature_columns must be a list of one column or more", found=repr(names))
    for name in names:
        if name not in df:
            close = suggest(str(name), [str(column) for column in df])
            raise UsageError(f"df has no column {name!r}", next=f"did you mean {close}?" if close else "add it to df")
    return df[list(names)].astype(np.float64)


def instrument_called(name: str) -> Instrument:
    """Return an instrument of the catalogue; UsageError where there is none of that name."""
    known = catalogue()
    if name not in known:
        close = suggest(name, list(known))
        raise UsageError(f"no instrument {name!r}", next=f"did you mean {close}?" if close else ", ".join(known))
    return known[name]


def costs_of(initial_balance: float, commission: float, slippage_ticks: int) -> Costs:
    """Return an account's costs: dollars, dollars a contract a side, ticks; UsageError for numbers out of range."""
    try:
        return Costs(
            initial_balance=float(initial_balance),
            commission=Commission(per_contract=float(commission)),
            slippage_ticks=slippage_ticks,
        )
    except (TypeError, ValueError) as error:
        raise UsageError("an account cannot be opened with these numbers", found=str(error)) from error


def one_contract(entry: Entry) -> NDArray[np.int64]:
    """Size every entry as one contract."""
    return np.ones(len(entry.side), np.int64)


def _as_floats(df: pd.DataFrame) -> pd.DataFrame:
    """Return real numbers of any width as float64: what is read from a CSV holds whole volumes."""
    narrow = [name for name in df if pd.api.types.is_any_real_numeric_dtype(df[name]) and df[name].dtype != "float64"]
    return df.astype(dict.fromkeys(narrow, "float64")) if narrow else df


def _bar_size(bars: pd.DataFrame) -> pd.Timedelta:
    """Return the most frequent distance between bars: gaps are rarer than bars."""
    distances = np.diff(pd.DatetimeIndex(bars.index).asi8)
    distances = distances[distances > 0]  # several contracts may share a time
    if not len(distances):
        raise DataError("two bars or more are needed", found=f"{len(bars)}")
    least = distances.min()
    if 2 * np.count_nonzero(distances == least) > len(distances):  # nearly always, and no sort is needed to see it
        return pd.Timedelta(int(least), unit="ns")
    steps, counts = np.unique(distances, return_counts=True)
    return pd.Timedelta(int(steps[counts.argmax()]), unit="ns")
