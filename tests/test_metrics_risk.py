"""Tail risk, ratios and the Sharpe ratio's interval, against empyrical, quantstats and known distributions."""

from __future__ import annotations

import math

import empyrical
import numpy as np
import pandas as pd
import pytest
import quantstats.stats
from hypothesis import given
from hypothesis import strategies as st

from mnqcore.errors import DataError
from mnqcore.metrics import bootstrap, chance_of_loss, risk, sharpe_interval
from mnqcore.metrics.drawdown import max_drawdown_share, valleys
from mnqcore.metrics.returns import cagr

RETURNS = np.random.default_rng(3).standard_t(4, 333) * 0.01 + 0.0004
LEVELS = [0.95, 0.99]

some_returns = st.lists(st.floats(-0.5, 0.5), min_size=1, max_size=300).map(np.array)


def as_series(returns):
    return pd.Series(returns, index=pd.date_range("2024-01-01", periods=len(returns), freq="D"))


def interval(returns, days_per_year, **options):
    return sharpe_interval(returns, days_per_year, **options)


def chance(changes, limit, **options):
    return chance_of_loss(changes, limit, **options)


@pytest.mark.parametrize("level", LEVELS)
@given(returns=some_returns)
def test_tails_agree_with_empyrical(level, returns):
    cutoff = round(1 - level, 2)
    at_risk = risk.value_at_risk(returns, level)
    beyond = risk.conditional_value_at_risk(returns, level)
    assert at_risk == pytest.approx(-empyrical.value_at_risk(returns, cutoff), abs=1e-12)
    assert beyond == pytest.approx(-empyrical.conditional_value_at_risk(returns, cutoff), abs=1e-12)
    assert beyond is not None
    assert at_risk is not None
    assert beyond >= at_risk - 1e-12


def test_tails_by_hand():
    returns = np.arange(-10, 91) / 1000.0  # 101 days, the worst -1 %, then -0.9 %, ...
    assert risk.value_at_risk(returns, 0.99) == pytest.approx(0.009)
    assert risk.conditional_value_at_risk(returns, 0.99) == pytest.approx((0.010 + 0.009) / 2)
    assert risk.value_at_risk(returns, 0.95) == pytest.approx(0.005)
    assert risk.conditional_value_at_risk(returns, 0.95) == pytest.approx(sum(range(5, 11)) / 6 / 1000)


def test_a_run_that_never_loses_has_a_value_at_risk_below_zero():
    assert risk.value_at_risk(np.array([0.01, 0.02]), 0.99) == pytest.approx(-0.0101)


@pytest.mark.parametrize("days_per_year", [252.0, 258.6])
def test_ratios_agree_with_empyrical_and_quantstats(days_per_year):
    ratio, downside = risk.sharpe(RETURNS, days_per_year), risk.sortino(RETURNS, days_per_year)
    assert ratio == pytest.approx(empyrical.sharpe_ratio(RETURNS, annualization=days_per_year))
    assert ratio == pytest.approx(quantstats.stats.sharpe(as_series(RETURNS), periods=days_per_year))
    assert downside == pytest.approx(empyrical.sortino_ratio(RETURNS, annualization=days_per_year))
    assert downside == pytest.approx(quantstats.stats.sortino(as_series(RETURNS), periods=days_per_year))


def test_calmar_agrees_with_empyrical():
    equity = np.cumprod(np.append(1000.0, 1.0 + RETURNS))[1:]
    growth = cagr(equity[-1] / 1000.0 - 1.0, len(RETURNS), 252.0)
    share = max_drawdown_share(valleys(equity, 1000.0))
    assert risk.calmar(growth, share) == pytest.approx(empyrical.calmar_ratio(RETURNS, annualization=252))
    assert risk.calmar(growth, share) == pytest.approx(quantstats.stats.calmar(as_series(RETURNS), periods=252))


def test_ratios_without_a_denominator_are_undefined():
    assert risk.sharpe(np.full(30, 0.001), 252.0) is None
    assert risk.sharpe(np.zeros(30), 252.0) is None
    assert risk.sharpe(np.array([0.01]), 252.0) is None
    assert risk.sortino(np.array([0.01, 0.02, 0.0]), 252.0) is None
    assert risk.sortino(np.array([-0.01]), 252.0) is None
    assert risk.calmar(0.1, 0.0) is None
    assert risk.calmar(None, -0.1) is None
    assert risk.value_at_risk(np.empty(0), 0.95) is None
    assert risk.conditional_value_at_risk(np.empty(0), 0.95) is None


def test_losing_every_day_alike_has_a_sortino_but_no_sharpe():
    assert risk.sharpe(np.full(9, -0.01), 252.0) is None
    assert risk.sortino(np.full(9, -0.01), 252.0) == pytest.approx(-math.sqrt(252))


@given(st.integers(1, 60), st.integers(1, 80), st.integers(0, 5))
def test_draws_are_made_of_consecutive_days_in_a_circle(days, length, seed):
    drawn = bootstrap.resample(np.arange(days, dtype=np.float64), length, 4, seed).astype(int)
    assert drawn.shape == (4, length)
    block = bootstrap.block_length(days)
    for row in drawn.tolist():
        for at in range(1, length):
            assert at % block == 0 or row[at] == (row[at - 1] + 1) % days


def test_every_day_is_drawn_equally_often():
    drawn = bootstrap.resample(np.arange(20.0), 20, 20_000, 1)
    counts = np.bincount(drawn.astype(int).ravel(), minlength=20)
    assert counts / counts.mean() == pytest.approx(np.ones(20), abs=0.05)


@pytest.mark.parametrize(("days", "block"), [(1, 1), (8, 2), (9, 3), (27, 3), (28, 4), (252, 7), (1000, 10)])
def test_blocks_are_as_long_as_the_cube_root(days, block):
    assert bootstrap.block_length(days) == block


def test_the_interval_holds_the_ratio_and_repeats_with_its_seed():
    low, high = interval(RETURNS, 252.0)
    point = RETURNS.mean() / RETURNS.std(ddof=1) * math.sqrt(252)
    assert low < point < high
    assert interval(RETURNS, 252.0) == (low, high)
    assert interval(RETURNS, 252.0, seed=1) != (low, high)
    wider = interval(RETURNS, 252.0, level=0.99)
    assert wider[0] < low < high < wider[1]


def test_the_interval_has_the_width_that_theory_gives_independent_days():
    # Lo 2002, "The statistics of Sharpe ratios": variance (1 + SR^2 / 2) / n of the daily ratio.
    returns = np.random.default_rng(5).normal(0.0005, 0.01, 1000)
    low, high = interval(returns, 252.0)
    daily = returns.mean() / returns.std(ddof=1)
    expected = 2 * 1.96 * math.sqrt((1 + daily**2 / 2) / 1000 * 252)
    assert high - low == pytest.approx(expected, rel=0.07)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    generator = np.random.default_rng(11)
    true = 0.05 * math.sqrt(252)
    intervals = [interval(generator.normal(0.0005, 0.01, 250), 252.0, draws=300) for _ in range(300)]
    covered = sum(low <= true <= high for low, high in intervals)
    assert 0.88 <= covered / 300 <= 0.98


def test_days_that_follow_each_other_widen_the_interval():
    noise = np.random.default_rng(2).normal(0.0, 0.01, 2000)
    trending = np.empty_like(noise)
    trending[0] = noise[0]
    for at in range(1, len(noise)):
        trending[at] = 0.6 * trending[at - 1] + noise[at]
    shuffled = np.random.default_rng(3).permutation(trending)
    widths = [np.diff(interval(returns, 252.0))[0] for returns in (trending, shuffled)]
    assert widths[0] > 1.4 * widths[1]


def test_no_interval_from_few_days_or_without_variance():
    assert interval(RETURNS[:9], 252.0) is None
    assert interval(RETURNS[:10], 252.0) is not None
    assert interval(np.full(50, 0.01), 252.0) is None
    assert interval(np.empty(0), 252.0) is None


def test_draws_without_variance_are_left_out_of_the_interval():
    returns = np.zeros(400)
    returns[7] = 0.05
    low, high = interval(returns, 252.0)
    assert 0.0 < low <= high < 3.0


def test_the_chance_of_loss_by_hand():
    falling = np.full(20, -0.1)
    assert chance(falling, 1.0, days=10) == 1.0  # met to the cent by the sum of ten dimes
    assert chance(falling, 1.01, days=10) == 0.0
    assert chance(np.full(20, 5.0), 0.01) == 0.0
    # The peak counts, not the start: up 10 on each of 10 days, then down 1: below the start never, below the peak yes.
    assert chance(np.array([10.0] * 10 + [-1.0]), 1.0, days=252) == pytest.approx(1.0, abs=0.001)


def test_the_chance_of_loss_agrees_with_independent_days():
    changes = np.random.default_rng(8).normal(2.0, 100.0, 4000)
    generator = np.random.default_rng(9)
    hits = 0
    for _ in range(2000):
        equity = peak = 0.0
        for change in generator.choice(changes, 60):
            equity += change
            peak = max(peak, equity)
            if peak - equity >= 1200.0:
                hits += 1
                break
    assert 0.1 < hits / 2000 < 0.9
    assert chance(changes, 1200.0, days=60) == pytest.approx(hits / 2000, abs=0.05)


def test_a_larger_limit_is_met_less_often_and_the_seed_repeats():
    changes = np.random.default_rng(4).normal(0.0, 50.0, 300)
    chances = [chance(changes, limit, draws=1000) for limit in (200.0, 900.0, 1500.0, 4000.0)]
    assert chances == sorted(chances, reverse=True)
    assert chances[0] > chances[-1]
    assert chance(changes, 900.0, draws=1000) == chances[1]


def test_the_chance_of_loss_needs_ten_days_and_a_limit():
    assert chance(np.full(9, -1.0), 5.0) is None
    for limit, days in ((0.0, 252), (-5.0, 252), (math.nan, 252), (5.0, 0)):
        with pytest.raises(DataError, match="above 0"):
            chance(np.full(20, -1.0), limit, days=days)
