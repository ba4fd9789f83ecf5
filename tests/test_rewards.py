"""Rewards: each against a slow reference, one account at a time; what they remember, and what they leave alone."""

import itertools
import math

import attrs
import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from mnqcore import Step
from mnqcore.api import states
from mnqcore.metrics import drawdown
from mnqcore.plugins import load
from mnqcore.simulator.account import Account
from mnqplugins.rewards.differential_sharpe import DifferentialSharpe
from mnqplugins.rewards.drawdown_penalty import DrawdownPenalty
from mnqplugins.rewards.equity_change import EquityChange
from mnqplugins.rewards.trade_pnl import TradePnl
from tests.tapes import random_case

REWARDS = [
    TradePnl(),
    EquityChange(),
    DrawdownPenalty(),
    DrawdownPenalty(weight=0.3),
    DifferentialSharpe(),
    DifferentialSharpe(rate=0.3, floor=1e-9),
]
NAMES = [field.name for field in attrs.fields(Step)]
CHANGE = st.one_of(st.just(0.0), st.floats(-50, 50), st.floats(-1e4, 1e4))
PATHS = {
    "flat": [0.0] * 50,
    "up": [12.5] * 50,
    "flat, then a crash": [0.0] * 3000 + [-9_000.0, 5.0],
    "ruin": [-10_000.0, 0.0, 0.0],
    "far below nothing": [-1e9, 1e9, -1e9],
    "a cent": [0.01, -0.01] * 20,
    "the least there is": [5e-324, -5e-324, 1e-300],
}
"""Changes of equity that a formula might not survive."""


def step_of(account, change, balance=10_000.0, **more):
    """A Step of n accounts: `account` holds equity and peak before it, and is moved."""
    account["equity"] = account["equity"] + change
    account["peak"] = np.maximum(account["peak"], account["equity"])
    given = {
        "realised": change / 2,
        "equity": account["equity"].copy(),
        "equity_change": np.array(change, dtype=float),
        "peak_equity": account["peak"].copy(),
        "initial_balance": np.full(len(change), balance),
    }
    return Step(**dict.fromkeys(NAMES, np.zeros(len(change))) | given | more)


def steps_of(changes, balance=10_000.0):
    """Yield a Step for each row of changes (steps, accounts)."""
    account = {"equity": np.full(changes.shape[1], balance), "peak": np.full(changes.shape[1], balance)}
    for change in changes:
        yield step_of(account, change, balance)


def paid(reward, steps, n=1):
    """Return what a new reward of the same settings pays, (steps, n)."""
    fresh = type(reward)(**attrs.asdict(reward, filter=lambda field, _: field.init))
    start(fresh, np.ones(n, np.bool_))
    return np.array([fresh(step) for step in steps]).reshape(-1, n)


def start(reward, lanes):
    if hasattr(reward, "reset"):
        reward.reset(lanes)


# Against slow references


def slow_trade_pnl(_reward, changes, _balance):
    return [change / 2 for change in changes]


def slow_equity_change(_reward, changes, _balance):
    return list(changes)


def slow_drawdown_penalty(reward, changes, balance):
    equity = list(itertools.accumulate(changes, initial=balance))
    deepest = [
        max(max(equity[: at + 1]) - value for at, value in enumerate(equity[:n])) for n in range(1, len(equity) + 1)
    ]
    new = [after - before for before, after in itertools.pairwise(deepest)]
    return [change - reward.weight * depth for change, depth in zip(changes, new, strict=True)]


def slow_differential_sharpe(reward, changes, balance):
    """The formula as published, from sums over all earlier returns."""
    rate, returns, rewards = reward.rate, [change / balance for change in changes], []
    for now, r in enumerate(returns):
        weights = [rate * (1 - rate) ** (now - 1 - at) for at in range(now)]
        a = math.fsum(weight * earlier for weight, earlier in zip(weights, returns, strict=False))
        b = math.fsum(weight * earlier**2 for weight, earlier in zip(weights, returns, strict=False))
        deviation = math.sqrt(max(b - a * a, reward.floor**2))
        rewards.append((b * (r - a) - 0.5 * a * (r * r - b)) / deviation**3)
    return rewards


SLOW = {
    TradePnl: slow_trade_pnl,
    EquityChange: slow_equity_change,
    DrawdownPenalty: slow_drawdown_penalty,
    DifferentialSharpe: slow_differential_sharpe,
}


@pytest.mark.parametrize("reward", [one for one in REWARDS if getattr(one, "floor", 1) > 1e-8], ids=repr)
@hypothesis.given(changes=st.lists(CHANGE, min_size=1, max_size=30), balance=st.floats(100, 1e6))
@hypothesis.settings(max_examples=60, deadline=None)
def test_a_reward_is_what_the_slow_reference_says(reward, changes, balance):
    fast = paid(reward, steps_of(np.array(changes)[:, None], balance))[:, 0]

    slow = SLOW[type(reward)](reward, changes, balance)
    largest = max(1.0, *(abs(value) for value in slow))
    np.testing.assert_allclose(fast, slow, rtol=1e-8, atol=1e-9 * max(largest, balance))


def test_the_differential_sharpe_ratio_is_the_derivative_of_the_sharpe_ratio():
    rng = np.random.default_rng(1)
    changes = rng.normal(3.0, 40.0, 400)
    reward = DifferentialSharpe(rate=0.02)
    last = paid(reward, steps_of(changes[:, None]))[-1, 0]

    a = b = 0.0
    for r in changes[:-1] / 10_000.0:
        a, b = a + 0.02 * (r - a), b + 0.02 * (r * r - b)
    r = changes[-1] / 10_000.0

    def sharpe(rate):
        mean, square = a + rate * (r - a), b + rate * (r * r - b)
        return mean / math.sqrt(square - mean * mean)

    assert b - a * a > reward.floor**2
    assert last == pytest.approx((sharpe(1e-6) - sharpe(-1e-6)) / 2e-6, rel=1e-5)


def test_the_differential_sharpe_ratio_by_hand():
    # returns 0.01, 0.03 and rate 0.5: A = 0.005, B = 0.00005; variance 0.000025, its root 0.005
    rewards = paid(DifferentialSharpe(rate=0.5), steps_of(np.array([[100.0], [300.0]])))

    assert rewards[0, 0] == 0.0
    assert rewards[1, 0] == pytest.approx((0.00005 * 0.025 - 0.0025 * (0.0009 - 0.00005)) / 0.005**3)


def test_a_trade_after_a_long_rest_does_not_outweigh_all_others():
    rest = np.concatenate([[40.0, -30.0, 50.0], np.zeros(2000), [40.0, -30.0, 50.0]])[:, None]

    assert np.abs(paid(DifferentialSharpe(), steps_of(rest))).max() < 10
    assert np.abs(paid(DifferentialSharpe(floor=1e-9), steps_of(rest))).max() > 1000


def test_the_drawdown_penalty_by_hand():
    # equity 110, 90, 100, 95, 80, 120 of 100: depths 0, 20, 10, 15, 30, 0
    changes = np.array([10.0, -20.0, 10.0, -5.0, -15.0, 40.0])[:, None]

    rewards = paid(DrawdownPenalty(weight=2.0), steps_of(changes, 100.0))

    assert rewards[:, 0].tolist() == [10.0, -60.0, 10.0, -5.0, -35.0, 40.0]


# Sums over the simulator's own steps


def simulated(seed, lanes=1):
    """Yield the steps of random actions on a random tape, until an account is done."""
    case = random_case(seed, bars=80)
    account = Account(case.tape, case.orders, case.law, initial_balance=case.dollars, lanes=lanes)
    rng = np.random.default_rng(seed)
    while not account.ledger["done"].any():
        actions = rng.integers(0, 4, lanes).astype(np.int8)
        yield account.step(actions, lambda entry: np.minimum(entry.max_contracts, 1 + entry.lanes % 3))


@pytest.mark.parametrize("seed", range(12))
def test_rewards_add_up_to_what_the_account_made(seed):
    steps = list(simulated(seed))
    equity = np.array([step.equity[0] for step in steps])
    balance = steps[0].initial_balance[0]
    depth = -drawdown.max_drawdown(drawdown.valleys(equity, balance))

    sums = {
        type(one).__name__: paid(one, steps).sum() for one in (TradePnl(), EquityChange(), DrawdownPenalty(weight=0.5))
    }

    profit = equity[-1] - balance
    assert steps[-1].position[0] == 0
    assert sums["TradePnl"] == pytest.approx(profit, abs=1e-6)
    assert sums["EquityChange"] == pytest.approx(profit, abs=1e-6)
    assert sums["DrawdownPenalty"] == pytest.approx(profit - 0.5 * depth, abs=1e-6)


# What every reward must keep to


@pytest.mark.parametrize("reward", REWARDS, ids=repr)
@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("balance", [1.0, 10_000.0])
def test_a_reward_is_always_finite(reward, name, balance):
    rewards = paid(reward, steps_of(np.array(PATHS[name])[:, None], balance))

    assert rewards.dtype == np.float64
    assert np.isfinite(rewards).all()


@pytest.mark.parametrize("reward", REWARDS, ids=repr)
@hypothesis.given(st.lists(st.lists(CHANGE, min_size=3, max_size=3), min_size=1, max_size=20))
@hypothesis.settings(max_examples=40, deadline=None)
def test_all_accounts_at_once_are_one_by_one(reward, rows):
    changes = np.array(rows)

    together = paid(reward, steps_of(changes), n=3)

    alone = [paid(reward, steps_of(changes[:, [lane]]))[:, 0] for lane in range(3)]
    np.testing.assert_array_equal(together, np.array(alone).T)


@pytest.mark.parametrize("reward", REWARDS, ids=repr)
def test_a_reset_forgets_everything_of_its_accounts_and_nothing_of_others(reward):
    rng = np.random.default_rng(0)
    before, after = rng.normal(0, 50, (30, 4)), rng.normal(0, 50, (30, 4))
    again = np.array([True, False, True, False])

    account = {"equity": np.full(4, 10_000.0), "peak": np.full(4, 10_000.0)}
    start(reward, np.ones(4, np.bool_))
    for change in before:
        reward(step_of(account, change))
    start(reward, again)
    account = {name: np.where(again, 10_000.0, values) for name, values in account.items()}
    rewards = np.array([reward(step_of(account, change)) for change in after])

    new = paid(reward, steps_of(after), n=4)
    going_on = paid(reward, steps_of(np.concatenate([before, after])), n=4)[30:]
    np.testing.assert_array_equal(rewards, np.where(again, new, going_on))
    assert not states(type(reward)) or not np.array_equal(new, going_on)


@pytest.mark.parametrize("reward", REWARDS, ids=repr)
def test_nothing_of_a_step_is_kept_or_handed_out(reward):
    """The arrays of a step may be overwritten by the next one, and what was returned may be kept."""
    changes = np.random.default_rng(3).normal(0, 50, (6, 2))
    start(reward, np.ones(2, np.bool_))

    rewards = []
    for step in steps_of(changes):
        fields = attrs.asdict(step, recurse=False)
        for column in fields.values():
            column.flags.writeable = False  # as the simulator's are
        found = reward(step)
        assert not any(np.shares_memory(found, column) for column in fields.values())
        for column in fields.values():
            column.flags.writeable = True
            column[:] = 77
        rewards.append(found)

    np.testing.assert_array_equal(rewards, paid(reward, steps_of(changes), n=2))


def test_the_built_in_rewards_are_those_tested_here():
    built_in = [one.load() for one in load(environ={"MNQ_LOAD_PLUGINS": ""}).registered if one.kind == "reward"]

    assert set(built_in) == {type(one) for one in REWARDS} == set(SLOW)


@pytest.mark.parametrize(
    ("reward", "wrong"),
    [(DrawdownPenalty, {"weight": -1.0}), (DifferentialSharpe, {"rate": 0.0}), (DifferentialSharpe, {"floor": 0.0})],
)
def test_settings_out_of_range_are_refused(reward, wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be"):
        reward(**wrong)
