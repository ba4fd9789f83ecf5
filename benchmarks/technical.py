"""The `technical` feature set against its library called by hand for the same eleven indicators."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import pandas as pd

from benchmarks.timing import Contestant, Times, alternate

if TYPE_CHECKING:
    from benchmarks.workload import Workload


def measure(work: Workload, rounds: int) -> Times:
    """Time `technical` (scaled, warm-up known, neutral where undefined) and `by hand` (the library's own columns)."""
    from mnqcore import Calendar, MarketView
    from mnqcore.market.instruments import catalogue
    from mnqplugins.features.technical import Technical

    frame, instrument = work.frame(), catalogue()["MNQ"]
    view = MarketView(
        bars=frame,
        factor=pd.Series(1.0, index=frame.index),
        instrument=instrument,
        calendar=Calendar(instrument),
        bar_size=pd.Timedelta(minutes=5),
    )
    features, library = Technical(), _library()
    return alternate(
        {
            "technical": Contestant(lambda _: features.compute(view)),
            "by hand": Contestant(lambda _: by_hand(library, frame)),
        },
        rounds,
    )


def by_hand(library: Any, bars: pd.DataFrame) -> pd.DataFrame:
    """Return the library's columns of the default indicators, as a notebook would call them."""
    high, low, close, volume = (bars[name] for name in ("high", "low", "close", "volume"))
    columns: tuple[Any, ...] = (
        library.rsi(close, length=14, talib=False),
        library.macd(close, fast=12, slow=26, signal=9, talib=False),
        library.atr(high, low, close, length=14, talib=False),
        library.bbands(close, length=20, std=2.0, talib=False),
        library.adx(high, low, close, length=14, talib=False),
        library.ema(close, length=50, talib=False),
        library.stoch(high, low, close, k=14, d=3, smooth_k=3, talib=False),
        library.obv(close, volume, talib=False),
        library.vwap(high, low, close, volume),
        library.cci(high, low, close, length=20, talib=False),
        library.roc(close, length=12, talib=False),
    )
    table: pd.DataFrame = pd.concat(columns, axis=1)
    return table


def _library() -> Any:
    warnings.filterwarnings("ignore", module="pandas_ta_classic")  # what pandas has deprecated, and zones it drops
    import pandas_ta_classic

    return pandas_ta_classic
