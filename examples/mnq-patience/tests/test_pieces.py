"""The pieces do what their docstrings say."""

import attrs
import numpy as np
import pandas as pd
import pytest
from mnq_patience.pieces import Efficiency, Fading, Grow, Patience, Room

from mnqcore import Entry, Instrument, MarketView, ObservationSpec, Step


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


def test_the_stop_has_room_for_some_usual_bars_in_raw_price():
    bars = pd.DataFrame({"high": [4.0, 8.0, 6.0, 5.0, 5.0], "low": [0.0, 0.0, 0.0, 5.0, 5.0]})
    mnq = Instrument(name="X", tick_size=0.25, tick_value=0.5, margin=1.0, calendar="CME_Equity")
    view = MarketView(bars=bars, factor=bars["high"] * 0 + 2, instrument=mnq, calendar=None, bar_size=None)

    stop = Room(ranges=3.0, bars=2).levels(view)["stop"]

    # heights 4, 8, 6, 0, 0; half of them in raw price; a tick where nothing moves
    assert stop.tolist()[1:] == [9.0, 10.5, 4.5, 0.25]
    assert stop.isna().tolist() == [True, False, False, False, False]


def test_older_bars_fade_at_a_pace_that_is_learnt():
    torch = pytest.importorskip("torch")
    network = Fading(width=2).build(ObservationSpec(lookback=3, n_features=1, names=("a",)))
    with torch.no_grad():
        network.pace.fill_(np.log(np.log(2.0)))  # each bar weighs half of the one after it: 1, 2 and 4 of 7
        network.mix.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))  # the average, and the last bar
        network.mix.bias.zero_()

    seen = torch.atanh(network(torch.tensor([[[0.7], [0.0], [0.0]], [[0.0], [0.0], [0.7]]])))

    torch.testing.assert_close(seen, torch.tensor([[0.1, 0.0], [0.4, 0.7]]))
    network(torch.ones(4, 3, 1)).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
