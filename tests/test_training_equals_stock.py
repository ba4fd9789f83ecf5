"""Training on the numbers of bars is stable-baselines3's own algorithm on windows: equal seeds, equal networks."""

from typing import Any

import attrs
import numpy as np
import pytest
import torch

from benchmarks.full_attention import FullAttention
from benchmarks.plain_gru import PlainGru
from benchmarks.training import EQUAL, WITHIN, Side, arena_of, measure, own, stock
from benchmarks.workload import Workload
from mnqcore.agent.policy import TradingPolicy
from mnqcore.env.scale import reward_scale
from mnqplugins.agents.a2c import A2c
from mnqplugins.agents.ppo import Ppo
from mnqplugins.extractors.attention import Attention
from mnqplugins.extractors.gru import Gru
from mnqplugins.extractors.lstm import Lstm

SMALL: dict[str, Any] = {"hidden": 16}
PAIRS = [
    (Lstm(**SMALL), Lstm(**SMALL)),
    (Gru(**SMALL), PlainGru(**SMALL)),
    (Attention(**SMALL), FullAttention(**SMALL)),
    (Attention(**SMALL, layers=2), FullAttention(**SMALL, layers=2)),
    (Gru(**SMALL, layers=2, dropout=0.3), PlainGru(**SMALL, layers=2, dropout=0.3)),
]
QUICK: dict[str, Any] = {"timesteps": 10_000, "n_envs": 4, "hidden": (16,)}
PPO: dict[str, Any] = {**QUICK, "n_steps": 32, "batch_size": 32, "n_epochs": 4}
LEARNERS = [
    Ppo(**PPO),
    Ppo(**PPO, activation="relu", ent_coef=0.01, clip_range_vf=0.2, target_kl=0.02),
    A2c(**QUICK),
    A2c(**QUICK, use_rms_prop=False, normalize_advantage=True),
]


@pytest.fixture(scope="module")
def work():
    return Workload.make(3000)


@pytest.fixture(scope="module")
def arena(work):
    """Episodes of 20 bars, so that many of them end while an update is collected, on windows of 8."""
    drawn = arena_of(work, features=5)
    return attrs.evolve(drawn, lookback=8, episode_bars=20, reward_scale=reward_scale(drawn, 0.99, 0))


def iterations(model, learner, count):
    """Let a model go through some updates; return the actions that it drew in each."""
    side, actions = Side(model), []
    for _ in range(count):
        side.iterate(learner.n_envs * model.n_steps)
        actions.append(model.rollout_buffer.actions.copy())
    return np.array(actions), side.parameters()


@pytest.mark.parametrize("learner", LEARNERS, ids=lambda learner: type(learner).__name__)
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: repr(pair[0]))
def test_equal_seeds_train_equal_networks(arena, learner, pair):
    mine = own(arena, learner, pair[0])
    before = Side(mine).parameters()
    drawn, learnt = iterations(mine, learner, EQUAL)

    theirs = stock(arena, learner, pair[1])
    assert not isinstance(theirs.policy, TradingPolicy)
    assert torch.equal(before, Side(theirs).parameters())
    expected, reference = iterations(theirs, learner, EQUAL)

    np.testing.assert_array_equal(drawn, expected)
    assert len(np.unique(drawn)) == 4
    assert (learnt - before).abs().max() > 1e-3
    torch.testing.assert_close(learnt, reference, rtol=0, atol=WITHIN)


@pytest.mark.proof
@pytest.mark.parametrize("extractor", ["attention", "gru"])
def test_in_full_size_the_quick_forms_train_as_the_plain_ones(work, extractor):
    """The row of the benchmark: 8 accounts, 256 steps, minibatches of 64, 10 epochs, windows of 50 by 20."""
    _, differing = measure(work, extractor, rounds=EQUAL - 1)

    assert 0 < differing <= WITHIN
