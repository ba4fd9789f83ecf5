"""The pieces do what their docstrings say."""

import attrs
import numpy as np
import pandas as pd
from mnq_patience.pieces import Efficiency, Grow, Patience

from mnqcore import Entry, MarketView, Step


def filled(cls, **values):
    """A value object with zeros where the test does not care."""
    return cls(**{field.name: np.zeros(2, dtype=np.int64) for field in attrs.fields(cls)} | values)


def test_a_bar_in_position_costs():
    step = filled(Step, equity_change=np.array([10.0, 10.0]), position=np.array([0, -1]))

    assert Patience(cost=4.0)(step).tolist() == [10.0, 6.0]


def test_the_size_grows_after_enough_trades():
    entry = filled(Entry, wins=np.array([3, 6]), losses=np.array([6, 4]))

    assert Grow(after=10, contracts=3)(entry).tolist() == [1, 3]


def test_a_straight_path_is_1_a_zigzag_0_and_the_start_unknown():
    bars = pd.DataFrame({"close": [1.0, 2.0, 3.0, 2.0, 2.0, 2.0]})
    view = MarketView(bars=bars, factor=bars["close"] * 0 + 1, instrument=None, calendar=None, bar_size=None)

    column = Efficiency(bars=2).compute(view)["efficiency_2"]

    assert column.tolist()[2:] == [1.0, 0.0, 1.0, 0.0]
    assert column.isna().tolist() == [True, True, False, False, False, False]
