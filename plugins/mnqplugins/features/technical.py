"""The classic indicators, scale-free and without endless memory, from pandas-ta-classic.

A column is written as its indicator and periods: `rsi_14`, `macd_12_26_9`. None is in price: levels are distances as
a share of price, so that a column means the same at 5,000 and at 25,000.
"""

from __future__ import annotations

import difflib
import math
import re
from typing import TYPE_CHECKING

import attrs

from mnqcore import MarketView, param, plugin

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

_TOLERANCE, _WORST_START = 1e-6, 1e4
"""What a start may still change after the warm-up, and at its worst changes at once, both in standard deviations."""


@attrs.frozen
class _Indicator:
    """What is known of an indicator before any bar is read.

    `lead(*periods)` is the number of bars before its first value, `memory(*periods)` how long the start is felt on.
    """

    example: str
    meaning: str
    lead: Callable[..., int]
    memory: Callable[..., int] = lambda *_: 0

    @property
    def periods(self) -> int:
        return len(re.findall(r"_\d+", self.example))


def _settle(alpha: float, stages: int = 1) -> int:
    """Return the bars after which an exponential average with weight `alpha` has forgotten its start.

    An error of the start shrinks by 1 - alpha a bar; after a second such average it is at most alpha x bars times
    larger. Solved for bars: worst x (alpha bars)^(stages - 1) x (1 - alpha)^bars = tolerance.
    """
    if alpha >= 1:
        return 0
    needed = math.log(_WORST_START / _TOLERANCE)
    bars = needed / -math.log1p(-alpha)
    for _ in range(stages * 3):
        bars = (needed + (stages - 1) * math.log(max(alpha * bars, 1))) / -math.log1p(-alpha)
    return math.ceil(bars)


def _wilder(period: int, stages: int = 1) -> int:
    return _settle(1 / period, stages)


def _exponential(period: int, stages: int = 1) -> int:
    return _settle(2 / (period + 1), stages)


INDICATORS: dict[str, _Indicator] = {
    "rsi": _Indicator("rsi_14", "relative strength, 0 to 100", lambda n: n, _wilder),
    "macd": _Indicator(
        "macd_12_26_9",
        "MACD less its signal line, as a share of the close",
        lambda fast, slow, signal: max(fast, slow) + signal - 2,
        lambda fast, slow, signal: _exponential(max(fast, slow, signal), stages=2),
    ),
    "atr": _Indicator("atr_14", "average true range as a share of the close", lambda n: n, _wilder),
    "bb_pos": _Indicator("bb_pos_20", "place in the Bollinger bands, -1 lower to 1 upper", lambda n: n - 1),
    "bb_width": _Indicator("bb_width_20", "width of the Bollinger bands as a share of their middle", lambda n: n - 1),
    "adx": _Indicator(
        "adx_14", "average directional index, 0 to 100", lambda n: 2 * n - 1, lambda n: _wilder(n, stages=2)
    ),
    "ema_dist": _Indicator("ema_dist_50", "close over its exponential average, less 1", lambda n: n - 1, _exponential),
    "stoch": _Indicator("stoch_14", "stochastic %K, mean of 3, 0 to 100", lambda n: n + 1),
    "obv_chg": _Indicator("obv_chg_20", "change of on-balance volume over the volume, -1 to 1", lambda n: n),
    "vwap_dist": _Indicator(
        "vwap_dist", "close over the trading day's volume-weighted price, less 1", lambda: 0, lambda: 0
    ),
    "cci": _Indicator("cci_20", "commodity channel index", lambda n: n - 1),
    "roc": _Indicator("roc_12", "rate of change in percent", lambda n: n),
    "mfi": _Indicator("mfi_14", "money flow index, 0 to 100", lambda n: n),
}
"""name -> indicator."""


@plugin
class Technical:
    """Compute classic indicators, one column each, named as they are asked for.

    A window without movement or without volume has no defined value in some of them; it gets the neutral one (RSI and
    money flow 50, ADX 0, place in the bands 0, ...), so that every row after the warm-up is finite.
    """

    columns: tuple[str, ...] = param(
        (
            "rsi_14",
            "macd_12_26_9",
            "atr_14",
            "bb_pos_20",
            "adx_14",
            "ema_dist_50",
            "stoch_14",
            "obv_chg_20",
            "vwap_dist",
            "cci_20",
            "roc_12",
        ),
        help="indicator and periods, as in " + ", ".join(known.example for known in INDICATORS.values()),
    )
    day_bars: int = param(
        288, ge=1, le=86_400, unit="bars", help="bars in 24 hours, the warm-up of vwap_dist: 288 of 5 minutes"
    )

    def __attrs_post_init__(self) -> None:
        if not self.columns:
            raise ValueError("columns must name at least one indicator")
        for column in self.columns:
            _parse(column)
        if doubled := {column for column in self.columns if self.columns.count(column) > 1}:
            raise ValueError(f"columns must differ, {sorted(doubled)[0]!r} is there twice")

    @property
    def warmup(self) -> int:
        """Bars after which no value depends on where the history starts, beyond 1e-6 of its standard deviation.

        For averages with endless memory (RSI, ATR, ADX, EMA, MACD) many times their period: see `_settle`.
        """
        return max(self._warmup(column) for column in self.columns)

    def compute(self, view: MarketView) -> pd.DataFrame:
        """Return the columns as float64 on the index of `view.bars`; NaN before an indicator's first value.

        Raises ValueError if `vwap_dist` is asked for and `day_bars` is fewer than a day of such bars has.
        """
        import pandas as pd

        from mnqplugins.features import _indicators

        self._check_day(view.bar_size.total_seconds())
        columns = {}
        for column in self.columns:
            name, periods = _parse(column)
            lead = INDICATORS[name].lead(*periods)
            columns[column] = _indicators.compute(name, periods, lead, view)
        return pd.DataFrame(columns, index=view.bars.index)

    def _warmup(self, column: str) -> int:
        name, periods = _parse(column)
        if name == "vwap_dist":
            return self.day_bars
        return INDICATORS[name].lead(*periods) + INDICATORS[name].memory(*periods)

    def _check_day(self, bar_seconds: float) -> None:
        needed = math.ceil(86_400 / bar_seconds)
        if "vwap_dist" in self.columns and self.day_bars < needed:
            raise ValueError(f"day_bars must be at least {needed} for vwap_dist on these bars, was {self.day_bars}")


def _parse(column: str) -> tuple[str, tuple[int, ...]]:
    """Return indicator and periods of a column's name, or raise ValueError saying what it may have meant."""
    name, digits = re.fullmatch(r"(.*?)((?:_\d{1,4})*)", column, flags=re.DOTALL).groups()  # type: ignore[union-attr]
    known = INDICATORS.get(name)
    if known is None:
        begun = [other for other in INDICATORS if name and other.startswith(name)]
        near = begun or difflib.get_close_matches(name, INDICATORS, n=1)
        hint = f"did you mean {INDICATORS[near[0]].example!r}?" if near else f"known: {', '.join(INDICATORS)}"
        raise ValueError(f"no indicator named {column!r}; {hint}")
    periods = tuple(int(digit) for digit in digits.split("_")[1:])
    if len(periods) != known.periods:
        raise ValueError(f"{column!r} must be written like {known.example!r}")
    if any(period < 2 for period in periods):
        raise ValueError(f"{column!r}: periods must be at least 2")
    return name, periods
