"""A unit of work: one training, of one seed on one fold, as text in and text out, wherever it runs."""

from __future__ import annotations

import contextlib
import contextvars
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from mnqcore.plugins.watch import watched
from mnqcore.tape.naming import ANOTHERS, answering

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnqcore.api.contracts import Learner
    from mnqcore.env.arena import Arena
    from mnqcore.stages.ground import Ground
    from mnqcore.tape.splits import Fold

_SHARED: contextvars.ContextVar[tuple[str, Ground] | None] = contextvars.ContextVar("shared", default=None)
"""(strategy's digest, its ground): what the process that asks has prepared already."""

RESULT = "result.json"
"""Written last into a unit's folder: it is done."""


@attrs.frozen(kw_only=True)
class Unit:
    """What is trained, as plain values.

    `file`: a resolved strategy. `plugins`: `-p` values. `fold`: its number, from 1. `folder`: takes log, checkpoints
    and model; what lies there is resumed. `show`: on stderr "bar", "lines" or "" for nothing.
    """

    file: str
    plugins: tuple[str, ...]
    seed: int
    fold: int
    folder: str
    tensorboard: bool = False
    show: str = ""

    def text(self) -> str:
        """Return the unit as JSON."""
        return json.dumps(attrs.asdict(self))

    @classmethod
    def read(cls, text: str) -> Unit:
        """Return the unit that `text()` wrote."""
        values = json.loads(text)
        return cls(**values | {"plugins": tuple(values["plugins"])})


@contextlib.contextmanager
def shared(ground: Ground) -> Iterator[None]:
    """Let units that run in this process use what is prepared already."""
    token = _SHARED.set((ground.prepared.strategy.digest(), ground))
    try:
        yield
    finally:
        _SHARED.reset(token)


def train_unit(text: str) -> str:
    """Train one seed on one fold, and return what came of it as JSON: seed, fold, scores, windows, reward scale.

    A unit whose folder holds a result is done already; one with checkpoints goes on from the newest.

    Raises:
        MnqError: the training broke down, or memory ran out.
        StrategyError, DataError, PluginError: as the stages raise them.
    """
    unit = Unit.read(text)
    done = Path(unit.folder) / RESULT
    if done.is_file():
        return done.read_text(encoding="utf-8")
    try:
        with watched():
            ground = _ground(unit)
            result = json.dumps(_train(ground, ground.folds[unit.fold - 1], unit), allow_nan=False)
    except Exception as error:
        error.add_note(ANOTHERS)  # it must not pass for the executor's
        raise
    done.write_text(result, encoding="utf-8")
    return result


def _ground(unit: Unit) -> Ground:
    from mnqcore.plugins import load as load_plugins
    from mnqcore.stages.ground import ground
    from mnqcore.stages.prepare import prepare
    from mnqcore.strategy import load

    strategy = load(unit.file, None, load_plugins(unit.plugins))
    known = _SHARED.get()
    if known is not None and known[0] == strategy.digest():
        return known[1]
    return ground(prepare(strategy, look=False))


def _train(ground: Ground, fold: Fold, unit: Unit) -> dict[str, Any]:
    from mnqcore.agent import artifact
    from mnqcore.agent.training import Training
    from mnqcore.stages.meter import Meter
    from mnqcore.stages.models import model_of, score

    strategy, scaler = ground.prepared.strategy, ground.scaler(fold)
    features = scaler(ground.prepared.tape.features)
    learner = strategy.agent.build()
    arena = _scaled(ground, fold, features, learner, unit.seed)
    folder = Path(unit.folder)
    folder.mkdir(parents=True, exist_ok=True)
    named = answering("train", strategy.agent, strategy.extractor)
    with named, Meter(unit.show, getattr(learner, "timesteps", 0), f"seed {unit.seed} fold {unit.fold}") as meter:
        learner.train(
            Training(
                spec=ground.spec,
                seed=unit.seed,
                folder=folder,
                arena=arena,
                validate=lambda candidate: score(ground, candidate, features, fold.validate),
                tensorboard=unit.tensorboard,
                progress=meter.show,
            )
        )
    model = model_of(ground, fold, learner, scaler, seed=unit.seed, reward_scale=arena.reward_scale)
    shutil.rmtree(folder / "model", ignore_errors=True)  # of a unit that was stopped between model and result
    with answering("save", strategy.agent):
        artifact.save(folder / "model", model)
    windows = {name: getattr(fold, name) for name in ("train", "validate")}
    judged = {name: score(ground, learner, features, window) for name, window in windows.items()}
    return {
        "seed": unit.seed,
        "fold": unit.fold,
        "score": judged["validate"].value,
        "reward_scale": arena.reward_scale,
        "windows": {name: {**ground.dates(window), **judged[name].figures} for name, window in windows.items()},
    }


def _scaled(ground: Ground, fold: Fold, features: Any, learner: Learner, seed: int) -> Arena:
    """Return the training bars as a playground, rewards in the unit that the strategy asks for."""
    from mnqcore.env.scale import reward_scale

    wanted = ground.prepared.strategy.env.reward_scale
    arena = ground.arena(fold.train, features, 1.0)
    scale = reward_scale(arena, getattr(learner, "gamma", 0.99), seed) if isinstance(wanted, str) else wanted
    return attrs.evolve(arena, reward_scale=scale)
