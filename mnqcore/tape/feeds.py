"""Feeds: further bars beside those that are traded, of another instrument or of another length.

A feed's bars keep their own times, and what is computed of them is known from their close on. The join looks at no bar:
the feed's calendar says which one should have closed last; it is there, or nothing is known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import pandas as pd

from mnqcore.api.values import FeedSpec
from mnqcore.errors import DataError
from mnqcore.market.bars import COLUMNS, resample
from mnqcore.market.bars import bar_size as length
from mnqcore.market.calendar import Calendar
from mnqcore.market.rolls import stitch
from mnqcore.tape.market import TooFewBars, viewed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from mnqcore.api.values import MarketView
    from mnqcore.market.instruments import Instrument
    from mnqcore.market.rolls import Roll
    from mnqcore.strategy.model import Strategy
    from mnqcore.tape.market import Market


@attrs.frozen(kw_only=True, eq=False)
class Feed:
    """A feed's bars as plugins see them; `raw`: as they came. `outside`: bars left out that no calendar expects."""

    view: MarketView
    raw: pd.DataFrame
    rolls: tuple[Roll, ...] = ()
    outside: int = 0

    @property
    def spec(self) -> FeedSpec:
        """Whose bars they are."""
        return FeedSpec(instrument=self.view.instrument, calendar=self.view.calendar, bar_size=self.view.bar_size)


def lay_feed(bars: pd.DataFrame, instrument: Instrument, size: pd.Timedelta, *, rth: bool) -> Feed:
    """Return a feed of bars of its own; those that the calendar does not expect are left out and counted.

    Args:
        bars: ordered, UTC bar starts; several contracts may share a time.
        instrument: its calendar and roll rule.
        size: of each bar.
        rth: whether only the cash session counts.

    Raises:
        DataError: nothing is left.
    """
    calendar, times = Calendar(instrument, rth=rth), pd.DatetimeIndex(bars.index)
    expected = times.isin(calendar.bar_starts(times.min(), times.max(), size)) if len(times) else np.zeros(0, np.bool_)
    inside = bars[expected]
    if inside.empty:
        raise DataError(
            "no bar of a feed begins where its calendar expects one",
            where=f"{instrument.name}, calendar {instrument.calendar}" + (", cash session" if rth else ""),
            found=f"{len(bars)} bars",
            next="look at its times, and at its bar_size: mnq data check FILE",
        )
    joined = stitch(inside, calendar)
    view = viewed(joined, instrument, calendar, size)
    return Feed(view=view, raw=joined.bars, rolls=joined.rolls, outside=len(bars) - len(inside))


def made_of(market: Market, size: pd.Timedelta, how: Mapping[str, str]) -> Feed:
    """Return a feed made of the market's own bars, prices as the view has them; the last bar may yet be unfinished.

    A bar is made of those that are there, one at least. The first is left out where the bars begin within it.

    Args:
        market: the bars.
        size: a multiple of theirs.
        how: further column -> how it is made of the smaller bars' ("last" where nothing is said).
    """
    view = market.view
    bars = view.bars.drop(columns="contract", errors="ignore").assign(factor=view.factor)
    further = {str(name): how.get(str(name), "last") for name in bars if name not in COLUMNS}
    larger = resample(bars, size, view.calendar, further | {"factor": "last"})
    larger = larger[larger.index >= view.bars.index[0]]
    factor = larger.pop("factor").rename("factor")
    return Feed(view=attrs.evolve(view, bars=larger, factor=factor, bar_size=size), raw=larger)


def beside(strategy: Strategy, market: Market, read: Mapping[str, Feed]) -> Market:
    """Return a market with the strategy's feeds: those that were read, and those made of its own bars.

    No feed has a bar that closes after the market's last one: so a history that goes on changes nothing before.

    Args:
        strategy: which feeds there are.
        market: its bars.
        read: name -> feed of each that has data of its own.

    Raises:
        TooFewBars: a feed has no bar that closed in time.
    """
    if not strategy.feeds:
        return market
    close = market.calendar.bar_ends(market.times[-1:], market.bar_size)[0]
    found = {name: _until(name, _feed(strategy, market, name, read), close) for name in strategy.feeds}
    view = attrs.evolve(
        market.view,
        feeds={name: feed.view.bars for name, feed in found.items()},
        feed_specs={name: feed.spec for name, feed in found.items()},
    )
    return attrs.evolve(market, view=view, feeds=found, unfed=_any(unfed(view, name) for name in found))


def unfed(view: MarketView, feed: str) -> NDArray[np.bool_]:
    """Return at which bars a feed lacks the bar that should have closed last."""
    there = pd.DataFrame({"there": 1.0}, index=view.feeds[feed].index)
    return view.join(feed, there)["there"].isna().to_numpy()


def lasting(holes: NDArray[np.bool_], bars: int) -> NDArray[np.bool_]:
    """Return which bars are a hole, or have one among the `bars` before them."""
    seen = np.concatenate([np.zeros(bars + 1, np.int64), np.cumsum(holes)])
    return np.asarray(seen[bars + 1 :] > seen[: len(holes)])


def unseen(features: NDArray[np.float32], lookback: int) -> NDArray[np.bool_]:
    """Return at which bars a window of features is not whole: a learner sees none of it, and holds.

    Args:
        features: (bars, n); what is missing is NaN.
        lookback: bars of a window.
    """
    found = lasting(np.asarray(~np.isfinite(features).all(axis=1)), lookback - 1)
    found[: lookback - 1] = True
    return found


def _feed(strategy: Strategy, market: Market, name: str, read: Mapping[str, Feed]) -> Feed:
    wanted = strategy.feeds[name]
    if wanted.data is not None:
        return read[name]
    how: Any = getattr(strategy.data.build(), "how", {})
    return made_of(market, length(wanted.bar_size), how)


def _until(name: str, feed: Feed, close: pd.Timestamp) -> Feed:
    """Return a feed without the bars that had not closed by then."""
    view = feed.view
    kept = int((view.calendar.bar_ends(pd.DatetimeIndex(view.bars.index), view.bar_size) <= close).sum())
    if not kept:
        raise TooFewBars(
            f"feed {name!r} has no bar that closed before the last one of the strategy's own",
            found=f"its first begins at {view.bars.index[0]}" if len(view.bars) else "none",
            next="give it bars of the same time",
        )
    view = attrs.evolve(view, bars=view.bars.iloc[:kept], factor=view.factor.iloc[:kept])
    return attrs.evolve(feed, view=view, raw=feed.raw.iloc[:kept])


def _any(holes: Iterable[NDArray[np.bool_]]) -> NDArray[np.bool_]:
    return np.asarray(np.stack(list(holes)).any(axis=0))
