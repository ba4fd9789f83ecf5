"""A dry run: everything is checked and set up, two seconds are trained, and nothing is kept."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mnqcore.plugins import Plugins
    from mnqcore.stages.ground import Ground
    from mnqcore.stages.options import Options
    from mnqcore.strategy.model import Strategy

PROBE = 2.0
"""Seconds of training that are measured, at least."""


@attrs.frozen(kw_only=True)
class Estimate:
    """What a run would take.

    `bars`: of the data; `warmup` of them come before the first that can be decided on. `windows`: name -> bars of the
    first fold. `trainings`: seeds x folds, each of `timesteps` bars at `pace` bars a second, `jobs` at a time; all None
    or 0 where nothing is trained, or where the agent does not say how long it trains.
    """

    strategy: str
    agent: str
    bars: int
    warmup: int = 0
    windows: dict[str, int] = attrs.field(factory=dict)
    trainings: int = 0
    jobs: int = 1
    timesteps: int | None = None
    pace: float | None = None

    @property
    def hours(self) -> float | None:
        """Hours of training in all; None where that is not known."""
        if self.timesteps is None or self.pace is None:
            return None
        rounds = -(-self.trainings // self.jobs)
        return rounds * self.timesteps / self.pace / 3600


def estimate(
    file: str | Path,
    strategy: str | None = None,
    stages: str | Sequence[str] = "backtest",
    set: Mapping[str, Any] | Sequence[str] = (),  # noqa: A002 - the word of the command line
    *,
    plugins: Plugins | None = None,
    options: Options | None = None,
) -> Estimate:
    """Return what a run would take, measured by two seconds of training; arguments and errors as in `run`."""
    from mnqcore.stages.ground import ground
    from mnqcore.stages.prepare import prepare
    from mnqcore.stages.run import asked_for

    asked = asked_for(file, strategy, stages, set, plugins, options)
    chosen = asked.strategy
    prepared = prepare(chosen)
    bars = len(prepared.market.tape)
    if not chosen.learns:
        return Estimate(strategy=chosen.name, agent=chosen.agent.use, bars=bars)
    on = ground(prepared)
    fold = on.folds[0]
    windows = {name: getattr(fold, name).bars for name in ("train", "validate", "test")}
    known = Estimate(strategy=chosen.name, agent=chosen.agent.use, bars=bars, warmup=on.first, windows=windows)
    return _trained(known, on, asked.options.seeds) if "train" in asked.stages else known


def _trained(known: Estimate, on: Ground, seeds: int) -> Estimate:
    strategy, trainings = on.prepared.strategy, len(on.folds) * seeds
    timesteps = strategy.agent.params.get("timesteps")
    pace = _pace(on) if timesteps is not None else None
    jobs = min(_jobs(strategy), trainings)
    return attrs.evolve(known, trainings=trainings, jobs=jobs, timesteps=timesteps, pace=pace)


def _jobs(strategy: Strategy) -> int:
    """Return how many trainings the executor does at once: one, unless it has a parameter `jobs`; None is all cores."""
    if strategy.executor is None:
        raise TypeError("a strategy that learns has an executor")
    jobs = strategy.executor.params.get("jobs", 1)
    if jobs is not None:
        return int(jobs)
    import joblib

    return int(joblib.cpu_count())


def _pace(on: Ground) -> float | None:
    """Return bars a second of a learner on stable-baselines3, updates included; None for another."""
    from mnqcore.agent.learner import Sb3Learner
    from mnqcore.agent.training import Score, Training

    strategy, fold = on.prepared.strategy, on.folds[0]
    learner = strategy.agent.build()
    if not isinstance(learner, Sb3Learner):
        return None
    from stable_baselines3.common.logger import Logger

    from mnqcore.agent.trainer import algorithm

    with tempfile.TemporaryDirectory() as folder:
        features = on.scaler(fold)(on.prepared.tape.features)
        arena = on.arena(fold.train, features, 1.0)
        training = Training(
            spec=on.spec, seed=strategy.seed, folder=Path(folder), arena=arena, validate=lambda _: Score(value=0.0)
        )
        model = algorithm(learner, training)
        model.set_logger(Logger(folder, []))  # its own would leave a folder behind
        collected = model.n_steps * model.n_envs
        model.learn(collected)  # what is compiled or set up at first is not counted
        began, done = time.perf_counter(), 0
        while time.perf_counter() - began < PROBE:
            model.learn(collected, reset_num_timesteps=False)
            done += collected
        return done / (time.perf_counter() - began)
