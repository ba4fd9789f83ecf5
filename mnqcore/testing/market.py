"""Made markets that plugins are tried on: a usual one, and the ones that formulas do not survive.

No plugin makes them, so that a broken data source cannot hide a broken reward. All have a roll in their middle.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import attrs
import numpy as np

from mnqcore.api.values import FeedSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd
    from numpy.typing import NDArray

    from mnqcore.api.values import MarketView
    from mnqcore.tape.market import Market

    Floats = NDArray[np.float64]

USUAL_BARS = 1_500
_START_TICKS = 72_000.0
_SEED = 2024
_ROLL = "2024-03-10T22:00"  # the session of Monday begins, from which on the next contract leads
_OVERLAP_DAYS = 5
_CARRY = 1.01  # how much dearer the next contract is
_FEED_SIZE = "1h"
LENGTHS = (2, 3, 5, 8, 13, 16, 17, 18, 21, 34, 40, 55)
"""Bars of short histories: some plugin's windows begin at each of them."""
SHAPES = {
    "usual": "calm and wild stretches, bars missing one by one",
    "gaps": "prices that jump over night, and half a day without bars",
    "no volume": "stretches in which nothing is traded",
    "no movement": "stretches of one price",
    "trend": "prices that only rise",
    "crash": "a fifth lost in six bars",
}
"""shape -> what is in it."""


@attrs.frozen(kw_only=True)
class Made:
    """What a market is made of; `feeds` names feeds of hourly bars beside it.

    `columns` are further ones, of the feeds too: whole numbers of either sign, some of them 0.
    """

    shape: str = "usual"
    bars: int = USUAL_BARS
    bar_size: str = "5min"
    instrument: str = "MNQ"
    columns: tuple[str, ...] = ()
    feeds: tuple[str, ...] = ()


@functools.lru_cache(maxsize=32)
def market(made: Made) -> Market:
    """Return a made market on the clock; nobody may change it."""
    import pandas as pd

    from mnqcore.market.instruments import catalogue
    from mnqcore.strategy.settings import Session
    from mnqcore.tape import lay

    instrument, size = catalogue()[made.instrument], pd.Timedelta(made.bar_size).as_unit("ns")
    times = _times(made, size)
    prices = _prices(made.shape, len(times), instrument.tick_size, _SEED)
    further = _further(made.columns, len(times))
    present = _present(made.shape, len(times))
    table = pd.DataFrame({**prices, **further}, index=times)[present]
    return lay(_contracts(table, made.instrument), instrument, Session(), size)


def view(made: Made) -> MarketView:
    """Return a made market as plugins see it, with a frame of hourly bars for each feed."""
    found = market(made).view
    bars, factor = found.bars.copy(deep=True), found.factor.copy(deep=True)  # a piece may write to what it is given
    feeds = {name: _feed(made, number) for number, name in enumerate(made.feeds)}
    spec = FeedSpec(instrument=found.instrument, calendar=found.calendar, bar_size=_feed_size(made))
    return attrs.evolve(found, bars=bars, factor=factor, feeds=feeds, feed_specs=dict.fromkeys(feeds, spec))


def _feed_size(made: Made) -> pd.Timedelta:
    import pandas as pd

    return max(pd.Timedelta(_FEED_SIZE), 4 * pd.Timedelta(made.bar_size)).as_unit("ns")


def _feed(made: Made, number: int) -> pd.DataFrame:
    import pandas as pd

    bars = market(made).view.bars
    times = pd.DatetimeIndex(pd.DatetimeIndex(bars.index).floor(_feed_size(made)).unique(), name="time")
    prices = _prices("usual", len(times), 0.25, _SEED + 1 + number)
    return pd.DataFrame({**prices, **_further(made.columns, len(times))}, index=times)


def _times(made: Made, size: pd.Timedelta) -> pd.DatetimeIndex:
    """Return bar starts with the roll in their middle."""
    import pandas as pd

    from mnqcore.market.calendar import Calendar
    from mnqcore.market.instruments import catalogue

    calendar, middle = Calendar(catalogue()[made.instrument]), pd.Timestamp(_ROLL, tz="UTC")
    span = made.bars * size + pd.Timedelta(days=4)
    times = calendar.bar_starts(middle - span, middle + span, size)
    first = int(times.searchsorted(middle)) - made.bars // 2
    return pd.DatetimeIndex(times[first : first + made.bars], name="time")


def _prices(shape: str, n: int, tick_size: float, seed: int) -> dict[str, Floats]:
    """Return open, high, low, close and volume of n bars, prices on the tick grid."""
    generator = np.random.default_rng(seed)
    wild = 1 + np.arange(n) // 120 % 4
    moves, gaps = _SHAPED.get(shape, _usual)(generator.normal(0, 4e-4, n) * wild, generator.normal(0, 5e-5, n))
    close = _START_TICKS * np.exp(np.cumsum(moves + gaps))
    opened = close / np.exp(moves)
    reach = (
        close * 2e-4 * wild * np.abs(generator.normal(size=(2, n))) * (1.0 if shape != "no movement" else moves != 0)
    )
    ticks = {
        "open": np.rint(opened),
        "high": np.rint(np.maximum(opened, close) + reach[0]),
        "low": np.rint(np.minimum(opened, close) - reach[1]),
        "close": np.rint(close),
    }
    volume = np.rint(200 * wild * np.exp(0.5 * generator.normal(size=n))) + 1
    if shape == "no volume":
        volume[np.arange(n) // 60 % 3 == 1] = 0.0
    return {name: column * tick_size for name, column in ticks.items()} | {"volume": volume}


def _usual(moves: Floats, gaps: Floats) -> tuple[Floats, Floats]:
    return moves, gaps


def _with_gaps(moves: Floats, gaps: Floats) -> tuple[Floats, Floats]:
    gaps[:: max(len(gaps) // 7, 1)] += 0.02
    return moves, gaps


def _without_movement(moves: Floats, gaps: Floats) -> tuple[Floats, Floats]:
    still = np.arange(len(moves)) // 150 % 2 == 1
    return np.where(still, 0.0, moves), np.where(still, 0.0, gaps)


def _rising(moves: Floats, _gaps: Floats) -> tuple[Floats, Floats]:
    return 0.2 * np.abs(moves) + 2e-5, np.zeros_like(moves)


def _crash(moves: Floats, gaps: Floats) -> tuple[Floats, Floats]:
    at = len(moves) // 2 + 20
    moves[at : at + 6] -= 0.04
    return moves, gaps


_SHAPED: dict[str, Callable[[Floats, Floats], tuple[Floats, Floats]]] = {
    "gaps": _with_gaps,
    "no movement": _without_movement,
    "trend": _rising,
    "crash": _crash,
}


def _further(names: tuple[str, ...], n: int) -> dict[str, Floats]:
    return {name: np.random.default_rng([_SEED, at]).normal(0, 100, n).round() for at, name in enumerate(names)}


def _present(shape: str, n: int) -> NDArray[np.bool_]:
    """Return which bars there are: a vendor lacks some now and then, and the first and the last ones stay."""
    present = np.random.default_rng(_SEED).random(n) >= 0.005
    if shape == "gaps":
        present[n // 3 : n // 3 + min(140, n // 8)] = False
    present[:2] = present[-2:] = True
    return present


def _contracts(bars: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return the bars as of two contracts, which stand side by side for some days before the roll."""
    import pandas as pd

    roll, overlap = pd.Timestamp(_ROLL, tz="UTC"), pd.Timedelta(days=_OVERLAP_DAYS)
    old, new = bars[bars.index < roll + overlap], bars[bars.index >= roll - overlap].copy()
    for column in ("open", "high", "low", "close"):
        new[column] = (new[column] * _CARRY * 4).round() / 4
    both = pd.concat([old.assign(contract=f"{name}H4"), new.assign(contract=f"{name}M4")])
    return both.astype({"contract": "str"}).sort_index(kind="stable")
