"""Statistics of round trips, costs and breakdowns, by hand, by slow references and against quantstats."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pandas as pd
import pytest
import quantstats.stats
from hypothesis import given
from hypothesis import strategies as st

from mnqcore.metrics import costs as cost
from mnqcore.metrics import trades as trip

NET = np.array([120.0, -40.0, -10.5, 0.0, 33.25, 66.75, 5.0, -49.5, -20.0, -30.0, 15.0])
NONE = np.empty(0)

cents = st.integers(-100_000, 100_000).map(lambda amount: amount / 100)
nets = st.lists(cents, max_size=60).map(lambda values: np.array(values, dtype=np.float64))


def test_trades_by_hand():
    assert trip.total(NET) == 90.0
    assert trip.win_rate(NET) == pytest.approx(5 / 11)
    assert trip.profit_factor(NET) == pytest.approx(240.0 / 150.0)
    assert trip.expectancy(NET) == pytest.approx(90.0 / 11)
    assert trip.average_win(NET) == 48.0
    assert trip.average_loss(NET) == -30.0
    assert trip.payoff(48.0, -30.0) == 1.6
    assert trip.longest_run(NET > 0) == 3
    assert trip.longest_run(NET < 0) == 3


def test_without_trades_nothing_is_defined():
    for figure in (trip.win_rate, trip.profit_factor, trip.expectancy, trip.average_win, trip.average_loss, trip.mean):
        assert figure(NONE) is None
    assert trip.total(NONE) == 0.0
    assert trip.longest_run(NONE > 0) == 0
    assert trip.per_contract(NONE, NONE.astype(np.int64), 0.5) is None
    assert trip.edge_ratio(NONE, NONE) is None


def test_one_sided_trades_have_no_ratio():
    wins, losses = np.array([5.0, 7.0]), np.array([-5.0, -7.0])
    assert trip.profit_factor(wins) is None
    assert trip.profit_factor(losses) == 0.0
    assert trip.payoff(trip.average_win(wins), trip.average_loss(wins)) is None
    assert trip.payoff(trip.average_win(losses), trip.average_loss(losses)) is None
    assert trip.win_rate(wins) == 1.0
    assert trip.win_rate(losses) == 0.0


def test_sums_of_money_are_exact():
    assert trip.total(np.full(10, 0.1)) == 1.0
    assert trip.total(np.full(1_000_000, 0.62)) == 620_000.0


def test_ratios_agree_with_quantstats():
    # quantstats reads them as daily returns and leaves the zeros out of its win rate.
    traded = NET[NET != 0]
    series = pd.Series(traded / 1e4, index=pd.date_range("2024-01-01", periods=len(traded), freq="D"))
    assert trip.win_rate(traded) == pytest.approx(quantstats.stats.win_rate(series))
    assert trip.profit_factor(traded) == pytest.approx(quantstats.stats.profit_factor(series))
    ours = trip.payoff(trip.average_win(traded), trip.average_loss(traded))
    assert ours == pytest.approx(quantstats.stats.payoff_ratio(series))
    assert trip.average_win(traded) == pytest.approx(quantstats.stats.avg_win(series) * 1e4)
    assert trip.average_loss(traded) == pytest.approx(quantstats.stats.avg_loss(series) * 1e4)
    assert trip.longest_run(traded < 0) == quantstats.stats.consecutive_losses(series)
    assert trip.longest_run(traded > 0) == quantstats.stats.consecutive_wins(series)


@given(nets)
def test_expectancy_is_what_wins_and_losses_bring(net):
    rate_won, rate_lost = np.mean(net > 0) if len(net) else 0.0, np.mean(net < 0) if len(net) else 0.0
    expected = rate_won * (trip.average_win(net) or 0.0) + rate_lost * (trip.average_loss(net) or 0.0)
    assert (trip.expectancy(net) or 0.0) == pytest.approx(expected, abs=1e-9)


@given(st.lists(st.booleans(), max_size=60))
def test_runs_agree_with_groupby(flags):
    slow = max((len(list(run)) for flag, run in itertools.groupby(flags) if flag), default=0)
    assert trip.longest_run(np.array(flags, dtype=bool)) == slow


@given(nets, st.data())
def test_groups_sum_to_the_whole(net, data):
    groups = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(net), max_size=len(net))), dtype=np.int64)
    table = trip.breakdown(net, groups, ["a", "b", "c", "d"], always=["a"])
    assert round(sum(row["net"] for row in table.values()), 6) == trip.total(net)
    assert sum(row["trades"] for row in table.values()) == len(net)
    assert set(table) == {"abcd"[group] for group in groups} | {"a"}
    for at, label in enumerate("abcd"):
        own = net[groups == at]
        if label in table:
            assert table[label]["net"] == trip.total(own)
            assert table[label]["wins"] == np.count_nonzero(own > 0)
            assert table[label]["win_rate"] == trip.win_rate(own)
            assert table[label]["average"] == trip.expectancy(own)
    json.dumps(table, allow_nan=False)


def test_groups_keep_the_order_of_their_labels():
    table = trip.breakdown(np.array([1.0, 2.0, -4.0]), np.array([2, 0, 2]), ["x", "y", "z"])
    assert list(table) == ["x", "z"]
    assert table["z"] == {"trades": 2, "wins": 1, "net": -3.0, "average": -1.5, "win_rate": 0.5}


def test_ticks_a_contract():
    # 2 contracts of a $0.50 tick that made $30, 1 that lost $6: 24 / (3 x 0.5).
    assert trip.per_contract(np.array([30.0, -6.0]), np.array([2, 1]), 0.5) == 16.0


def test_edge_ratio():
    assert trip.edge_ratio(np.array([10.0, 0.0]), np.array([5.0, 20.0])) == 2.5
    assert trip.edge_ratio(np.zeros(2), np.array([5.0, 20.0])) is None


def test_losses_beyond_the_planned_risk():
    # Stop 200 ticks away, 1 tick slippage a fill: 202 ticks lost are the plan, 240 are 38 beyond it, 100 are luck.
    ticks = np.array([-202, -240, -100, -202])
    contracts = np.array([1, 3, 1, 2])
    planned = 200 * 0.5 * contracts
    assert trip.beyond_risk(ticks, planned, contracts, 0.5, 1).tolist() == [0, 38, 0, 0]


def test_slippage_table_of_412_trades():
    # $807.12 net after one tick on each of 824 sides of a $0.50 tick: the screen of the run's output.
    contracts = np.ones(412, dtype=np.int64)
    sides = cost.slipped_sides(contracts, np.zeros(412, dtype=bool))
    before = 807.12 + 412.0
    table = [cost.net_at_slippage(before, sides, 0.5, ticks) for ticks in range(4)]
    assert table == [1219.12, 807.12, 395.12, -16.88]
    assert cost.break_even_slippage(before, sides, 0.5) == pytest.approx(2.959, abs=0.001)


def test_a_target_is_a_limit_order_and_does_not_slip():
    assert cost.slipped_sides(np.array([1, 3, 2]), np.array([False, True, False])) == 2 + 3 + 4


def test_break_even_slippage_edges():
    assert cost.break_even_slippage(0.0, 0, 0.5) is None
    assert cost.break_even_slippage(-12.0, 4, 0.5) == -6.0


@given(st.floats(-1e5, 1e5), st.integers(1, 1000))
def test_net_is_zero_at_the_break_even_slippage(before, sides):
    ticks = cost.break_even_slippage(before, sides, 12.5)
    assert before - ticks * sides * 12.5 == pytest.approx(0.0, abs=1e-6)


def test_turnover_by_hand():
    # Two contracts bought at 20,000 and sold at 20,100, $2 a point: $160,400 in half a year on $10,000.
    traded = cost.notional(np.array([2]), np.array([20_000.0]), np.array([20_100.0]), 2.0)
    assert traded == 160_400.0
    assert cost.turnover(traded, 10_000.0, 0.5) == pytest.approx(32.08)
    assert cost.turnover(traded, -1.0, 0.5) is None
    assert cost.notional(np.array([1]), np.array([-37.5]), np.array([-40.0]), 1000.0) == 77_500.0


def test_time_in_market():
    assert cost.time_in_market(np.array([0, 1, -2, 0])) == 0.5
    assert cost.time_in_market(np.empty(0, dtype=np.int64)) is None
