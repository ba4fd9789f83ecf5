"""Bars laid on the clock: whole ticks, trading days, and where the rules want a position flat.

Nothing here looks at which bars exist: `flat` follows from the calendar and the roll times alone.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import attrs
import numpy as np
import pandas as pd

from mnqcore.api.values import MarketView
from mnqcore.errors import DataError
from mnqcore.market.bars import PRICES
from mnqcore.market.calendar import Calendar
from mnqcore.market.rolls import stitch
from mnqcore.tape.clock import NEVER, mark
from mnqcore.tape.records import BAR, NO_PRICE, ORDER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from mnqcore.api.values import Window
    from mnqcore.market.calendar import Located
    from mnqcore.market.instruments import Instrument
    from mnqcore.market.rolls import Roll, Stitched
    from mnqcore.strategy.settings import Session
    from mnqcore.tape.feeds import Feed

    Ints = NDArray[np.int64]

_HIGHEST = 1 << 31  # ticks


class TooFewBars(DataError):
    """Nothing can be said of so few bars; further ones mend it."""


@attrs.frozen(kw_only=True, eq=False)
class Market:
    """Bars as the kernel and as plugins see them, on one index.

    `tape`, `orders`: BAR and ORDER records. `view`: what plugins see. `raw`: the lead contract's bars as traded.
    `days`: trading day of each bar. `contracts`: name of each bar's contract. `outside`: bars left out since they lie
    outside the session. `feeds`: name -> further bars. `unfed`: bool (bars,), at which of the bars a feed lacks the bar
    that should have closed last; None without feeds.
    """

    instrument: Instrument
    calendar: Calendar
    bar_size: pd.Timedelta
    raw: pd.DataFrame
    view: MarketView
    tape: NDArray[np.void]
    orders: NDArray[np.void]
    days: NDArray[np.datetime64]
    contracts: NDArray[np.object_]
    rolls: tuple[Roll, ...]
    outside: int
    feeds: Mapping[str, Feed] = MappingProxyType({})
    unfed: NDArray[np.bool_] | None = None

    @property
    def times(self) -> pd.DatetimeIndex:
        """UTC start of each bar."""
        return pd.DatetimeIndex(self.raw.index)

    @property
    def changes(self) -> list[int]:
        """When the lead changes by the clock, UTC ns: as `rolls`, or sooner where a session's first bars miss."""
        return _changes(self.rolls, self.orders["time"], self.calendar.locate(self.times))

    def between(self, window: Window) -> Market:
        """Return only the bars of a window, its first as bar 0; what plugins said of them stays as it is."""
        part = slice(window.first, window.last + 1)
        bars, factor = self.view.bars.iloc[part], self.view.factor.iloc[part]
        begin, end = self.raw.index[window.first], self.raw.index[window.last]
        return attrs.evolve(
            self,
            raw=self.raw.iloc[part],
            view=attrs.evolve(self.view, bars=bars, factor=factor),
            tape=self.tape[part],
            orders=self.orders[part],
            days=self.days[part],
            contracts=self.contracts[part],
            rolls=tuple(roll for roll in self.rolls if begin < roll.time <= end),
            unfed=None if self.unfed is None else self.unfed[part],
        )


def lay(bars: pd.DataFrame, instrument: Instrument, session: Session, bar_size: pd.Timedelta) -> Market:
    """Lay bars on the clock; those outside the session are left out and counted.

    Args:
        bars: ordered, UTC bar starts; several contracts may share a time.
        instrument: ticks, calendar, roll rule.
        session: what must be flat when, and whether only the cash session counts.
        bar_size: the length of each bar.

    Raises:
        TooFewBars: fewer than two bars lie within the session.
    """
    calendar = Calendar(instrument, rth=session.rth)
    located = calendar.locate(pd.DatetimeIndex(bars.index))
    inside = located.session >= 0
    outside = int(len(inside) - np.count_nonzero(inside))
    if outside:  # before the contracts are joined: a roll must find its prices within the session
        bars = bars[inside]
    _refuse_few(len(bars), outside, calendar)
    joined = stitch(bars, calendar)
    _refuse_few(len(joined.bars), outside, calendar)
    if outside or len(joined.bars) < len(bars):
        located = calendar.locate(pd.DatetimeIndex(joined.bars.index))
    tape, orders = _records(joined, located, instrument)
    contracts = _contracts(joined.bars)
    start, size = orders["time"].copy(), int(bar_size.as_unit("ns").value)  # in one piece: it is read often
    to_flat = mark(tape, start, located, _changes(joined.rolls, start, located), calendar, session, size)
    if to_flat is not None:
        orders["bars_to_flat"] = to_flat
    return Market(
        instrument=instrument,
        calendar=calendar,
        bar_size=bar_size,
        raw=joined.bars,
        view=viewed(joined, instrument, calendar, bar_size),
        tape=tape,
        orders=orders,
        days=located.day,
        contracts=contracts,
        rolls=joined.rolls,
        outside=outside,
    )


def _refuse_few(bars: int, outside: int, calendar: Calendar) -> None:
    if bars >= 2:
        return
    raise TooFewBars(
        "no bars lie within the trading session",
        where=f"{calendar.instrument.name}, calendar {calendar.instrument.calendar}"
        + (", cash session" if calendar.rth else ""),
        found=f"{outside + bars} bars, {outside} of them outside",
        next="look at the times: mnq data check FILE",
    )


def _records(joined: Stitched, located: Located, instrument: Instrument) -> tuple[NDArray[np.void], NDArray[np.void]]:
    from mnqcore.tape.fill import fill

    bars = joined.bars
    tape, orders = _blank(len(bars))
    prices = {name: bars[name].to_numpy(np.float64) for name in PRICES}
    days = np.zeros(len(bars), np.int32)
    np.cumsum(located.day[1:] != located.day[:-1], out=days[1:])
    times = pd.DatetimeIndex(bars.index).as_unit("ns").asi8
    highest = fill(tape, orders, *prices.values(), times, days, instrument.tick_size, NEVER)
    if highest > _HIGHEST:
        raise _unreckonable(prices, bars.index, instrument)
    other = np.flatnonzero(joined.carry_open != prices["open"])  # the first bar of a contract; NaN differs as well
    carried = joined.carry_open[other]
    known = ~np.isnan(carried)
    orders["carry_open"][other] = NO_PRICE
    orders["carry_open"][other[known]] = instrument.to_ticks(carried[known])
    return tape, orders


def _unreckonable(prices: dict[str, NDArray[np.float64]], times: pd.Index, instrument: Instrument) -> DataError:
    """Return the error that names the highest price: its worth in micro-units would not fit 64 bits."""
    name = max(prices, key=lambda column: np.abs(prices[column]).max())
    at = int(np.abs(prices[name]).argmax())
    return DataError(
        "a price is too high to be reckoned with",
        where=f"{name} of the bar at {times[at]}",
        found=f"{prices[name][at]:g}",
        next=f"{instrument.name} has ticks of {instrument.tick_size:g}: is it the right instrument?",
    )


def _blank(count: int) -> tuple[NDArray[np.void], NDArray[np.void]]:
    """Return unwritten BAR and ORDER records in one piece of memory: a system hands out a large piece far faster."""
    split = count * BAR.itemsize
    memory = np.empty(split + count * ORDER.itemsize, np.uint8)
    return memory[:split].view(BAR), memory[split:].view(ORDER)


def _contracts(bars: pd.DataFrame) -> NDArray[np.object_]:
    if "contract" not in bars:
        return np.broadcast_to(np.array("", dtype=object), len(bars))
    return bars["contract"].to_numpy(dtype=object)


def _changes(rolls: tuple[Roll, ...], start: Ints, located: Located) -> list[int]:
    """Return when the lead changes, UTC ns: with the session, where none of its bars came before the roll's."""
    times = np.array([roll.time.as_unit("ns").value for roll in rolls], np.int64)
    rows = np.searchsorted(start, times)
    # Which bars exist must not move the marks: the first of a session may be missing.
    fresh = located.session[rows] != located.session[rows - 1]
    changes: list[int] = np.where(fresh, located.open[rows], times).tolist()
    return changes


def viewed(joined: Stitched, instrument: Instrument, calendar: Calendar, bar_size: pd.Timedelta) -> MarketView:
    """Return joined bars as plugins see them: prices scaled forwards over rolls."""
    bars = joined.bars
    if joined.rolls:
        bars = bars.assign(**{name: bars[name] * joined.factor for name in PRICES})
    return MarketView(bars=bars, factor=joined.factor, instrument=instrument, calendar=calendar, bar_size=bar_size)
