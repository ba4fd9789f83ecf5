"""The canned bars that a model is tried on: bars of the instrument, in its hours, that never change."""

import numpy as np
import pandas as pd
import pytest

from mnqcore.agent import canned
from mnqcore.market.instruments import catalogue


@pytest.mark.parametrize("instrument", sorted(catalogue()))
@pytest.mark.parametrize(("bar_size", "rth"), [("5 min", False), ("5 min", True), ("30 sec", False), ("1 hour", False)])
def test_they_are_bars_of_the_instrument_in_its_hours(instrument, bar_size, rth):
    facts = catalogue()[instrument]

    view = canned.canned_view(facts, bar_size, rth=rth, further=("contract", "bid_size"))

    bars, times = view.bars, pd.DatetimeIndex(view.bars.index)
    assert len(bars) == canned.BARS == 2000
    assert times.is_monotonic_increasing
    assert times.is_unique
    assert str(times.tz) == "UTC"
    assert times[0] >= pd.Timestamp("2024-01-02", tz="UTC")
    assert (view.calendar.locate(times).session >= 0).all()
    assert (bars[["open", "high", "low", "close"]] > 0).all(axis=None)
    assert (bars["high"] >= bars[["open", "close"]].max(axis=1)).all()
    assert (bars["low"] <= bars[["open", "close"]].min(axis=1)).all()
    assert (bars["volume"] > 0).all()
    for name in ("open", "high", "low", "close"):
        assert (bars[name] == facts.to_ticks(bars[name]) * facts.tick_size).all()
    assert bars["contract"].nunique() == 1
    assert bars["bid_size"].dtype == np.float64
    assert (view.factor == 1.0).all()


def test_they_never_change():
    bars = canned.canned_view(catalogue()["MNQ"], "5 min", rth=False).bars

    assert (str(bars.index[0]), str(bars.index[-1])) == ("2024-01-02 00:00:00+00:00", "2024-01-11 05:35:00+00:00")
    assert bars.iloc[0].tolist() == [14999.75, 15002.75, 14998.75, 15001.0, 314.0]
    assert bars.iloc[-1].tolist() == [14627.75, 14632.25, 14617.25, 14626.25, 4422.0]


def test_a_year_of_days_is_found():
    view = canned.canned_view(catalogue()["MNQ"], "1 day", rth=False)

    assert len(view.bars) == 2000


def test_given_columns_are_float32_within_three_deviations():
    columns = canned.canned_features(5)

    assert columns.shape == (2000, 5)
    assert columns.dtype == np.float32
    assert np.abs(columns).max() <= 3.0
    assert columns.std() == pytest.approx(np.sqrt(3), abs=0.05)
