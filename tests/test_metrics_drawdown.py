"""Drawdowns, against a slow obvious reference, empyrical and quantstats."""

from __future__ import annotations

import empyrical
import numpy as np
import pandas as pd
import pytest
import quantstats.stats
from hypothesis import example, given
from hypothesis import strategies as st

from mnqcore.metrics import drawdown as fall

BALANCE = 1000.0


def slow(equity, balance):
    """Largest drawdown bar by bar: (dollars, share, peak bar, bottom bar, recovery bar)."""
    peak, at = balance, 0
    worst, share, course = 0.0, 0.0, None
    for bar, value in enumerate(equity):
        if value > peak:
            peak, at = value, bar
        share = min(share, (value - peak) / peak)
        if value - peak < worst:
            worst, course = value - peak, [at, bar, None, peak]
    if course is None:
        return worst, max(share, -1.0), None
    for bar in range(course[1], len(equity)):
        if equity[bar] >= course[3]:
            course[2] = bar
            break
    return worst, max(share, -1.0), tuple(course[:3])


def compounded(returns):
    return BALANCE * np.cumprod(1.0 + returns)


def measured(equity, balance):
    valleys = fall.valleys(equity, balance)
    course = fall.course(equity, valleys)
    places = None if course is None else (course.peak, course.bottom, course.recovered)
    return fall.max_drawdown(valleys), fall.max_drawdown_share(valleys), places


@given(st.lists(st.integers(-400, 2400), min_size=1, max_size=200))
@example([1000])
@example([1000, 1000])
@example([999, 1000, 999, 1000])
@example([1001, 999])
@example([1500, 700, 1500, 700, 1501])
@example([-5])
def test_drawdowns_agree_with_a_loop_over_bars(values):
    equity = np.array(values, dtype=np.float64)
    assert measured(equity, BALANCE) == slow(values, BALANCE)


@pytest.mark.parametrize("drift", [-0.5, 0.0, 0.3, 4.0])
@pytest.mark.parametrize("bars", [63, 64, 65, 128, 5000])
def test_long_curves_agree_with_a_loop_over_bars(drift, bars):
    equity = 10_000.0 + np.cumsum(np.rint(np.random.default_rng(bars).normal(drift, 3.0, bars) * 2) / 2)
    assert measured(equity, 10_000.0) == slow(equity.tolist(), 10_000.0)


def test_the_share_agrees_with_empyrical_and_quantstats():
    returns = np.random.default_rng(6).normal(0.0, 0.01, 300)
    share = fall.max_drawdown_share(fall.valleys(compounded(returns), BALANCE))
    series = pd.Series(returns, index=pd.date_range("2024-01-01", periods=300, freq="D"))
    assert share == pytest.approx(empyrical.max_drawdown(returns))
    assert share == pytest.approx(quantstats.stats.max_drawdown(series))


def test_drawdowns_by_hand():
    equity = np.array([1100.0, 990.0, 1045.0, 1100.0, 1200.0, 1150.0])
    assert measured(equity, BALANCE) == (-110.0, pytest.approx(-0.1), (0, 1, 3))


def test_a_loss_from_the_start_falls_from_the_initial_balance():
    assert measured(np.array([900.0, 950.0]), BALANCE) == (-100.0, pytest.approx(-0.1), (0, 0, None))


def test_owing_money_is_all_of_the_peak_and_more_dollars():
    assert measured(np.array([1000.0, -200.0]), BALANCE) == (-1200.0, -1.0, (0, 1, None))


def test_a_curve_that_never_falls_has_no_drawdown():
    rising = np.arange(1000.0, 1300.0)
    assert measured(rising, BALANCE) == (0.0, 0.0, None)
    assert fall.recovery_factor(300.0, 0.0) is None


def test_recovery_factor_by_hand():
    assert fall.recovery_factor(300.0, -120.0) == 2.5
    assert fall.recovery_factor(-60.0, -120.0) == -0.5


def test_episodes_by_hand():
    spells = fall.episodes(np.array([990.0, 1000.0, 1100.0, 1045.0, 880.0, 1100.0, 1200.0, 1199.0]), BALANCE)
    assert spells.depth.tolist() == [-10.0, -220.0, -1.0]
    assert spells.share == pytest.approx([-0.01, -0.2, -1 / 1200])
    assert spells.days.tolist() == [1, 2, 1]


def test_episodes_agree_with_quantstats():
    returns = np.random.default_rng(12).normal(0.001, 0.01, 300)
    daily = compounded(returns)
    series = pd.Series(returns, index=pd.date_range("2024-01-01", periods=300, freq="D"))
    theirs = quantstats.stats.drawdown_details(quantstats.stats.to_drawdown_series(series))
    ours = fall.episodes(daily, BALANCE)
    assert ours.days.tolist() == theirs["days"].tolist()
    assert ours.share * 100 == pytest.approx(theirs["max drawdown"].to_numpy())


@given(st.lists(st.integers(-400, 2400), max_size=60))
def test_episodes_cover_every_day_below_the_peak(values):
    daily = np.array(values, dtype=np.float64)
    spells = fall.episodes(daily, BALANCE)
    peak = fall.running_peak(daily, BALANCE) if values else daily
    assert spells.days.sum() == np.count_nonzero(daily < peak)
    assert (spells.depth < 0).all()
    assert ((spells.share >= -1) & (spells.share < 0)).all()
    assert spells.depth.min(initial=0.0) == min([0.0, *(daily - peak)])
