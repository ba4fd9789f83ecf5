"""Both agents: what is masked, what is remembered, and that what they save is what they were."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mnqcore import BacktestEngine, MnqError, ModelSpec, Options, TradingAgent, TradingEnv, Training, open_run, run

torch = pytest.importorskip("torch")
pytest.importorskip("sb3_contrib", reason="sb3-contrib is not installed here")
from mnq_sb3_contrib.maskable import MaskablePpo
from mnq_sb3_contrib.maskable_network import allowed
from mnq_sb3_contrib.recurrent import RecurrentPpo
from stable_baselines3.common.vec_env import VecEnvWrapper

HOLD, BUY, SELL, CLOSE = range(4)
TINY = {
    "timesteps": 512,
    "n_envs": 2,
    "n_steps": 32,
    "batch_size": 32,
    "n_epochs": 2,
    "hidden": (8,),
    "checkpoint": 128,
}
TINY["checkpoint"] = 128
BOTH = [MaskablePpo, RecurrentPpo]
STRATEGY = """
format = 1
requires = ["mnq-sb3-contrib>=0.1"]
[strategy.learnt]
data = { use = "synthetic", days = 20 }
features.moves = { use = "returns", horizons = [1, 3] }
lookback = 4
reward = { use = "equity-change" }
extractor = { use = "gru", hidden = 8 }
[strategy.learnt.agent]
use = "AGENT"
timesteps = 1024
n_envs = 4
n_steps = 32
n_epochs = 2
learning_rate = 0.01
checkpoint = 256
hidden = [8]
"""


class Moves(torch.nn.Module):
    """The window, laid flat and squeezed into two numbers."""

    def __init__(self, spec):
        super().__init__()
        self.line = torch.nn.Linear(spec.lookback * spec.n_features, 2)

    def forward(self, windows):
        return torch.tanh(self.line(windows.flatten(1)))


class Extractor:
    def build(self, spec):
        return Moves(spec)


def made_bars():
    times = pd.date_range("2024-03-04 15:00", periods=400, freq="5min", tz="UTC", name="time")
    close = 18_000 + np.cumsum(np.random.default_rng(1).integers(-20, 21, len(times))) * 0.25
    df = pd.DataFrame({"open": close, "high": close + 2, "low": close - 2, "close": close, "volume": 1.0}, times)
    df["move"] = df["close"].diff() / 5
    return df


def made_env():
    return TradingEnv(df=made_bars(), feature_columns=["move"], lookback_window=4, reward="equity-change")


def training_in(folder, kind=Training):
    arena = made_env().arena
    spec = ModelSpec(observation=arena.spec, extractor=Extractor())
    return kind(spec=spec, seed=3, folder=folder, arena=arena)


@pytest.fixture(scope="module", params=BOTH, ids=lambda one: one.__name__)
def trained(request, tmp_path_factory):
    learner = request.param(**TINY, learning_rate=0.01)
    training = training_in(tmp_path_factory.mktemp("training"))
    learner.train(training)
    return learner, training


@pytest.fixture(scope="module")
def recurrent(tmp_path_factory):
    learner = RecurrentPpo(**TINY, learning_rate=0.01, memory_width=6, memory_layers=2)
    learner.train(training_in(tmp_path_factory.mktemp("training")))
    make_choosy(learner)
    return learner


def observations(count, seed=0):
    """Windows and positions as an account might see them."""
    draw = np.random.default_rng(seed)
    positions = np.zeros((count, 4), np.float32)
    positions[:, 0], positions[:, 3] = draw.integers(-1, 2, count), 1.0
    return {"market_features": draw.normal(size=(count, 4, 1)).astype(np.float32), "position_info": positions}


def rows(observation, which):
    return {name: values[which] for name, values in observation.items()}


def make_choosy(learner):
    """Let it prefer now this, now that: what learns so little prefers one action always."""
    draw, policy = torch.Generator().manual_seed(4), learner.policy
    with torch.no_grad():
        for part in (policy.lstm_actor, policy.mlp_extractor.policy_net, policy.action_net):
            for weight in part.parameters():
                # Wide enough to matter, not so wide that roundings grow from bar to bar.
                weight.normal_(0.0, 1.5 / weight.shape[-1] ** 0.5 if weight.ndim > 1 else 0.0, generator=draw)


def write(folder, agent):
    file = folder / "s.toml"
    file.write_text(STRATEGY.replace("AGENT", agent))
    return file


def test_what_does_nothing_is_not_allowed():
    positions = np.zeros((3, 4), np.float32)
    positions[:, 0] = [-1, 0, 1]

    assert allowed(positions).tolist() == [
        [True, True, False, True],
        [True, True, True, False],
        [True, False, True, True],
    ]
    assert allowed(positions[2]).tolist() == [[True, False, True, True]]


def test_nothing_that_is_not_allowed_is_tried_in_a_training(tmp_path):
    seen = []

    class Recorder(VecEnvWrapper):
        def reset(self):
            self.before = self.venv.reset()
            return self.before

        def step_async(self, actions):
            seen.append((self.before["position_info"].copy(), np.array(actions)))
            self.venv.step_async(actions)

        def step_wait(self):
            found = self.venv.step_wait()
            self.before = found[0]
            return found

    class Recorded(Training):
        def env(self, lanes):
            return Recorder(super().env(lanes))

    MaskablePpo(**TINY).train(training_in(tmp_path, Recorded))

    positions, actions = (np.concatenate(part) for part in zip(*seen, strict=True))
    assert set(positions[:, 0]) == {-1, 0, 1}
    assert set(actions) == {HOLD, BUY, SELL, CLOSE}
    assert allowed(positions)[np.arange(len(actions)), actions].all()


def test_the_masked_agent_prefers_the_best_that_is_allowed(tmp_path):
    learner = MaskablePpo(**TINY)
    learner.train(training_in(tmp_path))
    seen = observations(200)
    with torch.inference_mode():
        latents = learner.policy.mlp_extractor.forward_actor(learner.policy.joined(seen))
        plain = learner.policy.action_net(latents).numpy()

    actions = learner.act(seen)

    assert (actions == np.where(allowed(seen["position_info"]), plain, -np.inf).argmax(axis=1)).all()
    assert (actions != plain.argmax(axis=1)).any()


def test_step_by_step_is_a_pass_through_the_whole_sequence(recurrent):
    seen, policy = observations(300), recurrent.policy
    whole, end = policy.preferences(seen, policy.nothing(1))

    recurrent.reset(np.ones(1, np.bool_))
    actions = [recurrent.act(rows(seen, slice(at, at + 1)))[0] for at in range(300)]
    alone, memory = [], policy.nothing(1)
    for at in range(300):
        found, memory = policy.preferences(rows(seen, slice(at, at + 1)), memory)
        alone.append(found[0])

    np.testing.assert_allclose(alone, whole, rtol=0, atol=1e-5)
    for one, other in zip(recurrent.memory, end, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)
    assert actions == np.argmax(alone, axis=1).tolist()


def test_what_was_seen_before_matters(recurrent):
    seen, policy = observations(20), recurrent.policy
    whole, _ = policy.preferences(seen, policy.nothing(1))

    last, _ = policy.preferences(rows(seen, slice(19, 20)), policy.nothing(1))

    assert np.abs(last[0] - whole[-1]).max() > 1e-4


def test_accounts_at_once_are_accounts_one_by_one(recurrent):
    seen = [observations(30, seed) for seed in range(3)]

    def together(reset_at):
        recurrent.reset(np.ones(3, np.bool_))
        found = []
        for at in range(30):
            if at == reset_at:
                recurrent.reset(np.array([False, True, False]))
            found.append(recurrent.act({name: np.stack([one[name][at] for one in seen]) for name in seen[0]}))
        return np.array(found), recurrent.memory[0].clone()

    def alone(number, start):
        recurrent.reset(np.ones(1, np.bool_))
        found = [recurrent.act(rows(seen[number], slice(at, at + 1)))[0] for at in range(start, 30)]
        return found, recurrent.memory[0].clone()

    actions, memory = together(reset_at=12)
    for number, start in ((0, 0), (1, 12), (2, 0)):
        expected, own = alone(number, start)
        assert actions[start:, number].tolist() == expected
        torch.testing.assert_close(memory[:, number], own[:, 0], rtol=0, atol=1e-6)


def test_other_accounts_without_a_reset_are_refused(recurrent):
    recurrent.reset(np.ones(1, np.bool_))
    recurrent.act(observations(1))

    with pytest.raises(ValueError, match="call reset"):
        recurrent.act(observations(2))


def test_memory_is_rebuilt_from_what_was_decided(recurrent, tmp_path):
    """A process that ended at bar 60: another one is shown the first 60 windows and positions again, and goes on."""
    seen = observations(100)
    recurrent.reset(np.ones(1, np.bool_))
    whole = [recurrent.act(rows(seen, slice(at, at + 1)))[0] for at in range(100)]
    recurrent.save(tmp_path)
    spec = training_in(tmp_path).spec

    other = RecurrentPpo(**TINY, memory_width=6, memory_layers=2)
    other.load(tmp_path, spec)
    other.reset(np.ones(1, np.bool_))
    again = [other.act(rows(seen, slice(at, at + 1)))[0] for at in range(100)]

    assert again == whole
    assert len(set(whole)) > 1
    assert all(torch.equal(*pair) for pair in zip(other.memory, recurrent.memory, strict=True))


def test_an_interrupted_training_goes_on_as_if_it_had_not_been(trained, tmp_path):
    learner, _ = trained
    parts = {**TINY, "learning_rate": 0.01}

    for timesteps in (256, 512):
        other = type(learner)(**{**parts, "timesteps": timesteps})
        other.train(training_in(tmp_path))

    assert all(torch.equal(weight, other.policy.weights()[name]) for name, weight in learner.policy.weights().items())


def test_what_is_saved_acts_alike_and_is_plain_data(trained, tmp_path):
    learner, training = trained
    learner.save(tmp_path)
    other = type(learner)(**TINY)

    other.load(tmp_path, training.spec)

    assert [path.name for path in tmp_path.iterdir()] == ["policy.safetensors"]
    for one in (learner, other):
        one.reset(np.ones(50, np.bool_))
    assert (learner.act(observations(50)) == other.act(observations(50))).all()


@pytest.mark.parametrize("critic", ["own", "shared", "none"])
def test_every_critic_trains_and_is_saved(critic, tmp_path):
    learner = RecurrentPpo(**{**TINY, "timesteps": 128}, critic=critic)
    training = training_in(tmp_path)
    learner.train(training)
    learner.save(tmp_path)

    RecurrentPpo(**TINY, critic=critic).load(tmp_path, training.spec)

    with pytest.raises(MnqError):
        RecurrentPpo(**TINY, critic=critic, memory_width=7).load(tmp_path, training.spec)


@pytest.mark.parametrize("agent", ["maskable-ppo", "recurrent-ppo"])
def test_a_strategy_trains_it_and_a_backtest_of_the_model_repeats_it(agent, tmp_path):
    file = write(tmp_path, agent)

    first = run(file, None, "train,backtest", runs_dir=tmp_path / "runs")
    again = run(file, None, "backtest", runs_dir=tmp_path / "runs", options=Options(model=first.run.path))

    pd.testing.assert_frame_equal(first.trades, again.trades)
    assert first.metrics["learning"]["actions"]["bars"] > 0
    manifest = json.loads((first.run.path / "model" / "manifest.json").read_text())
    assert manifest["agent"]["distribution"] == "mnq-sb3-contrib"
    assert {path.suffix for path in Path(first.run.path, "model").iterdir()} == {".json", ".safetensors"}
    assert open_run(first.run.path).manifest["plugins"]["agent"]["distribution"] == "mnq-sb3-contrib"


def test_a_backtest_carries_the_memory_from_bar_to_bar(tmp_path, monkeypatch):
    file = write(tmp_path, "recurrent-ppo")
    trained, seen, plain = RecurrentPpo.train, [], RecurrentPpo.act

    def choosy(learner, training):
        trained(learner, training)
        make_choosy(learner)

    monkeypatch.setattr(RecurrentPpo, "train", choosy)
    first = run(file, None, "train", runs_dir=tmp_path / "runs")

    def recorded(learner, observation):
        actions = plain(learner, observation)
        seen.append((learner, {name: values.copy() for name, values in observation.items()}, actions))
        return actions

    monkeypatch.setattr(RecurrentPpo, "act", recorded)
    run(file, None, "backtest", runs_dir=tmp_path / "runs", options=Options(model=first.run.path))

    learner = seen[0][0]
    assert all(one is learner for one, _, _ in seen)
    whole = {name: np.concatenate([observation[name] for _, observation, _ in seen]) for name in seen[0][1]}
    preferences, _ = learner.policy.preferences(whole, learner.policy.nothing(1))
    best, second = np.sort(preferences, axis=1)[:, [3, 2]].T
    clear = best - second > 1e-4
    actions = np.concatenate([actions for _, _, actions in seen])
    assert clear.mean() > 0.99
    assert (np.bincount(actions) > 50).sum() > 1
    assert (preferences.argmax(axis=1) == actions)[clear].all()
    learner.reset(np.ones(1, np.bool_))
    assert [plain(learner, observation)[0] for _, observation, _ in seen] == actions.tolist()


def test_predict_has_no_place_for_a_memory():
    with pytest.raises(MnqError, match="predict has no place"):
        TradingAgent(made_env(), algorithm="recurrent-ppo")


def test_the_masked_agent_predicts_what_a_backtest_trades():
    env = made_env()
    agent = TradingAgent(env, algorithm="maskable-ppo", feature_extractor="gru", **{**TINY, "timesteps": 256})
    agent.train(256)
    observation, _ = env.reset(seed=1, options={"start": 3})
    over, equity = False, []
    while not over:
        action, _ = agent.predict(observation)
        assert allowed(observation["position_info"])[0, action]
        observation, _, terminated, truncated, info = env.step(int(action))
        equity.append(info["equity"])
        over = terminated or truncated

    tested = BacktestEngine(df=made_bars()).run_with_model(agent, ["move"])

    assert len(set(equity)) > 1
    assert equity[-1] == pytest.approx(tested.equity.iloc[-1])
