"""The arithmetic of `technical`: each indicator made scale-free, its undefined rows made neutral."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd
    from numpy.typing import NDArray

    from mnqcore import MarketView

    Floats = NDArray[np.float64]

_NEUTRAL = {"rsi": 50.0, "mfi": 50.0}
"""indicator -> its value in a window without movement or volume; 0 for the others."""


def compute(name: str, periods: tuple[int, ...], lead: int, view: MarketView) -> Floats:
    """Return the indicator on every bar of `view`: NaN in the first `lead` rows, finite after them."""
    n = len(view.bars)
    if n <= lead:
        return np.full(n, np.nan)
    values = np.array(_COMPUTE[name](view, *periods), dtype=np.float64)
    values[:lead] = np.nan
    rest = values[lead:]
    rest[~np.isfinite(rest)] = _NEUTRAL.get(name, 0.0)
    return values


def _library() -> Any:
    with warnings.catch_warnings():
        # Its import alone uses what pandas 3 has deprecated.
        warnings.filterwarnings("ignore", module="pandas_ta_classic")
        import pandas_ta_classic
    return pandas_ta_classic


def _rsi(view: MarketView, period: int) -> pd.Series:
    values: pd.Series = _library().rsi(view.bars["close"], length=period, talib=False)
    return values


def _macd(view: MarketView, fast: int, slow: int, signal: int) -> pd.Series:
    close = view.bars["close"]
    lines = _library().macd(close, fast=fast, slow=slow, signal=signal, talib=False)
    histogram: pd.Series = lines.iloc[:, 1]
    return histogram / close


def _atr(view: MarketView, period: int) -> pd.Series:
    bars = view.bars
    values: pd.Series = _library().atr(bars["high"], bars["low"], bars["close"], length=period, talib=False)
    return values / bars["close"]


def _bands(view: MarketView, period: int) -> tuple[pd.Series, pd.Series, pd.Series]:
    bands = _library().bbands(view.bars["close"], length=period, std=2.0, talib=False)
    return bands.iloc[:, 0], bands.iloc[:, 1], bands.iloc[:, 2]


def _bb_pos(view: MarketView, period: int) -> pd.Series:
    lower, middle, upper = _bands(view, period)
    half = (upper - lower) / 2
    # A window of one price has a width of rounding errors only: no place in it means anything.
    return ((view.bars["close"] - middle) / half).where(half > 1e-9 * middle, 0.0)


def _bb_width(view: MarketView, period: int) -> pd.Series:
    lower, middle, upper = _bands(view, period)
    return (upper - lower) / middle


def _adx(view: MarketView, period: int) -> pd.Series:
    bars = view.bars
    values: pd.Series = _library().adx(bars["high"], bars["low"], bars["close"], length=period, talib=False).iloc[:, 0]
    return values


def _ema_dist(view: MarketView, period: int) -> pd.Series:
    close = view.bars["close"]
    average: pd.Series = _library().ema(close, length=period, talib=False)
    return close / average - 1


def _stoch(view: MarketView, period: int) -> pd.Series:
    bars = view.bars
    lines = _library().stoch(
        bars["high"], bars["low"], bars["close"], k=period, d=1, smooth_k=3, talib=False
    )  # %D is not asked
    percent_k: pd.Series = lines.iloc[:, 0]
    return percent_k


def _obv_chg(view: MarketView, period: int) -> pd.Series:
    bars = view.bars
    balance: pd.Series = _library().obv(bars["close"], bars["volume"], talib=False)
    return balance.diff(period) / bars["volume"].rolling(period).sum()


def _vwap_dist(view: MarketView) -> Floats:
    import pandas as pd

    bars = view.bars
    typical = (bars["high"] + bars["low"] + bars["close"]) / 3
    day = view.calendar.locate(pd.DatetimeIndex(bars.index)).day
    # Sums by group start from nothing each day: the library's own VWAP knows only midnight in UTC.
    sums = pd.DataFrame({"money": typical * bars["volume"], "volume": bars["volume"]}).groupby(day).cumsum()
    average = (sums["money"] / sums["volume"]).where(sums["volume"] > 0, typical)
    return (bars["close"] / average - 1).to_numpy(dtype=np.float64)


def _cci(view: MarketView, period: int) -> pd.Series:
    bars = view.bars
    values: pd.Series = _library().cci(bars["high"], bars["low"], bars["close"], length=period, talib=False)
    return values


def _roc(view: MarketView, period: int) -> pd.Series:
    values: pd.Series = _library().roc(view.bars["close"], length=period, talib=False)
    return values


def _mfi(view: MarketView, period: int) -> pd.Series:
    bars = view.bars
    values: pd.Series = _library().mfi(
        bars["high"], bars["low"], bars["close"], bars["volume"], length=period, talib=False
    )
    return values


_COMPUTE: dict[str, Callable[..., pd.Series | Floats]] = {
    "rsi": _rsi,
    "macd": _macd,
    "atr": _atr,
    "bb_pos": _bb_pos,
    "bb_width": _bb_width,
    "adx": _adx,
    "ema_dist": _ema_dist,
    "stoch": _stoch,
    "obv_chg": _obv_chg,
    "vwap_dist": _vwap_dist,
    "cci": _cci,
    "roc": _roc,
    "mfi": _mfi,
}
"""indicator -> its function of (view, *periods)."""
