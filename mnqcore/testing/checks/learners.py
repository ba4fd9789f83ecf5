"""What learners keep to: a tiny training, and what is left of it when it is saved and loaded."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from mnqcore.api.parameters import parameters
from mnqcore.api.values import Action
from mnqcore.testing.answers import FEATURES, LOOKBACK
from mnqcore.testing.verdict import Fault, Inapplicable, NotAsked, check

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from mnqcore.api.values import ModelSpec
    from mnqcore.testing.subject import Subject

    Observation = dict[str, NDArray[np.float32]]

_TIMESTEPS = 1_024
_SMALL = {"timesteps": _TIMESTEPS, "n_envs": 4, "checkpoint": 512, "n_steps": 64, "n_epochs": 1, "batch_size": 64,
          "rounds": 3}  # fmt: skip
"""parameter -> what it is set to where a learner has it and nothing was given: a training of seconds."""
_FILES = (".json", ".safetensors")


@check("learns and acts", "agent")
def learns_and_acts(subject: Subject) -> Iterator[Fault]:
    """After a tiny training it answers each row of an observation with an action, 0 to 3, as int64."""
    learner = _trained(subject)
    for rows in (1, 7):
        found = np.asarray(_act(learner, observations(rows)))
        if found.shape != (rows,) or found.dtype.kind not in "iu":
            text = f"act returned {found.dtype} of shape {found.shape} for {rows} rows"
            yield Fault(text, subject.place(), "return int64 of shape (n,)")
        elif ((found < Action.HOLD) | (found > Action.CLOSE)).any():
            yield Fault(f"act returned {found.tolist()}", subject.place(), "0 HOLD, 1 BUY, 2 SELL or 3 CLOSE")


@check("acts the same", "agent")
def acts_the_same(subject: Subject) -> Iterator[Fault]:
    """The same observation gets the same action, alone and among others, whenever it is asked."""
    learner, asked = _trained(subject), observations(24)
    first, again = _act(learner, asked), _act(learner, asked)
    by_itself = np.concatenate(
        [_act(learner, {name: rows[at : at + 1] for name, rows in asked.items()}) for at in range(24)]
    )
    if not np.array_equal(first, again):
        yield Fault("asked again, it acts otherwise", subject.place(), "act on what it prefers: no draw")
    elif not np.array_equal(first, by_itself):
        yield Fault("a row's action depends on the rows beside it", subject.place())


@check("saved and loaded", "agent")
def saved_and_loaded(subject: Subject) -> Iterator[Fault]:
    """What it saves is .json and .safetensors, and a fresh one that loads it acts the same."""
    learner, other, asked = _trained(subject), _small(subject).build(), observations(24)
    with tempfile.TemporaryDirectory() as folder:
        learner.save(Path(folder))
        odd = [path.name for path in Path(folder).rglob("*") if path.is_file() and path.suffix not in _FILES]
        if odd:
            text = f"it saves {', '.join(odd)}"
            yield Fault(text, subject.place(), "plain data only, .json or .safetensors: a pickle runs code")
        other.load(Path(folder), _spec())
    if not np.array_equal(_act(learner, asked), _act(other, asked)):
        yield Fault("once it was saved and loaded, it acts otherwise", subject.place(), "save all that act() reads")


@check("trained twice", "agent")
def trained_twice(subject: Subject) -> Iterator[Fault]:
    """Two trainings with one seed end in the same actions."""
    if not np.array_equal(_act(_trained(subject), observations(64)), _act(_train(subject), observations(64))):
        yield Fault(
            "two trainings with one seed act differently", subject.place(), "seed all that is drawn: training.seed"
        )


def observations(rows: int) -> Observation:
    """Return made observations: scaled windows, and positions long, short and flat."""
    draw = np.random.default_rng(5)
    position = np.stack(
        [draw.integers(-1, 2, rows), draw.normal(0, 1, rows), draw.uniform(0, 3, rows), draw.uniform(0.8, 1.2, rows)], 1
    )
    features = draw.normal(size=(rows, LOOKBACK, FEATURES))
    return {"market_features": features.astype(np.float32), "position_info": position.astype(np.float32)}


def _trained(subject: Subject) -> Any:
    """Return a learner that went through a tiny training, trained once."""
    if not subject.learns:
        raise Inapplicable("it is a rule")
    if "trained" not in subject.kept:
        subject.kept["trained"] = _train(subject)
    return subject.kept["trained"]


def _train(subject: Subject) -> Any:
    from mnqcore.errors import ExtraMissing, require

    try:
        require("rl")
    except ExtraMissing as error:
        raise NotAsked(f"{error.what}: {error.facts['next']}") from error
    from mnqcore.agent.training import Training

    learner = _small(subject).build()
    with tempfile.TemporaryDirectory() as folder:
        learner.train(Training(spec=_spec(), seed=3, folder=Path(folder), arena=_arena()))
    return learner


def _small(subject: Subject) -> Subject:
    """Return the subject with a training of seconds."""
    known = parameters(subject.cls)
    small = {name: value for name, value in _SMALL.items() if name in known and name not in subject.params}
    if {"timesteps"} <= known.keys() and "n_steps" in known and "n_steps" in small:
        small["n_steps"] = min(64, known["n_steps"].default)
    return attrs.evolve(subject, params={**small, **subject.params})


def _arena() -> Any:
    from mnqcore.api.values import Window
    from mnqcore.env import Arena
    from mnqcore.simulator import rulebook
    from mnqcore.strategy.settings import Costs, Risk
    from mnqcore.tape.frame import one_contract
    from mnqcore.testing.market import Made, market

    made = market(Made())
    n = len(made.tape)
    orders = made.orders.copy()
    orders["stop"] = 400
    features = np.random.default_rng(n).normal(size=(n, FEATURES)).astype(np.float32).clip(-10, 10)
    return Arena(
        tape=made.tape,
        orders=orders,
        law=rulebook(made.instrument, Costs(initial_balance=50_000.0), Risk()),
        features=features,
        names=_spec().observation.names,
        lookback=LOOKBACK,
        window=Window(first=LOOKBACK - 1, last=n - 1),
        initial_balance=50_000.0,
        size_of=one_contract,
        reward=lambda: _equity_change,
        episode_bars=256,
        reward_scale=50.0,
    )


def _equity_change(step: Any) -> NDArray[np.float64]:
    found: NDArray[np.float64] = step.equity_change.copy()
    return found


def _spec() -> ModelSpec:
    from mnqcore.api.values import ModelSpec
    from mnqcore.testing.networks import spec

    return ModelSpec(observation=spec(), extractor=_LastBar())


class _LastBar:
    """The plainest extractor: it hands on the last bar."""

    def build(self, _spec: Any) -> Any:
        import torch

        class Network(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.mix = torch.nn.Linear(FEATURES, 8)

            def forward(self, windows: torch.Tensor) -> torch.Tensor:
                found: torch.Tensor = torch.tanh(self.mix(windows[:, -1]))
                return found

        return Network()


def _act(learner: Any, observation: Any) -> Any:
    """Ask a learner that remembers nothing: the rows are accounts that it has not seen before."""
    if hasattr(learner, "reset"):
        learner.reset(np.ones(len(observation["position_info"]), np.bool_))
    return learner.act(observation)
