"""The deflated Sharpe ratio: against values worked out by hand, other formulas, simulation, and its own sense."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mnqcore.metrics.deflated import deflated_sharpe, expected_best

RETURNS = np.random.default_rng(3).standard_t(5, 500) * 0.01 + 0.0008
SERIES = st.lists(st.floats(-0.05, 0.05), min_size=5, max_size=60).map(np.array)


def moment(values, power):
    """A standardised moment, summed one by one."""
    mean = math.fsum(values) / len(values)
    variance = math.fsum((value - mean) ** 2 for value in values) / len(values)
    return math.fsum((value - mean) ** power for value in values) / len(values) / variance ** (power / 2)


def plain(returns, trials, spread):
    """The formula as the paper prints it."""
    normal = NormalDist()
    ratio = returns.mean() / returns.std(ddof=1)
    best = 0.0
    if trials > 1:
        first, second = normal.inv_cdf(1 - 1 / trials), normal.inv_cdf(1 - 1 / (trials * math.e))
        best = spread * ((1 - np.euler_gamma) * first + np.euler_gamma * second)
    variance = 1 - moment(returns, 3) * ratio + (moment(returns, 4) - 1) / 4 * ratio**2
    return normal.cdf((ratio - best) * math.sqrt(len(returns) - 1) / math.sqrt(variance))


def test_by_hand():
    # Days 1, 2, 3, 6 %: mean 3, deviations -2 -1 0 3, squares sum to 14, cubes to 18, fourth powers to 98.
    returns = np.array([0.01, 0.02, 0.03, 0.06])
    ratio = 3 / math.sqrt(14 / 3)
    skewness = (18 / 4) / (14 / 4) ** 1.5
    kurtosis = (98 / 4) / (14 / 4) ** 2
    assert (ratio, skewness, kurtosis) == pytest.approx((1.388730, 0.687243, 2.0), abs=1e-6)
    variance = 1 - 0.687243 * 1.388730 + (2.0 - 1) / 4 * 1.388730**2  # 0.527748
    z = 1.388730 * math.sqrt(3) / math.sqrt(variance)  # 3.311046

    assert z == pytest.approx(3.311046, abs=1e-5)
    assert deflated_sharpe(returns, 1, None) == pytest.approx(NormalDist().cdf(3.311046), abs=1e-8)


def test_the_example_of_the_paper():
    # Bailey and Lopez de Prado 2014, "A numerical example": annual Sharpe ratio 2.5 over 1250 days of 250 a year,
    # skewness -3, kurtosis 10; 100 trials whose annual ratios have variance 1/2. Expected best 0.1132, DSR 0.9004.
    best = expected_best(100, math.sqrt(0.5 / 250))
    assert best == pytest.approx(0.1132, abs=5e-5)
    ratio = 2.5 / math.sqrt(250)
    variance = 1 + 3 * ratio + (10 - 1) / 4 * ratio**2
    assert NormalDist().cdf((ratio - best) * math.sqrt(1249) / math.sqrt(variance)) == pytest.approx(0.9004, abs=5e-5)

    # The same through the function, on days that have these moments.
    days = two_valued(-3.0, 1250)
    days = days - days.mean()
    days = days / days.std(ddof=1) + ratio
    assert moment(days, 3) == pytest.approx(-3.0, abs=0.01)
    assert moment(days, 4) == pytest.approx(10.0, abs=0.05)
    assert deflated_sharpe(days * 0.01, 100, math.sqrt(0.5 / 250)) == pytest.approx(0.9004, abs=0.002)


def defined(returns, trials, spread):
    found = deflated_sharpe(returns, trials, spread)
    assert found is not None
    return found


def two_valued(skewness, count):
    """Return numbers of a negative skewness; of two values the kurtosis is skewness ** 2 + 1."""
    rare = round(count * (1 + skewness / math.sqrt(4 + skewness**2)) / 2)
    return np.array([-1.0] * rare + [0.0] * (count - rare))


@pytest.mark.parametrize(("trials", "spread"), [(1, None), (2, 0.02), (40, 0.05), (1_000_000, 0.01)])
def test_it_agrees_with_the_formula_as_printed(trials, spread):
    assert deflated_sharpe(RETURNS, trials, spread) == pytest.approx(plain(RETURNS, trials, spread or 0.0), abs=1e-12)


@settings(deadline=None)
@given(SERIES, st.integers(1, 10_000), st.floats(0, 0.5))
def test_any_days_agree_or_are_undefined(returns, trials, spread):
    assume(returns.std() > 1e-6)

    found = deflated_sharpe(returns, trials, spread)

    with np.errstate(invalid="ignore"):
        expected = plain(returns, trials, spread) if deflated_sharpe(returns, 1, None) is not None else None
    assert found == (None if expected is None else pytest.approx(expected, abs=1e-9))


@settings(deadline=None)
@given(SERIES, st.integers(2, 1000), st.integers(2, 1000), st.floats(0, 0.3), st.floats(0, 0.3))
def test_more_trials_and_a_wider_spread_never_raise_it(returns, fewer, more, narrow, wide):
    assume(deflated_sharpe(returns, 1, None) is not None)
    fewer, more = sorted((fewer, more))
    narrow, wide = sorted((narrow, wide))

    found = defined(returns, fewer, narrow)

    assert defined(returns, more, narrow) <= found + 1e-12
    assert defined(returns, fewer, wide) <= found + 1e-12
    assert found <= defined(returns, 1, None) + 1e-12


@settings(deadline=None)
@given(SERIES, st.floats(0.01, 100))
def test_the_size_of_the_bets_changes_nothing(returns, scale):
    assume(returns.std() > 1e-6)
    found, scaled = deflated_sharpe(returns, 5, 0.1), deflated_sharpe(returns * scale, 5, 0.1)

    assert scaled == (None if found is None else pytest.approx(found, abs=1e-9))


def test_more_days_make_the_same_ratio_surer():
    assert defined(np.tile(RETURNS, 4), 3, 0.01) > defined(RETURNS, 3, 0.01) > 0.5


def test_days_without_an_edge_are_even():
    returns = RETURNS - RETURNS.mean()
    assert deflated_sharpe(returns, 1, None) == pytest.approx(0.5)


@pytest.mark.parametrize("days", [[], [0.01], [0.01, 0.02], [0.01] * 9, [0.0] * 9])
def test_without_enough_days_or_variance_it_is_undefined(days):
    assert deflated_sharpe(np.array(days), 1, None) is None


def test_many_trials_of_unknown_spread_are_undefined():
    assert deflated_sharpe(RETURNS, 2, None) is None
    assert deflated_sharpe(RETURNS, 0, None) is None


@pytest.mark.parametrize("trials", [2, 10, 100, 1000])
def test_the_best_of_worthless_trials_is_what_simulation_finds(trials):
    drawn = np.random.default_rng(8).normal(size=(4000, trials)).max(axis=1)
    assert expected_best(trials, 1.0) == pytest.approx(drawn.mean(), abs=0.05)
    assert expected_best(trials, 0.25) == pytest.approx(expected_best(trials, 1.0) / 4)


def test_one_trial_expects_nothing():
    assert expected_best(1, 0.5) == 0.0
    assert 0 < expected_best(2, 1.0) < expected_best(3, 1.0) < expected_best(10**9, 1.0) < 7


def test_worthless_trials_seldom_look_sure():
    generator = np.random.default_rng(21)
    best = []
    for _ in range(200):
        days = generator.normal(0.0, 0.01, size=(20, 250))
        ratios = days.mean(axis=1) / days.std(axis=1, ddof=1)
        best.append(defined(days[ratios.argmax()], 20, float(ratios.std(ddof=1))))
    assert np.mean(np.array(best) > 0.95) < 0.05
    assert np.mean(best) == pytest.approx(0.5, abs=0.1)
