"""Bars that are the same wherever and whenever they are made, to try a model on: no plugin makes them, no float rounds.

Two thousand bars on the instrument's ticks and in its trading hours, from 2024 on: calm and wild stretches, gaps
between bars, wicks of any length. They resemble no market.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np
import pandas as pd

from mnqcore.api.values import FeedSpec, MarketView
from mnqcore.market.bars import bar_size as length
from mnqcore.market.calendar import Calendar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from mnqcore.market.instruments import Instrument

BARS = 2000
"""How many."""
_START = pd.Timestamp("2024-01-02", tz="UTC")
_SEED = 2024
_LEVEL = 60_000  # ticks: where prices begin, far enough from 0 for this walk
_STRETCH = 125  # bars as calm or wild as each other


def canned_view(instrument: Instrument, bar_size: str, *, rth: bool, further: Sequence[str] = ()) -> MarketView:
    """Return the bars as plugins see them.

    Args:
        instrument: whose ticks and hours.
        bar_size: "5 min", ...
        rth: whether only the cash session counts.
        further: columns beside open high low close volume; `contract` is text, the others whole numbers above 0.
    """
    calendar, size = Calendar(instrument, rth=rth), length(bar_size)
    columns: dict[str, object] = {**_prices(instrument.tick_size), **_further(instrument, further)}
    bars = pd.DataFrame(columns, index=_times(calendar, size))
    factor = pd.Series(1.0, index=bars.index, name="factor")
    return MarketView(bars=bars, factor=factor, instrument=instrument, calendar=calendar, bar_size=size)


def with_feeds(view: MarketView, feeds: Mapping[str, MarketView]) -> MarketView:
    """Return a view that has others beside it, name -> view."""
    specs = {
        name: FeedSpec(instrument=feed.instrument, calendar=feed.calendar, bar_size=feed.bar_size)
        for name, feed in feeds.items()
    }
    return attrs.evolve(view, feeds={name: feed.bars for name, feed in feeds.items()}, feed_specs=specs)


def canned_features(columns: int) -> NDArray[np.float32]:
    """Return features as they are after scaling, for a model whose columns were given: (BARS, columns), within +-3."""
    drawn = [(_bits(3, column) >> np.uint64(40)).astype(np.float64) for column in range(columns)]
    return np.ascontiguousarray(np.array(drawn).reshape(columns, BARS).T * (6.0 / 2**24) - 3.0, dtype=np.float32)


def _prices(tick_size: float) -> dict[str, NDArray[np.float64]]:
    wildness = 1 + np.arange(BARS) // _STRETCH % 4
    # The sum of eight bytes is nearly normal, and exact: 1020 in the mean, 209 the deviation.
    moves = (_bits(1, 0).view(np.uint8).reshape(BARS, 8).sum(axis=1, dtype=np.int64) - 1020) * wildness // 24
    gaps, above, below = (_below(1, number, most) for number, most in ((1, 5), (2, 40), (3, 40)))
    close = _LEVEL + np.cumsum(moves + gaps - 2)
    opened = close - moves
    high = np.maximum(opened, close) + above * wildness // 4
    low = np.minimum(opened, close) - below * wildness // 4
    ticks = {"open": opened, "high": high, "low": low, "close": close}
    prices = {name: column * tick_size for name, column in ticks.items()}
    return {**prices, "volume": (50 + _below(1, 4, 2000) * wildness).astype(np.float64)}


def _further(instrument: Instrument, names: Sequence[str]) -> dict[str, object]:
    return {
        name: f"{instrument.name}H4" if name == "contract" else 1.0 + _below(2, number, 1000)
        for number, name in enumerate(names)
    }


def _times(calendar: Calendar, size: pd.Timedelta) -> pd.DatetimeIndex:
    span = 2 * BARS * size
    while len(times := calendar.bar_starts(_START, _START + span, size)) < BARS:
        span *= 2
    return times[:BARS]


def _bits(part: int, column: int) -> NDArray[np.uint64]:
    """Return 64 random bits a bar: of a generator's raw output, which no version of numpy changes."""
    drawn: NDArray[np.uint64] = np.random.PCG64([_SEED, part, column]).random_raw(BARS)
    return drawn


def _below(part: int, column: int, most: int) -> NDArray[np.int64]:
    return (_bits(part, column) % np.uint64(most)).astype(np.int64)
