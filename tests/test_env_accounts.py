"""`TradingVecEnv`: many accounts against a slow environment, against single ones, and by the rules of its protocol."""

import copy
import warnings
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3 import A2C
from stable_baselines3.common.vec_env import VecMonitor

from mnqcore.api.values import ExitReason, Window
from mnqcore.env import TradingEnv, TradingVecEnv
from mnqcore.env.accounts import Accounts
from mnqcore.errors import DataError, PluginError, UsageError
from tests.arenas import LOOKBACK, SlowEnv, arena_of, random_arena
from tests.tapes import Case, records, rulebook

LANES = 5


def actions_of(seed, steps, lanes=LANES):
    return np.random.default_rng(seed).choice(4, (steps, lanes), p=(0.5, 0.2, 0.2, 0.1))


def same(got, want, where):
    """Compare an observation, whatever of it is seen, with one of the slow environment."""
    for name, values in got.items():
        assert values.dtype == want[name].dtype, where
        assert values.tolist() == want[name].tolist(), (where, name)


def agree_on(seeds, steps=150):
    """Compare with the slow environment step by step; return how the episodes ended."""
    ended = {"terminated": 0, "truncated": 0}
    for seed in seeds:
        case, arena = random_arena(seed)
        env = TradingVecEnv(arena, LANES, observe=("bar", "window")[seed % 2], seed=seed)
        slow = [SlowEnv(case, arena, seed + lane) for lane in range(LANES)]
        first = env.reset()
        for lane in range(LANES):
            same({name: values[lane] for name, values in first.items()}, slow[lane].seen(), seed)
        for number, actions in enumerate(actions_of(seed, steps)):
            seen, rewards, done, infos = env.step(actions)
            for lane in range(LANES):
                where = (seed, number, lane)
                want, reward, terminated, truncated, last, episode = slow[lane].step(int(actions[lane]))
                same({name: values[lane] for name, values in seen.items()}, want, where)
                assert rewards[lane] == pytest.approx(reward, rel=1e-6, abs=1e-9), where
                assert done[lane] == (terminated or truncated), where
                ended["terminated"] += terminated
                ended["truncated"] += truncated
                if not done[lane]:
                    assert infos[lane] == {}, where
                    continue
                assert infos[lane]["TimeLimit.truncated"] is truncated, where
                same(infos[lane]["terminal_observation"], last, where)
                assert infos[lane]["episode"]["r"] == pytest.approx(episode[0], rel=1e-5, abs=1e-6)
                assert infos[lane]["episode"]["l"] == episode[1]
    return ended


def test_a_slow_environment_agrees_on_random_tapes():
    ended = agree_on(range(60))

    assert min(ended.values()) > 100


@pytest.mark.proof
def test_a_slow_environment_agrees_on_many_more_tapes():
    agree_on(range(1_000, 1_400))


@pytest.mark.parametrize("observe", ["bar", "window"])
@pytest.mark.parametrize("seed", range(8))
def test_many_accounts_are_as_many_single_environments(seed, observe):
    _, arena = random_arena(seed)
    together = TradingVecEnv(arena, LANES, observe=observe, seed=seed)
    alone = [TradingEnv(arena=arena, observe=observe) for _ in range(LANES)]
    first = together.reset()
    for lane, env in enumerate(alone):
        seen, _ = env.reset(seed=seed + lane)
        assert all((first[name][lane] == seen[name]).all() for name in seen)
    for actions in actions_of(seed, 120):
        seen, rewards, done, infos = together.step(actions)
        for lane, env in enumerate(alone):
            one, reward, terminated, truncated, _ = env.step(actions[lane])
            assert (float(rewards[lane]), bool(done[lane])) == (reward, terminated or truncated)
            if terminated or truncated:
                assert infos[lane]["TimeLimit.truncated"] is truncated
                assert all((infos[lane]["terminal_observation"][name] == one[name]).all() for name in one)
                one, _ = env.reset()
            assert all((seen[name][lane] == one[name]).all() for name in one)
            assert all(seen[name].dtype == one[name].dtype for name in one)


def test_seeds_say_what_happens_and_only_they():
    _, arena = random_arena(4)
    env, other = TradingVecEnv(arena, LANES, seed=3), TradingVecEnv(arena, LANES, seed=9)

    def episodes(env):
        starts = [env.reset()["bar"].tolist() for _ in range(4)]
        return starts, [env.step(actions)[1].tolist() for actions in actions_of(1, 60)]

    kept = episodes(env)
    assert env.seed(3) == [3, 4, 5, 6, 7]
    assert episodes(env) == kept
    assert episodes(other) != kept
    other.seed(3)
    assert episodes(other) == kept
    assert len({tuple(map(tuple, start)) for start in kept[0]}) > 1


@pytest.mark.parametrize("observe", ["bar", "window"])
def test_nothing_that_was_returned_changes_later(observe):
    _, arena = random_arena(1)
    env = TradingVecEnv(arena, LANES, observe=observe)
    kept: list[Any] = [(env.reset(), None, None, None)]
    kept += [env.step(actions) for actions in actions_of(1, 40)]
    copies = copy.deepcopy(kept)
    for actions in actions_of(2, 40):
        env.step(actions)

    for (seen, rewards, done, infos), before in zip(kept, copies, strict=True):
        assert all((values == before[0][name]).all() for name, values in seen.items())
        if rewards is not None:
            assert (rewards.tolist(), done.tolist()) == (before[1].tolist(), before[2].tolist())
            assert str(infos) == str(before[3])
    arrays = [array for seen, rewards, done, _ in kept[1:] for array in (*seen.values(), rewards, done)]
    for at, one in enumerate(arrays):
        assert not any(np.shares_memory(one, other) for other in arrays[at + 1 :])
        assert not np.shares_memory(one, arena.features)


def test_who_writes_into_an_info_writes_into_that_one_alone():
    _, arena = random_arena(3, bars=200)
    env = TradingVecEnv(arena, 2)
    env.reset()
    hold = np.zeros(2, np.int64)

    _, _, _, infos = env.step(hold)
    infos[0]["mine"] = 1
    _, _, _, later = env.step(hold)

    assert infos == [{"mine": 1}, {}]
    assert later == [{}, {}]


def flat_case(bars, law, rows=None):
    """Return a Case without orders; `rows` are (open, high, low, close) in ticks."""
    tape, orders = records(rows or [(40_000, 40_004, 39_996, 40_000)] * bars)
    return Case(tape, orders, law, 10_000_000_000, np.zeros(bars, np.int8), np.ones(bars, np.int64))


def one(entry):
    return np.ones(len(entry.side), np.int64)


def change(step):
    return step.equity_change.copy()


def falling(loss, bars=12):
    """Return rows in which a bar falls by so many ticks, once the first orders have filled."""
    rows = [(40_000, 40_000, 40_000, 40_000)] * 4
    below = 40_000 - loss
    return [*rows, (40_000, 40_000, below, below), *[(below, below, below, below)] * (bars - 5)]


def played(arena, actions, start=LOOKBACK - 1):
    """Return the steps of one account that begins at a bar, until its episode ends."""
    env = TradingEnv(arena=arena, observe="bar")
    env.reset(seed=0, options={"start": start})
    steps = []
    for action in actions:
        steps.append(env.step(action))
        if steps[-1][2] or steps[-1][3]:
            break
    return steps


def test_ruin_terminates_at_the_open_after_it():
    case = flat_case(12, rulebook(), falling(loss=21_000))  # one contract at $0.50 a tick: $10,500 of $10,000
    steps = played(arena_of(case, size_of=one, reward=lambda: change, reward_scale=1.0), [1] + [0] * 9)

    assert [step[2:4] for step in steps] == [(False, False), (False, False), (True, False)]
    assert [step[1] for step in steps] == [0.0, -10_500.0, 0.0]
    assert [step[4]["equity"] for step in steps] == [10_000.0, -500.0, -500.0]
    assert steps[-1][4]["exit_reason"] == "max-loss"
    assert steps[-1][0]["position_info"].tolist() == [0.0, 0.0, 0.0, 0.0]


def test_max_loss_terminates_and_less_does_not():
    for limit, terminated in ((1_000, True), (1_001, False)):
        case = flat_case(12, rulebook(max_loss=limit * 1_000_000), falling(loss=2_000))
        steps = played(arena_of(case, size_of=one, reward=lambda: change), [1] + [0] * 9)

        assert steps[-1][2:4] == (terminated, not terminated)
        assert steps[-1][4]["exit_reason"] == ("max-loss" if terminated else "end-of-data")


def test_the_end_of_a_window_closes_at_the_last_close():
    case = flat_case(20, rulebook(slippage=1, per_contract=620_000))
    arena = arena_of(case, window=Window(first=4, last=11), size_of=one, reward=lambda: change, reward_scale=1.0)
    steps = played(arena, [1] * 20, start=6)

    assert len(steps) == 5
    assert [step[4]["bar"] for step in steps] == [7, 8, 9, 10, 11]
    assert [step[4]["position"] for step in steps] == [1, 1, 1, 1, 0]
    assert [step[3] for step in steps] == [False] * 4 + [True]
    assert steps[-1][4]["exit_reason"] == ExitReason.END_OF_DATA.label
    assert steps[-1][4]["realised"] == pytest.approx(-2 * 0.5 - 2 * 0.62)
    assert sum(step[1] for step in steps) == pytest.approx(-2 * 0.5 - 2 * 0.62, rel=1e-6)


def test_ruin_at_the_very_end_is_no_truncation():
    case = flat_case(5, rulebook(), falling(loss=21_000, bars=5))
    steps = played(arena_of(case, size_of=one, reward=lambda: change), [1, 0])

    assert steps[-1][2:4] == (True, False)


def begun(arena, count=400):
    """Return (first bar, balance, steps) of many episodes in which nothing is done."""
    accounts = Accounts(arena, [np.random.default_rng(lane) for lane in range(count)])
    accounts.begin(np.ones(count, np.bool_))
    led = accounts.account.ledger
    return accounts.starts, led["initial"] / 1e6, led["last"] - led["bar"]


def test_episodes_begin_anywhere_with_a_balance_in_the_range():
    case = flat_case(60, rulebook())
    arena = arena_of(case, window=Window(first=10, last=49), start_balance_range=(0.5, 1.5), episode_bars=15)
    starts, balances, lengths = begun(arena)

    assert set(starts.tolist()) == set(range(10, 35))
    assert set(lengths.tolist()) == {15}
    assert balances.min() >= 5_000
    assert balances.max() <= 15_000
    assert balances.min() < 5_300
    assert balances.max() > 14_700


def test_without_a_length_an_episode_lasts_to_the_end_of_the_window():
    arena = arena_of(flat_case(60, rulebook()), window=Window(first=10, last=49))
    starts, balances, lengths = begun(arena)

    assert set(starts.tolist()) == set(range(10, 49))
    assert (starts + lengths == 49).all()
    assert set(balances.tolist()) == {10_000.0}


def test_a_length_beyond_the_window_is_the_whole_window():
    arena = arena_of(flat_case(60, rulebook()), window=Window(first=10, last=49), episode_bars=1_000)
    starts, _, lengths = begun(arena)

    assert (set(starts.tolist()), set(lengths.tolist())) == ({10}, {39})


def test_accounts_have_their_own_limits_after_each_start():
    law = rulebook(max_trades_per_day=1, max_daily_loss=500_000_000, cooldown_bars=50)
    case = flat_case(40, law, falling(loss=2_000, bars=40))
    arena = arena_of(case, size_of=one, reward=lambda: change)
    env = TradingEnv(arena=arena, observe="bar")
    for _ in range(3):
        env.reset(seed=0, options={"start": LOOKBACK - 1})
        infos = [env.step(action)[4] for action in (1, 0, 0, 1, 1)]

        assert [info["position"] for info in infos] == [1, 1, 0, 0, 0]
        assert [info["denied"] for info in infos] == ["none", "none", "none", "daily-loss", "daily-loss"]


class Noted:
    """A reward that notes when it is told to forget."""

    def __init__(self):
        self.heard = []

    def reset(self, lanes):
        self.heard.append(lanes.tolist())

    def __call__(self, step):
        self.heard.append("step")
        return np.zeros(len(step.bar))


def test_a_reward_is_reset_before_the_first_step_and_then_account_by_account():
    made = []

    def make():
        made.append(Noted())
        return made[-1]

    arena = arena_of(flat_case(20, rulebook()), reward=make, episode_bars=6)
    env = TradingVecEnv(attrs.evolve(arena, episode_bars=None), 3, seed=1)
    starts = env.reset()["bar"][:, 0]
    nearest = int(starts.max())
    for _ in range(19 - nearest):
        env.step(np.zeros(3, np.int64))

    assert len(made) == 1
    assert made[0].heard == [[True] * 3, *["step"] * (19 - nearest), (starts == nearest).tolist()]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_money_adds_up_over_episodes(seed):
    """Net of trades, unrealised, and entry commissions of what is open are the change of equity since the start."""
    case, arena = random_arena(seed, bars=40, episode_bars=12)
    accounts = Accounts(arena, [np.random.default_rng(seed + lane) for lane in range(LANES)])
    accounts.begin(np.ones(LANES, np.bool_))
    account, booked = accounts.account, np.zeros(LANES, np.int64)
    tick = int(case.law["tick_micros"][0])
    for actions in actions_of(seed, 60):
        *_, done, over = accounts.step(actions)
        led, rows = account.ledger, account.step_trades
        fresh = np.arange(rows.shape[1]) < led["trades"][:, None]
        booked += np.where(fresh, rows["gross"] - rows["commission"], 0).sum(axis=1)
        unrealised = led["position"] * (case.tape["close"][led["bar"]] - led["entry_price"]) * tick
        fees = np.where(led["position"] != 0, led["entry_commission"], 0)

        assert (booked + unrealised - fees == led["equity"] - led["initial"]).all()
        assert over == done.sum()
        if over:
            booked[done] = 0
            accounts.begin(done)


def test_rewards_are_divided_and_summed_as_they_are_paid():
    case = flat_case(12, rulebook())
    arena = arena_of(case, reward=lambda: lambda step: np.full(len(step.bar), 1.0), reward_scale=3.0)
    env = TradingVecEnv(arena, 1)
    env.set_options({"start": 2})
    env.reset()
    steps = [env.step(np.zeros(1, np.int64)) for _ in range(9)]

    assert {float(rewards[0]) for _, rewards, _, _ in steps} == {float(np.float32(1 / 3))}
    assert all(rewards.dtype == np.float32 for _, rewards, _, _ in steps)
    assert steps[-1][3][0]["episode"]["r"] == pytest.approx(3.0, rel=1e-6)
    assert steps[-1][3][0]["episode"]["l"] == 9


@pytest.mark.parametrize(
    ("rewards", "scale"),
    [(np.zeros(2), 1.0), (np.array([0.0, np.nan, 0.0]), 1.0), (np.array([0.0, 0.0, np.inf]), 1.0), (0.0, 1.0),
     (np.full(3, 1e300), 1.0), (np.full(3, 1.0), 1e-300), ([0.0] * 3, 1.0)],
)  # fmt: skip
def test_a_reward_that_is_none_is_refused(rewards, scale):
    arena = arena_of(flat_case(12, rulebook()), reward=lambda: lambda step: rewards, reward_scale=scale)
    env = TradingVecEnv(arena, 3)
    env.reset()

    with pytest.raises(PluginError, match="one finite number"):
        env.step(np.zeros(3, np.int64))


class Refusing:
    """A reward that is wrong, and knows its name."""

    def __call__(self, step):
        return np.full(len(step.bar), np.nan)

    def refuse(self, rewards, step):
        return PluginError(f"reward 'wrong' returned {rewards[0]} at bar {step.bar[0]}")


def test_a_reward_that_knows_its_name_is_refused_by_it():
    env = TradingVecEnv(arena_of(flat_case(12, rulebook()), reward=Refusing), 1)
    env.set_options({"start": 4})
    env.reset()

    with pytest.raises(PluginError, match="reward 'wrong' returned nan at bar 5"):
        env.step(np.zeros(1, np.int64))


@pytest.mark.parametrize("actions", [[0, 4, 0], [0, -1, 0], [0, 0], [[0, 0, 0]], [0, 0, 0, 0], [0, 2**40, 1]])
def test_what_is_no_action_is_refused(actions):
    env = TradingVecEnv(arena_of(flat_case(12, rulebook())), 3)
    env.reset()

    with pytest.raises(UsageError, match="0 HOLD, 1 BUY, 2 SELL or 3 CLOSE"):
        env.step(np.array(actions))


def test_a_size_below_0_ends_in_an_error_and_not_in_an_endless_question():
    arena = arena_of(flat_case(12, rulebook()), size_of=lambda entry: -np.ones(len(entry.side), np.int64))
    env = TradingVecEnv(arena, 2)
    env.reset()

    with pytest.raises(ValueError, match="below 0"):
        env.step(np.ones(2, np.int64))


def test_an_arena_is_looked_at_when_it_is_made():
    case = flat_case(12, rulebook())
    arena = arena_of(case)
    for window in (Window(first=1, last=11), Window(first=5, last=12), Window(first=7, last=7)):
        with pytest.raises(DataError, match="do not hold an episode"):
            attrs.evolve(arena, window=window)
    holed = arena.features.copy()
    holed[4, 1] = np.nan
    with pytest.raises(DataError, match="b of bar 4"):
        attrs.evolve(arena, features=holed)
    assert attrs.evolve(arena, features=holed, window=Window(first=7, last=11)).window.first == 7
    with pytest.raises(TypeError, match="float64"):
        attrs.evolve(arena, features=holed.astype(np.float64))
    with pytest.raises(UsageError, match="'all'"):
        TradingVecEnv(arena, 1, observe="all")
    with pytest.raises(UsageError, match="one account or more"):
        TradingVecEnv(arena, 0)


def test_the_rest_of_the_protocol():
    env = TradingVecEnv(arena_of(flat_case(12, rulebook())), 3)

    assert env.get_attr("render_mode") == [None] * 3
    assert env.get_attr("num_envs", indices=[0, 2]) == [3, 3]
    env.set_attr("mark", 5)
    assert env.get_attr("mark", indices=1) == [5]
    assert env.env_is_wrapped(VecMonitor) == [False] * 3
    assert not env.has_attr("nothing of this name")
    with pytest.raises(AttributeError, match="action_masks"):
        env.env_method("action_masks")
    env.close()


def test_stable_baselines_learns_on_it_and_sees_its_episodes():
    env = TradingVecEnv(arena_of(flat_case(80, rulebook(max_position=5)), episode_bars=10), 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model: Any = A2C("MultiInputPolicy", env, n_steps=8, seed=1, device="cpu")
        model.learn(400)

    assert len(model.ep_info_buffer) > 10
    assert {episode["l"] for episode in model.ep_info_buffer} == {10}


def test_a_copy_goes_its_own_way():
    _, arena = random_arena(2)
    env = TradingVecEnv(arena, LANES, seed=2)
    env.reset()
    for actions in actions_of(1, 20):
        env.step(actions)
    twin = copy.deepcopy(env)
    ahead = [env.step(actions) for actions in actions_of(3, 40)]
    behind = [twin.step(actions) for actions in actions_of(3, 40)]

    for (seen, rewards, done, _), (other, paid, over, _) in zip(ahead, behind, strict=True):
        assert all((seen[name] == other[name]).all() for name in seen)
        assert (rewards.tolist(), done.tolist()) == (paid.tolist(), over.tolist())
