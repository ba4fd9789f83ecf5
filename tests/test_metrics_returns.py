"""Daily equity and returns, against hand-computed values, empyrical and quantstats."""

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
from mnqcore.metrics import returns as earned
from mnqcore.metrics.returns import daily_equity

RETURNS = np.random.default_rng(7).normal(0.0005, 0.012, 260)


def as_series(returns):
    return pd.Series(returns, index=pd.date_range("2024-01-01", periods=len(returns), freq="D"))


def test_daily_equity_is_the_last_of_each_day():
    days = np.array(["2024-03-01", "2024-03-01", "2024-03-04", "2024-03-05", "2024-03-05"], dtype="datetime64[D]")
    which, daily = daily_equity(np.array([1.0, 2.0, 3.0, 4.0, 5.0]), days)
    assert which.astype(str).tolist() == ["2024-03-01", "2024-03-04", "2024-03-05"]
    assert daily.tolist() == [2.0, 3.0, 5.0]


@given(st.lists(st.tuples(st.integers(0, 40), st.floats(-1e6, 1e6)), max_size=80))
def test_daily_equity_agrees_with_a_dict(rows):
    rows.sort(key=lambda row: row[0])
    last = dict(rows)
    days = np.datetime64("2024-01-01") + np.array([day for day, _ in rows], dtype=np.int64)
    which, daily = daily_equity(np.array([value for _, value in rows]), days)
    assert (which - np.datetime64("2024-01-01")).astype(int).tolist() == sorted(last)
    assert daily.tolist() == [last[day] for day in sorted(last)]


def test_days_out_of_order_are_refused_with_their_place():
    days = np.array(["2024-03-01", "2024-03-05", "2024-03-04"], dtype="datetime64[D]")
    with pytest.raises(DataError, match=r"bar 2[\s\S]*2024-03-04 after 2024-03-05"):
        daily_equity(np.ones(3), days)


def test_the_first_day_counts_from_the_initial_balance():
    assert earned.daily_returns(np.array([110.0, 99.0, 99.0]), 100.0) == pytest.approx([0.1, -0.1, 0.0])
    assert earned.daily_changes(np.array([110.0, 99.0, 99.0]), 100.0).tolist() == [10.0, -11.0, 0.0]


@pytest.mark.parametrize("end", [0.0, -40.0])
def test_returns_end_with_minus_one_on_the_day_of_ruin(end):
    daily = np.array([50.0, end, 70.0])
    assert earned.daily_returns(daily, 100.0).tolist() == [-0.5, -1.0]
    assert earned.total_return(daily, 100.0) == -1.0


def test_ruin_on_the_first_day():
    assert earned.daily_returns(np.array([-5.0, 10.0]), 100.0).tolist() == [-1.0]


def test_no_days_have_no_returns():
    none = np.empty(0)
    assert len(earned.daily_returns(none, 100.0)) == 0
    assert earned.total_return(none, 100.0) == 0.0
    assert earned.annualised_return(none, 252.0) is None
    assert earned.cagr(0.0, 0, 252.0) is None
    assert earned.volatility(none, 252.0) is None


@given(st.lists(st.floats(1.0, 1e6), min_size=1, max_size=50))
def test_daily_returns_compound_to_the_total(daily):
    equity = np.array(daily)
    compounded = np.prod(1.0 + earned.daily_returns(equity, 1000.0)) - 1.0
    assert earned.total_return(equity, 1000.0) == pytest.approx(compounded, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("days_per_year", [252.0, 258.6])
def test_growth_and_volatility_agree_with_empyrical_and_quantstats(days_per_year):
    total = float(np.prod(1.0 + RETURNS) - 1.0)
    growth = earned.cagr(total, len(RETURNS), days_per_year)
    volatility = earned.volatility(RETURNS, days_per_year)
    assert growth == pytest.approx(empyrical.cagr(RETURNS, annualization=days_per_year))
    assert growth == pytest.approx(quantstats.stats.cagr(as_series(RETURNS), periods=days_per_year))
    assert volatility == pytest.approx(empyrical.annual_volatility(RETURNS, annualization=days_per_year))
    assert volatility == pytest.approx(quantstats.stats.volatility(as_series(RETURNS), periods=days_per_year))
    # The arithmetic return is Sharpe's numerator: the ratio times its denominator.
    ratio = empyrical.sharpe_ratio(RETURNS, annualization=days_per_year)
    assert earned.annualised_return(RETURNS, days_per_year) == pytest.approx(ratio * volatility)


def test_cagr_by_hand():
    assert earned.cagr(0.21, 504, 252.0) == pytest.approx(0.10)
    assert earned.cagr(0.10, 126, 252.0) == pytest.approx(0.21)
    assert earned.cagr(-1.0, 10, 252.0) == -1.0
    assert earned.cagr(-1.3, 10, 252.0) == -1.0


def test_a_cagr_beyond_the_range_of_a_float_is_undefined():
    assert earned.cagr(20.0, 1, 252.0) is None


def test_volatility_without_variance():
    assert earned.volatility(np.full(20, 0.01), 252.0) == 0.0
    grown = earned.daily_returns(1000.0 * np.cumprod(np.full(199, 1.01)), 1000.0)
    assert grown.std(ddof=1) > 0.0  # rounding of the equity, not risk
    assert earned.volatility(grown, 252.0) == 0.0
    assert earned.volatility(np.array([0.01]), 252.0) is None


def test_volatility_by_hand():
    assert earned.volatility(np.array([0.01, 0.03]), 4.0) == pytest.approx(2 * math.sqrt(0.0002))


def test_worst_days_are_losses_only_and_the_earlier_first():
    days = np.datetime64("2024-01-01") + np.arange(6)
    daily = np.array([90.0, 95.0, 85.0, 75.5, 75.5, 74.25])
    assert earned.worst_days(days, daily, 100.0, 3) == [
        {"day": "2024-01-01", "change": -10.0},
        {"day": "2024-01-03", "change": -10.0},
        {"day": "2024-01-04", "change": -9.5},
    ]
    assert len(earned.worst_days(days, daily, 100.0)) == 4


def test_of_many_equal_losses_the_first_are_the_worst_days():
    days = np.datetime64("2024-01-01") + np.arange(400)
    daily = 10_000.0 - np.cumsum(np.arange(400) % 3 == 1)
    worst = [day["day"] for day in earned.worst_days(days, daily, 10_000.0)]
    assert worst == ["2024-01-02", "2024-01-05", "2024-01-08", "2024-01-11", "2024-01-14"]
