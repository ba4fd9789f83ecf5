"""`TradingEnv`: by hand against the backtester, by the checkers of gymnasium and stable-baselines3, from a frame."""

import copy
import itertools
import subprocess
import sys
import warnings

import gymnasium
import numpy as np
import pandas as pd
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from mnqcore import BacktestEngine
from mnqcore.api.values import ExitReason, Window
from mnqcore.env import TradingEnv
from mnqcore.errors import DataError, PluginError, UsageError
from mnqcore.market.instruments import catalogue
from mnqcore.rules import Denial
from mnqcore.simulator import Account, rulebook
from mnqcore.strategy.model import Choice
from mnqcore.strategy.settings import Commission, Costs, Risk, Session
from mnqcore.tape import calls, lay
from mnqcore.tape.frame import lay_frame
from mnqcore.tape.scaler import Scaler
from mnqplugins.brackets.atr import Atr
from mnqplugins.brackets.fixed import Fixed as FixedBracket
from mnqplugins.brackets.none import Unprotected
from mnqplugins.sizers.fixed import Fixed
from mnqplugins.sizers.fixed_fractional import FixedFractional
from mnqplugins.sizers.kelly import Kelly
from tests.arenas import LOOKBACK, arena_of, random_arena, size_of
from tests.tapes import Case, random_case

INFO = {"bar", "time", "equity", "position", "realised", "denied", "exit_reason"}


@pytest.fixture(scope="module")
def frame(make_view):
    """Bars of MNQ with two features, the second of which lacks its first 30 values."""
    bars = make_view(12).bars.drop(columns="contract")
    move = bars["close"].diff().fillna(0.0)
    return bars.assign(move=move, swing=bars["close"].rolling(31).std())


def by_hand_as_by_backtest(case, arena, size):
    """Step an environment from its window's first bar, and compare every bar and trade with the backtester."""
    first = arena.window.first
    account = Account(case.tape, case.orders, case.law, initial_balance=case.dollars, first=first)
    equity = account.run(case.actions, size_of=size)[0]
    rows = account.trades[0]
    env = TradingEnv(arena=arena, observe="bar")
    _, info = env.reset(seed=1, options={"start": first, "balance": case.dollars})
    realised, closed, over = [], [], False
    assert (info["bar"], info["equity"]) == (first, equity[first] / 1e6)
    while not over:
        _, _, terminated, truncated, info = env.step(case.actions[info["bar"]])
        over = terminated or truncated
        assert info["equity"] == equity[info["bar"]] / 1e6
        realised.append(info["realised"])
        closed += [info["exit_reason"]] if info["exit_reason"] != "none" else []
    led = account.ledger[0]
    assert (info["bar"], terminated) == (led["bar"], bool(led["ended"]))
    assert sum(realised) == pytest.approx(float((rows["gross"] - rows["commission"]).sum()) / 1e6, abs=1e-4)
    reasons = [ExitReason(reason).label for reason in rows["reason"]]
    assert set(closed) <= set(reasons)
    assert len(closed) <= len(reasons)  # of two trades that end in one step the last is told
    return reasons


def test_by_hand_it_is_the_backtester_on_random_tapes():
    reasons = set()
    for seed in range(400):
        case = random_case(seed, bars=60)
        reasons |= set(by_hand_as_by_backtest(case, arena_of(case), size_of))

    assert reasons == {reason.label for reason in ExitReason if reason}


def piece(cls, kind, **params):
    """Return a plugin of mnq itself as a strategy would name it."""
    return Choice(kind=kind, use=cls.__name__, distribution="mnq", version="0", params=params, cls=cls)


STOPS = [piece(FixedBracket, "bracket", stop_ticks=40, target_ticks=90), piece(Atr, "bracket")]
SIZERS = [piece(Fixed, "sizer", contracts=2), piece(FixedFractional, "sizer", risk=0.02), piece(Kelly, "sizer")]


@pytest.mark.parametrize(
    ("bracket", "sizer"),
    [*itertools.product(STOPS, SIZERS), (piece(Unprotected, "bracket"), SIZERS[0])],
    ids=lambda choice: choice.use,
)
@pytest.mark.parametrize(
    "risk",
    [
        {"max_position": 3},
        {"max_position": 5, "max_daily_loss": 400.0, "max_loss": 3_000.0, "cooldown_bars": 5, "max_trades_per_day": 8},
    ],
)
def test_by_hand_it_is_the_backtester_with_brackets_sizers_and_limits(bracket, sizer, risk, make_view):
    view = make_view(20)
    bars = view.bars.drop(columns="contract")
    market = lay(bars, view.instrument, Session(), view.bar_size)
    market.orders["stop"], market.orders["target"] = calls.levels(bracket, market.view)
    costs = Costs(initial_balance=60_000.0, commission=Commission(per_contract=0.62), slippage_ticks=1)
    rng = np.random.default_rng(3)
    actions = rng.choice(4, len(market.tape), p=(0.8, 0.09, 0.09, 0.02)).astype(np.int8)
    law = rulebook(view.instrument, costs, Risk(**risk))
    case = Case(market.tape, market.orders, law, 60_000_000_000, actions, np.zeros(0, np.int64))
    size = calls.size_of(sizer, sizer.build())

    reasons = by_hand_as_by_backtest(case, arena_of(case, size_of=size), size)

    assert len(reasons) > 5


# Checkers of others


@pytest.mark.parametrize("observe", ["bar", "window"])
def test_gymnasium_finds_nothing_wrong(observe):
    _, arena = random_arena(6, bars=200, episode_bars=None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gymnasium.make("mnq/Trading-v0", arena=arena, observe=observe)
        check_env(env.unwrapped)
        env.reset(seed=1)
        for _ in range(30):
            _, _, terminated, truncated, _ = env.step(env.action_space.sample())
            if terminated or truncated:
                env.reset()


def test_gymnasium_finds_nothing_wrong_with_an_environment_of_a_frame(frame):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gymnasium.make("mnq/Trading-v0", df=frame, feature_columns=["move", "swing"], lookback_window=8)
        check_env(env.unwrapped)


@pytest.mark.parametrize(("observe", "said"), [("bar", []), ("window", ["unconventional shape"])])
def test_stable_baselines_warns_of_nothing_but_the_shape_of_a_window(observe, said):
    _, arena = random_arena(6, bars=200)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        sb3_check_env(TradingEnv(arena=arena, observe=observe))

    assert len(found) == len(said)
    assert all(words in str(warning.message) for words, warning in zip(said, found, strict=True))


# Episodes


def test_a_seed_says_all_that_follows():
    _, arena = random_arena(4)
    env, other = TradingEnv(arena=arena, observe="bar"), TradingEnv(arena=arena, observe="bar")

    def told(env, seed):
        infos = [env.reset(seed=seed)[1]]
        for action in np.random.default_rng(1).integers(0, 4, 80).tolist():
            _, reward, terminated, truncated, info = env.step(action)
            infos.append(info | {"reward": reward})
            if terminated or truncated:
                infos.append(env.reset()[1])
        return infos

    first = told(env, 11)
    assert told(env, 12) != first
    assert told(env, 11) == told(other, 11) == first


def test_options_say_where_an_episode_begins_and_with_what():
    _, arena = random_arena(9)
    env = TradingEnv(arena=arena, observe="bar")
    start = arena.window.first + 3

    seen, info = env.reset(seed=3, options={"start": start, "balance": 1234.5})

    assert (seen["bar"].tolist(), info["bar"], info["equity"]) == ([start], start, 1234.5)
    assert seen["position_info"].tolist() == [0.0, 0.0, 0.0, 1.0]
    later = env.reset()[1]
    env.reset(seed=3)
    assert env.reset()[1] == later  # what was drawn is drawn with options, too


@pytest.mark.parametrize(
    ("options", "said"),
    [({"begin": 3}, "'begin'"), ({"start": 0}, "bar 0"), ({"start": 59}, "bar 59"), ({"balance": 0}, "0 dollars"),
     ({"balance": -5.0}, "-5.0"), ({"balance": float("nan")}, "nan"), ({"balance": 1e12}, "1000000000000")],
)  # fmt: skip
def test_an_option_that_cannot_be_is_refused(options, said):
    case = random_case(1, bars=60)
    env = TradingEnv(arena=arena_of(case), observe="bar")

    with pytest.raises(UsageError, match=said):
        env.reset(options=options)


def test_an_episode_must_be_begun_and_ends_once():
    _, arena = random_arena(9)
    env = TradingEnv(arena=arena, observe="bar")
    with pytest.raises(ResetNeeded):
        env.step(0)
    env.reset(options={"start": arena.window.last - 1})
    assert env.step(0)[3]
    with pytest.raises(ResetNeeded):
        env.step(0)


@pytest.mark.parametrize("action", [4, -1])
def test_what_is_no_action_is_refused(action):
    env = TradingEnv(arena=random_arena(9)[1])
    env.reset(seed=1)

    with pytest.raises(UsageError, match="0 HOLD, 1 BUY, 2 SELL or 3 CLOSE"):
        env.step(action)
    with pytest.raises(TypeError):
        env.step(1.5)
    assert env.step(np.int64(1))[4]["bar"] == env.step(np.array(1))[4]["bar"] - 1


def test_infos_hold_the_same_plain_facts_always():
    denied = set()
    for seed in range(40):
        _, arena = random_arena(seed)
        env = TradingEnv(arena=arena, observe="bar")
        infos = [env.reset(seed=seed)[1]]
        for action in np.random.default_rng(seed).integers(0, 4, 60).tolist():
            _, _, terminated, truncated, info = env.step(action)
            infos.append(info)
            if terminated or truncated:
                infos.append(env.reset()[1])
        for info in infos:
            assert info.keys() == INFO
            assert {type(value) for value in info.values()} == {int, float, str}
            assert info["time"] == arena.orders["time"][info["bar"]]
        denied |= {info["denied"] for info in infos}

    assert denied == {denial.label for denial in Denial}


def test_a_window_ends_with_the_bar_that_closed():
    _, arena = random_arena(5)
    env = TradingEnv(arena=arena)
    seen, info = env.reset(seed=2)
    for _ in range(5):
        bar = info["bar"]
        assert seen["market_features"].tolist() == arena.features[bar - LOOKBACK + 1 : bar + 1].tolist()
        seen["market_features"][:] = 99.0
        seen, _, terminated, truncated, info = env.step(0)
        if terminated or truncated:
            seen, info = env.reset()
    assert arena.features.max() < 99.0


def test_a_copy_goes_its_own_way():
    _, arena = random_arena(3, bars=300, episode_bars=None)
    env = TradingEnv(arena=arena)
    env.reset(seed=1, options={"start": arena.window.first})
    for action in (1, 0, 2, 0):
        env.step(action)
    twin = copy.deepcopy(env)
    ahead = [env.step(action)[4] for action in (1, 1, 3, 2)]
    behind = [twin.step(action)[4] for action in (1, 1, 3, 2)]

    assert ahead == behind
    assert twin.arena is env.arena


# From a frame


def test_a_frame_is_traded_as_by_the_engine(frame):
    env = TradingEnv(frame, ["move", "swing"], 25_000.0, 8, 60, commission=0.85, slippage_ticks=2, reward_scale=1.0)
    assert (env.dropped, env.arena.window.first) == (30, 7)
    signals = np.zeros(len(frame), np.int8)
    signals[37:] = np.random.default_rng(2).choice(4, len(frame) - 37, p=(0.9, 0.04, 0.04, 0.02))
    engine = BacktestEngine(frame, 25_000.0, 0.85, slippage_ticks=2, stop_loss_ticks=60)
    result = engine.run(signals)

    _, info = env.reset(options={"start": 7})
    assert pd.Timestamp(info["time"], tz="UTC") == frame.index[37]
    equity, paid, over = [info["equity"]], 0.0, False
    while not over:
        _, reward, terminated, truncated, info = env.step(signals[info["bar"] + 30])
        over = terminated or truncated
        equity.append(info["equity"])
        paid += reward

    assert equity == result.equity.iloc[37:].tolist()
    assert len(result.trades) > 20
    assert paid == pytest.approx(result.trades["net"].sum(), rel=1e-5)  # trade-pnl is the default


def test_features_are_scaled_on_the_frame_or_as_given(frame):
    env = TradingEnv(frame, ["swing", "move"], lookback_window=8)
    known = frame.iloc[30:][["swing", "move"]]
    exact = ((known - known.mean()) / known.std(ddof=0)).clip(-10, 10)
    scaler = Scaler.fit(known.iloc[:100], slice(0, 100))
    given = TradingEnv(frame, ["swing", "move"], lookback_window=8, scaler=scaler)

    np.testing.assert_allclose(env.arena.features, exact.to_numpy(), rtol=1e-4, atol=1e-5)
    assert env.arena.names == ("swing", "move")
    assert given.scaler is scaler
    assert (given.arena.features == scaler(known)).all()


def test_bars_outside_the_session_are_left_out_with_their_features(frame):
    session = Session(rth=True)
    env = TradingEnv(frame, ["move"], lookback_window=4, session=session)
    inside = lay_frame(frame, catalogue()["MNQ"], session, 200).market.times

    assert 0 < len(inside) < len(frame)
    move = frame.loc[inside, "move"]
    scaled = ((move - move.mean()) / move.std(ddof=0)).clip(-10, 10)
    np.testing.assert_allclose(env.arena.features[:, 0], scaled.to_numpy(), rtol=1e-4, atol=1e-5)


def test_a_reward_may_be_a_function(frame):
    env = TradingEnv(frame, ["move"], reward=lambda step: step.equity_change * 2, commission=0.0, slippage_ticks=0)
    env.reset(options={"start": 100})
    change = [env.step(1) for _ in range(10)]

    assert sum(step[1] for step in change) == pytest.approx(2 * (change[-1][4]["equity"] - 10_000.0), rel=1e-5)


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({}, UsageError, "feature_columns"),
        ({"feature_columns": "move"}, UsageError, "feature_columns"),
        ({"feature_columns": ["mvoe"]}, UsageError, "did you mean move"),
        ({"feature_columns": ["move"], "lookback_window": 0}, UsageError, "lookback_window"),
        ({"feature_columns": ["move"], "lookback_window": 10**6}, DataError, "too few bars"),
        ({"feature_columns": ["move"], "stop_loss_ticks": 0}, UsageError, "stop_loss_ticks"),
        ({"feature_columns": ["move"], "instrument": "MNX"}, UsageError, "MNX"),
        ({"feature_columns": ["move"], "initial_balance": -1}, UsageError, "cannot be opened"),
        ({"feature_columns": ["move"], "reward": "trade-pln"}, PluginError, "trade-pnl"),
        ({"feature_columns": ["move"], "observe": "all"}, UsageError, "'all'"),
    ],
)
def test_what_cannot_be_is_said(frame, given, error, said):
    with pytest.raises(error, match=said):
        TradingEnv(frame, **given)


def test_a_feature_that_is_missing_in_the_midst_is_named(frame):
    holed = frame.copy()
    holed.loc[holed.index[200], "move"] = np.nan

    with pytest.raises(DataError, match="move"):
        TradingEnv(holed, ["move"])


def test_a_frame_or_an_arena_but_not_both(frame):
    _, arena = random_arena(1)
    with pytest.raises(UsageError, match="df="):
        TradingEnv()
    with pytest.raises(UsageError, match="arena="):
        TradingEnv(frame, ["move"], arena=arena)
    with pytest.raises(UsageError, match="commission"):
        TradingEnv(arena=arena, commission=1.0)


def test_one_environment_needs_no_torch():
    code = "import mnqcore, sys; mnqcore.TradingEnv; assert 'torch' not in sys.modules, 'torch'"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_window_of_an_arena_is_the_last_word():
    case = random_case(5, bars=60)
    env = TradingEnv(arena=arena_of(case, window=Window(first=10, last=20)), observe="bar")

    assert {env.reset(seed=seed)[1]["bar"] for seed in range(200)} == set(range(10, 20))
    with pytest.raises(UsageError, match="10 to 19"):
        env.reset(options={"start": 20})
