"""Indicators by TA-Lib, scale-free, named as those of the built-in `technical`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from mnqcore import MarketView, param, plugin

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Columns = Mapping[str, Floats]


class Indicator(NamedTuple):
    """What is known of an indicator before any bar is read.

    `lead`: bars before its first value. `memory`: bars after which no value depends on the start of the history,
    beyond 1e-6 of its standard deviation. `neutral`: its value where nothing moves or trades. Both are functions of the
    periods.
    """

    example: str
    compute: Callable[..., Floats]
    lead: Callable[..., int]
    memory: Callable[..., int]
    neutral: float = 0.0


def _rsi(lib: Any, bars: Columns, n: int) -> Floats:
    return lib.RSI(bars["close"], timeperiod=n)


def _macd(lib: Any, bars: Columns, fast: int, slow: int, signal: int) -> Floats:
    *_, histogram = lib.MACD(bars["close"], fastperiod=fast, slowperiod=slow, signalperiod=signal)
    return histogram / bars["close"]


def _atr(lib: Any, bars: Columns, n: int) -> Floats:
    return lib.ATR(bars["high"], bars["low"], bars["close"], timeperiod=n) / bars["close"]


def _bb_pos(lib: Any, bars: Columns, n: int) -> Floats:
    import numpy as np

    upper, middle, lower = lib.BBANDS(bars["close"], timeperiod=n, nbdevup=2.0, nbdevdn=2.0)
    half = (upper - lower) / 2
    # A window of one price has a width of rounding errors only: no place in it means anything.
    moving = half > 1e-9 * middle
    return np.divide(bars["close"] - middle, half, out=np.where(np.isnan(half), np.nan, 0.0), where=moving)


def _bb_width(lib: Any, bars: Columns, n: int) -> Floats:
    upper, middle, lower = lib.BBANDS(bars["close"], timeperiod=n, nbdevup=2.0, nbdevdn=2.0)
    return (upper - lower) / middle


def _adx(lib: Any, bars: Columns, n: int) -> Floats:
    return lib.ADX(bars["high"], bars["low"], bars["close"], timeperiod=n)


def _ema_dist(lib: Any, bars: Columns, n: int) -> Floats:
    return bars["close"] / lib.EMA(bars["close"], timeperiod=n) - 1


def _stoch(lib: Any, bars: Columns, n: int) -> Floats:
    # The slow %K is the fast %D, which the library gives two bars sooner.
    _, percent_k = lib.STOCHF(bars["high"], bars["low"], bars["close"], fastk_period=n, fastd_period=3)
    return percent_k


def _obv_chg(lib: Any, bars: Columns, n: int) -> Floats:
    import numpy as np

    balance = lib.OBV(bars["close"], bars["volume"])
    change = np.full(len(balance), np.nan)
    change[n:] = balance[n:] - balance[:-n]
    return change / lib.SUM(bars["volume"], timeperiod=n)


def _cci(lib: Any, bars: Columns, n: int) -> Floats:
    return lib.CCI(bars["high"], bars["low"], bars["close"], timeperiod=n)


def _roc(lib: Any, bars: Columns, n: int) -> Floats:
    return lib.ROC(bars["close"], timeperiod=n)


def _mfi(lib: Any, bars: Columns, n: int) -> Floats:
    import numpy as np

    volume = bars["volume"] * 1e6  # the library takes flows below 1 for none
    typical = (bars["high"] + bars["low"] + bars["close"]) / 3
    moved = np.append(0.0, (np.diff(typical) != 0) * volume[1:])
    values = lib.MFI(bars["high"], bars["low"], bars["close"], volume, timeperiod=n)
    return np.where(lib.SUM(moved, timeperiod=n) == 0, np.nan, values)


def _none(*_periods: int) -> int:
    return 0


# An average that weighs the newest value by alpha has forgotten its start to 1e-10 after 23 / alpha bars (Wilder's
# alpha is 1 / n, the exponential's 2 / (n + 1)); one average after another takes a quarter longer.
INDICATORS: dict[str, Indicator] = {
    "rsi": Indicator("rsi_14", _rsi, lambda n: n, lambda n: 24 * n, neutral=50.0),
    "macd": Indicator(
        "macd_12_26_9", _macd, lambda fast, slow, sig: max(fast, slow) + sig - 2, lambda *ns: 18 * max(ns)
    ),
    "atr": Indicator("atr_14", _atr, lambda n: n, lambda n: 24 * n),
    "bb_pos": Indicator("bb_pos_20", _bb_pos, lambda n: n - 1, _none),
    "bb_width": Indicator("bb_width_20", _bb_width, lambda n: n - 1, _none),
    "adx": Indicator("adx_14", _adx, lambda n: 2 * n - 1, lambda n: 32 * n),
    "ema_dist": Indicator("ema_dist_50", _ema_dist, lambda n: n - 1, lambda n: 13 * n),
    "stoch": Indicator("stoch_14", _stoch, lambda n: n + 1, _none),
    "obv_chg": Indicator("obv_chg_20", _obv_chg, lambda n: n, _none),
    "cci": Indicator("cci_20", _cci, lambda n: n - 1, _none),
    "roc": Indicator("roc_12", _roc, lambda n: n, _none),
    "mfi": Indicator("mfi_14", _mfi, lambda n: n, _none, neutral=50.0),
}
"""name -> indicator."""


@plugin
class TaLib:
    """Compute classic indicators by TA-Lib, one column each, named as they are asked for."""

    columns: tuple[str, ...] = param(
        ("rsi_14", "macd_12_26_9", "atr_14", "bb_pos_20", "adx_14", "ema_dist_50", "stoch_14", "obv_chg_20", "cci_20",
         "roc_12"),
        help="indicator and periods, as in " + ", ".join(known.example for known in INDICATORS.values()),
    )  # fmt: skip

    def __attrs_post_init__(self) -> None:
        if not self.columns:
            raise ValueError("columns must name at least one indicator")
        for column in self.columns:
            _parse(column)
        if doubled := {column for column in self.columns if self.columns.count(column) > 1}:
            raise ValueError(f"columns must differ, {sorted(doubled)[0]!r} is there twice")

    @property
    def warmup(self) -> int:
        """Bars after which no value depends on where the history starts, beyond 1e-6 of its standard deviation."""
        return max(known.lead(*periods) + known.memory(*periods) for known, periods in map(_parse, self.columns))

    def compute(self, view: MarketView) -> pd.DataFrame:
        """Return the columns as float64 on the index of `view.bars`; NaN before an indicator's first value."""
        import pandas as pd
        import talib

        bars = {name: view.bars[name].to_numpy("float64") for name in ("high", "low", "close", "volume")}
        found = {column: _column(talib, bars, *_parse(column)) for column in self.columns}
        return pd.DataFrame(found, index=view.bars.index)


def _column(lib: Any, bars: Columns, known: Indicator, periods: tuple[int, ...]) -> Floats:
    """Return an indicator on every bar: NaN in the first `lead` rows, finite after them."""
    import numpy as np

    n, lead = len(bars["close"]), known.lead(*periods)
    if n <= lead:
        return np.full(n, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):  # nothing moved or traded
        values = known.compute(lib, bars, *periods)
    values[:lead] = np.nan
    values[lead:][~np.isfinite(values[lead:])] = known.neutral
    return values


def _parse(column: str) -> tuple[Indicator, tuple[int, ...]]:
    """Return indicator and periods of a column's name; ValueError says what it may have meant."""
    found = re.fullmatch(r"(.*?)((?:_\d{1,4})*)", column, flags=re.DOTALL)
    name, digits = found.groups() if found else (column, "")
    known = INDICATORS.get(name)
    if known is None:
        near = [other.example for key, other in INDICATORS.items() if name and key.startswith(name)]
        examples = near or [other.example for other in INDICATORS.values()]
        raise ValueError(f"no indicator named {column!r}; known: {', '.join(examples)}")
    periods = tuple(int(digit) for digit in digits.split("_")[1:])
    if len(periods) != known.example.count("_") - name.count("_"):
        raise ValueError(f"{column!r} must be written like {known.example!r}")
    if any(period < 2 for period in periods):
        raise ValueError(f"{column!r}: periods must be at least 2")
    return known, periods
