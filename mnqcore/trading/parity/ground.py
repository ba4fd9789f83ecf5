"""What the proof stands on: the bars, what plugins say of each, and what the clock says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import attrs

from mnqcore.errors import DataError
from mnqcore.market.bars import PRICES
from mnqcore.trading.rows import Table, computed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from mnqcore.strategy.model import Strategy
    from mnqcore.tape import Market
    from mnqcore.tape.feeds import Feed
    from mnqcore.tape.scaler import Scaler
    from mnqcore.trading.clockwork import Clockwork
    from mnqcore.trading.parity.record import Closed
    from mnqcore.trading.rows import Seen


class Again(Protocol):
    """Computes the rows of a session once more; `columns` are known once there was a row."""

    @property
    def columns(self) -> Sequence[str]:
        """Return the names of the features."""
        ...

    def row(self, closed: Closed) -> Seen | None:
        """Return a bar's row; None where there are no bars to compute it from."""
        ...

    def alone(self, closed: Closed) -> Seen | None:
        """Return a bar's row as it is while no later bar is known."""
        ...


@attrs.frozen(kw_only=True, eq=False)
class Ground:
    """All that a session is compared on.

    `market`: every bar of the source, on the clock: what traded. `again`: rows. `clocks`: what each start of the
    session knew of the calendar and of rolls. `act`: the agent. `exact`, `source`: as `Parity` says. `versions`: in
    words, what was of another version then, empty where nothing was.
    """

    strategy: Strategy
    market: Market
    again: Again
    clocks: Sequence[Clockwork]
    act: Callable[[Seen, Any], int]
    exact: bool
    source: str
    versions: str = ""

    def clock(self, closed: Closed) -> Clockwork:
        """Return the clock that a bar was decided by."""
        return self.clocks[min(closed.start, len(self.clocks) - 1)]

    @property
    def columns(self) -> Sequence[str]:
        """Names of the features, once a row was computed."""
        return self.again.columns

    def has(self, start: int) -> bool:
        """Whether the source has a bar of a start, UTC ns."""
        times = self.market.orders["time"]
        at = int(times.searchsorted(start))
        return at < len(times) and int(times[at]) == start

    def price(self, ticks: int | None) -> str:
        """Return a price as people write it."""
        size = self.strategy.instrument.tick_size
        digits = len(f"{size:.10f}".rstrip("0").partition(".")[2])
        return "none" if ticks is None else f"{ticks * size:,.{max(digits, 2)}f}"


@attrs.define(kw_only=True)
class Whole:
    """Rows of a replay: from one table of all bars."""

    strategy: Strategy
    table: Table
    scaler: Scaler | None
    bars: pd.DataFrame

    @property
    def columns(self) -> Sequence[str]:
        """Names of the features."""
        return _columns(self.table)

    def row(self, closed: Closed) -> Seen | None:
        """Return a bar's row."""
        return _row(self.table, closed)

    def alone(self, closed: Closed) -> Seen | None:
        """Return a bar's row, computed from the bars up to it."""
        bars = self.bars[_starts(self.bars) <= closed.time]
        tape = computed(self.strategy, bars, self.table.tape.market.feeds)
        return _row(Table.of(self.strategy, tape, self.table.clock, self.scaler), closed)


@attrs.define(kw_only=True)
class FromAnchors:
    """Rows of a session that computed each from its trading day's anchor on.

    Those of one anchor are computed in one go: that no later bar changes a row is what every plugin promises.
    `bars`: those that the session knew, all contracts. `feeds`: those that have data of their own. `complete`: the
    bars reach back before every anchor.
    """

    strategy: Strategy
    clocks: Sequence[Clockwork]
    scaler: Scaler | None
    bars: pd.DataFrame
    feeds: Mapping[str, Feed]
    last: dict[int, int]
    """Anchor -> start of the last bar that was computed from it."""
    complete: bool
    columns: Sequence[str] = ()
    _key: tuple[int, int] | None = attrs.field(default=None, init=False)
    _table: Table | None = attrs.field(default=None, init=False)

    def row(self, closed: Closed) -> Seen | None:
        """Return a bar's row."""
        anchor = self._anchor(closed)
        if anchor is None:
            return None
        key = (anchor, min(closed.start, len(self.clocks) - 1))
        if key != self._key:
            self._table, self._key = self._made(anchor, self.last[anchor], key[1]), key
        return None if self._table is None else _row(self._table, closed)

    def alone(self, closed: Closed) -> Seen | None:
        """Return a bar's row, computed from the bars up to it."""
        anchor = self._anchor(closed)
        if anchor is None:
            return None
        table = self._made(anchor, closed.time, min(closed.start, len(self.clocks) - 1))
        return None if table is None else _row(table, closed)

    def _anchor(self, closed: Closed) -> int | None:
        """Return where a bar's history begins; None where the bars do not reach back so far."""
        if closed.anchor is None:
            return None
        anchor = int(closed.anchor["bar"])
        begins = int(_starts(self.bars)[0]) if len(self.bars) else anchor + 1
        return anchor if self.complete or begins <= anchor else None

    def _made(self, anchor: int, last: int, clock: int) -> Table | None:
        times = _starts(self.bars)
        part = self.bars[(times >= anchor) & (times <= last)]
        try:
            tape = computed(self.strategy, part, self.feeds)
        except DataError:  # of one bar no series can be made
            return None
        table = Table.of(self.strategy, tape, self.clocks[clock], self.scaler)
        self.columns = _columns(table)
        return table


def journaled(bars: Sequence[Closed], tick_size: float) -> pd.DataFrame:
    """Return a journal's bars in the shape that bars have: the lead's alone, without further columns."""
    import pandas as pd

    index = pd.DatetimeIndex([closed.time for closed in bars], name="time").as_unit("ns").tz_localize("UTC")
    columns: dict[str, Any] = {name: [one.bar[name] * tick_size for one in bars] for name in PRICES}
    columns["volume"] = [float(one.bar["volume"]) for one in bars]
    contracts = [one.bar["contract"] for one in bars]
    if any(contracts):
        columns["contract"] = contracts
    return pd.DataFrame(columns, index=index)


def known(bars: pd.DataFrame, market: Market, record: Sequence[Closed]) -> pd.DataFrame:
    """Return the bars that a session knew: those of its history, and those of slots of which it noted a bar."""
    import numpy as np

    told = np.array([closed.time for closed in record], np.int64)
    series = market.orders["time"]
    missed = series[(series > told[0]) & ~np.isin(series, told)]
    times = _starts(bars)
    return bars[~np.isin(times, missed)]


def _columns(table: Table) -> list[str]:
    return [str(name) for name in table.tape.features.columns]


def _starts(bars: pd.DataFrame) -> NDArray[np.int64]:
    import pandas as pd

    return pd.DatetimeIndex(bars.index).as_unit("ns").asi8


def _row(table: Table, closed: Closed) -> Seen | None:
    try:
        return table.row(closed.time, closed.number)
    except DataError:
        return None
