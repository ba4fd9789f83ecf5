"""Rule agents: each action from its own past alone, and what a chart reader would expect."""

import attrs
import numpy as np
import pandas as pd
import pytest

from mnqcore import Action
from mnqcore.causality import check
from mnqplugins.agents.breakout import Breakout
from mnqplugins.agents.buy_and_hold import BuyAndHold
from mnqplugins.agents.flat import Flat
from mnqplugins.agents.random import Random
from mnqplugins.agents.sma_cross import SmaCross

AGENTS = [Flat(), BuyAndHold(), Random(rate=0.3), SmaCross(), SmaCross(fast=1, slow=2), Breakout(), Breakout(bars=1)]


@pytest.fixture(scope="module")
def view(make_view):
    return make_view(days=8, start="2024-03-06")  # holds a roll


def closes(view, prices):
    bars = view.bars.iloc[: len(prices)].assign(open=prices, high=prices, low=prices, close=prices)
    return attrs.evolve(view, bars=bars.astype({"close": "float64"}), factor=view.factor.iloc[: len(prices)])


@pytest.mark.parametrize("agent", AGENTS, ids=lambda agent: type(agent).__name__)
def test_signals_are_actions_on_the_index_of_the_bars_and_causal(agent, view):
    actions = agent.signals(view)

    assert actions.dtype == np.int8
    assert actions.index.equals(view.bars.index)
    assert set(actions.unique()) <= set(Action)
    assert (actions.iloc[: agent.warmup] == Action.HOLD).all()
    assert check(agent.signals, view, agent.warmup) == []


@pytest.mark.parametrize("agent", AGENTS, ids=lambda agent: type(agent).__name__)
@pytest.mark.parametrize("start", [1, 333])
def test_a_different_start_changes_no_action_after_the_warm_up(agent, start, view):
    later = attrs.evolve(view, bars=view.bars.iloc[start:], factor=view.factor.iloc[start:])

    pd.testing.assert_series_equal(
        agent.signals(view).iloc[start + agent.warmup :], agent.signals(later).iloc[agent.warmup :]
    )


@pytest.mark.parametrize("agent", AGENTS, ids=lambda agent: type(agent).__name__)
@pytest.mark.parametrize("bars", [1, 2, 50])
def test_a_short_history_is_held_through(agent, bars, view):
    short = attrs.evolve(view, bars=view.bars.iloc[:bars], factor=view.factor.iloc[:bars])

    assert len(agent.signals(short)) == bars


def test_flat_holds_and_buy_and_hold_buys(view):
    assert (Flat().signals(view) == Action.HOLD).all()
    assert (BuyAndHold().signals(view) == Action.BUY).all()


def test_sma_cross_acts_on_the_bar_of_the_crossing_alone(view):
    #  price          10 10 10 13 13 13  7  7  7  7
    #  mean of 2       - 10 10 11.5 13 13 10  7  7  7
    #  mean of 3       -  - 10 11 12 13 11  9  7  7
    prices = [10, 10, 10, 13, 13, 13, 7, 7, 7, 7]

    actions = SmaCross(fast=2, slow=3).signals(closes(view, prices))

    assert actions.tolist() == [0, 0, 0, 1, 0, 0, 2, 0, 0, 0]


def test_sma_cross_is_the_crossing_of_plain_means(view):
    close = view.bars["close"]
    above = close.rolling(20).mean() > close.rolling(50).mean()
    known = pd.Series(np.arange(len(close)) >= 49, index=close.index)
    before = above.shift(1, fill_value=False)
    usual = known.shift(1, fill_value=False)

    actions = SmaCross(fast=20, slow=50).signals(view)

    pd.testing.assert_series_equal(actions == Action.BUY, usual & above & ~before, check_names=False)
    pd.testing.assert_series_equal(actions == Action.SELL, usual & ~above & before, check_names=False)


def test_sma_cross_refuses_a_fast_average_that_is_not_faster():
    with pytest.raises(ValueError, match="fast must be below slow, was fast = 50 and slow = 50"):
        SmaCross(fast=50, slow=50)


def test_breakout_compares_with_the_bars_before(view):
    prices = [10, 11, 12, 12, 13, 11, 10, 10, 9.5, 12.9, 13.5]

    actions = Breakout(bars=3).signals(closes(view, prices))

    #                        3: equal  4: above 12      8: below 10    9: 12.9 > 10  10: 13.5 > 12.9
    assert actions.tolist() == [0, 0, 0, 0, 1, 2, 2, 0, 2, 1, 1]


def test_random_acts_at_its_rate_with_equal_odds(make_view):
    actions = Random(rate=0.3, seed=1).signals(make_view(days=60))
    share = actions.value_counts(normalize=True)

    assert share[Action.HOLD] == pytest.approx(0.7, abs=0.02)
    assert [share[action] for action in (Action.BUY, Action.SELL, Action.CLOSE)] == pytest.approx([0.1] * 3, abs=0.012)


def test_random_depends_on_its_seed_alone(view):
    first, other = Random(rate=0.5, seed=1), Random(rate=0.5, seed=2)

    assert first.signals(view).equals(first.signals(view))
    assert (first.signals(view) == other.signals(view)).mean() < 0.6
    assert (Random(rate=0.0).signals(view) == Action.HOLD).all()
    assert (Random(rate=1.0).signals(view) != Action.HOLD).all()


@pytest.mark.parametrize("wrong", [{"rate": 1.5}, {"rate": -0.1}, {"seed": -1}])
def test_random_refuses_what_is_no_rate(wrong):
    with pytest.raises(ValueError, match="must be at"):
        Random(**wrong)
