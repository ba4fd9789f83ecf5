"""Draws one continuous path of a market, bar by bar, in logs: what `synthetic` then quotes per contract.

Everything is vectorised, and drawn from one generator in a fixed order, so that a seed means the same bars anywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from mnqcore import Instrument
    from mnqcore.market.calendar import Located

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

_HOUR = 3_600_000_000_000
_QUIET_OPEN = 15 * 60_000_000_000
"""Bars up to 15 minutes have a first bar without trades after a halt, as vendors' files do."""
_BODY_SHARE = 0.85
"""Share of a day's variance that falls within bars; the rest comes over halts and weekends."""
_PULL, _DRIFT = 0.02, 0.10
"""Strength at edge = 1: pull back to the average a bar, and drift of a run in standard deviations of a bar."""
_RUN_BARS, _SPELL_DAYS = 300, 10
"""Mean length of a run and of a regime."""


@attrs.frozen(eq=False)
class Grid:
    """Where the bars lie: arrays of shape (n,).

    `day` counts the trading days of the path from 0, `halt` is the hours without trading before a bar (0 within a
    session), `weight` the bar's share of its day's variance, `quiet` marks first bars without trades, `minutes` is
    the bar size.
    """

    day: Ints
    halt: Floats
    weight: Floats
    quiet: NDArray[np.bool_]
    minutes: float


@attrs.frozen(eq=False)
class Path:
    """Log prices, the first open about 0, and the volume of all contracts together: arrays of shape (n,)."""

    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats


def grid(times: pd.DatetimeIndex, located: Located, bar_size: pd.Timedelta, instrument: Instrument) -> Grid:
    """Lay out bars that start at `times`: halts between them, and the U-shape of a day's activity."""
    ns, size = times.asi8, int(bar_size.as_unit("ns").value)
    halt = np.maximum(np.diff(ns, prepend=ns[0] - size) - size, 0)
    shape = _activity(times, instrument)
    days = located.day.astype(np.int64)
    day = np.cumsum(np.diff(days, prepend=days[0]) > 0, dtype=np.int64)
    return Grid(
        day=day,
        halt=halt / _HOUR,
        weight=shape * (day[-1] + 1) / shape.sum(),
        quiet=(halt > 0) & (size <= _QUIET_OPEN),
        minutes=size / _HOUR * 60,
    )


def draw(grid: Grid, generator: np.random.Generator, market: str, volatility: float, edge: float) -> Path:
    """Draw the path of a market whose daily standard deviation is `volatility`."""
    spread, regime = _spread(grid, generator, market, volatility)
    body_spread = np.where(grid.quiet, 0.0, spread * np.sqrt(_BODY_SHARE * grid.weight))
    gap_spread = np.where(grid.halt > 0, 0.2 * spread * grid.halt**0.25, 0.05 * body_spread)
    gap = gap_spread * generator.standard_normal(len(spread))
    noise = body_spread * generator.standard_normal(len(spread))
    # Half the variance is taken off, so that prices, not their logs, are without drift.
    drift = _predictable(gap + noise, body_spread, regime, edge, generator) - (gap_spread**2 + body_spread**2) / 2
    close = np.cumsum(gap + noise + drift)
    opened = close - np.where(grid.quiet, 0.0, noise + drift)
    reach = _reach(close - opened, body_spread, generator.random((2, len(spread))))
    volume = _volume(grid, spread / volatility, generator)
    return Path(open=opened, high=opened + reach[0], low=opened - reach[1], close=close, volume=volume)


def _activity(times: pd.DatetimeIndex, instrument: Instrument) -> Floats:
    """Return each bar's activity: 1 overnight, high at the cash open, a smaller rise to the cash close."""
    local = times.tz_convert(instrument.timezone)
    minute = np.asarray(local.hour * 60 + local.minute, dtype=np.float64)
    opened, closed = (int(clock[:2]) * 60 + int(clock[3:]) for clock in (instrument.cash_open, instrument.cash_close))
    through = (minute - opened) / (closed - opened)
    cash = 3 + 9 * np.exp(-8 * through) + 4 * np.exp(-8 * (1 - through))
    return np.where((through >= 0) & (through < 1), cash, 1.0)


def _spread(
    grid: Grid, generator: np.random.Generator, market: str, volatility: float
) -> tuple[Floats, NDArray[np.int8]]:
    """Return the daily standard deviation in force at each bar, which comes in clusters, and the bar's regime."""
    days = int(grid.day[-1]) + 1
    memory = 0.9 ** np.arange(60)
    cluster = np.convolve(0.12 * generator.standard_normal(days + 59), memory, mode="valid")
    level = np.exp(cluster - cluster.var())
    spells = np.cumsum(generator.random(days) < 1 / _SPELL_DAYS)
    drawn = generator.integers(0, 3, size=spells[-1] + 1, dtype=np.int8)[spells]
    if market == "regimes":
        level = level * np.array([1.0, 0.8, 1.2])[drawn]
    else:
        drawn = np.full(days, ("trend", "mean-revert", "no-edge").index(market), dtype=np.int8)
    return volatility * level[grid.day], drawn[grid.day]


def _predictable(
    shock: Floats, spread: Floats, regime: NDArray[np.int8], edge: float, generator: np.random.Generator
) -> Floats:
    """Return the part of each bar's move that its past foretells: runs in a trend, the pull back in mean reversion."""
    import pandas as pd

    n = len(shock)
    ends = np.cumsum(generator.exponential(_RUN_BARS, size=3 * n // _RUN_BARS + 20) + 20)
    run = np.searchsorted(ends, np.arange(n))
    trend = _DRIFT * edge * spread * (1 - 2 * (run % 2))
    pull = min(_PULL * edge, 1.0)
    # With x[t] = (1 - pull) x[t-1] + shock[t], the pull x is an exponential average of the shocks from x[0] = 0 on.
    pulled = (
        pd.Series(np.where(np.arange(n) > 0, shock, 0.0)).ewm(alpha=pull, adjust=False).mean() if pull else shock * 0
    )
    back = -np.concatenate([[0.0], np.asarray(pulled)[:-1]])
    parts: Floats = np.choose(regime, [trend, back, np.zeros(n)])
    return parts


def _reach(move: Floats, spread: Floats, uniform: Floats) -> Floats:
    """Return how far a bar went above and below its open: extremes of a Brownian bridge, drawn by inversion.

    P(max > m | end = c) = exp(-2 m (m - c) / s^2) (Karatzas and Shreve 1991, section 2.8).
    """
    wide = np.sqrt(move**2 - 2 * spread**2 * np.log(1 - uniform))
    return np.stack([(wide[0] + move) / 2, (wide[1] - move) / 2])


def _volume(grid: Grid, level: Floats, generator: np.random.Generator) -> Floats:
    """Return volumes that follow activity and the day's volatility; none where a bar is quiet."""
    usual = 300.0 * grid.minutes * grid.weight / grid.weight.mean()
    drawn = usual * level * np.exp(0.4 * generator.standard_normal(len(level)))
    return np.where(grid.quiet, 0.0, np.maximum(np.rint(drawn), 1.0))
