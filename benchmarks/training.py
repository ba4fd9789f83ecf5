"""Training: PPO on bar numbers and the built-in extractors, against stock PPO on windows; and two seeds at a time."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.kernel import Prepared
from benchmarks.model import FEATURES, LOOKBACK
from benchmarks.timing import Times
from benchmarks.workload import INITIAL_BALANCE

if TYPE_CHECKING:
    from benchmarks.workload import Workload
    from mnqcore.agent.learner import Sb3Learner
    from mnqcore.env import Arena

ACCOUNTS, STEPS, BATCH, EPOCHS = 8, 256, 64, 10
COLLECTED = ACCOUNTS * STEPS
"""Bars of one iteration: collected once, gone through ten times."""
EQUAL = 3
"""Iterations after which the parameters of both sides are compared."""
WITHIN = 1e-6
"""What they may differ by: rounding, of some hundred steps of the optimiser."""
SEED = 3
_EPISODE = 1000
_STRATEGY = """
format = 1
[strategy.timed]
data = { use = "synthetic", market = "trend", days = 120 }
features.moves = { use = "returns", horizons = [1, 3, 12] }
extractor = { use = "lstm", hidden = 64 }
agent = { use = "ppo", timesteps = TIMESTEPS, checkpoint = 1_000_000 }
"""


def arena_of(work: Workload, features: int = FEATURES) -> Arena:
    """Return a place to learn: features drawn at random, the change of equity as reward."""
    from mnqcore.api.values import Window
    from mnqcore.env import Arena

    prepared, bars = Prepared(work), len(work.close)
    drawn = np.random.default_rng(7).normal(size=(bars, features)).clip(-10, 10).astype(np.float32)
    return Arena(
        tape=prepared.market.tape,
        orders=prepared.market.orders,
        law=prepared.law,
        features=drawn,
        names=tuple(f"f{number}" for number in range(features)),
        lookback=LOOKBACK,
        window=Window(first=LOOKBACK - 1, last=bars - 1),
        initial_balance=INITIAL_BALANCE,
        size_of=lambda entry: np.ones(len(entry.side), np.int64),
        reward=lambda: lambda step: step.equity_change.copy(),
        reward_scale=500.0,
        episode_bars=_EPISODE,
    )


class Side:
    """One of the two, with generators of its own: both draw the same numbers, whoever is first."""

    def __init__(self, model: Any) -> None:
        import torch

        self.model = model
        self._drawn: Any = (torch.get_rng_state(), np.random.get_state())

    def iterate(self, collected: int = COLLECTED) -> float:
        """Collect so many bars and update; return CPU seconds."""
        import torch

        torch.set_rng_state(self._drawn[0])
        np.random.set_state(self._drawn[1])
        began = time.process_time()
        self.model.learn(collected, reset_num_timesteps=False)
        took = time.process_time() - began
        self._drawn = (torch.get_rng_state(), np.random.get_state())
        return took

    def parameters(self) -> Any:
        """Return all parameters as one vector."""
        import torch

        return torch.nn.utils.parameters_to_vector(one.detach() for one in self.model.policy.parameters())


def own(arena: Arena, learner: Sb3Learner, extractor: Any) -> Any:
    """Return what mnq trains: the learner's algorithm on the numbers of bars."""
    from mnqcore.agent.trainer import algorithm
    from mnqcore.agent.training import Score, Training
    from mnqcore.api.values import ModelSpec

    spec = ModelSpec(observation=arena.spec, extractor=extractor)
    training = Training(spec=spec, seed=SEED, folder=Path(), arena=arena, validate=lambda _: Score(value=0.0))
    return algorithm(learner, training)


def stock(arena: Arena, learner: Sb3Learner, extractor: Any) -> Any:
    """Return the same in stable-baselines3 alone: its policy, on windows, of environments one by one."""
    import stable_baselines3
    from stable_baselines3.common.vec_env import DummyVecEnv

    from mnqcore.agent.policy import policy_kwargs
    from mnqcore.api.values import ModelSpec
    from mnqcore.env import TradingEnv

    spec = ModelSpec(observation=arena.spec, extractor=extractor)
    return getattr(stable_baselines3, learner.algorithm.partition(":")[2])(
        "MultiInputPolicy",
        DummyVecEnv([lambda: TradingEnv(arena=arena, observe="window")] * learner.n_envs),
        policy_kwargs=policy_kwargs(spec, learner.hidden, learner.activation),
        seed=SEED,
        device="cpu",
        **learner.hyperparameters(),
    )


def measure(work: Workload, extractor: str, rounds: int) -> tuple[Times, float]:
    """Time an iteration of `mnq` and `stock` by turns; return the largest difference of a parameter after three, too.

    As everywhere the first round does not count.
    """
    import attrs

    from mnqcore.agent.threads import one_thread
    from mnqcore.env.scale import reward_scale
    from mnqplugins.agents.ppo import Ppo

    one_thread()
    arena, learner = arena_of(work), Ppo(n_envs=ACCOUNTS, n_steps=STEPS, batch_size=BATCH, n_epochs=EPOCHS)
    arena = attrs.evolve(arena, reward_scale=reward_scale(arena, learner.gamma, SEED))
    network, plain = _extractors(extractor)
    sides = {"mnq": Side(own(arena, learner, network)), "stock": Side(stock(arena, learner, plain))}
    taken: dict[str, list[float]] = {name: [] for name in sides}
    differing = 0.0
    for number in range(max(rounds + 1, EQUAL)):
        for name, side in sides.items():
            taken[name].append(side.iterate())
        if number + 1 == EQUAL:
            differing = float((sides["mnq"].parameters() - sides["stock"].parameters()).abs().max())
    return Times({name: samples[1:] for name, samples in taken.items()}), differing


def observation_bytes(work: Workload) -> tuple[int, int]:
    """Return the bytes that a rollout's observations take: as bar numbers, and as windows."""
    from stable_baselines3.common.buffers import DictRolloutBuffer

    arena = arena_of(work)
    found = []
    for observe in ("bar", "window"):
        buffer = DictRolloutBuffer(STEPS, arena.space(observe), _actions(), n_envs=ACCOUNTS)
        found.append(sum(array.nbytes for array in buffer.observations.values()))
    return found[0], found[1]


def seeds(timesteps: int, rounds: int) -> tuple[list[float], list[float]]:
    """Return wall seconds of training two seeds one after the other, and on two processes, by turns."""
    import mnqcore

    alone: list[float] = []
    together: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "timed.toml"
        file.write_text(_STRATEGY.replace("TIMESTEPS", str(timesteps)))
        for _ in range(rounds):
            for taken, executor in ((alone, {"use": "serial"}), (together, {"use": "joblib", "jobs": 2})):
                began = time.perf_counter()
                changes = {f"executor.{key}": value for key, value in executor.items()}
                mnqcore.run(file, None, "train", changes, runs_dir=folder, options=mnqcore.Options(seeds=2))
                taken.append(time.perf_counter() - began)
    return alone, together


def ratio_of_seeds(alone: list[float], together: list[float]) -> float:
    """Return the median of the rounds' ratios."""
    return median(one / other for one, other in zip(alone, together, strict=True))


def _actions() -> Any:
    from mnqcore.env.spaces import action_space

    return action_space()


def _extractors(name: str) -> tuple[Any, Any]:
    """Return mnq's extractor, and what stands for it on the other side: the plain forms, and torch's lstm on both."""
    from benchmarks.full_attention import FullAttention
    from benchmarks.plain_gru import PlainGru
    from mnqplugins.extractors.attention import Attention
    from mnqplugins.extractors.gru import Gru
    from mnqplugins.extractors.lstm import Lstm

    kinds = {"lstm": (Lstm, Lstm), "gru": (Gru, PlainGru), "attention": (Attention, FullAttention)}
    network, plain = kinds[name]
    return network(), plain()
