"""The train stage: every seed on every fold, and which seed's models are the run's."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from mnqcore.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnqcore.stages.ground import Ground


@attrs.frozen(kw_only=True)
class Trained:
    """What a train stage came to: `units` by seed and fold, `seed` the one whose models are the run's.

    `scores`: seed -> validation score, the mean over its folds. `folders`: seed -> where its models are, one a fold.
    """

    units: tuple[dict[str, Any], ...]
    seed: int
    scores: dict[int, float]
    folders: dict[int, tuple[Path, ...]]


def train(
    ground: Ground,
    folder: Path,
    *,
    plugins: Sequence[str] = (),
    seeds: int = 1,
    tensorboard: bool = False,
    show: str = "",
) -> Trained:
    """Train a strategy, and keep models, logs and checkpoints in a folder that holds `resolved.toml`.

    One training leaves its traces in the folder itself, several in `units/seed-S-fold-F`; the run's models are then
    copied to `model`, or to `model/fold-F` where there are folds. Of several seeds the one with the median validation
    score is the run's, the lower of two: the best would be the luckiest.

    Args:
        ground: the strategy on its bars.
        folder: of the run.
        plugins: `-p` values.
        seeds: how many trainings a fold; they are numbered on from the strategy's own seed.
        tensorboard: also log for TensorBoard.
        show: how progress is shown where trainings run in this process.

    Raises:
        MnqError: a training broke down.
        PluginError: a plugin broke its contract, or the executor lost a unit.
    """
    from mnqcore.stages.unit import Unit, shared, train_unit
    from mnqcore.tape.naming import answering

    strategy, executor = ground.prepared.strategy, ground.prepared.strategy.executor
    if executor is None:
        raise TypeError("a strategy that learns has an executor")
    folds = [fold.number for fold in ground.folds]
    numbers = [strategy.seed + more for more in range(seeds)]
    alone = len(folds) * len(numbers) == 1
    units = [
        Unit(
            file=str(folder / "resolved.toml"),
            plugins=tuple(plugins),
            seed=seed,
            fold=fold,
            folder=str(folder if alone else folder / "units" / f"seed-{seed}-fold-{fold}"),
            tensorboard=tensorboard,
            show=show,
        )
        for seed in numbers
        for fold in folds
    ]
    with answering("map", executor), shared(ground):
        answers = executor.build().map(train_unit, [unit.text() for unit in units])
    if len(answers) != len(units):
        raise PluginError(
            f"executor '{executor.use}' broke its contract: {len(answers)} answers to {len(units)} units of work",
            who=f"{executor.distribution} {executor.version}",
        )
    return _chosen(folder, units, [json.loads(answer) for answer in answers])


def _chosen(folder: Path, units: Sequence[Any], results: list[dict[str, Any]]) -> Trained:
    by_seed: dict[int, list[float]] = {}
    for result in results:
        by_seed.setdefault(result["seed"], []).append(result["score"])
    scores = {seed: sum(found) / len(found) for seed, found in by_seed.items()}
    seed = median_seed(scores)
    folders = {each: tuple(Path(unit.folder) / "model" for unit in units if unit.seed == each) for each in scores}
    _copy(folders[seed], folder / "model")
    return Trained(units=tuple(results), seed=seed, scores=scores, folders=folders)


def _copy(models: tuple[Path, ...], place: Path) -> None:
    """Put the run's models where later commands look: one in the place itself, several in `fold-F` below."""
    if models == (place,):
        return
    places = [place] if len(models) == 1 else [place / f"fold-{number}" for number in range(1, len(models) + 1)]
    for made, target in zip(models, places, strict=True):
        shutil.copytree(made, target)


def median_seed(scores: dict[int, float]) -> int:
    """Return the seed with the median score, the lower of two; equal scores go by seed."""
    ordered = sorted(scores, key=lambda seed: (scores[seed], seed))
    return ordered[(len(ordered) - 1) // 2]


def weights_of(folder: Path) -> dict[str, str]:
    """Return "seed 3 fold 1 policy.safetensors" -> sha256 of every file of weights that a run's trainings left."""
    from mnqcore.plugins.provenance import sha256_of_file

    units = sorted((folder / "units").glob("*/model"))
    found = {}
    for model in units or [folder / "model"]:
        for path in sorted(model.glob("*.safetensors")):
            found[f"{model.parent.name if units else 'model'} {path.name}"] = sha256_of_file(path)
    return found
