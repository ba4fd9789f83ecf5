"""What is odd about a single bar: numbers that no market makes, leaps, contracts that are not of the series."""

from __future__ import annotations

import math
import re
from bisect import bisect_left, insort
from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from mnqcore.errors import DataError
from mnqcore.market.rolls import contract_month

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from mnqcore.market.instruments import Instrument

    Ints = NDArray[np.int64]

PRICES = ("open", "high", "low", "close")
_GRID = 1e-3  # of a tick: what writing a price in decimals may move it
_HIGHEST = 1 << 31  # ticks: what can be reckoned with
_RECENT = 2_000  # bars
_ENOUGH = 100  # bars, before which nothing is known of what is usual
_RARE = 0.99
_LEAST = 4  # ticks: a market that hardly moves may begin to
_WILD = 0.2  # of the price: beyond the price limits of exchanges
_MONTH = re.compile(r"(?:[FGHJKMNQUVXZ]\d{1,4}|\d{4}-?\d\d(?:-?\d\d)?)$", re.IGNORECASE)


def fault(row: Mapping[str, float], columns: Sequence[str], tick: float, *, rounded: bool = False) -> str:
    """Return why a row cannot be a bar, or "": the same faults as those of `check`, and columns that are missing.

    `rounded`: prices off the tick grid are no fault, since they will be rounded.
    """
    if missing := [name for name in (*PRICES, "volume", *columns) if name not in row]:
        return f"no {missing[0]}"
    prices, volume = [row[name] for name in PRICES], row["volume"]
    opened, high, low, close = prices
    if not all(map(math.isfinite, (*prices, volume))):
        return "a value is missing or not finite"
    if min(prices) <= 0 or max(prices) > _HIGHEST * tick:
        return f"a price of {min(prices) if min(prices) <= 0 else max(prices):g}"
    if volume < 0:
        return f"a volume of {volume:g}"
    if high < low or not low <= min(opened, close) <= max(opened, close) <= high:
        return f"open {opened:g} or close {close:g} lie outside {low:g} .. {high:g}"
    off = [price for price in prices if not rounded and abs(price / tick - round(price / tick)) > _GRID]
    return f"{off[0]:g} is not on the tick grid" if off else ""


class Contracts:
    """The contracts that a series may name: those it had, and others of their root that have not expired."""

    def __init__(self, known: Sequence[str]) -> None:
        """Take the contracts named so far; none means that the first one is taken."""
        self._known = set(known)
        self._roots = {_root(name) for name in known}

    def foreign(self, name: str, year: int, month: int) -> str:
        """Return why a contract that names a bar of a month is none of the series, or ""."""
        if not name:
            return "no contract is named"
        try:
            last = contract_month(name, year - 1)  # a one-digit year that has just passed is no year to come
        except DataError:
            return "" if name in self._known else f"no month can be read from {name!r}"
        if tuple(last) < (year, month):
            return f"{name} has expired"
        if name not in self._known and self._roots and _root(name) not in self._roots:
            return f"{name} is no contract of {', '.join(sorted(self._roots))}"
        return ""

    def add(self, name: str) -> None:
        """Remember a contract."""
        self._known.add(name)
        self._roots.add(_root(name))


def _root(name: str) -> str:
    return _MONTH.sub("", name).upper()


class Gauge:
    """How far bars of a contract usually reach, from the close before: what goes far beyond it is a leap.

    A leap is measured against the rarest of the recent bars, not the median: a market that wakes up is no fault. Once
    a second bar continues where a leap ended it was none, and that bar passes.
    """

    def __init__(self) -> None:
        """Know nothing yet. `newest`: the start of the last bar that counted, UTC ns."""
        self.newest: int | None = None
        self._reaches: deque[int] = deque()
        self._sorted: list[int] = []
        self._close = 0
        self._leapt: tuple[int, int] | None = None

    @classmethod
    def of(cls, times: Ints, high: Ints, low: Ints, close: Ints) -> Gauge:
        """Return one that has seen bars: their starts, and prices in ticks."""
        gauge = cls()
        if len(close):
            before = close[:-1]
            reaches = np.maximum(high[1:], before) - np.minimum(low[1:], before)
            gauge._reaches = deque(reaches[-_RECENT:].tolist())
            gauge._sorted = sorted(gauge._reaches)
            gauge._close, gauge.newest = int(close[-1]), int(times[-1])
        return gauge

    def moved(self, ticks: tuple[int, int, int, int]) -> bool:
        """Whether a bar shows any other price than the last close."""
        return set(ticks) != {self._close}

    def leap(self, time: int, ticks: tuple[int, int, int, int], limit: float, slots: int = 1) -> str:
        """Return why a bar is a leap, or "": over `limit` times what is rare, or a fifth of the price.

        `slots`: how many have passed since the newest. Prices went on while no bar came: by their root, as they do.
        """
        reach = self._reach(time, ticks)
        if reach > _WILD * (self._close or ticks[0]):
            return f"a reach of {reach} ticks is more than {_WILD:.0%} of the price"
        if len(self._sorted) < _ENOUGH:
            return ""
        rare = max(_LEAST, self._sorted[int(_RARE * (len(self._sorted) - 1))])
        far = reach > limit * rare * math.sqrt(slots)
        return f"a reach of {reach} ticks, where {rare} are rare" if far else ""

    def add(self, time: int, ticks: tuple[int, int, int, int]) -> None:
        """Count a bar as usual."""
        reach = self._reach(time, ticks)
        self._reaches.append(reach)
        insort(self._sorted, reach)
        if len(self._reaches) > _RECENT:
            del self._sorted[bisect_left(self._sorted, self._reaches.popleft())]
        self.newest, self._close, self._leapt = time, ticks[3], None

    def keep_out(self, time: int, ticks: tuple[int, int, int, int]) -> None:
        """Remember where a leap ended."""
        self._leapt = time, ticks[3]

    def _reach(self, time: int, ticks: tuple[int, int, int, int]) -> int:
        _, high, low, _ = ticks
        before = [self._close] if self._close else []
        if self._leapt and self._leapt[0] < time:  # a bar does not confirm itself
            before.append(self._leapt[1])
        return min((max(high, close) - min(low, close) for close in before), default=high - low)


def gauges(bars: pd.DataFrame, instrument: Instrument) -> dict[str, Gauge]:
    """Return contract -> how far its bars reach; "" where none is named."""
    import pandas as pd

    groups = bars.groupby("contract", observed=True) if "contract" in bars else [("", bars)]
    found = {}
    for name, part in groups:
        high, low, close = (instrument.to_ticks(part[column]) for column in PRICES[1:])
        found[str(name)] = Gauge.of(pd.DatetimeIndex(part.index).as_unit("ns").asi8, high, low, close)
    return found
