"""Many accounts at once: each equals an environment of its own, and stable-baselines3 gets what it asks for."""

from typing import Any

import numpy as np
import pytest

from mnqcore.env import TradingEnv, TradingVecEnv
from mnqcore.errors import PluginError, UsageError
from mnqplugins.rewards.drawdown_penalty import DrawdownPenalty
from tests.grounds import arena_of_seed

TAPES = range(700_024, 700_040)
LANES, STEPS = 5, 150


def same(one, other):
    """Whether two observations are the same to the bit."""
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype and np.array_equal(one[name], other[name]) for name in one
    )


def row(seen, lane):
    return {name: values[lane] for name, values in seen.items()}


def side_by_side(arena, observe, seed):
    """Step a TradingVecEnv and as many TradingEnvs, compare all they say, and return (cut off, ended) episodes."""
    together: Any = TradingVecEnv(arena, LANES, observe=observe, seed=seed)
    alone = [TradingEnv(arena=arena, observe=observe) for _ in range(LANES)]
    draw = np.random.default_rng(seed)
    seen = together.reset()
    for lane, env in enumerate(alone):
        assert same(env.reset(seed=seed + lane)[0], row(seen, lane))
    paid, taken = np.zeros(LANES), np.zeros(LANES, int)
    ends = [0, 0]
    for _ in range(STEPS):
        actions = draw.integers(0, 4, LANES)
        seen, rewards, done, infos = together.step(actions)
        assert (rewards.dtype, done.dtype) == (np.float32, np.bool_)
        for lane, env in enumerate(alone):
            last, reward, terminated, truncated, _ = env.step(actions[lane])
            paid[lane] += reward
            taken[lane] += 1
            assert rewards[lane].item() == reward
            assert done[lane] == (terminated or truncated)
            if not done[lane]:
                assert infos[lane] == {}
                assert same(last, row(seen, lane))
                continue
            ends[terminated] += 1
            info = infos[lane]
            assert set(info) == {"terminal_observation", "TimeLimit.truncated", "episode"}
            assert same(last, info["terminal_observation"])
            assert info["TimeLimit.truncated"] is truncated
            assert info["episode"]["r"] == pytest.approx(paid[lane], rel=1e-12, abs=1e-300)
            assert info["episode"]["l"] == taken[lane]
            assert info["episode"]["t"] >= 0
            assert same(env.reset()[0], row(seen, lane))
            paid[lane], taken[lane] = 0.0, 0
    return ends


@pytest.mark.parametrize("observe", ["bar", "window"])
def test_accounts_equal_as_many_environments_of_one(observe):
    ends = np.zeros(2, int)
    for seed in TAPES:
        arena = arena_of_seed(seed, episode_bars=23, start_balance_range=(0.5, 1.5), reward_scale=3.0)
        ends += side_by_side(arena, observe, seed)

    assert (ends >= 50).all()  # cut off at the end of the bars, and ended by a loss


def test_accounts_equal_environments_of_one_when_episodes_last_as_long_as_the_bars():
    for seed in TAPES[:6]:
        side_by_side(arena_of_seed(seed, bars=40, reward=DrawdownPenalty), "bar", seed)


def rolled(arena, seed, steps=60):
    """Return all that many accounts say in some steps, as one list of arrays."""
    env: Any = TradingVecEnv(arena, LANES, seed=seed)
    draw = np.random.default_rng(0)
    told = list(env.reset().values())
    for _ in range(steps):
        seen, rewards, done, _ = env.step(draw.integers(0, 4, LANES))
        told += [*seen.values(), rewards, done]
    return told


def test_the_same_seed_says_the_same_and_another_does_not():
    arena = arena_of_seed(1, episode_bars=20, start_balance_range=(0.5, 1.5))
    first, again, other = rolled(arena, 3), rolled(arena, 3), rolled(arena, 4)

    assert all(map(np.array_equal, first, again))
    assert not all(map(np.array_equal, first, other))


def test_seed_draws_anew_at_the_next_reset():
    arena = arena_of_seed(1, episode_bars=20)
    env, fresh = TradingVecEnv(arena, LANES, seed=1), TradingVecEnv(arena, LANES, seed=9)
    env.reset()
    env.seed(9)

    assert same(env.reset(), fresh.reset())


@pytest.mark.parametrize("observe", ["bar", "window"])
def test_what_a_step_returns_is_changed_by_none_later(observe):
    env: Any = TradingVecEnv(arena_of_seed(2, episode_bars=9), LANES, observe=observe)
    kept = [list(env.reset().values())]
    copies = [[values.copy() for values in kept[0]]]
    for _ in range(30):
        seen, rewards, done, infos = env.step(np.ones(LANES, int))
        arrays = [*seen.values(), rewards, done]
        arrays += [values for info in infos for values in info.get("terminal_observation", {}).values()]
        kept.append(arrays)
        copies.append([values.copy() for values in arrays])

    flat = [values for arrays in kept for values in arrays]
    before = [values for arrays in copies for values in arrays]
    assert all(map(np.array_equal, flat, before))
    assert not any(np.shares_memory(one, other) for at, one in enumerate(flat) for other in flat[:at])


def test_what_is_written_in_an_info_is_not_seen_in_the_next():
    env = TradingVecEnv(arena_of_seed(2), LANES)
    env.reset()
    env.step(np.zeros(LANES, int))[3][0]["mine"] = 1

    assert env.step(np.zeros(LANES, int))[3] == [{}] * LANES


def test_options_say_where_episodes_begin():
    arena = arena_of_seed(2)
    env = TradingVecEnv(arena, 2)
    env.set_options([{"start": 7}, {"start": 9, "balance": arena.initial_balance * 2}])

    assert env.reset()["bar"].ravel().tolist() == [7, 9]
    env.set_options([{}, {"begin": 7}])
    with pytest.raises(UsageError, match="no option 'begin'"):
        env.reset()


@pytest.mark.parametrize("actions", [[0, 4], [-1, 0], [0], [0, 0, 0], [[0, 0]]])
def test_an_action_that_is_none_is_refused(actions):
    env = TradingVecEnv(arena_of_seed(2), 2)
    env.reset()

    with pytest.raises(UsageError, match="0 HOLD, 1 BUY, 2 SELL or 3 CLOSE"):
        env.step(np.array(actions))


@pytest.mark.parametrize("given", [[np.nan, 0.0], [0.0, np.inf], [0.0], [0.0, 0.0, 0.0], [[0.0, 0.0]]])
def test_rewards_that_are_not_one_finite_number_an_account_are_refused(given):
    env = TradingVecEnv(arena_of_seed(2, reward=lambda: lambda step: np.array(given)), 2)
    env.reset()

    with pytest.raises(PluginError, match="not one finite number an account"):
        env.step(np.zeros(2, int))


def test_no_accounts_and_unknown_observations_are_refused():
    with pytest.raises(UsageError, match="one account or more"):
        TradingVecEnv(arena_of_seed(2), 0)
    with pytest.raises(UsageError, match="cannot observe 'bars'"):
        TradingVecEnv(arena_of_seed(2), 1, observe="bars")


def test_attributes_are_shared_and_accounts_have_no_methods():
    env = TradingVecEnv(arena_of_seed(2), 2)

    assert env.get_attr("arena") == [env.arena, env.arena]
    assert env.env_is_wrapped(TradingVecEnv) == [False, False]
    with pytest.raises(AttributeError, match="has no method 'reset'"):
        env.env_method("reset")
