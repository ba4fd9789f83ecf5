"""The columns are those of `technical`, and the warm-up is long enough."""

import numpy as np
import pandas as pd
import pytest

from mnqcore import BarRequest, Calendar, MarketView
from mnqcore.causality import check
from mnqcore.market.instruments import catalogue
from mnqcore.testing.market import Made
from mnqcore.testing.market import view as market
from mnqplugins.data.synthetic import Synthetic
from mnqplugins.features.technical import Technical

pytest.importorskip("talib", reason="TA-Lib is not installed here")
from mnq_talib.features import INDICATORS, TaLib

MNQ = catalogue()["MNQ"]
SIZE = pd.Timedelta(minutes=5)
ALL = tuple(known.example for known in INDICATORS.values())


def view_of(bars):
    return MarketView(bars=bars, factor=bars["close"] * 0 + 1, instrument=MNQ, calendar=Calendar(MNQ), bar_size=SIZE)


@pytest.fixture(scope="module")
def view():
    bars = Synthetic(days=20, holes=0.0).bars(BarRequest(instrument=MNQ, bar_size=SIZE))
    first = bars["contract"].iloc[0]
    return view_of(bars[bars["contract"] == first].drop(columns="contract"))


@pytest.mark.parametrize("column", ALL)
def test_each_column_is_that_of_technical(column, view):
    ours = TaLib(columns=(column,))
    own = ours.compute(view)[column]
    other = Technical(columns=(column,)).compute(view)[column]
    settled = ours.warmup

    assert own.isna().tolist() == other.isna().tolist()
    assert np.abs(own - other).iloc[settled:].max() <= 1e-6 * other.std()


@pytest.mark.parametrize("column", ALL)
def test_each_column_is_that_of_technical_behind_a_roll(column):
    """Prices there are scaled: no whole ticks any more."""
    rolled = market(Made(bars=3_000))
    assert rolled.factor.nunique() > 1
    ours = TaLib(columns=(column,))

    own, other = ours.compute(rolled)[column], Technical(columns=(column,)).compute(rolled)[column]

    assert np.abs(own - other).iloc[ours.warmup :].max() <= 1e-6 * other.std()


def test_nothing_looks_ahead_and_the_warm_up_is_enough(view):
    features = TaLib(columns=ALL)

    assert check(features.compute, view, features.warmup) == []


def test_bars_without_movement_or_volume_have_neutral_values():
    index = pd.date_range("2024-07-01", periods=600, freq="5min", tz="UTC", name="time")
    bars = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), 100.0) | {"volume": 0.0}, index=index)
    features = TaLib(columns=ALL)

    last = features.compute(view_of(bars)).iloc[-1]

    assert np.isfinite(last).all()
    assert last["mfi_14"] == 50.0
    assert last["bb_pos_20"] == 0.0


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ((), "at least one"),
        (("rsi",), "must be written like 'rsi_14'"),
        (("vwap_dist",), "no indicator named 'vwap_dist'"),
        (("rsi_1",), "at least 2"),
        (("rsi_14", "rsi_14"), "is there twice"),
    ],
)
def test_columns_that_make_no_sense_are_refused(columns, words):
    with pytest.raises(ValueError, match=words):
        TaLib(columns=columns)
