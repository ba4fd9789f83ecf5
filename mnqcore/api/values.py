"""The value objects that plugins receive. Fields are only ever added, never renamed or removed."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from mnqcore.api.contracts import Extractor
    from mnqcore.market.calendar import Calendar
    from mnqcore.market.instruments import Instrument

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


class Action(IntEnum):
    """What an agent may choose at the close of a bar."""

    HOLD = 0
    BUY = 1
    """Open or hold a long position; a short one is closed first."""
    SELL = 2
    """Open or hold a short position; a long one is closed first."""
    CLOSE = 3
    """Close the position; does nothing when flat."""


class ExitReason(IntEnum):
    """Why a position was closed. `end-of-data` is the only one booked at a close."""

    NONE = 0
    SIGNAL = 1
    STOP = 2
    TARGET = 3
    SESSION = 4
    SESSION_MISSED = 5
    ROLL = 6
    DAILY_LOSS = 7
    MAX_LOSS = 8
    END_OF_DATA = 9

    @property
    def label(self) -> str:
        """The word shown to users: `session-missed`, ..."""
        return self.name.lower().replace("_", "-")


@attrs.frozen(kw_only=True)
class BarRequest:
    """What a data source is asked for.

    `bar_size` is a pandas Timedelta. `start` and `end` are UTC bounds (None = all there is), `duration` a
    length such as "1 Y" where a source counts back from `end`. `session` is "full" or "rth".
    """

    instrument: Instrument
    bar_size: pd.Timedelta
    start: pd.Timestamp | None = None
    end: pd.Timestamp | None = None
    duration: str | None = None
    session: str = "full"


@attrs.frozen(kw_only=True)
class FeedSpec:
    """Whose bars a feed holds, when their market trades, and how long they are (pandas Timedelta)."""

    instrument: Instrument
    calendar: Calendar
    bar_size: pd.Timedelta


@attrs.frozen(kw_only=True, eq=False)
class MarketView:
    """What plugins see of the market.

    `bars`: DataFrame indexed by `time` (UTC bar start, increasing, unique), float64 `open high low close volume`,
    ratio-adjusted forwards over rolls, `contract` (str) where the source has contracts, and whatever float64 columns
    the source declares. `factor`: Series on the same index, view price / raw price. `feeds`: feed name -> bars of its
    own times and size, of the same shape; `join` lays them beside `bars`. `feed_specs`: feed name -> whose bars those
    are; without one they are as those of `bars`. `bar_size`: pandas Timedelta.
    """

    bars: pd.DataFrame
    factor: pd.Series
    instrument: Instrument
    calendar: Calendar
    bar_size: pd.Timedelta
    feeds: Mapping[str, pd.DataFrame] = attrs.field(factory=dict)
    feed_specs: Mapping[str, FeedSpec] = attrs.field(factory=dict)

    def join(self, feed: str, table: pd.DataFrame | None = None) -> pd.DataFrame:
        """Return what is known of a feed at the close of each bar, on the index of `bars`.

        At each bar that is the row of the feed's last bar that had closed by then. Where the feed's calendar expects a
        later one, which is not there, all is NaN: an older bar would be stale.

        Args:
            feed: its name; KeyError where there is none.
            table: columns on the index of the feed's bars; None are those bars themselves.
        """
        import pandas as pd

        found = self.feeds[feed] if table is None else table
        spec = self.feed_spec(feed)
        closes = self.calendar.bar_ends(pd.DatetimeIndex(self.bars.index), self.bar_size)
        return found.reindex(spec.calendar.last_closed(closes, spec.bar_size)).set_axis(self.bars.index)

    def feed_spec(self, feed: str) -> FeedSpec:
        """Return whose bars a feed holds."""
        own = FeedSpec(instrument=self.instrument, calendar=self.calendar, bar_size=self.bar_size)
        return self.feed_specs.get(feed, own)

    def feed_closes(self, feed: str) -> pd.DatetimeIndex:
        """Return when each bar of a feed closed, UTC."""
        import pandas as pd

        spec = self.feed_spec(feed)
        return spec.calendar.bar_ends(pd.DatetimeIndex(self.feeds[feed].index), spec.bar_size)


@attrs.frozen(kw_only=True)
class ObservationSpec:
    """The shape an extractor is built for: windows of (lookback, n_features), columns called `names`."""

    lookback: int
    n_features: int
    names: tuple[str, ...]


@attrs.frozen(kw_only=True)
class ModelSpec:
    """What a policy is built for: its observations, and the extractor (a plugin) that encodes their windows."""

    observation: ObservationSpec
    extractor: Extractor


@attrs.frozen(kw_only=True)
class Window:
    """A stretch of bars: `first` is the first one decided on, `last` the one at whose close it ends.

    Numbers count the bars of one tape. What comes before `first` is history: known, never traded.
    """

    first: int
    last: int

    @property
    def bars(self) -> int:
        """How many bars it holds."""
        return self.last - self.first + 1


@attrs.frozen(kw_only=True, eq=False)
class Entry:
    """The entries that want a size: arrays of shape (m,), m the number of lanes that enter now.

    Prices are raw, distances in raw price, money in dollars. `equity` is marked at close t less the commission of the
    closing leg of a reversal. `average_win` and `average_loss` are of net P&L, both >= 0. `signal` is what the sizer's
    own `prepare` returned at bar t (0 without it). `max_contracts` is what the limits and the margin still carry.
    The arrays are read-only and hold only while the sizer is called: copy what is kept.
    """

    side: Ints
    price: Floats
    stop_distance: Floats
    stop_ticks: Ints
    tick_value: Floats
    point_value: Floats
    equity: Floats
    wins: Ints
    losses: Ints
    average_win: Floats
    average_loss: Floats
    signal: Floats
    max_contracts: Ints
    lanes: Ints


@attrs.frozen(kw_only=True, eq=False)
class Step:
    """One step of every lane, from close t to close t + 1: read-only arrays of shape (n,).

    Money is in dollars as float64. All fields are as of close t + 1 (`bar time signal bars_to_flat` are bar t + 1's),
    but `action`, the agent's own choice at close t, and the `previous_` ones. `contracts` were closed in the step,
    `sides` is the number of fills booked in it. MAE and MFE are >= 0. `entry_risk` is 1.0 where there is no trade, so
    that dividing by it is safe. `opened` and `closed` can both be true: a reversal, or a stop on the entry bar.
    """

    action: NDArray[np.int8]
    denied: Bools
    opened: Bools
    closed: Bools
    exit_reason: NDArray[np.int8]
    previous_position: Ints
    position: Ints
    contracts: Ints
    sides: Ints
    bars_held: Ints
    realised: Floats
    commission: Floats
    equity: Floats
    equity_change: Floats
    peak_equity: Floats
    unrealised: Floats
    initial_balance: Floats
    closed_mae: Floats
    closed_mfe: Floats
    open_mae: Floats
    open_mfe: Floats
    entry_risk: Floats
    price_change: Floats
    bars_to_flat: Ints
    bar: Ints
    time: NDArray[np.datetime64]
    signal: Floats
    stopped: Bools
    forced: Bools
    done: Bools
