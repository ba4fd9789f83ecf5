"""Environments: many accounts in one compiled step, against as many single ones and another library's environment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from benchmarks.peers import ENV_STEPS
from benchmarks.timing import Contestant, Times, alternate
from benchmarks.training import arena_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from benchmarks.workload import Workload

_STEPS = 2_000
_FEW = 200
"""Steps of the slow side: each is like any other."""


def _drive(env: Any, actions: NDArray[np.int64], steps: int) -> None:
    for number in range(steps):
        env.step(actions[number])


def _actions(lanes: int) -> NDArray[np.int64]:
    """Return actions as a policy in training chooses them: mostly HOLD."""
    return np.random.default_rng(5).choice(4, size=(_STEPS, lanes), p=[0.7, 0.1, 0.1, 0.1])


def measure(work: Workload, rounds: int, lanes: int, observe: str) -> Times:
    """Time a step of `mnq`, a TradingVecEnv, and of `dummy`, stable-baselines3's DummyVecEnv of TradingEnvs."""
    from stable_baselines3.common.vec_env import DummyVecEnv

    from mnqcore.env import TradingEnv, TradingVecEnv

    arena, actions = arena_of(work), _actions(lanes)
    mine = TradingVecEnv(arena, lanes, observe=observe, seed=1)
    theirs = DummyVecEnv([lambda: TradingEnv(arena=arena, observe=observe)] * lanes)
    for env in (mine, theirs):
        env.reset()
        _drive(env, actions, 20)
    times = alternate(
        {
            "mnq": Contestant(lambda _: _drive(mine, actions, _STEPS)),
            "dummy": Contestant(lambda _: _drive(theirs, actions, _FEW)),
        },
        rounds,
    )
    return a_step(times, {"mnq": _STEPS, "dummy": _FEW})


def measure_reward(work: Workload, rounds: int, lanes: int = 64) -> Times:
    """Time a step with a `plugin`'s reward in numpy, and with the one that is `built in`."""
    from mnqcore.env import TradingVecEnv
    from mnqplugins.rewards.trade_pnl import TradePnl

    arena, actions = arena_of(work), _actions(lanes)
    rewards: dict[str, Any] = {"built in": TradePnl, "plugin": lambda: _patience}
    envs = {
        name: TradingVecEnv(attrs.evolve(arena, reward=made), lanes, observe="bar", seed=1)
        for name, made in rewards.items()
    }
    for env in envs.values():
        env.reset()
        _drive(env, actions, 20)
    contestants = {
        name: Contestant(lambda _, env=env: _drive(env, actions, _STEPS))  # type: ignore[misc]
        for name, env in envs.items()
    }
    return a_step(alternate(contestants, rounds), dict.fromkeys(envs, _STEPS))


def single(work: Workload) -> Callable[[object], None]:
    """Return ENV_STEPS steps of one environment, its stop, costs and rules on, windows in what it observes."""
    from mnqcore.env import TradingEnv

    env, actions = TradingEnv(arena=arena_of(work), observe="window"), _actions(1)[:ENV_STEPS, 0].tolist()
    env.reset(seed=1)

    def run(_state: object) -> None:
        for action in actions:
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()

    return run


def a_step(times: Times, steps: dict[str, int]) -> Times:
    """Return times of one step."""
    return Times({name: [one / steps[name] for one in taken] for name, taken in times.samples.items()})


def _patience(step: Any) -> NDArray[np.float64]:
    """Change of equity, less a cost for every bar held: what an author would write."""
    found: NDArray[np.float64] = step.equity_change - 0.5 * (step.position != 0)
    return found
